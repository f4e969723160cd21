/** The file store's own promises: one owner, private files, clear refusals, the configuration file's layer, time to live. */

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { FakeClock } from "../../../src/lib/fake_clock.ts";
import { type FileStore, type FileStoreOptions, openFileStore } from "../../../src/store/file/file_store.ts";
import { StoreError, type StoreErrorKind, type StoreEvent } from "../../../src/store/store.ts";
import { brief, follow, until } from "../../contract/store_suite.ts";

const mode = (path: string) => ((Deno.statSync(path).mode ?? 0) & 0o777).toString(8);

/** Runs `body` with a directory that does not exist yet and a function that opens stores in it. */
async function withDir(
  body: (dir: string, open: (options?: Partial<FileStoreOptions>) => FileStore) => Promise<void>,
): Promise<void> {
  const parent = await Deno.makeTempDir({ prefix: "tortie-store-" });
  const stores: FileStore[] = [];
  const dir = `${parent}/state`;
  try {
    await body(dir, (options) => {
      const store = openFileStore({ dir, owner: { name: "rack1-a" }, ...options });
      stores.push(store);
      return store;
    });
  } finally {
    for (const store of stores) await store.close();
    await Deno.remove(parent, { recursive: true });
  }
}

function refuses(kind: StoreErrorKind, pattern: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof StoreError, String(error));
    assert.equal(error.kind, kind);
    assert.match(error.message, pattern);
    return true;
  };
}

const entry = (key: string, value: string, line: number) => ({ key, value, where: `tortie.yaml:${line}` });

Deno.test("the directory has mode 0700 and every file in it 0600", () =>
  withDir(async (dir, open) => {
    const store = open();
    await store.put("/a", "1");
    assert.equal(mode(dir), "700");
    const files = [...Deno.readDirSync(dir)].map((file) => file.name).sort();
    assert.deepEqual(files, ["owner.lock", "store.db", "store.db-shm", "store.db-wal"]);
    for (const file of files) assert.equal(mode(`${dir}/${file}`), "600", file);
  }));

Deno.test("an empty directory that was made for the store becomes private", () =>
  withDir((dir, open) => {
    Deno.mkdirSync(dir);
    Deno.chmodSync(dir, 0o755);
    open();
    assert.equal(mode(dir), "700");
    return Promise.resolve();
  }));

Deno.test("a directory that others can write in is refused", () =>
  withDir((dir, open) => {
    Deno.mkdirSync(dir);
    Deno.writeTextFileSync(`${dir}/something`, "");
    Deno.chmodSync(dir, 0o777);
    assert.throws(open, refuses("unavailable", /other users can write there; chmod/));
    assert.equal(mode(dir), "777");
    return Promise.resolve();
  }));

Deno.test("a second owner is refused by name and pid, and let in once the first has closed", () =>
  withDir(async (_, open) => {
    const first = open({ owner: { name: "rack1-b" } });
    assert.throws(open, refuses("unavailable", new RegExp(`node "rack1-b" \\(pid ${Deno.pid}\\) has it open`)));
    await first.put("/a", "1");
    await first.close();
    assert.equal((await open().get("/a"))?.value, "1");
  }));

Deno.test("the lock of a killed owner is not stale", () =>
  withDir(async (dir, open) => {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", new URL("../../contract/store_crash_child.ts", import.meta.url).pathname, dir],
      env: { DENO_NO_UPDATE_CHECK: "1" },
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.getReader();
    await reader.read();
    assert.throws(open, refuses("unavailable", new RegExp(`node "crash" \\(pid ${child.pid}\\)`)));
    child.kill("SIGKILL");
    while (!(await reader.read()).done);
    await child.status;
    assert.ok(open().revision > 0);
  }));

Deno.test("what cannot be a directory or cannot be made is refused with its path", () =>
  withDir((dir, open) => {
    Deno.writeTextFileSync(dir, "a file");
    assert.throws(open, refuses("unavailable", /state: it is not a directory/));
    assert.throws(() => open({ dir: `${dir}/below` }), refuses("unavailable", /state\/below: .*check node\.stateDir/));
    return Promise.resolve();
  }));

Deno.test("a newer schema is refused and left as it is", () =>
  withDir(async (dir, open) => {
    await open().close();
    const db = new DatabaseSync(`${dir}/store.db`);
    db.exec("UPDATE meta SET value = 99 WHERE name = 'schema'");
    db.close();
    assert.throws(open, refuses("unavailable", /newer tortie \(schema 99, this one knows 1\)/));
    assert.throws(open, refuses("unavailable", /schema 99/)); // the lock was given back
  }));

Deno.test("a file that is no database, somebody else's, or damaged is refused and not touched", async () => {
  const spoil: [string, (path: string) => void][] = [
    ["text", (path) => Deno.writeTextFileSync(path, "not a database, but long enough to be read as one".repeat(40))],
    ["another schema", (path) => {
      Deno.removeSync(path);
      const db = new DatabaseSync(path);
      db.exec("CREATE TABLE other (a)");
      db.close();
    }],
    ["damaged pages", (path) => {
      const bytes = Deno.readFileSync(path);
      bytes.fill(0xff, 4096);
      Deno.writeFileSync(path, bytes);
    }],
  ];
  for (const [what, damage] of spoil) {
    await withDir(async (dir, open) => {
      const store = open();
      for (let i = 0; i < 50; i++) await store.put(`/${i}`, "x".repeat(500));
      await store.close();
      damage(`${dir}/store.db`);
      const before = Deno.readFileSync(`${dir}/store.db`);
      assert.throws(open, refuses("corrupt", /store\.db: it is damaged or not a tortie store .* To mend: /), what);
      assert.deepEqual(Deno.readFileSync(`${dir}/store.db`), before, what);
    });
  }
});

Deno.test("contents and revision are there after a restart", () =>
  withDir(async (_, open) => {
    const first = open();
    await first.put("/a", "1");
    const b = await first.put("/b", "2");
    await first.delete("/a");
    const { revision } = first;
    await first.close();
    const second = open();
    assert.equal(second.revision, revision);
    assert.deepEqual((await second.list("/")).entries, [b]);
    assert.equal((await second.put("/c", "3")).revision, revision + 1);
  }));

Deno.test("the configuration file's entries are read like others and refuse every write, naming their line", () =>
  withDir(async (_, open) => {
    const store = open({ fixed: [entry("/p/file", "1", 12)] });
    const stored = await store.put("/p/stored", "2");
    const fixed = await store.get("/p/file");
    assert.equal(fixed?.value, "1");
    assert.deepEqual((await store.list("/p/")).entries, [fixed, stored]);
    const readonly = refuses("readonly", /configuration file; edit tortie\.yaml:12 instead/);
    await assert.rejects(store.put("/p/file", "3"), readonly);
    await assert.rejects(store.update("/p/file", "3", fixed?.revision ?? 0), readonly);
    await assert.rejects(store.delete("/p/file"), readonly);
    await assert.rejects(store.create("/p/file", "3"), refuses("exists", /tortie\.yaml:12/));
  }));

Deno.test("a new edition of the file makes events for what changed and for nothing else", () =>
  withDir(async (_, open) => {
    const store = open({ fixed: [entry("/a", "1", 1), entry("/b", "1", 2), entry("/c", "1", 3)] });
    const kept = await store.get("/a");
    const before = store.revision;
    const view = follow(store, "/");
    await view.synced();
    const result = store.replaceFixed([entry("/a", "1", 9), entry("/b", "2", 2), entry("/d", "1", 4)]);
    await until(() => view.events.length >= 7, "three changes");
    view.close();
    assert.deepEqual(view.events.slice(4).map(brief).sort(), ["delete /c", "put /b 2", "put /d 1"]);
    assert.deepEqual(result, { changed: 3, warnings: [] });
    assert.equal(store.revision, before + 3);
    assert.deepEqual(await store.get("/a"), kept);
    await assert.rejects(store.delete("/a"), refuses("readonly", /tortie\.yaml:9/)); // the new line
    assert.deepEqual(store.replaceFixed([entry("/a", "1", 9), entry("/b", "2", 2), entry("/d", "1", 4)]).changed, 0);
    assert.equal(store.revision, before + 3);
  }));

Deno.test("an edition that gives a key twice is refused whole", () =>
  withDir(async (_, open) => {
    const store = open({ fixed: [entry("/a", "1", 1)] });
    const edition = [entry("/b", "1", 2), entry("/a", "2", 3), entry("/b", "3", 7)];
    assert.throws(() => store.replaceFixed(edition), refuses("exists", /tortie\.yaml:7.*tortie\.yaml:2/));
    assert.deepEqual((await store.list("/")).entries.map((e) => e.value), ["1"]);
  }));

Deno.test("the file hides a stored key with a warning, and gives it back with a new revision", () =>
  withDir(async (_, open) => {
    const store = open();
    await store.put("/a", "stored");
    const view = follow(store, "/");
    await view.synced();
    const { warnings } = store.replaceFixed([entry("/a", "file", 5)]);
    assert.deepEqual(warnings, ["tortie.yaml:5 hides what is stored at /a; delete one of them"]);
    assert.equal((await store.get("/a"))?.value, "file");
    assert.deepEqual((await store.list("/")).entries.map((e) => e.value), ["file"]);
    const hidden = store.revision;
    assert.deepEqual(store.replaceFixed([]).warnings, []);
    const back = await store.get("/a");
    assert.equal(back?.value, "stored");
    assert.ok((back?.revision ?? 0) > hidden);
    await until(() => view.events.length >= 4, "both changes");
    view.close();
    assert.deepEqual(view.events.map(brief), ["put /a stored", "synced", "put /a file", "put /a stored"]);
  }));

Deno.test("over a restart unchanged entries keep their revision, and without a file the last edition stands", () =>
  withDir(async (_, open) => {
    const first = open({ fixed: [entry("/a", "1", 1), entry("/b", "1", 2)] });
    const a = await first.get("/a");
    await first.close();
    const second = open({ fixed: [entry("/a", "1", 1), entry("/b", "2", 2)] });
    assert.deepEqual(await second.get("/a"), a);
    assert.equal(second.revision, first.revision + 1);
    await second.close();
    const third = open();
    assert.deepEqual((await third.list("/")).entries.map((e) => e.value), ["1", "2"]);
    assert.equal(third.revision, second.revision);
  }));

Deno.test("time to live is counted over a restart, and a clock set back does not lengthen it", () =>
  withDir(async (_, open) => {
    const clock = new FakeClock();
    const first = open({ clock });
    await first.put("/soon", "1", { ttl: 10 });
    await first.put("/later", "1", { ttl: 100 });
    clock.advance(5_000);
    assert.equal((await first.list("/")).entries.length, 2);
    await first.close();
    clock.advance(6_000);
    const second = open({ clock });
    assert.deepEqual((await second.list("/")).entries.map((e) => e.key), ["/later"]);
    assert.equal(second.revision, first.revision + 1);
    await second.close();
    const setBack = new FakeClock(clock.epoch - 1_000_000);
    const third = open({ clock: setBack });
    setBack.advance(99_999);
    assert.equal((await third.list("/")).entries.length, 1);
    setBack.advance(1);
    assert.equal((await third.list("/")).entries.length, 0);
  }));

Deno.test("a time to live of months does not end at once", () =>
  withDir(async (_, open) => {
    const store = open();
    await store.put("/a", "1", { ttl: 90 * 24 * 3600 });
    await store.put("/b", "1", { ttl: 1 });
    const view = follow(store, "/");
    await until(() => view.events.some((event) => brief(event) === "delete /b"), "the short one's end");
    view.close();
    assert.equal((await store.get("/a"))?.value, "1");
  }));

Deno.test("a large listing is one moment's state, and the loop turns meanwhile", () =>
  withDir(async (dir, open) => {
    await open().close();
    const db = new DatabaseSync(`${dir}/store.db`);
    db.exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
      INSERT INTO entry SELECT printf('/k/%06d', i), 1, '"' || i || '"', i, NULL, NULL, NULL FROM n;
      UPDATE meta SET value = 20000 WHERE name = 'revision'`);
    db.close();
    const store = open({ fixed: [entry("/k/002000", '"file"', 1), entry("/k/002001", '"file"', 2)] });
    const { revision } = store;
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    const events: StoreEvent[] = [];
    const watch = store.watch("/k/", (event) => events.push(event));
    const listing = store.list("/k/");
    for (let i = 0; i < 5; i++) {
      await store.put(`/k/0${19990 + i}`, '"changed"');
      await store.put(`/k/new${i}`, "1");
      await store.delete(`/k/0${15000 + i}`);
    }
    const { entries, revision: at } = await listing;
    clearInterval(timer);
    assert.equal(at, revision);
    assert.equal(entries.length, 20000);
    assert.equal(new Set(entries.map((e) => e.key)).size, 20000);
    assert.ok(!entries.some((e) => e.value === '"changed"'));
    assert.equal(entries.find((e) => e.key === "/k/002001")?.value, '"file"');
    assert.ok(turns >= 5, `the loop turned ${turns} times`);
    await until(() => events.length >= 20000 + 1 + 15, "every event");
    watch.close();
    const synced = events.findIndex((event) => event.type === "synced");
    assert.equal(synced, 20000);
    assert.deepEqual(events.slice(synced).map((event) => event.type), [
      "synced",
      ...Array.from({ length: 5 }, () => ["put", "put", "delete"]).flat(),
    ]);
    await store.delete("/k/new0"); // no reader is left behind that would keep the log from being brought home
    await store.close();
    assert.throws(() => Deno.statSync(`${dir}/store.db-wal`), Deno.errors.NotFound);
  }));
