/**
 * The loop below every reconciler, on a table of texts whose operations the test holds up and refuses: races between
 * reports, reads and our own writes, and the back-off on a clock turned by hand.
 */

import assert from "node:assert/strict";
import {
  longestBackoff,
  resyncInterval,
  shortestReread,
  type Table,
  TableReconciler,
} from "../../../src/dataplane/table_reconciler.ts";
import { FakeClock } from "../../../src/lib/fake_clock.ts";

/** A table of texts whose operations wait until the test lets them go, and fail when it says so. */
function makeTable() {
  const kernel = new Map<string, string>();
  const log: string[] = [];
  let gate: Promise<void> = Promise.resolve();
  let refused: (key: string) => boolean = () => false;
  const write = async (key: string, run: () => void) => {
    await gate;
    log.push(`write ${key}`);
    if (refused(key)) return new Error(`refused ${key}`);
    run();
    return undefined;
  };
  const table: Table<string, string> = {
    name: "texts",
    read: async () => {
      log.push("read");
      const found = new Map(kernel);
      await gate;
      return found;
    },
    isSame: (a, b) => a === b,
    assume: (desired) => desired,
    groupOf: (_actual, key) => key[0],
    put: (puts) => Promise.all(puts.map(({ key, desired }) => write(key, () => void kernel.set(key, desired)))),
    remove: (removals) => Promise.all(removals.map(({ key }) => write(key, () => void kernel.delete(key)))),
  };
  const clock = new FakeClock();
  return {
    kernel,
    log,
    clock,
    reconciler: new TableReconciler(table, clock),
    /** Holds operations up; the returned function lets them go. */
    hold: () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      gate = promise;
      return resolve;
    },
    refuse: (which: (key: string) => boolean) => void (refused = which),
  };
}

const all = { mayRemove: true };

Deno.test("a report that arrives while our write is under way wins over what we assumed of it", async () => {
  const { kernel, reconciler, hold } = makeTable();
  reconciler.desire(new Map([["a", "1"]]));
  await reconciler.apply(all);
  reconciler.desire(new Map([["a", "2"]]));
  const go = hold();
  const applying = reconciler.apply(all);
  await Promise.resolve();
  reconciler.observe("a", undefined);
  go();
  await applying;
  assert.equal(reconciler.isDirty, true);
  kernel.delete("a");
  await reconciler.apply(all);
  assert.deepEqual([...kernel], [["a", "2"]]);
});

Deno.test("reports that overtake a read are replayed on its result", async () => {
  const { kernel, reconciler, hold, log } = makeTable();
  kernel.set("x", "foreign to us");
  const go = hold();
  reconciler.desire(new Map([["a", "1"]]));
  const applying = reconciler.apply(all);
  kernel.set("a", "1");
  reconciler.observe("a", "1");
  kernel.delete("x");
  reconciler.observe("x", undefined);
  go();
  await applying;
  assert.deepEqual(log, ["read"]);
});

Deno.test("a key that fails is retried at once, then ever more rarely, but never more rarely than the longest back-off", async () => {
  const { reconciler, clock, log, refuse } = makeTable();
  refuse((key) => key === "bad");
  reconciler.desire(new Map([["bad", "1"], ["good", "1"]]));
  const tries: number[] = [];
  const written = () => log.filter((line) => line === "write bad").length;
  while (tries.length < 12) {
    const before = written();
    await reconciler.apply(all);
    if (written() > before) tries.push(clock.monotonic());
    assert.deepEqual(reconciler.failures().map(({ key, error }) => `${key}: ${error.message}`), ["bad: refused bad"]);
    clock.advance(Math.max(0, reconciler.nextDue() - clock.monotonic()));
  }
  const waits = tries.slice(1).map((at, i) => at - (tries[i] ?? 0));
  assert.equal(waits[0], 0);
  assert.ok(waits.slice(1).every((wait, i) => wait >= (waits[i] ?? 0) && wait <= longestBackoff), `${waits}`);
  assert.equal(waits.at(-1), longestBackoff);
  assert.equal(log.filter((line) => line === "write good").length, 1);
  refuse(() => false);
  clock.advance(longestBackoff);
  await reconciler.apply(all);
  assert.deepEqual(reconciler.failures(), []);
});

Deno.test("a desired value that changes is tried at once, whatever the back-off of the old one", async () => {
  const { kernel, reconciler, clock, refuse } = makeTable();
  refuse(() => true);
  reconciler.desire(new Map([["a", "1"]]));
  for (let i = 0; i < 10; i++) {
    await reconciler.apply(all);
    clock.advance(Math.max(0, reconciler.nextDue() - clock.monotonic()));
  }
  await reconciler.apply(all);
  refuse(() => false);
  reconciler.amend(new Map([["a", "2"]]));
  await reconciler.apply(all);
  assert.deepEqual([...kernel], [["a", "2"]]);
});

Deno.test("without a first reading nothing is written, and a failing read is retried", async () => {
  const { kernel, reconciler, clock } = makeTable();
  const table = reconciler.table as { read: Table<string, string>["read"] };
  const read = table.read;
  table.read = () => Promise.reject(new Error("no dump"));
  reconciler.desire(new Map([["a", "1"]]));
  await reconciler.apply(all);
  assert.deepEqual([...kernel], []);
  assert.deepEqual(reconciler.failures().map(({ error }) => error.message), ["no dump"]);
  table.read = read;
  clock.advance(Math.max(0, reconciler.nextDue() - clock.monotonic()));
  await reconciler.apply(all);
  assert.deepEqual([...kernel], [["a", "1"]]);
});

Deno.test("the table is read again when the interval is over, when in doubt, and not otherwise", async () => {
  const { reconciler, clock, log } = makeTable();
  const reads = () => log.filter((line) => line === "read").length;
  await reconciler.apply(all);
  await reconciler.apply(all);
  clock.advance(resyncInterval - 1);
  await reconciler.apply(all);
  assert.equal(reads(), 1);
  clock.advance(1);
  await reconciler.apply(all);
  assert.equal(reads(), 2);
  for (let i = 0; i < 10; i++) {
    reconciler.distrust();
    await reconciler.apply(all);
  }
  assert.equal(reads(), 2);
  assert.equal(reconciler.nextDue(), clock.monotonic() + shortestReread);
  clock.advance(shortestReread);
  await reconciler.apply(all);
  assert.equal(reads(), 3);
});

Deno.test("a group is forgotten as one, and what is desired of it is written again", async () => {
  const { reconciler, log } = makeTable();
  reconciler.desire(new Map([["a1", "1"], ["a2", "1"], ["b1", "1"]]));
  await reconciler.apply(all);
  log.length = 0;
  reconciler.forgetGroup("a");
  await reconciler.apply(all);
  assert.deepEqual(log, ["write a1", "write a2"]);
});

Deno.test("a change of one key among many looks at that key alone", async () => {
  const { reconciler, log, kernel } = makeTable();
  const many = new Map(Array.from({ length: 5_000 }, (_, i) => [`k${i}`, "1"]));
  reconciler.desire(many);
  await reconciler.apply(all);
  log.length = 0;
  let compared = 0;
  const table = reconciler.table as { isSame: Table<string, string>["isSame"] };
  table.isSame = (a, b) => {
    compared++;
    return a === b;
  };
  reconciler.amend(new Map([["k7", "2"]]));
  await reconciler.apply(all);
  assert.deepEqual(log, ["write k7"]);
  assert.equal(kernel.get("k7"), "2");
  assert.ok(compared < 10, `${compared} comparisons`);
});
