/**
 * From the Loc-RIB to a peer: what is told, and with which attributes (RFC 4271 5.1 and 9.2, RFC 4456 8, RFC 1997).
 *
 * To our own AS: next hop, MED and preference stay; a reflected path gets ORIGINATOR_ID and our cluster id. To
 * others: our AS goes before the path, and preference, MED and reflection attributes are left out; the next hop is us,
 * unless the path leads to one of our own AS on the network that the peer is on too (RFC 4271 5.1.3, "third party"): a
 * router beside the fleet then sends straight to the host that has the block. A reflected set that needs nothing else is spliced octet by
 * octet instead of being decoded and encoded.
 */

import type { Cidr } from "../../lib/cidr.ts";
import { Ip } from "../../lib/ip.ts";
import type { NextHopMode, PeerRole } from "../config.ts";
import type { Policy } from "../filter/calico.ts";
import type { RouteDraft } from "../filter/draft.ts";
import { type PathAttributes, prependAs } from "../wire/attributes.ts";
import { IPV4_UNICAST } from "../wire/constants.ts";
import {
  HAS_LLGR_STALE,
  HAS_LOCAL_PREF,
  HAS_NO_ADVERTISE,
  HAS_NO_EXPORT,
  HAS_NO_EXPORT_SUBCONFED,
  HAS_ORIGINATOR_ID,
  IS_PLAIN,
} from "./attribute_columns.ts";
import type { AttributeStore } from "./attribute_store.ts";
import { isLinkLocal } from "./link_local.ts";

/** What members of an update group have in common. */
export interface ExportFacts {
  readonly isInternal: boolean;
  readonly isConfederation: boolean;
  readonly rrClient: boolean;
  readonly clusterId: number;
  readonly localAs: number;
  readonly nextHopMode: NextHopMode;
  /** What "next hop self" is in the two families; empty when we have no address of the family. */
  readonly self4: Uint8Array;
  readonly self6: Uint8Array;
  readonly isExtendedNextHop: boolean;
  /** Our role towards them (RFC 9234). */
  readonly role?: PeerRole;
  /** They take long-lived stale paths (RFC 9494). */
  readonly hasLongLived?: boolean;
  /** The node's network that the peer is on; undefined when it is on none. */
  readonly shared: Cidr | undefined;
}

/** Who a path came from. */
export interface PathOrigin {
  readonly isLocal: boolean;
  readonly isInternal: boolean;
  readonly isClient: boolean;
  readonly routerId: number;
}

/** Why a path is not told to a peer, before any filter is asked; undefined when it may be. */
export function exportRefusal(facts: ExportFacts, origin: PathOrigin, flags: number): string | undefined {
  if (flags & HAS_NO_ADVERTISE) return "community no-advertise";
  if (flags & HAS_LLGR_STALE && !facts.hasLongLived) return "long-lived stale, which the peer does not know (RFC 9494)";
  if (!facts.isInternal && !facts.isConfederation && flags & HAS_NO_EXPORT) return "community no-export";
  if (!facts.isInternal && flags & HAS_NO_EXPORT_SUBCONFED) return "community no-export-subconfed";
  if (facts.isInternal && !origin.isLocal && origin.isInternal && !origin.isClient && !facts.rrClient) {
    return "internal path, and neither peer is a client of ours";
  }
  return undefined;
}

/**
 * The set that members are told, 0 when they are not: `draft` has been begun with the path's set, class and source. The
 * reason for a refusal is in `refusal`.
 */
export function exportSet(
  store: AttributeStore,
  facts: ExportFacts,
  family: number,
  origin: PathOrigin,
  draft: RouteDraft,
  policy: Policy | undefined,
): number | string {
  const { id } = draft;
  const flags = store.columns.flags[id]!;
  const refusal = exportRefusal(facts, origin, flags) ?? policy?.(draft);
  if (refusal !== undefined) return refusal;
  const isReflected = facts.isInternal && !origin.isLocal && origin.isInternal;
  if (
    isReflected && !draft.isChanged && facts.nextHopMode !== "self" && flags & IS_PLAIN && flags & HAS_LOCAL_PREF &&
    !isLinkLocal(store.mpNextHop(id))
  ) {
    const spliced = spliceReflected(store, id, origin.routerId, facts.clusterId);
    if (spliced !== 0) return spliced;
  }
  const attributes = draft.attributes;
  if (
    attributes.otc !== undefined && (facts.role === "customer" || facts.role === "peer" || facts.role === "rs-client")
  ) {
    return "only for customers (RFC 9234)";
  }
  const self = selfNextHop(facts, family);
  // A link-local next hop means nothing to anybody else.
  const isSelf = origin.isLocal || facts.nextHopMode === "self" ||
    attributes.nextHop !== undefined && isLinkLocal(attributes.nextHop) ||
    !facts.isInternal && facts.nextHopMode !== "keep" && !isThirdParty(facts, origin, attributes.nextHop);
  if (isSelf && self === undefined) return "no address of ours to be the next hop";
  const nextHop = isSelf ? self : attributes.nextHop;
  const common: PathAttributes = { ...attributes, nextHop };
  if (facts.isInternal) {
    const localPref = draft.localPref;
    if (!isReflected) return store.internValue({ ...common, localPref });
    return store.internValue({
      ...common,
      localPref,
      originatorId: attributes.originatorId ?? origin.routerId,
      clusterList: [facts.clusterId, ...attributes.clusterList],
    });
  }
  return store.internValue({
    ...common,
    asPath: prependAs(withoutConfederation(attributes), [facts.localAs]),
    otc: attributes.otc ?? (isDownwards(facts.role) ? facts.localAs : undefined),
    localPref: undefined,
    med: origin.isLocal ? attributes.med : undefined,
    originatorId: undefined,
    clusterList: [],
  });
}

function isThirdParty({ shared }: ExportFacts, origin: PathOrigin, nextHop: Uint8Array | undefined): boolean {
  if (shared === undefined || !origin.isInternal || nextHop === undefined) return false;
  return shared.contains(Ip.fromBytes(nextHop.length === 32 ? nextHop.subarray(0, 16) : nextHop));
}

/** To customers, peers and clients of a route server: they must not tell it to their providers. */
function isDownwards(role: PeerRole | undefined): boolean {
  return role === "provider" || role === "peer" || role === "rs";
}

function withoutConfederation({ asPath }: PathAttributes): PathAttributes["asPath"] {
  return asPath.every((segment) => segment.type <= 2) ? asPath : asPath.filter((segment) => segment.type <= 2);
}

function selfNextHop(facts: ExportFacts, family: number): Uint8Array | undefined {
  if (family !== IPV4_UNICAST) return facts.self6.length > 0 ? facts.self6 : undefined;
  if (facts.self4.length > 0) return facts.self4;
  return facts.isExtendedNextHop && facts.self6.length > 0 ? facts.self6 : undefined;
}

const ORIGINATOR_ID = 9;
const CLUSTER_LIST = 10;
const OPTIONAL = 0x80;
const scratch = new Uint8Array(65536);

/** Puts ORIGINATOR_ID (unless it is there) and the cluster id into plain attributes; 0 when that is not possible. */
function spliceReflected(store: AttributeStore, id: number, routerId: number, clusterId: number): number {
  const raw = store.ownRaw(id);
  if (!raw || raw.length > 4000) return 0;
  const mpNextHop = store.mpNextHop(id);
  let at = 0, out = 0;
  while (at < raw.length && raw[at + 1]! < CLUSTER_LIST) at += 3 + raw[at + 2]!;
  for (; out < at; out++) scratch[out] = raw[out]!;
  if ((store.columns.flags[id]! & HAS_ORIGINATOR_ID) === 0) {
    scratch[out++] = OPTIONAL;
    scratch[out++] = ORIGINATOR_ID;
    scratch[out++] = 4;
    out = putU32(out, routerId);
  }
  const hasList = at < raw.length && raw[at + 1] === CLUSTER_LIST;
  const size = hasList ? raw[at + 2]! : 0;
  if (size > 248) return 0;
  scratch[out++] = OPTIONAL;
  scratch[out++] = CLUSTER_LIST;
  scratch[out++] = size + 4;
  out = putU32(out, clusterId);
  for (let from = hasList ? at + 3 : at; from < raw.length; from++) scratch[out++] = raw[from]!;
  return store.internSpliced(scratch, out, mpNextHop.length > 0 ? mpNextHop.slice() : undefined, true);
}

function putU32(at: number, value: number): number {
  scratch[at] = value >>> 24;
  scratch[at + 1] = value >>> 16;
  scratch[at + 2] = value >>> 8;
  scratch[at + 3] = value;
  return at + 4;
}
