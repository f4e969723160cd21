/**
 * What the disk test runs on a small file system of its own: fills it, frees it, opens the store
 * on it read-only and writable again, and prints what the store did at each step as one JSON line.
 */

import { openFileStore } from "../../src/store/file/file_store.ts";
import { StoreError } from "../../src/store/store.ts";

const [mount] = Deno.args;
if (!mount) throw new Error("say which file system to fill");
Deno.writeFileSync(`${mount}/ballast`, new Uint8Array(1_000_000));
const store = openFileStore({ dir: `${mount}/state`, owner: { name: "disk" } });
const acknowledged: string[] = [];

/** Writes until a write fails, at most 5,000 times; the refusal, or null. */
async function fill(name: string, limit: number): Promise<{ kind: string; message: string } | null> {
  for (let i = 0; i < limit; i++) {
    try {
      await store.create(`/${name}/${String(i).padStart(5, "0")}`, "x".repeat(2000));
      acknowledged.push(`/${name}/${String(i).padStart(5, "0")}`);
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      return { kind: error.kind, message: error.message };
    }
  }
  return null;
}

async function isWhole(): Promise<boolean> {
  return JSON.stringify((await store.list("/")).entries.map((entry) => entry.key)) ===
    JSON.stringify(acknowledged.sort());
}

function remount(option: string): boolean {
  return new Deno.Command("mount", { args: ["-o", `remount,${option}`, String(mount)] }).outputSync().success;
}

const full = await fill("full", 5000);
const afterFull = { full, isWhole: await isWhole() };
Deno.removeSync(`${mount}/ballast`);
const afterFree = { refusal: await fill("freed", 20), isWhole: await isWhole() };
await store.close();

let refusal = "";
const isReadOnly = remount("ro");
try {
  await openFileStore({ dir: `${mount}/state`, owner: { name: "disk" } }).close();
} catch (error) {
  refusal = error instanceof StoreError ? error.message : String(error);
}
remount("rw");
const again = openFileStore({ dir: `${mount}/state`, owner: { name: "disk" } });
const reopened = (await again.list("/")).entries.length === acknowledged.length;
await again.close();
console.log(
  JSON.stringify({ afterFull, afterFree, isReadOnly, refusal, reopened, count: acknowledged.length }),
);
