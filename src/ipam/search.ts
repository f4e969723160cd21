/**
 * Looking for a block when a host's own ones are used up: an unclaimed one, an empty one that another host no longer
 * needs, or (to borrow from) any that has addresses.
 *
 * This lists all blocks of a family, which only the first address of a new block pays for.
 */

import { Cidr } from "../lib/cidr.ts";
import type { Family, Ip } from "../lib/ip.ts";
import { BLOCKS_PREFIX } from "../model/keys/build.ts";
import type { Entry, Store } from "../store/store.ts";
import { addressOf, type Block, hostOfAffinity, isEmptyBlock, parseBlock } from "./stored/block.ts";
import { deleteBlock, type StoredBlock } from "./stored/block_store.ts";
import { claimBlock, hostAffinity, type IpamContext, letGoBlock } from "./claim.ts";
import { IpamError } from "./error.ts";
import { inWalkOrder, walkBlocks } from "./order.ts";
import { type Pool, poolText } from "./pools.ts";
import { AGAIN, retry } from "./stored/retry.ts";
import { reservedIn } from "./sources.ts";

/** The least age of a claim, in milliseconds, before another host takes over an empty block: two hosts must not tear at it. */
export const MIN_TAKEOVER_AGE = 60_000;

/** A block's entry, read only as far as its key. */
export interface ListedBlock {
  readonly cidr: Cidr;
  readonly entry: Entry;
}

/** The blocks in the store, in key order; keys that name no prefix are left out. */
export async function listBlocks(store: Store, family?: Family): Promise<ListedBlock[]> {
  const listing = await store.list(family ? `${BLOCKS_PREFIX}ipv${family}/block/` : BLOCKS_PREFIX);
  return listing.entries.flatMap((entry) => {
    const cidr = Cidr.tryParse(entry.key.slice(entry.key.lastIndexOf("/") + 1).replace("-", "/"));
    return cidr ? [{ cidr, entry }] : [];
  });
}

/** The block in a listed entry; undefined when it cannot be read (`checkIpam` reports it). */
export function readListed(listed: ListedBlock): StoredBlock | undefined {
  try {
    return { block: parseBlock(listed.entry.value, listed.entry.key), entry: listed.entry };
  } catch (error) {
    if (error instanceof IpamError) return undefined;
    throw error;
  }
}

/** How many addresses of the block can still be given by themselves. */
export function countFree(block: Block, reservations: readonly Cidr[]): number {
  const isReserved = reservedIn(block.cidr, reservations);
  if (!isReserved) return block.unallocated.length;
  return block.unallocated.filter((ordinal) => !isReserved(addressOf(block, ordinal))).length;
}

/** What a search is for. */
export interface BlockSearch {
  readonly host: string;
  readonly pools: readonly Pool[];
  readonly reservations: readonly Cidr[];
  /** Where the walk through a pool begins. */
  startIn(pool: Pool): bigint;
}

/** Finds and claims a block of one of the pools; undefined when there is none. All pools must be of one family. */
export function claimNewBlock(context: IpamContext, search: BlockSearch): Promise<StoredBlock | undefined> {
  const family = search.pools[0]?.cidr.family;
  return retry<StoredBlock | undefined>(`find a block for ${search.host}`, async () => {
    const listed = await listBlocks(context.store, family);
    const existing = new Map(listed.map((block) => [block.cidr.toString(), block]));
    const others: ListedBlock[] = [];
    for (const pool of search.pools) {
      const odd = oddBlocks(pool, listed);
      for (const cidr of walkBlocks(pool, search.startIn(pool), search.reservations)) {
        const there = existing.get(cidr.toString());
        if (there ? !isOursWithSpace(there, search) : isUnusable(cidr, odd, search.reservations)) {
          if (there) others.push(there);
          continue;
        }
        return await claimBlock(context, search.host, cidr, { isFound: true }) ?? AGAIN;
      }
    }
    for (const other of others) {
      const read = readListed(other);
      if (!read || !isEmptyBlock(read.block) || countFree(read.block, search.reservations) === 0) continue;
      if (!await takeOver(context, read)) continue;
      return await claimBlock(context, search.host, other.cidr, { isFound: true }) ?? AGAIN;
    }
    return undefined;
  });
}

/** Whether a listed block is the host's and has addresses; reads only blocks that name the host at all. */
function isOursWithSpace(listed: ListedBlock, search: BlockSearch): boolean {
  const affinity = hostAffinity(search.host);
  if (!listed.entry.value.includes(JSON.stringify(affinity))) return false;
  const block = readListed(listed)?.block;
  return block?.affinity === affinity && countFree(block, search.reservations) > 0;
}

function isUnusable(cidr: Cidr, odd: readonly Cidr[], reservations: readonly Cidr[]): boolean {
  return odd.some((other) => other.overlaps(cidr)) || isWhollyReserved(cidr, reservations);
}

/** Whether reservations together leave no address of a block that does not exist yet. */
function isWhollyReserved(cidr: Cidr, reservations: readonly Cidr[]): boolean {
  const isReserved = reservedIn(cidr, reservations);
  if (!isReserved) return false;
  for (let ip = cidr.ip, left = cidr.size; left > 0n; left--) {
    if (!isReserved(ip)) return false;
    if (left > 1n) ip = ip.plus(1);
  }
  return true;
}

/** Blocks that lie in the pool but are not of its size, left by a pool that was there before. */
function oddBlocks(pool: Pool, listed: readonly ListedBlock[]): Cidr[] {
  return listed.map(({ cidr }) => cidr)
    .filter((cidr) => cidr.length !== pool.blockLength && cidr.overlaps(pool.cidr));
}

/** Takes an empty block from its owner, if nobody has touched it since it was read and the claim is old enough. */
async function takeOver(context: IpamContext, read: StoredBlock): Promise<boolean> {
  const { affinity, claimedAt, cidr, sequence } = read.block;
  if (affinity === null) return await deleteBlock(context.store, read);
  const owner = hostOfAffinity(affinity);
  const claimed = claimedAt === undefined ? 0 : Date.parse(claimedAt);
  if (owner === undefined || context.now() - claimed < MIN_TAKEOVER_AGE) return false;
  return await letGoBlock(context.store, owner, cidr, { mustBeEmpty: true, sequence }) === "released";
}

/** The blocks of the pools that are not the host's and seem to have addresses, in the order in which to borrow. */
export async function blocksToBorrow(store: Store, search: BlockSearch): Promise<Cidr[]> {
  const listed = await listBlocks(store, search.pools[0]?.cidr.family);
  return search.pools.flatMap((pool) => {
    const inPool = listed.filter(({ cidr }) => pool.cidr.contains(cidr));
    return inWalkOrder(pool, search.startIn(pool), inPool, ({ cidr }) => cidr).filter((block) => {
      const read = readListed(block);
      return read && read.block.affinity !== hostAffinity(search.host) &&
        countFree(read.block, search.reservations) > 0;
    }).map(({ cidr }) => cidr);
  });
}

/** Says with numbers how full the pools are: "rack1 (10.0.0.0/24): 250 of 256 in use, 6 free in blocks of b". */
export async function fillReport(store: Store, search: BlockSearch): Promise<string> {
  const listed = await listBlocks(store, search.pools[0]?.cidr.family);
  return search.pools.map((pool) => {
    const blocks = listed.filter(({ cidr }) => pool.cidr.contains(cidr)).map(readListed);
    let used = 0;
    let unreadable = 0;
    const free = new Map<string, number>();
    for (const read of blocks) {
      if (!read) unreadable++;
      else {
        used += read.block.allocations.length - read.block.unallocated.length;
        const owner = read.block.affinity ?? "nobody";
        const left = countFree(read.block, search.reservations);
        if (left > 0) free.set(owner, (free.get(owner) ?? 0) + left);
      }
    }
    const parts = [`${used} of ${pool.cidr.size} addresses in use`];
    for (const [owner, left] of free) parts.push(`${left} free in blocks of ${owner}`);
    if (search.reservations.some((prefix) => prefix.overlaps(pool.cidr))) parts.push("some reserved");
    if (unreadable > 0) parts.push(`${unreadable} blocks cannot be read`);
    return `${poolText(pool)}: ${parts.join(", ")}`;
  }).join("; ");
}

/** The existing block that holds the address, whatever its size; undefined when none does. */
export async function findBlockHolding(store: Store, ip: Ip): Promise<Cidr | undefined> {
  return (await listBlocks(store, ip.family)).find(({ cidr }) => cidr.contains(ip))?.cidr;
}

/** Whether a block of that prefix could share addresses with one of another size. */
export async function overlapsOtherBlock(store: Store, wanted: Cidr): Promise<Cidr | undefined> {
  return (await listBlocks(store, wanted.family)).find(({ cidr }) => !cidr.equals(wanted) && cidr.overlaps(wanted))
    ?.cidr;
}
