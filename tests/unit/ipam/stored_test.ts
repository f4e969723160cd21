/** What is stored: JSON with long integers, blocks, affinities, handles, settings. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { IpamError } from "../../../src/ipam/error.ts";
import { parseAffinityState } from "../../../src/ipam/stored/affinity.ts";
import {
  assignNext,
  assignOrdinal,
  type Block,
  checkOwner,
  countHeld,
  formatBlock,
  isEmptyBlock,
  makeBlock,
  nextVersion,
  ordinalsHeld,
  ownerOf,
  parseBlock,
  releaseOrdinals,
} from "../../../src/ipam/stored/block.ts";
import { configureIpam, parseIpamConfig, readIpamConfig } from "../../../src/ipam/stored/config.ts";
import { raiseHandle, readHandle, settleHandle, takeBackRaise } from "../../../src/ipam/stored/handle.ts";
import { createBlock } from "../../../src/ipam/stored/block_store.ts";
import { formatJson, parseJsonObject, toBigInt } from "../../../src/ipam/stored/json64.ts";
import { blockFault } from "../../../src/ipam/check.ts";
import { Cidr } from "../../../src/lib/cidr.ts";
import { MemoryStore } from "../../../src/store/memory.ts";
import { handleKey, ipamConfigKey } from "../../../src/model/keys/build.ts";

const SEQUENCE = 1795294501000000004n;

function block(cidr = "10.0.0.0/28"): Block {
  return makeBlock(Cidr.parse(cidr), { affinity: "host:a", claimedAt: "2026-01-01T00:00:00Z", sequence: SEQUENCE });
}

Deno.test("integers of any size and everything else in JSON text are written back as they were", () => {
  const text = '{"a":1795294501000000004,"b":[-9007199254740993,1],"c":"x:1795294501000000004,","d":{"e":1.5},' +
    '"f":"\\"1795294501000000004","g":123456789012345680000}';
  assert.equal(formatJson(parseJsonObject(text)), text);
  assert.equal(toBigInt(parseJsonObject(text).a), SEQUENCE);
  assert.equal(toBigInt(parseJsonObject(text).c), undefined);
  fc.assert(fc.property(fc.dictionary(fc.string(), fc.oneof(fc.jsonValue(), fc.bigInt().map(String))), (value) => {
    const json = JSON.stringify(value);
    fc.pre(!json.includes("\\u0001int:") && !/[0-9]e|-0/.test(json));
    assert.deepEqual(JSON.parse(formatJson(parseJsonObject(json))), JSON.parse(json));
  }));
});

Deno.test("text that is no JSON object is refused", () => {
  for (const text of ["", "[]", "null", "1", '"x"', "{"]) assert.throws(() => parseJsonObject(text), SyntaxError);
});

Deno.test("a block read and written keeps members that are not known and long sequence numbers", () => {
  const text = '{"cidr":"10.0.0.0/30","affinity":"host:a","affinity_claim_time":"2026-11-21T20:55:01Z",' +
    '"allocations":[0,null,null,1],"unallocated":[2,1],"attributes":[{"handle_id":"h","secondary":{"node":"a"},' +
    '"alternateOwnerAttrs":{"node":"b"}},{"releasedAt":"2026-11-21T20:55:02Z"}],' +
    '"sequenceNumber":1795294501000000004,"sequenceNumberForAllocation":{"0":1795294501000000001,"3":1795294501000000003},' +
    '"strictAffinity":false,"newer":{"at":1795294501000000009},"deleted":false}';
  const read = parseBlock(text, "key");
  assert.equal(formatBlock(read), text);
  assert.equal(read.sequence, SEQUENCE);
  assert.equal(formatBlock(nextVersion(read)), text.replace("01000000004,", "01000000005,"));
  assert.equal(isEmptyBlock(read), false);
});

Deno.test("a block that older nodes wrote, with nulls and without sequence numbers, is read", () => {
  const read = parseBlock(
    '{"cidr":"10.0.0.0/31","affinity":null,"strictAffinity":false,"allocations":[0,null],"unallocated":[1],' +
      '"attributes":[{"handle_id":null,"secondary":null}],"sequenceNumberForAllocation":null}',
    "key",
  );
  assert.equal(read.affinity, null);
  assert.equal(read.sequence, 0n);
  const again = assignNext(read, 1, {}).block;
  assert.deepEqual(again.allocations, [0, 0], "an owner of nothing is the same whether absent or null");
  assert.match(formatBlock(nextVersion(again)), /"sequenceNumber":1,"sequenceNumberForAllocation":\{"1":0\}/);
});

const BROKEN: readonly (readonly [string, string])[] = [
  ["no JSON", "{"],
  ["no CIDR", '{"cidr":"x"}'],
  ["a huge CIDR", '{"cidr":"10.0.0.0/8","allocations":[],"unallocated":[],"attributes":[]}'],
  ["too few allocations", '{"cidr":"10.0.0.0/31","allocations":[null],"unallocated":[0],"attributes":[]}'],
  ["an index past the attributes", '{"cidr":"10.0.0.0/32","allocations":[0],"unallocated":[],"attributes":[]}'],
  ["an ordinal outside", '{"cidr":"10.0.0.0/32","allocations":[null],"unallocated":[1],"attributes":[]}'],
];
for (const [what, text] of BROKEN) {
  Deno.test(`a block with ${what} is refused with its key`, () => {
    assert.throws(
      () => parseBlock(text, "/calico/x"),
      (error) => error instanceof IpamError && error.kind === "corrupt" && error.message.includes("/calico/x"),
    );
  });
}

Deno.test("addresses are given longest-free first and reserved ones stay in their place", () => {
  let now = assignNext(block(), 3, { handle: "h" }).block;
  now = releaseOrdinals(now, [1, 0]).block;
  assert.deepEqual(now.unallocated.slice(-2), [1, 0]);
  const { block: after, ips } = assignNext(now, 2, { handle: "i" }, (ip) => ip.toString() === "10.0.0.3");
  assert.deepEqual(ips.map(String), ["10.0.0.4", "10.0.0.5"]);
  assert.deepEqual(after.unallocated, [3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 1, 0]);
});

Deno.test("an address that is held cannot be taken, and says whose it is", () => {
  const held = assignOrdinal(block(), 5, { handle: "h", attributes: { node: "a" } });
  assert.ok(held);
  assert.equal(assignOrdinal(held, 5, { handle: "i" }), undefined);
  assert.deepEqual(ownerOf(held, 5), { handle: "h", attributes: { node: "a" } });
  assert.equal(ownerOf(held, 6), undefined);
});

Deno.test("any assignments and releases keep a block consistent and its text readable", () => {
  const step = fc.oneof(
    fc.record({ give: fc.integer({ min: 1, max: 4 }), handle: fc.constantFrom("h1", "h2", "h3", "") }),
    fc.record({ take: fc.nat(15), handle: fc.constantFrom("h1", "h2") }),
    fc.record({ free: fc.array(fc.nat(15), { maxLength: 5 }) }),
  );
  fc.assert(fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
    let now = block();
    for (const next of steps) {
      if ("give" in next) now = assignNext(now, next.give, { handle: next.handle }).block;
      else if ("take" in next) now = assignOrdinal(now, next.take, { handle: next.handle }) ?? now;
      else now = releaseOrdinals(now, next.free).block;
      assert.equal(blockFault(now), undefined);
      assert.equal(new Set(now.allocations.filter((index) => index !== null)).size, now.attributes.length);
      assert.equal(countHeld(now, "h1"), ordinalsHeld(now, "h1").length);
      const { stored: _, ...read } = parseBlock(formatBlock(now), "key");
      const { stored: _own, ...own } = now;
      assert.deepEqual(read, own);
    }
  }));
});

Deno.test("a handle that could not be read back from its key is refused", () => {
  for (const owner of [{ handle: "a/b" }, { handle: "a\u0001" }, { attributes: { pod: "a\nb" } }]) {
    assert.throws(() => checkOwner(owner), (error) => error instanceof IpamError && error.kind === "config");
  }
  checkOwner({ handle: "net.0123456789ab", attributes: { node: "a", note: "ä" } });
});

Deno.test("an affinity without a state counts as confirmed", () => {
  const values = ["", "{}", '{"state":""}', '{"state":"confirmed"}', "no json"];
  for (const value of values) assert.equal(parseAffinityState(value), "confirmed", value);
  assert.equal(parseAffinityState('{"state":"pending","deleted":false}'), "pending");
  assert.equal(parseAffinityState('{"state":"pendingDeletion"}'), "pendingDeletion");
});

Deno.test("settings that are absent allow all, settings that are there must say so", async () => {
  const store = new MemoryStore();
  assert.deepEqual(await readIpamConfig(store), {
    strictAffinity: false,
    autoAllocateBlocks: true,
    maxBlocksPerHost: 0,
  });
  assert.equal(parseIpamConfig('{"strict_affinity":true}').autoAllocateBlocks, false);
  await configureIpam(store, { strictAffinity: true, maxBlocksPerHost: 3 });
  const entry = await store.get(ipamConfigKey);
  assert.equal(entry?.value, '{"strict_affinity":true,"auto_allocate_blocks":true,"maxBlocksPerHost":3}');
});

Deno.test("settings of newer nodes are kept when ours are changed", async () => {
  const store = new MemoryStore();
  await store.put(ipamConfigKey, '{"auto_allocate_blocks":true,"ipCooldownSeconds":30}');
  await configureIpam(store, { strictAffinity: true });
  assert.match((await store.get(ipamConfigKey))?.value ?? "", /"ipCooldownSeconds":30/);
});

Deno.test("settings that contradict each other are refused and not written", async () => {
  const store = new MemoryStore();
  for (const change of [{ maxBlocksPerHost: 2 }, { autoAllocateBlocks: false }, { maxBlocksPerHost: -1 }]) {
    await assert.rejects(configureIpam(store, change), { kind: "config" });
  }
  assert.equal(await store.get(ipamConfigKey), undefined);
});

Deno.test("a raised handle is taken back to what it was, member for member", async () => {
  const store = new MemoryStore();
  const text = '{"block":{"10.0.0.0/28":2},"deleted":false,"newer":true}';
  await store.put(handleKey("h"), text);
  await takeBackRaise(store, await raiseHandle(store, "h", "10.0.0.16/28", 1));
  assert.equal((await store.get(handleKey("h")))?.value, text);
  await takeBackRaise(store, await raiseHandle(store, "new", "10.0.0.16/28", 1));
  assert.equal(await readHandle(store, "new"), undefined);
});

Deno.test("a handle that counts wrong is set right and the block is written to fence off what is under way", async () => {
  const store = new MemoryStore();
  const before = await createBlock(store, assignNext(block(), 2, { handle: "h" }).block);
  await store.put(handleKey("h"), '{"block":{"10.0.0.0/28":7,"10.9.0.0/28":1},"deleted":false}');
  assert.equal(await settleHandle(store, "h", "10.0.0.0/28"), true);
  assert.equal((await readHandle(store, "h"))?.counts.get("10.0.0.0/28"), 2);
  assert.notEqual((await store.get(before?.entry.key ?? ""))?.revision, before?.entry.revision);
  assert.equal(await settleHandle(store, "h", "10.9.0.0/28"), true);
  assert.equal(await settleHandle(store, "h", "10.0.0.0/28"), false);
  assert.deepEqual([...(await readHandle(store, "h"))?.counts ?? []], [["10.0.0.0/28", 2]]);
});
