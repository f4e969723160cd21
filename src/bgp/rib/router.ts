/**
 * The router: Adj-RIBs-In, Loc-RIB, Adj-RIBs-Out and the wish for the FIB, tied together. See `interface.ts` for the seam.
 *
 *   UPDATE ─ attributes interned ─ import ─ path table ┐                     ┌ export per group ─ log ─ cursors of peers
 *   FIB routes ─ facts ─────────────────── path table ─┴ dirty ─ decide ─────┴ ways (ECMP) ─ FIB table ─ sink
 *
 * Everything on the way is paid once for a set of attributes or once for a prefix that changed, never for the table.
 */

import { Cidr } from "../../lib/cidr.ts";
import { EMPTY_CONFIG, type SpeakerConfig } from "../config.ts";
import { type FibTable, RTPROT_BIRD } from "../fib/fib_table.ts";
import { addressKey, FibView } from "../fib/fib_view.ts";
import { LocalRoutes } from "../fib/local_routes.ts";
import { NextHops, OWN_NEXT_HOP } from "../fib/next_hops.ts";
import { makeFibWish } from "../fib/fib_wish.ts";
import { exportPolicy, importPolicy } from "../filter/calico.ts";
import { RouteDraft } from "../filter/draft.ts";
import { PrefixClasses, wordsOf } from "../filter/prefix_classes.ts";
import { EMPTY_ATTRIBUTES } from "../wire/attributes.ts";
import { decodeRoutes } from "../show/routes.ts";
import { IPV4_UNICAST, IPV6_UNICAST } from "../wire/constants.ts";
import { NlriCursor } from "../wire/nlri.ts";
import { parseUpdate, UpdateView } from "../wire/update.ts";
import type { Fault } from "../wire/fault.ts";
import { AttributeStore } from "./attribute_store.ts";
import { Reason } from "./decision.ts";
import type { PathOrigin } from "./export.ts";
import { Exporter, type ExportPath } from "./exporter.ts";
import { Importer, REFUSED } from "./import.ts";
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
import { LocRib } from "./loc_rib.ts";
import { IS_STALE } from "./path_table.ts";
import { clusterIdOf, compareAddresses, exportFacts, FAMILY_BITS, groupKey, type PeerState, quad } from "./peer.ts";

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
  readonly fibViews = [new FibView(), new FibView()] as const;
  readonly nextHops = new NextHops(this.fibViews[0], this.fibViews[1], false);
  readonly local = new LocalRoutes();
  readonly links = new Map<number, { name: string; isUp: boolean }>();
  readonly ribs: readonly [LocRib, LocRib];
  readonly peers: (PeerState | undefined)[] = [undefined];
  readonly exporters = new Map<string, Exporter>();
  classes: readonly [PrefixClasses, PrefixClasses] = [new PrefixClasses(4), new PrefixClasses(6)];
  readonly #ids = new Map<string, PeerId>();
  readonly #importers = new Map<string, readonly [Importer, Importer]>();
  readonly #draft = new RouteDraft(this.store);
  readonly #view = new UpdateView();
  readonly #nlri = new NlriCursor();
  readonly #localSet: number;
  #hops = new Int32Array(1024);
  #hopSerials = new Uint32Array(1024);
  #blocks = new Set<string>();
  #isResolutionDue = false;
  #isFilterInputChanged = false;
  #zombies: { family: 0 | 1; prefix: number }[] = [];
  readonly #waiting: PeerId[] = [];
  #wishes: readonly [ReturnType<typeof makeFibWish>, ReturnType<typeof makeFibWish>];

  constructor() {
    const context = (family: 0 | 1) => ({
      store: this.store,
      nextHops: this.nextHops,
      rankOf: (peer: number) => this.peers[peer] ?? UNRANKED,
      localPreference: (facts: number) => this.local.facts(facts).preference,
      nextHopOf: (set: number) => this.nextHopOf(set),
      normalPriority: () => family === 0 ? this.config.normalPriority4 : this.config.normalPriority6,
    });
    this.ribs = [new LocRib(false, context(0)), new LocRib(true, context(1))];
    this.#localSet = this.store.internValue({ ...EMPTY_ATTRIBUTES, nextHop: new Uint8Array(16), localPref: 100 });
    this.store.retain(this.#localSet);
    this.#wishes = [this.#makeWish(0), this.#makeWish(1)];
  }

  get fibs(): readonly [FibTable, FibTable] {
    return [this.#wishes[0].table, this.#wishes[1].table];
  }

  // --- configuration -------------------------------------------------------------------------------------------

  configure(config: SpeakerConfig): void {
    const old = this.config;
    this.config = config;
    const isPolicyChanged = policyText(old) !== policyText(config);
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
    this.classes = [new PrefixClasses(4), new PrefixClasses(6)];
    this.#importers.clear();
    this.#blocks = new Set(this.config.aggregates.map(({ cidr }) => cidrKey(cidr)));
    this.#wishes = [this.#makeWish(0, this.#wishes[0].table), this.#makeWish(1, this.#wishes[1].table)];
    // Conditions have to be known before any prefix is put into a class.
    for (const peer of this.peers) if (peer?.session) peer.importers = this.#importersFor(peer, peer.session);
    this.#regroup();
    for (const exporter of this.exporters.values()) this.#recompile(exporter);
    for (const family of FAMILIES) {
      const { prefixes, paths } = this.ribs[family];
      for (let prefix = 0; prefix < prefixes.limit; prefix++) {
        if (!prefixes.isLive(prefix)) continue;
        prefixes.class[prefix] = this.#classOf(family, prefix);
        for (let path = prefixes.head[prefix]!; path >= 0; path = paths.next[path]!) this.#reimport(family, path);
      }
      for (const route of [...this.fibViews[family].routes()]) this.#refreshLocal(family, route);
      this.ribs[family].markAllDirty();
    }
  }

  #reimport(family: 0 | 1, path: number): void {
    const rib = this.ribs[family];
    const { paths } = rib;
    const peer = this.peers[paths.peer[path]!];
    if (!peer?.importers) return;
    const prefix = paths.prefix[path]!;
    const isStale = paths.flags[path]! & IS_STALE;
    const received = paths.received[path]!;
    const result = this.#import(peer, family, received, rib.prefixes.class[prefix]!);
    rib.put(prefix, peer.id, paths.pathId[path]!, received, Math.max(0, result), reasonOf(result));
    paths.flags[path]! |= isStale;
  }

  /** Puts peers whose export facts changed into other groups. */
  #regroup(): void {
    for (const peer of this.peers) {
      if (!peer?.session || !peer.exporter) continue;
      peer.origin = originOf(peer, peer.session);
      const facts = exportFacts(this.config, peer.config, peer.session);
      const key = groupKey(peer.config, facts, peer.session);
      const old = peer.exporter;
      if (old.key === key) continue;
      const next = this.#exporterFor(peer, peer.session);
      for (const family of FAMILIES) this.#export(next, family);
      next.group.takeOver(peer.id, old.group, peer.session.wire.families);
      old.group.leave(peer.id);
      this.#dropIfEmpty(old);
      peer.exporter = next;
    }
  }

  #recompile(exporter: Exporter): void {
    exporter.clear();
    const peer = this.peers.find((candidate) => candidate?.exporter === exporter);
    if (peer) exporter.policies = this.#exportPolicies(peer);
  }

  #exportPolicies(peer: PeerState) {
    return [
      exportPolicy(this.config, peer.config, this.classes[0]),
      exportPolicy(this.config, peer.config, this.classes[1]),
    ] as const;
  }

  #importersFor(peer: PeerState, session: SessionFacts): readonly [Importer, Importer] {
    const { config } = peer;
    const facts = {
      localAs: session.localAs,
      allowLocalAs: config.allowLocalAs,
      routerId: quad(this.config.routerId),
      clusterId: clusterIdOf(this.config, config),
    };
    const key = JSON.stringify([facts, config.importFilters, config.isSameAs]);
    let importers = this.#importers.get(key);
    if (!importers) {
      const make = (family: 0 | 1) =>
        new Importer(this.store, facts, importPolicy(this.config, config, this.classes[family]), this.#draft);
      this.#importers.set(key, importers = [make(0), make(1)]);
      this.#classify();
    }
    return importers;
  }

  #exporterFor(peer: PeerState, session: SessionFacts): Exporter {
    const facts = exportFacts(this.config, peer.config, session);
    const key = groupKey(peer.config, facts, session);
    let exporter = this.exporters.get(key);
    if (!exporter) {
      const tables = [this.ribs[0].prefixes, this.ribs[1].prefixes] as const;
      const policies = this.#exportPolicies(peer);
      exporter = new Exporter(key, facts, session.wire, this.store, tables, policies, this.#draft);
      this.exporters.set(key, exporter);
      this.#classify();
    }
    return exporter;
  }

  /** A policy may have brought new conditions: puts the prefixes into their classes again. */
  #classify(): void {
    for (const family of FAMILIES) {
      const { prefixes } = this.ribs[family];
      if (!this.classes[family].takeChanged()) continue;
      for (let prefix = 0; prefix < prefixes.limit; prefix++) {
        if (prefixes.isLive(prefix)) prefixes.class[prefix] = this.#classOf(family, prefix);
      }
      for (const importers of this.#importers.values()) importers[family].clear();
      for (const exporter of this.exporters.values()) exporter.clear();
    }
  }

  #dropIfEmpty(exporter: Exporter): void {
    this.#collectZombies(exporter);
    if (exporter.group.members.size > 0) return;
    exporter.group.clear();
    this.exporters.delete(exporter.key);
    // What only this group still held may go now.
    for (const family of FAMILIES) {
      const { prefixes } = this.ribs[family];
      for (let prefix = 0; prefix < prefixes.limit; prefix++) {
        if (prefixes.isLive(prefix) && prefixes.head[prefix]! < 0) this.#freeIfIdle(family, prefix);
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
    peer.importers = this.#importersFor(peer, session);
    const isNew = !this.exporters.has(groupKey(peer.config, exportFacts(this.config, peer.config, session), session));
    const exporter = peer.exporter = this.#exporterFor(peer, session);
    exporter.group.join(id, session.wire.families);
    // The first member reads the table from the log; nobody else is there to need it before.
    if (isNew) { for (const family of FAMILIES) this.#export(exporter, family); }
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

  refresh(id: PeerId, families: number, isEnhanced = false): void {
    this.settle();
    this.peers[id]?.exporter?.group.refresh(id, families, isEnhanced);
  }

  // --- what peers say ------------------------------------------------------------------------------------------

  receiveUpdate(id: PeerId, body: Uint8Array): ReceiveResult {
    const peer = this.peers[id];
    if (!peer?.session) return { endOfRib: 0 };
    const { wire } = peer.session;
    const view = this.#view;
    const refused = parseUpdate(body, wire, view);
    if (refused !== view) return { fault: refused as Fault, endOfRib: 0 };
    this.#withdraw(peer, 0, view.withdrawnStart, view.withdrawnEnd);
    if (view.unreachFamily !== 0) {
      this.#withdraw(peer, view.unreachFamily === IPV4_UNICAST ? 0 : 1, view.unreachStart, view.unreachEnd);
    }
    if (view.endOfRib !== 0) {
      this.sweepStale(id, view.endOfRib);
      return { endOfRib: view.endOfRib };
    }
    let fault = view.malformed;
    if (view.nlriEnd > view.nlriStart) fault ??= this.#announce(peer, 0, view.nlriStart, view.nlriEnd, undefined);
    if (view.reachFamily !== 0 && view.reachEnd > view.reachStart) {
      const family = view.reachFamily === IPV4_UNICAST ? 0 : 1;
      fault ??= this.#announce(peer, family, view.reachStart, view.reachEnd, view.nextHopBytes());
    }
    if (fault) {
      if (fault.kind === "reset") return { fault, endOfRib: 0 };
      this.#withdraw(peer, 0, view.nlriStart, view.nlriEnd);
      if (view.reachFamily !== 0) {
        this.#withdraw(peer, view.reachFamily === IPV4_UNICAST ? 0 : 1, view.reachStart, view.reachEnd);
      }
      return { fault, endOfRib: 0 };
    }
    const limit = peer.config.maxPrefixes;
    if (limit !== undefined && this.#received(id) > limit) return { endOfRib: 0, isOverLimit: true };
    return NO_FAULT;
  }

  #received(id: PeerId): number {
    return this.ribs[0].paths.countOf(id) + this.ribs[1].paths.countOf(id);
  }

  #withdraw(peer: PeerState, family: 0 | 1, start: number, end: number): void {
    if (start === end) return;
    const rib = this.ribs[family];
    const { prefixes } = rib;
    const nlri = this.#nlri.over(this.#view.bytes, start, end, family === 1, this.#hasPathId(peer, family));
    while (nlri.next()) {
      const prefix = prefixes.find(nlri.w0, nlri.w1, nlri.w2, nlri.w3, nlri.length);
      if (prefix >= 0) rib.withdraw(prefix, peer.id, nlri.pathId);
    }
  }

  #announce(
    peer: PeerState,
    family: 0 | 1,
    start: number,
    end: number,
    nextHop: Uint8Array | undefined,
  ): Fault | undefined {
    const view = this.#view, { store } = this;
    const set = store.intern(peer.kind, view.attributes, view.attributesStart, view.attributesEnd, nextHop);
    if (set < 0) return store.fault;
    // Held for the time of the loop, which may free the last path that used it.
    store.retain(set);
    const rib = this.ribs[family];
    const { prefixes } = rib;
    const nlri = this.#nlri.over(view.bytes, start, end, family === 1, this.#hasPathId(peer, family));
    let lastClass = -1, result = 0;
    while (nlri.next()) {
      const prefix = prefixes.intern(nlri.w0, nlri.w1, nlri.w2, nlri.w3, nlri.length);
      if (prefixes.head[prefix]! < 0) prefixes.class[prefix] = this.#classOf(family, prefix);
      const prefixClass = prefixes.class[prefix]!;
      if (prefixClass !== lastClass) {
        result = this.#import(peer, family, set, prefixClass);
        lastClass = prefixClass;
      }
      rib.put(prefix, peer.id, nlri.pathId, set, result > 0 ? result : 0, reasonOf(result));
    }
    store.release(set);
    return undefined;
  }

  #hasPathId(peer: PeerState, family: 0 | 1): boolean {
    return ((peer.session?.wire.addPathReceive ?? 0) & FAMILY_BITS[family]) !== 0;
  }

  #import(peer: PeerState, family: 0 | 1, set: number, prefixClass: number): number {
    return peer.importers?.[family].import(set, prefixClass, () => this.interfaceOf(set)) ?? REFUSED;
  }

  #classOf(family: 0 | 1, prefix: number): number {
    const { prefixes } = this.ribs[family];
    return family === 0
      ? this.classes[0].classOf(prefixes.w0[prefix]!, 0, 0, 0, prefixes.length[prefix]!)
      : this.classes[1].classOf(
        prefixes.w0[prefix]!,
        prefixes.w1[prefix]!,
        prefixes.w2[prefix]!,
        prefixes.w3[prefix]!,
        prefixes.length[prefix]!,
      );
  }

  /** The next hop's number for a set of attributes. */
  nextHopOf(set: number): number {
    if (set >= this.#hops.length) this.#growHops(set);
    const serial = this.store.serial(set);
    if (this.#hopSerials[set] === serial) return this.#hops[set]!;
    this.nextHops.release(this.#hops[set]!);
    const mp = this.store.mpNextHop(set);
    const value = this.store.columns.nextHop4[set]!;
    const hop = set === this.#localSet
      ? OWN_NEXT_HOP
      : this.nextHops.retain(mp.length > 0 ? mp : Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value));
    this.#hops[set] = hop;
    this.#hopSerials[set] = serial;
    return hop;
  }

  #growHops(set: number): void {
    const size = Math.max(this.#hops.length * 2, set + 1);
    const hops = new Int32Array(size), serials = new Uint32Array(size);
    hops.set(this.#hops);
    serials.set(this.#hopSerials);
    this.#hops = hops;
    this.#hopSerials = serials;
  }

  /** The interface that paths with this set lead out of, where it is known. */
  interfaceOf(set: number): string | undefined {
    const way = this.nextHops.resolution(this.nextHopOf(set)).ways[0];
    return way && this.links.get(way.ifindex)?.name;
  }

  // --- what the kernel says ------------------------------------------------------------------------------------

  learn(route: FibRoute): void {
    const family = route.family === 4 ? 0 : 1;
    const view = this.fibViews[family];
    if (route.protocol === RTPROT_BIRD) {
      const alien = view.at(route.address, route.length).find((other) => other.metric === route.metric);
      if (alien) this.#forgetAlien(family, alien);
      if (this.config.fib.isInstalling) this.fibs[family].adopt(route);
      return;
    }
    if (!this.nextHops.isResolving) return;
    this.fibs[family].lose(route);
    view.put(route);
    this.#isResolutionDue = true;
    this.#refreshLocal(family, route);
  }

  forget(route: FibRoute): void {
    const family = route.family === 4 ? 0 : 1;
    if (route.protocol === RTPROT_BIRD) this.fibs[family].lose(route);
    else this.#forgetAlien(family, route);
  }

  #forgetAlien(family: 0 | 1, route: FibRoute): void {
    this.fibViews[family].remove(route);
    this.#isResolutionDue = true;
    this.#refreshLocal(family, route);
  }

  setLink(ifindex: number, name: string | undefined, isUp: boolean): void {
    const old = this.links.get(ifindex)?.name;
    if (name === undefined) this.links.delete(ifindex);
    else this.links.set(ifindex, { name, isUp });
    if (old !== name) this.#isFilterInputChanged = true;
  }

  setAddress(address: Uint8Array, _ifindex: number, isGone = false): void {
    this.nextHops.setOwn(address, isGone);
    this.#isResolutionDue = true;
  }

  sweepFib(): void {
    this.settle();
    for (const fib of this.fibs) fib.sweep();
  }

  /** Makes the host's own path of a destination agree with the FIB. */
  #refreshLocal(family: 0 | 1, { address, length }: FibRoute): void {
    if (!this.config.fib.isLearning) return;
    const rib = this.ribs[family];
    const route = this.fibViews[family].at(address, length)[0];
    const isBlock = this.#blocks.has(`${addressKey(address)}/${length}`);
    const nameOf = (ifindex: number) => this.links.get(ifindex)?.name;
    const facts = route ? this.local.classify(route, this.config, isBlock, nameOf) : -1;
    const [w0, w1, w2, w3] = wordsOf(address);
    let prefix = rib.prefixes.find(w0, w1, w2, w3, length);
    if (prefix < 0) {
      if (facts < 0) return;
      prefix = rib.prefixes.intern(w0, w1, w2, w3, length);
    }
    if (rib.prefixes.head[prefix]! < 0) rib.prefixes.class[prefix] = this.#classOf(family, prefix);
    let isThere = false;
    for (let path = rib.prefixes.head[prefix]!; path >= 0;) {
      const next = rib.paths.next[path]!;
      if (rib.paths.peer[path] === 0) {
        if (rib.paths.pathId[path] === facts) isThere = true;
        else rib.remove(path);
      }
      path = next;
    }
    if (facts >= 0 && !isThere) rib.put(prefix, 0, facts, 0, this.#localSet, Reason.Best);
    // Whether our route may stand beside an alien one depends on it, too.
    rib.markDirty(prefix);
  }

  #makeWish(family: 0 | 1, table?: FibTable): ReturnType<typeof makeFibWish> {
    return makeFibWish(this, family, table);
  }

  // --- what comes of it ----------------------------------------------------------------------------------------

  settle(): readonly PeerId[] {
    if (this.#isResolutionDue) this.#resolve();
    if (this.#isFilterInputChanged) this.#refilter();
    for (const family of FAMILIES) this.#settleFamily(family);
    this.#waiting.length = 0;
    for (const { group } of this.exporters.values()) {
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
    if (wish) { for (let i = 0; i < dirty.length; i++) wish.update(dirty[i]!); }
    for (const exporter of this.exporters.values()) {
      if ((exporter.wire.families & FAMILY_BITS[family]) === 0) continue;
      for (let i = 0; i < dirty.length; i++) this.#exportPrefix(exporter, family, dirty[i]!);
      exporter.group.flush(family);
    }
    for (let i = 0; i < dirty.length; i++) {
      if (rib.prefixes.head[dirty[i]!]! < 0) this.#freeIfIdle(family, dirty[i]!);
    }
  }

  /** Puts the whole table through a group's export. */
  #export(exporter: Exporter, family: 0 | 1): void {
    if ((exporter.wire.families & FAMILY_BITS[family]) === 0) return;
    const { prefixes } = this.ribs[family];
    for (let prefix = 0; prefix < prefixes.limit; prefix++) {
      if (prefixes.isLive(prefix)) this.#exportPrefix(exporter, family, prefix);
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
      return local ? this.links.get(local.ifindex)?.name : this.interfaceOf(set);
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
    out.local = peer === 0 ? this.local.facts(out.localNumber) : undefined;
    out.origin = peer === 0 ? LOCAL_ORIGIN : this.peers[peer]?.origin ?? LOCAL_ORIGIN;
    return out;
  }

  #exportPrefix(exporter: Exporter, family: 0 | 1, prefix: number): void {
    const best = this.ribs[family].prefixes.best[prefix]!;
    if (best < 0) return exporter.group.change(family, prefix, 0, 0);
    const path = this.exportPath(family, best);
    exporter.group.change(family, prefix, exporter.setFor(family, path), path.peer);
  }

  #resolve(): void {
    this.#isResolutionDue = false;
    const changed = this.nextHops.resolveAll();
    if (changed.size === 0) return;
    this.#clearCaches();
    for (const rib of this.ribs) rib.markByNextHop(changed);
  }

  #refilter(): void {
    this.#isFilterInputChanged = false;
    this.#clearCaches();
    for (const family of FAMILIES) {
      for (const route of [...this.fibViews[family].routes()]) this.#refreshLocal(family, route);
      this.ribs[family].markAllDirty();
    }
  }

  #clearCaches(): void {
    for (const exporter of this.exporters.values()) exporter.clear();
    for (const importers of this.#importers.values()) for (const importer of importers) importer.clear();
  }

  /** Frees a prefix that has no paths, that nobody was told of, and that is not in the FIB. */
  #freeIfIdle(family: 0 | 1, prefix: number): void {
    const { prefixes } = this.ribs[family];
    if (prefixes.head[prefix]! >= 0 || !prefixes.isLive(prefix) || prefixes.flags[prefix] !== 0) return;
    if (!this.fibs[family].isIdle(prefix)) return;
    for (const { group } of this.exporters.values()) {
      if (group.out[family].set(prefix) !== 0) return;
      // A peer that is behind has to find the prefix by its number.
      if (group.detached > 0) return void this.#zombies.push({ family, prefix });
    }
    prefixes.remove(prefix);
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
      const { paths } = this.ribs[family];
      for (let path = paths.firstOf(id); path >= 0; path = paths.nextOf(path)) {
        if (paths.attributes[path]! > 0) accepted++;
      }
      const out = this.peers[id]?.exporter?.group.out[family];
      out?.each((prefix) => advertised += out.source(prefix) === id ? 0 : 1);
    }
    return { received: this.#received(id), accepted, advertised };
  }

  routes(query: RouteQuery): RouteRow[] {
    this.settle();
    return decodeRoutes(this, query);
  }
}

const UNRANKED = { isExternal: false, routerId: 0, order: 0 };
const NO_FAULT: ReceiveResult = { endOfRib: 0 };

function originOf(peer: PeerState, session: SessionFacts): PathOrigin {
  const { isInternal } = session.wire;
  return { isLocal: false, isInternal, isClient: isInternal && peer.config.rrClient, routerId: session.routerId };
}

function reasonOf(result: number): Reason {
  return result > 0 ? Reason.Best : result === -Reason.Loop ? Reason.Loop : Reason.Refused;
}

/** The parts of the configuration that routes depend on, as one text to compare. */
function policyText(config: SpeakerConfig): string {
  const { peers, listen: _listen, ...rest } = config;
  const policies = peers.map(({ name, importFilters, exportFilters, isSameAs, hasCalicoRules, allowLocalAs }) => [
    name,
    importFilters,
    exportFilters,
    isSameAs,
    hasCalicoRules,
    allowLocalAs,
  ]);
  return JSON.stringify([rest, policies]);
}

function cidrKey(text: string): string {
  const cidr = Cidr.tryParse(text);
  return cidr ? `${addressKey(cidr.ip.bytes)}/${cidr.length}` : "";
}
