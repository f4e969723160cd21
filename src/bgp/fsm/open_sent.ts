/** OpenSent: our OPEN is out, theirs is awaited. Holds the ways into OpenConfirm. */

import type { OpenMessage } from "../wire/open.ts";
import {
  addRival,
  cancel,
  close,
  dropRival,
  enter,
  failByFault,
  failByFsmError,
  failByHold,
  failByNotification,
  losePrimary,
  sendOpen,
  stay,
  timer,
} from "./moves.ts";
import { negotiate, type Negotiated } from "./negotiate.ts";
import type { Connection, Event, Fsm, Step } from "./state.ts";

export function stepOpenSent(fsm: Fsm, event: Event): Step {
  const { primary } = fsm;
  if (!primary) return stay(fsm);
  switch (event.type) {
    case "open": {
      const negotiated = negotiate(fsm.config.local, event.message);
      if ("kind" in negotiated) return failByFault(fsm, negotiated);
      // A rival that is not up yet is of no use any more; one in OpenSent goes on until its own OPEN is in.
      const isPending = fsm.rival !== undefined && !fsm.rival.isUp;
      const first = isPending ? dropRival(fsm, 6, 7) : stay(fsm);
      const second = confirm(first.fsm, primary, negotiated);
      return { fsm: second.fsm, effects: [...first.effects, ...second.effects] };
    }
    case "accepted":
      return acceptBeside(fsm, primary, event.id);
    case "closed":
      return losePrimary(fsm, event.reason);
    case "notification":
      return fsm.rival
        ? loseToRival(fsm, primary, "the peer refused this connection")
        : failByNotification(fsm, event.message);
    case "fault":
      return failByFault(fsm, event.fault);
    case "keepalive":
      return failByFsmError(fsm, 1, "KEEPALIVE");
    case "unexpected":
      return failByFsmError(fsm, 1, event.what);
    case "timer":
      return event.timer === "hold" ? failByHold(fsm) : stay(fsm);
    default:
      return stay(fsm);
  }
}

/** A connection came in beside the primary: it replaces an incoming one, and rivals an outgoing one. */
export function acceptBeside(fsm: Fsm, primary: Connection, id: number): Step {
  if (primary.isOutgoing) return addRival(fsm, id);
  if (fsm.rival && !fsm.rival.isOutgoing) return stay(fsm, close(id));
  const step = sendOpen(fsm, { id, isOutgoing: false, isUp: true, isOpenSent: false }, "peer connected again");
  return { fsm: step.fsm, effects: [close(primary.id), ...step.effects] };
}

/** Closes the primary, for which the peer has no use, and goes on with the rival. */
export function loseToRival(fsm: Fsm, primary: Connection, reason: string): Step {
  const step = losePrimary(fsm, reason);
  return { fsm: step.fsm, effects: [close(primary.id), ...step.effects] };
}

/** Both OPENs are exchanged on the connection: KEEPALIVE goes out, OpenConfirm. */
export function confirm(fsm: Fsm, connection: Connection, negotiated: Negotiated): Step {
  const { holdTime, keepaliveTime } = negotiated;
  return enter(fsm, "OpenConfirm", "OPEN received", { primary: { ...connection, negotiated } }, [
    { type: "send-keepalive", id: connection.id },
    ...(holdTime > 0
      ? [timer("hold", holdTime * 1000, false), timer("keepalive", keepaliveTime * 1000)]
      : cancel("hold", "keepalive")),
  ]);
}

/** Their OPEN came while ours was delayed: OPEN and KEEPALIVE go out together. */
export function confirmAfterDelay(fsm: Fsm, primary: Connection, message: OpenMessage): Step {
  const opened = sendOpen(fsm, primary, "OPEN received before ours was sent");
  const next = stepOpenSent(opened.fsm, { type: "open", id: primary.id, message });
  return { fsm: next.fsm, effects: [...opened.effects, ...next.effects] };
}
