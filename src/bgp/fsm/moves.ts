/**
 * The moves that several states share: opening, dropping and promoting connections, and the ways into Idle.
 *
 * Each takes a machine and gives a `Step`; `then` strings two of them together, effects in order.
 */

import type { Fault } from "../wire/fault.ts";
import {
  CEASE_HARD_RESET,
  CEASE_MAX_PREFIXES,
  CEASE_SHUTDOWN,
  describeNotification,
  encodeShutdownMessage,
  ERR_CEASE,
  ERR_FSM,
  hardResetInner,
  type Notification,
} from "../wire/notification.ts";
import type { Connection, ConnectionId, DownReason, Effect, Event, Fsm, StateName, Step, TimerName } from "./state.ts";

const NO_DATA = new Uint8Array(0);
const RIVAL_HOLD = 30_000;
const MOST_DOUBLINGS = 16;

/** Nothing changes. */
export function stay(fsm: Fsm, ...effects: Effect[]): Step {
  return { fsm, effects };
}

/** The machine with changed members and a new state. */
export function enter(fsm: Fsm, name: StateName, reason: string, change: Partial<Fsm>, effects: Effect[]): Step {
  return { fsm: { ...fsm, ...change, name, reason }, effects };
}

export function timer(name: TimerName, ms: number, isJittered = true): Effect {
  return { type: "timer", timer: name, ms, isJittered };
}

export function cancel(...names: TimerName[]): Effect[] {
  return names.map((name) => ({ type: "cancel", timer: name }));
}

/** A NOTIFICATION without data unless given. */
export function notify(id: ConnectionId, code: number, subcode: number, data: Uint8Array = NO_DATA): Effect {
  return { type: "send-notification", id, message: { code, subcode, data } };
}

export function close(id: ConnectionId): Effect {
  return { type: "close", id };
}

/** `base` doubled for each earlier time, up to `most`. */
export function backOff(base: number, most: number, times: number): number {
  return Math.min(most, base * 2 ** Math.min(times, MOST_DOUBLINGS));
}

const ALL_TIMERS: readonly TimerName[] = [
  "connectRetry",
  "delayOpen",
  "hold",
  "keepalive",
  "sendHold",
  "idleHold",
  "rivalHold",
  "stable",
];

/** Out of Idle, or again: listens when passive, else opens a connection. */
export function tryConnecting(fsm: Fsm, reason: string): Step {
  if (fsm.config.isPassive) {
    return enter(fsm, "Active", "waiting for the peer to connect", { primary: undefined }, cancel("idleHold"));
  }
  const id = fsm.nextId;
  const primary: Connection = { id, isOutgoing: true, isUp: false, isOpenSent: false };
  return enter(fsm, "Connect", reason, { primary, nextId: id + 2, attempts: fsm.attempts + 1 }, [
    ...cancel("idleHold"),
    { type: "connect", id },
    timer("connectRetry", Math.max(fsm.config.connectRetryMax, fsm.config.connectRetry)),
  ]);
}

/** Waits for the peer, and tries again when ConnectRetry expires; the primary is gone already. */
export function waitActive(fsm: Fsm, reason: string): Step {
  const { connectRetry, connectRetryMax, isPassive } = fsm.config;
  const wait = backOff(connectRetry, connectRetryMax, Math.max(0, fsm.attempts - 1));
  return enter(fsm, "Active", reason, { primary: undefined, lastError: reason }, [
    ...cancel("hold", "keepalive", "delayOpen"),
    ...(isPassive ? cancel("connectRetry") : [timer("connectRetry", wait)]),
  ]);
}

/** The connection is up: sends OPEN now, or after DelayOpen in the state that we are in. */
export function beginOpen(fsm: Fsm, connection: Connection, reason: string): Step {
  if (fsm.config.delayOpen > 0) {
    const primary = { ...connection, isUp: true };
    return enter(fsm, fsm.name === "Connect" ? "Connect" : "Active", `${reason}, OPEN is delayed`, { primary }, [
      ...cancel("connectRetry", "idleHold"),
      timer("delayOpen", fsm.config.delayOpen),
    ]);
  }
  return sendOpen(fsm, connection, reason);
}

/** Sends OPEN on the connection, which becomes the primary: OpenSent. */
export function sendOpen(fsm: Fsm, connection: Connection, reason: string): Step {
  const primary = { ...connection, isUp: true, isOpenSent: true };
  return enter(fsm, "OpenSent", reason, { primary }, [
    ...cancel("connectRetry", "delayOpen", "idleHold"),
    { type: "send-open", id: connection.id },
    timer("hold", fsm.config.openHold, false),
  ]);
}

/** An incoming connection beside the primary: OPEN goes out at once, the collision is resolved when theirs comes in. */
export function addRival(fsm: Fsm, id: ConnectionId): Step {
  const rival: Connection = { id, isOutgoing: false, isUp: true, isOpenSent: true };
  return stay(
    { ...fsm, rival },
    ...(fsm.rival ? [close(fsm.rival.id)] : []),
    { type: "send-open", id },
    timer("rivalHold", RIVAL_HOLD, false),
  );
}

/** The hold timer of a rival that has just connected. */
export function rivalHold(): Effect {
  return timer("rivalHold", RIVAL_HOLD, false);
}

/** Closes the rival, with a NOTIFICATION if its OPEN is out. */
export function dropRival(fsm: Fsm, code: number, subcode: number, data?: Uint8Array): Step {
  const { rival } = fsm;
  if (!rival) return stay(fsm);
  const effects: Effect[] = rival.isOpenSent ? [notify(rival.id, code, subcode, data)] : [];
  return { fsm: { ...fsm, rival: undefined }, effects: [...effects, close(rival.id), ...cancel("rivalHold")] };
}

/** The primary is lost on the way (and closed): the rival takes its place, or we wait in Active. */
export function losePrimary(fsm: Fsm, reason: string): Step {
  const { rival } = fsm;
  if (!rival) return waitActive(fsm, reason);
  const promoted: Fsm = { ...fsm, primary: rival, rival: undefined, lastError: reason };
  const timers = cancel("hold", "keepalive", "delayOpen", "rivalHold");
  if (!rival.isUp) {
    return enter(promoted, "Connect", reason, {}, [...timers, timer("connectRetry", fsm.config.connectRetryMax)]);
  }
  return enter(promoted, "OpenSent", `${reason}; the other connection goes on`, {}, [
    ...timers,
    timer("hold", fsm.config.openHold, false),
  ]);
}

/** How a failure ends a session. */
export interface Failure {
  readonly reason: string;
  readonly how: DownReason;
  /** Sent on the primary before it is closed, if our OPEN is out. */
  readonly send?: Notification;
  /** Milliseconds in Idle instead of IdleHold. */
  readonly wait?: number;
}

/** Closes everything and rests in Idle; IdleHold damps the next start (RFC 4271 8.1.1, DampPeerOscillations). */
export function fail(fsm: Fsm, failure: Failure): Step {
  const failures = fsm.failures + 1;
  const wait = failure.wait ?? backOff(fsm.config.idleHold, fsm.config.idleHoldMax, failures - 1);
  const step = idle(fsm, failure);
  return {
    fsm: { ...step.fsm, failures, lastError: failure.reason, isHeld: failure.wait !== undefined },
    effects: wait === Infinity ? step.effects : [...step.effects, timer("idleHold", wait, failure.wait === undefined)],
  };
}

/** Closes everything: Idle, with no timer running. */
export function idle(fsm: Fsm, { reason, how, send }: Failure): Step {
  const effects: Effect[] = [];
  for (const connection of [fsm.primary, fsm.rival]) {
    if (!connection) continue;
    if (send && connection.isOpenSent) {
      effects.push({ type: "send-notification", id: connection.id, message: send });
    }
    effects.push(close(connection.id));
  }
  if (fsm.name === "Established") effects.push({ type: "down", reason, how });
  effects.push(...cancel(...ALL_TIMERS));
  return enter(fsm, "Idle", reason, { primary: undefined, rival: undefined, attempts: 0 }, effects);
}

/** The peer's fault: a NOTIFICATION of its code, then Idle. */
export function failByFault(fsm: Fsm, fault: Fault): Step {
  const send = { code: fault.code, subcode: fault.subcode, data: fault.data };
  return fail(fsm, { reason: `${describeNotification(send)} sent: ${fault.reason}`, how: "notification", send });
}

/** Data of an FSM error: the type of the unexpected message (RFC 6608 section 4). */
export function unexpectedType(what: string): Uint8Array {
  const type = MESSAGE_TYPES[what];
  return type === undefined ? NO_DATA : Uint8Array.of(type);
}

const MESSAGE_TYPES: Readonly<Record<string, number>> = { OPEN: 1, UPDATE: 2, KEEPALIVE: 4, "ROUTE-REFRESH": 5 };

/** A message that this state does not allow (RFC 6608): FSM error. */
export function failByFsmError(fsm: Fsm, subcode: number, what: string): Step {
  return failByFault(fsm, {
    kind: "reset",
    code: ERR_FSM,
    subcode,
    data: unexpectedType(what),
    reason: `unexpected ${what} in ${fsm.name}`,
  });
}

/** The hold timer ran out. */
export function failByHold(fsm: Fsm): Step {
  return failByFault(fsm, { kind: "reset", code: 4, subcode: 0, data: NO_DATA, reason: "nothing heard from the peer" });
}

/** The peer sent a NOTIFICATION. */
export function failByNotification(fsm: Fsm, message: Notification): Step {
  const how = hardResetInner(message) || message.code === ERR_CEASE && message.subcode === CEASE_HARD_RESET
    ? "hard"
    : "notification";
  return fail(fsm, { reason: `${describeNotification(message)} received`, how });
}

/**
 * The administrator's stop: Cease on what is open, then Idle until the next start. A silent one lets a peer that knows
 * graceful restart keep our routes; others are told.
 */
export function stop(fsm: Fsm, event: Extract<Event, { type: "stop" }>): Step {
  const data = event.words && event.subcode === CEASE_SHUTDOWN ? encodeShutdownMessage(event.words) : NO_DATA;
  const isSilent = event.isSilent && fsm.primary?.negotiated?.peer.gracefulRestart !== undefined &&
    fsm.config.local.capabilities.gracefulRestart !== undefined;
  const send = isSilent ? undefined : { code: ERR_CEASE, subcode: event.subcode, data };
  const reason = send ? `${describeNotification(send)} sent` : "stopped, for a restart";
  const step = idle(fsm, { reason, how: isSilent ? "lost" : "hard", send: send && hardReset(fsm, send) });
  return { ...step, fsm: { ...step.fsm, isStarted: false, failures: 0 } };
}

/** A reset that was asked for: NOTIFICATION, then a new start after IdleHold. */
export function resetSession(fsm: Fsm, event: Extract<Event, { type: "reset" }>): Step {
  if (!fsm.isStarted) return stay(fsm);
  const data = event.words ? encodeShutdownMessage(event.words) : NO_DATA;
  const send = { code: event.code, subcode: event.subcode, data };
  const reason = `${describeNotification(send)} sent: ${event.reason}`;
  const isHard = event.code === ERR_CEASE && event.subcode === CEASE_MAX_PREFIXES;
  const failure = isHard
    ? { reason, how: "hard" as const, send: hardReset(fsm, send) }
    : { reason, how: "notification" as const, send };
  return fail(fsm, { ...failure, wait: event.wait });
}

/** The NOTIFICATION as one that keeps no routes, where a plain one would (RFC 8538 section 3). */
function hardReset(fsm: Fsm, inner: Notification): Notification {
  const isPlainKept = fsm.primary?.negotiated?.peer.gracefulRestart?.isNotification &&
    fsm.config.local.capabilities.gracefulRestart?.isNotification;
  if (!isPlainKept) return inner;
  const data = Uint8Array.of(inner.code, inner.subcode, ...inner.data);
  return { code: ERR_CEASE, subcode: CEASE_HARD_RESET, data };
}
