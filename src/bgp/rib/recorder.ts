/**
 * A router's inputs as text, one JSON object a line, and back: what a router did can be done again, bit by bit.
 *
 * `record` wraps a router and hands every call that changes it to `write`; `replay` makes the same calls on another
 * router. Octets are hexadecimal. The router reads no clock and no randomness, so the same inputs give the same outputs.
 */

import type { FibSink, PeerId, Router } from "./interface.ts";

/** The calls that are recorded, by name, with their arguments. */
const RECORDED = [
  "configure",
  "peerUp",
  "peerDown",
  "sweepStale",
  "markStale",
  "keepLong",
  "receiveUpdate",
  "refresh",
  "learn",
  "forget",
  "inspectFib",
  "setLink",
  "setAddress",
  "sweepFib",
  "settle",
  "nextBytes",
] as const;

type Recorded = typeof RECORDED[number];

/** The router, with every change written down before it is made. */
export function record(router: Router, write: (line: string) => void): Router {
  const wrapped: Record<string, unknown> = {};
  for (const name of RECORDED) {
    const call = router[name] as (...args: unknown[]) => unknown;
    wrapped[name] = (...args: unknown[]) => {
      write(
        JSON.stringify([name, ...args], (_key, value) => value instanceof Uint8Array ? { $: formatHex(value) } : value),
      );
      return call.apply(router, args);
    };
  }
  return {
    ...wrapped as Pick<Router, Recorded>,
    peerId: (name: string) => router.peerId(name),
    hasBytes: (peer: PeerId) => router.hasBytes(peer),
    drainFib(sink: FibSink, max: number): boolean {
      write(JSON.stringify(["drainFib", max]));
      return router.drainFib(sink, max);
    },
    counts: (peer: PeerId) => router.counts(peer),
    routes: (query) => router.routes(query),
  };
}

/** What comes out of a replay. */
export interface ReplaySink {
  /** Octets for a peer. */
  bytes(peer: PeerId, bytes: Uint8Array): void;
  readonly fib: FibSink;
}

/** Makes the calls of the lines on the router; throws Error naming the line that is none of ours. */
export function replay(lines: Iterable<string>, router: Router, sink: ReplaySink): void {
  let number = 0;
  for (const line of lines) {
    number++;
    if (line.trim() === "") continue;
    const [name, ...args] = JSON.parse(line, (_key, value) => isOctets(value) ? parseHex(value.$) : value);
    if (name === "drainFib") router.drainFib(sink.fib, args[0]);
    else if (name === "nextBytes") {
      const bytes = router.nextBytes(args[0], args[1]);
      if (bytes) sink.bytes(args[0], bytes);
    } else if ((RECORDED as readonly string[]).includes(name)) {
      (router[name as Recorded] as (...args: unknown[]) => unknown).apply(router, args);
    } else throw new Error(`Cannot replay line ${number}: ${JSON.stringify(name)} is no call of a router`);
  }
}

function isOctets(value: unknown): value is { readonly $: string } {
  return typeof value === "object" && value !== null && typeof (value as { $?: unknown }).$ === "string";
}

function formatHex(bytes: Uint8Array): string {
  return Array.from(bytes, (octet) => octet.toString(16).padStart(2, "0")).join("");
}

function parseHex(text: string): Uint8Array {
  return Uint8Array.from({ length: text.length >> 1 }, (_, i) => parseInt(text.slice(2 * i, 2 * i + 2), 16));
}
