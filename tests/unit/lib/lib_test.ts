/**
 * The small parts of the lowest floor: deltas, the mailbox, the clock turned by hand, log fields and MAC addresses.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { computeDelta } from "../../../src/lib/delta.ts";
import { FakeClock } from "../../../src/lib/fake_clock.ts";
import { makeLog } from "../../../src/lib/log.ts";
import { formatMac, parseMac } from "../../../src/lib/mac.ts";
import { Mailbox } from "../../../src/lib/mailbox.ts";

Deno.test("a delta applied to actual gives desired", () => {
  const table = fc.array(fc.tuple(fc.constantFrom("a", "b", "c", "d"), fc.nat(3))).map((pairs) =>
    new Map<string, number>(pairs)
  );
  fc.assert(fc.property(table, table, (desired, actual) => {
    const delta = computeDelta(desired, actual, (a, b) => a === b);
    const result = new Map(actual);
    for (const { key } of delta.remove) result.delete(key);
    for (const { key, desired } of delta.put) result.set(key, desired);
    assert.deepEqual(new Map([...result].sort()), new Map([...desired].sort()));
    assert.ok(
      delta.put.every(({ key }) => desired.get(key) !== actual.get(key)),
      "nothing is put that is right already",
    );
  }));
});

Deno.test("a mailbox gives messages in order and ends when it is closed", async () => {
  const mailbox = new Mailbox<number>();
  mailbox.send(1);
  const seen: number[] = [];
  const reader = (async () => {
    for await (const message of mailbox) {
      seen.push(message);
      if (message === 1) mailbox.send(2);
      if (message === 2) queueMicrotask(() => (mailbox.send(3), mailbox.close(), mailbox.send(4)));
    }
  })();
  await reader;
  assert.deepEqual(seen, [1, 2, 3]);
});

Deno.test("a fake clock fires timers in the order of their times, also those set on the way", () => {
  const clock = new FakeClock(1000);
  const fired: string[] = [];
  clock.after(20, () => fired.push(`late at ${clock.monotonic()}`));
  const cancel = clock.after(15, () => fired.push("cancelled"));
  clock.after(10, () => {
    fired.push(`early at ${clock.wall()}`);
    cancel();
    clock.after(5, () => fired.push(`nested at ${clock.monotonic()}`));
  });
  clock.advance(9);
  assert.deepEqual(fired, []);
  clock.advance(11);
  assert.deepEqual(fired, ["early at 1010", "nested at 15", "late at 20"]);
  assert.equal(clock.pending, 0);
});

Deno.test("a log's fields go with every line of it", () => {
  const lines: unknown[] = [];
  const log = makeLog((level, message, fields) => lines.push([level, message, fields])).with({ node: "a" });
  log.warn("peer is down", { peer: "b" });
  log.info("started");
  assert.deepEqual(lines, [["warn", "peer is down", { node: "a", peer: "b" }], ["info", "started", { node: "a" }]]);
});

Deno.test("a MAC survives its text and other text is refused", () => {
  assert.equal(formatMac(parseMac("EE:ee:0A:ee:ee:01")!), "ee:ee:0a:ee:ee:01");
  for (const text of ["", "ee:ee:ee:ee:ee", "ee-ee-ee-ee-ee-ee", "ee:ee:ee:ee:ee:ee:ee", "eg:ee:ee:ee:ee:ee"]) {
    assert.equal(parseMac(text), undefined, text);
  }
});
