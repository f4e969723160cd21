/**
 * The agent's loop: what changed in the store or the kernel wakes it, it applies the firewall, computes
 * what else should be, applies that, and sleeps until the next event or the next retry.
 *
 *     store watch, kernel events -> poke -> [ refresh links -> firewall -> desired -> dataplane -> waiters ] -> sleep
 *
 * One round at a time; pokes during a round cause one more. Until the store's first listing is in, nothing is applied, so
 * nothing that stands is removed. A round that fails as a whole is logged and tried again.
 */

import type { Dataplane, DesiredChanges } from "../dataplane/dataplane.ts";
import type { Kernel, KernelEvent } from "../dataplane/ports.ts";
import type { Failure } from "../dataplane/table_reconciler.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import type { SnapshotChange } from "./snapshot.ts";

/** The firewall as the loop sees it: it is applied before everything else, and holds back whom it does not stand for. */
export interface FirewallStage {
  /** Computes what should be from the state of the snapshot; called when the snapshot or the links changed. */
  desire(): void;
  /** Applies what is not applied yet; what is returned could not be. */
  apply(): Promise<readonly Failure[]>;
  /** When `apply` is next worth calling, on the clock's monotonic time. */
  nextDue(): number;
  /** Whether the policy of the endpoint stands in the kernel. */
  stands(endpoint: string): boolean;
  /** Told of every change of the snapshot, of other nodes' endpoints too; it asks for a round itself where that matters. */
  changed?(what: SnapshotChange["what"], id: string): void;
  /** Called once the loop has ended; the ruleset is left as it is. */
  stop?(): void;
}

/** The state of the dataplane for people. */
export interface DataplaneStatus {
  readonly inSync: boolean;
  readonly lastError: string | null;
}

/** The running loop. */
export interface Loop {
  /** Something changed: the snapshot, so that desired has to be computed, or only the kernel. */
  poke(what: "snapshot" | "kernel"): void;
  /** Resolves to true once `condition` holds after a round, to false after `timeout` milliseconds or at the end. */
  until(condition: () => boolean, timeout: number): Promise<boolean>;
  /** Asks for a round; what is returned says whether one that began after this call has ended. */
  nextRound(): () => boolean;
  status(): DataplaneStatus;
  failures(): readonly Failure[];
  /** Ends the loop after the round that is under way; the kernel is left as it is. */
  stop(): Promise<void>;
}

/** What the loop works with. */
export interface LoopParts {
  readonly kernel: Kernel;
  readonly dataplane: Dataplane;
  readonly clock: Clock;
  readonly log: Log;
  readonly isInSync: () => boolean;
  /** What changed of what should be in the kernel; called in each round, so it must cost what changed. */
  readonly compute: () => DesiredChanges;
  readonly firewall?: FirewallStage | undefined;
  /** Told of each kernel event as it comes. */
  readonly observe?: (event: KernelEvent) => void;
  /** Called after each round. */
  readonly afterRound?: () => void;
}

/** Milliseconds until a round that failed as a whole is tried again, and the shortest sleep between two rounds. */
const roundRetry = 1_000, shortestSleep = 1;

/** Starts the loop; it subscribes to the kernel first, then waits for the store. */
export function startLoop(parts: LoopParts): Loop {
  const { kernel, dataplane, clock, log, firewall } = parts;
  const waiters = new Map<() => void, (result: boolean) => void>();
  let wake: (() => void) | undefined;
  let isPoked = true, mustCompute = true, isStopped = false;
  let roundsBegun = 0, lastEnded = 0;
  let failures: readonly Failure[] = [];
  let lastReport = "";

  const poke = (what: "snapshot" | "kernel") => {
    if (what === "snapshot") mustCompute = true;
    isPoked = true;
    wake?.();
  };
  const unwatch = kernel.watch((event) => {
    parts.observe?.(event);
    if (dataplane.observe(event)) poke(event.type === "link" || event.type === "resync" ? "snapshot" : "kernel");
  });

  const report = (found: readonly Failure[]) => {
    failures = found;
    const text = found.map(({ error }) => error.message).sort().join("\n");
    if (text === lastReport) return;
    lastReport = text;
    if (text === "") log.info("the dataplane is as desired");
    for (const { table, key, error } of found.slice(0, 10)) log.warn("could not apply", { table, key, error });
    if (found.length > 10) log.warn("could not apply more", { count: found.length - 10 });
  };

  const round = async () => {
    if (await dataplane.refreshLinks()) mustCompute = true;
    if (mustCompute) {
      mustCompute = false;
      firewall?.desire();
    }
    const refused = await firewall?.apply() ?? [];
    // Computed after the firewall: an endpoint whose policy does not stand yet is held back. While one is, nothing is
    // removed, so that what stood at a restart goes on standing.
    dataplane.amend(parts.compute());
    const { failures } = await dataplane.apply({ mayRemove: refused.length === 0 });
    report([...refused, ...failures]);
  };

  const sleep = async (ms: number) => {
    if (isPoked || isStopped) return;
    await new Promise<void>((resolve) => {
      const cancel = clock.after(ms, resolve);
      wake = () => {
        cancel();
        resolve();
      };
    });
    wake = undefined;
  };

  const run = async () => {
    while (!isStopped) {
      isPoked = false;
      let due = Infinity;
      if (parts.isInSync()) {
        try {
          roundsBegun++;
          await round();
          due = Math.min(dataplane.nextDue(), firewall?.nextDue() ?? Infinity) - clock.monotonic();
        } catch (error) {
          log.error("a round of the dataplane failed", { error });
          report([{ table: "loop", key: "", error: error instanceof Error ? error : new Error(String(error)) }]);
          mustCompute = true;
          due = roundRetry;
        }
        lastEnded = roundsBegun;
        for (const check of [...waiters.keys()]) check();
        parts.afterRound?.();
      }
      await sleep(Math.min(Math.max(due, shortestSleep), 60_000));
    }
  };
  const running = run();

  return {
    poke,
    until: (condition, timeout) => {
      if (condition()) return Promise.resolve(true);
      if (isStopped) return Promise.resolve(false);
      return new Promise((resolve) => {
        const end = (result: boolean) => {
          waiters.delete(check);
          cancel();
          resolve(result);
        };
        const check = () => void (condition() && end(true));
        const cancel = timeout === Infinity ? () => {} : clock.after(timeout, () => end(condition()));
        waiters.set(check, end);
      });
    },
    nextRound: () => {
      const begun = roundsBegun;
      poke("kernel");
      return () => lastEnded > begun;
    },
    status: () => ({
      inSync: lastEnded > 0 && parts.isInSync() && failures.length === 0,
      lastError: failures[0]?.error.message ?? null,
    }),
    failures: () => failures,
    stop: async () => {
      isStopped = true;
      unwatch();
      wake?.();
      await running;
      for (const end of [...waiters.values()]) end(false);
    },
  };
}
