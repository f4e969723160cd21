/**
 * The order in which a host looks through a pool's blocks: from a start of its own round to the beginning.
 *
 * The start comes from the host's name, so hosts that look at the same moment look in different places and seldom want
 * the same block. Any start is right: only speed depends on it. A pool can hold 2^74 blocks, so the walk makes one at a
 * time and leaps over what is reserved.
 */

import { Cidr } from "../lib/cidr.ts";
import { Ip } from "../lib/ip.ts";
import type { Pool } from "./pools.ts";

/** How many blocks the pool has. */
export function blockCount(pool: Pool): bigint {
  return 1n << BigInt(pool.blockLength - pool.cidr.length);
}

/** The place of a block (or of the block that holds the address) in its pool, from 0. */
export function blockIndex(pool: Pool, ip: Ip): bigint {
  return (ip.toBigInt() - pool.cidr.ip.toBigInt()) >> BigInt(ip.bits - pool.blockLength);
}

/** FNV-1, 32 bits, of the text's UTF-8 bytes. */
export function fnv1(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = (Math.imul(hash, 0x01000193) ^ byte) >>> 0;
  return hash;
}

/** Where a host begins among `count` blocks. */
export function startIndex(host: string, count: bigint): bigint {
  // FNV-1 puts the last character into the low bits only; the mixing spreads it, so that "rack-a" and "rack-b" part.
  let hash = fnv1(host);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (BigInt((hash ^ (hash >>> 16)) >>> 0) * count) >> 32n;
}

/** The pool's blocks from `start` on and round to the beginning, without those that lie wholly in a reserved prefix. */
export function* walkBlocks(pool: Pool, start: bigint, reserved: readonly Cidr[] = []): Generator<Cidr> {
  const count = blockCount(pool);
  const shift = BigInt(pool.cidr.ip.bits - pool.blockLength);
  const base = pool.cidr.ip.toBigInt();
  const inPool = reserved.filter((cidr) => cidr.overlaps(pool.cidr));
  for (const [from, end] of [[start, count], [0n, start]] as const) {
    for (let index = from; index < end;) {
      const cidr = Cidr.of(Ip.fromBigInt(pool.cidr.family, base + (index << shift)), pool.blockLength);
      const reservation = inPool.find((prefix) => prefix.contains(cidr));
      if (reservation) {
        index = ((reservation.last.toBigInt() - base) >> shift) + 1n;
        continue;
      }
      yield cidr;
      index++;
    }
  }
}

/** Sorts blocks of the pool into the order in which `walkBlocks` would come to them. */
export function inWalkOrder<T>(pool: Pool, start: bigint, blocks: readonly T[], cidrOf: (block: T) => Cidr): T[] {
  const count = blockCount(pool);
  const placed = blocks.map((block) => ({
    block,
    place: (blockIndex(pool, cidrOf(block).ip) - start + count) % count,
  }));
  return placed.sort((a, b) => a.place < b.place ? -1 : a.place > b.place ? 1 : 0).map(({ block }) => block);
}
