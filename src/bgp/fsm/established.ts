/** Established: routes are exchanged. Anything unexpected ends the session; UPDATEs do not come through here. */

import {
  addRival,
  close,
  fail,
  failByFault,
  failByFsmError,
  failByHold,
  failByNotification,
  idle,
  sendOpen,
  stay,
  timer,
} from "./moves.ts";
import type { Event, Fsm, Step } from "./state.ts";

export function stepEstablished(fsm: Fsm, event: Event): Step {
  const { primary } = fsm;
  const negotiated = primary?.negotiated;
  if (!primary || !negotiated) return stay(fsm);
  switch (event.type) {
    case "keepalive":
      return stay(fsm);
    case "closed":
      return fail(fsm, { reason: event.reason, how: "lost" });
    case "notification":
      return failByNotification(fsm, event.message);
    case "fault":
      return failByFault(fsm, event.fault);
    case "open":
      return failByFsmError(fsm, 3, "OPEN");
    case "unexpected":
      return failByFsmError(fsm, 3, event.what);
    case "accepted":
      return replaceAfterRestart(fsm, event.id);
    case "timer":
      if (event.timer === "hold") return failByHold(fsm);
      if (event.timer === "sendHold") {
        return failByFault(fsm, {
          kind: "reset",
          code: 8,
          subcode: 0,
          data: new Uint8Array(0),
          reason: "the peer takes nothing from us",
        });
      }
      if (event.timer === "stable") return stay({ ...fsm, failures: 0, isSettled: true });
      if (event.timer === "keepalive") {
        const again = timer("keepalive", negotiated.keepaliveTime * 1000);
        return stay(fsm, { type: "send-keepalive", id: primary.id }, again);
      }
      return stay(fsm);
    default:
      return stay(fsm);
  }
}

/**
 * The peer connects although we hold a session: with graceful restart that says that it has restarted (RFC 4724 4.2),
 * and the old connection ends without a NOTIFICATION. Else the new one must first send an OPEN, and then loses: when the
 * session is young both sides may have connected at the same time, and to the peer the end of one would be our restart.
 */
function replaceAfterRestart(fsm: Fsm, id: number): Step {
  const canRestart = fsm.primary?.negotiated?.peer.gracefulRestart && fsm.config.local.capabilities.gracefulRestart;
  if (!canRestart || !fsm.isSettled) {
    return fsm.rival ? stay(fsm, close(id)) : addRival(fsm, id);
  }
  const down = idle(fsm, { reason: "the peer connected again: it has restarted", how: "lost" });
  const connection = { id, isOutgoing: false, isUp: true, isOpenSent: false };
  const up = sendOpen(down.fsm, connection, "peer connected again");
  return { fsm: up.fsm, effects: [...down.effects, ...up.effects] };
}
