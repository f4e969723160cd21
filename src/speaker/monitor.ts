/**
 * The live stream of `bgp monitor`: sessions that change their state and prefixes that change their best path, as they do.
 * It runs only while somebody watches, and what a watcher cannot be told at once is counted instead of kept.
 */

import type { RouteRow } from "../bgp/rib/interface.ts";
import type { RouterCore } from "../bgp/rib/router.ts";
import { watchBest } from "../bgp/show/best_changes.ts";
import type { Clock } from "../lib/clock.ts";
import type { Taps } from "./tap.ts";

/** Rows of one decision that are told; the rest is counted. */
const MOST_AT_ONCE = 2_000;

/** One event; `time` is RFC 3339. */
export type MonitorEvent =
  | {
    readonly type: "session";
    readonly time: string;
    readonly peer: string;
    readonly name: string;
    readonly from: string;
    readonly to: string;
  }
  | { readonly type: "best"; readonly time: string; readonly prefix: string; readonly route: RouteRow }
  /** No path is usable any more. */
  | { readonly type: "gone"; readonly time: string; readonly prefix: string }
  /** So many changes were left out. */
  | { readonly type: "lost"; readonly time: string; readonly count: number };

/** Starts and stops with `watch`. */
export interface Monitor {
  watch(isOn: boolean): void;
}

/** Makes one that is off. */
export function makeMonitor(
  { tables, taps, clock, tell }: {
    readonly tables: RouterCore;
    readonly taps: Taps;
    readonly clock: Clock;
    readonly tell: (events: MonitorEvent[]) => void;
  },
): Monitor {
  let stop: (() => void) | undefined;
  const now = () => new Date(clock.wall()).toISOString();
  return {
    watch(isOn) {
      if (!isOn) {
        stop?.();
        stop = undefined;
        return;
      }
      if (stop) return;
      const stopBest = watchBest(tables, MOST_AT_ONCE, (changes, leftOut) => {
        const time = now();
        const events = changes.map((change): MonitorEvent =>
          change.action === "best"
            ? { type: "best", time, prefix: change.route.prefix, route: change.route }
            : { type: "gone", time, prefix: change.prefix }
        );
        if (leftOut > 0) events.push({ type: "lost", time, count: leftOut });
        tell(events);
      });
      const stopSessions = taps.add({
        state: ({ name, address }, from, to) => tell([{ type: "session", time: now(), peer: address, name, from, to }]),
      });
      stop = () => {
        stopBest();
        stopSessions();
      };
    },
  };
}
