/**
 * Routes (linux/rtnetlink.h).
 *
 *     RTM_NEWROUTE   struct rtmsg { u8 family, dst_len, src_len, tos, table, protocol, scope, type; u32 flags }
 *       RTA_DST (absent: default)  RTA_TABLE (u32; the byte in rtmsg holds up to 255)  RTA_PRIORITY (metric)  RTA_PREFSRC
 *       RTA_GATEWAY or RTA_VIA { u16 family; address }  RTA_OIF          one path; onlink is a flag of rtmsg
 *       RTA_MULTIPATH                                                    several paths instead
 *         struct rtnexthop { u16 len; u8 flags; u8 weight - 1; i32 ifindex }, then RTA_GATEWAY or RTA_VIA; repeated
 *
 * This file writes them, `route_row.ts` reads them. IPv6 differs: blackhole and its kin carry the loopback device, and
 * metric 0 means 1024.
 */

import type { ByteWriter } from "../lib/bytes.ts";
import type { Cidr } from "../lib/cidr.ts";
import type { Ip } from "../lib/ip.ts";
import { AF_INET, AF_INET6, familyOf } from "./address.ts";
import { putBytes, putNest, putU32 } from "./attribute.ts";
import { NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from "./message.ts";
import type { Request } from "./request.ts";

export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;

export const RTA_DST = 1;
export const RTA_OIF = 4;
export const RTA_GATEWAY = 5;
export const RTA_PRIORITY = 6;
export const RTA_PREFSRC = 7;
export const RTA_MULTIPATH = 9;
export const RTA_TABLE = 15;
export const RTA_VIA = 18;

export const RTNH_F_ONLINK = 4;
export const RTN_UNICAST = 1;
const MAX_NEXTHOPS = 1024;
/** IP6_RT_PRIO_USER: what the kernel makes of metric 0 in IPv6. */
const IPV6_DEFAULT_METRIC = 1024;
/** The loopback device has this index in every namespace. */
const LOOPBACK_IFINDEX = 1;

/** RTN_* by number, by its name in `ip route`. */
export const ROUTE_TYPES = [
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
