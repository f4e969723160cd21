/** Idle: no connection, and none accepted; started machines leave it when IdleHold expires. */

import { beginOpen, close, stay, tryConnecting } from "./moves.ts";
import type { Event, Fsm, Step } from "./state.ts";

/** A peer that failed no more often than this may come back by itself before IdleHold expires. */
const LENIENT_FAILURES = 3;

export function stepIdle(fsm: Fsm, event: Event): Step {
  switch (event.type) {
    case "start":
      return fsm.isStarted ? stay(fsm) : tryConnecting({ ...fsm, isStarted: true }, "started");
    case "timer":
      return event.timer === "idleHold" && fsm.isStarted
        ? tryConnecting({ ...fsm, isHeld: false }, "trying again")
        : stay(fsm);
    case "accepted":
      if (fsm.isStarted && !fsm.isHeld && fsm.failures <= LENIENT_FAILURES) {
        return beginOpen(fsm, { id: event.id, isOutgoing: false, isUp: true, isOpenSent: false }, "peer connected");
      }
      return stay(fsm, close(event.id));
    default:
      return stay(fsm);
  }
}
