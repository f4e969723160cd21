/**
 * From a peer to the Loc-RIB: loop and leak checks and the import filter (RFC 4271 9.1.2, RFC 4456 8, RFC 9234 5).
 *
 * Peers of equal policy share one importer and its cache, so a set of attributes is checked once however many prefixes
 * and peers announce it. Refused paths stay in the Adj-RIB-In, so that a change of policy needs no refresh.
 */

import type { PeerRole } from "../config.ts";
import type { Policy } from "../filter/calico.ts";
import type { RouteDraft } from "../filter/draft.ts";
import * as c from "../wire/constants.ts";
import { HAS_GRACEFUL_SHUTDOWN, HAS_ORIGINATOR_ID, IS_PLAIN } from "./attribute_columns.ts";
import type { AttributeStore } from "./attribute_store.ts";
import { Reason } from "./decision.ts";
import { ResultCache } from "./result_cache.ts";

/** What importing peers have in common. */
export interface ImportFacts {
  readonly localAs: number;
  /** How often our own AS may be in a path. */
  readonly allowLocalAs: number;
  readonly routerId: number;
  readonly clusterId: number;
  /** eBGP: a path that is being shut down gets the lowest preference (RFC 8326). */
  readonly isExternal: boolean;
  /** Our role towards the peer, and its AS (RFC 9234); absent inside of the AS and where none is configured. */
  readonly role?: PeerRole;
  readonly peerAs: number;
}

/** One import policy in one family. */
export class Importer {
  readonly #cache: ResultCache;

  constructor(
    readonly store: AttributeStore,
    readonly facts: ImportFacts,
    readonly policy: Policy | undefined,
    readonly draft: RouteDraft,
  ) {
    this.#cache = new ResultCache(store);
  }

  /** The set to use for a received one, or minus the `Reason` for not using it. */
  setFor(set: number, prefixClass: number, interfaceName: () => string | undefined): number {
    const known = this.#cache.get(set, prefixClass, 0);
    if (known !== -1) return known;
    const result = this.#run(set, prefixClass, interfaceName);
    this.#cache.put(set, prefixClass, 0, result);
    return result;
  }

  /** Forgets results, after what they depend on has changed. */
  clear(): void {
    this.#cache.clear();
  }

  #run(set: number, prefixClass: number, interfaceName: () => string | undefined): number {
    if (this.#isLoop(set)) return -Reason.Loop;
    const isLeaving = this.facts.isExternal && (this.store.columns.flags[set]! & HAS_GRACEFUL_SHUTDOWN) !== 0;
    const role = this.facts.role;
    const otc = role === undefined || (this.store.columns.flags[set]! & IS_PLAIN) !== 0
      ? undefined
      : this.store.decode(set).otc;
    if (otc !== undefined && isLeak(role, otc, this.facts.peerAs)) return -Reason.Leak;
    const isOtcMissing = otc === undefined && (role === "customer" || role === "peer" || role === "rs-client");
    if (!this.policy && !isLeaving && !isOtcMissing) return set;
    const draft = this.draft.begin(set, prefixClass, "peer");
    draft.interfaceName = interfaceName();
    if (this.policy?.(draft) !== undefined) return REFUSED;
    if (isLeaving) draft.localPref = 0;
    if (isOtcMissing) draft.attributes = { ...draft.attributes, otc: this.facts.peerAs };
    return draft.isChanged ? this.store.internValue(draft.attributes) : set;
  }

  #isLoop(set: number): boolean {
    const { store, facts } = this;
    const { columns } = store;
    const flags = columns.flags[set]!;
    if ((flags & HAS_ORIGINATOR_ID) !== 0 && columns.originatorId[set] === facts.routerId) return true;
    if (columns.clusterLength[set]! > 0 && store.decode(set).clusterList.includes(facts.clusterId)) return true;
    if (columns.pathLength[set] === 0) return false;
    return ownAsCount(store, set, facts.localAs) > facts.allowLocalAs;
  }
}

/** A route that is only for customers comes from a customer, or from a peer that is not the one that said so. */
function isLeak(role: PeerRole | undefined, otc: number, peerAs: number): boolean {
  return role === "provider" || role === "rs" || role === "peer" && otc !== peerAs;
}

/** What `setFor` gives when the filter refused: -1 would mean "not known" to the cache. */
export const REFUSED = -16;

function ownAsCount(store: AttributeStore, set: number, as: number): number {
  if ((store.columns.flags[set]! & IS_PLAIN) === 0) {
    return store.decode(set).asPath.reduce((sum, { asns }) => sum + asns.filter((asn) => asn === as).length, 0);
  }
  const raw = store.raw(set);
  let at = 0;
  while (raw[at + 1] !== c.ATTR_AS_PATH) at += 3 + raw[at + 2]!;
  const end = at + 3 + raw[at + 2]!;
  let count = 0;
  for (at += 3; at < end;) {
    const segmentEnd = at + 2 + raw[at + 1]! * 4;
    for (at += 2; at < segmentEnd; at += 4) {
      if ((raw[at]! << 24 | raw[at + 1]! << 16 | raw[at + 2]! << 8 | raw[at + 3]!) >>> 0 === as) count++;
    }
  }
  return count;
}
