/** The file store against the memory store as its model: the same calls give the same answers and the same events. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { openFileStore } from "../../../src/store/file/file_store.ts";
import { MemoryStore } from "../../../src/store/memory.ts";
import { type Store, StoreError } from "../../../src/store/store.ts";
import { brief, follow, until } from "../../contract/store_suite.ts";

type Op =
  | { op: "create" | "put"; key: string; value: string }
  | { op: "update"; key: string; value: string; behind: number }
  | { op: "delete"; key: string; behind: number | undefined }
  | { op: "get" | "list" | "watch"; key: string };

const key = fc.constantFrom("/", "/a", "/a/", "/a/b", "/a/c", "/a0", "/b", "/é", "/\u{1f422}", "/\uff5e");
const value = fc.json();
const behind = fc.constantFrom(0, 0, 0, 1);
const op: fc.Arbitrary<Op> = fc.oneof(
  fc.record({ op: fc.constantFrom("create" as const, "put" as const), key, value }),
  fc.record({ op: fc.constant("update" as const), key, value, behind }),
  fc.record({ op: fc.constant("delete" as const), key, behind: fc.option(behind, { nil: undefined }) }),
  fc.record({ op: fc.constantFrom("get" as const, "list" as const, "watch" as const), key }),
);

/** Carries out one operation; revisions in calls are given as "so many behind the last write of that key". */
async function answer(store: Store, op: Op, views: ReturnType<typeof follow>[]): Promise<unknown> {
  const last = async (behind: number) => ((await store.get(op.key))?.revision ?? 1) - behind;
  try {
    switch (op.op) {
      case "create":
        return await store.create(op.key, op.value);
      case "put":
        return await store.put(op.key, op.value);
      case "update":
        return await store.update(op.key, op.value, await last(op.behind));
      case "delete":
        return await store.delete(op.key, op.behind === undefined ? undefined : await last(op.behind));
      case "get":
        return await store.get(op.key);
      case "list":
        return await store.list(op.key);
      case "watch":
        return void views.push(follow(store, op.key));
    }
  } catch (error) {
    assert.ok(error instanceof StoreError);
    return { refused: error.kind, key: error.key, message: error.message };
  }
}

Deno.test("whatever is asked of them, the file store and the memory store answer alike", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(op, { maxLength: 40 }), async (ops) => {
      const dir = await Deno.makeTempDir({ prefix: "tortie-model-" });
      const stores: Store[] = [new MemoryStore(), openFileStore({ dir, owner: { name: "a" } })];
      try {
        const [memory, file] = await Promise.all(stores.map(async (store) => {
          const views = [follow(store, "/")];
          const answers: unknown[] = [];
          for (const op of ops) answers.push(await answer(store, op, views));
          await store.put("/zz", "end");
          await until(() => views[0]?.state.has("/zz") ?? false, "the last event");
          const events = views.map((view) => view.events.map((event) => [brief(event), event]));
          views.forEach((view) => view.close());
          return { answers, events };
        }));
        assert.deepEqual(file, memory);
      } finally {
        for (const store of stores) await store.close();
        await Deno.remove(dir, { recursive: true });
      }
    }),
    { numRuns: 60 },
  );
});
