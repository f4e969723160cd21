/**
 * The router: Adj-RIBs-In, Loc-RIB, Adj-RIBs-Out and the wish for the FIB, tied together. See `interface.ts` for the seam.
 *
 *   UPDATE ─ attributes interned ─ import ─ path table ┐                     ┌ export per group ─ log ─ cursors of peers
 *   FIB routes ─ facts ─────────────────── path table ─┴ dirty ─ decide ─────┴ ways (ECMP) ─ FIB table ─ sink
 *
 * Everything on the way is paid once for a set of attributes or once for a prefix that changed, never for the table.
 */

import { EMPTY_CONFIG, type SpeakerConfig } from "../config.ts";
import type { FibTable } from "../fib/fib_table.ts";
import { NextHops } from "../fib/next_hops.ts";
import { makeFibWish } from "../fib/fib_wish.ts";
import { EMPTY_ATTRIBUTES } from "../wire/attributes.ts";
import { decodeRoutes } from "../show/routes.ts";
import { COMMUNITY_LLGR_STALE, COMMUNITY_NO_LLGR, IPV4_UNICAST, IPV6_UNICAST } from "../wire/constants.ts";
import { AttributeStore } from "./attribute_store.ts";
import type { PathOrigin } from "./export.ts";
import type { Exporter, ExportPath } from "./exporter.ts";
import { HostRoutes } from "./host_routes.ts";
import type {
  FibRoute,
  FibSink,
  PeerCounts,
  PeerId,
  ReceiveResult,
  RouteQuery,
  Router,
  RouteRow,
  SessionFacts,
} from "./interface.ts";
import { Reason } from "./decision.ts";
import { LocRib } from "./loc_rib.ts";
import { IS_STALE } from "./path_table.ts";
import { compareAddresses, exportFacts, FAMILY_BITS, groupKey, originOf, type PeerState, policyText } from "./peer.ts";
import { Policies } from "./policies.ts";
import { reasonOf, Receiver } from "./receiver.ts";
import { SetHops } from "./set_hops.ts";

const LOCAL_ORIGIN: PathOrigin = { isLocal: true, isInternal: false, isClient: false, routerId: 0 };
const FAMILIES = [0, 1] as const;

/** Makes a router without peers; `configure` gives it some. */
export function makeRouter(): Router {
  return new RouterCore();
}

/** The router's state. Members that show code reads are public. */
export class RouterCore implements Router {
  config: SpeakerConfig = EMPTY_CONFIG;
  readonly store = new AttributeStore();
  readonly host: HostRoutes;
  readonly nextHops: NextHops;
  readonly policies: Policies;
  readonly ribs: readonly [LocRib, LocRib];
  readonly peers: (PeerState | undefined)[] = [undefined];
  /** Hear which prefixes were decided, before these can go (monitoring); the list is valid during the call. */
  readonly watchers = new Set<(family: 0 | 1, dirty: Int32Array) => void>();
  readonly #ids = new Map<string, PeerId>();
  readonly #receiver: Receiver;
  readonly #localSet: number;
  readonly #hops: SetHops;
  /** What each peer was on its last session: cached results of the export hold for that. */
  readonly #origins: PathOrigin[] = [];
  #zombies: { family: 0 | 1; prefix: number }[] = [];
  readonly #waiting: PeerId[] = [];
  #wishes: readonly [ReturnType<typeof makeFibWish>, ReturnType<typeof makeFibWish>];

  constructor() {
    this.#localSet = this.store.internValue({ ...EMPTY_ATTRIBUTES, nextHop: new Uint8Array(16), localPref: 100 });
    this.store.retain(this.#localSet);
    this.host = new HostRoutes({
      config: () => this.config,
      rib: (family) => this.ribs[family],
      fib: (family) => this.fibs[family],
      isWatching: () => this.nextHops.isResolving,
      classOf: (family, prefix) => this.policies.classOf(family, prefix),
      localSet: this.#localSet,
    });
    this.nextHops = new NextHops(this.host.views[0], this.host.views[1], false);
    this.#hops = new SetHops(this.store, this.nextHops, this.#localSet);
    const context = (family: 0 | 1) => ({
      store: this.store,
      nextHops: this.nextHops,
      rankOf: (peer: number) => this.peers[peer] ?? UNRANKED,
      localPreference: (facts: number) => this.host.facts.facts(facts).preference,
      nextHopOf: (set: number) => this.nextHopOf(set),
      normalPriority: () => family === 0 ? this.config.normalPriority4 : this.config.normalPriority6,
    });
    this.ribs = [new LocRib(false, context(0)), new LocRib(true, context(1))];
    this.policies = new Policies(this.store, [this.ribs[0].prefixes, this.ribs[1].prefixes]);
    this.#receiver = new Receiver(this);
    this.#wishes = [this.#makeWish(0), this.#makeWish(1)];
  }

  get fibs(): readonly [FibTable, FibTable] {
    return [this.#wishes[0].table, this.#wishes[1].table];
  }

  // --- configuration -------------------------------------------------------------------------------------------

  configure(config: SpeakerConfig): void {
    // Best paths must be of the present: groups that are made below look at them.
    this.settle();
    const old = this.config;
    this.config = config;
    const isPolicyChanged = policyText(old, config) !== policyText(config, old);
    this.nextHops.isResolving = config.fib.isLearning || config.fib.isInstalling;
    const wanted = new Set(config.peers.map(({ name }) => name));
    for (const peer of this.peers) {
      if (!peer || wanted.has(peer.config.name)) continue;
      if (peer.session) this.peerDown(peer.id, "removed from the configuration");
      for (const family of FAMILIES) this.#dropPaths(family, peer.id, false);
      this.#ids.delete(peer.config.name);
      this.peers[peer.id] = undefined;
    }
    const order = config.peers.map(({ address }) => address).sort(compareAddresses);
    for (const peerConfig of config.peers) {
      const state = this.peers[this.#idFor(peerConfig.name)];
      if (state) state.config = peerConfig;
      else this.#addPeer(peerConfig);
      const peer = this.peers[this.#idFor(peerConfig.name)];
      if (peer) peer.order = order.indexOf(peerConfig.address);
    }
    if (isPolicyChanged) this.#applyPolicy();
    else this.#regroup();
  }

  peerId(name: string): PeerId | undefined {
    return this.#ids.get(name);
  }

  #idFor(name: string): PeerId {
    const known = this.#ids.get(name);
    if (known !== undefined) return known;
    // Numbers are used again only when no path can bear them any more.
    let id = 1;
    while (this.peers[id] !== undefined) id++;
    this.#ids.set(name, id);
    return id;
  }

  #addPeer(config: PeerState["config"]): void {
    const id = this.#idFor(config.name);
    this.peers[id] = {
      id,
      config,
      order: 0,
      session: undefined,
      kind: 0,
      origin: LOCAL_ORIGIN,
      importers: undefined,
      exporter: undefined,
      isExternal: false,
      routerId: 0,
    };
  }

  /** Compiles all policies anew and puts every path and prefix through them. */
  #applyPolicy(): void {
    const { policies, host } = this;
    policies.reset();
    host.setBlocks(this.config.aggregates.map(({ cidr }) => cidr));
    this.#wishes = [this.#makeWish(0, this.#wishes[0].table), this.#makeWish(1, this.#wishes[1].table)];
    // Conditions have to be known before any prefix is put into a class.
    for (const peer of this.peers) {
      if (peer?.session) peer.importers = policies.importersFor(this.config, peer.config, peer.session);
    }
    this.#regroup();
    for (const peer of this.peers) if (peer) policies.recompile(this.config, peer);
    for (const family of FAMILIES) {
      const { prefixes, paths } = this.ribs[family];
      for (let prefix = 0; prefix < prefixes.limit; prefix++) {
        if (!prefixes.isLive(prefix)) continue;
        prefixes.class[prefix] = policies.classOf(family, prefix);
        for (let path = prefixes.head[prefix]!; path >= 0; path = paths.next[path]!) this.#reimport(family, path);
      }
      this.ribs[family].markAllDirty();
    }
    host.refreshAll();
  }

  #reimport(family: 0 | 1, path: number): void {
    const rib = this.ribs[family];
    const { paths } = rib;
    const peer = this.peers[paths.peer[path]!];
    if (!peer?.importers) return;
    const prefix = paths.prefix[path]!;
    const isStale = paths.flags[path]! & IS_STALE;
    const received = paths.received[path]!;
    const result = this.#receiver.imported(peer, family, received, rib.prefixes.class[prefix]!);
    rib.put(prefix, peer.id, paths.pathId[path]!, received, Math.max(0, result), reasonOf(result));
    paths.flags[path]! |= isStale;
  }

  /** Puts peers whose export facts changed into other groups. */
  #regroup(): void {
    const { policies } = this;
    for (const peer of this.peers) {
      if (!peer?.session || !peer.exporter) continue;
      peer.origin = originOf(peer, peer.session);
      this.#noteOrigin(peer);
      const facts = exportFacts(this.config, peer.config, peer.session);
      const key = groupKey(peer.config, facts, peer.session);
      const old = peer.exporter;
      if (old.key === key) continue;
      const { exporter: next, isNew } = policies.exporterFor(this.config, peer.config, peer.session);
      policies.classify();
      if (isNew) { for (const family of FAMILIES) this.#export(next, family); }
      next.group.takeOver(peer.id, old.group, peer.session.wire.families);
      old.group.leave(peer.id);
      this.#dropIfEmpty(old);
      peer.exporter = next;
    }
  }

  #dropIfEmpty(exporter: Exporter): void {
    this.#collectZombies(exporter);
    if (exporter.group.members.size > 0) return;
    exporter.group.clear();
    this.policies.exporters.delete(exporter.key);
    // What only this group still held may go now.
    for (const family of FAMILIES) {
      const { prefixes } = this.ribs[family];
      const hasPathIds = (exporter.wire.addPathSend & FAMILY_BITS[family]) !== 0;
      for (let prefix = 0; prefix < prefixes.limit; prefix++) {
        if (!prefixes.isLive(prefix)) continue;
        if (hasPathIds) this.#freeNames(family, prefix);
        if (prefixes.head[prefix]! < 0) this.#freeIfIdle(family, prefix);
      }
    }
  }

  // --- sessions ------------------------------------------------------------------------------------------------

  peerUp(id: PeerId, session: SessionFacts): void {
    const peer = this.peers[id];
    if (!peer) return;
    if (peer.exporter) this.peerDown(id, "replaced by a new session", session.keepsStale);
    this.settle();
    peer.session = session;
    peer.kind = this.store.kindOf(session.wire);
    peer.origin = originOf(peer, session);
    peer.isExternal = !session.wire.isInternal && !session.wire.isConfederation;
    peer.routerId = session.routerId;
    peer.importers = this.policies.importersFor(this.config, peer.config, session);
    const { exporter, isNew } = this.policies.exporterFor(this.config, peer.config, session);
    this.policies.classify();
    peer.exporter = exporter;
    this.#noteOrigin(peer);
    exporter.group.join(id, session.wire.families);
    // The first member reads the table from the log; nobody else is there to need it before.
    if (isNew) { for (const family of FAMILIES) this.#export(exporter, family); }
  }

  /** Whose reflected routes were cached under this number may have been somebody else. */
  #noteOrigin({ id, origin }: PeerState): void {
    const last = this.#origins[id];
    this.#origins[id] = origin;
    if (
      !last ||
      last.isInternal === origin.isInternal && last.isClient === origin.isClient && last.routerId === origin.routerId
    ) return;
    for (const exporter of this.policies.exporters.values()) exporter.clear();
    for (const rib of this.ribs) {
      for (let path = rib.paths.firstOf(id); path >= 0; path = rib.paths.nextOf(path)) {
        rib.markDirty(rib.paths.prefix[path]!);
      }
    }
  }

  peerDown(id: PeerId, _reason: string, keepStale = 0): void {
    const peer = this.peers[id];
    if (!peer) return;
    const { exporter } = peer;
    peer.exporter = undefined;
    peer.session = undefined;
    if (exporter) {
      exporter.group.leave(id);
      this.#dropIfEmpty(exporter);
    }
    for (const family of FAMILIES) this.#dropPaths(family, id, (keepStale & FAMILY_BITS[family]) !== 0);
  }

  /** Ends all paths of a peer, or marks them as stale. */
  #dropPaths(family: 0 | 1, peer: PeerId, isKept: boolean): void {
    const rib = this.ribs[family];
    for (let path = rib.paths.firstOf(peer); path >= 0;) {
      const next = rib.paths.nextOf(path);
      if (isKept) rib.paths.flags[path]! |= IS_STALE;
      else rib.remove(path);
      path = next;
    }
  }

  sweepStale(id: PeerId, families = IPV4_UNICAST | IPV6_UNICAST): void {
    for (const family of FAMILIES) {
      if ((families & FAMILY_BITS[family]) === 0) continue;
      const rib = this.ribs[family];
      for (let path = rib.paths.firstOf(id); path >= 0;) {
        const next = rib.paths.nextOf(path);
        if (rib.paths.flags[path]! & IS_STALE) rib.remove(path);
        path = next;
      }
    }
  }

  markStale(id: PeerId, families: number): void {
    for (const family of FAMILIES) if (families & FAMILY_BITS[family]) this.#dropPaths(family, id, true);
  }

  keepLong(id: PeerId, families: number): void {
    const peer = this.peers[id];
    for (const family of FAMILIES) {
      const rib = this.ribs[family];
      if ((families & FAMILY_BITS[family]) === 0) continue;
      for (let path = rib.paths.firstOf(id); path >= 0;) {
        const next = rib.paths.nextOf(path);
        if (rib.paths.flags[path]! & IS_STALE) {
          const value = this.store.decode(rib.paths.received[path]!);
          if (!peer || value.communities.includes(COMMUNITY_NO_LLGR)) rib.remove(path);
          else if (!value.communities.includes(COMMUNITY_LLGR_STALE)) {
            this.#receiver.keepLong(peer, family, path, value);
          }
        }
        path = next;
      }
    }
  }

  refresh(id: PeerId, families: number, isEnhanced = false): void {
    this.settle();
    this.peers[id]?.exporter?.group.refresh(id, families, isEnhanced);
  }

  // --- what peers say ------------------------------------------------------------------------------------------

  receiveUpdate(id: PeerId, body: Uint8Array): ReceiveResult {
    const peer = this.peers[id];
    if (!peer?.session) return { endOfRib: 0 };
    const result = this.#receiver.receive(peer, body);
    if (result.endOfRib !== 0) this.sweepStale(id, result.endOfRib);
    const limit = peer.config.maxPrefixes;
    if (limit === undefined) return result;
    const prefixes = this.#received(id);
    return { ...result, prefixes, isOverLimit: prefixes > limit };
  }

  #received(id: PeerId): number {
    return this.ribs[0].paths.countOf(id) + this.ribs[1].paths.countOf(id);
  }

  /** The next hop's number for a set of attributes. */
  nextHopOf(set: number): number {
    return this.#hops.of(set);
  }

  /** The interface that paths with this set lead out of, where it is known. */
  interfaceOf(set: number): string | undefined {
    const way = this.nextHops.resolution(this.nextHopOf(set)).ways[0];
    return way && this.host.nameOf(way.ifindex);
  }

  // --- what the kernel says ------------------------------------------------------------------------------------

  learn(route: FibRoute): void {
    this.host.learn(route);
  }

  forget(route: FibRoute): void {
    this.host.forget(route);
  }

  inspectFib(routes: readonly FibRoute[], areAll: boolean): void {
    // What is decided but not written yet is not missing.
    this.settle();
    for (const fib of this.fibs) {
      const own = routes.filter(({ family }) => family === fib.family);
      if (areAll) fib.inspectAll(own);
      else own.forEach((route) => fib.inspect(route));
    }
  }

  setLink(ifindex: number, name: string | undefined, isUp: boolean): void {
    this.host.setLink(ifindex, name, isUp);
  }

  setAddress(address: Uint8Array, _ifindex: number, isGone = false): void {
    this.nextHops.setOwn(address, isGone);
    this.host.isResolutionDue = true;
  }

  sweepFib(): void {
    this.settle();
    for (const fib of this.fibs) fib.sweep();
  }

  #makeWish(family: 0 | 1, table?: FibTable): ReturnType<typeof makeFibWish> {
    return makeFibWish(this, family, table);
  }

  // --- what comes of it ----------------------------------------------------------------------------------------

  settle(): readonly PeerId[] {
    if (this.host.isResolutionDue) this.#resolve();
    if (this.host.isFilterInputChanged) this.#refilter();
    for (const family of FAMILIES) this.#settleFamily(family);
    this.#waiting.length = 0;
    for (const { group } of this.policies.exporters.values()) {
      for (const peer of group.members.keys()) if (group.hasBytes(peer)) this.#waiting.push(peer);
    }
    return this.#waiting;
  }

  #settleFamily(family: 0 | 1): void {
    const rib = this.ribs[family];
    if (rib.dirtyCount === 0) return;
    const dirty = rib.takeDirty();
    const wish = this.config.fib.isInstalling ? this.#wishes[family] : undefined;
    for (let i = 0; i < dirty.length; i++) rib.decide(dirty[i]!);
    for (const watcher of this.watchers) watcher(family, dirty);
    if (wish) { for (let i = 0; i < dirty.length; i++) wish.update(dirty[i]!); }
    for (const exporter of this.policies.exporters.values()) {
      if ((exporter.wire.families & FAMILY_BITS[family]) === 0) continue;
      if (exporter.wire.addPathSend & FAMILY_BITS[family]) {
        for (let i = 0; i < dirty.length; i++) this.#exportPaths(exporter, family, dirty[i]!);
      } else for (let i = 0; i < dirty.length; i++) this.#exportPrefix(exporter, family, dirty[i]!);
      exporter.group.flush(family);
    }
    if (this.policies.names[family].size > 0) {
      for (let i = 0; i < dirty.length; i++) this.#freeNames(family, dirty[i]!);
    }
    for (let i = 0; i < dirty.length; i++) {
      if (rib.prefixes.head[dirty[i]!]! < 0) this.#freeIfIdle(family, dirty[i]!);
    }
  }

  /** Puts the whole table through a group's export. */
  #export(exporter: Exporter, family: 0 | 1): void {
    if ((exporter.wire.families & FAMILY_BITS[family]) === 0) return;
    const { prefixes } = this.ribs[family];
    const hasPathIds = (exporter.wire.addPathSend & FAMILY_BITS[family]) !== 0;
    for (let prefix = 0; prefix < prefixes.limit; prefix++) {
      if (!prefixes.isLive(prefix)) continue;
      if (hasPathIds) this.#exportPaths(exporter, family, prefix);
      else this.#exportPrefix(exporter, family, prefix);
    }
    exporter.group.flush(family);
  }

  readonly #exportPath: { -readonly [K in keyof ExportPath]: ExportPath[K] } = {
    set: 0,
    prefixClass: 0,
    peer: 0,
    origin: LOCAL_ORIGIN,
    localNumber: 0,
    interfaceName: () => {
      const { local, set } = this.#exportPath;
      return local ? this.host.nameOf(local.ifindex) : this.interfaceOf(set);
    },
  };

  /** Describes a path to the export; the object is reused. */
  exportPath(family: 0 | 1, path: number): ExportPath {
    const { paths, prefixes } = this.ribs[family];
    const peer = paths.peer[path]!;
    const out = this.#exportPath;
    out.set = paths.attributes[path]!;
    out.prefixClass = prefixes.class[paths.prefix[path]!]!;
    out.peer = peer;
    out.localNumber = peer === 0 ? paths.pathId[path]! : 0;
    out.local = peer === 0 ? this.host.facts.facts(out.localNumber) : undefined;
    out.origin = peer === 0 ? LOCAL_ORIGIN : this.peers[peer]?.origin ?? LOCAL_ORIGIN;
    return out;
  }

  #exportPrefix(exporter: Exporter, family: 0 | 1, prefix: number): void {
    const best = this.ribs[family].prefixes.best[prefix]!;
    if (best < 0) return exporter.group.change(family, prefix, 0, 0);
    const path = this.exportPath(family, best);
    exporter.group.change(family, prefix, exporter.setFor(family, path), path.peer);
  }

  /** All usable paths of a prefix, for peers with ADD-PATH. */
  #exportPaths(exporter: Exporter, family: 0 | 1, prefix: number): void {
    const { paths, prefixes } = this.ribs[family];
    const names = this.policies.names[family];
    names.begin();
    for (let path = prefixes.head[prefix]!; path >= 0; path = paths.next[path]!) {
      if (paths.attributes[path]! <= 0 || paths.reason[path] === Reason.NextHop) continue;
      const set = exporter.setFor(family, this.exportPath(family, path));
      if (set === 0) continue;
      const peer = paths.peer[path]!;
      exporter.group.change(family, names.see(prefix, peer, paths.pathId[path]!), set, peer);
    }
    for (let name = names.first(prefix); name >= 0; name = names.next(name)) {
      if (!names.isSeen(name)) exporter.group.change(family, name, 0, 0);
    }
  }

  /** Frees the names of a prefix's paths that nobody has been told, or has yet to be told the end of. */
  #freeNames(family: 0 | 1, prefix: number): void {
    const names = this.policies.names[family];
    for (let name = names.first(prefix); name >= 0;) {
      const next = names.next(name);
      let isUsed = false;
      for (const { group, wire } of this.policies.exporters.values()) {
        if ((wire.addPathSend & FAMILY_BITS[family]) === 0) continue;
        if (group.detached > 0 || group.out[family].set(name) !== 0) isUsed = true;
      }
      if (!isUsed) names.remove(name);
      name = next;
    }
  }

  #resolve(): void {
    this.host.isResolutionDue = false;
    const changed = this.nextHops.resolveAll();
    if (changed.size === 0) return;
    this.policies.clearResults();
    for (const rib of this.ribs) rib.markByNextHop(changed);
  }

  #refilter(): void {
    this.host.isFilterInputChanged = false;
    this.policies.clearResults();
    this.host.refreshAll();
    for (const rib of this.ribs) rib.markAllDirty();
  }

  /** Frees a prefix that has no paths, that nobody was told of, and that is not in the FIB. */
  #freeIfIdle(family: 0 | 1, prefix: number): void {
    const { prefixes } = this.ribs[family];
    if (prefixes.head[prefix]! >= 0 || !prefixes.isLive(prefix) || prefixes.flags[prefix] !== 0) return;
    if (!this.fibs[family].isIdle(prefix)) return;
    for (const { group, wire } of this.policies.exporters.values()) {
      if ((wire.addPathSend & FAMILY_BITS[family]) === 0 && group.out[family].set(prefix) !== 0) return;
      // A peer that is behind has to find the prefix by its number.
      if (group.detached > 0) return void this.#zombies.push({ family, prefix });
    }
    this.#freeNames(family, prefix);
    if (this.policies.names[family].first(prefix) < 0) prefixes.remove(prefix);
  }

  #collectZombies({ group }: Exporter): void {
    if (group.detached > 0) return;
    if (group.zombies.length > 0) {
      for (const zombie of group.zombies) this.#zombies.push(zombie);
      group.zombies = [];
    }
    if (this.#zombies.length === 0) return;
    const zombies = this.#zombies;
    this.#zombies = [];
    for (const { family, prefix } of zombies) this.#freeIfIdle(family, prefix);
  }

  nextBytes(id: PeerId, max: number): Uint8Array | undefined {
    if (this.ribs[0].dirtyCount + this.ribs[1].dirtyCount > 0) this.settle();
    const exporter = this.peers[id]?.exporter;
    if (!exporter) return undefined;
    const wasDetached = exporter.group.detached > 0;
    const bytes = exporter.group.nextBytes(id, max);
    if (wasDetached) this.#collectZombies(exporter);
    return bytes;
  }

  hasBytes(id: PeerId): boolean {
    return this.peers[id]?.exporter?.group.hasBytes(id) ?? false;
  }

  drainFib(sink: FibSink, max: number): boolean {
    this.settle();
    let left = max;
    for (const family of FAMILIES) {
      left -= this.fibs[family].drain(sink, left, (prefix) => this.#freeIfIdle(family, prefix));
    }
    return this.fibs.some((fib) => fib.isPending);
  }

  counts(id: PeerId): PeerCounts {
    let accepted = 0, advertised = 0;
    for (const family of FAMILIES) {
      accepted += this.ribs[family].paths.acceptedOf(id);
      const out = this.peers[id]?.exporter?.group.out[family];
      if (out) advertised += out.count - out.countOf(id);
    }
    return { received: this.#received(id), accepted, advertised };
  }

  routes(query: RouteQuery): RouteRow[] {
    this.settle();
    return decodeRoutes(this, query);
  }
}

const UNRANKED = { isExternal: false, routerId: 0, order: 0 };
