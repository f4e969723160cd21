/** Bounded waiting: a client or a part of the node gets so much time and no more. */

import { ApiError } from "./error.ts";

/** Waits for `work` no longer than `ms`; then throws `ApiError`: `slow` (the client's fault) or `timeout` (the node's). */
export async function within<T>(
  ms: number,
  what: string,
  work: Promise<T>,
  code: "slow" | "timeout" = "slow",
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new ApiError(code, `the ${what} took longer than ${ms / 1000} s`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
    work.catch(() => {}); // what was given up still ends, when its connection is closed
  }
}
