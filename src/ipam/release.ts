/**
 * Taking addresses back: the handles are read, the block is written, the handles are lowered.
 *
 * The block's write is the moment at which an address becomes free. A crash after it leaves a handle that counts too
 * much, which the next release by handle or `healNode` corrects.
 */

import { Cidr } from "../lib/cidr.ts";
import type { Ip } from "../lib/ip.ts";
import type { Store } from "../store/store.ts";
import { listAffinities } from "./stored/affinity.ts";
import {
  type Block,
  countHeld,
  hostOfAffinity,
  ordinalOf,
  ordinalsHeld,
  ownerOf,
  releaseOrdinals,
} from "./stored/block.ts";
import { readBlock, type StoredBlock, updateOrDeleteBlock } from "./stored/block_store.ts";
import { letGoBlock } from "./claim.ts";
import { IpamError } from "./error.ts";
import { lowerHandles, readHandle, readHandles, settleHandle } from "./stored/handle.ts";
import { type Pool, poolHolding } from "./pools.ts";
import { AGAIN, retry } from "./stored/retry.ts";
import { findBlockHolding, listBlocks, readListed } from "./search.ts";

/** An address to release, if wanted only while it is held under the handle and given at the sequence number. */
export interface ReleaseOption {
  readonly ip: Ip;
  readonly handle?: string;
  readonly sequence?: bigint;
}

/** What came of a release. */
export interface ReleaseResult {
  /** Addresses that were held and are free now. */
  readonly released: readonly Ip[];
  /** Addresses that were free already. */
  readonly unallocated: readonly Ip[];
}

/**
 * Releases addresses, block by block; throws `IpamError` (`mismatch`) when a handle or sequence number is not that of the
 * allocation. Nothing of such a block is released; the other blocks are done first.
 */
export async function releaseAddresses(
  store: Store,
  pools: readonly Pool[],
  options: readonly ReleaseOption[],
): Promise<ReleaseResult> {
  const byBlock = new Map<string, Map<string, ReleaseOption>>();
  const unallocated: Ip[] = [];
  for (const option of options) {
    const cidr = await blockOf(store, pools, option.ip);
    if (!cidr) unallocated.push(option.ip);
    else {
      const ofBlock = byBlock.get(cidr.toString()) ?? new Map<string, ReleaseOption>();
      byBlock.set(cidr.toString(), ofBlock.set(option.ip.toString(), option));
    }
  }
  const released: Ip[] = [];
  let refused: IpamError | undefined;
  for (const [cidr, ofBlock] of byBlock) {
    try {
      const result = await releaseInBlock(store, Cidr.parse(cidr), [...ofBlock.values()]);
      released.push(...result.released);
      unallocated.push(...result.unallocated);
    } catch (error) {
      if (!(error instanceof IpamError)) throw error;
      refused ??= error;
    }
  }
  if (refused) throw refused;
  return { released, unallocated };
}

/** The block of an address: by its pool's block size, or by looking when the pool is gone or had another size. */
async function blockOf(store: Store, pools: readonly Pool[], ip: Ip): Promise<Cidr | undefined> {
  const pool = poolHolding(pools, ip, true);
  const cidr = pool && Cidr.of(ip, pool.blockLength);
  return cidr && await readBlock(store, cidr) ? cidr : await findBlockHolding(store, ip);
}

function releaseInBlock(store: Store, cidr: Cidr, options: readonly ReleaseOption[]): Promise<ReleaseResult> {
  return retry(`release addresses of ${cidr}`, async () => {
    const read = await readBlock(store, cidr);
    if (!read) return { released: [], unallocated: options.map(({ ip }) => ip) };
    const held = options.filter((option) => isHeld(read.block, option));
    const unallocated = options.filter((option) => !held.includes(option)).map(({ ip }) => ip);
    if (held.length === 0) return { released: [], unallocated };
    const ordinals = held.map(({ ip }) => ordinalOf(read.block, ip) ?? 0);
    if (!await writeReleased(store, read, ordinals)) return AGAIN;
    return { released: held.map(({ ip }) => ip), unallocated };
  });
}

/** Whether the address is held; throws `IpamError` (`mismatch`) when it is held by somebody else than was said. */
function isHeld(block: Block, { ip, handle, sequence }: ReleaseOption): boolean {
  const ordinal = ordinalOf(block, ip) ?? 0;
  const owner = ownerOf(block, ordinal);
  const mismatch = (what: string) =>
    new IpamError("mismatch", `Cannot release ${ip}: ${what}; it has been given anew since it was looked at`);
  if (sequence !== undefined && sequence !== (block.sequences.get(ordinal) ?? 0n)) {
    throw mismatch(`it was given at ${block.sequences.get(ordinal) ?? 0n}, not ${sequence}`);
  }
  if (owner && handle && owner.handle !== handle) {
    throw mismatch(`it is held by ${owner.handle ?? "no handle"}, not ${handle}`);
  }
  return owner !== undefined;
}

/** Writes the block without the ordinals and lowers the handles; false when somebody else was faster. */
async function writeReleased(store: Store, read: StoredBlock, ordinals: readonly number[]): Promise<boolean> {
  const { block, byHandle } = releaseOrdinals(read.block, ordinals);
  const handles = await readHandles(store, byHandle.keys());
  if (!await updateOrDeleteBlock(store, read, block)) return false;
  await lowerHandles(store, handles, block);
  return true;
}

/**
 * Releases everything that a handle holds and returns the addresses; throws `IpamError` (`no-handle`) when that is
 * nothing. Where the handle's own record is lost, the blocks of `host` are looked through.
 */
export async function releaseByHandle(store: Store, handle: string, host?: string): Promise<readonly Ip[]> {
  const found = await readHandle(store, handle);
  const cidrs = found ? [...found.counts.keys()].sort() : host ? await affineBlocks(store, host) : [];
  const released: Ip[] = [];
  for (const cidr of cidrs) {
    for (const ip of await releaseHandleInBlock(store, handle, cidr)) released.push(ip);
  }
  if (!found && released.length === 0) {
    throw new IpamError("no-handle", `Cannot release the handle ${handle}: it holds no address`);
  }
  return released;
}

async function affineBlocks(store: Store, host: string): Promise<string[]> {
  return (await listAffinities(store, host)).map(({ cidr }) => cidr.toString());
}

async function releaseHandleInBlock(store: Store, handle: string, cidr: string): Promise<readonly Ip[]> {
  const released = await retry<readonly Ip[] | undefined>(`release the handle ${handle}`, async () => {
    const read = await readBlock(store, cidr);
    if (!read || countHeld(read.block, handle) === 0) return undefined;
    const ordinals = ordinalsHeld(read.block, handle);
    if (!await writeReleased(store, read, ordinals)) return AGAIN;
    return ordinals.map((ordinal) => read.block.cidr.ip.plus(ordinal));
  });
  if (!released) await settleHandle(store, handle, cidr);
  return released ?? [];
}

/** Ends every host's claim to the blocks of a pool; blocks in use stay without affinity. */
export async function releasePoolAffinities(store: Store, pool: Cidr): Promise<void> {
  for (const listed of await listBlocks(store, pool.family)) {
    const host = pool.contains(listed.cidr) ? hostOfAffinity(readListed(listed)?.block.affinity ?? null) : undefined;
    if (host !== undefined) await letGoBlock(store, host, listed.cidr);
  }
}
