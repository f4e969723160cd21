/** What both sides of a session can do, as a table for `bgp peers`: who announced what, and what is in use. */

import type { Capabilities } from "../wire/capability.ts";
import { IPV4_UNICAST, IPV6_UNICAST } from "../wire/constants.ts";

/** One line of the table; `ours` and `theirs` say what was announced, null for nothing. */
export interface CapabilityRow {
  readonly capability: string;
  readonly ours: string | null;
  readonly theirs: string | null;
  /** Both sides have it, so the session does. */
  readonly isUsed: boolean;
}

const ROLES = ["provider", "rs", "rs-client", "customer", "peer"];
const FAMILIES = [[IPV4_UNICAST, "ipv4"], [IPV6_UNICAST, "ipv6"]] as const;

/** The table; what neither side announced is left out. */
export function capabilityTable(ours: Capabilities, theirs: Capabilities): CapabilityRow[] {
  const rows: CapabilityRow[] = [];
  const add = (capability: string, say: (side: Capabilities) => string | null, isUsed?: boolean) => {
    const mine = say(ours), other = say(theirs);
    if (mine === null && other === null) return;
    rows.push({ capability, ours: mine, theirs: other, isUsed: isUsed ?? (mine !== null && other !== null) });
  };
  const flag = (is: boolean) => is ? "yes" : null;
  for (const [bit, name] of FAMILIES) add(`${name} unicast`, (side) => flag((side.families & bit) !== 0));
  add("route refresh", (side) => flag(side.routeRefresh));
  add("enhanced route refresh", (side) => flag(side.enhancedRouteRefresh));
  add("extended messages", (side) => flag(side.extendedMessage));
  add("extended next hop", (side) => flag(side.extendedNextHop));
  add("4-octet AS", (side) => side.as4 === undefined ? null : String(side.as4));
  add("role", (side) => side.role === undefined ? null : ROLES[side.role] ?? String(side.role));
  for (const [bit, name] of FAMILIES) {
    const isUsed =
      (ours.addPathReceive & theirs.addPathSend & bit | ours.addPathSend & theirs.addPathReceive & bit) !== 0;
    add(`add-path ${name}`, (side) => addPath(side, bit), isUsed);
  }
  add("graceful restart", ({ gracefulRestart: graceful }) => {
    if (!graceful) return null;
    const { time, isRestarting, isNotification } = graceful;
    return `${time} s${isNotification ? ", notification" : ""}${isRestarting ? ", restarting" : ""}`;
  });
  for (const [bit, name] of FAMILIES) {
    add(`long-lived graceful restart ${name}`, ({ longLived }) => {
      const found = longLived.find(({ family }) => family === bit);
      return found ? `${found.time} s` : null;
    });
  }
  add("host name", ({ fqdn }) => fqdn ? `${fqdn.host}${fqdn.domain === "" ? "" : `.${fqdn.domain}`}` : null);
  for (const code of new Set(theirs.unknown)) {
    rows.push({ capability: `number ${code}`, ours: null, theirs: "yes", isUsed: false });
  }
  return rows;
}

function addPath({ addPathReceive, addPathSend }: Capabilities, bit: number): string | null {
  const receives = (addPathReceive & bit) !== 0, sends = (addPathSend & bit) !== 0;
  return receives ? sends ? "both" : "receive" : sends ? "send" : null;
}
