/** `ipam check` and `ipam show`: what they find and the shapes they answer in. */

import assert from "node:assert/strict";
import { checkIpam } from "../../../src/ipam/check.ts";
import { makeIpam } from "../../../src/ipam/ipam.ts";
import { showAddress, showBlocks, showPools } from "../../../src/ipam/show.ts";
import { storeSources } from "../../../src/ipam/sources.ts";
import { makeBlock } from "../../../src/ipam/stored/block.ts";
import { createBlock } from "../../../src/ipam/stored/block_store.ts";
import { createAffinity } from "../../../src/ipam/stored/affinity.ts";
import { raiseHandle } from "../../../src/ipam/stored/handle.ts";
import { Cidr } from "../../../src/lib/cidr.ts";
import { Ip } from "../../../src/lib/ip.ts";
import { blockKey, handleKey } from "../../../src/model/keys/build.ts";
import { MemoryStore } from "../../../src/store/memory.ts";
import { putPool, putReservation, seededRandom } from "./recording_store.ts";

/** Two blocks: a's with one own, one borrowed and one tunnel address; endpoints use the first two. */
async function scene() {
  const store = new MemoryStore();
  await putPool(store, "p", { cidr: "10.0.0.0/28", blockSize: 30 });
  const on = (name: string) =>
    makeIpam({
      store,
      clock: { now: () => 0 },
      random: seededRandom(1),
      node: { name, labels: {} },
      startIn: () => 0n,
    });
  await on("a").assign({ v4: 1, handle: "web", attributes: { node: "a" } });
  await on("b").assignIp(Ip.parse("10.0.0.1"), { handle: "db", attributes: { node: "b" } });
  await on("a").assignIp(Ip.parse("10.0.0.2"), { handle: "t", attributes: { node: "a", type: "ipipTunnelAddress" } });
  const pools = await storeSources(store).pools();
  const endpoints = [{ ip: "10.0.0.0", endpoint: "web" }, { ip: "10.0.0.1", endpoint: "db" }];
  const kinds = async (given = endpoints) =>
    (await checkIpam(store, { pools, endpoints: given })).map(({ kind, subject }) => `${kind} ${subject}`);
  return { store, pools, endpoints, kinds };
}

function blockAt(cidr: string, affinity = "host:z") {
  return makeBlock(Cidr.parse(cidr), { affinity, claimedAt: "2026-01-01T00:00:00Z", sequence: 1n });
}

Deno.test("a store in order has no findings", async () => {
  assert.deepEqual(await (await scene()).kinds(), []);
});

type Scene = Awaited<ReturnType<typeof scene>>;
const FAULTS: readonly (readonly [string, (scene: Scene) => Promise<unknown>, string])[] = [
  [
    "a block that cannot be read",
    ({ store }) => store.put(blockKey("10.0.0.12/30"), "{"),
    `corrupt ${blockKey("10.0.0.12/30")}`,
  ],
  ["a handle that cannot be read", ({ store }) => store.put(handleKey("x"), "["), `corrupt ${handleKey("x")}`],
  ["overlapping blocks", async ({ store }) => {
    await createBlock(store, blockAt("10.0.0.2/31"));
    await createAffinity(store, "z", Cidr.parse("10.0.0.2/31"));
  }, "overlapping-blocks 10.0.0.2/31"],
  [
    "a claim without a block",
    ({ store }) => createAffinity(store, "z", Cidr.parse("10.0.0.8/30")),
    "claim-without-block 10.0.0.8/30",
  ],
  [
    "a block without a claim",
    ({ store }) => createBlock(store, blockAt("10.0.0.8/30")),
    "block-without-claim 10.0.0.8/30",
  ],
  ["an unfinished claim", async ({ store }) => {
    await createBlock(store, blockAt("10.0.0.8/30"));
    await createAffinity(store, "z", Cidr.parse("10.0.0.8/30"));
  }, "claim-unfinished 10.0.0.8/30"],
  ["a handle that counts too much", ({ store }) => raiseHandle(store, "web", "10.0.0.0/30", 1), "handle-count web"],
  ["an address whose handle is lost", ({ store }) => store.delete(handleKey("web")), "address-without-handle web"],
];
for (const [what, breakIt, finding] of FAULTS) {
  Deno.test(`the check finds ${what}`, async () => {
    const broken = await scene();
    await breakIt(broken);
    const kinds = await broken.kinds();
    assert.ok(kinds.includes(finding), `${finding} is not among ${kinds.join(", ")}`);
  });
}

Deno.test("the check finds addresses that no endpoint uses, but not those of tunnels", async () => {
  assert.deepEqual(await (await scene()).kinds([{ ip: "10.0.0.0", endpoint: "web" }]), [
    "address-without-endpoint 10.0.0.1",
  ]);
});

Deno.test("the check finds an address that two endpoints use and one that nobody holds", async () => {
  const { kinds, endpoints } = await scene();
  const found = await kinds([
    ...endpoints,
    { ip: "10.0.0.1", endpoint: "copy" },
    { ip: "10.0.0.3", endpoint: "free" },
    { ip: "192.0.2.1", endpoint: "elsewhere" },
  ]);
  assert.deepEqual(found, ["two-endpoints 10.0.0.1", "endpoint-without-address 10.0.0.3"]);
});

Deno.test("the check finds a block that contradicts itself and one in no pool", async () => {
  const { store, kinds } = await scene();
  const entry = await store.get(blockKey("10.0.0.0/30"));
  await store.put(blockKey("10.0.0.0/30"), entry?.value.replace('"unallocated":[3]', '"unallocated":[3,0]') ?? "");
  assert.deepEqual(await kinds(), ["broken-block 10.0.0.0/30"]);
  const outside = await scene();
  await createBlock(outside.store, blockAt("192.0.2.0/30", "virtual:load-balancer"));
  assert.deepEqual(await outside.kinds(), ["outside-pools 192.0.2.0/30"]);
});

Deno.test("blocks are shown with what is used, free and borrowed", async () => {
  const { store } = await scene();
  assert.deepEqual(await showBlocks(store), [
    { cidr: "10.0.0.0/30", affinity: "host:a", used: 3, free: 1, borrowed: 1 },
  ]);
});

Deno.test("pools are shown with their size, however large", async () => {
  const { store } = await scene();
  await putPool(store, "q", { cidr: "fd00::/48" });
  assert.deepEqual(await showPools(store, await storeSources(store).pools()), [
    { pool: "p", cidr: "10.0.0.0/28", size: 16, used: 3, free: 13, blocks: 1 },
    {
      pool: "q",
      cidr: "fd00::/48",
      size: "1208925819614629174706176",
      used: 0,
      free: "1208925819614629174706176",
      blocks: 0,
    },
  ]);
});

Deno.test("an address is shown with who holds it, or why it is free", async () => {
  const { store, pools } = await scene();
  await putReservation(store, "r", ["10.0.0.9"]);
  const reservations = await storeSources(store).reservations();
  const show = (ip: string) => showAddress(store, pools, reservations, Ip.parse(ip));
  assert.deepEqual(await show("10.0.0.1"), {
    ip: "10.0.0.1",
    pool: "p",
    block: "10.0.0.0/30",
    affinity: "host:a",
    inUse: true,
    reserved: false,
    handle: "db",
    attributes: { node: "b" },
    why: "10.0.0.1 is in use, held under db",
  });
  assert.match((await show("10.0.0.3")).why, /free, in a block of host:a/);
  assert.match((await show("10.0.0.8")).why, /no host has claimed/);
  assert.match((await show("10.0.0.9")).why, /reserved/);
  assert.match((await show("192.0.2.1")).why, /in no pool/);
});
