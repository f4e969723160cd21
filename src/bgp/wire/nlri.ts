/**
 * Prefixes on the wire (NLRI): read with a cursor and written into a buffer, without an object per prefix.
 *
 *   [path identifier 4]?  length in bits 1  prefix octets ceil(length / 8)       RFC 4271 4.3, 7911 section 3
 *
 * Addresses are unsigned 32-bit words, `w0` first; IPv4 uses `w0` alone. Host bits are cleared on reading, since they
 * are of no meaning to a receiver.
 */

const NOTHING = new Uint8Array(0);

/** Walks over NLRI that `isValidNlri` has accepted; reuse one cursor for many walks. */
export class NlriCursor {
  /** The address as unsigned 32-bit words in network order; w1 to w3 are 0 in IPv4. */
  w0 = 0;
  w1 = 0;
  w2 = 0;
  w3 = 0;
  /** Prefix length in bits. */
  length = 0;
  /** The path identifier, 0 without ADD-PATH. */
  pathId = 0;
  #bytes: Uint8Array = NOTHING;
  #at = 0;
  #end = 0;
  #isV6 = false;
  #hasPathId = false;

  /** Starts a walk from `start` up to `end`; returns itself. */
  over(bytes: Uint8Array, start: number, end: number, isV6: boolean, hasPathId: boolean): this {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    this.#isV6 = isV6;
    this.#hasPathId = hasPathId;
    return this;
  }

  /** Steps to the next prefix; false at the end. */
  next(): boolean {
    let at = this.#at;
    if (at >= this.#end) return false;
    const bytes = this.#bytes;
    if (this.#hasPathId) {
      this.pathId = word(bytes, at);
      at += 4;
    } else this.pathId = 0;
    const length = bytes[at++]!;
    this.length = length;
    const size = (length + 7) >> 3;
    this.w0 = partialWord(bytes, at, length);
    if (this.#isV6) {
      this.w1 = length > 32 ? partialWord(bytes, at + 4, length - 32) : 0;
      this.w2 = length > 64 ? partialWord(bytes, at + 8, length - 64) : 0;
      this.w3 = length > 96 ? partialWord(bytes, at + 12, length - 96) : 0;
    }
    this.#at = at + size;
    return true;
  }

  /** The address as 4 or 16 bytes in network order, in memory of its own. */
  bytes(): Uint8Array {
    const out = new Uint8Array(this.#isV6 ? 16 : 4);
    const view = new DataView(out.buffer);
    view.setUint32(0, this.w0);
    if (this.#isV6) {
      view.setUint32(4, this.w1);
      view.setUint32(8, this.w2);
      view.setUint32(12, this.w3);
    }
    return out;
  }
}

function word(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

/** The first `bits` (at most 32) bits at `at` as a word, the rest zero; reads no octet beyond them. */
function partialWord(bytes: Uint8Array, at: number, bits: number): number {
  if (bits >= 32) return word(bytes, at);
  if (bits <= 0) return 0;
  let value = bytes[at]! << 24;
  if (bits > 8) value |= bytes[at + 1]! << 16;
  if (bits > 16) value |= bytes[at + 2]! << 8;
  if (bits > 24) value |= bytes[at + 3]!;
  return (value & (-1 << (32 - bits))) >>> 0;
}

/** Whether the octets are whole prefixes of at most `bits` (32 or 128) bits each; counts nothing, allocates nothing. */
export function isValidNlri(bytes: Uint8Array, start: number, end: number, bits: number, hasPathId: boolean): boolean {
  let at = start;
  while (at < end) {
    if (hasPathId) at += 4;
    if (at >= end) return false;
    const length = bytes[at]!;
    if (length > bits) return false;
    at += 1 + ((length + 7) >> 3);
  }
  return at === end;
}

/** Calls `each` for every IPv4 prefix; the octets must have passed `isValidNlri`. */
export function eachIpv4(
  bytes: Uint8Array,
  start: number,
  end: number,
  hasPathId: boolean,
  each: (prefix: number, length: number, pathId: number) => void,
): void {
  const cursor = new NlriCursor().over(bytes, start, end, false, hasPathId);
  while (cursor.next()) each(cursor.w0, cursor.length, cursor.pathId);
}

/** Octets that a prefix of that length takes on the wire. */
export function nlriSize(length: number, hasPathId: boolean): number {
  return (hasPathId ? 5 : 1) + ((length + 7) >> 3);
}

/** Writes an IPv4 prefix at `at` (up to 9 octets) and returns the offset behind it. `pathId` undefined: no ADD-PATH. */
export function putIpv4(out: Uint8Array, at: number, prefix: number, length: number, pathId?: number): number {
  at = putPathId(out, at, pathId);
  out[at++] = length;
  return putWord(out, at, prefix, length);
}

/** Writes an IPv6 prefix at `at` (up to 21 octets) and returns the offset behind it. `pathId` undefined: no ADD-PATH. */
export function putIpv6(
  out: Uint8Array,
  at: number,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
  length: number,
  pathId?: number,
): number {
  at = putPathId(out, at, pathId);
  out[at++] = length;
  at = putWord(out, at, w0, length);
  at = putWord(out, at, w1, length - 32);
  at = putWord(out, at, w2, length - 64);
  return putWord(out, at, w3, length - 96);
}

function putPathId(out: Uint8Array, at: number, pathId: number | undefined): number {
  if (pathId === undefined) return at;
  out[at] = pathId >>> 24;
  out[at + 1] = pathId >>> 16;
  out[at + 2] = pathId >>> 8;
  out[at + 3] = pathId;
  return at + 4;
}

function putWord(out: Uint8Array, at: number, value: number, bits: number): number {
  for (let shift = 24; shift >= 0 && bits > 0; shift -= 8, bits -= 8) out[at++] = value >>> shift;
  return at;
}
