/**
 * One step of a peer's machine: `step(fsm, event)` gives the next machine and the effects, and never throws.
 *
 *            start            TCP up            OPEN               KEEPALIVE
 *   Idle ------------> Connect -------> OpenSent -----> OpenConfirm ---------> Established
 *    ^ ^                |   ^             |  ^               |                     |
 *    | |     TCP failed v   | retry       |  | accepted      |                     |
 *    | |               Active ------------|--+               |                     |
 *    | +----- (passive start: Active)     |                  |                     |
 *    +--------- any error: NOTIFICATION, close, IdleHold ----+---------------------+
 *
 * RFC 4271 section 8, with RFC 6608 (subcodes of FSM errors), 9687 (SendHoldTimer) and 4724 (a peer that restarted).
 */

import { ERR_HOLD_TIMER } from "../wire/notification.ts";
import { stepActive } from "./active.ts";
import { stepConnect } from "./connect.ts";
import { stepEstablished } from "./established.ts";
import { stepIdle } from "./idle.ts";
import { close, dropRival, resetSession, stay, stop } from "./moves.ts";
import { stepOpenConfirm } from "./open_confirm.ts";
import { stepOpenSent } from "./open_sent.ts";
import { stepRival } from "./rival.ts";
import type { Event, Fsm, StateName, Step } from "./state.ts";

const STATES: Readonly<Record<StateName, (fsm: Fsm, event: Event) => Step>> = {
  Idle: stepIdle,
  Connect: stepConnect,
  Active: stepActive,
  OpenSent: stepOpenSent,
  OpenConfirm: stepOpenConfirm,
  Established: stepEstablished,
};

/** Takes the machine through one event. */
export function step(fsm: Fsm, event: Event): Step {
  if (event.type === "stop") return stop(fsm, event);
  if (event.type === "reset") return resetSession(fsm, event);
  if (event.type === "timer" && event.timer === "rivalHold") {
    return dropRival(fsm, ERR_HOLD_TIMER, 0);
  }
  if ("id" in event && event.type !== "accepted") {
    if (fsm.rival?.id === event.id) return stepRival(fsm, fsm.rival, event);
    if (fsm.primary?.id !== event.id) return event.type === "connected" ? stay(fsm, close(event.id)) : stay(fsm);
  }
  return STATES[fsm.name](fsm, event);
}

export { type Event, type Fsm, type FsmConfig, makeFsm, type Step } from "./state.ts";
