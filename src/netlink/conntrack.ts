/**
 * Connections that the kernel tracks (linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_tuple_common.h).
 *
 *     struct nfgenmsg { u8 family; u8 version; be16 resource }
 *     CTA_TUPLE_ORIG, CTA_TUPLE_REPLY { CTA_TUPLE_IP { addresses }, CTA_TUPLE_PROTO { number, ports | ICMP id, type, code } }
 *     CTA_STATUS, CTA_MARK, CTA_ZONE, CTA_ID, CTA_TIMEOUT
 *
 * The reply tuple is what an answer looks like: where it differs from the original turned round, there is NAT. A host may have
 * hundreds of thousands of connections, so a filter looks at the bytes, and only what it lets through becomes objects.
 */

import type { ByteWriter } from "../lib/bytes.ts";
import { type Family, Ip } from "../lib/ip.ts";
import {
  eachAttribute,
  NLA_F_NESTED,
  putBytes,
  putNest,
  putU16be,
  putU32be,
  putU8,
  u32beAt,
  u8At,
} from "./attribute.ts";
import { MalformedError } from "./malformed.ts";
import type { Request } from "./request.ts";

const IPCTNL_MSG_CT_GET = 0x101, IPCTNL_MSG_CT_DELETE = 0x102;
const CTA_TUPLE_ORIG = 1,
  CTA_TUPLE_REPLY = 2,
  CTA_STATUS = 3,
  CTA_TIMEOUT = 7,
  CTA_MARK = 8,
  CTA_ID = 12,
  CTA_ZONE = 18;
const CTA_MARK_MASK = 21;
const CTA_TUPLE_IP = 1, CTA_TUPLE_PROTO = 2;
const CTA_IP_V4_SRC = 1, CTA_IP_V4_DST = 2, CTA_IP_V6_SRC = 3, CTA_IP_V6_DST = 4;
const CTA_PROTO_NUM = 1, CTA_PROTO_SRC_PORT = 2, CTA_PROTO_DST_PORT = 3;
const CTA_PROTO_ICMP_ID = 4, CTA_PROTO_ICMP_TYPE = 5, CTA_PROTO_ICMP_CODE = 6;
const CTA_PROTO_ICMPV6_ID = 7, CTA_PROTO_ICMPV6_TYPE = 8, CTA_PROTO_ICMPV6_CODE = 9;
const AF_INET = 2, AF_INET6 = 10;
const GENMSG = 4;

/** IPS_* bits of a connection's status. */
export const IPS_SEEN_REPLY = 2, IPS_ASSURED = 4, IPS_CONFIRMED = 8, IPS_SRC_NAT = 16, IPS_DST_NAT = 32;

/** One direction of a connection. */
export interface Tuple {
  readonly source: Ip;
  readonly destination: Ip;
  /** IPPROTO_*. */
  readonly protocol: number;
  /** Of TCP, UDP, SCTP and their like; 0 for others. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Of ICMP and ICMPv6. */
  readonly icmp?: { readonly type: number; readonly code: number; readonly id: number };
}

/** A tracked connection. */
export interface Connection {
  readonly family: Family;
  /** From who opened it. */
  readonly original: Tuple;
  /** What answers look like. */
  readonly reply: Tuple;
  /** IPS_*. */
  readonly status: number;
  readonly mark: number;
  readonly zone: number;
  /** Tells the connection from a later one with the same tuple, unless that took its place in memory. */
  readonly id: number;
  /** Seconds until it is forgotten without a packet. */
  readonly timeout: number;
}

/** Which connections are wanted: those that all given members hold for. */
export interface ConnectionFilter {
  readonly family?: Family;
  readonly protocol?: number;
  /** The bits of the mark under the mask are the value. */
  readonly mark?: { readonly value: number; readonly mask: number };
  /** One of these is source or destination in either direction. */
  readonly addresses?: readonly Ip[];
}

/** Asks for the connections of a family, filtered by mark in the kernel. */
export function getConnections(family: Family, { mark }: ConnectionFilter = {}): Request {
  return {
    operation: `list the connections of IPv${family}`,
    type: IPCTNL_MSG_CT_GET,
    body: (writer) => {
      putGenmsg(writer, family);
      if (!mark) return;
      putU32be(writer, CTA_MARK, mark.value);
      putU32be(writer, CTA_MARK_MASK, mark.mask);
    },
  };
}

/** Ends a connection in the kernel's mind: its next packet is judged anew. One of another id is left alone. */
export function deleteConnection({ family, original, id, zone }: Connection): Request {
  return {
    operation: `delete the connection ${describeTuple(original)}`,
    type: IPCTNL_MSG_CT_DELETE,
    body: (writer) => {
      putGenmsg(writer, family);
      putTuple(writer, CTA_TUPLE_ORIG, original);
      if (zone !== 0) putU16be(writer, CTA_ZONE, zone);
      putU32be(writer, CTA_ID, id);
    },
  };
}

/** The tuple as people read it: "tcp 10.0.0.1:4000 -> 10.0.0.2:80". */
export function describeTuple({ source, destination, protocol, sourcePort, destinationPort, icmp }: Tuple): string {
  const name = { 1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp" }[protocol] ?? `protocol ${protocol}`;
  const end = (ip: Ip, port: number) => port === 0 ? `${ip}` : ip.family === 4 ? `${ip}:${port}` : `[${ip}]:${port}`;
  const detail = icmp ? ` type ${icmp.type} code ${icmp.code} id ${icmp.id}` : "";
  return `${name} ${end(source, sourcePort)} -> ${end(destination, destinationPort)}${detail}`;
}

function putGenmsg(writer: ByteWriter, family: Family): void {
  writer.u8(family === 4 ? AF_INET : AF_INET6).u8(0).u16be(0);
}

function putTuple(writer: ByteWriter, type: number, tuple: Tuple): void {
  const isV4 = tuple.source.family === 4;
  putNest(writer, type | NLA_F_NESTED, (w) => {
    putNest(w, CTA_TUPLE_IP | NLA_F_NESTED, (ip) => {
      putBytes(ip, isV4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, tuple.source.bytes);
      putBytes(ip, isV4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, tuple.destination.bytes);
    });
    putNest(w, CTA_TUPLE_PROTO | NLA_F_NESTED, (proto) => {
      putU8(proto, CTA_PROTO_NUM, tuple.protocol);
      if (tuple.icmp) {
        putU16be(proto, isV4 ? CTA_PROTO_ICMP_ID : CTA_PROTO_ICMPV6_ID, tuple.icmp.id);
        putU8(proto, isV4 ? CTA_PROTO_ICMP_TYPE : CTA_PROTO_ICMPV6_TYPE, tuple.icmp.type);
        putU8(proto, isV4 ? CTA_PROTO_ICMP_CODE : CTA_PROTO_ICMPV6_CODE, tuple.icmp.code);
      } else if (hasPorts(tuple.protocol)) {
        putU16be(proto, CTA_PROTO_SRC_PORT, tuple.sourcePort);
        putU16be(proto, CTA_PROTO_DST_PORT, tuple.destinationPort);
      }
    });
  });
}

/** TCP, UDP, DCCP, SCTP, UDP-Lite and GRE, whose keys stand in the places of the ports. */
function hasPorts(protocol: number): boolean {
  return [6, 17, 33, 47, 132, 136].includes(protocol);
}

/** A filter ready to look at many connections. */
export type CompiledFilter = (bytes: Uint8Array, from: number, to: number) => boolean;

/** Makes a filter that looks at the bytes of a reply (with nfgenmsg) and allocates nothing for IPv4. */
export function compileFilter({ family, protocol, mark, addresses }: ConnectionFilter): CompiledFilter {
  const v4 = new Set<number>(), v6 = new Set<string>();
  for (const ip of addresses ?? []) {
    if (ip.family === 4) v4.add(ip.toNumber());
    else v6.add(textOf(ip.bytes, 0));
  }
  return (bytes, from, to) => {
    const messageFamily = u8At(bytes, from);
    if (messageFamily !== AF_INET && messageFamily !== AF_INET6) return false;
    if (family !== undefined && messageFamily !== (family === 4 ? AF_INET : AF_INET6)) return false;
    let isWantedProtocol = protocol === undefined,
      isWantedMark = mark === undefined,
      isWantedAddress = addresses === undefined;
    let sawMark = 0;
    eachAttribute(bytes, from + GENMSG, to, (type, at, length) => {
      if (type === CTA_MARK) sawMark = u32beAt(bytes, at);
      if (type !== CTA_TUPLE_ORIG && type !== CTA_TUPLE_REPLY) return;
      eachAttribute(bytes, at, at + length, (part, partAt, partLength) => {
        if (part === CTA_TUPLE_PROTO && type === CTA_TUPLE_ORIG && !isWantedProtocol) {
          eachAttribute(bytes, partAt, partAt + partLength, (inner, innerAt) => {
            if (inner === CTA_PROTO_NUM && u8At(bytes, innerAt) === protocol) isWantedProtocol = true;
          });
        } else if (part === CTA_TUPLE_IP && !isWantedAddress) {
          eachAttribute(bytes, partAt, partAt + partLength, (inner, innerAt) => {
            if (
              inner <= CTA_IP_V4_DST ? v4.has(u32beAt(bytes, innerAt)) : v6.size > 0 && v6.has(textOf(bytes, innerAt))
            ) {
              isWantedAddress = true;
            }
          });
        }
      });
    });
    if (mark) isWantedMark = ((sawMark & mark.mask) >>> 0) === ((mark.value & mark.mask) >>> 0);
    return isWantedProtocol && isWantedMark && isWantedAddress;
  };
}

/** Sixteen bytes as a map key. */
function textOf(bytes: Uint8Array, at: number): string {
  if (at + 16 > bytes.length) throw new MalformedError("IPv6 address", at);
  return String.fromCharCode(...bytes.subarray(at, at + 16));
}

/** Decodes one connection; undefined when it is of another family than IPv4 and IPv6. Throws `MalformedError`. */
export function decodeConnection(body: Uint8Array): Connection | undefined {
  const familyNumber = u8At(body, 0);
  if (familyNumber !== AF_INET && familyNumber !== AF_INET6) return undefined;
  const family: Family = familyNumber === AF_INET ? 4 : 6;
  let original: Tuple | undefined, reply: Tuple | undefined;
  let status = 0, mark = 0, zone = 0, id = 0, timeout = 0;
  eachAttribute(body, GENMSG, body.length, (type, at, length) => {
    switch (type) {
      case CTA_TUPLE_ORIG:
        original = decodeTuple(body, at, length);
        break;
      case CTA_TUPLE_REPLY:
        reply = decodeTuple(body, at, length);
        break;
      case CTA_STATUS:
        status = u32beAt(body, at);
        break;
      case CTA_MARK:
        mark = u32beAt(body, at);
        break;
      case CTA_ZONE:
        zone = u16beAt(body, at);
        break;
      case CTA_ID:
        id = u32beAt(body, at);
        break;
      case CTA_TIMEOUT:
        timeout = u32beAt(body, at);
        break;
    }
  });
  if (!original || !reply) throw new MalformedError("CTA_TUPLE_ORIG and CTA_TUPLE_REPLY", GENMSG);
  return { family, original, reply, status, mark, zone, id, timeout };
}

function decodeTuple(body: Uint8Array, from: number, length: number): Tuple {
  let source: Ip | undefined, destination: Ip | undefined;
  let protocol = 0, sourcePort = 0, destinationPort = 0;
  let icmpType: number | undefined, icmpCode = 0, icmpId = 0;
  eachAttribute(body, from, from + length, (part, partAt, partLength) => {
    eachAttribute(body, partAt, partAt + partLength, (type, at, size) => {
      if (part === CTA_TUPLE_IP) {
        if (type === CTA_IP_V4_SRC || type === CTA_IP_V6_SRC) source = ipAt(body, at, size);
        else if (type === CTA_IP_V4_DST || type === CTA_IP_V6_DST) destination = ipAt(body, at, size);
      } else if (part === CTA_TUPLE_PROTO) {
        if (type === CTA_PROTO_NUM) protocol = u8At(body, at);
        else if (type === CTA_PROTO_SRC_PORT) sourcePort = u16beAt(body, at);
        else if (type === CTA_PROTO_DST_PORT) destinationPort = u16beAt(body, at);
        else if (type === CTA_PROTO_ICMP_ID || type === CTA_PROTO_ICMPV6_ID) icmpId = u16beAt(body, at);
        else if (type === CTA_PROTO_ICMP_TYPE || type === CTA_PROTO_ICMPV6_TYPE) icmpType = u8At(body, at);
        else if (type === CTA_PROTO_ICMP_CODE || type === CTA_PROTO_ICMPV6_CODE) icmpCode = u8At(body, at);
      }
    });
  });
  if (!source || !destination) throw new MalformedError("CTA_TUPLE_IP", from);
  const tuple = { source, destination, protocol, sourcePort, destinationPort };
  return icmpType === undefined ? tuple : { ...tuple, icmp: { type: icmpType, code: icmpCode, id: icmpId } };
}

function u16beAt(bytes: Uint8Array, at: number): number {
  return u8At(bytes, at) << 8 | u8At(bytes, at + 1);
}

function ipAt(bytes: Uint8Array, at: number, length: number): Ip {
  if (length !== 4 && length !== 16) throw new MalformedError("address", at);
  return Ip.fromBytes(bytes.subarray(at, at + length));
}
