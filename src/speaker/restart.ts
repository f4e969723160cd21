/**
 * A restart of our own (RFC 4724 4.1): routes of the earlier run stand in the kernel, and until the peers have told us
 * their tables (End-of-RIB) nothing is decided for the kernel and nothing said to peers, who keep our routes meanwhile.
 *
 *   first listing ── nothing of ours ──> fresh: no F bit until the delay is over, no waiting
 *                 └─ routes of ours ──> deferring (R and F bits) ── who must tell has told, or the delay ──> speak
 *                      speaking ── everybody has told, or has had the time for it ──> sweep what nobody confirmed
 *
 * Nobody waits to speak for a peer that restarts too, since it waits for us, or for one without graceful restart, which
 * need not send End-of-RIB; but what they may still tell us is not swept for `QUIET_AFTER` from the session's begin (FRR
 * says that it restarts long after it did). A peer that is not up after `ABSENT_AFTER` is not waited for any more.
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
  /** A peer came up or has sent End-of-RIB: looks whether that was the last. */
  heard(): void;
  close(): void;
}

/** What a restart needs of the speaker. */
export interface RestartParts {
  readonly clock: Clock;
  readonly peers: () => readonly PeerRestartState[];
  /** Called once, when decisions and announcements are deferred no more. */
  readonly spoke: () => void;
  /** Called once, when routes that nobody confirmed are to go. */
  readonly ended: (reason: string) => void;
}

/** Makes one that has not begun. */
export function makeRestart({ clock, peers, spoke, ended }: RestartParts): Restart {
  let phase: "before" | "fresh" | "deferring" | "speaking" | "over" = "before";
  let begun = 0;
  let deadline = 0;
  let timer: Cancel | undefined;

  const speak = () => {
    if (phase !== "deferring") return;
    phase = "speaking";
    spoke();
  };

  const end = (reason: string) => {
    speak();
    phase = "over";
    timer?.();
    ended(reason);
  };

  const look = () => {
    const now = clock.monotonic(), waited = now - begun;
    if (now >= deadline) return end("its time is over");
    const all = peers();
    const isEach = (patience: number) =>
      // Without any peer the configuration may be still to come.
      all.length === 0
        ? waited >= ABSENT_AFTER
        : all.every(({ upFor, isTold, mustTell }) =>
          upFor === undefined ? waited >= ABSENT_AFTER : isTold || !mustTell && upFor >= patience
        );
    if (isEach(0)) speak();
    if (isEach(QUIET_AFTER)) return end("every peer has told us its routes");
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
      if (phase !== "deferring" && phase !== "speaking") return;
      timer?.();
      timer = clock.after(0, look);
    },
    close() {
      timer?.();
    },
  };
}
