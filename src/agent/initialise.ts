/**
 * What has to be in a store before policies and addresses can be: ClusterInformation, the built-in tiers, and on a host
 * of its own without any pool a default pool. Only what is missing is added, so that any number of nodes may do this.
 */

import { Cidr } from "../lib/cidr.ts";
import type { Log } from "../lib/log.ts";
import type { Kernel } from "../dataplane/ports.ts";
import { resourceKey, resourcePrefix } from "../model/keys/mod.ts";
import { readResource, serializeResource } from "../model/read.ts";
import { API_VERSION } from "../model/resource.ts";
import type { AnyResource, ClusterInformation } from "../model/resources/mod.ts";
import { BUILT_IN_TIERS } from "../model/resources/tier.ts";
import { withIPPoolDefaults } from "../model/resources/ip_pool.ts";
import { type Store, StoreError } from "../store/store.ts";

/** The first of these that the host has no route into becomes the default pool (calico/node's first, then others). */
const defaultPools = ["192.168.0.0/16", "172.16.0.0/16", "10.244.0.0/16", "172.31.0.0/16"] as const;

/** Adds what is missing; throws what the store throws. */
export async function initialiseStore(
  { store, kernel, wall, log }: { store: Store; kernel: Kernel; wall: number; log: Log },
): Promise<void> {
  const meta = (name: string) => ({
    name,
    uid: crypto.randomUUID(),
    creationTimestamp: new Date(wall).toISOString().replace(/\.\d+Z$/, "Z"),
  });
  await initialiseCluster(store, meta("default"));
  const tiers = new Set((await store.list(resourcePrefix("Tier"))).entries.map(({ key }) => key));
  const has = (name: string) => tiers.has(resourceKey("Tier", name));
  // A cluster of Calico up to 3.31 has the older names, and keeps them.
  const admin = has("adminnetworkpolicy") ? ["adminnetworkpolicy", "baselineadminnetworkpolicy"] : [];
  for (const name of ["default", ...admin.length > 0 ? admin : ["kube-admin", "kube-baseline"]]) {
    const spec = BUILT_IN_TIERS[name];
    if (!has(name) && spec) await create(store, { kind: "Tier", apiVersion: API_VERSION, metadata: meta(name), spec });
  }
  if (store.type === "etcd" || (await store.list(resourcePrefix("IPPool"))).entries.length > 0) return;
  if ((await store.list(resourcePrefix("Node"))).entries.length > 1) return;
  const cidr = await freePrefix(kernel);
  if (!cidr) return log.warn("there is no pool, and no default one is free; add an IPPool", { tried: defaultPools });
  const spec = withIPPoolDefaults({ cidr, natOutgoing: true });
  const metadata = meta("default-ipv4-ippool");
  await create(store, { kind: "IPPool", apiVersion: API_VERSION, metadata, spec });
  log.info("there was no pool, so a default one was added", { cidr });
}

async function initialiseCluster(store: Store, metadata: ClusterInformation["metadata"]): Promise<void> {
  const key = resourceKey("ClusterInformation", "default");
  const entry = await store.get(key);
  const clusterGUID = crypto.randomUUID().replaceAll("-", "");
  if (!entry) {
    const spec = { clusterGUID, clusterType: "tortie", datastoreReady: true };
    return await create(store, { kind: "ClusterInformation", apiVersion: API_VERSION, metadata, spec });
  }
  const stands = readResource(entry.value);
  if (stands.kind !== "ClusterInformation") return;
  const { spec } = stands;
  if (spec.clusterGUID && spec.datastoreReady !== undefined && spec.clusterType?.includes("tortie")) return;
  const clusterType = [...(spec.clusterType ?? "").split(",").filter((word) => word && word !== "tortie"), "tortie"];
  const mended: ClusterInformation = {
    ...stands,
    spec: {
      ...spec,
      clusterGUID: spec.clusterGUID || clusterGUID,
      datastoreReady: spec.datastoreReady ?? true,
      clusterType: clusterType.join(","),
    },
  };
  await unlessRaced(store.update(key, serializeResource(mended), entry.revision));
}

async function create(store: Store, resource: AnyResource): Promise<void> {
  await unlessRaced(store.create(resourceKey(resource.kind, resource.metadata.name), serializeResource(resource)));
}

/** Another node was faster, or the configuration file has it: both are as good. */
async function unlessRaced(write: Promise<unknown>): Promise<void> {
  try {
    await write;
  } catch (error) {
    if (!(error instanceof StoreError) || !["exists", "conflict", "readonly", "missing"].includes(error.kind)) {
      throw error;
    }
  }
}

async function freePrefix(kernel: Kernel): Promise<string | undefined> {
  const taken = (await kernel.links.addresses()).map(({ net }) => Cidr.of(net.ip, net.length));
  const routes = (await kernel.fib.list({ family: 4, table: 254 })).map(({ destination }) => destination);
  const isFree = (cidr: Cidr) =>
    ![...taken, ...routes].some((other) => other.length > 0 && other.family === 4 && other.overlaps(cidr));
  return defaultPools.find((text) => isFree(Cidr.parse(text)));
}
