/**
 * The Loc-RIB of one family with its Adj-RIBs-In: paths come and go, prefixes become dirty, `decide` picks the best.
 *
 * Nothing is decided when a path changes; the prefix is put on the dirty list once, and the owner decides all of the list
 * at one go. Best path, ECMP set and the losers' reasons are kept in the tables.
 */

import type { NextHops } from "../fib/next_hops.ts";
import { PEER_PREFERENCE, URGENT_PREFERENCE } from "../fib/local_routes.ts";
import { MAX_PREFERENCE } from "../config.ts";
import type { AttributeStore } from "./attribute_store.ts";
import { HAS_LLGR_STALE, HAS_ORIGINATOR_ID } from "./attribute_columns.ts";
import { type Candidate, decide, Reason } from "./decision.ts";
import { IS_MULTIPATH, PathTable } from "./path_table.ts";
import { IS_DIRTY, PrefixTable } from "./prefix_table.ts";

/** Below every other source. */
const LEAST_PREFERENCE = 0;

/** What the decision has to know of a path's peer. */
export interface PeerRank {
  readonly isExternal: boolean;
  readonly routerId: number;
  /** Peers in the order of their addresses. */
  readonly order: number;
}

/** The outside that a Loc-RIB looks at. */
export interface LocRibContext {
  readonly store: AttributeStore;
  readonly nextHops: NextHops;
  rankOf(peer: number): PeerRank;
  /** Preference of a route of the host by the number of its facts. */
  localPreference(facts: number): number;
  /** The next hop's number for a set of attributes. */
  nextHopOf(set: number): number;
  /** The metric of normal routes, in this family. */
  normalPriority(): number;
}

/** One family. */
export class LocRib {
  readonly prefixes: PrefixTable;
  readonly paths = new PathTable();
  #dirty = new Int32Array(1024);
  #dirtyCount = 0;
  readonly #pool: Candidate[] = [];

  constructor(readonly isV6: boolean, readonly context: LocRibContext) {
    this.prefixes = new PrefixTable(isV6);
  }

  get dirtyCount(): number {
    return this.#dirtyCount;
  }

  markDirty(prefix: number): void {
    const { flags } = this.prefixes;
    if (flags[prefix]! & IS_DIRTY) return;
    flags[prefix]! |= IS_DIRTY;
    if (this.#dirtyCount === this.#dirty.length) {
      const grown = new Int32Array(this.#dirty.length * 2);
      grown.set(this.#dirty);
      this.#dirty = grown;
    }
    this.#dirty[this.#dirtyCount++] = prefix;
  }

  /** Marks every prefix that has a path or was told or installed. */
  markAllDirty(): void {
    for (let prefix = 0; prefix < this.prefixes.limit; prefix++) {
      if (this.prefixes.isLive(prefix)) this.markDirty(prefix);
    }
  }

  /** Marks the prefixes of all paths by these next hops. */
  markByNextHop(changed: ReadonlySet<number>): void {
    const { paths, context } = this;
    for (let prefix = 0; prefix < this.prefixes.limit; prefix++) {
      if (!this.prefixes.isLive(prefix)) continue;
      for (let path = this.prefixes.head[prefix]!; path >= 0; path = paths.next[path]!) {
        const set = paths.attributes[path]!;
        if (set > 0 && paths.peer[path] !== 0 && changed.has(context.nextHopOf(set))) {
          this.markDirty(prefix);
          break;
        }
      }
    }
  }

  /** The dirty prefixes, which are clean from now on; valid until the next path changes. */
  takeDirty(): Int32Array {
    const list = this.#dirty.subarray(0, this.#dirtyCount);
    const { flags } = this.prefixes;
    for (let i = 0; i < list.length; i++) flags[list[i]!]! &= ~IS_DIRTY;
    this.#dirtyCount = 0;
    return list;
  }

  /** Adds or replaces the path of that peer; sets of attributes are counted as used. */
  put(prefix: number, peer: number, pathId: number, received: number, imported: number, reason: Reason): void {
    const { prefixes, paths, context: { store } } = this;
    const head = prefixes.head[prefix]!;
    let path = paths.find(head, peer, pathId);
    if (path < 0) {
      path = paths.add(prefix, peer, pathId, head);
      prefixes.head[prefix] = path;
    } else {
      const oldReceived = paths.received[path]!, oldImported = paths.attributes[path]!;
      paths.flags[path] = paths.flags[path]! & IS_MULTIPATH;
      if (oldReceived === received && oldImported === imported) return;
      if (received > 0) store.retain(received);
      if (imported > 0) store.retain(imported);
      if (oldReceived > 0) store.release(oldReceived);
      if (oldImported > 0) store.release(oldImported);
      paths.setAttributes(path, received, imported);
      paths.reason[path] = reason;
      this.markDirty(prefix);
      return;
    }
    if (received > 0) store.retain(received);
    if (imported > 0) store.retain(imported);
    paths.setAttributes(path, received, imported);
    paths.reason[path] = reason;
    this.markDirty(prefix);
  }

  /** Takes the peer's path away, if it is there. */
  withdraw(prefix: number, peer: number, pathId: number): void {
    const path = this.paths.find(this.prefixes.head[prefix]!, peer, pathId);
    if (path >= 0) this.remove(path);
  }

  remove(path: number): void {
    const { prefixes, paths, context: { store } } = this;
    const prefix = paths.prefix[path]!;
    const received = paths.received[path]!, imported = paths.attributes[path]!;
    prefixes.head[prefix] = paths.remove(path, prefixes.head[prefix]!);
    if (prefixes.best[prefix] === path) prefixes.best[prefix] = -1;
    if (received > 0) store.release(received);
    if (imported > 0) store.release(imported);
    this.markDirty(prefix);
  }

  /** Picks the best path of a prefix and notes why the others lost. */
  decide(prefix: number): void {
    const { prefixes, paths } = this;
    const head = prefixes.head[prefix]!;
    let count = 0;
    let last = -1;
    for (let path = head; path >= 0; path = paths.next[path]!) {
      paths.flags[path] = paths.flags[path]! & ~IS_MULTIPATH;
      if (!this.#isEligible(path)) continue;
      last = path;
      count++;
    }
    if (count <= 1) {
      prefixes.best[prefix] = last;
      if (last >= 0) paths.reason[last] = Reason.Best;
      return;
    }
    const candidates: Candidate[] = [];
    for (let path = head; path >= 0; path = paths.next[path]!) {
      if (paths.reason[path] === Reason.NextHop || paths.attributes[path]! <= 0) continue;
      candidates.push(this.#candidate(path, candidates.length));
    }
    const { best, multipath } = decide(candidates, ({ path }, reason) => paths.reason[path] = reason);
    paths.reason[best.path] = Reason.Best;
    for (const { path } of multipath) paths.flags[path]! |= IS_MULTIPATH;
    prefixes.best[prefix] = best.path;
  }

  #isEligible(path: number): boolean {
    const { paths, context } = this;
    const set = paths.attributes[path]!;
    if (set <= 0) return false;
    if (paths.peer[path] === 0) return true;
    const isReachable = context.nextHops.resolution(context.nextHopOf(set)).problem === undefined;
    paths.reason[path] = isReachable ? Reason.Best : Reason.NextHop;
    return isReachable;
  }

  /** Fills the candidate of that place in the pool, which is reused from prefix to prefix. */
  #candidate(path: number, at: number): Candidate {
    const { paths, context } = this;
    const { columns } = context.store;
    const candidate = this.#pool[at] ??= {} as Candidate;
    const set = paths.attributes[path]!, peer = paths.peer[path]!;
    const isLocal = peer === 0;
    const rank = context.rankOf(peer);
    const localPref = columns.localPref[set]!;
    const isUrgent = localPref > MAX_PREFERENCE - context.normalPriority() && localPref <= MAX_PREFERENCE;
    candidate.path = path;
    candidate.preference = isLocal
      ? context.localPreference(paths.pathId[path]!)
      : columns.flags[set]! & HAS_LLGR_STALE
      ? LEAST_PREFERENCE
      : isUrgent
      ? URGENT_PREFERENCE
      : PEER_PREFERENCE;
    candidate.localPref = localPref;
    candidate.pathLength = columns.pathLength[set]!;
    candidate.origin = columns.origin[set]!;
    candidate.med = columns.med[set]!;
    candidate.neighbourAs = columns.neighbourAs[set]!;
    candidate.isExternal = rank.isExternal;
    candidate.cost = isLocal ? 0 : context.nextHops.resolution(context.nextHopOf(set)).cost;
    candidate.routerId = columns.flags[set]! & HAS_ORIGINATOR_ID ? columns.originatorId[set]! : rank.routerId;
    candidate.clusterLength = columns.clusterLength[set]!;
    candidate.peerOrder = rank.order;
    candidate.pathId = paths.pathId[path]!;
    return candidate;
  }
}
