/**
 * Recorded inputs of a router, replayed: the outputs are those of the recording, octet by octet.
 *
 * `three_nodes.jsonl` was recorded from a node of three in a mesh with a rack switch; `three_nodes.golden` is what came out
 * of it, as text. UPDATE_GOLDEN=1 records both anew.
 */

import assert from "node:assert/strict";
import { record, replay } from "../../src/bgp/rib/recorder.ts";
import type { FibNexthop, FibSink, Router } from "../../src/bgp/rib/interface.ts";
import { makeRouter } from "../../src/bgp/rib/router.ts";
import { EMPTY_ATTRIBUTES } from "../../src/bgp/wire/attributes.ts";
import { Ip } from "../../src/lib/ip.ts";
import {
  announcement,
  fibRoute,
  peerConfig,
  sessionOf,
  speakerConfig,
  withdrawal,
} from "../unit/bgp/rib/router_model.ts";

/** Writes down everything that comes out of a router. */
class Transcript implements FibSink {
  readonly lines: string[] = [];
  readonly fib = this;

  bytes(peer: number, bytes: Uint8Array): void {
    this.lines.push(`peer ${peer} ${Array.from(bytes, (octet) => octet.toString(16).padStart(2, "0")).join("")}`);
  }

  install(_family: 4 | 6, address: Uint8Array, length: number, metric: number, nexthops: readonly FibNexthop[]): void {
    const ways = nexthops.map(({ gateway, ifindex }) => `${gateway ? Ip.fromBytes(gateway) : "-"}%${ifindex}`);
    this.lines.push(`fib + ${Ip.fromBytes(address)}/${length} metric ${metric} ${ways.join(" ")}`);
  }

  uninstall(_family: 4 | 6, address: Uint8Array, length: number, metric: number): void {
    this.lines.push(`fib - ${Ip.fromBytes(address)}/${length} metric ${metric}`);
  }
}

/** What happens to a node: it starts, learns, loses a peer, gets a new configuration. */
function story(router: Router, out: Transcript): void {
  const a = peerConfig("mesh.a", "10.0.0.1", { hasCalicoRules: true });
  const b = peerConfig("mesh.b", "10.0.0.2", { hasCalicoRules: true });
  const tor = peerConfig("global.tor", "10.0.0.9", { hasCalicoRules: true, as: 65001, isSameAs: false });
  const base = speakerConfig([a, b, tor]);
  const config = {
    ...base,
    pools: [{ cidr: "172.17.0.0/16", isExportDisabled: false, encapsulation: "none", isProgrammedBySpeaker: true }],
    aggregates: [{ cidr: "172.17.8.0/26", hasBlackhole: true }],
    fib: { ...base.fib, isInstalling: true, isLearning: true },
  } as const;
  const give = () => {
    for (const peer of [1, 2, 3]) {
      for (let bytes = router.nextBytes(peer, 4096); bytes; bytes = router.nextBytes(peer, 4096)) {
        out.bytes(peer, bytes);
      }
    }
    while (router.drainFib(out, 100));
  };
  const path = (nextHop: string) => ({ ...EMPTY_ATTRIBUTES, localPref: 2147482623, nextHop: Ip.parse(nextHop).bytes });
  router.configure(config);
  router.setLink(2, "eth0", true);
  router.setAddress(Ip.parse("10.0.0.254").bytes, 2);
  router.learn(fibRoute("10.0.0.0/24", { protocol: 2, scope: 253, dev: 2 }));
  router.learn(fibRoute("172.17.8.0/26", { type: 6, protocol: 80 }));
  router.learn(fibRoute("172.17.99.0/26", { protocol: 12, via: "10.0.0.4", dev: 2 }));
  for (const [i, peer] of [a, b, tor].entries()) router.peerUp(i + 1, sessionOf(peer));
  give();
  router.receiveUpdate(1, announcement(path("10.0.0.1"), ["172.17.9.0/26", "172.17.10.0/26"], sessionOf(a).wire));
  router.receiveUpdate(2, announcement(path("10.0.0.2"), ["172.17.10.0/26"], sessionOf(b).wire));
  const external = {
    ...EMPTY_ATTRIBUTES,
    asPath: [{ type: 2, asns: [65001] }],
    nextHop: Ip.parse("10.0.0.9").bytes,
  } as const;
  router.receiveUpdate(3, announcement(external, ["0.0.0.0/0"], sessionOf(tor).wire));
  give();
  router.sweepFib();
  router.receiveUpdate(2, withdrawal(["172.17.10.0/26"]));
  give();
  router.peerDown(1, "hold timer expired", 1);
  router.learn(fibRoute("172.17.8.5/32", { protocol: 3, dev: 5, metric: 512 }));
  give();
  router.peerUp(1, sessionOf(a));
  router.receiveUpdate(1, Uint8Array.of(0, 0, 0, 0));
  router.refresh(3, 3, true);
  give();
  router.configure({ ...config, pools: [] });
  give();
}

const recording = new URL("three_nodes.jsonl", import.meta.url);
const golden = new URL("three_nodes.golden", import.meta.url);

if (Deno.env.get("UPDATE_GOLDEN")) {
  const lines: string[] = [];
  const out = new Transcript();
  story(record(makeRouter(), (line) => lines.push(line)), out);
  Deno.writeTextFileSync(recording, lines.join("\n") + "\n");
  Deno.writeTextFileSync(golden, out.lines.join("\n") + "\n");
}

Deno.test("a recording of a node gives the outputs that it gave when it was recorded", () => {
  const out = new Transcript();
  replay(Deno.readTextFileSync(recording).split("\n"), makeRouter(), out);
  assert.equal(out.lines.join("\n") + "\n", Deno.readTextFileSync(golden));
});

Deno.test("what a router is recorded to do now, another one does again", () => {
  const lines: string[] = [];
  const first = new Transcript(), second = new Transcript();
  story(record(makeRouter(), (line) => lines.push(line)), first);
  replay(lines, makeRouter(), second);
  assert.ok(first.lines.length > 10);
  assert.deepEqual(second.lines, first.lines);
});

Deno.test("a line that is no call is refused by its number", () => {
  const lines = ['["settle"]', '["shutdown"]'];
  assert.throws(() => replay(lines, makeRouter(), new Transcript()), /Cannot replay line 2: "shutdown"/);
});
