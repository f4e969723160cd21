/** What an update group's members have been told, by prefix number: the set of attributes and whose route it is. */

import { GROWTH, resize } from "./attribute_columns.ts";
import type { AttributeStore } from "./attribute_store.ts";

/** One family of one group. A set in it counts as used. */
export class AdjRibOut {
  #sets = new Int32Array(1024);
  #sources = new Uint16Array(1024);
  /** Prefixes that are told. */
  count = 0;
  /** Of these, how many are each peer's own. */
  #countBySource = new Int32Array(64);

  constructor(readonly store: AttributeStore) {}

  /** The set that members were told, 0 for none. */
  set(prefix: number): number {
    return this.#sets[prefix] ?? 0;
  }

  /** The peer whose route it is: it alone was not told. */
  source(prefix: number): number {
    return this.#sources[prefix] ?? 0;
  }

  /** How many of the told prefixes are routes of the peer. */
  countOf(source: number): number {
    return this.#countBySource[source] ?? 0;
  }

  put(prefix: number, set: number, source: number): void {
    if (prefix >= this.#sets.length) {
      const size = Math.max(this.#sets.length * GROWTH, prefix + 1);
      this.#sets = resize(this.#sets, new Int32Array(size));
      this.#sources = resize(this.#sources, new Uint16Array(size));
    }
    if (source >= this.#countBySource.length) {
      this.#countBySource = resize(this.#countBySource, new Int32Array(source * 2));
    }
    const old = this.#sets[prefix]!, oldSource = this.#sources[prefix]!;
    if (set !== 0) {
      this.store.retain(set);
      this.count++;
      this.#countBySource[source]!++;
    }
    this.#sets[prefix] = set;
    this.#sources[prefix] = source;
    if (old !== 0) {
      this.store.release(old);
      this.count--;
      this.#countBySource[oldSource]!--;
    }
  }

  /** Calls `visit` with every prefix that is told. */
  each(visit: (prefix: number) => void): void {
    for (let prefix = 0, left = this.count; left > 0; prefix++) {
      if (this.#sets[prefix] === 0) continue;
      left--;
      visit(prefix);
    }
  }

  clear(): void {
    this.each((prefix) => this.store.release(this.#sets[prefix]!));
    this.#sets.fill(0);
    this.#countBySource.fill(0);
    this.count = 0;
  }
}
