/**
 * How fast the file store writes, beside what the disk itself can do: `deno run -A bench/store.ts [DIR]`.
 *
 * A write is acknowledged after its commit is on the disk, so the bare cost of a page written and flushed (fdatasync) in the same
 * directory is the yardstick, and the ratio to it is what the store adds. Also: the time to list 200,000 keys, the
 * longest time the event loop stood still meanwhile, and the time to open that file.
 */

import { openFileStore } from "../src/store/file/file_store.ts";

const WRITES = 2000, KEYS = 200_000;
const dir = await Deno.makeTempDir({ dir: Deno.args[0] ?? ".", prefix: "tortie-bench-" });
const value = JSON.stringify({ kind: "WorkloadEndpoint", text: "x".repeat(450) });

function perSecond(count: number, since: number): number {
  return Math.round(count * 1000 / (performance.now() - since));
}

/** The longest gap between two turns of the event loop while `body` ran, in milliseconds. */
async function longestStall(body: () => Promise<void>): Promise<number> {
  let last = performance.now(), longest = 0, isRunning = true;
  const turn = () => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
    if (isRunning) setTimeout(turn, 0);
  };
  turn();
  await body();
  isRunning = false;
  return longest;
}

try {
  const raw = Deno.openSync(`${dir}/raw`, { write: true, create: true });
  const page = new Uint8Array(4096);
  for (let i = 0; i < 1000; i++) raw.writeSync(page); // overwriting needs no journal of the file system, as in a used log
  raw.syncSync();
  let start = performance.now();
  for (let i = 0; i < WRITES; i++) {
    if (i % 1000 === 0) raw.seekSync(0, Deno.SeekMode.Start);
    raw.writeSync(page);
    raw.syncDataSync();
  }
  const fsync = perSecond(WRITES, start);
  raw.close();

  let store = openFileStore({ dir: `${dir}/state`, owner: { name: "bench" } });
  start = performance.now();
  for (let i = 0; i < WRITES; i++) await store.create(`/calico/resources/${i}`, value);
  const creates = perSecond(WRITES, start);
  start = performance.now();
  for (let i = 0; i < WRITES; i++) await store.put(`/calico/resources/${i}`, value);
  const puts = perSecond(WRITES, start);
  start = performance.now();
  for (let i = 0; i < 10 * WRITES; i++) await store.get(`/calico/resources/${i % WRITES}`);
  const gets = perSecond(10 * WRITES, start);

  const many = Array.from({ length: KEYS }, (_, i) => ({ key: `/many/${i}`, value, where: "bench" }));
  store.replaceFixed(many);
  await store.close();
  start = performance.now();
  store = openFileStore({ dir: `${dir}/state`, owner: { name: "bench" } });
  const open = performance.now() - start;
  start = performance.now();
  let listed = 0;
  const stall = await longestStall(async () => void (listed = (await store.list("/many/")).entries.length));
  const list = performance.now() - start;
  await store.close();
  console.log(JSON.stringify(
    {
      "fsync/s": fsync,
      "create/s": creates,
      "put/s": puts,
      "put to fsync": Number((puts / fsync).toFixed(2)),
      "get/s": gets,
      listed,
      "list ms": Math.round(list),
      "longest stall ms": Math.round(stall),
      "open ms": Math.round(open),
    },
    null,
    2,
  ));
} finally {
  await Deno.remove(dir, { recursive: true });
}
