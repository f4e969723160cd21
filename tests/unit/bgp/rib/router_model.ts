/** A small world around a router for tests: peers that announce, and that keep a view of what they were told. */

import assert from "node:assert/strict";
import { DEFAULT_PEER, EMPTY_CONFIG, type PeerConfig, type SpeakerConfig } from "../../../../src/bgp/config.ts";
import type { FibNexthop, FibRoute, FibSink, Router, SessionFacts } from "../../../../src/bgp/rib/interface.ts";
import { decodeAttributes, encodeAttributes, type PathAttributes } from "../../../../src/bgp/wire/attributes.ts";
import { IPV4_UNICAST, IPV6_UNICAST } from "../../../../src/bgp/wire/constants.ts";
import { NlriCursor, putIpv4, putIpv6 } from "../../../../src/bgp/wire/nlri.ts";
import { PLAIN_INTERNAL, type WireOptions } from "../../../../src/bgp/wire/options.ts";
import { encodeAnnounceIpv4, encodeAnnounceMp, encodeWithdraw } from "../../../../src/bgp/wire/update_encode.ts";
import { parseUpdate, UpdateView } from "../../../../src/bgp/wire/update.ts";
import { Cidr } from "../../../../src/lib/cidr.ts";
import { Ip } from "../../../../src/lib/ip.ts";
import { wordsOf } from "../../../../src/bgp/filter/prefix_classes.ts";

export const LOCAL_AS = 64512;

/** A peer's configuration with what the test cares for. */
export function peerConfig(name: string, address: string, change: Partial<PeerConfig> = {}): PeerConfig {
  return {
    ...DEFAULT_PEER,
    name,
    address,
    as: LOCAL_AS,
    localAs: LOCAL_AS,
    families: [4, 6],
    hasCalicoRules: false,
    ...change,
  };
}

export function speakerConfig(peers: PeerConfig[], change: Partial<SpeakerConfig> = {}): SpeakerConfig {
  return {
    ...EMPTY_CONFIG,
    routerId: "10.9.9.9",
    nodeAddress4: "10.0.0.254",
    nodeAddress6: "fd00::fe",
    peers,
    ...change,
  };
}

/** What the session of that peer would have negotiated. */
export function sessionOf(config: PeerConfig, wire: Partial<WireOptions> = {}): SessionFacts {
  const address = Ip.parse(config.address);
  const local = address.family === 4 ? Ip.parse("10.0.0.254") : Ip.parse("fd00::fe");
  const isInternal = config.as === config.localAs;
  return {
    wire: { ...PLAIN_INTERNAL, isInternal, peerAs: config.as, families: 3, ...wire },
    routerId: address.family === 4 ? address.toNumber() : 1,
    localAddress: local.bytes,
    localAddressOther: address.family === 4 ? Ip.parse("fd00::fe").bytes : Ip.parse("10.0.0.254").bytes,
    peerAddress: address.bytes,
    localAs: config.localAs,
    keepsStale: 0,
  };
}

/** The body of an UPDATE that announces prefixes of one family. */
export function announcement(attributes: PathAttributes, prefixes: string[], wire: WireOptions): Uint8Array {
  const raw = encodeAttributes(attributes, wire);
  const nlri = nlriOf(prefixes);
  const isV6 = prefixes[0]?.includes(":");
  const message = isV6
    ? encodeAnnounceMp(IPV6_UNICAST, raw, attributes.nextHop ?? new Uint8Array(16), nlri)
    : encodeAnnounceIpv4(raw, nlri);
  return message.subarray(19);
}

export function withdrawal(prefixes: string[]): Uint8Array {
  const family = prefixes[0]?.includes(":") ? IPV6_UNICAST : IPV4_UNICAST;
  return encodeWithdraw(family, nlriOf(prefixes)).subarray(19);
}

function nlriOf(prefixes: string[]): Uint8Array {
  const out = new Uint8Array(prefixes.length * 17);
  let at = 0;
  for (const text of prefixes) {
    const cidr = Cidr.parse(text);
    const [w0, w1, w2, w3] = wordsOf(cidr.ip.bytes);
    at = cidr.family === 4 ? putIpv4(out, at, w0, cidr.length) : putIpv6(out, at, w0, w1, w2, w3, cidr.length);
  }
  return out.slice(0, at);
}

/** What a peer knows from the messages that it was given: by prefix, or by "prefix#identifier" with ADD-PATH. */
export class PeerView {
  readonly routes = new Map<string, PathAttributes>();
  endOfRib = 0;
  messages = 0;
  refreshMarkers: number[] = [];

  constructor(readonly wire: WireOptions) {}

  /** Reads whole messages. */
  take(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const length = bytes[at + 16]! << 8 | bytes[at + 17]!;
      assert.ok(length >= 19 && at + length <= bytes.length, "whole messages");
      assert.ok(length <= (this.wire.isExtendedMessage ? 65535 : 4096), "message within its limit");
      this.messages++;
      if (bytes[at + 18] === 5) this.refreshMarkers.push(bytes[at + 21]!);
      else {
        assert.equal(bytes[at + 18], 2);
        this.#update(bytes.slice(at + 19, at + length));
      }
      at += length;
    }
  }

  /** Takes everything that the router has for the peer. */
  drain(router: Router, peer: number, max = 65536): void {
    for (let rounds = 0; rounds < 100_000; rounds++) {
      const bytes = router.nextBytes(peer, max);
      if (!bytes) return;
      this.take(bytes);
    }
    assert.fail("the router never stops");
  }

  #update(body: Uint8Array): void {
    const options = { ...this.wire, addPathReceive: this.wire.addPathSend, mustBeginWithPeerAs: false };
    const view = parseUpdate(body, options, new UpdateView());
    assert.ok(view instanceof UpdateView, "parses");
    this.endOfRib |= view.endOfRib;
    this.#each(view.bytes, view.withdrawnStart, view.withdrawnEnd, false, (text) => this.routes.delete(text));
    if (view.unreachFamily) {
      const isV6 = view.unreachFamily === IPV6_UNICAST;
      this.#each(view.bytes, view.unreachStart, view.unreachEnd, isV6, (text) => this.routes.delete(text));
    }
    if (!view.hasReach) return;
    const nextHop = view.reachFamily ? view.nextHopBytes() : undefined;
    const result = decodeAttributes(view.attributeBytes(), options, nextHop);
    assert.ok(result.ok, "attributes decode");
    assert.deepEqual(result.discarded, []);
    const put = (text: string) => this.routes.set(text, result.attributes);
    this.#each(view.bytes, view.nlriStart, view.nlriEnd, false, put);
    if (view.reachFamily) {
      this.#each(view.bytes, view.reachStart, view.reachEnd, view.reachFamily === IPV6_UNICAST, put);
    }
  }

  #each(bytes: Uint8Array, start: number, end: number, isV6: boolean, visit: (text: string) => void): void {
    const bit = isV6 ? IPV6_UNICAST : IPV4_UNICAST;
    const hasPathId = (this.wire.addPathSend & bit) !== 0;
    const nlri = new NlriCursor().over(bytes, start, end, isV6, hasPathId);
    while (nlri.next()) {
      visit(`${Ip.fromBytes(nlri.bytes())}/${nlri.length}${hasPathId ? `#${nlri.pathId}` : ""}`);
    }
  }
}

/** A kernel's FIB as a map of text; the ways are sorted. */
export class MapFib implements FibSink {
  readonly routes = new Map<string, string>();
  calls = 0;

  install(_family: 4 | 6, address: Uint8Array, length: number, metric: number, nexthops: readonly FibNexthop[]): void {
    this.calls++;
    const ways = nexthops.map((way) =>
      `${way.gateway ? `via ${Ip.fromBytes(way.gateway)} ` : ""}dev ${way.ifindex}${way.isOnlink ? " onlink" : ""}`
    );
    this.routes.set(`${Ip.fromBytes(address)}/${length} metric ${metric}`, ways.sort().join(", "));
  }

  uninstall(_family: 4 | 6, address: Uint8Array, length: number, metric: number): void {
    this.calls++;
    const key = `${Ip.fromBytes(address)}/${length} metric ${metric}`;
    assert.ok(this.routes.delete(key), `${key} was installed`);
  }
}

/** A FIB route from text. */
export function fibRoute(prefix: string, change: Partial<FibRoute> & { via?: string; dev?: number } = {}): FibRoute {
  const cidr = Cidr.parse(prefix);
  const { via, dev, ...rest } = change;
  const nexthops = dev === undefined ? [] : [{ ifindex: dev, ...(via ? { gateway: Ip.parse(via).bytes } : {}) }];
  return {
    family: cidr.family,
    address: cidr.ip.bytes,
    length: cidr.length,
    type: 1,
    protocol: 4,
    scope: 0,
    metric: 0,
    nexthops,
    ...rest,
  };
}
