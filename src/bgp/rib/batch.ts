/**
 * Prefixes that got new attributes, to be grouped by set: messages carry many prefixes and one set.
 *
 * Grouping is by chains through arrays that are reused, so it costs the batch and not the number of sets.
 */

/** Changed prefixes with their new sets, to be grouped by set. */
export class Batch {
  #prefixes = new Int32Array(256);
  #sets = new Int32Array(256);
  #sources = new Int32Array(256);
  #next = new Int32Array(256);
  length = 0;

  add(prefix: number, set: number, source: number): void {
    const at = this.length++;
    if (at >= this.#prefixes.length) {
      const grow = (from: Int32Array) => {
        const to = new Int32Array(from.length * 2);
        to.set(from);
        return to;
      };
      this.#prefixes = grow(this.#prefixes);
      this.#sets = grow(this.#sets);
      this.#sources = grow(this.#sources);
      this.#next = grow(this.#next);
    }
    this.#prefixes[at] = prefix;
    this.#sets[at] = set;
    this.#sources[at] = source;
  }

  /**
   * Calls `each` with (set, source, -1, true) where a run of one set and source begins, with every prefix of it, and with
   * (set, -1, -1, true) where it ends. Empties the batch.
   */
  pack(limit: number, each: (set: number, source: number, prefix: number, isFirst: boolean) => void): void {
    const { length } = this;
    if (length === 0) return;
    const heads = length === 1 ? undefined : bucketHeads(limit);
    if (!heads) {
      each(this.#sets[0]!, this.#sources[0]!, -1, true);
      each(this.#sets[0]!, this.#sources[0]!, this.#prefixes[0]!, false);
      each(this.#sets[0]!, -1, -1, true);
      this.length = 0;
      return;
    }
    // Chained backwards, so that a chain comes out in order of arrival.
    for (let i = length - 1; i >= 0; i--) {
      const set = this.#sets[i]!;
      this.#next[i] = heads[set]!;
      heads[set] = i + 1;
    }
    for (let i = 0; i < length; i++) {
      const set = this.#sets[i]!;
      if (heads[set] !== i + 1) continue;
      let source = -1;
      for (let at = i; at >= 0; at = this.#next[at]! - 1) {
        if (this.#sources[at] !== source) {
          if (source >= 0) each(set, -1, -1, true);
          source = this.#sources[at]!;
          each(set, source, -1, true);
        }
        each(set, source, this.#prefixes[at]!, false);
      }
      each(set, -1, -1, true);
      heads[set] = 0;
    }
    this.length = 0;
  }
}

let shared = new Int32Array(1024);

/** Zeroed heads for sets below the limit; whoever uses them leaves them zeroed. */
function bucketHeads(limit: number): Int32Array {
  if (shared.length < limit) shared = new Int32Array(Math.max(limit, shared.length * 2));
  return shared;
}
