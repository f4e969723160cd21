/**
 * The encoded UPDATE messages of one update group, in the order in which they were made; every member reads them with a
 * cursor of its own, so a member costs a copy and not an encoding.
 *
 *   chunk → chunk → chunk (tail)          a record: octets of whole messages with one audience
 *     └ record | record | record          cursor: chunk, record, octet
 *
 * Chunks know the one that follows them and nobody knows the one before: what all cursors have passed is garbage, and a
 * snapshot is a chain of its own that runs into the log. An audience is everyone but the source of the routes (its own
 * routes are not sent back to it), or a single member.
 */

/** Everyone but this member; 0, the host itself, leaves nobody out. */
export function everyoneBut(member: number): number {
  return member;
}
/** Only this member. */
export function only(member: number): number {
  return -1 - member;
}

const MIN_CHUNK = 8192;
const MAX_CHUNK = 65536;

/** Part of a log. */
export interface Chunk {
  readonly bytes: Uint8Array;
  used: number;
  /** End of each record. */
  readonly ends: number[];
  readonly audiences: number[];
  next: Chunk | undefined;
  /** Octets of the log before this chunk. */
  readonly position: number;
}

/** A place in a log. */
export interface Cursor {
  chunk: Chunk;
  record: number;
  at: number;
}

/** The log; only its end is held. */
export class UpdateLog {
  tail: Chunk;

  constructor(position = 0) {
    this.tail = makeChunk(MIN_CHUNK, position);
  }

  /** Octets ever written. */
  get position(): number {
    return this.tail.position + this.tail.used;
  }

  /** A cursor at the end. */
  end(): Cursor {
    return { chunk: this.tail, record: Math.max(0, this.tail.ends.length - 1), at: this.tail.used };
  }

  /** The tail with room for at least `room` octets behind `used`. */
  reserve(room: number): Chunk {
    const tail = this.tail;
    if (tail.bytes.length - tail.used >= room) return tail;
    return this.#append(Math.max(room, Math.min(MAX_CHUNK, tail.bytes.length * 2)));
  }

  /** Ends the tail, so that the log goes on in a fresh chunk, which is returned. */
  seal(): Chunk {
    return this.tail.used === 0 ? this.tail : this.#append(MIN_CHUNK);
  }

  #append(size: number): Chunk {
    const chunk = makeChunk(size, this.position);
    this.tail.next = chunk;
    return this.tail = chunk;
  }

  /** Makes the next `length` octets of the tail part of the log. */
  commit(length: number, audience: number): void {
    const { tail } = this;
    tail.used += length;
    const last = tail.ends.length - 1;
    if (last >= 0 && tail.audiences[last] === audience) tail.ends[last] = tail.used;
    else {
      tail.ends.push(tail.used);
      tail.audiences.push(audience);
    }
  }
}

function makeChunk(size: number, position: number): Chunk {
  return { bytes: new Uint8Array(size), used: 0, ends: [], audiences: [], next: undefined, position };
}

/** Whether a record of that audience is for the member. */
export function isFor(audience: number, member: number): boolean {
  return audience >= 0 ? audience !== member : audience === -1 - member;
}

/** Steps to the next octets for the member; false at the end. Afterwards `at` to the record's end is to be read. */
export function seek(cursor: Cursor, member: number): boolean {
  for (;;) {
    const { chunk } = cursor;
    const end = chunk.ends[cursor.record] ?? 0;
    if (cursor.at < end) {
      if (isFor(chunk.audiences[cursor.record]!, member)) return true;
      cursor.at = end;
    }
    if (cursor.record + 1 < chunk.ends.length) cursor.record++;
    else if (chunk.next) {
      cursor.chunk = chunk.next;
      cursor.record = 0;
      cursor.at = 0;
    } else return false;
  }
}

/** The end of the record that the cursor is in. */
function recordEnd(cursor: Cursor): number {
  return cursor.chunk.ends[cursor.record]!;
}

/** Where the last whole message ends that fits into `room` octets from `at`; at least one message is taken. */
export function messageEnd(bytes: Uint8Array, at: number, end: number, room: number): number {
  if (end - at <= room) return end;
  let cut = at;
  while (cut < end) {
    const next = cut + (bytes[cut + 16]! << 8 | bytes[cut + 17]!);
    if (next - at > room && cut > at) break;
    cut = next;
  }
  return cut;
}

/**
 * Whole messages for the member, about `max` octets at most, and the cursor behind them; undefined at the end of the log.
 * One record is given as a view on the log; several small ones are gathered in `scratch`.
 */
export function read(cursor: Cursor, member: number, max: number, scratch: Uint8Array): Uint8Array | undefined {
  if (!seek(cursor, member)) return undefined;
  const { bytes } = cursor.chunk;
  const start = cursor.at;
  const end = messageEnd(bytes, start, recordEnd(cursor), max);
  cursor.at = end;
  const first = bytes.subarray(start, end);
  const limit = Math.min(max, scratch.length);
  if (first.length * 2 >= limit || !seek(cursor, member)) return first;
  scratch.set(first);
  let length = first.length;
  do {
    const { bytes } = cursor.chunk;
    const from = cursor.at;
    const to = messageEnd(bytes, from, recordEnd(cursor), limit - length);
    if (to - from > limit - length) break;
    scratch.set(bytes.subarray(from, to), length);
    length += to - from;
    cursor.at = to;
  } while (length < limit && seek(cursor, member));
  return scratch.subarray(0, length);
}
