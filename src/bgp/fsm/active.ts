/** Active: waiting for the peer to connect, or for ConnectRetry; or an incoming connection waits for DelayOpen. */

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

export function stepActive(fsm: Fsm, event: Event): Step {
  const { primary } = fsm;
  switch (event.type) {
    case "accepted": {
      const step = beginOpen(
        fsm,
        { id: event.id, isOutgoing: false, isUp: true, isOpenSent: false },
        "peer connected",
      );
      // A second incoming one: the peer has given up the first.
      return primary ? { fsm: step.fsm, effects: [close(primary.id), ...step.effects] } : step;
    }
    case "timer":
      if (event.timer === "delayOpen" && primary) return sendOpen(fsm, primary, "DelayOpen expired");
      if (event.timer === "connectRetry" && !primary && !fsm.config.isPassive) {
        return tryConnecting(fsm, "trying again");
      }
      return stay(fsm);
    case "closed":
      return losePrimary(fsm, event.reason);
    case "open":
      return primary ? confirmAfterDelay(fsm, primary, event.message) : stay(fsm);
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
