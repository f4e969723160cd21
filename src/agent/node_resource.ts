/**
 * Keeps this node's Node resource: its addresses, found anew every minute, by which the fleet peers with it.
 *
 * Only our part is changed (the BGP addresses and our entries of `addresses`); labels, AS number and whatever else others
 * wrote stay. A Node that comes from the configuration file is used as it is.
 */

import type { Cancel, Clock } from "../lib/clock.ts";
import type { IpNet } from "../lib/cidr.ts";
import type { Family } from "../lib/ip.ts";
import type { Log } from "../lib/log.ts";
import type { Kernel } from "../dataplane/ports.ts";
import { resourceKey } from "../model/keys/mod.ts";
import { readResource, serializeResource } from "../model/read.ts";
import { API_VERSION } from "../model/resource.ts";
import type { Node, NodeAddress } from "../model/resources/mod.ts";
import { type Store, StoreError } from "../store/store.ts";
import { findNodeAddress, type HostAddresses, needsRoutes } from "./node_address.ts";

/** How the node's addresses are found: the words of the configuration. */
export interface NodeSettings {
  readonly name: string;
  /** "autodetect", an address, a method, or "none". */
  readonly ip: string;
  readonly ip6: string;
}

/** Milliseconds between two looks at the host's addresses. */
export const addressPollInterval = 60_000;

/** The node's addresses as found; undefined where there is none, with the reasons. */
export interface NodeAddresses {
  readonly ip: IpNet | undefined;
  readonly ip6: IpNet | undefined;
  readonly why: readonly string[];
}

/** Looks for the node's addresses on the host. */
export async function readNodeAddresses(kernel: Kernel, settings: NodeSettings): Promise<NodeAddresses> {
  const needs = (family: Family) => needsRoutes(family === 4 ? settings.ip : settings.ip6);
  const families = ([4, 6] as const).filter(needs);
  const host: HostAddresses = {
    links: await kernel.links.list(),
    addresses: await kernel.links.addresses(),
    routes: (await Promise.all(families.map((family) => kernel.fib.list({ family, table: 254 })))).flat(),
  };
  const v4 = findNodeAddress(settings.ip, 4, host), v6 = findNodeAddress(settings.ip6, 6, host);
  return { ip: v4.net, ip6: v6.net, why: [v4.why, v6.why].filter((why) => why !== undefined) };
}

/** The Node with these addresses; the same object when nothing changes. An address that was not found stays as it was. */
export function withAddresses(node: Node, { ip, ip6 }: Pick<NodeAddresses, "ip" | "ip6">): Node {
  const text = (net: IpNet | undefined) => net && `${net.ip}/${net.length}`;
  const bgp = {
    ...node.spec.bgp,
    ...ip ? { ipv4Address: text(ip) } : {},
    ...ip6 ? { ipv6Address: text(ip6) } : {},
  };
  const ours: NodeAddress[] = [bgp.ipv4Address, bgp.ipv6Address].filter((address) => address !== undefined).flatMap(
    (address) => [
      { address, type: "CalicoNodeIP" },
      { address: address.split("/")[0] ?? address, type: "InternalIP" },
    ],
  );
  const others = (node.spec.addresses ?? []).filter(({ type }) => type !== "CalicoNodeIP" && type !== "InternalIP");
  const spec = { ...node.spec, bgp, addresses: [...ours, ...others] };
  return JSON.stringify(spec) === JSON.stringify(node.spec) ? node : { ...node, spec };
}

/** Writes the Node resource where it has to change; "fixed" means that the configuration file has it. */
export async function writeNode(
  store: Store,
  settings: NodeSettings,
  addresses: NodeAddresses,
  wall: number,
): Promise<"written" | "unchanged" | "fixed"> {
  const key = resourceKey("Node", settings.name);
  for (let attempt = 0;; attempt++) {
    try {
      const entry = await store.get(key);
      const read = entry && readResource(entry.value);
      const before = read?.kind === "Node" ? read : newNode(settings.name, wall);
      const node = withAddresses(before, addresses);
      if (!entry) await store.create(key, serializeResource(node));
      else if (node === before) return "unchanged";
      else await store.update(key, serializeResource(node), entry.revision);
      return "written";
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      if (error.kind === "readonly") return "fixed";
      if (attempt >= 5 || !["conflict", "exists", "missing"].includes(error.kind)) throw error;
    }
  }
}

function newNode(name: string, wall: number): Node {
  const creationTimestamp = new Date(wall).toISOString().replace(/\.\d+Z$/, "Z");
  return {
    kind: "Node",
    apiVersion: API_VERSION,
    metadata: { name, uid: crypto.randomUUID(), creationTimestamp },
    spec: {},
  };
}

/** The Node resource under watch. */
export interface KeptNode {
  /** The first look and write; rejects with the store's error. */
  readonly first: Promise<void>;
  /** The addresses as last found. */
  readonly addresses: () => NodeAddresses | undefined;
  stop(): void;
}

/** Writes the Node resource now and looks at the addresses again every minute. */
export function keepNode(
  { store, kernel, settings, clock, log }: {
    readonly store: Store;
    readonly kernel: Kernel;
    readonly settings: NodeSettings;
    readonly clock: Clock;
    readonly log: Log;
  },
): KeptNode {
  let cancel: Cancel = () => {};
  let isStopped = false;
  let found: NodeAddresses | undefined;
  let lastWhy = "";
  const look = async () => {
    found = await readNodeAddresses(kernel, settings);
    const why = found.why.join("; ");
    if (why !== lastWhy && why !== "") log.warn("the node's address was not found", { why });
    lastWhy = why;
    const result = await writeNode(store, settings, found, clock.wall());
    if (result === "written") log.info("wrote the Node resource", { ip: found.ip?.ip, ip6: found.ip6?.ip });
  };
  const again = () => {
    if (isStopped) return;
    cancel = clock.after(addressPollInterval, () => {
      look().catch((error) => log.warn("could not write the Node resource", { error })).finally(again);
    });
  };
  const first = look();
  first.then(again, again);
  return {
    first,
    addresses: () => found,
    stop: () => {
      isStopped = true;
      cancel();
    },
  };
}
