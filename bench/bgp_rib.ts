/**
 * How fast a router takes in a full feed and tells it to one client, without sockets: UPDATE octets in, UPDATE octets out.
 *
 *   deno run -A bench/bgp_rib.ts [prefixes…]
 *
 * A feeder announces N prefixes, ten to a set of attributes, to a reflector; the clock stops when the sink has been given
 * all. Then one prefix flaps between 50 clients. Memory is what the process holds over its idle state.
 */

import { DEFAULT_PEER, EMPTY_CONFIG, type PeerConfig } from "../src/bgp/config.ts";
import type { Router, SessionFacts } from "../src/bgp/rib/interface.ts";
import { makeRouter } from "../src/bgp/rib/router.ts";
import { EMPTY_ATTRIBUTES, encodeAttributes } from "../src/bgp/wire/attributes.ts";
import { IPV4_UNICAST } from "../src/bgp/wire/constants.ts";
import { putIpv4 } from "../src/bgp/wire/nlri.ts";
import { PLAIN_INTERNAL } from "../src/bgp/wire/options.ts";

const PER_SET = 10;

function makePeer(index: number): PeerConfig {
  return {
    ...DEFAULT_PEER,
    name: `client.${index}`,
    address: `10.0.${index >> 8}.${index & 255}`,
    as: 64512,
    localAs: 64512,
    families: [4],
    rrClient: true,
    clusterId: "10.9.9.9",
    hasCalicoRules: false,
  };
}

function session(index: number): SessionFacts {
  return {
    wire: { ...PLAIN_INTERNAL, families: IPV4_UNICAST },
    routerId: 0x0a000000 + index,
    localAddress: Uint8Array.of(10, 0, 255, 1),
    peerAddress: Uint8Array.of(10, 0, index >> 8, index & 255),
    localAs: 64512,
    keepsStale: 0,
  };
}

function reflector(clients: number): Router {
  const router = makeRouter();
  const peers = Array.from({ length: clients }, (_, i) => makePeer(i + 1));
  router.configure({ ...EMPTY_CONFIG, routerId: "10.9.9.9", peers });
  for (let i = 1; i <= clients; i++) router.peerUp(i, session(i));
  return router;
}

/** UPDATE bodies that announce `count` prefixes from `base` on. */
function feed(count: number, base: number, client: number): Uint8Array[] {
  const bodies: Uint8Array[] = [];
  for (let i = 0; i < count; i += PER_SET) {
    const attributes = encodeAttributes({
      ...EMPTY_ATTRIBUTES,
      nextHop: Uint8Array.of(10, 99, 1, client & 255),
      localPref: 100,
      med: i,
      asPath: [{ type: 2, asns: [65000 + i % 7, 4200000000 + i % 1000, 3356, i + 1] }],
      communities: [64512 * 65536 + i % 5000],
    }, PLAIN_INTERNAL);
    const body = new Uint8Array(4 + attributes.length + PER_SET * 5);
    body[3] = attributes.length;
    body.set(attributes, 4);
    let at = 4 + attributes.length;
    for (let j = i; j < Math.min(count, i + PER_SET); j++) at = putIpv4(body, at, (base + j * 256) >>> 0, 24);
    bodies.push(body.subarray(0, at));
  }
  return bodies;
}

function drain(router: Router, peer: number): number {
  let octets = 0;
  for (let bytes = router.nextBytes(peer, 65536); bytes; bytes = router.nextBytes(peer, 65536)) octets += bytes.length;
  return octets;
}

function runFeed(count: number): void {
  const bodies = feed(count, 0x01000000, 1);
  const router = reflector(2);
  drain(router, 2);
  const idle = Deno.memoryUsage().rss;
  const start = performance.now();
  let octets = 0;
  for (const [i, body] of bodies.entries()) {
    router.receiveUpdate(1, body);
    // About what one read of 64 KB brings.
    if (i % 500 === 499) octets += drain(router, 2);
  }
  octets += drain(router, 2);
  const seconds = (performance.now() - start) / 1000;
  const rss = (Deno.memoryUsage().rss - idle) / 1e6;
  const { advertised } = router.counts(2);
  if (advertised !== count) throw new Error(`${advertised} of ${count} prefixes arrived`);
  console.log(
    `feed ${count}: ${seconds.toFixed(3)} s, ${rss.toFixed(0)} MB over idle, ${(octets / 1e6).toFixed(1)} MB out`,
  );
}

function runFan(clients: number, perClient: number): void {
  const router = reflector(clients);
  for (let i = 1; i <= clients; i++) drain(router, i);
  const bodies = Array.from({ length: clients }, (_, i) => feed(perClient, 0x01000000 + i * perClient * 256, i + 1));
  const start = performance.now();
  let octets = 0;
  bodies.forEach((list, i) => {
    for (const body of list) router.receiveUpdate(i + 1, body);
    for (const peer of router.settle()) octets += drain(router, peer);
  });
  const seconds = (performance.now() - start) / 1000;
  console.log(`fan ${clients} x ${perClient}: ${seconds.toFixed(3)} s, ${(octets / 1e6).toFixed(1)} MB out`);
  const [announce] = feed(1, 0x01000000, 1);
  const withdraw = Uint8Array.of(0, 4, 24, 1, 0, 0, 0, 0);
  const rounds = 200;
  const flapStart = performance.now();
  for (let i = 0; i < rounds; i++) {
    router.receiveUpdate(1, withdraw);
    for (const peer of router.settle()) drain(router, peer);
    if (announce) router.receiveUpdate(1, announce);
    for (const peer of router.settle()) drain(router, peer);
  }
  console.log(`flap of 1 at ${clients}: ${((performance.now() - flapStart) / rounds / 2 * 1000).toFixed(0)} us`);
}

const counts = Deno.args.length > 0 ? Deno.args.map(Number) : [100_000, 500_000];
for (const count of counts) runFeed(count);
runFan(50, 100);
runFan(200, 100);
