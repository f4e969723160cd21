/**
 * Reading routes: one row is filled again for each route of a dump, and nothing is allocated, for tables of a million
 * routes; `decodeRoute` and `routeOf` make a value that can be kept. The layout is drawn in `route.ts` (linux/rtnetlink.h).
 *
 * In: message bodies that may be wrong. Out: rows and values, or `MalformedError`.
 */

import { Cidr } from "../lib/cidr.ts";
import { Ip } from "../lib/ip.ts";
import { AF_INET, AF_INET6 } from "./address.ts";
import { eachAttribute, u16At, u32At, u32beAt } from "./attribute.ts";
import { MalformedError } from "./malformed.ts";
import {
  type NexthopMessage,
  ROUTE_TYPES,
  type RouteMessage,
  RTA_DST,
  RTA_GATEWAY,
  RTA_MULTIPATH,
  RTA_OIF,
  RTA_PREFSRC,
  RTA_PRIORITY,
  RTA_TABLE,
  RTA_VIA,
  RTNH_F_ONLINK,
} from "./route.ts";

const RTM_F_CLONED = 0x200;
const RTN_BLACKHOLE = 6;
const RTN_THROW = 9;
const RTMSG = 12;
const RTNEXTHOP = 8;

/** A route in a received datagram; one object is filled again for each, so copy what is kept. Offsets are -1 when absent. */
export class RouteRow {
  bytes: Uint8Array = new Uint8Array(0);
  /** AF_INET or AF_INET6. */
  family = 0;
  /** The first 32 bits of the destination (all of an IPv4 one), unsigned. */
  destination = 0;
  destinationAt = -1;
  /** Prefix length in bits. */
  length = 0;
  /** RTN_*. */
  type = 0;
  table = 0;
  protocol = 0;
  scope = 0;
  metric = 0;
  /** rtm_flags: RTNH_F_* of a single path. */
  flags = 0;
  /** RTA_OIF; 0 when absent. */
  ifindex = 0;
  /** The first 32 bits of the gateway, unsigned; 0 when absent. */
  gateway = 0;
  gatewayAt = -1;
  /** AF_* of the gateway (RTA_VIA may name another than the route's). */
  gatewayFamily = 0;
  sourceAt = -1;
  /** RTA_MULTIPATH's value. */
  multipathAt = -1;
  multipathEnd = -1;
  #lastGateway: Ip | undefined;

  /** The IPv4 gateway as an address; neighbouring routes often share it, so the last one is kept. */
  gatewayIp(): Ip {
    if (this.#lastGateway?.toNumber() === this.gateway) return this.#lastGateway;
    return this.#lastGateway = Ip.fromNumber(this.gateway);
  }
}

/**
 * Fills the row from the body of RTM_NEWROUTE or RTM_DELROUTE between two offsets; false for another family, a cached or
 * a source-specific route, and kinds that `ip route` has no name for. Throws `MalformedError`.
 */
export function readRoute(bytes: Uint8Array, from: number, to: number, row: RouteRow): boolean {
  if (to > bytes.length || to - from < RTMSG) throw new MalformedError("struct rtmsg", from);
  const family = bytes[from]!;
  const size = family === AF_INET ? 4 : 16;
  row.bytes = bytes;
  row.family = family;
  row.length = bytes[from + 1]!;
  row.table = bytes[from + 4]!;
  row.protocol = bytes[from + 5]!;
  row.scope = bytes[from + 6]!;
  row.type = bytes[from + 7]!;
  row.flags = u32At(bytes, from + 8);
  if (family !== AF_INET && family !== AF_INET6) return false;
  if (row.flags & RTM_F_CLONED || bytes[from + 2] !== 0 || !ROUTE_TYPES[row.type]) return false;
  if (row.length > size * 8) throw new MalformedError("rtm_dst_len", from + 1);
  row.destination =
    row.metric =
    row.ifindex =
    row.gateway =
    row.gatewayFamily =
      0;
  row.destinationAt =
    row.gatewayAt =
    row.sourceAt =
    row.multipathAt =
    row.multipathEnd =
      -1;
  for (let at = from + RTMSG; to - at >= 4;) {
    const length = bytes[at]! | (bytes[at + 1]! << 8);
    if (length < 4 || length > to - at) throw new MalformedError("attribute length", at);
    readAttribute(row, bytes[at + 2]! | ((bytes[at + 3]! & 0x3f) << 8), at + 4, length - 4, size);
    at += (length + 3) & ~3;
  }
  if (row.destinationAt < 0 && row.length > 0) throw new MalformedError("RTA_DST", from);
  return true;
}

function readAttribute(row: RouteRow, type: number, at: number, length: number, size: number): void {
  const { bytes } = row;
  switch (type) {
    case RTA_DST:
      expectSize(length, size, "RTA_DST", at);
      row.destination = u32beAt(bytes, at);
      row.destinationAt = at;
      break;
    case RTA_OIF:
      expectSize(length, 4, "RTA_OIF", at);
      row.ifindex = u32At(bytes, at);
      break;
    case RTA_GATEWAY:
      expectSize(length, size, "RTA_GATEWAY", at);
      row.gateway = u32beAt(bytes, at);
      row.gatewayAt = at;
      row.gatewayFamily = row.family;
      break;
    case RTA_VIA:
      row.gatewayFamily = u16At(bytes, at);
      expectSize(length - 2, row.gatewayFamily === AF_INET ? 4 : 16, "RTA_VIA", at);
      row.gateway = u32beAt(bytes, at + 2);
      row.gatewayAt = at + 2;
      break;
    case RTA_PRIORITY:
      expectSize(length, 4, "RTA_PRIORITY", at);
      row.metric = u32At(bytes, at);
      break;
    case RTA_PREFSRC:
      expectSize(length, size, "RTA_PREFSRC", at);
      row.sourceAt = at;
      break;
    case RTA_TABLE:
      expectSize(length, 4, "RTA_TABLE", at);
      row.table = u32At(bytes, at);
      break;
    case RTA_MULTIPATH:
      row.multipathAt = at;
      row.multipathEnd = at + length;
      break;
  }
}

/** Decodes the body of RTM_NEWROUTE or RTM_DELROUTE; undefined where `readRoute` says false. Throws `MalformedError`. */
export function decodeRoute(body: Uint8Array): RouteMessage | undefined {
  const row = new RouteRow();
  return readRoute(body, 0, body.length, row) ? routeOf(row) : undefined;
}

/** The row's route as a value of its own; throws `MalformedError` when its paths do not fit. */
export function routeOf(row: RouteRow): RouteMessage {
  const { bytes, family, type, table, protocol, scope, metric } = row;
  const size = family === AF_INET ? 4 : 16;
  const network = family === AF_INET
    ? Ip.fromNumber(row.destination)
    : row.destinationAt < 0
    ? Ip.fromBytes(new Uint8Array(16))
    : ipOf(bytes, row.destinationAt, family);
  const typeName = ROUTE_TYPES[type];
  if (!typeName) throw new MalformedError("rtm_type", 0);
  return {
    destination: Cidr.of(network, row.length),
    type: typeName,
    table,
    protocol,
    scope,
    metric,
    ...(row.sourceAt >= 0 && { source: Ip.fromBytes(bytes.subarray(row.sourceAt, row.sourceAt + size)) }),
    nexthops: type >= RTN_BLACKHOLE && type <= RTN_THROW ? [] : nexthopsOf(row),
  };
}

function nexthopsOf(row: RouteRow): NexthopMessage[] {
  const { bytes, multipathEnd, gatewayAt, gatewayFamily, ifindex } = row;
  if (row.multipathAt < 0) {
    if (gatewayAt < 0 && ifindex === 0) return [];
    const gateway = gatewayAt < 0
      ? undefined
      : gatewayFamily === AF_INET
      ? row.gatewayIp()
      : ipOf(bytes, gatewayAt, gatewayFamily);
    return [nexthop(gateway, ifindex, row.flags, 1)];
  }
  const nexthops: NexthopMessage[] = [];
  for (let at = row.multipathAt; multipathEnd - at >= RTNEXTHOP;) {
    const length = u16At(bytes, at);
    if (length < RTNEXTHOP || length > multipathEnd - at) throw new MalformedError("struct rtnexthop", at);
    let gateway: Ip | undefined;
    eachAttribute(bytes, at + RTNEXTHOP, at + length, (type, valueAt, valueLength) => {
      const isVia = type === RTA_VIA;
      if (type !== RTA_GATEWAY && !isVia) return;
      const family = isVia ? u16At(bytes, valueAt) : row.family;
      const skipped = isVia ? 2 : 0;
      expectSize(valueLength - skipped, family === AF_INET ? 4 : 16, "RTA_GATEWAY", valueAt);
      gateway = ipOf(bytes, valueAt + skipped, family);
    });
    nexthops.push(nexthop(gateway, u32At(bytes, at + 4), bytes[at + 2]!, bytes[at + 3]! + 1));
    at += (length + 3) & ~3;
  }
  return nexthops;
}

function nexthop(gateway: Ip | undefined, ifindex: number, flags: number, weight: number): NexthopMessage {
  return {
    ...(gateway && { gateway }),
    ...(ifindex !== 0 && { ifindex }),
    ...(flags & RTNH_F_ONLINK && { isOnlink: true }),
    ...(weight !== 1 && { weight }),
  };
}

function ipOf(bytes: Uint8Array, at: number, family: number): Ip {
  return Ip.fromBytes(bytes.subarray(at, at + (family === AF_INET ? 4 : 16)));
}

function expectSize(size: number, wanted: number, what: string, at: number): void {
  if (size !== wanted) throw new MalformedError(what, at);
}
