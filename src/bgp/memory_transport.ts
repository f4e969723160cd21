/**
 * Transports in memory, for tests: two ends of a connection; octets move when `deliver` of the pair is called, in pieces of
 * any size, so that a test decides how a stream is cut.
 */

import type { Endpoint, Transport, TransportSink } from "./transport.ts";

/** One end of a connection in memory. */
export interface MemoryTransport extends Transport {
  /** Whose octets come in here; set before anything is delivered. */
  sink: TransportSink | undefined;
  readonly isClosed: boolean;
  /** Nothing is taken from this end while true: a peer that is stuck. */
  isStuck: boolean;
}

/** Two connected ends. */
export interface MemoryPair {
  readonly a: MemoryTransport;
  readonly b: MemoryTransport;
  /** Moves what waits in both directions, at most `piece` octets a call of `received`; returns whether anything moved. */
  deliver(piece?: number): boolean;
}

class End implements MemoryTransport {
  sink: TransportSink | undefined;
  isClosed = false;
  isStuck = false;
  queue: Uint8Array[] = [];
  other: End | undefined;
  hasToldClosed = false;

  constructor(readonly local: Endpoint, readonly remote: Endpoint) {}

  get pending(): number {
    return this.isStuck ? this.queue.reduce((sum, bytes) => sum + bytes.length, 0) : 0;
  }

  write(bytes: Uint8Array): void {
    if (!this.isClosed) this.queue.push(bytes.slice());
  }

  close(): void {
    this.isClosed = true;
  }

  /** Moves octets of this end to the other's sink. */
  move(piece: number): boolean {
    const to = this.other;
    if (!to || this.isStuck) return false;
    let hasMoved = false;
    for (let bytes = this.queue.shift(); bytes; bytes = this.queue.shift()) {
      hasMoved = true;
      for (let at = 0; at < bytes.length && !to.isClosed && to.sink;) {
        const room = to.sink.room();
        const count = Math.min(piece, room.length, bytes.length - at);
        room.set(bytes.subarray(at, at + count));
        to.sink.received(count);
        at += count;
      }
    }
    if (hasMoved && !this.isClosed) this.sink?.writable();
    if (this.isClosed && !to.isClosed && !to.hasToldClosed && to.sink) {
      to.hasToldClosed = true;
      to.sink.closed("closed by the peer");
      return true;
    }
    return hasMoved;
  }
}

/** A connected pair of transports between the two addresses. */
export function makeMemoryPair(
  a: Endpoint = { address: Uint8Array.of(192, 0, 2, 1), port: 30000 },
  b: Endpoint = { address: Uint8Array.of(192, 0, 2, 2), port: 179 },
): MemoryPair {
  const one = new End(a, b);
  const two = new End(b, a);
  one.other = two;
  two.other = one;
  return {
    a: one,
    b: two,
    deliver(piece = 65536) {
      const there = one.move(piece);
      const back = two.move(piece);
      return there || back;
    },
  };
}
