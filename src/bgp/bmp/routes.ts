/**
 * Routes for a BMP station, as UPDATE messages made of the router's tables.
 *
 *   dumpPeer, dumpLocRib    everything there is, piece by piece, End-of-RIB behind it
 *   PostPolicy              what became of the routes of one UPDATE behind the import filter
 *   LocRibNews              best paths that changed, told once
 *
 * A dump may be interrupted by changes for as long as its reader likes: each prefix is as it is when its turn comes, and what
 * changes meanwhile is told by the others.
 */

import { FAMILY_BITS } from "../rib/peer.ts";
import type { RouterCore } from "../rib/router.ts";
import { nlriOctets, ownOctets, type SetOctets, setOctets } from "../show/octets.ts";
import { MAX_EXTENDED_MESSAGE, MAX_MESSAGE } from "../wire/constants.ts";
import { NlriCursor } from "../wire/nlri.ts";
import { parseUpdate, UpdateView } from "../wire/update.ts";
import {
  encodeAnnounceIpv4,
  encodeAnnounceMp,
  encodeEndOfRib,
  encodeWithdraw,
  nlriRoom,
  withdrawRoom,
} from "../wire/update_encode.ts";
import type { BmpView } from "./message.ts";

type Family = 0 | 1;
/** Takes an UPDATE, which is valid during the call. */
export type Tell = (view: BmpView, update: Uint8Array) => void;

const FAMILIES = [0, 1] as const;
/** Prefixes that are packed together and told before others get their turn. */
const SLICE = 1024;
/** A path identifier, the length, and 16 octets. */
const MAX_NLRI = 21;

/** Everything of one peer: its Adj-RIB-In before and after policy, and what it was told if `withOut`. */
export function* dumpPeer(router: RouterCore, id: number, withOut: boolean, tell: Tell): Generator<void, void> {
  const families = router.peers[id]?.session?.wire.families ?? 0;
  for (const family of FAMILIES) {
    if ((families & FAMILY_BITS[family]) === 0) continue;
    const { prefixes, paths } = router.ribs[family];
    const hasPathIds = ((router.peers[id]?.session?.wire.addPathReceive ?? 0) & FAMILY_BITS[family]) !== 0;
    for (let from = 0; from < prefixes.limit; from += SLICE) {
      const packer = new Packer(router, family, tell);
      const end = Math.min(from + SLICE, prefixes.limit);
      for (let prefix = from; prefix < end; prefix++) {
        if (!prefixes.isLive(prefix)) continue;
        for (let path = prefixes.head[prefix] ?? -1; path >= 0; path = paths.next[path] ?? -1) {
          if (paths.peer[path] !== id) continue;
          const nlri = nlriOctets(prefixes, prefix, hasPathIds ? paths.pathId[path] : undefined);
          packer.add("adj-rib-in-pre", paths.received[path] ?? 0, nlri);
          const imported = paths.attributes[path] ?? 0;
          if (imported > 0) packer.add("adj-rib-in-post", imported, nlri);
        }
        if (withOut) addTold(router, family, prefix, id, packer);
      }
      packer.flush();
      yield;
    }
    const marker = encodeEndOfRib(FAMILY_BITS[family]);
    for (const view of ["adj-rib-in-pre", "adj-rib-in-post"] as const) tell(view, marker);
    if (withOut) tell("adj-rib-out-post", marker);
  }
}

function addTold(router: RouterCore, family: Family, prefix: number, id: number, packer: Packer): void {
  const peer = router.peers[id];
  const out = peer?.exporter?.group.out[family];
  const set = out?.set(prefix) ?? 0;
  // With ADD-PATH towards the peer its messages have path identifiers, which only the group knows.
  if (set === 0 || out?.source(prefix) === id || (peer?.session?.wire.addPathSend ?? 0) !== 0) return;
  packer.add("adj-rib-out-post", set, nlriOctets(router.ribs[family].prefixes, prefix));
}

/** What the import filter made of the routes of an UPDATE that the router has taken. */
export class PostPolicy {
  readonly #view = new UpdateView();
  readonly #cursor = new NlriCursor();

  constructor(readonly router: RouterCore) {}

  tell(id: number, body: Uint8Array, tell: Tell): void {
    const { router } = this;
    const wire = router.peers[id]?.session?.wire;
    if (!wire) return;
    const view = parseUpdate(body, wire, this.#view);
    if (view !== this.#view) return;
    const ranges: [number, number, number][] = [
      [1, this.#view.withdrawnStart, this.#view.withdrawnEnd],
      [this.#view.unreachFamily, this.#view.unreachStart, this.#view.unreachEnd],
      [1, this.#view.nlriStart, this.#view.nlriEnd],
      [this.#view.reachFamily, this.#view.reachStart, this.#view.reachEnd],
    ];
    for (const [bit, start, end] of ranges) {
      if (bit === 0 || start >= end) continue;
      const family = bit === 1 ? 0 : 1;
      const packer = new Packer(router, family, tell);
      const hasPathIds = (wire.addPathReceive & bit) !== 0;
      const nlri = this.#cursor.over(this.#view.bytes, start, end, family === 1, hasPathIds);
      const { prefixes, paths } = router.ribs[family];
      for (let from = start; nlri.next();) {
        const size = (hasPathIds ? 5 : 1) + (nlri.length + 7 >> 3);
        const octets = this.#view.bytes.slice(from, from + size);
        from += size;
        const prefix = prefixes.find(nlri.w0, nlri.w1, nlri.w2, nlri.w3, nlri.length);
        const path = prefix < 0 ? -1 : paths.find(prefixes.head[prefix] ?? -1, id, nlri.pathId);
        packer.add("adj-rib-in-post", path < 0 ? 0 : Math.max(0, paths.attributes[path] ?? 0), octets);
      }
      packer.flush();
    }
    if (this.#view.endOfRib !== 0) tell("adj-rib-in-post", encodeEndOfRib(this.#view.endOfRib));
  }
}

/** Tells best paths that are not what was told of them before; what was told is one number a prefix. */
export class LocRibNews {
  /** Serial of the set that was told, 0 for none. */
  readonly #told: [Uint32Array, Uint32Array] = [new Uint32Array(1024), new Uint32Array(1024)];
  /** Prefixes that are told, by family. */
  readonly counts: [number, number] = [0, 0];

  constructor(readonly router: RouterCore) {}

  /** Forgets what was told. */
  clear(): void {
    for (const family of FAMILIES) {
      this.#told[family].fill(0);
      this.counts[family] = 0;
    }
  }

  /** Looks at prefixes that were decided. */
  tell(family: Family, prefixes: Iterable<number>, tell: Tell): void {
    const packer = new Packer(this.router, family, tell);
    for (const prefix of prefixes) this.#look(family, prefix, packer);
    packer.flush();
  }

  /** The whole table, End-of-RIB behind it. */
  *dump(tell: Tell): Generator<void, void> {
    for (const family of FAMILIES) {
      const { prefixes } = this.router.ribs[family];
      for (let from = 0; from < prefixes.limit; from += SLICE) {
        const packer = new Packer(this.router, family, tell);
        const end = Math.min(from + SLICE, prefixes.limit);
        for (let prefix = from; prefix < end; prefix++) {
          if (prefixes.isLive(prefix)) this.#look(family, prefix, packer);
        }
        packer.flush();
        yield;
      }
      tell("loc-rib", encodeEndOfRib(FAMILY_BITS[family]));
    }
  }

  #look(family: Family, prefix: number, packer: Packer): void {
    const rib = this.router.ribs[family];
    const best = rib.prefixes.best[prefix] ?? -1;
    const set = best < 0 ? 0 : rib.paths.peer[best] === 0 ? OWN_SET : rib.paths.attributes[best] ?? 0;
    const serial = set === 0 ? 0 : set === OWN_SET ? OWN_SERIAL : this.router.store.serial(set);
    const told = this.#column(family, prefix);
    const last = told[prefix] ?? 0;
    if (last === serial) return;
    told[prefix] = serial;
    this.counts[family] += (serial === 0 ? 0 : 1) - (last === 0 ? 0 : 1);
    packer.add("loc-rib", set, nlriOctets(rib.prefixes, prefix));
  }

  #column(family: Family, prefix: number): Uint32Array {
    const old = this.#told[family];
    if (prefix < old.length) return old;
    const grown = new Uint32Array(Math.max(old.length * 2, prefix + 1));
    grown.set(old);
    this.#told[family] = grown;
    return grown;
  }
}

/** Stands for the attributes of the host's own routes. */
const OWN_SET = -1;
const OWN_SERIAL = 0xffffffff;

/** Packs prefixes of equal attributes into common UPDATEs; set 0 withdraws. */
class Packer {
  readonly #groups = new Map<string, { view: BmpView; set: number; nlri: Uint8Array[] }>();

  constructor(readonly router: RouterCore, readonly family: Family, readonly tell: Tell) {}

  add(view: BmpView, set: number, nlri: Uint8Array): void {
    const key = `${view} ${set}`;
    const group = this.#groups.get(key);
    if (group) group.nlri.push(nlri);
    else this.#groups.set(key, { view, set, nlri: [nlri] });
  }

  flush(): void {
    for (const { view, set, nlri } of this.#groups.values()) {
      const octets = set === 0
        ? undefined
        : set === OWN_SET
        ? ownOctets(this.family)
        : setOctets(this.router.store, set);
      const attributes = octets && { raw: octets.raw.slice(), nextHop: octets.nextHop.slice() };
      // Attributes that fill a message of the greatest length leave no room for a route of another form.
      if (attributes && this.#room(attributes) + MAX_EXTENDED_MESSAGE - MAX_MESSAGE < MAX_NLRI) continue;
      for (const run of runs(nlri, this.#room(attributes))) this.tell(view, this.#encode(attributes, run));
    }
    this.#groups.clear();
  }

  #room(octets: SetOctets | undefined): number {
    if (!octets) return withdrawRoom(FAMILY_BITS[this.family], MAX_MESSAGE);
    return nlriRoom(octets.raw.length, MAX_MESSAGE, octets.nextHop.length > 0 ? octets.nextHop.length : undefined);
  }

  #encode(octets: SetOctets | undefined, nlri: Uint8Array): Uint8Array {
    const bit = FAMILY_BITS[this.family];
    if (!octets) return encodeWithdraw(bit, nlri);
    if (octets.nextHop.length > 0) return encodeAnnounceMp(bit, octets.raw, octets.nextHop, nlri);
    return encodeAnnounceIpv4(octets.raw, nlri);
  }
}

/** Joins pieces into runs of at most `room` octets; a piece that does not fit is a run of its own. */
function* runs(pieces: readonly Uint8Array[], room: number): Generator<Uint8Array, void> {
  let run: Uint8Array[] = [];
  let length = 0;
  for (const piece of pieces) {
    if (length > 0 && length + piece.length > room) {
      yield join(run, length);
      run = [];
      length = 0;
    }
    run.push(piece);
    length += piece.length;
  }
  if (length > 0) yield join(run, length);
}

function join(pieces: readonly Uint8Array[], length: number): Uint8Array {
  const out = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}
