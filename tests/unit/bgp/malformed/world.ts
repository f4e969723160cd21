/**
 * A speaker in memory with one peer that may say anything: real session, peer and router, transports in memory, time by hand.
 *
 *   bad (what a test sends, in pieces) ──> speaker 10.0.0.254 AS 64512 ──> watcher (a client: is told everything)
 *                                                                    └──> other (announces a route of its own)
 */

import assert from "node:assert/strict";
import type { PeerConfig } from "../../../../src/bgp/config.ts";
import { makeMemoryPair, type MemoryPair } from "../../../../src/bgp/memory_transport.ts";
import type { Router } from "../../../../src/bgp/rib/interface.ts";
import { makeRouter } from "../../../../src/bgp/rib/router.ts";
import type { PathAttributes } from "../../../../src/bgp/wire/attributes.ts";
import { type Capabilities, NO_CAPABILITIES } from "../../../../src/bgp/wire/capability.ts";
import { encodeKeepalive } from "../../../../src/bgp/wire/frame.ts";
import { encodeOpen } from "../../../../src/bgp/wire/open.ts";
import type { WireOptions } from "../../../../src/bgp/wire/options.ts";
import { FakeClock } from "../../../../src/lib/fake_clock.ts";
import { Ip } from "../../../../src/lib/ip.ts";
import { makeLog } from "../../../../src/lib/log.ts";
import { makePeer, type Peer } from "../../../../src/speaker/peer.ts";
import { announcement, LOCAL_AS, peerConfig, PeerView, sessionOf, speakerConfig } from "../rib/router_model.ts";

/** The kinds of sessions that the cases ask for. */
export const KINDS = {
  ibgp: { as: LOCAL_AS },
  ebgp: { as: 65001 },
  /** The peer does not speak 4-octet AS numbers. */
  ebgp2: { as: 65001, isTwoOctet: true },
  /** Extended messages both ways. */
  ebgpx: { as: 65001, isExtended: true },
  /** We are the customer. */
  ebgprole: { as: 65001, role: "customer" },
} as const;

export type Kind = keyof typeof KINDS;

/** One peer as the tests drive it: what it sends, and what came back. */
export interface Party {
  readonly peer: Peer;
  readonly view: PeerView;
  /** Whole messages that came, in order. */
  readonly received: Uint8Array[];
  /** The speaker has closed the connection. */
  readonly isClosed: boolean;
  /** Connects again, after the time that the speaker may want to rest. */
  reconnect(): void;
  /** Sends octets in pieces of that many at most. */
  send(bytes: Uint8Array, piece?: number): void;
}

/** Everything around the bad peer. */
export interface World {
  readonly router: Router;
  readonly clock: FakeClock;
  readonly bad: Party;
  readonly watcher: Party;
  readonly other: Party;
  /** Lines of level error: our own exceptions. */
  readonly errors: string[];
  /** Lets the speaker decide and send. */
  settle(): void;
}

export const BASE_PREFIX = "10.1.0.0/24";
export const KEPT_PREFIX = "10.9.0.0/24";
export const OTHER_PREFIX = "10.8.0.0/24";
/** More than the longest rest in Idle, in milliseconds. */
const REST = 61_000;
/** Marks routes of the time before the case. */
export const BASE_COMMUNITY = 0xfc000001;

/** What a peer of that kind sends as its OPEN. */
export function openOf(kind: Kind | "good", address: string): Uint8Array {
  const facts: { as: number; isTwoOctet?: boolean; isExtended?: boolean } = kind === "good"
    ? { as: LOCAL_AS }
    : KINDS[kind];
  const capabilities: Capabilities = {
    ...NO_CAPABILITIES,
    families: 3,
    routeRefresh: true,
    enhancedRouteRefresh: true,
    extendedMessage: facts.isExtended ?? false,
    as4: facts.isTwoOctet ? undefined : facts.as,
  };
  // Good peers never speak again, so they have no hold time.
  return encodeOpen({
    as: facts.as,
    holdTime: kind === "good" ? 0 : 90,
    id: Ip.parse(address).toNumber(),
    capabilities,
  });
}

/** The speaker with its three peers; the bad one is connected and nothing has been said on it. */
export function makeWorld(kind: Kind): World {
  const clock = new FakeClock();
  const router = makeRouter();
  const errors: string[] = [];
  const log = makeLog((level, message, fields) => {
    if (level === "error") errors.push(`${message} ${fields.error}`);
  });
  const facts: { as: number; role?: PeerConfig["role"] } = KINDS[kind];
  const common = { passive: true, isSameAs: false };
  const configs = [
    peerConfig("bad", "10.0.0.2", {
      ...common,
      as: facts.as,
      rrClient: facts.as === LOCAL_AS,
      gracefulRestartTime: 0,
      ...(facts.role ? { role: facts.role } : {}),
    }),
    peerConfig("watcher", "10.0.0.3", { ...common, rrClient: true, gracefulRestartTime: 0 }),
    peerConfig("other", "10.0.0.4", { ...common, rrClient: true, gracefulRestartTime: 0 }),
  ];
  const speaker = speakerConfig(configs, { routerId: "10.0.0.254" });
  router.configure(speaker);
  router.setAddress(Uint8Array.of(10, 0, 0, 254), 1);
  const pairs: MemoryPair[] = [];

  const flush = () => {
    router.settle();
    for (const { peer } of parties) if (peer.id !== undefined && router.hasBytes(peer.id)) peer.flush();
  };

  const settle = () => {
    for (let round = 0; round < 1000; round++) {
      flush();
      let hasMoved = false;
      for (const pair of pairs) hasMoved = pair.deliver() || hasMoved;
      if (!hasMoved) return;
    }
    assert.fail("the speaker never rests");
  };

  const makeParty = (config: PeerConfig): Party => {
    const isInternal = config.as === LOCAL_AS;
    const theirs: Partial<WireOptions> = {
      isInternal,
      isFourOctetAs: !(kind === "ebgp2" && config.name === "bad"),
      isExtendedMessage: kind === "ebgpx" && config.name === "bad",
    };
    const view = new PeerView(sessionOf(config, theirs).wire);
    const received: Uint8Array[] = [];
    const peer = makePeer(config, speaker, {
      router,
      clock,
      log,
      random: () => 0.5,
      connect: () => makeMemoryPair().a,
      localAddresses: () => ({}),
      touch() {},
      statusChanged() {},
      ...SURROUNDINGS,
    });
    const address = Ip.parse(config.address).bytes;
    let tail = new Uint8Array(0);
    let isClosed = false;
    const room = new Uint8Array(65536);
    const receive = (count: number) => {
      const bytes = new Uint8Array(tail.length + count);
      bytes.set(tail);
      bytes.set(room.subarray(0, count), tail.length);
      let at = 0;
      while (at + 19 <= bytes.length) {
        const length = bytes[at + 16]! << 8 | bytes[at + 17]!;
        if (at + length > bytes.length) break;
        const message = bytes.slice(at, at + length);
        received.push(message);
        if (message[18] === 2 && config.name !== "bad") view.take(message);
        at += length;
      }
      tail = bytes.slice(at);
    };
    const connect = (): MemoryPair => {
      const made = makeMemoryPair({ address, port: 30000 }, { address: Uint8Array.of(10, 0, 0, 254), port: 179 });
      isClosed = false;
      tail = new Uint8Array(0);
      made.a.sink = {
        connected() {},
        writable() {},
        room: () => room,
        received: receive,
        closed: () => void (isClosed = true),
      };
      peer.session.accept((sink) => {
        made.b.sink = sink;
        return made.b;
      });
      return made;
    };
    let pair = connect();
    pairs.push(pair);
    return {
      peer,
      view,
      received,
      get isClosed() {
        return isClosed;
      },
      reconnect() {
        clock.advance(REST);
        pairs.splice(pairs.indexOf(pair), 1);
        pair = connect();
        pairs.push(pair);
        settle();
      },
      send(bytes, piece = 65536) {
        pair.a.write(bytes);
        pair.deliver(piece);
        settle();
      },
    };
  };

  const parties: Party[] = [];
  for (const config of configs) parties.push(makeParty(config));
  const [bad, watcher, other] = parties;
  assert.ok(bad && watcher && other);
  settle();
  for (const [party, address] of [[watcher, "10.0.0.3"], [other, "10.0.0.4"]] as const) {
    party.send(openOf("good", address));
    party.send(encodeKeepalive());
    assert.equal(party.peer.session.fsm.name, "Established");
  }
  const world: World = { router, clock, bad, watcher, other, errors, settle };
  other.send(updateFrom("other", kind, [OTHER_PREFIX]));
  return world;
}

/** What a peer in memory needs beside router and clock: no restart, and nobody who listens in. */
const SURROUNDINGS = {
  restart: {
    isRestarting: false,
    isForwarding: true,
    isDeferring: false,
    begin() {},
    heard() {},
    close() {},
  },
  tap: { up() {}, down() {}, update() {}, sent() {}, message() {}, state() {} },
};

/** A good UPDATE with the routes, marked as being of the time before the case where asked for. */
export function updateFrom(who: "bad" | "other", kind: Kind, prefixes: string[], isBase = false): Uint8Array {
  const isInternal = who === "other" || KINDS[kind].as === LOCAL_AS;
  const attributes: PathAttributes = {
    origin: 0,
    asPath: [{ type: 2, asns: isInternal ? [65100] : [65001, 65100] }],
    nextHop: Uint8Array.of(10, 0, 0, who === "bad" ? 2 : 4),
    localPref: isInternal ? 100 : undefined,
    atomicAggregate: false,
    communities: isBase ? [BASE_COMMUNITY] : [],
    extendedCommunities: [],
    largeCommunities: [],
    clusterList: [],
    unknown: [],
  };
  const config = peerConfig("any", "10.0.0.2", { as: isInternal ? LOCAL_AS : 65001 });
  const isFourOctetAs = who === "other" || kind !== "ebgp2";
  const body = announcement(attributes, prefixes, sessionOf(config, { isFourOctetAs }).wire);
  const out = new Uint8Array(19 + body.length);
  out.fill(0xff, 0, 16);
  out.set([out.length >> 8, out.length & 255, 2], 16);
  out.set(body, 19);
  return out;
}
