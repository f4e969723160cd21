/** Writes and renames of a real file, each of which has to be noticed once. */

import assert from "node:assert/strict";
import { watchFile } from "../../../src/cli/node/file_watch.ts";
import { systemClock } from "../../../src/store/expiry.ts";

async function eventually(what: string, holds: () => boolean): Promise<void> {
  for (const end = Date.now() + 10_000; Date.now() < end;) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail(`waited in vain until ${what}`);
}

Deno.test("a file that is written in place, or replaced by a rename, has changed; its neighbours do not count", async () => {
  const dir = await Deno.makeTempDir();
  const file = `${dir}/tortie.yaml`;
  Deno.writeTextFileSync(file, "1");
  let changes = 0;
  const stop = watchFile(file, systemClock, () => changes++);
  try {
    Deno.writeTextFileSync(`${dir}/other.yaml`, "1");
    Deno.writeTextFileSync(file, "2");
    await eventually("the write is seen", () => changes === 1);
    Deno.writeTextFileSync(`${file}~`, "3");
    Deno.renameSync(`${file}~`, file);
    await eventually("the rename is seen", () => changes === 2);
    // Several writes in a row are one change.
    for (let i = 0; i < 5; i++) Deno.writeTextFileSync(file, `${i}`);
    await eventually("the writes are seen", () => changes === 3);
    assert.equal(changes, 3);
  } finally {
    stop();
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("where nothing can be watched, nothing fails", () => {
  watchFile("/nonexistent/tortie.yaml", systemClock, () => assert.fail("nothing changed"))();
});
