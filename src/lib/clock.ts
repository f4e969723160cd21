/**
 * The `Clock` seam: where time and timers come from. Edges get one as an argument, so a test turns time by hand.
 * Pure floors never hold a clock: the time reaches them as a number in an event.
 */

/** Cancels a timer; cancelling one that has fired or was cancelled does nothing. */
export type Cancel = () => void;

/** Time and timers. */
export interface Clock {
  /** Milliseconds on a clock that never goes back; for durations and deadlines. */
  monotonic(): number;
  /** Milliseconds since 1970-01-01 UTC; for time stamps that people read. */
  wall(): number;
  /** Calls `fire` once after `ms` milliseconds. */
  after(ms: number, fire: () => void): Cancel;
}
