/** A `Clock` that stands still until it is turned by hand; timers fire in the order of their due times. */

import type { Cancel, Clock } from "./clock.ts";

interface Timer {
  readonly due: number;
  readonly sequence: number;
  readonly fire: () => void;
}

/** Fires callbacks only inside `advance`, before it returns; nothing happens by itself. */
export class FakeClock implements Clock {
  #now = 0;
  #sequence = 0;
  readonly #timers = new Set<Timer>();

  /** Starts at monotonic time 0 and the given wall time in milliseconds since 1970. */
  constructor(readonly epoch = Date.UTC(2026, 0, 1)) {}

  monotonic(): number {
    return this.#now;
  }

  wall(): number {
    return this.epoch + this.#now;
  }

  after(ms: number, fire: () => void): Cancel {
    const timer = { due: this.#now + Math.max(0, ms), sequence: this.#sequence++, fire };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  /** How many timers are waiting. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Turns time on by `ms`, firing what falls due on the way, timers set by fired timers included. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      let next: Timer | undefined;
      for (const timer of this.#timers) {
        if (
          timer.due <= end &&
          (!next || timer.due < next.due || timer.due === next.due && timer.sequence < next.sequence)
        ) next = timer;
      }
      if (!next) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.due);
      next.fire();
    }
    this.#now = end;
  }
}
