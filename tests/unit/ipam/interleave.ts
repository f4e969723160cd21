/**
 * Runs several actors on one store, one store call at a time, in an order that the test chooses, and stops actors for
 * ever at a write of its choice.
 *
 * An actor gets a store whose every call waits for its turn. As soon as each actor waits or has ended, the next number
 * of the schedule picks who goes on, so a schedule repeats a run exactly.
 */

import type { Store } from "../../../src/store/store.ts";

/** One actor: what it does with its store, and at which of its writes it stops (never when undefined). */
export interface Actor {
  readonly run: (store: Store) => Promise<void>;
  readonly crash?: { readonly atWrite: number; readonly isWritten: boolean } | undefined;
}

interface Waiting {
  readonly actor: number;
  readonly go: () => void;
}

/** Runs the actors to their ends or crashes; `afterWrite` is called when a write has happened. Returns who crashed. */
export async function interleave(
  inner: Store,
  actors: readonly Actor[],
  schedule: readonly number[],
  afterWrite: () => Promise<void>,
): Promise<ReadonlySet<number>> {
  const waiting: Waiting[] = [];
  const crashed = new Set<number>();
  let running = actors.length;
  let wake = () => {};
  let failure: { readonly error: unknown } | undefined;
  const pause = () => {
    running--;
    wake();
  };
  const turn = (actor: number) =>
    new Promise<void>((resolve) => {
      waiting.push({ actor, go: resolve });
      pause();
    });
  const never = new Promise<never>(() => {});

  actors.forEach((actor, index) => {
    let writes = 0;
    const read = async <T>(call: () => Promise<T>): Promise<T> => {
      await turn(index);
      return await call();
    };
    const write = async <T>(call: () => Promise<T>): Promise<T> => {
      await turn(index);
      const isLast = actor.crash !== undefined && ++writes === actor.crash.atWrite;
      if (isLast && !actor.crash?.isWritten) return await stop();
      const result = await call();
      await afterWrite();
      return isLast ? await stop() : result;
    };
    const stop = () => {
      crashed.add(index);
      pause();
      return never;
    };
    const store: Store = {
      type: "memory",
      get: (key) => read(() => inner.get(key)),
      list: (prefix) => read(() => inner.list(prefix)),
      create: (key, value) => write(() => inner.create(key, value)),
      update: (key, value, revision) => write(() => inner.update(key, value, revision)),
      put: (key, value) => write(() => inner.put(key, value)),
      delete: (key, revision) => write(() => inner.delete(key, revision)),
      watch: (prefix, sink) => inner.watch(prefix, sink),
      close: () => Promise.resolve(),
    };
    actor.run(store).catch((error) => failure ??= { error }).finally(pause);
  });

  for (let step = 0;; step++) {
    while (running > 0) await new Promise<void>((resolve) => wake = resolve);
    if (failure) throw failure.error;
    if (waiting.length === 0) return crashed;
    if (step > 20_000) throw new Error("the actors do not come to an end");
    const [next] = waiting.splice((schedule[step % schedule.length] ?? 0) % waiting.length, 1);
    running++;
    next?.go();
  }
}
