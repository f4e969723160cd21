/**
 * What goes with a resource when it is deleted: the claims to a pool's blocks, and everything that belongs to a node.
 *
 * The order is Calico's. A crash between two steps leaves things that the next attempt removes, because the resource
 * itself goes last. What the configuration file holds stays and is told as a warning.
 */

import { Cidr } from "../lib/cidr.ts";
import type { Clock } from "../lib/clock.ts";
import { Ip } from "../lib/ip.ts";
import { releaseHostAffinities } from "../ipam/claim.ts";
import { IpamError } from "../ipam/error.ts";
import { releaseAddresses, releaseByHandle, releasePoolAffinities } from "../ipam/release.ts";
import { showBlocks } from "../ipam/show.ts";
import { storeSources } from "../ipam/sources.ts";
import { resourceKey, resourceKeyOf } from "../model/keys/mod.ts";
import { serializeResource } from "../model/read.ts";
import { idOf, resourceIdText } from "../model/resource.ts";
import type { AnyResource, IPPool, WorkloadEndpoint } from "../model/resources/mod.ts";
import { type Entry, type Store, StoreError } from "../store/store.ts";
import { readAll } from "./changes.ts";

/** How long hosts have to learn that a pool is closed, before their claims end, in milliseconds. */
const POOL_CLOSED_MS = 500;

/** Closes the pool, waits for hosts to see it, ends their claims and deletes it; returns warnings. */
export async function removePool(store: Store, clock: Clock, pool: IPPool, entry: Entry): Promise<string[]> {
  let { revision } = entry;
  if (!pool.spec.disabled) {
    const closed: IPPool = { ...pool, spec: { ...pool.spec, disabled: true } };
    ({ revision } = await store.update(entry.key, serializeResource(closed), revision));
    await new Promise<void>((resolve) => clock.after(POOL_CLOSED_MS, resolve));
  }
  const cidr = Cidr.tryParse(pool.spec.cidr);
  if (cidr) await releasePoolAffinities(store, cidr);
  await store.delete(entry.key, revision);
  const used = (await showBlocks(store)).filter((block) => cidr?.contains(Cidr.parse(block.cidr)))
    .reduce((sum, block) => sum + block.used, 0);
  return used > 0 ? [`${used} addresses of the pool are still in use and stay with their workloads`] : [];
}

/** Deletes a node and what belongs to it: addresses, endpoints, claims, peers and settings; returns warnings. */
export async function removeNode(store: Store, node: string, entry: Entry): Promise<string[]> {
  const warnings: string[] = [];
  const remove = async (resource: AnyResource, key = resourceKeyOf(idOf(resource))) => {
    try {
      await store.delete(key);
    } catch (error) {
      if (!(error instanceof StoreError) || error.kind !== "readonly" && error.kind !== "missing") throw error;
      if (error.kind === "readonly") warnings.push(`${resourceIdText(idOf(resource))} stays: ${error.message}`);
    }
  };
  const pools = await storeSources(store).pools();
  for (const endpoint of (await readAll(store, "WorkloadEndpoint")).filter(({ spec }) => spec.node === node)) {
    await releaseAddresses(store, pools, addressesOf(endpoint).map((ip) => ({ ip })));
    await remove(endpoint);
  }
  for (const tunnel of ["ipip", "vxlan", "vxlan-v6", "wireguard", "wireguard-v6"]) {
    await releaseByHandle(store, `${tunnel}-tunnel-addr-${node}`).catch((error) => {
      if (!(error instanceof IpamError) || error.kind !== "no-handle") throw error;
    });
  }
  await releaseHostAffinities(store, node);
  for (const peer of await readAll(store, "BGPPeer")) if (peer.spec.node === node) await remove(peer);
  for (const kind of ["FelixConfiguration", "BGPConfiguration"] as const) {
    const own = (await readAll(store, kind)).find(({ metadata }) => metadata.name === `node.${node}`);
    if (own) await remove(own);
  }
  for (const endpoint of await readAll(store, "HostEndpoint")) if (endpoint.spec.node === node) await remove(endpoint);
  await store.delete(resourceKey("Node", node), entry.revision);
  return warnings;
}

function addressesOf({ spec }: WorkloadEndpoint): Ip[] {
  return (spec.ipNetworks ?? []).flatMap((network) => Ip.tryParse(network.split("/")[0] ?? "") ?? []);
}
