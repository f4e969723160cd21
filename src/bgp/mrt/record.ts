/**
 * MRT records (RFC 6396, 8050), all numbers in network order.
 *
 *   header: timestamp 4 | type 2 | subtype 2 | length 4
 *   TABLE_DUMP_V2 (13):
 *     PEER_INDEX_TABLE (1): collector id 4 | view name length 2 | name | count 2 | peers
 *       peer: type 1 (bit 0: IPv6, bit 1: 4-octet AS) | BGP id 4 | address 4 or 16 | AS 4
 *     RIB_IPV4_UNICAST (2), RIB_IPV6_UNICAST (4), with ADD-PATH 8 and 10:
 *       sequence 4 | NLRI | count 2 | entries: peer index 2 | originated 4 | [path id 4] | attributes length 2 | attributes
 *   BGP4MP_ET (17): microseconds 4 (part of the length) | peer AS 2 or 4 | local AS 2 or 4 | interface 2 | AFI 2 |
 *     peer address | local address | message, or old state 2 | new state 2
 */

import type { ByteWriter } from "../../lib/bytes.ts";
import { AFI_IPV4, AFI_IPV6, ATTR_FLAG_OPTIONAL, ATTR_MP_REACH_NLRI } from "../wire/constants.ts";

const TABLE_DUMP_V2 = 13;
const BGP4MP_ET = 17;
const PEER_INDEX_TABLE = 1;
const RIB_UNICAST = { ipv4: 2, ipv6: 4 } as const;
/** How far the ADD-PATH subtypes are from the plain ones. */
const ADD_PATH = 6;
const BGP4MP_STATE_CHANGE_AS4 = 5;
/** Subtypes of BGP4MP messages: 2-octet AS, 4-octet AS, and the same for messages that we sent. */
const MESSAGES = { received: { 2: 1, 4: 4 }, sent: { 2: 6, 4: 7 } } as const;
const MESSAGES_ADD_PATH = { received: { 2: 8, 4: 9 }, sent: { 2: 10, 4: 11 } } as const;
const IS_IPV6 = 1;
const IS_AS4 = 2;
const HEADER_BYTES = 12;

/** Peer states by the numbers of RFC 4271's FSM. */
export const MRT_STATES = { Idle: 1, Connect: 2, Active: 3, OpenSent: 4, OpenConfirm: 5, Established: 6 } as const;

/** A peer of the index; the host itself is one with address 0.0.0.0. */
export interface MrtPeer {
  readonly id: number;
  readonly address: Uint8Array;
  readonly as: number;
}

/** Writes the index of peers; `timestamp` in seconds since 1970. */
export function putPeerIndex(
  out: ByteWriter,
  timestamp: number,
  collectorId: number,
  name: string,
  peers: readonly MrtPeer[],
): void {
  const end = begin(out, timestamp, TABLE_DUMP_V2, PEER_INDEX_TABLE);
  const view = new TextEncoder().encode(name);
  out.u32be(collectorId).u16be(view.length).put(view).u16be(peers.length);
  for (const { id, address, as } of peers) {
    out.u8(IS_AS4 | (address.length === 16 ? IS_IPV6 : 0)).u32be(id).put(address).u32be(as);
  }
  end();
}

/** One path of a prefix in a table dump. */
export interface MrtEntry {
  readonly peerIndex: number;
  /** Seconds since 1970. */
  readonly originated: number;
  readonly pathId?: number;
  /** Attributes with 4-octet AS numbers, without MP_REACH_NLRI. */
  readonly raw: Uint8Array;
  /** The next hop that MP_REACH_NLRI would have; empty when `raw` has NEXT_HOP. */
  readonly nextHop: Uint8Array;
}

/** Writes all paths of one prefix; either all of them have path identifiers or none. */
export function putRibEntries(
  out: ByteWriter,
  timestamp: number,
  sequence: number,
  isV6: boolean,
  nlri: Uint8Array,
  entries: readonly MrtEntry[],
): void {
  const hasPathIds = entries.some(({ pathId }) => pathId !== undefined);
  const subtype = (isV6 ? RIB_UNICAST.ipv6 : RIB_UNICAST.ipv4) + (hasPathIds ? ADD_PATH : 0);
  const end = begin(out, timestamp, TABLE_DUMP_V2, subtype);
  out.u32be(sequence).put(nlri).u16be(entries.length);
  for (const { peerIndex, originated, pathId, raw, nextHop } of entries) {
    out.u16be(peerIndex).u32be(originated);
    if (hasPathIds) out.u32be(pathId ?? 0);
    // RFC 6396 4.3.4: of MP_REACH_NLRI only the next hop is kept.
    const mp = nextHop.length === 0 ? 0 : 4 + nextHop.length;
    out.u16be(raw.length + mp).put(raw);
    if (mp > 0) {
      out.u8(ATTR_FLAG_OPTIONAL).u8(ATTR_MP_REACH_NLRI).u8(nextHop.length + 1).u8(nextHop.length).put(nextHop);
    }
  }
  end();
}

/** The two ends of a session, as records of its messages name them. */
export interface MrtSession {
  readonly peerAs: number;
  readonly localAs: number;
  readonly peerAddress: Uint8Array;
  readonly localAddress: Uint8Array;
}

/** How a message is to be read. */
export interface MrtMessage {
  readonly isSent: boolean;
  readonly isFourOctetAs: boolean;
  readonly hasPathIds: boolean;
  /** The whole message, header included. */
  readonly bytes: Uint8Array;
}

/** Writes one BGP message; `time` in milliseconds since 1970. */
export function putMessage(out: ByteWriter, time: number, session: MrtSession, message: MrtMessage): void {
  const { isSent, isFourOctetAs, hasPathIds, bytes } = message;
  const subtypes = (hasPathIds ? MESSAGES_ADD_PATH : MESSAGES)[isSent ? "sent" : "received"];
  const end = beginExact(out, time, subtypes[isFourOctetAs ? 4 : 2]);
  putSession(out, session, isFourOctetAs);
  out.put(bytes);
  end();
}

/** Writes a change of a session's state (`MRT_STATES`); `time` in milliseconds since 1970. */
export function putStateChange(out: ByteWriter, time: number, session: MrtSession, from: number, to: number): void {
  const end = beginExact(out, time, BGP4MP_STATE_CHANGE_AS4);
  putSession(out, session, true);
  out.u16be(from).u16be(to);
  end();
}

function putSession(out: ByteWriter, session: MrtSession, isFourOctetAs: boolean): void {
  const { peerAs, localAs, peerAddress, localAddress } = session;
  if (isFourOctetAs) out.u32be(peerAs).u32be(localAs);
  else out.u16be(peerAs).u16be(localAs);
  out.u16be(0).u16be(peerAddress.length === 16 ? AFI_IPV6 : AFI_IPV4).put(peerAddress).put(localAddress);
}

/** Writes a header; the function that comes back fills in the length. */
function begin(out: ByteWriter, timestamp: number, type: number, subtype: number): () => void {
  const at = out.length;
  out.u32be(timestamp).u16be(type).u16be(subtype).u32be(0);
  return () => {
    const length = out.length - at - HEADER_BYTES;
    out.patchU16be(at + 8, length >>> 16);
    out.patchU16be(at + 10, length & 0xffff);
  };
}

function beginExact(out: ByteWriter, time: number, subtype: number): () => void {
  const end = begin(out, Math.floor(time / 1000), BGP4MP_ET, subtype);
  out.u32be(Math.round(time % 1000 * 1000));
  return end;
}
