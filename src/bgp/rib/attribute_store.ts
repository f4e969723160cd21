/**
 * Unique sets of path attributes, each stored once by its raw octets and known by a small number.
 *
 * A set is the octets as received (without MP_REACH and MP_UNREACH), the next hop of MP_REACH if there is one, and the
 * kind of session that it was read by, since RFC 7606 reads the same octets differently. What the decision process
 * compares is kept in columns; all else is decoded again on the rare occasions that need it. Sets count their users and
 * are freed with the last; a number may then be used anew, so caches compare `serial` too. Number 0 is no set.
 *
 *   arena entry:  kind of session 2 | next hop length 1 | next hop of MP_REACH | raw attributes
 */

import { decodeAttributes, encodeAttributes, type PathAttributes } from "../wire/attributes.ts";
import type { Fault } from "../wire/fault.ts";
import { PLAIN_INTERNAL, type WireOptions } from "../wire/options.ts";
import { Arena } from "./arena.ts";
import { AttributeColumns, fillRow, GROWTH, makeRow, resize, scanPlain } from "./attribute_columns.ts";

const HEADER = 3;
/** Kinds 0 and 1 are our own form (4-octet AS numbers, ascending types), with and without a local preference. */
const PLAIN_EXTERNAL: WireOptions = { ...PLAIN_INTERNAL, isInternal: false, peerAs: 0 };

const NO_NEXT_HOP = new Uint8Array(0);

/** The store; all numbers that it gives out are its own. */
export class AttributeStore {
  readonly columns = new AttributeColumns();
  /** What was wrong with the octets that `intern` refused last. */
  fault: Fault | undefined;
  readonly #arena = new Arena();
  readonly #kinds: WireOptions[] = [PLAIN_INTERNAL, PLAIN_EXTERNAL];
  readonly #kindOf = new Map<string, number>();
  readonly #row = makeRow();
  #hash = new Uint32Array(1024);
  #offset = new Uint32Array(1024);
  #length = new Uint32Array(1024);
  #refs = new Int32Array(1024);
  #serial = new Uint32Array(1024);
  #slots = new Int32Array(4096);
  readonly #free: number[] = [];
  #next = 1;
  #size = 0;
  #serials = 0;
  /** Length and hash of the entry that was looked up last. */
  #wantedLength = 0;
  #wantedHash = 0;
  #last: { id: number; serial: number; value: PathAttributes } | undefined;

  /** How many sets there are. */
  get size(): number {
    return this.#size;
  }
  /** Octets of the stored sets. */
  get octets(): number {
    return this.#arena.used;
  }
  /** Numbers are below this. */
  get limit(): number {
    return this.#next;
  }

  /** The number of the kind of session that reads attributes as this one does. */
  kindOf(options: WireOptions): number {
    if (options.isInternal && options.isFourOctetAs) return 0;
    const key = [
      options.isInternal,
      options.isConfederation,
      options.isFourOctetAs,
      !options.isInternal && options.mustBeginWithPeerAs ? options.peerAs : "",
    ].join();
    const known = this.#kindOf.get(key);
    if (known !== undefined) return known;
    const kind = this.#kinds.push(options) - 1;
    this.#kindOf.set(key, kind);
    return kind;
  }

  /**
   * The set of these octets, made when it is new; its use is not counted yet. -1 when they are refused, with the reason
   * in `fault`. `nextHop` is the one of MP_REACH; undefined means NEXT_HOP.
   */
  intern(kind: number, raw: Uint8Array, start: number, end: number, nextHop?: Uint8Array): number {
    const found = this.#find(kind, raw, start, end, nextHop);
    if (found !== 0) return found;
    const options = this.#kinds[kind] ?? PLAIN_INTERNAL;
    if (scanPlain(raw, start, end, options, nextHop !== undefined, this.#row)) {
      return this.#add(kind, raw, start, end, nextHop);
    }
    const result = decodeAttributes(raw.subarray(start, end), options, nextHop);
    if (!result.ok) {
      this.fault = result.fault;
      return -1;
    }
    // Discarded attributes are gone for good: the set is stored as it was understood.
    if (result.discarded.length > 0) return this.internValue(result.attributes);
    fillRow(this.#row, result.attributes);
    return this.#add(kind, raw, start, end, nextHop);
  }

  /** The set of a value, which must have a next hop. */
  internValue(attributes: PathAttributes): number {
    const raw = encodeAttributes(attributes, PLAIN_INTERNAL);
    const { nextHop } = attributes;
    const kind = attributes.localPref === undefined ? 1 : 0;
    const mpNextHop = nextHop?.length === 4 ? undefined : nextHop;
    const found = this.#find(kind, raw, 0, raw.length, mpNextHop);
    if (found !== 0) return found;
    fillRow(this.#row, attributes);
    return this.#add(kind, raw, 0, raw.length, mpNextHop);
  }

  /** The set of octets in our own form that are known to be right; `like` is the set whose columns it shares. */
  internSpliced(raw: Uint8Array, length: number, nextHop: Uint8Array | undefined, isInternal: boolean): number {
    const kind = isInternal ? 0 : 1;
    const found = this.#find(kind, raw, 0, length, nextHop);
    if (found !== 0) return found;
    if (!scanPlain(raw, 0, length, isInternal ? PLAIN_INTERNAL : PLAIN_EXTERNAL, nextHop !== undefined, this.#row)) {
      throw new Error("spliced attributes are not plain");
    }
    return this.#add(kind, raw, 0, length, nextHop);
  }

  /** The decoded value of a set; shared, never to be changed. */
  decode(id: number): PathAttributes {
    const serial = this.#serial[id]!;
    if (this.#last?.id === id && this.#last.serial === serial) return this.#last.value;
    const at = this.#offset[id]!;
    const bytes = this.#arena.bytes;
    const kind = bytes[at]! << 8 | bytes[at + 1]!;
    const nextHop = this.mpNextHop(id);
    const raw = bytes.slice(at + HEADER + nextHop.length, at + this.#length[id]!);
    const result = decodeAttributes(raw, this.#kinds[kind] ?? PLAIN_INTERNAL, nextHop.length > 0 ? nextHop : undefined);
    if (!result.ok) throw new Error(`stored attributes cannot be decoded: ${result.fault.reason}`);
    this.#last = { id, serial, value: result.attributes };
    return result.attributes;
  }

  /** The raw attributes of a set, without MP_REACH; `undefined` when they are not in our own form. A passing view. */
  ownRaw(id: number): Uint8Array | undefined {
    const at = this.#offset[id]!;
    const bytes = this.#arena.bytes;
    if (bytes[at] !== 0 || bytes[at + 1]! > 1) return undefined;
    return bytes.subarray(at + HEADER + bytes[at + 2]!, at + this.#length[id]!);
  }

  /** The raw attributes as they are stored, whatever their form. A passing view. */
  raw(id: number): Uint8Array {
    const at = this.#offset[id]!;
    const bytes = this.#arena.bytes;
    return bytes.subarray(at + HEADER + bytes[at + 2]!, at + this.#length[id]!);
  }

  /** The next hop of MP_REACH that the set carries; empty when it has NEXT_HOP instead. A passing view. */
  mpNextHop(id: number): Uint8Array {
    const at = this.#offset[id]! + HEADER;
    return this.#arena.bytes.subarray(at, at + this.#arena.bytes[at - 1]!);
  }

  /** Whether the set carries a next hop of MP_REACH. */
  hasMpNextHop(id: number): boolean {
    return this.#arena.bytes[this.#offset[id]! + HEADER - 1] !== 0;
  }

  retain(id: number): void {
    this.#refs[id]!++;
  }

  /** One user less; frees the set with the last one. */
  release(id: number): void {
    const left = --this.#refs[id]!;
    if (left < 0) throw new Error(`attributes ${id} have been released more often than retained`);
    if (left === 0) this.#drop(id);
  }

  /** Frees a set that nobody uses. */
  releaseUnused(id: number): void {
    if (id > 0 && this.#refs[id] === 0 && this.#length[id] !== 0) this.#drop(id);
  }

  /** Grows each time a set is made, and so tells a set from a later one of the same number; 0 for a number without a set. */
  serial(id: number): number {
    return this.#serial[id]!;
  }

  /** The set with that entry, 0 when there is none. */
  #find(kind: number, raw: Uint8Array, start: number, end: number, nextHop: Uint8Array = NO_NEXT_HOP): number {
    const length = this.#wantedLength = HEADER + nextHop.length + end - start;
    let hash = kind << 8 | nextHop.length;
    if (nextHop.length > 0) hash = hashOctets(hash, nextHop, 0, nextHop.length);
    hash = hashOctets(hash, raw, start, end);
    hash = this.#wantedHash = (hash ^ hash >>> 15) >>> 0;
    const mask = this.#slots.length - 1;
    for (let slot = hash & mask;; slot = slot + 1 & mask) {
      const id = this.#slots[slot]!;
      if (id === 0) return 0;
      if (this.#hash[id] === hash && this.#length[id] === length && this.#is(id, kind, raw, start, end, nextHop)) {
        return id;
      }
    }
  }

  /** Whether the set's entry, whose length is right, is this one. */
  #is(id: number, kind: number, raw: Uint8Array, start: number, end: number, nextHop: Uint8Array): boolean {
    const { bytes } = this.#arena;
    let at = this.#offset[id]!;
    if ((bytes[at]! << 8 | bytes[at + 1]!) !== kind || bytes[at + 2] !== nextHop.length) return false;
    at += HEADER;
    for (let i = 0; i < nextHop.length; i++) if (bytes[at++] !== nextHop[i]) return false;
    for (let i = start; i < end; i++) if (bytes[at++] !== raw[i]) return false;
    return true;
  }

  /** Makes a set of the entry that `#find` did not find, and of the row. */
  #add(kind: number, raw: Uint8Array, start: number, end: number, nextHop: Uint8Array = NO_NEXT_HOP): number {
    const offset = this.#arena.take(this.#wantedLength);
    const { bytes } = this.#arena;
    bytes[offset] = kind >> 8;
    bytes[offset + 1] = kind;
    bytes[offset + 2] = nextHop.length;
    let at = offset + HEADER;
    for (let i = 0; i < nextHop.length; i++) bytes[at++] = nextHop[i]!;
    for (let i = start; i < end; i++) bytes[at++] = raw[i]!;
    const id = this.#free.pop() ?? this.#next++;
    if (id >= this.#hash.length) this.#grow();
    this.#offset[id] = offset;
    this.#length[id] = this.#wantedLength;
    this.#hash[id] = this.#wantedHash;
    this.#refs[id] = 0;
    this.#serial[id] = ++this.#serials;
    this.columns.set(id, this.#row);
    this.#size++;
    if (this.#size * 2 > this.#slots.length) this.#rehash(this.#slots.length * 2);
    else this.#place(id);
    return id;
  }

  #place(id: number): void {
    const mask = this.#slots.length - 1;
    let slot = this.#hash[id]! & mask;
    while (this.#slots[slot] !== 0) slot = slot + 1 & mask;
    this.#slots[slot] = id;
  }

  #rehash(size: number): void {
    this.#slots = new Int32Array(size);
    for (let id = 1; id < this.#next; id++) if (this.#length[id] !== 0) this.#place(id);
  }

  #drop(id: number): void {
    const mask = this.#slots.length - 1;
    let hole = this.#hash[id]! & mask;
    while (this.#slots[hole] !== id) hole = hole + 1 & mask;
    // Shifting back what follows keeps the probe chains whole without tombstones.
    for (let next = hole + 1 & mask;; next = next + 1 & mask) {
      const other = this.#slots[next]!;
      if (other === 0) break;
      const home = this.#hash[other]! & mask;
      if ((next - home & mask) >= (next - hole & mask)) {
        this.#slots[hole] = other;
        hole = next;
      }
    }
    this.#slots[hole] = 0;
    this.#arena.free(this.#offset[id]!, this.#length[id]!);
    this.#length[id] = 0;
    // Whoever remembers the set must see that it is gone, even before the number is used anew.
    this.#serial[id] = 0;
    this.#size--;
    this.#free.push(id);
  }

  #grow(): void {
    const size = this.#hash.length * GROWTH;
    this.#hash = resize(this.#hash, new Uint32Array(size));
    this.#offset = resize(this.#offset, new Uint32Array(size));
    this.#length = resize(this.#length, new Uint32Array(size));
    this.#serial = resize(this.#serial, new Uint32Array(size));
    this.#refs = resize(this.#refs, new Int32Array(size));
    this.columns.grow(size);
  }
}

/** Four octets a step, since sets are long and each is hashed twice on its way through a reflector. */
function hashOctets(hash: number, bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  for (; at + 4 <= end; at += 4) {
    const word = bytes[at]! | bytes[at + 1]! << 8 | bytes[at + 2]! << 16 | bytes[at + 3]! << 24;
    hash = Math.imul(hash ^ word, 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  for (; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193);
  return hash;
}
