/** The router with Calico's rules, the kernel's FIB, slow peers and changes of configuration. */

import assert from "node:assert/strict";
import type { SpeakerConfig } from "../../../../src/bgp/config.ts";
import type { Router } from "../../../../src/bgp/rib/interface.ts";
import { makeRouter } from "../../../../src/bgp/rib/router.ts";
import { EMPTY_ATTRIBUTES, type PathAttributes } from "../../../../src/bgp/wire/attributes.ts";
import { PLAIN_INTERNAL } from "../../../../src/bgp/wire/options.ts";
import { Ip } from "../../../../src/lib/ip.ts";
import {
  announcement,
  fibRoute,
  MapFib,
  peerConfig,
  PeerView,
  sessionOf,
  speakerConfig,
  withdrawal,
} from "./router_model.ts";

const A = peerConfig("mesh.a", "10.0.0.1", { hasCalicoRules: true });
const B = peerConfig("mesh.b", "10.0.0.2", { hasCalicoRules: true });
const TOR = peerConfig("global.tor", "10.0.0.9", { hasCalicoRules: true, as: 65001, isSameAs: false });

const POOL = {
  cidr: "172.17.0.0/16",
  isExportDisabled: false,
  encapsulation: "none",
  isProgrammedBySpeaker: true,
} as const;

/** A node's configuration: pool, own block, FIB. */
function nodeConfig(change: Partial<SpeakerConfig> = {}): SpeakerConfig {
  const base = speakerConfig([A, B, TOR]);
  return {
    ...base,
    pools: [POOL],
    aggregates: [{ cidr: "172.17.8.0/26", hasBlackhole: true }],
    fib: { ...base.fib, isInstalling: true, isLearning: true, nodeNetworks: ["10.0.0.0/24"] },
    ...change,
  };
}

/** A node whose links and connected network are known. */
function makeNode(config = nodeConfig()): Router {
  const router = makeRouter();
  router.configure(config);
  router.setLink(2, "eth0", true);
  router.setLink(3, "cali1", true);
  router.setLink(7, "tunl0", true);
  router.setAddress(Ip.parse("10.0.0.254").bytes, 2);
  router.learn(fibRoute("10.0.0.0/24", { protocol: 2, scope: 253, dev: 2 }));
  router.learn(fibRoute("10.5.0.0/16", { via: "10.0.0.7", dev: 2, metric: 20 }));
  return router;
}

function path(nextHop: string, change: Partial<PathAttributes> = {}): PathAttributes {
  return { ...EMPTY_ATTRIBUTES, localPref: 2147482623, nextHop: Ip.parse(nextHop).bytes, ...change };
}

function up(router: Router, ...peers: (typeof A)[]): PeerView[] {
  return peers.map((peer) => {
    const session = sessionOf(peer);
    router.peerUp(router.peerId(peer.name)!, session);
    return new PeerView(session.wire);
  });
}

function send(router: Router, peer: typeof A, attributes: PathAttributes, ...prefixes: string[]): void {
  const result = router.receiveUpdate(
    router.peerId(peer.name)!,
    announcement(attributes, prefixes, sessionOf(peer).wire),
  );
  assert.equal(result.fault, undefined);
}

function drain(router: Router, peer: typeof A, view: PeerView): string[] {
  view.drain(router, router.peerId(peer.name)!);
  return [...view.routes.keys()].sort();
}

function install(router: Router, fib: MapFib): Record<string, string> {
  for (let rounds = 0; router.drainFib(fib, 3) && rounds < 1000; rounds++);
  return Object.fromEntries(fib.routes);
}

Deno.test("a node tells its own block and not the workloads in it", () => {
  const router = makeNode();
  const [a, tor] = up(router, A, TOR) as [PeerView, PeerView];
  router.learn(fibRoute("172.17.8.0/26", { type: 6, protocol: 80 }));
  router.learn(fibRoute("172.17.8.2/32", { protocol: 3, scope: 253, dev: 3 }));
  router.learn(fibRoute("192.0.2.0/24", { via: "10.0.0.3", dev: 2 }));
  assert.deepEqual(drain(router, A, a), ["172.17.8.0/26"]);
  assert.deepEqual(drain(router, TOR, tor), ["172.17.8.0/26"]);
  assert.equal(a.routes.get("172.17.8.0/26")?.localPref, 2147483647 - 1024);
  assert.equal(a.routes.get("172.17.8.0/26")?.nextHop?.join("."), "10.0.0.254");
  assert.deepEqual(tor.routes.get("172.17.8.0/26")?.asPath, [{ type: 2, asns: [64512] }]);
  assert.equal(tor.routes.get("172.17.8.0/26")?.localPref, undefined);
  router.forget(fibRoute("172.17.8.0/26", { type: 6, protocol: 80 }));
  assert.deepEqual(drain(router, A, a), []);
});

Deno.test("a router beside the fleet is told of another host's block with that host as next hop", () => {
  const told = (config: SpeakerConfig, nextHop: string) => {
    const router = makeNode(config);
    const [, tor] = up(router, A, TOR) as [PeerView, PeerView];
    send(router, A, path(nextHop), "172.17.9.0/26");
    drain(router, TOR, tor);
    return tor.routes.get("172.17.9.0/26")?.nextHop?.join(".");
  };
  assert.equal(told(nodeConfig(), "10.0.0.1"), "10.0.0.1");
  assert.equal(told(nodeConfig(), "10.5.0.1"), "10.0.0.254", "a next hop elsewhere is not the router's to reach");
  const peers = nodeConfig().peers.map((peer) =>
    peer.name === TOR.name ? { ...peer, nextHopMode: "self" as const } : peer
  );
  assert.equal(told(nodeConfig({ peers }), "10.0.0.1"), "10.0.0.254", "nextHopMode Self says so");
  const { fib } = nodeConfig();
  assert.equal(told(nodeConfig({ fib: { ...fib, nodeNetworks: ["10.9.0.0/24"] } }), "10.0.0.1"), "10.0.0.254");
});

Deno.test("a workload with a better metric than normal is told beside its block, and its route is preferred", () => {
  const router = makeNode();
  const [a] = up(router, A) as [PeerView];
  router.learn(fibRoute("172.17.8.0/26", { type: 6, protocol: 80 }));
  router.learn(fibRoute("172.17.8.2/32", { protocol: 3, scope: 253, dev: 3, metric: 512 }));
  assert.deepEqual(drain(router, A, a), ["172.17.8.0/26", "172.17.8.2/32"]);
  assert.equal(a.routes.get("172.17.8.2/32")?.localPref, 2147483647 - 512);
});

Deno.test("routes of peers come into the kernel as Calico's BIRD puts them there", () => {
  const router = makeNode();
  up(router, A, B, TOR);
  const fib = new MapFib();
  send(router, A, path("10.0.0.1"), "172.17.9.0/26");
  send(router, B, path("10.5.0.1", { localPref: 2147483647 - 512 }), "172.17.9.7/32");
  send(router, TOR, path("10.0.0.9", { localPref: undefined, asPath: [{ type: 2, asns: [65001] }] }), "0.0.0.0/0");
  assert.deepEqual(install(router, fib), {
    "172.17.9.0/26 metric 0": "via 10.0.0.1 dev 2 onlink",
    "172.17.9.7/32 metric 512": "via 10.0.0.7 dev 2",
    "0.0.0.0/0 metric 0": "via 10.0.0.9 dev 2 onlink",
  });
  const calls = fib.calls;
  send(router, A, path("10.0.0.1"), "172.17.9.0/26");
  install(router, fib);
  assert.equal(fib.calls, calls, "the same route again is no work for the kernel");
  router.peerDown(router.peerId("mesh.a")!, "hold timer");
  assert.deepEqual(Object.keys(install(router, fib)), ["172.17.9.7/32 metric 512", "0.0.0.0/0 metric 0"]);
});

Deno.test("equal paths share the traffic, and the set follows its members", () => {
  const router = makeNode();
  up(router, A, B);
  const fib = new MapFib();
  send(router, A, path("10.0.0.1"), "172.17.9.0/26");
  send(router, B, path("10.0.0.2"), "172.17.9.0/26");
  const both = "via 10.0.0.1 dev 2 onlink, via 10.0.0.2 dev 2 onlink";
  assert.deepEqual(install(router, fib), { "172.17.9.0/26 metric 0": both });
  assert.deepEqual(router.routes({}).filter(({ best }) => !best).map(({ why }) => why), [
    "equal, used beside the best path; higher router id",
  ]);
  router.receiveUpdate(router.peerId("mesh.a")!, withdrawal(["172.17.9.0/26"]));
  assert.deepEqual(install(router, fib), { "172.17.9.0/26 metric 0": "via 10.0.0.2 dev 2 onlink" });
});

Deno.test("pools decide who installs their routes and through which device", () => {
  const pools = [
    { cidr: "172.17.0.0/16", isExportDisabled: false, encapsulation: "vxlan", isProgrammedBySpeaker: false },
    { cidr: "172.18.0.0/16", isExportDisabled: false, encapsulation: "ipip", isProgrammedBySpeaker: true },
    { cidr: "172.19.0.0/16", isExportDisabled: false, encapsulation: "ipip-cross-subnet", isProgrammedBySpeaker: true },
  ] as const;
  const router = makeNode(nodeConfig({ pools }));
  up(router, A);
  send(router, A, path("10.0.0.1"), "172.17.9.0/26", "172.18.9.0/26", "172.19.9.0/26", "192.0.2.0/24");
  send(router, A, path("10.5.0.1"), "172.19.10.0/26");
  assert.deepEqual(install(router, new MapFib()), {
    "172.18.9.0/26 metric 0": "via 10.0.0.1 dev 7 onlink",
    "172.19.9.0/26 metric 0": "via 10.0.0.1 dev 2 onlink",
    "172.19.10.0/26 metric 0": "via 10.5.0.1 dev 7 onlink",
    "192.0.2.0/24 metric 0": "via 10.0.0.1 dev 2 onlink",
  });
});

Deno.test("a next hop that is not reachable makes a path unusable until the FIB has a way", () => {
  const router = makeNode();
  up(router, A);
  const fib = new MapFib();
  send(router, A, path("10.77.0.1"), "172.17.9.0/26");
  assert.deepEqual(install(router, fib), {});
  assert.deepEqual(router.routes({ prefix: "172.17.9.0/26" }).map(({ best, why }) => [best, why]), [
    [false, "next hop unreachable"],
  ]);
  router.learn(fibRoute("10.77.0.0/24", { via: "10.0.0.7", dev: 2, metric: 5 }));
  assert.deepEqual(install(router, fib), { "172.17.9.0/26 metric 0": "via 10.0.0.7 dev 2" });
  router.forget(fibRoute("10.77.0.0/24", { via: "10.0.0.7", dev: 2, metric: 5 }));
  assert.deepEqual(install(router, fib), {});
  send(router, A, path("10.0.0.254"), "172.17.9.0/26");
  assert.equal(router.routes({ prefix: "172.17.9.0/26" })[0]?.why, "next hop is an address of this host");
});

Deno.test("routes of an earlier run stand until a peer confirms them or they are swept", () => {
  const router = makeNode();
  router.learn(fibRoute("172.17.9.0/26", { protocol: 12, via: "10.0.0.1", dev: 2 }));
  router.learn(fibRoute("172.17.10.0/26", { protocol: 12, via: "10.0.0.2", dev: 2 }));
  const fib = new MapFib();
  fib.routes.set("172.17.10.0/26 metric 0", "");
  up(router, A);
  send(router, A, path("10.0.0.1"), "172.17.9.0/26");
  install(router, fib);
  assert.ok(fib.routes.has("172.17.10.0/26 metric 0"), "nothing is removed before the sweep");
  router.sweepFib();
  assert.deepEqual(Object.keys(install(router, fib)), ["172.17.9.0/26 metric 0"]);
});

Deno.test("a route that somebody deletes is put back, and one of somebody else's is left alone", () => {
  const router = makeNode();
  up(router, A);
  const fib = new MapFib();
  send(router, A, path("10.0.0.1"), "172.17.9.0/26");
  install(router, fib);
  fib.routes.clear();
  router.forget(fibRoute("172.17.9.0/26", { protocol: 12, via: "10.0.0.1", dev: 2 }));
  assert.deepEqual(Object.keys(install(router, fib)), ["172.17.9.0/26 metric 0"]);
  router.learn(fibRoute("172.17.9.0/26", { protocol: 4, via: "10.0.0.5", dev: 2 }));
  fib.routes.clear();
  fib.calls = 0;
  install(router, fib);
  assert.equal(fib.calls, 0);
  router.forget(fibRoute("172.17.9.0/26", { protocol: 4, via: "10.0.0.5", dev: 2 }));
  assert.deepEqual(Object.keys(install(router, fib)), ["172.17.9.0/26 metric 0"]);
});

Deno.test("a change of filters and pools reaches sessions that are up", () => {
  const router = makeNode();
  const [a, tor] = up(router, A, TOR) as [PeerView, PeerView];
  router.learn(fibRoute("172.17.8.0/26", { type: 6, protocol: 80 }));
  router.learn(fibRoute("192.0.2.0/24", { via: "10.0.0.3", dev: 2 }));
  assert.deepEqual(drain(router, TOR, tor), ["172.17.8.0/26"]);
  const filters = [{
    name: "more",
    importV4: [{ action: "Reject", cidr: "172.17.9.0/24", matchOperator: "In" }],
    importV6: [],
    exportV4: [{
      action: "Accept",
      cidr: "192.0.2.0/24",
      matchOperator: "Equal",
      operations: [{ addCommunity: "64512:7" }, { prependAsPath: [65010, 65011] }],
    }],
    exportV6: [],
  }] as const;
  const peers = [A, B, { ...TOR, importFilters: ["more"], exportFilters: ["more"] }];
  router.configure(nodeConfig({ peers, filters }));
  assert.deepEqual(drain(router, TOR, tor), ["172.17.8.0/26", "192.0.2.0/24"]);
  assert.deepEqual(tor.routes.get("192.0.2.0/24")?.communities, [64512 * 65536 + 7]);
  assert.deepEqual(tor.routes.get("192.0.2.0/24")?.asPath, [{ type: 2, asns: [64512, 65010, 65011] }]);
  assert.deepEqual(drain(router, A, a), ["172.17.8.0/26"]);
  send(router, TOR, path("10.0.0.9", { localPref: undefined, asPath: [{ type: 2, asns: [65001] }] }), "172.17.9.0/25");
  assert.equal(router.routes({ prefix: "172.17.9.0/25" })[0]?.why, "refused by the import filter");
  assert.equal(router.routes({ received: "global.tor" }).length, 1);
  router.configure(nodeConfig({ pools: [{ ...POOL, isExportDisabled: true }] }));
  assert.deepEqual(drain(router, TOR, tor), []);
  assert.deepEqual(drain(router, A, a), []);
  assert.equal(router.routes({ prefix: "172.17.9.0/25" })[0]?.why, "only path");
});

Deno.test("stale paths are kept for a peer that restarts, and swept by End-of-RIB", () => {
  const router = makeNode();
  up(router, A);
  const fib = new MapFib();
  send(router, A, path("10.0.0.1"), "172.17.9.0/26", "172.17.10.0/26");
  install(router, fib);
  const id = router.peerId("mesh.a")!;
  router.peerDown(id, "connection lost", 3);
  assert.equal(Object.keys(install(router, fib)).length, 2);
  assert.deepEqual(router.routes({}).filter(({ from }) => from === A.address).map(({ stale }) => stale), [true, true]);
  router.peerUp(id, { ...sessionOf(A), keepsStale: 3 });
  send(router, A, path("10.0.0.1"), "172.17.9.0/26");
  assert.deepEqual(router.receiveUpdate(id, Uint8Array.of(0, 0, 0, 0)), { endOfRib: 1 });
  assert.deepEqual(Object.keys(install(router, fib)), ["172.17.9.0/26 metric 0"]);
});

Deno.test("a peer that reads nothing is caught up from the table and ends with the right view", () => {
  const router = makeRouter();
  const fast = peerConfig("c.1", "10.0.0.1", { rrClient: true });
  const slow = peerConfig("c.2", "10.0.0.2", { rrClient: true });
  const source = peerConfig("c.3", "10.0.0.3", { rrClient: true });
  router.configure(speakerConfig([fast, slow, source]));
  const [fastView, slowView] = up(router, fast, slow, source) as [PeerView, PeerView, PeerView];
  const prefix = (i: number) => `${20 + (i >> 16)}.${i >> 8 & 255}.${i & 255}.0/24`;
  const COUNT = 3000;
  // Each round changes everything: about 60 octets a prefix and round.
  for (let round = 0; round < 40; round++) {
    for (let i = 0; i < COUNT; i++) {
      if ((i + round) % 5 === 0) router.receiveUpdate(router.peerId("c.3")!, withdrawal([prefix(i)]));
      else send(router, source, path("10.0.0.3", { localPref: 100, med: round * COUNT + i }), prefix(i));
    }
    drain(router, fast, fastView);
  }
  assert.equal(drain(router, slow, slowView).length, fastView.routes.size);
  assert.ok(slowView.messages < fastView.messages / 4, "old news is not told");
  for (const [key, attributes] of fastView.routes) assert.deepEqual(slowView.routes.get(key), attributes);
  for (let i = 0; i < COUNT; i++) router.receiveUpdate(router.peerId("c.3")!, withdrawal([prefix(i)]));
  assert.deepEqual(drain(router, slow, slowView), []);
  assert.deepEqual(drain(router, fast, fastView), []);
  assert.deepEqual(router.routes({}), []);
});

Deno.test("a peer that joins late reads a snapshot, and an enhanced refresh is framed by its markers", () => {
  const router = makeRouter();
  const first = peerConfig("c.1", "10.0.0.1", { rrClient: true });
  const late = [2, 3, 4].map((i) => peerConfig(`c.${i}`, `10.0.0.${i}`, { rrClient: true }));
  router.configure(speakerConfig([first, ...late]));
  up(router, first);
  for (let i = 0; i < 2000; i++) send(router, first, path("10.0.0.1", { med: i >> 4 }), `30.${i >> 8}.${i & 255}.0/24`);
  for (const peer of late) {
    const [view] = up(router, peer) as [PeerView];
    assert.equal(drain(router, peer, view).length, 2000);
    assert.equal(view.endOfRib, 3);
    send(router, first, path("10.0.0.1", { med: 7 }), "31.0.0.0/24");
    drain(router, peer, view);
    assert.ok(view.routes.has("31.0.0.0/24"));
    router.receiveUpdate(router.peerId("c.1")!, withdrawal(["31.0.0.0/24"]));
    router.refresh(router.peerId(peer.name)!, 1, true);
    view.routes.clear();
    assert.equal(drain(router, peer, view).length, 2000);
    assert.deepEqual(view.refreshMarkers, [1, 2]);
  }
});

Deno.test("attributes that a peer may not send withdraw its routes and name the reason", () => {
  const router = makeNode();
  up(router, A);
  send(router, A, path("10.0.0.1"), "172.17.9.0/26");
  const bad = announcement(path("10.0.0.1"), ["172.17.9.0/26"], PLAIN_INTERNAL);
  bad[7] = 9; // ORIGIN 9
  const result = router.receiveUpdate(router.peerId("mesh.a")!, bad);
  assert.equal(result.fault?.kind, "treat-as-withdraw");
  assert.deepEqual(router.routes({ prefix: "172.17.9.0/26" }), []);
});

Deno.test("IPv6 routes are told with our address and installed by the peer's", () => {
  const pools = [{ ...POOL, cidr: "fd17::/48" }];
  const router = makeNode(nodeConfig({ pools, aggregates: [{ cidr: "fd17::/122", hasBlackhole: true }] }));
  router.learn(fibRoute("fd00::/64", { protocol: 2, dev: 2, metric: 256 }));
  const [a, tor] = up(router, A, TOR) as [PeerView, PeerView];
  router.learn(fibRoute("fd17::/122", { type: 6, protocol: 80, metric: 1024 }));
  assert.deepEqual(drain(router, TOR, tor), ["fd17::/122"]);
  assert.equal(Ip.fromBytes(tor.routes.get("fd17::/122")!.nextHop!).toString(), "fd00::fe");
  send(router, A, path("fd00::1"), "fd17::40/122");
  assert.deepEqual(install(router, new MapFib()), { "fd17::40/122 metric 0": "via fd00::1 dev 2 onlink" });
  drain(router, A, a);
  assert.deepEqual([...a.routes.keys()], ["fd17::/122"]);
});
