/**
 * Cuts a byte stream into BGP messages in place (RFC 4271 4.1, 8654).
 *
 *   marker 16 x 0xff | length 2 | type 1 | body
 *
 * The framer owns one receive buffer: the transport reads into `room()`, `received(n)` says how much came, and `next()`
 * steps through the whole messages in it. A body is a range of the buffer, valid until the next read; nothing is copied
 * but the unfinished tail, once for each read.
 */

import {
  HEADER_LENGTH,
  MAX_EXTENDED_MESSAGE,
  MAX_MESSAGE,
  MSG_KEEPALIVE,
  MSG_NOTIFICATION,
  MSG_OPEN,
  MSG_ROUTE_REFRESH,
  MSG_UPDATE,
} from "./constants.ts";
import { type Fault, reset } from "./fault.ts";

const HEADER_ERROR = 1;

/** Least octets of a message by its type. */
const MIN_LENGTH: readonly number[] = [];
const min = MIN_LENGTH as number[];
min[MSG_OPEN] = 29;
min[MSG_UPDATE] = 23;
min[MSG_NOTIFICATION] = 21;
min[MSG_KEEPALIVE] = 19;
// A short ROUTE-REFRESH may have an error code of its own (RFC 7313 section 5).
min[MSG_ROUTE_REFRESH] = 19;

/** The receive buffer of one connection and the walk through it. */
export class Framer {
  #buffer: Uint8Array;
  #start = 0;
  #end = 0;
  /** Both sides announced extended messages: UPDATE, NOTIFICATION and ROUTE-REFRESH may have 65,535 octets. */
  isExtended = false;
  /** The type of the message that `next` found. */
  type = 0;
  /** What is wrong with the stream, once `next` has returned false because of it; the connection is of no more use. */
  fault: Fault | undefined;
  #bodyStart = 0;
  #bodyEnd = 0;

  /** A buffer of `capacity` octets, at least one message of 65,535. */
  constructor(capacity = 128 * 1024) {
    this.#buffer = new Uint8Array(Math.max(capacity, MAX_EXTENDED_MESSAGE + 1));
  }

  /** The free end of the buffer, never empty; moves an unfinished message to the front. */
  room(): Uint8Array {
    if (this.#start > 0) {
      if (this.#end > this.#start) this.#buffer.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    return this.#buffer.subarray(this.#end);
  }

  /** `count` octets were put at the front of `room()`. */
  received(count: number): void {
    this.#end += count;
  }

  /** Copies octets in that came from elsewhere; returns how many fitted. */
  push(bytes: Uint8Array): number {
    const room = this.room();
    const count = Math.min(room.length, bytes.length);
    room.set(bytes.subarray(0, count));
    this.received(count);
    return count;
  }

  /** Steps to the next whole message; false when there is none yet, or the stream is broken (`fault`). */
  next(): boolean {
    if (this.fault || this.#end - this.#start < HEADER_LENGTH) return false;
    const buffer = this.#buffer;
    const at = this.#start;
    for (let i = 0; i < 16; i++) {
      if (buffer[at + i] !== 0xff) {
        this.fault = reset(HEADER_ERROR, 1, "connection not synchronized: the marker is not all ones");
        return false;
      }
    }
    const length = (buffer[at + 16]! << 8) | buffer[at + 17]!;
    const type = buffer[at + 18]!;
    const least = MIN_LENGTH[type];
    if (least === undefined) {
      // A length out of bounds comes first, since it says that the header as a whole is not to be trusted.
      this.fault = length < HEADER_LENGTH || length > this.#most(type)
        ? badLength(length)
        : reset(HEADER_ERROR, 3, `message of type ${type}`, Uint8Array.of(type));
      return false;
    }
    if (length < least || length > this.#most(type) || type === MSG_KEEPALIVE && length !== HEADER_LENGTH) {
      this.fault = badLength(length);
      return false;
    }
    if (this.#end - at < length) return false;
    this.type = type;
    this.#bodyStart = at + HEADER_LENGTH;
    this.#bodyEnd = at + length;
    this.#start = at + length;
    return true;
  }

  /** The body of the message that `next` found, as a view that the next read invalidates. */
  body(): Uint8Array {
    return this.#buffer.subarray(this.#bodyStart, this.#bodyEnd);
  }

  #most(type: number): number {
    return this.isExtended && type !== MSG_OPEN && type !== MSG_KEEPALIVE ? MAX_EXTENDED_MESSAGE : MAX_MESSAGE;
  }
}

function badLength(length: number): Fault {
  return reset(HEADER_ERROR, 2, `message of ${length} octets`, Uint8Array.of(length >> 8, length & 255));
}

/** Writes marker, length and type of a message at `at`. */
export function putHeader(out: Uint8Array, at: number, length: number, type: number): void {
  out.fill(0xff, at, at + 16);
  out[at + 16] = length >>> 8;
  out[at + 17] = length;
  out[at + 18] = type;
}

/** A KEEPALIVE message. */
export function encodeKeepalive(): Uint8Array {
  const out = new Uint8Array(HEADER_LENGTH);
  putHeader(out, 0, HEADER_LENGTH, MSG_KEEPALIVE);
  return out;
}
