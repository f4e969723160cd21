/**
 * The writer that the crash test kills: it puts, updates and deletes keys in an endless circle and prints each
 * acknowledged change as "revision key value" (a delete has no value). It is stopped by SIGKILL only.
 */

import { openFileStore } from "../../src/store/file/file_store.ts";

const [dir, seed = "0"] = Deno.args;
if (!dir) throw new Error("say in which directory to write");
const store = openFileStore({
  dir,
  owner: { name: "crash" },
  fixed: [{ key: "/fixed", value: seed, where: "t.yaml:1" }],
});
const encoder = new TextEncoder();
const say = (line: string) => Deno.stdout.writeSync(encoder.encode(line + "\n"));

say(`open ${store.revision}`);
for (let i = 0;; i++) {
  const key = `/k/${i % 17}`;
  if (i % 5 === 4 && await store.get(key)) {
    await store.delete(key);
    say(`${store.revision} ${key}`);
  } else {
    const value = `${seed}.${i}.${"x".repeat(i * 37 % 3000)}`;
    const { revision } = await store.put(key, value);
    say(`${revision} ${key} ${value}`);
  }
}
