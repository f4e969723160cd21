/**
 * What a change of a resource must hold to beyond its own schema: the rules that look at other resources, and the members
 * that never change. They are those of Calico's client, so that a store which it shares keeps the same order.
 *
 * A rule that is broken throws `ApiError` `refused`, `readonly` or `missing`, saying what stands in the way.
 */

import { Cidr } from "../lib/cidr.ts";
import { poolOf, selectsNode } from "../ipam/pools.ts";
import { BLOCKS_PREFIX, parseKey, resourceKey, resourcePrefix } from "../model/keys/mod.ts";
import { readResource } from "../model/read.ts";
import { idOf, resourceIdText } from "../model/resource.ts";
import type { AnyResource, BGPPeer, IPPool, Kind, Node, ResourceOf, Tier } from "../model/resources/mod.ts";
import { DEFAULT_ALLOW_PROFILE } from "../model/resources/profile.ts";
import { BUILT_IN_TIERS } from "../model/resources/tier.ts";
import type { Store } from "../store/store.ts";
import { ApiError } from "./error.ts";

/** Checks a resource that is to be written over `before`, or anew. */
export async function checkWrite(store: Store, next: AnyResource, before: AnyResource | undefined): Promise<void> {
  switch (next.kind) {
    case "IPPool":
      return await checkPool(store, next, before as IPPool | undefined);
    case "Node":
      return await checkNode(store, next);
    case "BGPPeer":
      return await checkPeer(store, next);
    case "GlobalNetworkPolicy":
    case "NetworkPolicy":
    case "StagedGlobalNetworkPolicy":
    case "StagedNetworkPolicy":
      return await checkTierExists(store, next, next.spec.tier);
  }
}

/** Checks a resource that is to be deleted. */
export async function checkDelete(store: Store, resource: AnyResource): Promise<void> {
  if (resource.kind === "Tier") await checkTierUnused(store, resource);
}

/** Every resource of a kind that can be read; what cannot is somebody else's fault and no reason to stop. */
export async function readAll<K extends Kind>(store: Store, kind: K): Promise<ResourceOf<K>[]> {
  const { entries } = await store.list(resourcePrefix(kind));
  return entries.flatMap(({ value }) => {
    try {
      return [readResource(value) as ResourceOf<K>];
    } catch {
      return [];
    }
  });
}

/** Refuses a change of what Calico's clients make up and never store. */
export function checkBuiltIn({ kind, metadata }: AnyResource): void {
  if (kind !== "Profile" || metadata.name !== DEFAULT_ALLOW_PROFILE.metadata.name) return;
  throw new ApiError("readonly", `The profile ${metadata.name} is built in and cannot be changed; use another name`);
}

async function checkPool(store: Store, pool: IPPool, before: IPPool | undefined): Promise<void> {
  const { name } = pool.metadata;
  const { cidr: cidrText, blockSize } = pool.spec;
  const cidr = Cidr.tryParse(cidrText);
  if (!cidr) throw new ApiError("invalid", `IPPool ${name}: spec.cidr ${cidrText} is not a prefix`);
  if (before) {
    for (const member of ["cidr", "blockSize"] as const) {
      if (before.spec[member] === pool.spec[member]) continue;
      throw new ApiError(
        "refused",
        `IPPool ${name}: spec.${member} never changes, and it is ${before.spec[member]}`,
        { hint: "make another pool and disable this one" },
      );
    }
  } else {
    for (const other of await readAll(store, "IPPool")) {
      if (other.metadata.name !== name && Cidr.tryParse(other.spec.cidr)?.overlaps(cidr)) {
        throw new ApiError(
          "refused",
          `IPPool ${name}: ${cidr} overlaps ${other.spec.cidr} of the pool ${other.metadata.name}`,
        );
      }
    }
    const { entries } = await store.list(`${BLOCKS_PREFIX}ipv${cidr.family}/`);
    for (const { key } of entries) {
      const block = parseKey(key);
      if (block?.type !== "block" || !block.cidr.overlaps(cidr) || block.cidr.length === blockSize) continue;
      throw new ApiError(
        "refused",
        `IPPool ${name}: the block ${block.cidr} of an earlier pool is still there, and blockSize is ${blockSize}`,
        { hint: `set blockSize: ${block.cidr.length}, or release its addresses first` },
      );
    }
  }
  refuseSharedPool(store, [pool], await readAll(store, "Node"));
}

async function checkNode(store: Store, node: Node): Promise<void> {
  const others = (await readAll(store, "Node")).filter((other) => other.metadata.name !== node.metadata.name);
  if (others.length > 0) refuseSharedPool(store, await readAll(store, "IPPool"), [...others, node]);
}

/** With a file store nobody coordinates two nodes, so a pool must be one node's. */
function refuseSharedPool(store: Store, pools: readonly IPPool[], nodes: readonly Node[]): void {
  if (store.type === "etcd" || nodes.length < 2) return;
  for (const resource of pools) {
    const pool = poolOf(resource);
    const selected = nodes.map(({ metadata }) => ({ name: metadata.name, labels: metadata.labels ?? {} }))
      .filter((node) => selectsNode(pool, node));
    if (pool.closed || selected.length < 2) continue;
    throw new ApiError(
      "refused",
      `IPPool ${pool.name}: the nodes ${selected.map(({ name }) => name).join(", ")} could all allocate from it, and ` +
        `only a shared store (etcd) can coordinate that`,
      { hint: `give each node a pool of its own: nodeSelector: "name == '${selected[0]?.name}'"` },
    );
  }
}

async function checkPeer(store: Store, peer: BGPPeer): Promise<void> {
  for (const filter of peer.spec.filters ?? []) {
    if (await store.get(resourceKey("BGPFilter", filter))) continue;
    throw new ApiError("refused", `BGPPeer ${peer.metadata.name}: there is no BGPFilter ${filter}`, {
      hint: "apply it first",
    });
  }
}

async function checkTierExists(store: Store, policy: AnyResource, tier: string): Promise<void> {
  if (tier === "default" || await store.get(resourceKey("Tier", tier))) return;
  throw new ApiError("refused", `${resourceIdText(idOf(policy))}: there is no Tier ${tier}`, {
    hint: "apply it first",
  });
}

async function checkTierUnused(store: Store, { metadata: { name } }: Tier): Promise<void> {
  if (Object.hasOwn(BUILT_IN_TIERS, name)) throw new ApiError("readonly", `The tier ${name} is built in and stays`);
  const kinds = ["GlobalNetworkPolicy", "NetworkPolicy", "StagedGlobalNetworkPolicy", "StagedNetworkPolicy"] as const;
  for (const kind of kinds) {
    const user = (await readAll(store, kind)).find(({ spec }) => spec.tier === name);
    if (!user) continue;
    throw new ApiError("refused", `The tier ${name} is used by ${resourceIdText(idOf(user))}`, {
      hint: "delete its policies first",
    });
  }
}
