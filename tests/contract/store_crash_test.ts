/**
 * The file store under SIGKILL and with a torn write-ahead log.
 *
 * A kill must lose nothing that was acknowledged. A torn log (what a disk that lies about its flushes leaves behind)
 * can lose the end, but what is left must be the state after some write, never a mixture, and the file must open.
 */

import assert from "node:assert/strict";
import { type FileStore, openFileStore } from "../../src/store/file/file_store.ts";

interface Change {
  readonly revision: number;
  readonly key: string;
  readonly value: string | undefined;
}

const CHILD = new URL("./store_crash_child.ts", import.meta.url).pathname;

/** Runs the writer until it has acknowledged at least `count` changes, then kills it a random moment later. */
async function writeAndKill(dir: string, seed: number, count: number): Promise<{ opened: number; changes: Change[] }> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", CHILD, dir, String(seed)],
    env: { DENO_NO_UPDATE_CHECK: "1" },
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let text = "", lines = 0, isKilled = false;
  const deadline = performance.now() + 20_000;
  for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += part;
    lines += part.split("\n").length - 1;
    if (!isKilled && (lines > count || performance.now() > deadline)) {
      isKilled = true;
      const end = performance.now() + Math.random() * 3;
      while (performance.now() < end); // a timer would be too coarse for "any moment"
      child.kill("SIGKILL");
    }
  }
  const status = await child.status;
  assert.equal(status.signal, "SIGKILL");
  const [first = "", ...rest] = text.split("\n").slice(0, -1); // the last line may be cut short
  const changes = rest.map((line): Change => {
    const [revision, key = "", value] = line.split(" ");
    return { revision: Number(revision), key, value };
  });
  return { opened: Number(first.split(" ")[1]), changes };
}

async function contents(store: FileStore): Promise<Map<string, string>> {
  return new Map((await store.list("/k/")).entries.map((entry) => [entry.key, entry.value]));
}

function apply(model: Map<string, string>, { key, value }: Change): void {
  if (value === undefined) model.delete(key);
  else model.set(key, value);
}

Deno.test("twenty kills at random moments lose nothing acknowledged, and the revision never goes back", async () => {
  const dir = await Deno.makeTempDir({ prefix: "tortie-crash-" });
  const model = new Map<string, string>();
  let acknowledged = 0, total = 0;
  try {
    for (let round = 0; round < 20; round++) {
      const { opened, changes } = await writeAndKill(dir, round, 1 + Math.floor(Math.random() * 150));
      assert.ok(opened >= acknowledged, `round ${round}: opened at ${opened} after ${acknowledged} was acknowledged`);
      for (const change of changes) {
        assert.ok(change.revision > acknowledged, `revision ${change.revision} after ${acknowledged}`);
        acknowledged = change.revision;
        apply(model, change);
      }
      total += changes.length;
      const store = openFileStore({ dir, owner: { name: "reader" } });
      const found = await contents(store);
      const { revision } = store;
      await store.close();
      // At most one write can be on the disk whose acknowledgement did not get out.
      assert.ok(revision === acknowledged || revision === acknowledged + 1, `${revision} against ${acknowledged}`);
      const differing = [...new Set([...model.keys(), ...found.keys()])].filter((key) =>
        model.get(key) !== found.get(key)
      );
      assert.ok(differing.length <= revision - acknowledged, `round ${round}: lost ${differing}`);
      for (const key of differing) apply(model, { revision, key, value: found.get(key) });
      acknowledged = revision;
    }
    assert.ok(total > 500, `only ${total} writes were tried`);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a write-ahead log cut off or damaged anywhere leaves the state after some write", async () => {
  const dir = await Deno.makeTempDir({ prefix: "tortie-torn-" });
  try {
    const { opened, changes } = await writeAndKill(`${dir}/original`, 7, 120);
    const states = new Map<number, Map<string, string>>([[opened, new Map()]]);
    const model = new Map<string, string>();
    for (const change of changes) {
      apply(model, change);
      states.set(change.revision, new Map(model));
    }
    const wal = await Deno.readFile(`${dir}/original/store.db-wal`);
    const last = changes.at(-1)?.revision ?? 0;
    const seen = new Set<number>();
    for (let round = 0; round < 40; round++) {
      const at = Math.floor(Math.random() * wal.length);
      const torn = wal.slice(0, round % 2 ? at : wal.length);
      if (round % 2 === 0) torn.fill(0xa5, at, at + 64);
      await Deno.mkdir(`${dir}/torn`, { mode: 0o700 });
      await Deno.copyFile(`${dir}/original/store.db`, `${dir}/torn/store.db`);
      await Deno.writeFile(`${dir}/torn/store.db-wal`, torn);
      const store = openFileStore({ dir: `${dir}/torn`, owner: { name: "reader" } });
      const found = await contents(store);
      const { revision } = store;
      seen.add(revision);
      await store.put("/k/afterwards", "1");
      await store.close();
      await Deno.remove(`${dir}/torn`, { recursive: true });
      if (revision === last + 1) continue; // committed, not acknowledged
      assert.deepEqual(
        found,
        revision < opened ? new Map() : states.get(revision),
        `cut at ${at}: revision ${revision}`,
      );
    }
    assert.ok(seen.size > 3, "the cuts made no difference");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a kill while the store is being made leaves a file that opens", async () => {
  const dir = await Deno.makeTempDir({ prefix: "tortie-birth-" });
  const sizes = new Set<number>();
  try {
    for (let round = 0; round < 12; round++) {
      const state = `${dir}/${round}`;
      const child = new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--quiet", CHILD, state, "0"],
        env: { DENO_NO_UPDATE_CHECK: "1" },
        stdout: "null",
        stderr: "inherit",
      }).spawn();
      const deadline = performance.now() + 20_000;
      while (!exists(`${state}/owner.lock`)) assert.ok(performance.now() < deadline, "the child never began");
      const end = performance.now() + Math.random() * 8;
      while (performance.now() < end);
      child.kill("SIGKILL");
      await child.status;
      sizes.add(exists(`${state}/store.db-wal`) ? Deno.statSync(`${state}/store.db-wal`).size : -1);
      const store = openFileStore({ dir: state, owner: { name: "reader" } });
      assert.equal((await store.put("/k/afterwards", "1")).revision, store.revision);
      await store.close();
    }
    assert.ok(sizes.size > 1, "every kill came at the same point");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

const hasStrace = (Deno.env.get("PATH") ?? "").split(":").some((dir) => exists(`${dir}/strace`));

Deno.test({
  name: `each acknowledged write has been flushed to the disk${hasStrace ? "" : " (skipped: no strace)"}`,
  ignore: !hasStrace,
  fn: async () => {
    const dir = await Deno.makeTempDir({ prefix: "tortie-flush-" });
    try {
      const url = JSON.stringify(new URL("../../src/store/file/file_store.ts", import.meta.url).href);
      const code = `import { openFileStore } from ${url};
        const store = openFileStore({ dir: "${dir}/state", owner: { name: "flush" } });
        for (let i = 0; i < 50; i++) { await store.put("/k", String(i)); Deno.stdout.writeSync(new Uint8Array([46])); }
        await store.close();`;
      const { success, stdout } = await new Deno.Command("strace", {
        args: [
          "-f",
          "-e",
          "trace=fsync,fdatasync,write",
          "-o",
          `${dir}/trace`,
          Deno.execPath(),
          "eval",
          "--no-lock",
          code,
        ],
        env: { DENO_NO_UPDATE_CHECK: "1" },
      }).output();
      assert.deepEqual([success, stdout.length], [true, 50]);
      // Before each dot, which acknowledges one write, there is a flush since the dot before.
      const calls = (await Deno.readTextFile(`${dir}/trace`)).split("\n")
        .flatMap((line) =>
          /f(data)?sync\(.*= 0$/.test(line) ? ["flush"] : line.includes('write(1, "."') ? ["dot"] : []
        );
      const unflushed = calls.filter((call, i) => call === "dot" && calls[i - 1] !== "flush");
      assert.equal(calls.filter((call) => call === "dot").length, 50);
      assert.deepEqual(unflushed, []);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
});

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
