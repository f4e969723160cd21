/**
 * Remembers what a policy made of a set of attributes, so that it runs once for a set and not once for a prefix.
 *
 * Keyed by set, prefix class and source. A slot holds the last result only: a miss costs a run of the policy, never a
 * wrong answer, because sets are compared with their serials. Holds no use of any set.
 */

import type { AttributeStore } from "./attribute_store.ts";

const SLOTS = 4096;

/** The cache; results are sets or other numbers below 1, but for -1, by which `get` says "not known". */
export class ResultCache {
  readonly #key = new Int32Array(SLOTS);
  readonly #keySerial = new Uint32Array(SLOTS);
  readonly #class = new Int32Array(SLOTS);
  readonly #source = new Int32Array(SLOTS);
  readonly #value = new Int32Array(SLOTS);
  readonly #valueSerial = new Uint32Array(SLOTS);

  constructor(readonly store: AttributeStore) {}

  get(id: number, prefixClass: number, source: number): number {
    const slot = slotOf(id, prefixClass, source);
    if (
      this.#key[slot] !== id || this.#class[slot] !== prefixClass || this.#source[slot] !== source ||
      this.#keySerial[slot] !== this.store.serial(id)
    ) return -1;
    const value = this.#value[slot]!;
    return value <= 0 || this.store.serial(value) === this.#valueSerial[slot] ? value : -1;
  }

  put(id: number, prefixClass: number, source: number, value: number): void {
    const slot = slotOf(id, prefixClass, source);
    this.#key[slot] = id;
    this.#keySerial[slot] = this.store.serial(id);
    this.#class[slot] = prefixClass;
    this.#source[slot] = source;
    this.#value[slot] = value;
    this.#valueSerial[slot] = value <= 0 ? 0 : this.store.serial(value);
  }

  /** Forgets everything, after a policy or what it depends on has changed. */
  clear(): void {
    this.#key.fill(0);
  }
}

function slotOf(id: number, prefixClass: number, source: number): number {
  const hash = Math.imul(id, 0x9e3779b1) ^ Math.imul(prefixClass, 0x85ebca6b) ^ Math.imul(source, 0xc2b2ae35);
  return (hash ^ hash >>> 15) & SLOTS - 1;
}
