/**
 * The prefixes of one family, each known by a small number: a hash table in typed arrays, no object per prefix.
 *
 * Addresses are unsigned 32-bit words in network order; IPv4 uses the first alone. Columns that belong to a prefix
 * whatever it is used for live here; users with columns of their own size them by `capacity`.
 */

import { GROWTH, resize } from "./attribute_columns.ts";

/** Bits of `flags`. */
export const IS_DIRTY = 1;
/** The prefix has left the table in all but name: somebody may still have to be told of its withdrawal. */
export const IS_ZOMBIE = 2;

/** Slots in use cost a cache miss each, so a large table is not made larger than it has to be. */
const MAX_LEAP = 1 << 20;

/** The table; prefix numbers begin at 0. */
export class PrefixTable {
  w0: Uint32Array;
  w1: Uint32Array;
  w2: Uint32Array;
  w3: Uint32Array;
  length: Uint8Array;
  flags: Uint8Array;
  /** First path of the prefix, -1 when there is none. */
  head: Int32Array;
  /** The best path, -1 when there is none. */
  best: Int32Array;
  /** Which prefix conditions of the policies hold (see `filter/prefix_classes.ts`). */
  class: Uint16Array;
  /** Number of the installed or wanted set of FIB next hops, 0 for none. */
  fib: Int32Array;
  /** Pairs: number + 1 (0 for none) and hash, so that a look touches a column only where the prefix is. */
  #slots = new Int32Array(2 * 4096);
  #free: number[] = [];
  #next = 0;
  #size = 0;

  constructor(readonly isV6: boolean, capacity = 1024) {
    const wide = isV6 ? capacity : 0;
    this.w0 = new Uint32Array(capacity);
    this.w1 = new Uint32Array(wide);
    this.w2 = new Uint32Array(wide);
    this.w3 = new Uint32Array(wide);
    this.length = new Uint8Array(capacity);
    this.flags = new Uint8Array(capacity);
    this.head = new Int32Array(capacity);
    this.best = new Int32Array(capacity);
    this.class = new Uint16Array(capacity);
    this.fib = new Int32Array(capacity);
  }

  /** How many prefixes there are. */
  get size(): number {
    return this.#size;
  }
  /** Numbers are below this. */
  get limit(): number {
    return this.#next;
  }
  /** Length of the columns. */
  get capacity(): number {
    return this.w0.length;
  }

  /** The prefix's number, -1 when it is not there. */
  find(w0: number, w1: number, w2: number, w3: number, length: number): number {
    return this.#look(w0, w1, w2, w3, length, this.#hash(w0, w1, w2, w3, length));
  }

  #look(w0: number, w1: number, w2: number, w3: number, length: number, hash: number): number {
    const slots = this.#slots, mask = slots.length - 1;
    for (let slot = hash << 1 & mask;; slot = slot + 2 & mask) {
      const id = slots[slot]! - 1;
      if (id < 0) return -1;
      if (slots[slot + 1] !== hash || this.w0[id] !== w0 || this.length[id] !== length) continue;
      if (!this.isV6 || this.#equals(id, w1, w2, w3)) return id;
    }
  }

  /** The prefix's number, made when it is new: then `head` and `best` are -1, the rest 0. */
  intern(w0: number, w1: number, w2: number, w3: number, length: number): number {
    const hash = this.#hash(w0, w1, w2, w3, length);
    const found = this.#look(w0, w1, w2, w3, length, hash);
    if (found >= 0) return found;
    const id = this.#free.pop() ?? this.#next++;
    if (id >= this.capacity) this.#grow();
    this.w0[id] = w0;
    if (this.isV6) {
      this.w1[id] = w1;
      this.w2[id] = w2;
      this.w3[id] = w3;
    }
    this.length[id] = length;
    this.flags[id] = 0;
    this.head[id] = -1;
    this.best[id] = -1;
    this.class[id] = 0;
    this.fib[id] = 0;
    this.#size++;
    if (this.#size * 4 > this.#slots.length) this.#rehash();
    place(this.#slots, id, hash);
    return id;
  }

  /** Takes the prefix out; its number may be given to another one. */
  remove(id: number): void {
    const slots = this.#slots, mask = slots.length - 1;
    let hole = this.#hashOf(id) << 1 & mask;
    while (slots[hole] !== id + 1) hole = hole + 2 & mask;
    for (let next = hole + 2 & mask; slots[next] !== 0; next = next + 2 & mask) {
      const home = slots[next + 1]! << 1;
      if ((next - home & mask) >= (next - hole & mask)) {
        slots[hole] = slots[next]!;
        slots[hole + 1] = slots[next + 1]!;
        hole = next;
      }
    }
    slots[hole] = 0;
    this.length[id] = 255;
    this.#size--;
    this.#free.push(id);
  }

  /** Whether the number belongs to a prefix. */
  isLive(id: number): boolean {
    return this.length[id] !== 255;
  }

  /** Writes the address as 4 or 16 octets. */
  address(id: number, out: Uint8Array = new Uint8Array(this.isV6 ? 16 : 4)): Uint8Array {
    putWord(out, 0, this.w0[id]!);
    if (this.isV6) {
      putWord(out, 4, this.w1[id]!);
      putWord(out, 8, this.w2[id]!);
      putWord(out, 12, this.w3[id]!);
    }
    return out;
  }

  #equals(id: number, w1: number, w2: number, w3: number): boolean {
    return this.w1[id] === w1 && this.w2[id] === w2 && this.w3[id] === w3;
  }

  #hashOf(id: number): number {
    return this.isV6
      ? this.#hash(this.w0[id]!, this.w1[id]!, this.w2[id]!, this.w3[id]!, this.length[id]!)
      : this.#hash(this.w0[id]!, 0, 0, 0, this.length[id]!);
  }

  /**
   * Eight neighbouring prefixes of one length have neighbouring slots, because they come together: else each would cost a
   * miss of the processor's cache. Above that, every bit reaches the low bits, which choose the slot.
   */
  #hash(w0: number, w1: number, w2: number, w3: number, length: number): number {
    const last = length > 96 ? w3 : length > 64 ? w2 : length > 32 ? w1 : w0;
    const host = 32 - length & 31;
    let hash = Math.imul(length, 0x9e3779b1);
    if (this.isV6) {
      hash = mix(hash ^ (length > 32 ? w0 : 0));
      hash = mix(hash ^ (length > 64 ? w1 : 0));
      hash = mix(hash ^ (length > 96 ? w2 : 0));
    }
    return (mix(hash ^ last >>> host >>> 3) << 3) + (last >>> host & 7) | 0;
  }

  #rehash(): void {
    const old = this.#slots, slots = new Int32Array(old.length * (old.length < MAX_LEAP ? 4 : 2));
    for (let slot = 0; slot < old.length; slot += 2) {
      if (old[slot] !== 0) place(slots, old[slot]! - 1, old[slot + 1]!);
    }
    this.#slots = slots;
  }

  #grow(): void {
    const size = this.capacity * GROWTH, wide = this.isV6 ? size : 0;
    this.w0 = resize(this.w0, new Uint32Array(size));
    this.w1 = resize(this.w1, new Uint32Array(wide));
    this.w2 = resize(this.w2, new Uint32Array(wide));
    this.w3 = resize(this.w3, new Uint32Array(wide));
    this.length = resize(this.length, new Uint8Array(size));
    this.flags = resize(this.flags, new Uint8Array(size));
    this.head = resize(this.head, new Int32Array(size));
    this.best = resize(this.best, new Int32Array(size));
    this.class = resize(this.class, new Uint16Array(size));
    this.fib = resize(this.fib, new Int32Array(size));
  }
}

/** Finalizer of MurmurHash3: all bits depend on all bits. */
function mix(word: number): number {
  word = Math.imul(word ^ word >>> 16, 0x85ebca6b);
  word = Math.imul(word ^ word >>> 13, 0xc2b2ae35);
  return word ^ word >>> 16;
}

function place(slots: Int32Array, id: number, hash: number): void {
  const mask = slots.length - 1;
  let slot = hash << 1 & mask;
  while (slots[slot] !== 0) slot = slot + 2 & mask;
  slots[slot] = id + 1;
  slots[slot + 1] = hash;
}

function putWord(out: Uint8Array, at: number, word: number): void {
  out[at] = word >>> 24;
  out[at + 1] = word >>> 16;
  out[at + 2] = word >>> 8;
  out[at + 3] = word;
}
