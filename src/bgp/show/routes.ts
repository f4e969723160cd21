/**
 * Rows for `bgp routes` and `bgp explain`, in the shape that scripts rely on: read from the tables, reasons included.
 *
 * Nothing is decided here: a losing path shows the reason that the decision process kept, the best one the step that the
 * runner-up lost by.
 */

import { Cidr } from "../../lib/cidr.ts";
import { Ip } from "../../lib/ip.ts";
import { wordsOf } from "../filter/prefix_classes.ts";
import { LOSS, Reason, WIN } from "../rib/decision.ts";
import type { RouteQuery, RouteRow } from "../rib/interface.ts";
import { unscoped } from "../rib/link_local.ts";
import { IS_MULTIPATH, IS_STALE } from "../rib/path_table.ts";
import { FAMILY_BITS, type PeerState } from "../rib/peer.ts";
import type { RouterCore } from "../rib/router.ts";
import type { PathAttributes } from "../wire/attributes.ts";

const ORIGINS = ["igp", "egp", "incomplete"] as const;
const FAMILIES = [0, 1] as const;

/** The rows that a query asks for, prefixes in the order of their numbers. */
export function decodeRoutes(router: RouterCore, query: RouteQuery): RouteRow[] {
  const rows: RouteRow[] = [];
  const limit = query.limit ?? Infinity;
  const only = query.prefix === undefined ? undefined : prefixMeant(router, query.prefix);
  if (query.prefix !== undefined && !only) return rows;
  const named = query.received ?? query.advertised;
  const peer = named === undefined ? undefined : findPeer(router, named);
  if (named !== undefined && !peer) return rows;
  for (const family of FAMILIES) {
    const { prefixes } = router.ribs[family];
    const show = (prefix: number) => {
      if (query.advertised !== undefined && peer) rows.push(...advertisedRows(router, family, prefix, peer));
      else rows.push(...pathRows(router, family, prefix, peer?.id));
    };
    if (only) {
      if (only.family !== (family === 0 ? 4 : 6)) continue;
      const [w0, w1, w2, w3] = wordsOf(only.ip.bytes);
      const prefix = prefixes.find(w0, w1, w2, w3, only.length);
      if (prefix >= 0) show(prefix);
      continue;
    }
    for (let prefix = 0; prefix < prefixes.limit && rows.length < limit; prefix++) {
      if (prefixes.isLive(prefix)) show(prefix);
    }
  }
  return rows.length > limit ? rows.slice(0, limit) : rows;
}

/** The prefix that a query names; for an address the longest that covers it, undefined when none does. */
function prefixMeant(router: RouterCore, text: string): Cidr | undefined {
  const ip = Ip.tryParse(text);
  if (!ip) return Cidr.tryParse(text);
  const { prefixes } = router.ribs[ip.family === 4 ? 0 : 1];
  for (let length: number = ip.bits; length >= 0; length--) {
    const cidr = Cidr.of(ip, length);
    const [w0, w1, w2, w3] = wordsOf(cidr.ip.bytes);
    if (prefixes.find(w0, w1, w2, w3, length) >= 0) return cidr;
  }
  return undefined;
}

/** A peer by its name or its address. */
export function findPeer(router: RouterCore, text: string): PeerState | undefined {
  const address = Ip.tryParse(text)?.toString() ?? text;
  return router.peers.find((peer) => peer?.config.name === text) ??
    router.peers.find((peer) => peer?.config.address === address);
}

/** All paths of a prefix, or those that one peer announced as it announced them; the best one first. */
function pathRows(router: RouterCore, family: 0 | 1, prefix: number, from: number | undefined): RouteRow[] {
  const { prefixes, paths } = router.ribs[family];
  const best = prefixes.best[prefix]!;
  const rows: RouteRow[] = [];
  for (let path = prefixes.head[prefix]!; path >= 0; path = paths.next[path]!) {
    if (from !== undefined && paths.peer[path] !== from) continue;
    const peer = paths.peer[path]!;
    const imported = paths.attributes[path]!, received = paths.received[path]!;
    const set = peer === 0 || from === undefined && imported > 0 ? imported : received;
    const row: RouteRow = {
      ...describe(router.store.decode(set), peer === 0),
      prefix: prefixText(router, family, prefix),
      best: path === best,
      from: peer === 0 ? "local" : router.peers[peer]?.config.address ?? "",
      stale: (paths.flags[path]! & IS_STALE) !== 0,
      ...(peer !== 0 && hasPathIds(router.peers[peer], family) ? { pathId: paths.pathId[path]! } : {}),
      why: why(router, family, prefix, path),
    };
    if (path === best) rows.unshift(row);
    else rows.push(row);
  }
  return rows;
}

function hasPathIds(peer: PeerState | undefined, family: 0 | 1): boolean {
  return ((peer?.session?.wire.addPathReceive ?? 0) & FAMILY_BITS[family]) !== 0;
}

function why(router: RouterCore, family: 0 | 1, prefix: number, path: number): string {
  const { prefixes, paths } = router.ribs[family];
  if (path !== prefixes.best[prefix]) {
    const text = reasonText(router, family, path);
    return paths.flags[path]! & IS_MULTIPATH ? `equal, used beside the best path; ${text}` : text;
  }
  let step = Reason.Best;
  for (let other = prefixes.head[prefix]!; other >= 0; other = paths.next[other]!) {
    if (other !== path) step = Math.max(step, paths.reason[other]!);
  }
  return WIN[step] ?? "";
}

function reasonText(router: RouterCore, family: 0 | 1, path: number): string {
  const { paths } = router.ribs[family];
  const reason = paths.reason[path]!;
  if (reason === Reason.NextHop) {
    const { problem } = router.nextHops.resolution(router.nextHopOf(paths.attributes[path]!));
    if (problem === "own address") return "next hop is an address of this host";
  }
  return LOSS[reason] ?? "";
}

/** What a peer has been told of a prefix: its best path, or all of them by their identifiers. */
function advertisedRows(router: RouterCore, family: 0 | 1, prefix: number, peer: PeerState): RouteRow[] {
  const out = peer.exporter?.group.out[family];
  if (!out) return [];
  const row = (number: number, pathId?: number): RouteRow[] => {
    const set = out.set(number), source = out.source(number);
    if (set === 0 || source === peer.id) return [];
    return [{
      ...describe(router.store.decode(set), false),
      prefix: prefixText(router, family, prefix),
      best: true,
      from: source === 0 ? "local" : router.peers[source]?.config.address ?? "",
      stale: false,
      ...(pathId === undefined ? {} : { pathId }),
      why: "advertised",
    }];
  };
  if (((peer.session?.wire.addPathSend ?? 0) & FAMILY_BITS[family]) === 0) return row(prefix);
  const names = router.policies.names[family];
  const rows: RouteRow[] = [];
  for (let name = names.first(prefix); name >= 0; name = names.next(name)) rows.push(...row(name, names.pathId[name]));
  return rows;
}

/** Why the best path of a prefix is told to a peer or not, for `bgp explain`. */
export function explainExport(router: RouterCore, prefixText: string, peer: PeerState): string {
  const cidr = Cidr.tryParse(prefixText);
  if (!cidr || !peer.exporter) return peer.exporter ? "not a prefix" : "session is not established";
  const family = cidr.family === 4 ? 0 : 1;
  const { prefixes, paths } = router.ribs[family];
  const [w0, w1, w2, w3] = wordsOf(cidr.ip.bytes);
  const prefix = prefixes.find(w0, w1, w2, w3, cidr.length);
  const best = prefix < 0 ? -1 : prefixes.best[prefix]!;
  if (best < 0) return "no usable path";
  if (paths.peer[best] === peer.id) return "its own route";
  const result = peer.exporter.run(family, router.exportPath(family, best));
  if (typeof result === "string") return result;
  router.store.releaseUnused(result);
  return "advertised";
}

/** The row of the best path; undefined when there is none. */
export function bestRow(router: RouterCore, family: 0 | 1, prefix: number): RouteRow | undefined {
  return router.ribs[family].prefixes.best[prefix]! < 0 ? undefined : pathRows(router, family, prefix, undefined)[0];
}

/** "192.0.2.0/24". */
export function prefixText(router: RouterCore, family: 0 | 1, prefix: number): string {
  const { prefixes } = router.ribs[family];
  return `${Ip.fromBytes(prefixes.address(prefix))}/${prefixes.length[prefix]}`;
}

type Described = Omit<RouteRow, "prefix" | "best" | "from" | "stale" | "why">;

function describe(attributes: PathAttributes, isLocal: boolean): Described {
  const { nextHop, communities, largeCommunities, originatorId, clusterList } = attributes;
  return {
    nextHop: isLocal || !nextHop
      ? null
      : Ip.fromBytes(unscoped(nextHop.length === 32 ? nextHop.subarray(0, 16) : nextHop)).toString(),
    asPath: attributes.asPath.flatMap(({ asns }) => asns),
    origin: ORIGINS[attributes.origin],
    localPref: attributes.localPref ?? null,
    med: attributes.med ?? null,
    communities: [
      ...communities.map((community) => `${community >>> 16}:${community & 0xffff}`),
      ...largeCommunities.map((parts) => parts.join(":")),
    ],
    originatorId: originatorId === undefined ? null : Ip.fromNumber(originatorId).toString(),
    clusterList: clusterList.map((id) => Ip.fromNumber(id).toString()),
  };
}
