/** Connect: our connection attempt is under way, or is up and DelayOpen runs. */

import {
  beginOpen,
  close,
  failByFault,
  failByNotification,
  losePrimary,
  sendOpen,
  stay,
  tryConnecting,
} from "./moves.ts";
import { confirmAfterDelay } from "./open_sent.ts";
import type { Event, Fsm, Step } from "./state.ts";

export function stepConnect(fsm: Fsm, event: Event): Step {
  const { primary } = fsm;
  if (!primary) return stay(fsm);
  switch (event.type) {
    case "connected":
      return beginOpen(fsm, primary, "connected");
    case "closed":
      return losePrimary(fsm, event.reason);
    case "accepted": {
      // Theirs is up, ours may still fail: theirs leads, and ours is closed when their OPEN comes (RFC 4271 6.8).
      if (fsm.rival) return stay(fsm, close(event.id));
      const incoming = { id: event.id, isOutgoing: false, isUp: true, isOpenSent: false };
      if (primary.isUp) return sendBoth(fsm, event.id);
      return sendOpen({ ...fsm, rival: primary }, incoming, "peer connected");
    }
    case "open":
      return confirmAfterDelay(fsm, primary, event.message);
    case "timer":
      if (event.timer === "delayOpen" && primary.isUp) return sendOpen(fsm, primary, "DelayOpen expired");
      if (event.timer === "connectRetry" && !primary.isUp) {
        const step = tryConnecting({ ...fsm, lastError: "no answer to our connection" }, "trying again");
        return { fsm: step.fsm, effects: [close(primary.id), ...step.effects] };
      }
      return stay(fsm);
    case "fault":
      return failByFault(fsm, event.fault);
    case "notification":
      return failByNotification(fsm, event.message);
    case "keepalive":
    case "unexpected":
      return failByFault(fsm, {
        kind: "reset",
        code: 5,
        subcode: 0,
        data: new Uint8Array(0),
        reason: `unexpected ${event.type === "unexpected" ? event.what : "KEEPALIVE"} before OPEN`,
      });
    default:
      return stay(fsm);
  }
}

/** While DelayOpen runs a second connection comes in: no more delay, both send OPEN and collide in order. */
function sendBoth(fsm: Fsm, id: number): Step {
  const { primary } = fsm;
  if (!primary) return stay(fsm, close(id));
  const first = sendOpen(fsm, primary, "peer connected too");
  return {
    fsm: { ...first.fsm, rival: { id, isOutgoing: false, isUp: true, isOpenSent: true } },
    effects: [...first.effects, { type: "send-open", id }, {
      type: "timer",
      timer: "rivalHold",
      ms: 30_000,
      isJittered: false,
    }],
  };
}
