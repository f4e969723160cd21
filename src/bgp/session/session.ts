/**
 * One peer's session: octets in, frames, the state machine, effects out.
 *
 * In: what the transports and timers report. Out: through `SessionEdge`, which connects, sets timers, and has the routes.
 * UPDATE messages of an Established session go straight to the edge as a range of the receive buffer; they and KEEPALIVEs
 * only note the time, which `holdDue` is asked for when the hold timer fires. A fault of the peer ends this session and
 * nothing else, even one that we did not foresee (an exception).
 */

import { makeFsm, step } from "../fsm/step.ts";
import type { ConnectionId, DownReason, Effect, Event, Fsm, FsmConfig, TimerName } from "../fsm/state.ts";
import type { Negotiated } from "../fsm/negotiate.ts";
import type { Transport, TransportSink } from "../transport.ts";
import type { Capabilities } from "../wire/capability.ts";
import { MSG_KEEPALIVE, MSG_NOTIFICATION, MSG_OPEN, MSG_ROUTE_REFRESH, MSG_UPDATE } from "../wire/constants.ts";
import { type Fault, reset } from "../wire/fault.ts";
import { encodeKeepalive, Framer } from "../wire/frame.ts";
import { decodeNotification, encodeNotification } from "../wire/notification.ts";
import { decodeOpen, encodeOpen } from "../wire/open.ts";
import { decodeRouteRefresh, type RouteRefresh } from "../wire/route_refresh.ts";

/** What a session needs done, and tells. */
export interface SessionEdge {
  /** Milliseconds, monotonic; noted when octets arrive. */
  now(): number;
  /** A random number from 0 to 1, for jitter. */
  random(): number;
  /** Begins an outgoing connection; failures come through the sink later, never as an exception. */
  connect(sink: TransportSink): Transport;
  setTimer(timer: TimerName, ms: number): void;
  cancelTimer(timer: TimerName): void;
  /** The capabilities of an OPEN that goes out now, where they change with time (graceful restart). */
  announced?(capabilities: Capabilities): Capabilities;
  /** The session is Established. */
  up(negotiated: Negotiated, transport: Transport): void;
  /** An Established session ended. */
  down(reason: string, how: DownReason): void;
  /** The body of an UPDATE, valid during the call; returns what ends the session. */
  update(body: Uint8Array): Fault | undefined;
  refresh(message: RouteRefresh): void;
  /** A message that is no UPDATE has come (its body) or gone out (whole); valid during the call. */
  passed?(isSent: boolean, type: number, bytes: Uint8Array): void;
  /** The kernel has taken everything that was written. */
  writable(): void;
  /** The state or its reason changed. */
  changed(before: Fsm, after: Fsm): void;
  /** An exception of ours, confined to this session. */
  broke(error: unknown): void;
}

/** Counts of messages, for `bgp peers` and metrics. */
export interface MessageCounts {
  readonly received: number[];
  readonly sent: number[];
}

interface Link {
  readonly id: ConnectionId;
  readonly framer: Framer;
  transport: Transport | undefined;
  /** When octets came last. */
  heard: number;
  isClosed: boolean;
}

const KEEPALIVE = encodeKeepalive();
/** Milliseconds by which a timer may be late before we doubt ourselves instead of the peer. */
const LATE = 500;

/** A peer's session; all methods run to completion before they return, and none throws for what a peer does. */
export class Session {
  #fsm: Fsm;
  readonly #edge: SessionEdge;
  readonly #links = new Map<ConnectionId, Link>();
  #established: Link | undefined;
  #nextIncoming = 2;
  /** When the kernel last took octets from us, for the SendHoldTimer. */
  #progress = 0;
  /** When the hold timer should fire. */
  #holdDue = 0;
  /** Messages by their type. */
  readonly counts: MessageCounts = { received: [0, 0, 0, 0, 0, 0], sent: [0, 0, 0, 0, 0, 0] };

  constructor(config: FsmConfig, edge: SessionEdge) {
    this.#fsm = makeFsm(config);
    this.#edge = edge;
  }

  /** The machine as it is now. */
  get fsm(): Fsm {
    return this.#fsm;
  }

  /** The Established connection; undefined otherwise. */
  get transport(): Transport | undefined {
    return this.#established?.transport;
  }

  start(): void {
    this.#step({ type: "start" });
  }

  /** Administrative stop with a Cease of the subcode; `isSilent` closes without a NOTIFICATION (graceful restart). */
  stop(subcode: number, words?: string, isSilent = false): void {
    this.#step({ type: "stop", subcode, words, isSilent });
  }

  /** Ends the session with a NOTIFICATION and starts again after IdleHold, or after `wait` milliseconds. */
  reset(code: number, subcode: number, reason: string, words?: string, wait?: number): void {
    this.#step({ type: "reset", code, subcode, reason, words, wait });
  }

  /** When octets of the Established session came last, by the edge's clock; undefined when there is none. */
  get heard(): number | undefined {
    return this.#established?.heard;
  }

  /** Takes an incoming connection; `adopt` makes the transport for the sink, or the connection is refused unheard. */
  accept(adopt: (sink: TransportSink) => Transport): void {
    const id = this.#nextIncoming;
    this.#nextIncoming += 2;
    const link = this.#makeLink(id);
    link.transport = adopt(this.#sink(link));
    this.#step({ type: "accepted", id });
  }

  /** A timer that the edge was asked for has fired. */
  fire(timer: TimerName): void {
    if (timer === "hold" && this.#established) {
      const left = this.#established.heard + this.#holdTime() - this.#edge.now();
      if (left > 0) return this.#armHold(left);
      // A timer that fires late says that this thread was held up: what the peer sent meanwhile may be unread yet.
      if (this.#edge.now() - this.#holdDue > LATE) return this.#armHold(LATE);
    }
    if (timer === "sendHold") {
      const wait = Math.max(480_000, 2 * this.#holdTime());
      const pending = this.transport?.pending ?? 0;
      const left = pending === 0 ? wait : this.#progress + wait - this.#edge.now();
      if (left > 0) return this.#edge.setTimer("sendHold", left);
    }
    this.#step({ type: "timer", timer });
  }

  /** Writes whole UPDATE messages to the Established connection. */
  write(bytes: Uint8Array): void {
    const transport = this.transport;
    if (!transport) return;
    if (transport.pending === 0) this.#progress = this.#edge.now();
    for (let at = 0; at + 18 < bytes.length;) {
      this.counts.sent[bytes[at + 18]!]! += 1;
      at += (bytes[at + 16]! << 8) | bytes[at + 17]!;
    }
    transport.write(bytes);
  }

  #armHold(ms: number): void {
    this.#holdDue = this.#edge.now() + ms;
    this.#edge.setTimer("hold", ms);
  }

  #holdTime(): number {
    return (this.#fsm.primary?.negotiated?.holdTime ?? 0) * 1000;
  }

  #makeLink(id: ConnectionId): Link {
    const link: Link = { id, framer: new Framer(), transport: undefined, heard: this.#edge.now(), isClosed: false };
    this.#links.set(id, link);
    return link;
  }

  #sink(link: Link): TransportSink {
    return {
      connected: () => this.#step({ type: "connected", id: link.id }),
      room: () => link.framer.room(),
      received: (count) => this.#receive(link, count),
      writable: () => {
        this.#progress = this.#edge.now();
        if (link === this.#established) this.#edge.writable();
      },
      closed: (reason) => {
        this.#forget(link);
        this.#step({ type: "closed", id: link.id, reason });
      },
    };
  }

  #receive(link: Link, count: number): void {
    const { framer } = link;
    link.heard = this.#edge.now();
    framer.received(count);
    try {
      while (!link.isClosed && framer.next()) this.#message(link, framer.type, framer.body());
    } catch (error) {
      this.#edge.broke(error);
      this.#step({ type: "fault", id: link.id, fault: reset(6, 8, "an error of ours while reading a message") });
    }
    if (framer.fault && !link.isClosed) this.#step({ type: "fault", id: link.id, fault: framer.fault });
  }

  #message(link: Link, type: number, body: Uint8Array): void {
    this.counts.received[type]! += 1;
    if (type !== MSG_UPDATE) this.#edge.passed?.(false, type, body);
    const isUp = link === this.#established;
    const { id } = link;
    switch (type) {
      case MSG_UPDATE: {
        if (!isUp) return this.#step({ type: "unexpected", id, what: "UPDATE" });
        const fault = this.#edge.update(body);
        if (fault) this.#step({ type: "fault", id, fault });
        return;
      }
      case MSG_KEEPALIVE:
        if (!isUp) this.#step({ type: "keepalive", id });
        return;
      case MSG_OPEN: {
        const message = decodeOpen(body);
        return this.#step("kind" in message ? { type: "fault", id, fault: message } : { type: "open", id, message });
      }
      case MSG_NOTIFICATION:
        return this.#step({ type: "notification", id, message: decodeNotification(body) });
      case MSG_ROUTE_REFRESH: {
        if (!isUp) return this.#step({ type: "unexpected", id, what: "ROUTE-REFRESH" });
        const message = decodeRouteRefresh(body);
        if ("kind" in message) return this.#step({ type: "fault", id, fault: message });
        if (message.family !== 0) this.#edge.refresh(message);
        return;
      }
    }
  }

  #step(event: Event): void {
    const before = this.#fsm;
    const { fsm, effects } = step(before, event);
    this.#fsm = fsm;
    for (const effect of effects) this.#run(effect);
    if (before.name !== fsm.name || before.reason !== fsm.reason) this.#edge.changed(before, fsm);
  }

  #run(effect: Effect): void {
    switch (effect.type) {
      case "connect": {
        const link = this.#makeLink(effect.id);
        link.transport = this.#edge.connect(this.#sink(link));
        return;
      }
      case "close": {
        const link = this.#links.get(effect.id);
        if (!link) return;
        this.#forget(link);
        link.transport?.close();
        return;
      }
      case "send-open": {
        const { local } = this.#fsm.config;
        const capabilities = this.#edge.announced?.(local.capabilities) ?? local.capabilities;
        const open = { as: local.as, holdTime: local.holdTime, id: local.id, capabilities };
        return this.#send(effect.id, MSG_OPEN, encodeOpen(open));
      }
      case "send-keepalive":
        return this.#send(effect.id, MSG_KEEPALIVE, KEEPALIVE);
      case "send-notification":
        return this.#send(effect.id, MSG_NOTIFICATION, encodeNotification(effect.message));
      case "timer": {
        const ms = effect.isJittered ? effect.ms * (0.75 + 0.25 * this.#edge.random()) : effect.ms;
        return effect.timer === "hold" ? this.#armHold(ms) : this.#edge.setTimer(effect.timer, ms);
      }
      case "cancel":
        return this.#edge.cancelTimer(effect.timer);
      case "up": {
        const link = this.#links.get(effect.id);
        if (!link?.transport) return;
        link.framer.isExtended = effect.negotiated.wire.isExtendedMessage;
        this.#established = link;
        this.#progress = this.#edge.now();
        return this.#edge.up(effect.negotiated, link.transport);
      }
      case "down":
        this.#established = undefined;
        return this.#edge.down(effect.reason, effect.how);
    }
  }

  #send(id: ConnectionId, type: number, bytes: Uint8Array): void {
    const transport = this.#links.get(id)?.transport;
    if (!transport) return;
    transport.write(bytes);
    this.counts.sent[type]! += 1;
    this.#edge.passed?.(true, type, bytes);
  }

  #forget(link: Link): void {
    link.isClosed = true;
    this.#links.delete(link.id);
  }

  /** Sends a ROUTE-REFRESH or another message that is no UPDATE on the Established connection. */
  send(type: number, bytes: Uint8Array): void {
    if (this.#established) this.#send(this.#established.id, type, bytes);
  }
}
