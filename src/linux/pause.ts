/**
 * Letting others run in the middle of long work. A batch of routes or a table dump holds the thread; every few milliseconds
 * it steps aside for one turn of the event loop (10 us by `setImmediate`, where a zero timer costs 2 ms).
 */

/** Resolves after one turn of the event loop, in which timers, sockets and promises had their chance. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

/** Returns a function to call often during long work: a promise to wait for once `ms` have passed, else undefined. */
export function makePause(ms = 5): () => Promise<void> | undefined {
  let since = performance.now();
  return () => {
    if (performance.now() - since < ms) return undefined;
    return nextTurn().then(() => void (since = performance.now()));
  };
}
