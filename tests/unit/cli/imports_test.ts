/** What the bundle needs of the sources, and no type check sees. */

import assert from "node:assert/strict";
import { resolve } from "node:path";

const root = resolve(import.meta.dirname ?? ".", "../../..");

function* sources(folder: string): Generator<string> {
  for (const entry of Deno.readDirSync(folder)) {
    if (entry.isDirectory) yield* sources(`${folder}/${entry.name}`);
    else if (entry.name.endsWith(".ts")) yield `${folder}/${entry.name}`;
  }
}

Deno.test("no package is imported dynamically: bundled, a CommonJS one would have no names", () => {
  const files = [...sources(`${root}/src`), `${root}/main.ts`];
  assert.ok(files.length > 100);
  const found = files.filter((file) => /\bimport\(\s*["'`](?!\.)/.test(Deno.readTextFileSync(file)));
  assert.deepEqual(found, []);
});
