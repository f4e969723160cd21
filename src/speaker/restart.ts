/**
 * A restart of our own (RFC 4724 4.1): routes of the earlier run stand in the kernel, and until every peer has told us its
 * table (End-of-RIB) nothing is decided for the kernel and nothing said to peers, who keep our routes meanwhile.
 *
 *   first listing ── nothing of ours ──> fresh: no F bit until the delay is over, no waiting
 *                 └─ routes of ours ───> deferring (R and F bits) ── all peers told, or the delay ──> sweep, speak
 *
 * A peer that is not up after `ABSENT_AFTER` is not waited for any more. One without graceful restart need not send
 * End-of-RIB, and one that says that it restarts too (FRR says so long after) may wait for ours: they have `QUIET_AFTER`
 * from the session's begin to tell us their routes.
 */

import type { Cancel, Clock } from "../lib/clock.ts";

const ABSENT_AFTER = 30_000;
const QUIET_AFTER = 5_000;
const LOOK_INTERVAL = 500;

/** How far a peer is with telling us its routes. */
export interface PeerRestartState {
  /** Milliseconds since the session is Established; undefined when it is not. */
  readonly upFor: number | undefined;
  /** End-of-RIB came for each family. */
  readonly isTold: boolean;
  /** The peer has to send End-of-RIB and does not wait for ours. */
  readonly mustTell: boolean;
}

/** Where we are. */
export interface Restart {
  /** R: we have restarted and not yet recovered. */
  readonly isRestarting: boolean;
  /** F: the forwarding state of before stands. */
  readonly isForwarding: boolean;
  /** Hold decisions and announcements back. */
  readonly isDeferring: boolean;
  /** The kernel was read for the first time; later calls do nothing. `delay` in seconds is the longest wait. */
  begin(hasFoundOwn: boolean, delay: number): void;
  /** A peer has sent End-of-RIB: looks whether that was the last. */
  heard(): void;
  close(): void;
}

/** What a restart needs of the speaker. */
export interface RestartParts {
  readonly clock: Clock;
  readonly peers: () => readonly PeerRestartState[];
  /** Called once, when nothing is deferred any more: routes that nobody confirmed are to go. */
  readonly ended: (reason: string) => void;
}

/** Makes one that has not begun. */
export function makeRestart({ clock, peers, ended }: RestartParts): Restart {
  let phase: "before" | "fresh" | "deferring" | "over" = "before";
  let begun = 0;
  let deadline = 0;
  let timer: Cancel | undefined;

  const end = (reason: string) => {
    phase = "over";
    timer?.();
    ended(reason);
  };

  const isDone = ({ upFor, isTold, mustTell }: PeerRestartState, waited: number) =>
    upFor === undefined ? waited >= ABSENT_AFTER : isTold || !mustTell && upFor >= QUIET_AFTER;

  const look = () => {
    const now = clock.monotonic();
    if (now >= deadline) return end("its time is over");
    const all = peers();
    // Without any peer the configuration may be still to come.
    const isOver = all.length === 0 ? now - begun >= ABSENT_AFTER : all.every((peer) => isDone(peer, now - begun));
    if (isOver) return end("every peer has told us its routes");
    timer?.();
    timer = clock.after(LOOK_INTERVAL, look);
  };

  return {
    get isRestarting() {
      return phase === "deferring";
    },
    get isForwarding() {
      return phase !== "fresh";
    },
    get isDeferring() {
      return phase === "deferring";
    },
    begin(hasFoundOwn, delay) {
      if (phase !== "before") return;
      phase = hasFoundOwn ? "deferring" : "fresh";
      begun = clock.monotonic();
      deadline = begun + delay * 1000;
      timer = hasFoundOwn ? clock.after(LOOK_INTERVAL, look) : clock.after(delay * 1000, () => void (phase = "over"));
    },
    heard() {
      // The message that says so may be followed by others in the same read.
      if (phase !== "deferring") return;
      timer?.();
      timer = clock.after(0, look);
    },
    close() {
      timer?.();
    },
  };
}
