/**
 * The keys that end by themselves: one timer for each key written with a time to live.
 *
 * A key written again or deleted loses its timer. What happens when the time is up is the store's business; if that
 * fails (a full disk), it is tried again every second, because an expired key must not stay for good.
 */

import type { Cancel, Clock } from "../lib/clock.ts";

/** Timers end early past this many milliseconds (2^31 - 1), so longer times are waited for in steps. */
const LONGEST_TIMER = 0x7fffffff;
const RETRY_MS = 1000;

/** The clock of the machine. */
export const systemClock: Clock = {
  monotonic: () => performance.now(),
  wall: () => Date.now(),
  after(ms, fire) {
    const timer = setTimeout(fire, ms);
    return () => clearTimeout(timer);
  },
};

/** Keeps the timers of a store's expiring keys. */
export class Expiry {
  readonly #timers = new Map<string, Cancel>();
  readonly #clock: Clock;
  readonly #expire: (key: string) => void;

  /** `expire` deletes the key; when it throws, it is called again after a second. */
  constructor(clock: Clock, expire: (key: string) => void) {
    this.#clock = clock;
    this.#expire = expire;
  }

  /** Has the key expire after `ms` milliseconds, or never when `ms` is undefined; an earlier time is forgotten. */
  set(key: string, ms: number | undefined): void {
    this.#timers.get(key)?.();
    this.#timers.delete(key);
    if (ms !== undefined) this.#wait(key, ms);
  }

  /** Stops every timer. */
  close(): void {
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
  }

  #wait(key: string, ms: number): void {
    const step = Math.min(ms, LONGEST_TIMER);
    this.#timers.set(key, this.#clock.after(step, () => ms > step ? this.#wait(key, ms - step) : this.#fire(key)));
  }

  #fire(key: string): void {
    this.#timers.delete(key);
    try {
      this.#expire(key);
    } catch {
      this.#wait(key, RETRY_MS);
    }
  }
}
