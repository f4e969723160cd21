/** OpenConfirm: both OPENs are exchanged, the peer's KEEPALIVE is awaited. */

import {
  cancel,
  dropRival,
  enter,
  fail,
  failByFault,
  failByFsmError,
  failByHold,
  failByNotification,
  stay,
  timer,
} from "./moves.ts";
import { acceptBeside, loseToRival } from "./open_sent.ts";
import type { Event, Fsm, Step } from "./state.ts";

export function stepOpenConfirm(fsm: Fsm, event: Event): Step {
  const { primary } = fsm;
  const negotiated = primary?.negotiated;
  if (!primary || !negotiated) return stay(fsm);
  switch (event.type) {
    case "keepalive": {
      const { holdTime } = negotiated;
      const first = dropRival(fsm, 6, 7);
      const up = enter(first.fsm, "Established", "session established", {
        attempts: 0,
        lastError: undefined,
        isSettled: false,
      }, [
        ...cancel("connectRetry"),
        ...(holdTime > 0 ? [timer("hold", holdTime * 1000, false), sendHold(holdTime)] : []),
        timer("stable", fsm.config.stableAfter, false),
        { type: "up", id: primary.id, negotiated },
      ]);
      return { fsm: up.fsm, effects: [...first.effects, ...up.effects] };
    }
    case "accepted":
      return acceptBeside(fsm, primary, event.id);
    case "closed":
      return fsm.rival ? loseToRival(fsm, primary, event.reason) : fail(fsm, { reason: event.reason, how: "lost" });
    case "notification":
      return fsm.rival
        ? loseToRival(fsm, primary, "the peer refused this connection")
        : failByNotification(fsm, event.message);
    case "fault":
      return failByFault(fsm, event.fault);
    case "open":
      return failByFsmError(fsm, 2, "OPEN");
    case "unexpected":
      return failByFsmError(fsm, 2, event.what);
    case "timer":
      if (event.timer === "hold") return failByHold(fsm);
      if (event.timer !== "keepalive") return stay(fsm);
      return stay(fsm, { type: "send-keepalive", id: primary.id }, timer("keepalive", negotiated.keepaliveTime * 1000));
    default:
      return stay(fsm);
  }
}

/** RFC 9687: the greater of 8 minutes and twice the hold time. */
export function sendHold(holdTime: number) {
  return timer("sendHold", Math.max(480, 2 * holdTime) * 1000, false);
}
