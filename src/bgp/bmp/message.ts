/**
 * BMP messages (RFC 7854, with 8671's flag and 9069's Loc-RIB peer), all numbers in network order.
 *
 *   common header:   version 3 | length 4 | type 1
 *   per-peer header: peer type 1 | flags 1 | distinguisher 8 | address 16 | AS 4 | BGP id 4 | seconds 4 | microseconds 4
 *   Route Monitoring (0): per-peer header | UPDATE
 *   Statistics (1):       per-peer header | count 4 | TLVs
 *   Peer Down (2):        per-peer header | reason 1 | NOTIFICATION or FSM event 2 or TLV
 *   Peer Up (3):          per-peer header | local address 16 | local port 2 | remote port 2 | OPEN sent | OPEN received | TLVs
 *   Initiation (4), Termination (5): TLVs         TLV: type 2 | length 2 | value
 */

import { ByteWriter } from "../../lib/bytes.ts";

const VERSION = 3;
const ROUTE_MONITORING = 0;
const STATISTICS = 1;
const PEER_DOWN = 2;
const PEER_UP = 3;
const INITIATION = 4;
const TERMINATION = 5;

const TLV_SYS_DESCR = 1;
const TLV_SYS_NAME = 2;
const TLV_TABLE_NAME = 3;
const TLV_TERMINATION_REASON = 1;
const ADMINISTRATIVELY_CLOSED = 0;

const PEER_TYPE_GLOBAL = 0;
const PEER_TYPE_LOC_RIB = 3;
const FLAG_IPV6 = 0x80;
const FLAG_POST_POLICY = 0x40;
const FLAG_AS2 = 0x20;
const FLAG_ADJ_RIB_OUT = 0x10;

/** Why a session ended (RFC 7854 section 4.9). */
export const DOWN_LOCAL_NOTIFICATION = 1;
export const DOWN_LOCAL_SILENT = 2;
export const DOWN_REMOTE_NOTIFICATION = 3;
export const DOWN_REMOTE_SILENT = 4;
/** The session stands, but its routes are not told any more. */
export const DOWN_NOT_MONITORED = 5;
/** End of the Loc-RIB's monitoring (RFC 9069). */
export const DOWN_LOCAL_TLV = 6;

/** Gauges of a Statistics Report: routes in the Adj-RIB-In and the Loc-RIB, and the same for each family. */
export const STAT_ADJ_RIB_IN = 7;
export const STAT_LOC_RIB = 8;
export const STAT_ADJ_RIB_IN_FAMILY = 9;
export const STAT_LOC_RIB_FAMILY = 10;

/** Whose routes a message is about; the Loc-RIB has no address. */
export interface BmpPeer {
  /** 4 or 16 octets; empty for the Loc-RIB. */
  readonly address: Uint8Array;
  readonly as: number;
  readonly id: number;
}

/** Which of a peer's tables: as announced, after the import filter, or what the peer was told. */
export type BmpView = "adj-rib-in-pre" | "adj-rib-in-post" | "adj-rib-out-post" | "loc-rib";

/** The table's name that the Loc-RIB's Peer Up bears. */
export const LOC_RIB_NAME = "global";

/** Says who we are; it opens the stream. */
export function encodeInitiation(name: string, description: string): Uint8Array {
  return message(INITIATION, (out) => {
    putText(out, TLV_SYS_DESCR, description);
    putText(out, TLV_SYS_NAME, name);
  });
}

/** Ends the stream because the administrator wants it. */
export function encodeTermination(): Uint8Array {
  return message(TERMINATION, (out) => out.u16be(TLV_TERMINATION_REASON).u16be(2).u16be(ADMINISTRATIVELY_CLOSED));
}

/** What a Peer Up says beside the peer. */
export interface BmpPeerUp {
  /** 4 or 16 octets; empty for the Loc-RIB. */
  readonly localAddress: Uint8Array;
  readonly localPort: number;
  readonly remotePort: number;
  /** Whole messages. */
  readonly openSent: Uint8Array;
  readonly openReceived: Uint8Array;
}

/** A session is Established; `time` in milliseconds since 1970, here and below. */
export function encodePeerUp(peer: BmpPeer, time: number, up: BmpPeerUp): Uint8Array {
  return message(PEER_UP, (out) => {
    putPeer(out, peer, peer.address.length === 0 ? "loc-rib" : "adj-rib-in-pre", false, time);
    putAddress(out, up.localAddress);
    out.u16be(up.localPort).u16be(up.remotePort).put(up.openSent).put(up.openReceived);
    if (peer.address.length === 0) putText(out, TLV_TABLE_NAME, LOC_RIB_NAME);
  });
}

/** A session ended; `data` is the NOTIFICATION for reasons 1 and 3, two octets of an FSM event (0: none) for reason 2. */
export function encodePeerDown(peer: BmpPeer, time: number, reason: number, data: Uint8Array): Uint8Array {
  return message(PEER_DOWN, (out) => {
    putPeer(out, peer, peer.address.length === 0 ? "loc-rib" : "adj-rib-in-pre", false, time);
    out.u8(reason);
    if (reason === DOWN_LOCAL_TLV) putText(out, TLV_TABLE_NAME, LOC_RIB_NAME);
    else out.put(data);
  });
}

/** An UPDATE, header included; `isAs2` says that its AS_PATH has 2-octet numbers. */
export function encodeRouteMonitoring(
  peer: BmpPeer,
  time: number,
  view: BmpView,
  update: Uint8Array,
  isAs2 = false,
): Uint8Array {
  return message(ROUTE_MONITORING, (out) => {
    putPeer(out, peer, view, isAs2, time);
    out.put(update);
  });
}

/** A gauge of 64 bits, of one family (AFI; unicast) where one is given. */
export interface BmpStat {
  readonly type: number;
  readonly value: number;
  readonly afi?: number;
}

/** Counts of a peer's tables. */
export function encodeStatistics(peer: BmpPeer, time: number, stats: readonly BmpStat[]): Uint8Array {
  return message(STATISTICS, (out) => {
    putPeer(out, peer, peer.address.length === 0 ? "loc-rib" : "adj-rib-in-pre", false, time);
    out.u32be(stats.length);
    for (const { type, value, afi } of stats) {
      out.u16be(type).u16be(afi === undefined ? 8 : 11);
      if (afi !== undefined) out.u16be(afi).u8(1);
      out.u64be(BigInt(value));
    }
  });
}

function message(type: number, fill: (out: ByteWriter) => void): Uint8Array {
  const out = new ByteWriter(256);
  out.u8(VERSION).u32be(0).u8(type);
  fill(out);
  out.patchU16be(1, out.length >>> 16);
  out.patchU16be(3, out.length & 0xffff);
  return out.bytes();
}

function putPeer(out: ByteWriter, { address, as, id }: BmpPeer, view: BmpView, isAs2: boolean, time: number): void {
  const isLocRib = address.length === 0;
  const flags = isLocRib ? 0 : (address.length === 16 ? FLAG_IPV6 : 0) |
    (view === "adj-rib-in-pre" ? 0 : FLAG_POST_POLICY) |
    (view === "adj-rib-out-post" ? FLAG_ADJ_RIB_OUT : 0) |
    (isAs2 ? FLAG_AS2 : 0);
  out.u8(isLocRib ? PEER_TYPE_LOC_RIB : PEER_TYPE_GLOBAL).u8(flags).zeros(8);
  putAddress(out, address);
  out.u32be(as).u32be(id).u32be(Math.floor(time / 1000)).u32be(Math.round(time % 1000 * 1000));
}

/** Sixteen octets, an IPv4 address in the last four. */
function putAddress(out: ByteWriter, address: Uint8Array): void {
  out.zeros(16 - address.length).put(address);
}

function putText(out: ByteWriter, type: number, text: string): void {
  const bytes = new TextEncoder().encode(text);
  out.u16be(type).u16be(bytes.length).put(bytes);
}
