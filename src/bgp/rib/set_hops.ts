/**
 * The next hop's number of each set of attributes, found once for a set and kept in a column beside the store's.
 *
 * A set's number is used again when the set is gone; its serial tells the old meaning from the new one.
 */

import { type NextHops, OWN_NEXT_HOP } from "../fib/next_hops.ts";
import type { AttributeStore } from "./attribute_store.ts";
import { scopeOf, unscoped } from "./link_local.ts";

/** Next hops by set; `localSet` is the set of the host's own routes. */
export class SetHops {
  #hops = new Int32Array(1024);
  #serials = new Uint32Array(1024);

  constructor(readonly store: AttributeStore, readonly nextHops: NextHops, readonly localSet: number) {}

  /** The number of the set's next hop in `NextHops`. */
  of(set: number): number {
    if (set < this.#hops.length && this.#serials[set] === this.store.serial(set)) return this.#hops[set]!;
    return this.#find(set);
  }

  #find(set: number): number {
    const { store, nextHops } = this;
    if (set >= this.#hops.length) this.#grow(set);
    nextHops.release(this.#hops[set]!);
    const hop = set === this.localSet
      ? OWN_NEXT_HOP
      : store.hasMpNextHop(set)
      ? nextHops.retain(unscoped(store.mpNextHop(set)), scopeOf(store.mpNextHop(set)))
      : nextHops.retain4(store.columns.nextHop4[set]!);
    this.#hops[set] = hop;
    this.#serials[set] = store.serial(set);
    return hop;
  }

  #grow(set: number): void {
    const size = Math.max(this.#hops.length * 2, set + 1);
    const hops = new Int32Array(size), serials = new Uint32Array(size);
    hops.set(this.#hops);
    serials.set(this.#serials);
    this.#hops = hops;
    this.#serials = serials;
  }
}
