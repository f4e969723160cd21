/**
 * Graceful restart, the decisions (RFC 4724, 8538): which families of a peer's paths outlive a session, and which of those a
 * new session confirms. The speaker keeps the timers, the router the paths.
 *
 *   session lost ──families to keep──> stale paths ──new OPEN: F bit──> still stale ──End-of-RIB or time──> swept
 */

import type { Negotiated } from "../fsm/negotiate.ts";
import type { DownReason } from "../fsm/state.ts";
import type { Capabilities, GracefulRestart } from "../wire/capability.ts";

/** What we announce; `time` in seconds (12 bits), 0 announces nothing. */
export function announcedRestart(time: number, families: number): GracefulRestart | undefined {
  if (time <= 0) return undefined;
  return { isRestarting: false, isNotification: true, time: Math.min(time, 0xfff), families, forwarding: families };
}

/** The capabilities of an OPEN: R and F as they are at this moment. */
export function restartCapabilities(
  capabilities: Capabilities,
  { isRestarting, isForwarding }: { readonly isRestarting: boolean; readonly isForwarding: boolean },
): Capabilities {
  const { gracefulRestart } = capabilities;
  if (!gracefulRestart) return capabilities;
  const forwarding = isForwarding ? gracefulRestart.families : 0;
  const longLived = capabilities.longLived.map((family) => ({ ...family, isForwarding }));
  return { ...capabilities, gracefulRestart: { ...gracefulRestart, isRestarting, forwarding }, longLived };
}

/** The families (mask) whose paths are kept as stale when the session ended so, and for how many seconds. */
export function keptFamilies(
  local: Capabilities,
  { peer, wire }: Negotiated,
  how: DownReason,
): { readonly families: number; readonly time: number } {
  const ours = local.gracefulRestart, theirs = peer.gracefulRestart;
  const isKept = ours !== undefined && theirs !== undefined && theirs.time > 0 &&
    (how === "lost" || how === "notification" && ours.isNotification && theirs.isNotification);
  return isKept ? { families: theirs.families & wire.families, time: theirs.time } : { families: 0, time: 0 };
}

/**
 * The families whose stale paths may stay for long after the restart time, and for how many seconds (RFC 9494 4.2): what
 * the peer asks for, no longer than we are willing to.
 */
export function longKept(
  local: Capabilities,
  { peer, wire }: Negotiated,
  kept: number,
): { readonly families: number; readonly time: number } {
  const mine = local.longLived[0]?.time ?? 0;
  const asked = peer.longLived.filter(({ family, time }) => (kept & wire.families & family) !== 0 && time > 0);
  if (mine === 0 || asked.length === 0) return { families: 0, time: 0 };
  const families = asked.reduce((mask, { family }) => mask | family, 0);
  return { families, time: Math.min(mine, ...asked.map(({ time }) => time)) };
}

/** Of the kept families, those whose forwarding state the peer says that it has preserved. */
export function confirmedFamilies(kept: number, { peer, wire }: Negotiated): number {
  const long = peer.longLived.reduce((mask, { family, isForwarding }) => isForwarding ? mask | family : mask, 0);
  return kept & wire.families & ((peer.gracefulRestart?.forwarding ?? 0) | long);
}
