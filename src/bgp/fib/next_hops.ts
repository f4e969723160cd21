/**
 * Next hops of paths, each resolved once against the FIB for all the paths that share it (RFC 4271 section 5.1.3, 9.1.2.1).
 *
 * A next hop on a connected network is its own gateway; one behind a static route takes that route's gateway. Routes of
 * BGP never resolve a next hop, so there is no loop. When the FIB changes, `resolveAll` tells which next hops came out
 * differently, and only the prefixes of their paths are decided again. Next hop 0 is "no path", 1 is the host itself.
 */

import { addressKey, type FibView, RTN_LOCAL, RTN_UNICAST } from "./fib_view.ts";
import type { FibNexthop } from "../rib/interface.ts";

/** How a next hop is reached; without ways it is not. */
export interface Resolution {
  readonly ways: readonly FibNexthop[];
  /** The metric of the route that leads there; 0 for a connected network. */
  readonly cost: number;
  /** Why there is no way; undefined when there is one. */
  readonly problem?: "unreachable" | "own address";
}

/** The next hop number of the host's own routes. */
export const OWN_NEXT_HOP = 1;

const UNREACHABLE: Resolution = { ways: [], cost: 0, problem: "unreachable" };
const OWN_ADDRESS: Resolution = { ways: [], cost: 0, problem: "own address" };
const ITSELF: Resolution = { ways: [], cost: 0 };

interface Entry {
  readonly key: string;
  readonly address: Uint8Array;
  /** The session's interface, for a link-local address; 0 otherwise. */
  readonly ifindex: number;
  uses: number;
  resolution: Resolution;
}

/** The next hops in use; both families in one table. */
export class NextHops {
  readonly #byKey = new Map<string, number>();
  /** The IPv4 ones once more, by the address as a number: nearly every set of attributes has one. */
  readonly #byWord = new Map<number, number>();
  readonly #entries: (Entry | undefined)[] = [undefined, undefined];
  readonly #free: number[] = [];
  readonly #own = new Map<string, number>();

  /** Without learning there is nothing to resolve against: every next hop counts as connected. */
  constructor(readonly fib4: FibView, readonly fib6: FibView, public isResolving: boolean) {}

  /** Counts a use of the next hop (4, 16 or 32 octets) and returns its number. */
  retain(bytes: Uint8Array, ifindex = 0): number {
    const address = bytes.length === 32 ? bytes.subarray(0, 16) : bytes;
    const scope = isLinkLocal(address) ? ifindex : 0;
    const key = scope === 0 ? addressKey(address) : `${addressKey(address)}%${scope}`;
    const known = this.#byKey.get(key);
    if (known !== undefined) {
      this.#entries[known]!.uses++;
      return known;
    }
    const number = this.#free.pop() ?? this.#entries.length;
    const entry = { key, address: address.slice(), ifindex: scope, uses: 1, resolution: UNREACHABLE };
    entry.resolution = this.#resolve(entry);
    this.#entries[number] = entry;
    this.#byKey.set(key, number);
    if (address.length === 4) this.#byWord.set(wordOf(address), number);
    return number;
  }

  /** As `retain`, of an IPv4 address as an unsigned number. */
  retain4(word: number): number {
    const known = this.#byWord.get(word);
    if (known === undefined) return this.retain(Uint8Array.of(word >>> 24, word >>> 16, word >>> 8, word));
    this.#entries[known]!.uses++;
    return known;
  }

  /** One use less. */
  release(number: number): void {
    const entry = this.#entries[number];
    if (!entry || --entry.uses > 0) return;
    if (entry.address.length === 4) this.#byWord.delete(wordOf(entry.address));
    this.#byKey.delete(entry.key);
    this.#entries[number] = undefined;
    this.#free.push(number);
  }

  resolution(number: number): Resolution {
    return this.#entries[number]?.resolution ?? ITSELF;
  }

  /** The address of a next hop, for show and for filters; undefined for the host itself. */
  address(number: number): Uint8Array | undefined {
    return this.#entries[number]?.address;
  }

  /** One of the host's own addresses came or went (counted, since two interfaces may share one). */
  setOwn(address: Uint8Array, isGone: boolean): void {
    const key = addressKey(address);
    const count = (this.#own.get(key) ?? 0) + (isGone ? -1 : 1);
    if (count > 0) this.#own.set(key, count);
    else this.#own.delete(key);
  }

  isOwn(address: Uint8Array): boolean {
    return this.#own.has(addressKey(address));
  }

  /** Resolves everything anew; the result holds the numbers whose resolution is another one now. */
  resolveAll(): Set<number> {
    const changed = new Set<number>();
    for (const [number, entry] of this.#entries.entries()) {
      if (!entry) continue;
      const resolution = this.#resolve(entry);
      if (isSame(resolution, entry.resolution)) continue;
      entry.resolution = resolution;
      changed.add(number);
    }
    return changed;
  }

  #resolve({ address, ifindex }: { address: Uint8Array; ifindex: number }): Resolution {
    if (this.isOwn(address)) return OWN_ADDRESS;
    if (!this.isResolving) return { ways: [{ gateway: address, ifindex: 0, isOnlink: true }], cost: 0 };
    if (ifindex !== 0) return { ways: [{ gateway: address, ifindex, isOnlink: true }], cost: 0 };
    const route = (address.length === 4 ? this.fib4 : this.fib6).lookup(address);
    if (!route) return UNREACHABLE;
    if (route.type === RTN_LOCAL) return OWN_ADDRESS;
    if (route.type !== RTN_UNICAST || route.nexthops.length === 0) return UNREACHABLE;
    const isConnected = route.nexthops.every((way) => way.gateway === undefined);
    const ways = route.nexthops.map((way): FibNexthop =>
      way.gateway === undefined ? { gateway: address, ifindex: way.ifindex, isOnlink: true } : way
    );
    return { ways, cost: isConnected ? 0 : route.metric };
  }
}

function wordOf(address: Uint8Array): number {
  return (address[0]! << 24 | address[1]! << 16 | address[2]! << 8 | address[3]!) >>> 0;
}

function isLinkLocal(address: Uint8Array): boolean {
  return address.length === 16 && address[0] === 0xfe && (address[1]! & 0xc0) === 0x80;
}

function isSame(a: Resolution, b: Resolution): boolean {
  return a.cost === b.cost && a.problem === b.problem && a.ways.length === b.ways.length &&
    a.ways.every((way, i) => wayKey(way) === wayKey(b.ways[i]!));
}

/** A way as a key: equal ways have equal keys. */
export function wayKey(way: FibNexthop): string {
  return `${way.gateway ? addressKey(way.gateway) : ""}%${way.ifindex}${way.isOnlink ? "!" : ""}`;
}
