/**
 * Runs a small feed through a speaker in memory, so that the first real one meets compiled code: 100,000 prefixes take a
 * third of a second when all of it is new to the engine, and a tenth when it is not.
 *
 * Two reflectors in turn, since code that has only seen one object is compiled for that one. Each has two clients in
 * memory: one announces and withdraws, one is told; its routes go to a FIB that forgets them. In slices, because the thread
 * has sessions to bring up meanwhile. Nothing is left of it but the compiled code.
 */

import { DEFAULT_PEER, EMPTY_CONFIG, type PeerConfig, type SpeakerConfig } from "../bgp/config.ts";
import { makeMemoryPair, type MemoryPair } from "../bgp/memory_transport.ts";
import type { FibSink } from "../bgp/rib/interface.ts";
import { RouterCore } from "../bgp/rib/router.ts";
import { EMPTY_ATTRIBUTES, encodeAttributes } from "../bgp/wire/attributes.ts";
import { NO_CAPABILITIES } from "../bgp/wire/capability.ts";
import { IPV4_UNICAST } from "../bgp/wire/constants.ts";
import { encodeKeepalive } from "../bgp/wire/frame.ts";
import { nlriSize, putIpv4 } from "../bgp/wire/nlri.ts";
import { encodeOpen } from "../bgp/wire/open.ts";
import { PLAIN_INTERNAL } from "../bgp/wire/options.ts";
import { encodeAnnounceIpv4, encodeEndOfRib, encodeWithdraw } from "../bgp/wire/update_encode.ts";
import type { Cancel, Clock } from "../lib/clock.ts";
import { silentLog } from "../lib/log.ts";
import { makePeer, type Peer } from "./peer.ts";
import { makeTaps } from "./tap.ts";

const AS = 64512;
const PER_SET = 10;
const SETS_A_ROUND = 100;
/** So many announcements of 1,000 prefixes, half of them followed by their withdrawal. */
const ROUNDS = 28;
/** Octets that come at once: messages are cut. */
const PIECE = 20_000;
const BASE = 0x0a000000;
/** BGP identifiers below and above what the engine keeps as small integers. */
const IDENTIFIERS = [0x0a000002, 0xc0000202];
/** IPv4 lengths in turn. */
const LENGTHS = [24, 26, 32, 24, 20, 30, 16];

/** Milliseconds between slices, for the sessions' own work. */
const PAUSE = 2;

/**
 * Does the first slices at once, the others in the background of the event loop; returns how to stop early. Call it before
 * the real router is made: objects must not be older than what the engine learns about their fields.
 */
export function startWarmUp(clock: Clock): Cancel {
  const slices = warmUp(clock);
  for (let i = 0; i < 2; i++) slices.next();
  let cancel: Cancel;
  const step = () => {
    if (!slices.next().done) cancel = clock.after(PAUSE, step);
  };
  cancel = clock.after(PAUSE, step);
  return () => {
    cancel();
    slices.return();
  };
}

/** The slices, each of a few milliseconds. */
export function* warmUp(clock: Clock): Generator<void, void> {
  const reflectors = [makeReflector(clock), makeReflector(clock)];
  try {
    for (let round = 0; round < ROUNDS; round++) {
      reflectors[round % 2]?.feed(round * SETS_A_ROUND, round % 4 > 1);
      yield;
    }
  } finally {
    for (const reflector of reflectors) reflector.close();
  }
}

interface Reflector {
  /** Takes a round of announcements from `first` on, and their withdrawal. */
  feed(first: number, isWithdrawn: boolean): void;
  close(): void;
}

function makeReflector(clock: Clock): Reflector {
  const router = new RouterCore();
  const configs = [client(2), client(3)];
  const config: SpeakerConfig = { ...EMPTY_CONFIG, routerId: "192.0.2.1", peers: configs, fib: FIB };
  router.configure(config);
  router.setLink(1, "eth0", true);
  router.learn({ ...CONNECTED, address: Uint8Array.of(192, 0, 2, 0), nexthops: [{ ifindex: 1 }] });
  const ends = configs.map((peer, at) => makeEnd(peer, config, router, clock, at + 2));
  const settle = () => {
    for (let hasMoved = true; hasMoved;) {
      hasMoved = false;
      router.settle();
      for (const { peer } of ends) if (peer.id !== undefined && router.hasBytes(peer.id)) peer.flush();
      for (const { pair } of ends) hasMoved = pair.deliver(PIECE) || hasMoved;
    }
    while (router.drainFib(FORGETFUL, PER_SET * SETS_A_ROUND));
  };
  return {
    feed(first, isWithdrawn) {
      const feeder = ends[0]?.pair.a;
      for (let set = first; set < first + SETS_A_ROUND; set++) feeder?.write(announcement(set));
      feeder?.write(encodeEndOfRib(IPV4_UNICAST));
      settle();
      if (!isWithdrawn) return;
      for (let set = first; set < first + SETS_A_ROUND; set++) feeder?.write(withdrawal(set));
      settle();
    },
    close() {
      for (const { peer } of ends) peer.close(2, undefined, true);
    },
  };
}

const FIB: SpeakerConfig["fib"] = { ...EMPTY_CONFIG.fib, isInstalling: true, isLearning: true };
const CONNECTED = { family: 4, length: 24, type: 1, protocol: 2, scope: 253, metric: 0 } as const;
const FORGETFUL: FibSink = { install() {}, uninstall() {} };

function client(host: number): PeerConfig {
  return {
    ...DEFAULT_PEER,
    name: `warm-up.${host}`,
    address: `192.0.2.${host}`,
    as: AS,
    localAs: AS,
    passive: true,
    families: [4],
    rrClient: true,
    clusterId: "192.0.2.1",
    hasCalicoRules: false,
  };
}

/** A client whose session is being brought up, and its end of the connection. */
function makeEnd(
  peerConfig: PeerConfig,
  config: SpeakerConfig,
  router: RouterCore,
  clock: Clock,
  host: number,
): { peer: Peer; pair: MemoryPair } {
  const pair = makeMemoryPair(
    { address: Uint8Array.of(192, 0, 2, host), port: 30000 },
    { address: Uint8Array.of(192, 0, 2, 1), port: 179 },
  );
  const room = new Uint8Array(65536);
  pair.a.sink = { connected() {}, room: () => room, received() {}, writable() {}, closed() {} };
  const peer = makePeer(peerConfig, config, {
    router,
    clock,
    log: silentLog,
    random: () => 0.5,
    connect: () => pair.b,
    localAddresses: () => ({ localAddressOther: undefined, localLinkLocal: undefined }),
    restart: { isRestarting: false, isForwarding: false, isDeferring: false, begin() {}, heard() {}, close() {} },
    tap: makeTaps(),
    touch() {},
    statusChanged() {},
  });
  peer.session.accept((sink) => {
    pair.b.sink = sink;
    return pair.b;
  });
  const capabilities = { ...NO_CAPABILITIES, families: IPV4_UNICAST, routeRefresh: true, as4: AS };
  pair.a.write(encodeOpen({ as: AS, holdTime: 0, id: IDENTIFIERS[host % 2] ?? host, capabilities }));
  pair.a.write(encodeKeepalive());
  return { peer, pair };
}

function nlri(set: number): Uint8Array {
  const out = new Uint8Array(PER_SET * nlriSize(32, false));
  let end = 0;
  for (let i = 0; i < PER_SET; i++) {
    const length = LENGTHS[(set + i) % LENGTHS.length] ?? 24;
    end = putIpv4(out, end, (BASE + (set * PER_SET + i << 16 >>> 0) & -1 << 32 - length) >>> 0, length);
  }
  return out.subarray(0, end);
}

/** Attributes of many lengths, all different. */
function announcement(set: number): Uint8Array {
  const attributes = encodeAttributes({
    ...EMPTY_ATTRIBUTES,
    nextHop: Uint8Array.of(192, 0, 2, 10 + set % 16),
    localPref: 100,
    med: set % 2 === 0 ? undefined : set % 3 === 0 ? 0xffffffff - set : set,
    asPath: [{ type: 2, asns: [...Array(1 + set % 5).keys()].map((i) => 65000 + set * 5 + i) }],
    communities: [...Array(set % 4).keys()].map((i) => AS * 65536 + set % 1000 + i),
    largeCommunities: set % 5 === 0 ? [[AS, set, 1], [AS, set, 2]] : [],
  }, PLAIN_INTERNAL);
  return encodeAnnounceIpv4(attributes, nlri(set));
}

function withdrawal(set: number): Uint8Array {
  return encodeWithdraw(IPV4_UNICAST, nlri(set));
}
