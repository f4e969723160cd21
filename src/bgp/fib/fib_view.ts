/**
 * What the kernel's main table looks like to the speaker: everything in it but our own routes.
 *
 * It answers two questions: by which way is a next hop reached (longest match), and is there an alien route of the same
 * destination and metric, which an installed route would clash with. Few routes are expected here (networks of
 * the interfaces, static routes, local workloads), so plain maps by prefix length do.
 */

import type { FibRoute } from "../rib/interface.ts";

/** RTN_UNICAST, RTN_LOCAL. */
export const RTN_UNICAST = 1;
export const RTN_LOCAL = 2;
export const RTN_BLACKHOLE = 6;

/** The octets of an address as a key for maps. */
export function addressKey(bytes: Uint8Array): string {
  let key = "";
  for (let i = 0; i < bytes.length; i++) key += String.fromCharCode(bytes[i]!);
  return key;
}

/** One family's routes. */
export class FibView {
  readonly #byLength = new Map<number, Map<string, FibRoute[]>>();
  #lengths: number[] = [];

  /** Adds a route, or replaces the one of the same destination and metric. */
  put(route: FibRoute): void {
    let level = this.#byLength.get(route.length);
    if (!level) {
      this.#byLength.set(route.length, level = new Map());
      this.#lengths = [...this.#byLength.keys()].sort((a, b) => b - a);
    }
    const key = addressKey(route.address);
    const others = (level.get(key) ?? []).filter((other) => other.metric !== route.metric);
    level.set(key, [...others, route].sort((a, b) => a.metric - b.metric));
  }

  /** Takes the route of that destination and metric out. */
  remove(route: FibRoute): void {
    const level = this.#byLength.get(route.length);
    const key = addressKey(route.address);
    const left = level?.get(key)?.filter((other) => other.metric !== route.metric) ?? [];
    if (left.length > 0) level?.set(key, left);
    else level?.delete(key);
  }

  /** The routes of exactly that destination, the lowest metric first. */
  at(address: Uint8Array, length: number): readonly FibRoute[] {
    return this.#byLength.get(length)?.get(addressKey(address)) ?? [];
  }

  /** The route that packets to the address take. */
  lookup(address: Uint8Array): FibRoute | undefined {
    for (const length of this.#lengths) {
      const level = this.#byLength.get(length);
      if (!level || level.size === 0) continue;
      const found = level.get(addressKey(masked(address, length)))?.[0];
      if (found) return found;
    }
    return undefined;
  }

  /** All routes. */
  *routes(): Iterable<FibRoute> {
    for (const level of this.#byLength.values()) for (const routes of level.values()) yield* routes;
  }
}

/** A copy of the address with the bits behind `length` cleared. */
export function masked(address: Uint8Array, length: number): Uint8Array {
  const out = address.slice();
  for (let i = length >> 3; i < out.length; i++) out[i]! &= i === length >> 3 ? 0xff00 >> (length & 7) & 0xff : 0;
  return out;
}
