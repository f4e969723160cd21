/** A station that reads when it likes: what it makes of the stream is in the end what the router's tables hold. */

import assert from "node:assert/strict";
import { RouterCore } from "../../../src/bgp/rib/router.ts";
import { EMPTY_ATTRIBUTES } from "../../../src/bgp/wire/attributes.ts";
import { PLAIN_INTERNAL } from "../../../src/bgp/wire/options.ts";
import { Ip } from "../../../src/lib/ip.ts";
import { makeLog } from "../../../src/lib/log.ts";
import { makeBmp } from "../../../src/speaker/bmp.ts";
import { systemClock } from "../../../src/store/expiry.ts";
import { makeTaps, type TapLink, type TapPeer } from "../../../src/speaker/tap.ts";
import { announcement, peerConfig, PeerView, sessionOf, speakerConfig, withdrawal } from "../bgp/rib/router_model.ts";

const LOC_RIB = "3";
const NOTHING = new Uint8Array(0);
const FILTER = {
  name: "low-only",
  importV4: [{ action: "Reject", cidr: "10.128.0.0/9", matchOperator: "In" }],
  importV6: [],
  exportV4: [],
  exportV6: [],
} as const;

/** What a station knows: for each subject and view the routes. */
class Picture {
  readonly views = new Map<string, PeerView>();
  ups = 0;
  octets = 0;
  #rest: Uint8Array = NOTHING;

  take(bytes: Uint8Array): void {
    this.octets += bytes.length;
    const all = new Uint8Array(this.#rest.length + bytes.length);
    all.set(this.#rest);
    all.set(bytes, this.#rest.length);
    const view = new DataView(all.buffer);
    let at = 0;
    for (; at + 6 <= all.length;) {
      assert.equal(all[at], 3, "a BMP message begins here");
      const length = view.getUint32(at + 1);
      if (at + length > all.length) break;
      this.#message(all.subarray(at, at + length));
      at += length;
    }
    this.#rest = all.slice(at);
  }

  #message(message: Uint8Array): void {
    const type = message[5], peerType = message[6], flags = message[7] ?? 0;
    if (type === 4 || type === 5) return;
    const subject = peerType === 3 ? LOC_RIB : `${Ip.fromBytes(message.subarray(28, 32))}`;
    if (type === 3) {
      this.ups++;
      for (const name of ["pre", "post"]) this.views.set(`${subject} ${name}`, new PeerView(PLAIN_INTERNAL));
    } else if (type === 2) { for (const name of ["pre", "post"]) this.views.delete(`${subject} ${name}`); }
    else if (type === 0) {
      const view = this.views.get(`${subject} ${flags & 0x40 ? "post" : "pre"}`);
      assert.ok(view, `routes of ${subject} come between its Peer Up and its Peer Down`);
      view.take(message.slice(48));
    }
  }

  /** The prefixes of a view with the first AS of their paths, sorted. */
  routes(key: string): string[] | undefined {
    const view = this.views.get(key);
    return view && [...view.routes].map(([prefix, { asPath }]) => `${prefix} ${asPath[0]?.asns[0] ?? ""}`).sort();
  }
}

/** A router with two peers, told to a station on this machine. */
function makeScene() {
  const lines: string[] = [];
  const log = makeLog((level, message) => lines.push(`${level} ${message}`));
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const configs = [
    peerConfig("a", "10.0.0.1", { importFilters: [FILTER.name] }),
    peerConfig("b", "10.0.0.2", { importFilters: [FILTER.name] }),
  ];
  const config = speakerConfig(configs, {
    filters: [FILTER],
    bmp: { address: "127.0.0.1", port: (listener.addr as Deno.NetAddr).port },
  });
  const router = new RouterCore();
  router.configure(config);
  const taps = makeTaps();
  const peers = configs.map((peer) => ({ ...peer, link: undefined as TapLink | undefined }));
  const bmp = makeBmp({ router, taps, clock: systemClock, log, peers: () => peers, statusChanged: () => {} });
  bmp.configure(config);
  let isClosed = false;
  const at = (index: number) => {
    const peer = peers[index];
    assert.ok(peer);
    return peer;
  };
  return {
    router,
    listener,
    lines,
    close() {
      if (isClosed) return;
      isClosed = true;
      bmp.close();
      listener.close();
    },
    up(index: number) {
      const peer = at(index);
      const id = router.peerId(peer.name) ?? 0;
      const facts = sessionOf(peer);
      router.peerUp(id, facts);
      const address = { address: facts.peerAddress, port: 179 };
      const local = { address: facts.localAddress, port: 1790 };
      const open = { openSent: NOTHING, openReceived: NOTHING };
      peer.link = { id, local, remote: address, wire: facts.wire, routerId: facts.routerId, since: 0, ...open };
      taps.up(peer as TapPeer, peer.link);
    },
    down(index: number) {
      const peer = at(index), { link } = peer;
      assert.ok(link);
      router.peerDown(link.id, "gone");
      peer.link = undefined;
      taps.down(peer, link, { isLost: true });
    },
    say(index: number, body: Uint8Array) {
      const peer = at(index), { link } = peer;
      assert.ok(link);
      assert.equal(router.receiveUpdate(link.id, body).fault, undefined);
      taps.update(peer, link, body);
    },
  };
}

const prefixAt = (n: number) => `10.${n & 128 ? 128 + (n >> 8 & 63) : n >> 8 & 63}.${n & 255}.0/24`;
const announce = (as: number, prefixes: string[]) =>
  announcement(
    {
      ...EMPTY_ATTRIBUTES,
      asPath: [{ type: 2, asns: [as] }],
      localPref: 100,
      nextHop: Ip.parse("10.0.0.7").bytes,
    },
    prefixes,
    PLAIN_INTERNAL,
  );

/** What the tables hold in a view, as a picture has it. */
function expected({ router }: ReturnType<typeof makeScene>, name: string, view: "pre" | "post"): string[] {
  const rows = router.routes(name === LOC_RIB ? {} : { received: name });
  return rows
    .filter((row) =>
      name === LOC_RIB ? row.best : view === "pre" || !row.prefix.startsWith("10.1") || isLow(row.prefix)
    )
    .map((row) => `${row.prefix} ${row.asPath[0] ?? ""}`).sort();
}
const isLow = (prefix: string) => Number(prefix.split(".")[1]) < 128;

async function until(what: string, isTrue: () => boolean): Promise<void> {
  for (const end = performance.now() + 20_000; !isTrue();) {
    if (performance.now() > end) assert.fail(`no ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function readAll(connection: Deno.Conn, picture: Picture): Promise<void> {
  const buffer = new Uint8Array(1 << 18);
  for (;;) {
    const count = await connection.read(buffer).catch(() => null);
    if (count === null) return;
    picture.take(buffer.slice(0, count));
  }
}

function isSame(picture: Picture, scene: ReturnType<typeof makeScene>): boolean {
  const keys = [["a", "10.0.0.1"], ["b", "10.0.0.2"]] as const;
  return picture.routes(`${LOC_RIB} pre`)?.join() === expected(scene, LOC_RIB, "pre").join() &&
    keys.every(([name, address]) =>
      (["pre", "post"] as const).every((view) =>
        (picture.routes(`${address} ${view}`) ?? []).join() === expected(scene, name, view).join()
      )
    );
}

Deno.test("a station that reads at once has the same picture as the router after every kind of change", async () => {
  const scene = makeScene();
  const picture = new Picture();
  try {
    scene.up(0);
    scene.say(0, announce(1, [prefixAt(1), prefixAt(2), prefixAt(129)]));
    const connection = await scene.listener.accept();
    const reading = readAll(connection, picture);
    await until("dump", () => isSame(picture, scene) && picture.ups === 2);
    scene.up(1);
    scene.say(1, announce(2, [prefixAt(2), prefixAt(3), prefixAt(130)]));
    scene.router.settle();
    await until("second peer", () => isSame(picture, scene) && picture.ups === 3);
    scene.say(0, withdrawal([prefixAt(2)]));
    scene.say(1, announce(7, [prefixAt(3)]));
    scene.router.settle();
    await until("withdrawal", () => isSame(picture, scene));
    assert.ok(picture.routes(`${LOC_RIB} pre`)?.includes(`${prefixAt(2)} 2`));
    scene.down(0);
    scene.router.settle();
    await until("end of a peer", () => isSame(picture, scene));
    assert.equal(picture.views.has("10.0.0.1 pre"), false);
    assert.equal(expected(scene, "b", "pre").length, 3);
    scene.close();
    await reading;
    connection.close();
  } finally {
    scene.close();
  }
});

Deno.test("a station that stops reading costs a bounded buffer, and has the whole picture once it reads again", async () => {
  const scene = makeScene();
  const picture = new Picture();
  try {
    const connection = await scene.listener.accept();
    scene.up(0);
    scene.up(1);
    let spoken = 0, behind = 0;
    for (let round = 0; round < 60; round++) {
      for (let n = 0; n < 4_000; n++) {
        const body = announce(1 + (round * 7 + n) % 50, [prefixAt((n + round) % 1_500)]);
        scene.say(n & 1, body);
        spoken += 2 * (body.length + 19 + 48);
      }
      scene.router.settle();
      await new Promise((resolve) => setTimeout(resolve, 0));
      if (scene.lines.includes("debug The station does not keep up") && ++behind === 3) break;
    }
    assert.ok(scene.lines.includes("debug The station does not keep up"), "the test has to fill the buffers");
    assert.ok(!scene.lines.includes("warn The BMP station is not there"), "and the connection stands");
    const reading = readAll(connection, picture);
    await until("picture", () => isSame(picture, scene));
    assert.ok(expected(scene, LOC_RIB, "pre").length > 500);
    assert.ok(picture.octets < spoken, `${picture.octets} octets for ${spoken} that were said`);
    scene.say(0, announce(9, [prefixAt(5)]));
    scene.router.settle();
    await until("news", () => isSame(picture, scene));
    scene.close();
    await reading;
    connection.close();
  } finally {
    scene.close();
  }
});
