/** Assigning and releasing: pools, families, limits, borrowing, taking over, recovery, and the reasons of refusals. */

import assert from "node:assert/strict";
import type { IpamError } from "../../../src/ipam/error.ts";
import { makeIpam } from "../../../src/ipam/ipam.ts";
import { configureIpam } from "../../../src/ipam/stored/config.ts";
import { createAffinity, readAffinity, writeAffinity } from "../../../src/ipam/stored/affinity.ts";
import { Cidr } from "../../../src/lib/cidr.ts";
import { Ip } from "../../../src/lib/ip.ts";
import { affinityKey, blockKey, handleKey } from "../../../src/model/keys/build.ts";
import { MemoryStore } from "../../../src/store/memory.ts";
import type { Store } from "../../../src/store/store.ts";
import { blockFaults, leftovers } from "./invariants.ts";
import { putPool, putReservation, recordWrites, seededRandom } from "./recording_store.ts";

const start = Date.UTC(2026, 0, 1);

function ipamOn(store: Store, name: string, options: { labels?: Record<string, string>; now?: () => number } = {}) {
  return makeIpam({
    store,
    clock: { now: options.now ?? (() => start) },
    random: seededRandom(7),
    node: { name, labels: options.labels ?? {} },
    startIn: () => 0n,
  });
}

async function storeWith(spec: Record<string, unknown>, name = "p"): Promise<MemoryStore> {
  const store = new MemoryStore();
  await putPool(store, name, spec);
  return store;
}

const texts = (ips: readonly { ip: Ip; length: number }[]) => ips.map(({ ip, length }) => `${ip}/${length}`);

Deno.test("a workload gets an address of each family with its block's length", async () => {
  const store = await storeWith({ cidr: "10.0.0.0/24" });
  await putPool(store, "p6", { cidr: "fd00::/48" });
  const { v4, v6, shortfalls } = await ipamOn(store, "a").autoAssign({ v4: 1, v6: 2, handle: "h" });
  assert.deepEqual(texts(v4), ["10.0.0.0/26"]);
  assert.deepEqual(texts(v6), ["fd00::/122", "fd00::1/122"]);
  assert.deepEqual(shortfalls, []);
  assert.equal((await ipamOn(store, "b").releaseByHandle("h")).length, 3);
  assert.deepEqual(await leftovers(store), []);
});

Deno.test("all or nothing: an address of one family is returned when the other falls short", async () => {
  const store = await storeWith({ cidr: "10.0.0.0/24" });
  const ipam = ipamOn(store, "a");
  await assert.rejects(ipam.assign({ v4: 1, v6: 1, handle: "h" }), /there is no IPv6 pool/);
  assert.equal(await store.get(handleKey("h")), undefined);
  assert.deepEqual(texts(await ipam.assign({ v4: 1, handle: "h" })), ["10.0.0.1/26"]);
});

Deno.test("a requested pool that cannot be used takes nothing with it", async () => {
  const store = await storeWith({ cidr: "10.0.0.0/24" });
  await putPool(store, "p6", { cidr: "fd00::/64", disabled: true });
  await assert.rejects(
    ipamOn(store, "a").assign({ v4: 1, v6: 1, pools: ["p", "p6"] }),
    /requested pool p6: it is disabled/,
  );
  const [block] = (await store.list("/calico/ipam/v2/assignment/")).entries;
  assert.match(block?.value ?? "", /"attributes":\[\]/);
  assert.equal(
    (await ipamOn(store, "a").assign({ v4: 1, pools: ["p6"] })).length,
    1,
    "IPv4 is restricted by an IPv6 pool",
  );
});

Deno.test("a refusal for want of a pool says of each pool why it was passed over", async () => {
  const store = await storeWith({ cidr: "10.0.0.0/24", nodeSelector: "rack == '2'" }, "rack2");
  const { shortfalls } = await ipamOn(store, "a", { labels: { rack: "1" } }).autoAssign({ v4: 1 });
  assert.equal(shortfalls[0]?.kind, "no-pool");
  assert.match(
    shortfalls[0]?.message ?? "",
    /node a: pool rack2 .*nodeSelector "rack == '2'" does not select the node/,
  );
});

Deno.test("a full pool says how full it is and whose blocks have addresses", async () => {
  const store = await storeWith({ cidr: "10.0.0.0/29", blockSize: 30 });
  const ipam = ipamOn(store, "a");
  const { v4, shortfalls } = await ipam.autoAssign({ v4: 9, handle: "h" });
  assert.equal(v4.length, 8);
  assert.equal(shortfalls[0]?.kind, "full");
  assert.match(shortfalls[0]?.message ?? "", /only 8: p \(10.0.0.0\/29\): 8 of 8 addresses in use/);
});

Deno.test("the next address in an own block costs one read of the block and the handle and two writes", async () => {
  const { store, writes } = recordWrites(await storeWith({ cidr: "10.0.0.0/24" }));
  const calls: string[] = [];
  const counted: Store = {
    ...store,
    get: (key) => (calls.push(`get ${key}`), store.get(key)),
    list: (prefix) => (calls.push(`list ${prefix}`), store.list(prefix)),
  };
  const ipam = ipamOn(counted, "a");
  await ipam.autoAssign({ v4: 1, handle: "h1" });
  calls.length = writes.length = 0;
  await ipam.autoAssign({ v4: 1, handle: "h2" });
  const ipamCalls = calls.filter((call) => call.includes("/ipam/"));
  assert.deepEqual(ipamCalls, [`get ${blockKey("10.0.0.0/26")}`, `get ${handleKey("h2")}`]);
  assert.deepEqual(writes.map(({ type, key }) => `${type} ${key}`), [
    `create ${handleKey("h2")}`,
    `update ${blockKey("10.0.0.0/26")}`,
  ]);
});

Deno.test("a remembered block that has become another host's is not used", async () => {
  const store = await storeWith({ cidr: "10.0.0.0/29", blockSize: 30 });
  const [a, b] = [ipamOn(store, "a"), ipamOn(store, "b")];
  const [first] = (await a.autoAssign({ v4: 1, handle: "h" })).v4;
  await b.releaseByHandle("h");
  await b.releaseHostAffinities("a");
  await b.claimAffinity(Cidr.parse("10.0.0.0/30"));
  assert.equal(first?.ip.toString(), "10.0.0.0");
  assert.deepEqual(texts((await a.autoAssign({ v4: 1, handle: "i" })).v4), ["10.0.0.4/30"]);
});

Deno.test("an address that was released first is given again last", async () => {
  const store = await storeWith({ cidr: "10.0.0.0/30", blockSize: 30 });
  const ipam = ipamOn(store, "a");
  await ipam.autoAssign({ v4: 3, handle: "h" });
  for (const ip of ["10.0.0.2", "10.0.0.0"]) await ipam.releaseIps([{ ip: Ip.parse(ip) }]);
  assert.deepEqual(texts((await ipam.autoAssign({ v4: 3, handle: "i" })).v4), [
    "10.0.0.3/30",
    "10.0.0.2/30",
    "10.0.0.0/30",
  ]);
});

Deno.test("an address that returns to an earlier block of the host is found again", async () => {
  const store = await storeWith({ cidr: "10.0.0.0/29", blockSize: 30 });
  await configureIpam(store, { strictAffinity: true });
  const ipam = ipamOn(store, "a");
  await ipam.autoAssign({ v4: 8, handle: "h" });
  await ipam.releaseIps([{ ip: Ip.parse("10.0.0.1") }]);
  assert.deepEqual(texts((await ipam.autoAssign({ v4: 1, handle: "i" })).v4), ["10.0.0.1/30"]);
});

Deno.test("reserved addresses are never given by themselves but can be asked for", async () => {
  const store = await storeWith({ cidr: "10.0.0.0/29", blockSize: 30 });
  await putReservation(store, "r", ["10.0.0.0/30", "10.0.0.5"]);
  const ipam = ipamOn(store, "a");
  const { v4, shortfalls } = await ipam.autoAssign({ v4: 4, handle: "h" });
  assert.deepEqual(texts(v4), ["10.0.0.4/30", "10.0.0.6/30", "10.0.0.7/30"]);
  assert.match(shortfalls[0]?.message ?? "", /some reserved/);
  assert.equal(await store.get(blockKey("10.0.0.0/30")), undefined, "a wholly reserved block is claimed in vain");
  await ipam.assignIp(Ip.parse("10.0.0.5"), { handle: "i" });
});

Deno.test("a block that several reservations cover together is not claimed", async () => {
  const store = await storeWith({ cidr: "10.0.0.0/29", blockSize: 30 });
  await putReservation(store, "r", ["10.0.0.0/31", "10.0.0.2/31"]);
  await ipamOn(store, "a").autoAssign({ v4: 1, handle: "h" });
  assert.equal(await store.get(blockKey("10.0.0.0/30")), undefined);
});

Deno.test("the limit of blocks holds, and its refusal says how to mend it", async () => {
  const store = await storeWith({ cidr: "10.0.0.0/27", blockSize: 32 });
  const { v4, shortfalls } = await ipamOn(store, "a").autoAssign({ v4: 25, handle: "h" });
  assert.equal(v4.length, 20);
  assert.equal(shortfalls[0]?.kind, "limit");
  assert.match(
    shortfalls[0]?.message ?? "",
    /it has 20 and the limit is 20; release addresses, raise maxBlocksPerHost/,
  );
  const asked = await ipamOn(store, "b").autoAssign({ v4: 5, handle: "i", maxBlocks: 2 });
  assert.equal(asked.v4.length, 2);
});

Deno.test("borrowed addresses leave the block's owner as it is", async () => {
  const store = await storeWith({ cidr: "10.0.0.0/30", blockSize: 30 });
  await ipamOn(store, "a").autoAssign({ v4: 1, handle: "h", attributes: { node: "a" } });
  const { v4 } = await ipamOn(store, "b").autoAssign({ v4: 1, handle: "i", attributes: { node: "b" } });
  assert.deepEqual(texts(v4), ["10.0.0.1/30"]);
  assert.match((await store.get(blockKey("10.0.0.0/30")))?.value ?? "", /"affinity":"host:a"/);
  assert.equal(await store.get(affinityKey("b", "10.0.0.0/30")), undefined);
});

Deno.test("an empty block of another host is taken over once its claim is a minute old", async () => {
  const store = await storeWith({ cidr: "10.0.0.0/30", blockSize: 30 });
  await configureIpam(store, { strictAffinity: true });
  await ipamOn(store, "a").claimAffinity(Cidr.parse("10.0.0.0/30"));
  const early = await ipamOn(store, "b", { now: () => start + 59_000 }).autoAssign({ v4: 1, handle: "h" });
  assert.equal(early.shortfalls[0]?.kind, "strict");
  assert.match(early.shortfalls[0]?.message ?? "", /4 free in blocks of host:a/);
  const late = await ipamOn(store, "b", { now: () => start + 60_000 }).autoAssign({ v4: 1, handle: "h" });
  assert.deepEqual(texts(late.v4), ["10.0.0.0/30"]);
  assert.equal(await store.get(affinityKey("a", "10.0.0.0/30")), undefined);
  assert.deepEqual(await leftovers(store), []);
});

Deno.test("an empty block in a pool that no longer selects the node is let go", async () => {
  const store = await storeWith({ cidr: "10.0.0.0/30", blockSize: 30 });
  const ipam = ipamOn(store, "a");
  await ipam.autoAssign({ v4: 1, handle: "h" });
  await ipam.releaseByHandle("h");
  await putPool(store, "p", { cidr: "10.0.0.0/30", blockSize: 30, nodeSelector: "name == 'b'" });
  await putPool(store, "q", { cidr: "10.0.1.0/30", blockSize: 30 });
  assert.deepEqual(texts((await ipam.autoAssign({ v4: 1, handle: "i" })).v4), ["10.0.1.0/30"]);
  assert.equal(await store.get(blockKey("10.0.0.0/30")), undefined);
  assert.deepEqual(await leftovers(store), []);
});

Deno.test("a claim that was left pending is finished by the next assignment, or dropped when the block is another's", async () => {
  const store = await storeWith({ cidr: "10.0.0.0/29", blockSize: 30 });
  await createAffinity(store, "a", Cidr.parse("10.0.0.0/30"));
  await ipamOn(store, "b").claimAffinity(Cidr.parse("10.0.0.4/30"));
  await createAffinity(store, "a", Cidr.parse("10.0.0.4/30"));
  assert.deepEqual(texts((await ipamOn(store, "a").autoAssign({ v4: 1, handle: "h" })).v4), ["10.0.0.0/30"]);
  assert.equal((await readAffinity(store, "a", Cidr.parse("10.0.0.0/30")))?.state, "confirmed");
  assert.equal(await readAffinity(store, "a", Cidr.parse("10.0.0.4/30")), undefined);
  assert.deepEqual(await leftovers(store), []);
});

Deno.test("an own block whose claim is on its way out is written once and confirmed before it is used", async () => {
  const { store, writes } = recordWrites(await storeWith({ cidr: "10.0.0.0/30", blockSize: 30 }));
  const cidr = Cidr.parse("10.0.0.0/30");
  await ipamOn(store, "a").claimAffinity(cidr);
  const affinity = await readAffinity(store, "a", cidr);
  assert.ok(affinity);
  await writeAffinity(store, affinity, "pendingDeletion");
  writes.length = 0;
  await ipamOn(store, "a").autoAssign({ v4: 1 });
  const [claim, block] = [affinityKey("a", cidr), blockKey(cidr)];
  assert.deepEqual(writes.map(({ key }) => key), [claim, block, claim, block]);
  assert.deepEqual(writes.map(({ value }) => JSON.parse(value ?? "").state), [
    "pending",
    undefined,
    "confirmed",
    undefined,
  ]);
});

Deno.test("blocks of another size that an older pool left are never overlapped", async () => {
  const store = await storeWith({ cidr: "10.0.0.0/28", blockSize: 29 });
  const ipam = ipamOn(store, "a");
  await ipam.autoAssign({ v4: 1, handle: "old" });
  await putPool(store, "p", { cidr: "10.0.0.0/28", blockSize: 30 });
  const { v4 } = await ipamOn(store, "b").autoAssign({ v4: 16, handle: "new" });
  assert.equal(new Set(v4.map(({ ip }) => ip.toString())).size, 15);
  assert.deepEqual(await blockFaults(store), []);
  await assert.rejects(ipam.assignIp(Ip.parse("10.0.0.0"), {}), { kind: "taken" });
});

Deno.test("an address that is asked for is refused with the reason", async () => {
  const store = await storeWith({ cidr: "10.0.0.0/29", blockSize: 30 });
  await putPool(store, "shut", { cidr: "10.0.1.0/29", blockSize: 30, disabled: true });
  const ipam = ipamOn(store, "a");
  await ipam.assignIp(Ip.parse("10.0.0.1"), { handle: "h", attributes: { node: "a" } });
  const refusal = (text: string) =>
    ipam.assignIp(Ip.parse(text), { handle: "i" }).then(() => "", (error: IpamError) => error.message);
  assert.match(await refusal("10.0.0.1"), /in use \(handle h, node a\); release it first/);
  assert.match(await refusal("10.0.1.1"), /its pool shut \(10.0.1.0\/29\) cannot be used: it is disabled/);
  assert.match(await refusal("192.0.2.1"), /no pool holds it; the open IPv4 pools are p \(10.0.0.0\/29\)/);
  assert.equal(await store.get(handleKey("i")), undefined, "a refusal leaves a handle");
});

Deno.test("a release under another handle or sequence number is refused and releases nothing of the block", async () => {
  const store = await storeWith({ cidr: "10.0.0.0/29", blockSize: 30 });
  const ipam = ipamOn(store, "a");
  await ipam.autoAssign({ v4: 2, handle: "h" });
  const [first, second] = [Ip.parse("10.0.0.0"), Ip.parse("10.0.0.1")];
  await assert.rejects(ipam.releaseIps([{ ip: first }, { ip: second, handle: "x" }]), { kind: "mismatch" });
  await assert.rejects(ipam.releaseIps([{ ip: first, sequence: 5n }]), { kind: "mismatch" });
  const { released, unallocated } = await ipam.releaseIps([{ ip: first }, { ip: first }, { ip: Ip.parse("10.0.0.3") }]);
  assert.deepEqual([released.map(String), unallocated.map(String)], [["10.0.0.0"], ["10.0.0.3"]]);
});

Deno.test("addresses are released also when their pool is gone", async () => {
  const { store } = recordWrites(await storeWith({ cidr: "10.0.0.0/29", blockSize: 30 }));
  const ipam = ipamOn(store, "a");
  await ipam.autoAssign({ v4: 1, handle: "h" });
  await store.delete("/calico/resources/v3/projectcalico.org/ippools/p");
  assert.equal((await ipam.releaseIps([{ ip: Ip.parse("10.0.0.0") }])).released.length, 1);
});

Deno.test("a handle whose record is lost is released by looking through the host's blocks", async () => {
  const store = await storeWith({ cidr: "10.0.0.0/29", blockSize: 30 });
  const ipam = ipamOn(store, "a");
  await ipam.autoAssign({ v4: 2, handle: "h" });
  await store.delete(handleKey("h"));
  assert.equal((await ipam.releaseByHandle("h")).length, 2);
  await assert.rejects(ipam.releaseByHandle("h"), { kind: "no-handle" });
});

Deno.test("a pool's affinities end, and only blocks in use stay", async () => {
  const store = await storeWith({ cidr: "10.0.0.0/28", blockSize: 30 });
  await ipamOn(store, "a").autoAssign({ v4: 1, handle: "h" });
  await ipamOn(store, "b").claimAffinity(Cidr.parse("10.0.0.4/30"));
  await ipamOn(store, "c").releasePoolAffinities(Cidr.parse("10.0.0.0/28"));
  assert.match((await store.get(blockKey("10.0.0.0/30")))?.value ?? "", /"affinity":null/);
  assert.equal(await store.get(blockKey("10.0.0.4/30")), undefined);
  await ipamOn(store, "c").releaseByHandle("h");
  assert.deepEqual((await store.list("/calico/ipam/")).entries, []);
});

Deno.test("calls on one node take turns, so a hundred at once do not get into each other's way", async () => {
  const { store, writes } = recordWrites(await storeWith({ cidr: "10.0.0.0/24" }));
  const ipam = ipamOn(store, "a");
  const all = await Promise.all(Array.from({ length: 100 }, (_, i) => ipam.assign({ v4: 1, handle: `h${i}` })));
  assert.equal(new Set(all.flat().map(({ ip }) => ip.toString())).size, 100);
  assert.equal(writes.length, 2 * 100 + 2 * 4, "an assignment wrote more than its handle and its block");
});

Deno.test("an address that a newer Calico kept back after its release is given again once that is long ago", async () => {
  const store = await storeWith({ cidr: "10.0.0.0/31", blockSize: 31 });
  await ipamOn(store, "a").assign({ v4: 2, handle: "h" });
  const entry = await store.get(blockKey("10.0.0.0/31"));
  const kept = JSON.parse(
    entry?.value.replace(/"attributes":\[[^\]]*\]/, '"attributes":[{"releasedAt":"2026-01-01T00:00:00Z"}]') ?? "",
  );
  await store.put(blockKey("10.0.0.0/31"), JSON.stringify(kept));
  await store.delete(handleKey("h"));
  const early = await ipamOn(store, "a", { now: () => start + 1_200_000 }).autoAssign({ v4: 1, handle: "i" });
  assert.equal(early.shortfalls[0]?.kind, "full");
  const late = await ipamOn(store, "a", { now: () => start + 1_200_001 }).autoAssign({ v4: 2, handle: "i" });
  assert.deepEqual(texts(late.v4), ["10.0.0.0/31", "10.0.0.1/31"]);
  assert.deepEqual(await blockFaults(store), []);
});

Deno.test("a failing store ends one call and not the next", async () => {
  let isBroken = false;
  const store = new MemoryStore({
    beforeWrite: () => {
      if (isBroken) throw new Error("disk full");
    },
  });
  await putPool(store, "p", { cidr: "10.0.0.0/24" });
  const ipam = ipamOn(store, "a");
  isBroken = true;
  await assert.rejects(ipam.assign({ v4: 1, handle: "h" }), /disk full/);
  isBroken = false;
  assert.equal((await ipam.assign({ v4: 1, handle: "h" })).length, 1);
  assert.deepEqual(await leftovers(store), []);
});
