/**
 * What the router is to the sessions and to the FIB: the seam between routes and bytes.
 *
 * A router holds the Adj-RIBs-In, the Loc-RIB, and the Adj-RIBs-Out of all peers. Bytes of UPDATE messages go in by
 * `receiveUpdate`, complete messages come out by `nextBytes`, route changes for the kernel by `drainFib`. Nothing is
 * decided while messages are taken in: `settle` decides the prefixes that changed since the last call, so call it
 * once after each batch of input (`nextBytes` and `drainFib` call it too). No call reads a clock: `nowMs` is an argument.
 */

import type { SpeakerConfig } from "../config.ts";
import type { AddressFamily } from "../config.ts";
import type { Fault } from "../wire/fault.ts";
import type { WireOptions } from "../wire/options.ts";

/** A peer by a small number that lives as long as its name is configured. */
export type PeerId = number;

/** What the capabilities exchange and the connection made of a session. */
export interface SessionFacts {
  readonly wire: WireOptions;
  /** The peer's BGP identifier as an unsigned number. */
  readonly routerId: number;
  /** Our end of the connection, 4 or 16 bytes: the next hop that we announce as self. */
  readonly localAddress: Uint8Array;
  /** Our address of the other family on the same interface, for MP_REACH of that family. */
  readonly localAddressOther?: Uint8Array;
  /** Our link-local address, sent along as second IPv6 next hop when the session is on a link. */
  readonly localLinkLocal?: Uint8Array;
  readonly peerAddress: Uint8Array;
  /** The peer takes long-lived stale paths (RFC 9494). */
  readonly hasLongLived?: boolean;
  /** The interface of a session over link-local addresses. */
  readonly ifindex?: number;
  /** Our AS on this session. */
  readonly localAs: number;
  /** Paths of an earlier session in these families (mask) are kept as stale until End-of-RIB (RFC 4724). */
  readonly keepsStale: number;
}

/** A route of the kernel's FIB, as `RTM_NEWROUTE` tells it. */
export interface FibRoute {
  readonly family: AddressFamily;
  /** 4 or 16 bytes, host bits zero. */
  readonly address: Uint8Array;
  readonly length: number;
  /** RTN_*: 1 unicast, 6 blackhole, 7 unreachable, 8 prohibit. */
  readonly type: number;
  /** RTPROT_*. */
  readonly protocol: number;
  /** RT_SCOPE_*. */
  readonly scope: number;
  readonly metric: number;
  readonly nexthops: readonly FibNexthop[];
}

/** One way out of a FIB route. */
export interface FibNexthop {
  readonly gateway?: Uint8Array;
  readonly ifindex: number;
  readonly isOnlink?: boolean;
}

/** Takes the changes that the kernel's FIB needs, in order. Byte arrays are valid during the call only. */
export interface FibSink {
  /** Adds or overwrites our route (protocol bird) of that destination and metric. */
  install(
    family: AddressFamily,
    address: Uint8Array,
    length: number,
    metric: number,
    nexthops: readonly FibNexthop[],
  ): void;
  uninstall(family: AddressFamily, address: Uint8Array, length: number, metric: number): void;
}

/** Counts for `bgp peers`. */
export interface PeerCounts {
  /** Paths in the Adj-RIB-In. */
  readonly received: number;
  /** Of these, what the import filter let pass. */
  readonly accepted: number;
  /** Prefixes that the peer has been told. */
  readonly advertised: number;
}

/** The result of an UPDATE: what was wrong with it, if anything, and which End-of-RIB it was (family mask). */
export interface ReceiveResult {
  readonly fault?: Fault;
  readonly endOfRib: number;
  /** More paths than `maxPrefixes` allows: the session is to be ended with Cease/1. */
  readonly isOverLimit?: boolean;
  /** How many paths the peer has, where `maxPrefixes` is set. */
  readonly prefixes?: number;
}

/** One row of `bgp routes`; the JSON shape is the contract's. */
export interface RouteRow {
  readonly prefix: string;
  readonly best: boolean;
  readonly nextHop: string | null;
  readonly from: string;
  readonly asPath: readonly number[];
  readonly origin: "igp" | "egp" | "incomplete";
  readonly localPref: number | null;
  readonly med: number | null;
  readonly communities: readonly string[];
  readonly originatorId: string | null;
  readonly clusterList: readonly string[];
  readonly stale: boolean;
  /** The path identifier (RFC 7911) on that session; absent where there is none. */
  readonly pathId?: number;
  readonly why: string;
}

/** What to show: one prefix or all, and whose view. */
export interface RouteQuery {
  readonly prefix?: string;
  /** The peer's Adj-RIB-In, before the import filter (name or address). */
  readonly received?: string;
  /** The peer's Adj-RIB-Out. */
  readonly advertised?: string;
  readonly limit?: number;
}

/** The route core. One owner calls it; nothing in it is asynchronous. */
export interface Router {
  /** Takes a configuration, new or changed; sessions of removed peers must have been brought down first. */
  configure(config: SpeakerConfig): void;
  /** The number of a configured peer, undefined when there is none of that name. */
  peerId(name: string): PeerId | undefined;
  /** The session is Established: its Adj-RIB-Out begins with the whole table, then End-of-RIB for each family. */
  peerUp(peer: PeerId, facts: SessionFacts): void;
  /** The session ended. Paths are dropped, or kept as stale in the families of the mask (graceful restart). */
  peerDown(peer: PeerId, reason: string, keepStale?: number): void;
  /** Drops what is still stale (restart timer ran out, or EoRR); all families when the mask is left out. */
  sweepStale(peer: PeerId, families?: number): void;
  /** Stale paths of the peer go on as long-lived stale ones; those that may not are dropped (RFC 9494). */
  keepLong(peer: PeerId, families: number): void;
  /** Marks all paths of the peer as stale (BoRR of RFC 7313, or before asking for a refresh). */
  markStale(peer: PeerId, families: number): void;
  /** Takes the body of an UPDATE message (without the 19 octets of header). The bytes are not kept. */
  receiveUpdate(peer: PeerId, body: Uint8Array): ReceiveResult;
  /** The peer asked for everything again (ROUTE-REFRESH); `families` is a mask. With RFC 7313, `isEnhanced` adds markers. */
  refresh(peer: PeerId, families: number, isEnhanced?: boolean): void;
  /** A route of the FIB came or changed; ours of an earlier run (protocol bird) are adopted as stale. */
  learn(route: FibRoute): void;
  forget(route: FibRoute): void;
  /** Routes of ours as the FIB has them now: what others altered or, when these are all, removed is put right. */
  inspectFib(routes: readonly FibRoute[], areAll: boolean): void;
  /** An interface by index: name for filters; gone when the name is undefined. */
  setLink(ifindex: number, name: string | undefined, isUp: boolean): void;
  /** One of the host's own addresses came (or went). */
  setAddress(address: Uint8Array, ifindex: number, isGone?: boolean): void;
  /** Removes adopted routes that no peer has confirmed; call when all peers sent End-of-RIB, or by timer. */
  sweepFib(): void;
  /** Decides what changed. Returns the peers that have bytes waiting (the array is reused by the next call). */
  settle(): readonly PeerId[];
  /**
   * The next complete messages for the peer, at most about `max` octets (one message may be longer), as a view that is valid
   * until the next call of any method; undefined when the peer has everything. Bytes given out count as sent.
   */
  nextBytes(peer: PeerId, max: number): Uint8Array | undefined;
  hasBytes(peer: PeerId): boolean;
  /** Gives the FIB changes to the sink, at most `max` routes; false when nothing is left. */
  drainFib(sink: FibSink, max: number): boolean;
  counts(peer: PeerId): PeerCounts;
  /** Rows for `bgp routes` and `bgp explain`. */
  routes(query: RouteQuery): RouteRow[];
}
