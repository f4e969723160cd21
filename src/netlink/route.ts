/**
 * Routes (linux/rtnetlink.h).
 *
 *     RTM_NEWROUTE   struct rtmsg { u8 family, dst_len, src_len, tos, table, protocol, scope, type; u32 flags }
 *       RTA_DST (absent: default)  RTA_TABLE (u32; the byte in rtmsg holds up to 255)  RTA_PRIORITY (metric)  RTA_PREFSRC
 *       RTA_GATEWAY or RTA_VIA { u16 family; address }  RTA_OIF          one path; onlink is a flag of rtmsg
 *       RTA_MULTIPATH                                                    several paths instead
 *         struct rtnexthop { u16 len; u8 flags; u8 weight - 1; i32 ifindex }, then RTA_GATEWAY or RTA_VIA; repeated
 *
 * `readRoute` fills one reused row and allocates nothing, for tables of a million routes; `decodeRoute` makes a value of it.
 * IPv6 differs: blackhole and its kin carry the loopback device; metric 0 means 1024. Decoders throw `MalformedError`.
 */

import type { ByteWriter } from "../lib/bytes.ts";
import { Cidr } from "../lib/cidr.ts";
import { Ip } from "../lib/ip.ts";
import { AF_INET, AF_INET6, familyOf } from "./address.ts";
import { eachAttribute, putBytes, putNest, putU32, u16At, u32At, u32beAt } from "./attribute.ts";
import { MalformedError } from "./malformed.ts";
import { NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from "./message.ts";
import type { Request } from "./request.ts";

export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;

export const RTA_DST = 1;
export const RTA_OIF = 4;
export const RTA_GATEWAY = 5;
export const RTA_PRIORITY = 6;
const RTA_PREFSRC = 7;
const RTA_MULTIPATH = 9;
export const RTA_TABLE = 15;
const RTA_VIA = 18;

export const RTNH_F_ONLINK = 4;
const RTM_F_CLONED = 0x200;
export const RTN_UNICAST = 1;
const RTN_BLACKHOLE = 6;
const RTN_THROW = 9;
const RTMSG = 12;
const RTNEXTHOP = 8;
const MAX_NEXTHOPS = 1024;
/** IP6_RT_PRIO_USER: what the kernel makes of metric 0 in IPv6. */
const IPV6_DEFAULT_METRIC = 1024;
/** The loopback device has this index in every namespace. */
const LOOPBACK_IFINDEX = 1;

/** RTN_* by number, by its name in `ip route`. */
const ROUTE_TYPES = [
  undefined,
  "unicast",
  "local",
  "broadcast",
  "anycast",
  "multicast",
  "blackhole",
  "unreachable",
  "prohibit",
  "throw",
] as const;

/** RTN_* by name. */
export type RouteTypeName = NonNullable<(typeof ROUTE_TYPES)[number]>;

/** One path of a route. */
export interface NexthopMessage {
  readonly gateway?: Ip;
  readonly ifindex?: number;
  readonly isOnlink?: boolean;
  /** 1 to 256; 1 when left out. */
  readonly weight?: number;
}

/** A route as RTM_NEWROUTE tells it. */
export interface RouteMessage {
  readonly destination: Cidr;
  readonly type: RouteTypeName;
  readonly table: number;
  readonly protocol: number;
  readonly scope: number;
  readonly metric: number;
  readonly source?: Ip;
  /** Empty for blackhole and its kin. */
  readonly nexthops: readonly NexthopMessage[];
}

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

/** Asks for the routes of a family, the kernel filtering by table and protocol when they are named (a dump). */
export function getRoutes(family: 4 | 6, filter: { table?: number; protocol?: number } = {}): Request {
  return {
    operation: family === 4 ? "route show" : "-6 route show",
    type: RTM_GETROUTE,
    body: (writer) => {
      writer.u8(family === 4 ? AF_INET : AF_INET6).zeros(4).u8(filter.protocol ?? 0).zeros(6);
      if (filter.table !== undefined) putU32(writer, RTA_TABLE, filter.table);
    },
  };
}

/** Adds the route, or overwrites that of the same destination, table and metric; RangeError past 1024 paths. */
export function replaceRoute(route: RouteMessage): Request {
  checkNexthops(route);
  return {
    operation: describeRoute("replace", route),
    type: RTM_NEWROUTE,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    body: (writer) => putRoute(writer, route, route.metric),
  };
}

/** Adds the route; refused with EEXIST where one of that destination, table and metric stands. */
export function addRoute(route: RouteMessage): Request {
  return { ...replaceRoute(route), operation: describeRoute("add", route), flags: NLM_F_CREATE | NLM_F_EXCL };
}

/**
 * Removes the route that agrees in everything given: type, protocol, scope, metric, source and paths, so that another
 * owner's route to the same destination stays. In IPv4 the kernel takes metric 0 as "any" once metric 0 itself is gone.
 */
export function deleteRoute(route: RouteMessage): Request {
  checkNexthops(route);
  const isIpv6 = route.destination.family === 6;
  const isSink = route.nexthops.length === 0 && route.type !== "unicast";
  return {
    operation: describeRoute("del", route),
    type: RTM_DELROUTE,
    body: (writer) => {
      putRoute(writer, route, isIpv6 && route.metric === 0 ? IPV6_DEFAULT_METRIC : route.metric);
      if (isIpv6 && isSink) putU32(writer, RTA_OIF, LOOPBACK_IFINDEX);
    },
  };
}

/** The change in the words of `ip`: "route replace blackhole 10.0.0.0/8 table 100". */
export function describeRoute(verb: "add" | "replace" | "del", route: RouteMessage): string {
  const { type, destination, nexthops, table } = route;
  const paths = nexthops.map((hop) =>
    `${hop.gateway ? ` via ${hop.gateway}` : ""}${hop.ifindex ? ` dev ${hop.ifindex}` : ""}`
  );
  return `route ${verb} ${type === "unicast" ? "" : `${type} `}${destination}${paths.join(" nexthop")}` +
    (table === 254 ? "" : ` table ${table}`);
}

function checkNexthops({ destination, nexthops }: RouteMessage): void {
  if (nexthops.length <= MAX_NEXTHOPS) return;
  throw new RangeError(
    `Cannot encode the route ${destination}: ${nexthops.length} paths are more than ${MAX_NEXTHOPS}`,
  );
}

function putRoute(writer: ByteWriter, route: RouteMessage, metric: number): void {
  const { destination, nexthops, table } = route;
  const [only, another] = nexthops;
  const single = another ? undefined : only;
  writer.u8(familyOf(destination.ip)).u8(destination.length).u8(0).u8(0);
  writer.u8(table < 256 ? table : 0).u8(route.protocol).u8(route.scope).u8(ROUTE_TYPES.indexOf(route.type));
  writer.u32le(single?.isOnlink ? RTNH_F_ONLINK : 0);
  if (destination.length > 0) putBytes(writer, RTA_DST, destination.ip.bytes);
  putU32(writer, RTA_TABLE, table);
  if (metric !== 0) putU32(writer, RTA_PRIORITY, metric);
  if (route.source) putBytes(writer, RTA_PREFSRC, route.source.bytes);
  if (single) {
    if (single.gateway) putGateway(writer, single.gateway, destination);
    if (single.ifindex !== undefined) putU32(writer, RTA_OIF, single.ifindex);
  } else if (another) {
    putNest(writer, RTA_MULTIPATH, () => nexthops.forEach((hop) => putNexthop(writer, hop, destination)));
  }
}

function putNexthop(writer: ByteWriter, hop: NexthopMessage, destination: Cidr): void {
  const at = writer.reserve(2);
  writer.u8(hop.isOnlink ? RTNH_F_ONLINK : 0).u8((hop.weight ?? 1) - 1).u32le(hop.ifindex ?? 0);
  if (hop.gateway) putGateway(writer, hop.gateway, destination);
  writer.patchU16le(at, writer.length - at);
}

function putGateway(writer: ByteWriter, gateway: Ip, destination: Cidr): void {
  if (gateway.family === destination.family) return putBytes(writer, RTA_GATEWAY, gateway.bytes);
  writer.u16le(6 + gateway.bytes.length).u16le(RTA_VIA).u16le(familyOf(gateway)).put(gateway.bytes).align(4);
}
