/**
 * The contract of the `Store` seam, run on every implementation. It uses nothing but the seam, so a store behind a
 * network runs it as well: every key lives under a prefix of its test, revisions are only compared with each other,
 * and events are waited for.
 */

import assert from "node:assert/strict";
import type { Entry, Store, StoreErrorKind, StoreEvent } from "../../src/store/store.ts";
import { StoreError } from "../../src/store/store.ts";

/** Opens a store for one test; `close` also cleans up behind it. */
export type OpenStore = () => Promise<{ readonly store: Store; close(): Promise<void> }>;

/** Resolves once `condition` holds; fails after ten seconds, saying what was waited for. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > deadline) assert.fail(`waited in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** A watcher's view: the state that its events lead to, and the events themselves as short text. */
export function follow(store: Store, prefix: string) {
  const state = new Map<string, string>();
  const events: StoreEvent[] = [];
  const watch = store.watch(prefix, (event) => {
    events.push(event);
    if (event.type === "put") state.set(event.entry.key, event.entry.value);
    if (event.type === "delete") state.delete(event.key);
  });
  const isSynced = () => events.some((event) => event.type === "synced");
  return { state, events, isSynced, synced: () => until(isSynced, "synced"), close: () => watch.close() };
}

/** One event as text: "put key value", "delete key" or its type. */
export function brief(event: StoreEvent): string {
  switch (event.type) {
    case "put":
      return `put ${event.entry.key} ${event.entry.value}`;
    case "delete":
      return `delete ${event.key}`;
    default:
      return event.type;
  }
}

async function refused(kind: StoreErrorKind, call: Promise<unknown>): Promise<void> {
  await assert.rejects(call, (error) => error instanceof StoreError && error.kind === kind);
}

/** Registers the contract's tests for one implementation. */
export function storeSuite(name: string, open: OpenStore): void {
  const test = (sentence: string, body: (store: Store, at: string) => Promise<void>) =>
    Deno.test(`${name} store: ${sentence}`, async () => {
      const { store, close } = await open();
      try {
        await body(store, `/suite/${crypto.randomUUID()}/`);
      } finally {
        await close();
      }
    });

  test("a created key is read back with its value and revision", async (store, at) => {
    const created = await store.create(`${at}a`, '{"n":1}');
    assert.deepEqual(created, { key: `${at}a`, value: '{"n":1}', revision: created.revision });
    assert.deepEqual(await store.get(`${at}a`), created);
    assert.equal(await store.get(`${at}b`), undefined);
  });

  test("creating a key that exists is refused and changes nothing", async (store, at) => {
    const created = await store.create(`${at}a`, "1");
    await refused("exists", store.create(`${at}a`, "2"));
    assert.deepEqual(await store.get(`${at}a`), created);
  });

  test("an update needs the revision of the last write", async (store, at) => {
    const first = await store.create(`${at}a`, "1");
    const second = await store.update(`${at}a`, "2", first.revision);
    assert.ok(second.revision > first.revision);
    await refused("conflict", store.update(`${at}a`, "3", first.revision));
    await refused("missing", store.update(`${at}b`, "3", second.revision));
    assert.deepEqual(await store.get(`${at}a`), second);
  });

  test("of many updates at one revision exactly one wins", async (store, at) => {
    const { revision } = await store.create(`${at}a`, "0");
    const calls = Array.from({ length: 20 }, (_, i) => store.update(`${at}a`, String(i), revision));
    const results = await Promise.allSettled(calls);
    const winners = results.filter((result) => result.status === "fulfilled");
    assert.equal(winners.length, 1);
    for (const result of results) {
      if (result.status === "rejected") assert.equal((result.reason as StoreError).kind, "conflict");
    }
    assert.deepEqual(await store.get(`${at}a`), winners[0]?.value);
  });

  test("put writes whatever is there", async (store, at) => {
    const first = await store.put(`${at}a`, "1");
    const second = await store.put(`${at}a`, "2");
    assert.ok(second.revision > first.revision);
    assert.equal((await store.get(`${at}a`))?.value, "2");
  });

  test("a delete with a revision is compare-and-set, one without is not", async (store, at) => {
    const first = await store.create(`${at}a`, "1");
    const second = await store.put(`${at}a`, "2");
    await refused("conflict", store.delete(`${at}a`, first.revision));
    await store.delete(`${at}a`, second.revision);
    await refused("missing", store.delete(`${at}a`));
    await store.create(`${at}b`, "1");
    await store.delete(`${at}b`);
    assert.equal(await store.get(`${at}b`), undefined);
  });

  test("every write raises the revision, deletes included", async (store, at) => {
    const { revision: first } = await store.create(`${at}a`, "1");
    const { revision: before } = await store.list(at);
    await store.delete(`${at}a`);
    const { revision: after } = await store.list(at);
    const { revision: again } = await store.create(`${at}a`, "1");
    assert.ok(first <= before && before < after && after < again, `${first} ${before} ${after} ${again}`);
  });

  test("a listing has the keys of the prefix only, in byte order", async (store, at) => {
    const names = ["b", "a/b", "a", "a0", "aé", "a\u{1f422}", "a\uff5e", "a-b", "A"];
    for (const name of names) await store.create(`${at}${name}`, "1");
    await store.create(`${at.slice(0, -1)}0`, "next prefix");
    const bytes = (text: string) => new TextEncoder().encode(text);
    const compare = (a: string, b: string) => {
      const x = bytes(a), y = bytes(b);
      for (let i = 0; i < Math.min(x.length, y.length); i++) if (x[i] !== y[i]) return (x[i] ?? 0) - (y[i] ?? 0);
      return x.length - y.length;
    };
    const keys = async (prefix: string) => (await store.list(prefix)).entries.map((entry) => entry.key);
    assert.deepEqual(await keys(at), names.map((name) => at + name).sort(compare));
    assert.deepEqual(await keys(`${at}a/`), [`${at}a/b`]);
    assert.deepEqual(await keys(`${at}none`), []);
  });

  test("a listing's revision is that of the state it shows", async (store, at) => {
    const { revision } = await store.create(`${at}a`, "1");
    const listing = await store.list(at);
    assert.ok(listing.revision >= revision);
    assert.deepEqual(listing.entries, [await store.get(`${at}a`)]);
  });

  test("long values and text of every kind come back as they were", async (store, at) => {
    const values = ['{"text":"é🐢\\u0000\\n\\"quoted\\""}', "", "x".repeat(1_000_000), "[]"];
    for (const [i, value] of values.entries()) {
      await store.put(`${at}${i}`, value);
      assert.equal((await store.get(`${at}${i}`))?.value, value);
    }
  });

  test("a watch gives what is there, then says synced, then gives each change in order", async (store, at) => {
    await store.create(`${at}b`, "1");
    await store.create(`${at}a`, "1");
    await store.create(`${at.slice(0, -1)}0`, "elsewhere");
    const view = follow(store, at);
    await view.synced();
    await store.put(`${at}a`, "2");
    await store.put(`${at.slice(0, -1)}0`, "elsewhere still");
    await store.delete(`${at}b`);
    await store.create(`${at}c`, "1");
    await until(() => view.state.has(`${at}c`), "the last change");
    view.close();
    assert.deepEqual(view.events.map(brief), [
      `put ${at}a 1`,
      `put ${at}b 1`,
      "synced",
      `put ${at}a 2`,
      `delete ${at}b`,
      `put ${at}c 1`,
    ]);
    const revisions = view.events.slice(2).flatMap((event) =>
      event.type === "put" ? event.entry.revision : event.type === "unavailable" ? [] : event.revision
    );
    assert.deepEqual(revisions, [...revisions].sort((a, b) => a - b));
  });

  test("no event is lost between a watch's listing and its changes", async (store, at) => {
    for (let i = 0; i < 50; i++) await store.put(`${at}${i}`, "0");
    const views = [];
    const writes: Promise<unknown>[] = [];
    for (let round = 1; round <= 10; round++) {
      for (let i = round; i < 50; i += 7) writes.push(store.put(`${at}${i}`, String(round)));
      views.push(follow(store, at));
      writes.push(store.put(`${at}new${round}`, "1"));
      await Promise.resolve();
    }
    await Promise.all(writes);
    await store.put(`${at}end`, "1");
    const want = new Map((await store.list(at)).entries.map((entry: Entry) => [entry.key, entry.value]));
    for (const view of views) {
      await until(() => view.state.has(`${at}end`) && view.isSynced(), "the last change");
      view.close();
      assert.deepEqual(new Map([...view.state].sort()), new Map([...want].sort()));
    }
  });

  test("a write is acknowledged without a watcher running inside it", async (store, at) => {
    let isWriting = false, wasInside = false, seen = 0;
    const watch = store.watch(at, (event) => {
      wasInside ||= isWriting;
      if (event.type === "put") seen++;
    });
    isWriting = true;
    const write = store.put(`${at}a`, "1");
    isWriting = false;
    await write;
    await until(() => seen > 0, "the put");
    watch.close();
    assert.equal(wasInside, false);
  });

  test("a watcher may write, and sees its own write after the one that caused it", async (store, at) => {
    const log: string[] = [];
    let failure: unknown;
    const watch = store.watch(at, (event) => {
      log.push(brief(event));
      if (event.type === "put" && event.entry.key === `${at}a`) {
        store.put(`${at}b`, "answer").catch((error) => failure = error);
      }
    });
    await store.put(`${at}a`, "question");
    await until(() => log.includes(`put ${at}b answer`), "the answer");
    watch.close();
    assert.equal(failure, undefined);
    assert.ok(log.indexOf(`put ${at}a question`) < log.indexOf(`put ${at}b answer`));
  });

  test("a closed watch gets nothing more", async (store, at) => {
    const closed = follow(store, at), open = follow(store, at);
    await Promise.all([closed.synced(), open.synced()]);
    closed.close();
    const before = closed.events.length;
    await store.put(`${at}a`, "1");
    await until(() => open.state.has(`${at}a`), "the other watch's event");
    open.close();
    assert.equal(closed.events.length, before);
  });

  test("a key with a time to live goes by itself, and watchers see it go", async (store, at) => {
    const view = follow(store, at);
    await view.synced();
    await store.put(`${at}short`, "1", { ttl: 1 });
    const kept = await store.create(`${at}kept`, "1", { ttl: 1 });
    await store.update(`${at}kept`, "2", kept.revision); // a write without one takes the time to live away
    await until(() => view.events.some((event) => brief(event) === `delete ${at}short`), "the key's end");
    view.close();
    assert.equal(await store.get(`${at}short`), undefined);
    assert.equal((await store.get(`${at}kept`))?.value, "2");
  });

  test("a closed store refuses every call and tells a new watcher", async (store, at) => {
    await store.close();
    await refused("closed", store.get(`${at}a`));
    await refused("closed", store.list(at));
    await refused("closed", store.create(`${at}a`, "1"));
    await refused("closed", store.put(`${at}a`, "1"));
    await refused("closed", store.delete(`${at}a`));
    const view = follow(store, at);
    await until(() => view.events.length > 0, "an event");
    view.close();
    assert.deepEqual(view.events.map(brief), ["unavailable"]);
  });
}
