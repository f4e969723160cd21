/**
 * How many addresses a node assigns and releases per second, on the in-memory store.
 *
 *   deno run -A bench/ipam.ts [pairs]
 *
 * Two figures: with 1,000 blocks of other hosts in the store, and with 64,000 addresses held in one pool. Each pair is an
 * assignment under a new handle and its release by handle. The time of a pair must not grow with what the store holds.
 */

import { makeBlock } from "../src/ipam/stored/block.ts";
import { createBlock } from "../src/ipam/stored/block_store.ts";
import { type Ipam, makeIpam } from "../src/ipam/ipam.ts";
import { watchSources } from "../src/ipam/sources.ts";
import { Cidr } from "../src/lib/cidr.ts";
import { Ip } from "../src/lib/ip.ts";
import { resourceKey } from "../src/model/keys/build.ts";
import { MemoryStore } from "../src/store/memory.ts";

const pairs = Number(Deno.args[0] ?? 5000);
const clock = { now: () => Date.now() };

async function storeWithPool(cidr: string): Promise<MemoryStore> {
  const store = new MemoryStore();
  const pool = { kind: "IPPool", metadata: { name: "p" }, spec: { cidr } };
  await store.put(resourceKey("IPPool", "p"), JSON.stringify(pool));
  return store;
}

function ipamOn(store: MemoryStore, name: string): Ipam & { close(): void } {
  const sources = watchSources(store);
  const ipam = makeIpam({ store, clock, random: Math.random, node: { name, labels: {} }, sources });
  return { ...ipam, close: () => sources.close() };
}

async function measure(what: string, store: MemoryStore): Promise<void> {
  const ipam = ipamOn(store, "bench");
  await ipam.autoAssign({ v4: 1, handle: "first", attributes: { node: "bench" } });
  const times: number[] = [];
  const start = performance.now();
  for (let i = 0; i < pairs; i++) {
    const began = performance.now();
    const handle = `net.container-${i}`;
    const { v4 } = await ipam.autoAssign({ v4: 1, handle, attributes: { node: "bench", type: "workload" } });
    if (v4.length !== 1) throw new Error(`no address at pair ${i}`);
    await ipam.releaseByHandle(handle);
    times.push(performance.now() - began);
  }
  const seconds = (performance.now() - start) / 1000;
  times.sort((a, b) => a - b);
  const p99 = times[Math.floor(times.length * 0.99)] ?? 0;
  console.log(`${what}: ${Math.round(pairs / seconds)} assign+release per second, p99 ${p99.toFixed(3)} ms`);
  ipam.close();
}

const many = await storeWithPool("10.0.0.0/14");
for (let i = 0; i < 1000; i++) {
  const cidr = Cidr.of(Ip.parse("10.0.0.0").plus(i * 64), 26);
  await createBlock(many, makeBlock(cidr, { affinity: `host:h${i}`, claimedAt: "2026-01-01T00:00:00Z", sequence: 1n }));
}
await measure("1,000 blocks in the store", many);

const full = await storeWithPool("10.0.0.0/16");
for (let host = 0; host < 50; host++) {
  const ipam = ipamOn(full, `h${host}`);
  await ipam.autoAssign({ v4: 1280, handle: `held-${host}`, attributes: { node: `h${host}` } });
  ipam.close();
}
await measure("64,000 addresses held in one pool", full);
