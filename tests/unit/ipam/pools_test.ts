/** Which pools a node may use, and in which order a host looks through their blocks. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { blockCount, blockIndex, fnv1, inWalkOrder, startIndex, walkBlocks } from "../../../src/ipam/order.ts";
import { choosePools, type Pool, poolOf } from "../../../src/ipam/pools.ts";
import { storeSources, watchSources } from "../../../src/ipam/sources.ts";
import { Cidr } from "../../../src/lib/cidr.ts";
import { resourceKey } from "../../../src/model/keys/build.ts";
import { MemoryStore } from "../../../src/store/memory.ts";
import { putPool, putReservation } from "./recording_store.ts";

// deno-lint-ignore no-explicit-any
function pool(name: string, spec: any, more: object = {}): Pool {
  return poolOf({ metadata: { name }, spec, ...more } as Parameters<typeof poolOf>[0]);
}

const node = { name: "a", labels: { rack: "1", name: "hidden" } };
const wish = { family: 4, node, use: "Workload" } as const;

const REFUSALS: readonly (readonly [string, Pool, RegExp])[] = [
  ["disabled", pool("p", { cidr: "10.0.0.0/24", disabled: true }), /it is disabled/],
  ["of another rack", pool("p", { cidr: "10.0.0.0/24", nodeSelector: "rack == '2'" }), /"rack == '2'" does not select/],
  ["for tunnels only", pool("p", { cidr: "10.0.0.0/24", allowedUses: ["Tunnel"] }), /Tunnel, not Workload/],
  ["manual", pool("p", { cidr: "10.0.0.0/24", assignmentMode: "Manual" }), /Manual/],
  ["for a namespace", pool("p", { cidr: "10.0.0.0/24", namespaceSelector: "has(x)" }), /namespaceSelector/],
  ["with a broken selector", pool("p", { cidr: "10.0.0.0/24", nodeSelector: "rack ==" }), /does not select/],
  [
    "not allocatable",
    pool("p", { cidr: "10.0.0.0/24" }, { status: { conditions: [{ type: "Allocatable", status: "False" }] } }),
    /Allocatable/,
  ],
];
for (const [what, refused, reason] of REFUSALS) {
  Deno.test(`a pool that is ${what} is passed over with its reason`, () => {
    const { pools, reasons } = choosePools([refused], wish);
    assert.deepEqual(pools, []);
    assert.match(reasons.join(), reason);
  });
}

Deno.test("a nodeSelector sees the node's labels and always its name", () => {
  const byName = pool("p", { cidr: "10.0.0.0/24", nodeSelector: "name == 'a' && rack == '1'" });
  assert.equal(choosePools([byName], wish).pools.length, 1);
});

Deno.test("named pools are used in the given order whatever they select, and must be open", () => {
  const pools = [
    pool("p1", { cidr: "10.0.0.0/24", nodeSelector: "!all()" }),
    pool("p2", { cidr: "10.0.1.0/24", assignmentMode: "Manual" }),
    pool("p3", { cidr: "10.0.2.0/24", disabled: true }),
  ];
  const chosen = choosePools(pools, { ...wish, requested: ["10.0.1.0/24", "p1"] }).pools;
  assert.deepEqual(chosen.map(({ name }) => name), ["p2", "p1"]);
  assert.throws(() => choosePools(pools, { ...wish, requested: ["p3"] }), /p3: it is disabled/);
  assert.throws(() => choosePools(pools, { ...wish, requested: ["p9"] }), /p9: it does not exist; the pools are p1/);
});

Deno.test("the hash of a name is FNV-1", () => {
  // Published test vectors of the 32-bit FNV-1 hash.
  assert.equal(fnv1(""), 0x811c9dc5);
  assert.equal(fnv1("a"), 0x050c5d7e);
  assert.equal(fnv1("foobar"), 0x31f0b262);
});

Deno.test("hosts with similar names start in different places", () => {
  const starts = new Set(Array.from({ length: 26 }, (_, i) => startIndex(`rack-${i}`, 1024n)));
  assert.ok(starts.size >= 22, `only ${starts.size} different starts of 26`);
});

Deno.test("a walk comes by every block once, from its start round to the beginning", () => {
  fc.assert(fc.property(fc.nat(63), fc.array(fc.integer({ min: 24, max: 32 }), { maxLength: 3 }), (start, lengths) => {
    const p = pool("p", { cidr: "10.0.0.0/24", blockSize: 30 });
    const reserved = lengths.map((length, i) => Cidr.of(Cidr.parse(`10.0.0.${i * 77}/32`).ip, length));
    const walked = [...walkBlocks(p, BigInt(start), reserved)];
    const expected = Array.from({ length: 64 }, (_, i) => Cidr.of(p.cidr.ip.plus((start + i) % 64 * 4), 30))
      .filter((cidr) => !reserved.some((prefix) => prefix.contains(cidr)));
    assert.deepEqual(walked.map(String), expected.map(String));
    assert.deepEqual(
      inWalkOrder(p, BigInt(start), [...expected].reverse(), (c) => c).map(String),
      expected.map(String),
    );
  }));
});

Deno.test("a walk through 2^74 blocks with most of them reserved takes no time", () => {
  const p = pool("p", { cidr: "fd00::/48" });
  assert.equal(blockCount(p), 1n << 74n);
  const reserved = [Cidr.parse("fd00::/49"), Cidr.parse("fd00:0:0:8000::/50")];
  const [first] = walkBlocks(p, 5n, reserved);
  assert.equal(first?.toString(), "fd00:0:0:c000::/122");
  assert.equal(blockIndex(p, Cidr.parse("fd00::40/122").ip), 1n);
});

Deno.test("pools and reservations are read each time, or kept by a watch, and broken ones are left out", async () => {
  const store = new MemoryStore();
  await putPool(store, "b", { cidr: "10.1.0.0/24" });
  await putPool(store, "a", { cidr: "10.0.0.0/24" });
  await putPool(store, "c", { cidr: "nonsense" });
  await store.put(resourceKey("IPPool", "d"), "{");
  await putReservation(store, "r", ["10.0.0.1", "10.0.0.8/29", "nonsense"]);
  const watched = watchSources(store);
  for (const sources of [storeSources(store), watched]) {
    assert.deepEqual((await sources.pools()).map(({ name }) => name), ["a", "b"]);
    assert.deepEqual((await sources.reservations()).map(String), ["10.0.0.1/32", "10.0.0.8/29"]);
  }
  await store.delete(resourceKey("IPPool", "a"));
  await Promise.resolve();
  assert.deepEqual((await watched.pools()).map(({ name }) => name), ["b"]);
  watched.close();
});
