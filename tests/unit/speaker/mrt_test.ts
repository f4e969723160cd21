/** MRT files at the edge: a dump that holds nobody up, and a recording that ends when the disk is full. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { RouterCore } from "../../../src/bgp/rib/router.ts";
import { EMPTY_ATTRIBUTES } from "../../../src/bgp/wire/attributes.ts";
import { PLAIN_INTERNAL } from "../../../src/bgp/wire/options.ts";
import { ByteReader } from "../../../src/lib/bytes.ts";
import { Ip } from "../../../src/lib/ip.ts";
import { makeLog } from "../../../src/lib/log.ts";
import { systemClock } from "../../../src/store/expiry.ts";
import { makeMrt } from "../../../src/speaker/mrt.ts";
import { makeTaps, type TapPeer } from "../../../src/speaker/tap.ts";
import { announcement, peerConfig, sessionOf, speakerConfig } from "../bgp/rib/router_model.ts";

const PEER = peerConfig("a", "10.0.0.1");
const TAPPED: TapPeer = { name: "a", address: "10.0.0.1", as: 64512, localAs: 64512, link: undefined };

function makeScene() {
  const lines: string[] = [];
  const log = makeLog((level, message) => lines.push(`${level} ${message}`));
  const router = new RouterCore();
  router.configure(speakerConfig([PEER]));
  const taps = makeTaps();
  return { router, taps, lines, mrt: makeMrt({ router, taps, clock: systemClock, log }) };
}

async function withFolder(play: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "tortie-mrt-" });
  try {
    await play(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Type and subtype of each record. */
function recordsOf(bytes: Uint8Array): string[] {
  const reader = new ByteReader(bytes);
  const kinds: string[] = [];
  while (reader.left > 0) {
    reader.skip(4);
    kinds.push(`${reader.u16be()}/${reader.u16be()}`);
    reader.skip(reader.u32be());
  }
  return kinds;
}

async function until(what: string, isTrue: () => boolean): Promise<void> {
  for (const end = performance.now() + 10_000; !isTrue();) {
    if (performance.now() > end) assert.fail(`no ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

Deno.test("a dump of a large table lets others have their turn, and is whole when it has its name", () =>
  withFolder(async (folder) => {
    const { router, mrt } = makeScene();
    const id = router.peerId("a") ?? 0;
    router.peerUp(id, sessionOf(PEER));
    const attributes = { ...EMPTY_ATTRIBUTES, localPref: 100, nextHop: Ip.parse("10.0.0.1").bytes };
    const count = 200_000;
    for (let i = 0; i < count; i += 500) {
      const prefixes = Array.from(
        { length: 500 },
        (_, n) => `${20 + (i + n >> 16)}.${i + n >> 8 & 255}.${i + n & 255}.0/24`,
      );
      router.receiveUpdate(id, announcement(attributes, prefixes, PLAIN_INTERNAL));
    }
    router.settle();
    const path = join(folder, "table.mrt");
    let turns = 0, isDone = false;
    const ticker = setInterval(() => turns++, 1);
    const seen = new Set<string>();
    const dump = mrt.dump(path).then((result) => {
      isDone = true;
      return result;
    });
    while (!isDone) {
      for (const { name } of Deno.readDirSync(folder)) seen.add(name);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    clearInterval(ticker);
    const { octets } = await dump;
    assert.ok(turns > 10, `${turns} turns of others during the dump`);
    assert.ok(seen.has("table.mrt.part"));
    assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), ["table.mrt"]);
    const bytes = await Deno.readFile(path);
    assert.equal(bytes.length, octets);
    const kinds = recordsOf(bytes);
    assert.equal(kinds[0], "13/1");
    assert.equal(kinds.filter((kind) => kind === "13/2").length, count);
    assert.equal(kinds.length, count + 1);
  }));

Deno.test("a dump that cannot be written says why and leaves nothing behind", () =>
  withFolder(async (folder) => {
    const { mrt } = makeScene();
    await Deno.mkdir(join(folder, "taken"));
    await assert.rejects(mrt.dump(join(folder, "taken")), /os error/);
    await assert.rejects(mrt.dump(join(folder, "none", "table.mrt")), /No such file/);
    assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), ["taken"]);
  }));

Deno.test("a recording appends whole records, and goes on in the same file when it is begun again", () =>
  withFolder(async (folder) => {
    const { mrt, taps } = makeScene();
    const path = join(folder, "log.mrt");
    for (let round = 1; round <= 2; round++) {
      await mrt.record(path);
      taps.state(TAPPED, "Idle", "Connect");
      taps.message(TAPPED, true, new Uint8Array(19));
      assert.deepEqual(await mrt.record(undefined), { recording: null });
      taps.state(TAPPED, "Connect", "Active");
      assert.deepEqual(recordsOf(await Deno.readFile(path)), Array(round).fill(["17/5", "17/7"]).flat());
    }
    await assert.rejects(mrt.record(join(folder, "none", "log.mrt")), /No such file/);
    await mrt.close();
  }));

Deno.test("a full disk ends the recording, once, and nothing else", async () => {
  const { mrt, taps, lines } = makeScene();
  await mrt.record("/dev/full");
  taps.state(TAPPED, "Idle", "Connect");
  await until("word of the failure", () => lines.length > 0);
  taps.state(TAPPED, "Connect", "Active");
  await mrt.close();
  assert.deepEqual(lines, ["error Cannot write the MRT log; the recording ends"]);
});
