/** `deno task bench` runs what is named, or all programs of bench/, and refuses a name that is none. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { benchesIn, chooseBenches } from "../../../build/bench.ts";

Deno.test("benches are all run, or the named ones, with what follows the dashes", () => {
  assert.deepEqual(chooseBenches([], ["a", "b"]), [["a", "b"], []]);
  assert.deepEqual(chooseBenches(["b", "--", "9"], ["a", "b"]), [["b"], ["9"]]);
  assert.deepEqual(chooseBenches(["--", "9"], ["a", "b"]), [["a", "b"], ["9"]]);
  assert.throws(() => chooseBenches(["c"], ["a", "b"]), /no bench `c`; there are: a, b/);
});

Deno.test("a bench is a file that says how it is run; what it imports is none", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(join(folder, "store.ts"), "/** `deno run -A bench/store.ts` */");
    await Deno.writeTextFile(join(folder, "shared.ts"), "export {};");
    await Deno.writeTextFile(join(folder, "notes.md"), "bench/notes.md");
    assert.deepEqual(benchesIn(folder), ["store"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
