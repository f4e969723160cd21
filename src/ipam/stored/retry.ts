/**
 * Compare-and-set in a loop: read, decide, write, and start over when somebody else was faster.
 *
 * Every attempt reads anew, so a lost race costs a round trip and never an address. The number of attempts is Calico's.
 */

import { StoreError, type StoreErrorKind } from "../../store/store.ts";
import { IpamError } from "../error.ts";

/** Asks the loop for another attempt. */
export const AGAIN: unique symbol = Symbol("again");

const ATTEMPTS = 100;

/** Runs the attempt until it returns something else than `AGAIN`; throws `IpamError` (`contention`) after 100 attempts. */
export async function retry<T>(what: string, attempt: () => Promise<T | typeof AGAIN>): Promise<T> {
  for (let i = 0; i < ATTEMPTS; i++) {
    const result = await attempt();
    if (result !== AGAIN) return result;
  }
  throw new IpamError("contention", `Cannot ${what}: other writers were faster ${ATTEMPTS} times; try again`);
}

/** The result of the store call, or `AGAIN` when it was refused for one of the reasons. */
export async function orAgain<T>(call: Promise<T>, ...kinds: readonly StoreErrorKind[]): Promise<T | typeof AGAIN> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof StoreError && kinds.includes(error.kind)) return AGAIN;
    throw error;
  }
}
