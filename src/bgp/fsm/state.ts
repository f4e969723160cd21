/**
 * The finite state machine of a peer: its state, what it is told (events) and what it asks for (effects).
 *
 * RFC 4271 section 8 has one machine a connection. Here one machine a peer holds up to two connections while it finds out
 * which one stays (section 6.8): the `primary`, whose progress is the state's name, and a `rival`. Connections are known
 * by a number that the machine (outgoing) or the edge (incoming) gave them, so an event of a connection that has been
 * closed in the meantime does nothing.
 *
 * UPDATE and KEEPALIVE messages of an Established session do not come through here: the session notes their time, and
 * the hold timer's edge looks at that note when the timer fires. So no timer is touched for a message.
 */

import type { Fault } from "../wire/fault.ts";
import type { Notification } from "../wire/notification.ts";
import type { OpenMessage } from "../wire/open.ts";
import type { LocalSide, Negotiated } from "./negotiate.ts";

export type StateName = "Idle" | "Connect" | "Active" | "OpenSent" | "OpenConfirm" | "Established";

/** Number of a connection; never used twice within a peer. */
export type ConnectionId = number;

/** One TCP connection on its way. */
export interface Connection {
  readonly id: ConnectionId;
  readonly isOutgoing: boolean;
  /** TCP is up; false while we connect. */
  readonly isUp: boolean;
  /** Our OPEN is out (false while DelayOpen runs). */
  readonly isOpenSent: boolean;
  /** What the peer's OPEN and ours make; there from OpenConfirm on. */
  readonly negotiated?: Negotiated;
}

/** What does not change during the life of a machine. Times in milliseconds. */
export interface FsmConfig {
  readonly local: LocalSide;
  /** Never connect, only accept. */
  readonly isPassive: boolean;
  /** First wait after a failed attempt to connect; doubles up to `connectRetryMax`. */
  readonly connectRetry: number;
  readonly connectRetryMax: number;
  /** First wait in Idle after a session failed; doubles up to `idleHoldMax` while sessions keep failing. */
  readonly idleHold: number;
  readonly idleHoldMax: number;
  /** Wait between the connection and our OPEN; 0 is none. */
  readonly delayOpen: number;
  /** Hold timer until the peer's OPEN is in (RFC 4271 suggests 4 minutes). */
  readonly openHold: number;
  /** A session that stood so long has recovered: back-off starts afresh. */
  readonly stableAfter: number;
}

/** Times as the design gives them. */
export const DEFAULT_TIMES = {
  connectRetry: 1_000,
  connectRetryMax: 30_000,
  idleHold: 1_000,
  idleHoldMax: 60_000,
  delayOpen: 0,
  openHold: 240_000,
  stableAfter: 30_000,
} as const satisfies Partial<FsmConfig>;

/** A peer's machine; immutable. */
export interface Fsm {
  readonly config: FsmConfig;
  readonly name: StateName;
  /** The administrator wants the session. */
  readonly isStarted: boolean;
  readonly primary?: Connection;
  readonly rival?: Connection;
  /** Number for the next outgoing connection; odd numbers are ours, even ones the edge's. */
  readonly nextId: ConnectionId;
  /** ConnectRetryCounter: attempts to connect since the last session. */
  readonly attempts: number;
  /** The session stands for so long (`stableAfter`) that a new connection is no collision any more. */
  readonly isSettled?: boolean;
  /** Sessions that failed in a row, for damping. */
  readonly failures: number;
  /** Idle for a time that was asked for: the peer cannot come back by itself before. */
  readonly isHeld?: boolean;
  /** Why the machine is in this state. */
  readonly reason: string;
  /** The last error, kept while a new session is tried; undefined when there was none. */
  readonly lastError?: string;
}

/** What happened. An `id` names the connection. */
export type Event =
  | { readonly type: "start" }
  /** Administrative shutdown, or another Cease subcode; `words` go along (RFC 9003). */
  | { readonly type: "stop"; readonly subcode: number; readonly words?: string; readonly isSilent?: boolean }
  /** Ends the session with this NOTIFICATION and starts again: administrative reset, prefix limit, BFD down. */
  | {
    readonly type: "reset";
    readonly code: number;
    readonly subcode: number;
    readonly reason: string;
    readonly words?: string;
    /** Milliseconds in Idle instead of IdleHold; Infinity stays there until the next reset or start. */
    readonly wait?: number;
  }
  | { readonly type: "timer"; readonly timer: TimerName }
  /** An outgoing connection is up. */
  | { readonly type: "connected"; readonly id: ConnectionId }
  /** An incoming connection was accepted; `id` is even and new. */
  | { readonly type: "accepted"; readonly id: ConnectionId }
  /** The connection failed, was refused, or closed by the peer. */
  | { readonly type: "closed"; readonly id: ConnectionId; readonly reason: string }
  | { readonly type: "open"; readonly id: ConnectionId; readonly message: OpenMessage }
  | { readonly type: "keepalive"; readonly id: ConnectionId }
  /** An UPDATE or ROUTE-REFRESH outside of Established; `what` names it. */
  | { readonly type: "unexpected"; readonly id: ConnectionId; readonly what: string }
  | { readonly type: "notification"; readonly id: ConnectionId; readonly message: Notification }
  /** A broken header, OPEN, or (reset) UPDATE. */
  | { readonly type: "fault"; readonly id: ConnectionId; readonly fault: Fault };

/** `rivalHold` is the hold timer of the rival; `stable` tells when damping may be forgotten. */
export type TimerName =
  | "connectRetry"
  | "delayOpen"
  | "hold"
  | "keepalive"
  | "sendHold"
  | "idleHold"
  | "rivalHold"
  | "stable";

/** What the edge has to do, in order. */
export type Effect =
  | { readonly type: "connect"; readonly id: ConnectionId }
  | { readonly type: "close"; readonly id: ConnectionId }
  | { readonly type: "send-open"; readonly id: ConnectionId }
  | { readonly type: "send-keepalive"; readonly id: ConnectionId }
  | { readonly type: "send-notification"; readonly id: ConnectionId; readonly message: Notification }
  /** (Re)starts the timer; with jitter the edge multiplies `ms` by 0.75 to 1.0 (RFC 4271 section 10). */
  | { readonly type: "timer"; readonly timer: TimerName; readonly ms: number; readonly isJittered: boolean }
  | { readonly type: "cancel"; readonly timer: TimerName }
  | { readonly type: "up"; readonly id: ConnectionId; readonly negotiated: Negotiated }
  /** An Established session ended. `how` decides whether graceful restart keeps the routes. */
  | { readonly type: "down"; readonly reason: string; readonly how: DownReason };

/** How a session ended: what RFC 4724 and 8538 distinguish. */
export type DownReason =
  /** The connection broke without a NOTIFICATION, or the peer opened a new one. */
  | "lost"
  /** A NOTIFICATION was sent or received, hard reset excepted. */
  | "notification"
  /** A hard reset, or the administrator's stop. */
  | "hard";

/** The result of a step. */
export interface Step {
  readonly fsm: Fsm;
  readonly effects: readonly Effect[];
}

/** A machine that has not been started. */
export function makeFsm(config: FsmConfig): Fsm {
  return { config, name: "Idle", isStarted: false, nextId: 1, attempts: 0, failures: 0, reason: "not started" };
}
