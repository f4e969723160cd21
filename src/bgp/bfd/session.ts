/**
 * One BFD session, asynchronous mode, active role (RFC 5880 section 6): the state machine, pure.
 *
 *                 Down received                     Init, Up received
 *     +--> Down ----------------> Init ----------------------------> Up --+
 *     |     |  Init received                                         ^    |
 *     |     +--------------------------------------------------------+    |
 *     +-- detection time expired, Down or AdminDown received (from Up) ---+     AdminDown: our own stop
 *
 * Times are milliseconds of a monotonic clock and come in with each event, as does the random number for the jitter. There
 * is one timer a session: `deadline` says when the next `tick` is due. A packet that comes moves the detection time further
 * off and touches no timer; the tick that comes too early finds nothing to do. We never ask for demand mode nor for echo
 * packets, and we honour both as the RFC asks.
 */

import {
  ADMIN_DOWN,
  type BfdPacket,
  type BfdState,
  DIAG_ADMINISTRATIVELY_DOWN,
  DIAG_DETECTION_TIME_EXPIRED,
  DIAG_NEIGHBOR_SIGNALED_DOWN,
  DIAG_NONE,
  diagText,
  DOWN,
  INIT,
  UP,
} from "./packet.ts";

/** Until the session is Up no packet goes out more often than this (section 6.8.3), in milliseconds. */
const SLOW_INTERVAL = 1_000;

/** What both sides are to keep to; the interval is meant for sending and receiving, in milliseconds. */
export interface BfdTimes {
  readonly interval: number;
  /** Packets that may be missing before the session is Down. */
  readonly multiplier: number;
}

/** A session; immutable. Intervals in milliseconds. */
export interface BfdSession {
  readonly times: BfdTimes;
  readonly state: BfdState;
  readonly diag: number;
  readonly localDiscriminator: number;
  /** 0 while it is not known. */
  readonly remoteDiscriminator: number;
  readonly remoteState: BfdState;
  readonly remoteMinRx: number;
  readonly remoteMinTx: number;
  readonly remoteMultiplier: number;
  readonly isRemoteDemand: boolean;
  /** Our intervals changed and the peer has not answered that yet. */
  readonly isPolling: boolean;
  /** Intervals of before that hold until the peer has answered (section 6.8.3), 0 for none: faster sending, later detection. */
  readonly heldTx: number;
  readonly heldRx: number;
  /** When a packet went out last, and when the next is due; Infinity for never. */
  readonly sent: number;
  readonly nextSend: number;
  /** When a packet came last; -Infinity for never since the session was Down. */
  readonly heard: number;
  /** Why the session is in its state. */
  readonly reason: string;
}

/** What happened; `random` is from 0 to 1. */
export type BfdEvent =
  | { readonly type: "packet"; readonly packet: BfdPacket }
  /** Time has passed: sends what is due, and sees whether the peer is silent for too long. */
  | { readonly type: "tick" }
  | { readonly type: "times"; readonly times: BfdTimes }
  /** Our own administrative end. */
  | { readonly type: "stop" };

/** What the edge has to do. */
export type BfdEffect =
  | { readonly type: "send"; readonly packet: BfdPacket }
  | { readonly type: "changed"; readonly before: BfdState; readonly after: BfdState }
  /** The session was Up and the path or the peer is gone; not told when the peer was stopped by its administrator. */
  | { readonly type: "lost"; readonly reason: string };

/** The result of a step. */
export interface BfdStep {
  readonly session: BfdSession;
  readonly effects: readonly BfdEffect[];
}

/** When, and with what luck. */
export interface BfdMoment {
  readonly now: number;
  readonly random: number;
}

/** A session that has heard nothing yet; its first packet is due at `now`. */
export function makeBfdSession(times: BfdTimes, localDiscriminator: number, now: number): BfdSession {
  return {
    times,
    state: DOWN,
    diag: DIAG_NONE,
    localDiscriminator,
    remoteDiscriminator: 0,
    remoteState: DOWN,
    remoteMinRx: 0.001,
    remoteMinTx: 0,
    remoteMultiplier: 0,
    isRemoteDemand: false,
    isPolling: false,
    heldTx: 0,
    heldRx: 0,
    sent: -Infinity,
    nextSend: now,
    heard: -Infinity,
    reason: "nothing heard from the peer yet",
  };
}

/** Runs one event. */
export function stepBfd(session: BfdSession, event: BfdEvent, moment: BfdMoment): BfdStep {
  switch (event.type) {
    case "packet":
      return receive(session, event.packet, moment);
    case "tick":
      return tick(session, moment);
    case "times":
      return setTimes(session, event.times, moment);
    case "stop":
      return enter(session, ADMIN_DOWN, DIAG_ADMINISTRATIVELY_DOWN, "stopped by the administrator", moment);
  }
}

/** When the next tick is due; Infinity when there is nothing to wait for. */
export function deadline(session: BfdSession): number {
  return Math.min(session.nextSend, silentAt(session));
}

/** How long the peer may be silent (section 6.8.4); 0 while that is not known. */
export function detectionTime({ times, heldRx, remoteMinTx, remoteMultiplier }: BfdSession): number {
  return remoteMultiplier * Math.max(heldRx, times.interval, remoteMinTx);
}

/** The time between packets that we send, before jitter; Infinity when the peer wants none. */
export function sendInterval(session: BfdSession): number {
  const { remoteMinRx, isRemoteDemand, state, remoteState, isPolling, heldTx } = session;
  if (remoteMinRx === 0) return Infinity;
  if (isRemoteDemand && state === UP && remoteState === UP && !isPolling) return Infinity;
  return Math.max(heldTx || desiredMinTx(session), remoteMinRx);
}

function desiredMinTx({ state, times }: BfdSession): number {
  return state === UP ? times.interval : Math.max(SLOW_INTERVAL, times.interval);
}

function silentAt(session: BfdSession): number {
  if (session.heard === -Infinity || session.state === ADMIN_DOWN) return Infinity;
  return session.heard + detectionTime(session);
}

/** Section 6.8.6; what a packet says by itself was checked when it was decoded, whose it is by the edge. */
function receive(session: BfdSession, packet: BfdPacket, moment: BfdMoment): BfdStep {
  if (session.state === ADMIN_DOWN) return { session, effects: [] };
  const heard: BfdSession = {
    ...session,
    heard: moment.now,
    remoteDiscriminator: packet.myDiscriminator,
    remoteState: packet.state,
    remoteMinRx: packet.requiredMinRx / 1000,
    remoteMinTx: packet.desiredMinTx / 1000,
    remoteMultiplier: packet.multiplier,
    isRemoteDemand: packet.isDemand,
    ...(packet.isFinal && session.isPolling ? { isPolling: false, heldTx: 0, heldRx: 0 } : {}),
  };
  const step = react(heard, packet, moment);
  const next = reschedule(step.session, session, moment);
  if (!packet.isPoll) return { session: next, effects: step.effects };
  return { session: next, effects: [...step.effects, { type: "send", packet: packetOf(next, true) }] };
}

function react(session: BfdSession, packet: BfdPacket, moment: BfdMoment): BfdStep {
  const { state } = session;
  const said = packet.diag === DIAG_NONE ? "" : `, because: ${diagText(packet.diag)}`;
  if (packet.state === ADMIN_DOWN) {
    if (state === DOWN) return { session, effects: [] };
    return enter(session, DOWN, DIAG_NEIGHBOR_SIGNALED_DOWN, "the peer was stopped by its administrator", moment);
  }
  if (state === DOWN && packet.state === DOWN) {
    return enter(session, INIT, DIAG_NONE, "the peer does not hear us yet", moment);
  }
  if (state === DOWN && packet.state === INIT || state === INIT && packet.state >= INIT) {
    return enter(session, UP, DIAG_NONE, "both sides hear each other", moment);
  }
  if (state === UP && packet.state === DOWN) {
    return lose(session, DIAG_NEIGHBOR_SIGNALED_DOWN, `the peer says it is down${said}`, moment);
  }
  return { session, effects: [] };
}

function tick(session: BfdSession, moment: BfdMoment): BfdStep {
  const { now } = moment;
  if (now >= silentAt(session)) {
    const silent: BfdSession = {
      ...session,
      heard: -Infinity,
      remoteDiscriminator: 0,
      remoteState: DOWN,
      isRemoteDemand: false,
      // Who is not heard cannot hold us to its wish for silence.
      remoteMinRx: session.remoteMinRx || 0.001,
    };
    const words = `nothing heard for ${Math.round(detectionTime(session))} ms`;
    if (session.state === DOWN) return { session: reschedule(silent, session, moment), effects: [] };
    return session.state === UP
      ? lose(silent, DIAG_DETECTION_TIME_EXPIRED, words, moment)
      : enter(silent, DOWN, DIAG_DETECTION_TIME_EXPIRED, words, moment);
  }
  if (now < session.nextSend) return { session, effects: [] };
  const next = sentNow(session, moment);
  return { session: next, effects: [{ type: "send", packet: packetOf(next, false) }] };
}

/** Down from Up, so that whoever follows the session has to act. */
function lose(session: BfdSession, diag: number, reason: string, moment: BfdMoment): BfdStep {
  const step = enter(session, DOWN, diag, reason, moment);
  return { session: step.session, effects: [...step.effects, { type: "lost", reason }] };
}

/** A new state, told to the peer at once. */
function enter(session: BfdSession, state: BfdState, diag: number, reason: string, moment: BfdMoment): BfdStep {
  const entered = sentNow({
    ...session,
    state,
    diag,
    reason,
    // Up brings the fast interval with it, which the peer has to learn of (section 6.8.3).
    isPolling: state === UP,
    heldTx: 0,
    heldRx: 0,
  }, moment);
  return {
    session: entered,
    effects: [
      { type: "send", packet: packetOf(entered, false) },
      { type: "changed", before: session.state, after: state },
    ],
  };
}

/** New intervals. What the peer does not know of yet cannot be held against it, so some of it waits for the peer's answer. */
function setTimes(session: BfdSession, times: BfdTimes, moment: BfdMoment): BfdStep {
  const { state, times: old } = session;
  const next: BfdSession = state !== UP ? { ...session, times } : {
    ...session,
    times,
    isPolling: true,
    heldTx: times.interval > old.interval ? session.heldTx || old.interval : 0,
    heldRx: times.interval < old.interval ? Math.max(session.heldRx, old.interval) : 0,
  };
  return { session: reschedule(next, session, moment), effects: [] };
}

/** The moment of the next packet, jittered so that sessions do not fall into step (section 6.8.7). */
function sentNow(session: BfdSession, { now, random }: BfdMoment): BfdSession {
  return { ...session, sent: now, nextSend: now + jittered(session, random) };
}

/** Brings the next packet forward, or back from never, when the interval has changed. */
function reschedule(session: BfdSession, before: BfdSession, { now, random }: BfdMoment): BfdSession {
  if (sendInterval(session) === sendInterval(before)) return session;
  const wait = jittered(session, random);
  // Never, also where nothing was sent yet: minus and plus infinity make no number.
  return { ...session, nextSend: wait === Infinity ? Infinity : Math.max(now, session.sent + wait) };
}

function jittered(session: BfdSession, random: number): number {
  const most = session.times.multiplier === 1 ? 0.9 : 1;
  return sendInterval(session) * (0.75 + (most - 0.75) * random);
}

function packetOf(session: BfdSession, isFinal: boolean): BfdPacket {
  return {
    diag: session.diag,
    state: session.state,
    // A packet never bears both (section 6.5).
    isPoll: session.isPolling && !isFinal,
    isFinal,
    isDemand: false,
    multiplier: session.times.multiplier,
    myDiscriminator: session.localDiscriminator,
    yourDiscriminator: session.remoteDiscriminator,
    desiredMinTx: Math.round(desiredMinTx(session) * 1000),
    requiredMinRx: Math.round(session.times.interval * 1000),
    requiredMinEchoRx: 0,
  };
}
