/**
 * The second connection of a peer, until the collision is resolved (RFC 4271 6.8).
 *
 * A collision is looked at when the rival's OPEN comes in: against an Established primary it loses, unless it says that the peer has restarted; against one in
 * OpenConfirm the connection that the higher BGP identifier opened stays; one in OpenSent it overtakes.
 */

import { CEASE_COLLISION, ERR_CEASE, ERR_FSM } from "../wire/notification.ts";
import { cancel, close, dropRival, idle, notify, rivalHold, stay, timer, unexpectedType } from "./moves.ts";
import { negotiate } from "./negotiate.ts";
import { confirm } from "./open_sent.ts";
import type { OpenMessage } from "../wire/open.ts";
import type { Connection, Event, Fsm, Step } from "./state.ts";

export function stepRival(fsm: Fsm, rival: Connection, event: Event): Step {
  switch (event.type) {
    case "connected": {
      const opened = { ...rival, isUp: true, isOpenSent: true };
      return stay({ ...fsm, rival: opened }, { type: "send-open", id: rival.id }, rivalHold());
    }
    case "closed":
    case "notification":
      return stay({ ...fsm, rival: undefined }, close(rival.id), ...cancel("rivalHold"));
    case "fault":
      return dropRival(fsm, event.fault.code, event.fault.subcode, event.fault.data);
    case "keepalive":
    case "unexpected":
      return dropRival(fsm, ERR_FSM, 1, unexpectedType(event.type === "keepalive" ? "KEEPALIVE" : event.what));
    case "open": {
      const negotiated = negotiate(fsm.config.local, event.message);
      if ("kind" in negotiated) return dropRival(fsm, negotiated.code, negotiated.subcode, negotiated.data);
      const { primary } = fsm;
      if (primary && fsm.name === "Established" && hasRestarted(fsm, event.message)) {
        const down = idle({ ...fsm, rival: undefined }, { reason: "the peer says that it has restarted", how: "lost" });
        const next = confirm(down.fsm, rival, negotiated);
        return { fsm: next.fsm, effects: [...down.effects, ...next.effects] };
      }
      if (!primary || fsm.name === "Established") return dropRival(fsm, ERR_CEASE, CEASE_COLLISION);
      if (fsm.name === "OpenConfirm") {
        const doesRivalWin = rival.isOutgoing === negotiated.isOurIdHigher;
        if (!doesRivalWin) return dropRival(fsm, ERR_CEASE, CEASE_COLLISION);
        const next = confirm({ ...fsm, rival: undefined }, rival, negotiated);
        return {
          fsm: next.fsm,
          effects: [
            notify(primary.id, ERR_CEASE, CEASE_COLLISION),
            close(primary.id),
            ...cancel("rivalHold"),
            ...next.effects,
          ],
        };
      }
      const next = confirm({ ...fsm, rival: primary }, rival, negotiated);
      return { fsm: next.fsm, effects: [...next.effects, timer("rivalHold", fsm.config.openHold, false)] };
    }
    default:
      return stay(fsm);
  }
}

/** The R bit of a peer whose routes we keep over a restart. */
function hasRestarted(fsm: Fsm, { capabilities }: OpenMessage): boolean {
  return fsm.primary?.negotiated?.peer.gracefulRestart !== undefined &&
    fsm.config.local.capabilities.gracefulRestart !== undefined && capabilities.gracefulRestart?.isRestarting === true;
}
