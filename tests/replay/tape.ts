/**
 * A session's event log: what came in (octets, timers, connections) and what went out because of it (octets, timers,
 * connections), one entry for each thing that came in.
 *
 * The same deck plays a live peer and a recorded one: `Deck` holds a real peer and router whose every way out goes onto the
 * tape, and whose clock stands still during an entry. Live, the outside calls `input`; in a replay the tape does.
 */

import type { PeerConfig, SpeakerConfig } from "../../src/bgp/config.ts";
import type { Router } from "../../src/bgp/rib/interface.ts";
import { makeRouter } from "../../src/bgp/rib/router.ts";
import type { Endpoint, Transport, TransportSink } from "../../src/bgp/transport.ts";
import { MSG_OPEN } from "../../src/bgp/wire/constants.ts";
import { silentLog } from "../../src/lib/log.ts";
import { makePeer, type Peer } from "../../src/speaker/peer.ts";

/** What came in. Connections and timers have the number that the deck gave them; octets are hex. */
export type Input =
  | { readonly type: "start" }
  | { readonly type: "connected"; readonly id: number; readonly local: string; readonly remote: string }
  | { readonly type: "received"; readonly id: number; readonly octets: string }
  | { readonly type: "closed"; readonly id: number; readonly reason: string }
  | { readonly type: "timer"; readonly id: number }
  | { readonly type: "stop" };

/** One entry: milliseconds since the start, what came in, what went out, the state afterwards. */
export interface Entry {
  readonly at: number;
  readonly input: Input;
  readonly output: readonly string[];
  readonly state: string;
  /** Routes of the peer afterwards, where they changed. */
  readonly routes?: readonly string[];
}

/** What carries the outputs out; in a replay nothing does. */
export interface Outside {
  connect(id: number): void;
  write(id: number, octets: Uint8Array): void;
  close(id: number): void;
  after(id: number, ms: number): void;
  cancel(id: number): void;
}

export const NOWHERE: Outside = { connect() {}, write() {}, close() {}, after() {}, cancel() {} };

/** A peer with everything that it touches. */
export class Deck {
  readonly entries: Entry[] = [];
  readonly peer: Peer;
  readonly router: Router = makeRouter();
  #at = 0;
  #output: string[] = [];
  #numbers = 0;
  #routes = "[]";
  readonly #sinks = new Map<number, { sink: TransportSink; local: Endpoint; remote: Endpoint }>();
  readonly #timers = new Map<number, () => void>();

  constructor(config: PeerConfig, speaker: SpeakerConfig, readonly outside: Outside) {
    this.router.configure(speaker);
    const say = (words: string) => void this.#output.push(words);
    this.peer = makePeer(config, speaker, {
      router: this.router,
      clock: {
        monotonic: () => this.#at,
        wall: () => this.#at,
        after: (ms, fire) => {
          const id = ++this.#numbers;
          this.#timers.set(id, fire);
          say(`timer ${id} in ${ms} ms`);
          outside.after(id, ms);
          return () => {
            if (!this.#timers.delete(id)) return;
            say(`timer ${id} cancelled`);
            outside.cancel(id);
          };
        },
      },
      log: silentLog,
      random: () => 0.5,
      connect: (sink) => this.#connect(sink, say),
      localAddresses: () => ({}),
      touch() {},
      statusChanged() {},
      ...QUIET,
    });
    this.#end({ type: "start" });
  }

  #connect(sink: TransportSink, say: (words: string) => void): Transport {
    const id = ++this.#numbers;
    const none = { address: new Uint8Array(0), port: 0 };
    const ends = { sink, local: none, remote: none };
    this.#sinks.set(id, ends);
    say(`connection ${id} begins`);
    this.outside.connect(id);
    return {
      get local() {
        return ends.local;
      },
      get remote() {
        return ends.remote;
      },
      pending: 0,
      write: (octets) => {
        // What we announce grows with time, and has tests of its own.
        say(`connection ${id} sends ${octets[18] === MSG_OPEN ? "OPEN" : hex(octets)}`);
        this.outside.write(id, octets);
      },
      close: () => {
        if (!this.#sinks.delete(id)) return;
        say(`connection ${id} ends`);
        this.outside.close(id);
      },
    };
  }

  /** Plays one thing that came in at that time, and notes what became of it. */
  input(at: number, input: Input): void {
    this.#at = at;
    if (input.type === "timer") {
      const fire = this.#timers.get(input.id);
      this.#timers.delete(input.id);
      fire?.();
    } else if (input.type === "stop") this.peer.close(2, "the end of the recording");
    else if (input.type !== "start") this.#hear(input);
    this.#end(input);
  }

  #hear(input: Extract<Input, { id: number }>): void {
    const ends = this.#sinks.get(input.id);
    if (!ends) return;
    if (input.type === "connected") {
      ends.local = endpoint(input.local);
      ends.remote = endpoint(input.remote);
      ends.sink.connected();
    } else if (input.type === "closed") {
      this.#sinks.delete(input.id);
      ends.sink.closed(input.reason);
    } else if (input.type === "received") {
      const octets = unhex(input.octets);
      ends.sink.room().set(octets);
      ends.sink.received(octets.length);
    }
  }

  #end(input: Input): void {
    this.router.settle();
    if (this.peer.id !== undefined && this.router.hasBytes(this.peer.id)) this.peer.flush();
    const rows = this.router.routes({}).map((row) =>
      `${row.prefix} via ${row.nextHop} path ${row.asPath.join(" ")}${row.stale ? " stale" : ""}`
    );
    const routes = JSON.stringify(rows.sort());
    const state = this.peer.session.fsm.name;
    const entry = { at: this.#at, input, output: this.#output, state };
    this.entries.push(routes === this.#routes ? entry : { ...entry, routes: rows });
    this.#routes = routes;
    this.#output = [];
  }
}

/** No restart, and nobody who listens in. */
const QUIET = {
  restart: { isRestarting: false, isForwarding: true, isDeferring: false, begin() {}, heard() {}, close() {} },
  tap: { up() {}, down() {}, update() {}, sent() {}, message() {}, state() {} },
};

/** "10.77.0.1:179" of an IPv4 endpoint, and back. */
export function endpointText({ address, port }: Endpoint): string {
  return `${address.join(".")}:${port}`;
}

function endpoint(text: string): Endpoint {
  const [address = "", port] = text.split(":");
  return { address: Uint8Array.from(address.split(".").map(Number)), port: Number(port) };
}

export function hex(octets: Uint8Array): string {
  return Array.from(octets, (octet) => octet.toString(16).padStart(2, "0")).join("");
}

function unhex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}
