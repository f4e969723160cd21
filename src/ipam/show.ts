/**
 * What `ipam show` answers: how full each pool is, each block, and what is known about one address.
 *
 * A borrowed address is one whose owner's attribute `node` names another node than the block's affinity.
 */

import { Cidr } from "../lib/cidr.ts";
import type { Ip } from "../lib/ip.ts";
import type { Store } from "../store/store.ts";
import { type Block, blockSize, hostOfAffinity, ordinalOf, ownerOf } from "./stored/block.ts";
import { type Pool, poolHolding } from "./pools.ts";
import { listBlocks, readListed } from "./search.ts";
import { reservedIn } from "./sources.ts";

/** One pool in `ipam show`; sizes are decimal text when they exceed 2^53. */
export interface PoolUse {
  readonly pool: string;
  readonly cidr: string;
  readonly size: number | string;
  readonly used: number;
  readonly free: number | string;
  readonly blocks: number;
}

/** One block in `ipam show --blocks`; `affinity` is null when the block is nobody's. */
export interface BlockUse {
  readonly cidr: string;
  readonly affinity: string | null;
  readonly used: number;
  readonly free: number;
  readonly borrowed: number;
}

/** One address in `ipam show --ip`. */
export interface AddressUse {
  readonly ip: string;
  readonly pool: string | null;
  readonly block: string | null;
  readonly affinity: string | null;
  readonly inUse: boolean;
  readonly reserved: boolean;
  readonly handle: string | null;
  readonly attributes: Readonly<Record<string, string>>;
  /** One sentence for people. */
  readonly why: string;
}

/** Counts the block's addresses. */
export function blockUse(block: Block): BlockUse {
  const free = block.unallocated.length;
  return {
    cidr: block.cidr.toString(),
    affinity: block.affinity,
    used: blockSize(block) - free,
    free,
    borrowed: countBorrowed(block),
  };
}

/** How many addresses of the block are held for other nodes than its owner. */
export function countBorrowed(block: Block): number {
  const host = hostOfAffinity(block.affinity);
  if (host === undefined) return 0;
  let borrowed = 0;
  for (let ordinal = 0; ordinal < blockSize(block); ordinal++) {
    const node = ownerOf(block, ordinal)?.attributes?.node;
    if (node !== undefined && node !== host) borrowed++;
  }
  return borrowed;
}

/** All blocks, by address. */
export async function showBlocks(store: Store): Promise<BlockUse[]> {
  const blocks = (await listBlocks(store)).map(readListed).filter((read) => read !== undefined);
  return blocks.map(({ block }) => block).sort((a, b) => a.cidr.compare(b.cidr)).map(blockUse);
}

/** All pools, in the given order. */
export async function showPools(store: Store, pools: readonly Pool[]): Promise<PoolUse[]> {
  const blocks = (await showBlocks(store)).map((use) => ({ ...use, prefix: Cidr.parse(use.cidr) }));
  return pools.map((pool) => {
    const inPool = blocks.filter(({ prefix }) => pool.cidr.contains(prefix));
    const used = inPool.reduce((sum, block) => sum + block.used, 0);
    return {
      pool: pool.name,
      cidr: pool.cidr.toString(),
      size: toNumber(pool.cidr.size),
      used,
      free: toNumber(pool.cidr.size - BigInt(used)),
      blocks: inPool.length,
    };
  });
}

function toNumber(value: bigint): number | string {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value.toString();
}

/** What is known about one address. */
export async function showAddress(
  store: Store,
  pools: readonly Pool[],
  reservations: readonly Cidr[],
  ip: Ip,
): Promise<AddressUse> {
  const pool = poolHolding(pools, ip, true);
  const listed = (await listBlocks(store, ip.family)).find(({ cidr }) => cidr.contains(ip));
  const block = listed && readListed(listed)?.block;
  const owner = block && ownerOf(block, ordinalOf(block, ip) ?? 0);
  const isReserved = reservedIn(Cidr.host(ip), reservations) !== undefined;
  return {
    ip: ip.toString(),
    pool: pool?.name ?? null,
    block: block?.cidr.toString() ?? null,
    affinity: block?.affinity ?? null,
    inUse: owner !== undefined,
    reserved: isReserved,
    handle: owner?.handle ?? null,
    attributes: owner?.attributes ?? {},
    why: addressSentence(ip, { pool, block, isHeld: owner !== undefined, isReserved, handle: owner?.handle }),
  };
}

interface AddressFacts {
  readonly pool: Pool | undefined;
  readonly block: Block | undefined;
  readonly isHeld: boolean;
  readonly isReserved: boolean;
  readonly handle: string | undefined;
}

function addressSentence(ip: Ip, { pool, block, isHeld, isReserved, handle }: AddressFacts): string {
  if (isHeld) return `${ip} is in use, ${handle ? `held under ${handle}` : "held without a handle"}`;
  if (!pool) return `${ip} is free, and in no pool: it cannot be given`;
  if (isReserved) return `${ip} is free and reserved: it is given only when asked for`;
  if (!block) return `${ip} is free, in a part of ${pool.name} that no host has claimed`;
  return `${ip} is free, in ${block.affinity === null ? "a block that is nobody's" : `a block of ${block.affinity}`}`;
}
