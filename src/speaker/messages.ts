/**
 * What passes between the node's main thread and the speaker's thread: plain, structured-cloneable messages.
 *
 * In: the whole configuration each time (the speaker finds out what changed), questions with a number, and the order to
 * stop. Out: answers, the peers' status whenever it changes, and log lines, which the main thread writes.
 */

import type { RouteQuery, RouteRow } from "../bgp/rib/interface.ts";
import type { SpeakerConfig } from "../bgp/config.ts";
import type { CapabilityRow } from "../bgp/show/capabilities.ts";
import type { MonitorEvent } from "./monitor.ts";
import type { LogLevel } from "../lib/log.ts";

/** A question to the speaker. */
export type Query =
  | { readonly kind: "peers" }
  | ({ readonly kind: "routes" } & RouteQuery)
  /** Asks a peer for its routes again (ROUTE-REFRESH), or sends it ours again. */
  | { readonly kind: "refresh"; readonly peer: string; readonly direction: "in" | "out" }
  /** Ends a session with Cease/Administrative Reset; it comes back by itself. */
  | { readonly kind: "reset"; readonly peer: string; readonly words?: string }
  /** Writes the whole table to a file as MRT TABLE_DUMP_V2. */
  | { readonly kind: "dump"; readonly path: string }
  /** Appends every message and state change to a file as MRT BGP4MP_ET; without a path that ends. */
  | { readonly kind: "record"; readonly path?: string };

/** The answer to a question, by its kind. */
export interface Answers {
  readonly peers: PeerStatus[];
  readonly routes: RouteRow[];
  readonly refresh: { readonly done: boolean };
  readonly reset: { readonly done: boolean };
  readonly dump: { readonly path: string; readonly octets: number };
  readonly record: { readonly recording: string | null };
}

/** One row of `bgp peers`, as the contract has it, with what helps to find out why a session is down. */
export interface PeerStatus {
  readonly peer: string;
  readonly name: string;
  readonly as: number;
  readonly localAs: number;
  readonly state: string;
  /** When the state was entered, RFC 3339. */
  readonly since: string;
  readonly received: number;
  readonly accepted: number;
  readonly advertised: number;
  readonly lastError: string | null;
  readonly rrClient: boolean;
  /** Why the session is in its state. */
  readonly reason: string;
  /** The peer's BGP identifier, dotted; null until it is known. */
  readonly routerId: string | null;
  readonly holdTime: number | null;
  readonly families: readonly number[];
  /** Messages by type: open, update, notification, keepalive, refresh. */
  readonly messages: { readonly received: readonly number[]; readonly sent: readonly number[] };
  /** How often the session has been Established. */
  readonly sessions?: number;
  /** Seconds; null while there is no session. */
  readonly timers?: {
    readonly hold: number | null;
    readonly keepalive: number | null;
    /** Since octets came last. */
    readonly heardAgo: number | null;
    readonly connectRetry: number;
    readonly idleHold: number;
  };
  readonly prefixLimit?: { readonly limit: number; readonly isNear: boolean } | null;
  /** Who announced which capability, and which are in use; empty while there is no session. */
  readonly capabilities?: readonly CapabilityRow[];
  /** Ends of the connection, "192.0.2.1:179". */
  readonly local?: string | null;
  readonly remote?: string | null;
  /** The BFD session beside it; null where none is asked for. */
  readonly bfd?: BfdStatus | null;
}

/** A BFD session. Times in milliseconds; null while they are not known, or for no periodic packets. */
export interface BfdStatus {
  readonly state: "AdminDown" | "Down" | "Init" | "Up";
  /** When the state was entered, RFC 3339. */
  readonly since: string;
  readonly hops: "single-hop" | "multihop";
  /** Between the packets that we send. */
  readonly interval: number | null;
  /** How long the peer may be silent. */
  readonly detectionTime: number | null;
  /** The diagnostic that we send, as RFC 5880 names it. */
  readonly diagnostic: string;
  readonly reason: string;
}

/** What the speaker says of itself. */
export interface SpeakerStatus {
  readonly peers: readonly PeerStatus[];
  /** "192.0.2.1:179" of each listening socket. */
  readonly listening: readonly string[];
  /** Why a socket could not be opened, or the FIB not be written; empty when all is well. */
  readonly errors: readonly string[];
}

/** To the speaker. */
export type ToSpeaker =
  | { readonly type: "config"; readonly config: SpeakerConfig }
  | { readonly type: "query"; readonly id: number; readonly query: Query }
  /** Begins or ends the live stream of events. */
  | { readonly type: "monitor"; readonly isOn: boolean }
  | { readonly type: "stop"; readonly graceful: boolean };

/** From the speaker. */
export type FromSpeaker =
  | { readonly type: "ready" }
  | { readonly type: "status"; readonly status: SpeakerStatus }
  | { readonly type: "reply"; readonly id: number; readonly answer?: Answers[Query["kind"]]; readonly error?: string }
  | {
    readonly type: "log";
    readonly level: LogLevel;
    readonly message: string;
    readonly fields: Readonly<Record<string, unknown>>;
  }
  | { readonly type: "events"; readonly events: readonly MonitorEvent[] }
  | { readonly type: "stopped" };
