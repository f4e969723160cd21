/**
 * A map from a key to several values that takes little room when most keys have one: a lone value stands by itself, more
 * become a set. Labels such as a container's name are unique, so the index of labels is mostly lone values.
 */

/** Values by key; values are objects that are no sets themselves. */
export class MultiMap<K, V extends object> {
  readonly #map = new Map<K, V | Set<V>>();

  /** Adds a value; adding it twice is adding it once. */
  add(key: K, value: V): void {
    const found = this.#map.get(key);
    if (found === undefined) this.#map.set(key, value);
    else if (found instanceof Set) found.add(value);
    else if (found !== value) this.#map.set(key, new Set([found, value]));
  }

  /** Removes a value; true when the key has none left. */
  delete(key: K, value: V): boolean {
    const found = this.#map.get(key);
    if (found instanceof Set) {
      found.delete(value);
      if (found.size > 0) return false;
    } else if (found !== value) return found === undefined;
    this.#map.delete(key);
    return true;
  }

  /** How many values the key has. */
  count(key: K): number {
    const found = this.#map.get(key);
    return found === undefined ? 0 : found instanceof Set ? found.size : 1;
  }

  /** The values of a key. */
  *get(key: K): Generator<V> {
    const found = this.#map.get(key);
    if (found instanceof Set) yield* found;
    else if (found !== undefined) yield found;
  }

  /** Puts the values of a key into a set; this is the hot path, where a generator is too slow. */
  addTo(key: K, into: Set<V>): void {
    const found = this.#map.get(key);
    if (found === undefined) return;
    if (found instanceof Set) { for (const value of found) into.add(value); }
    else into.add(found);
  }

  /** The values of all keys; one that several keys have comes several times. */
  *values(): Generator<V> {
    for (const key of this.#map.keys()) yield* this.get(key);
  }

  get isEmpty(): boolean {
    return this.#map.size === 0;
  }
}

/** Values by label and by the label's value. */
export class PairMap<V extends object> {
  readonly #labels = new Map<string, MultiMap<string, V>>();

  add(label: string, value: string, member: V): void {
    let values = this.#labels.get(label);
    if (!values) this.#labels.set(label, values = new MultiMap());
    values.add(value, member);
  }

  delete(label: string, value: string, member: V): void {
    const values = this.#labels.get(label);
    if (values?.delete(value, member) && values.isEmpty) this.#labels.delete(label);
  }

  /** How many members have the pair. */
  count(label: string, value: string): number {
    return this.#labels.get(label)?.count(value) ?? 0;
  }

  /** The members with the label at that value. */
  *get(label: string, value: string): Generator<V> {
    const values = this.#labels.get(label);
    if (values) yield* values.get(value);
  }

  /** Puts the members with the label at that value into a set. */
  addTo(label: string, value: string, into: Set<V>): void {
    this.#labels.get(label)?.addTo(value, into);
  }

  /** The members with the label, whatever its value. */
  *having(label: string): Generator<V> {
    const values = this.#labels.get(label);
    if (values) yield* values.values();
  }
}
