/**
 * UPDATE bodies into the Adj-RIBs-In: withdrawals first, then announcements with interned and imported attributes.
 *
 * A set of attributes is looked up once for a message, and imported once for each class of prefixes in it. What is wrong
 * with attributes costs the routes of the message, not the session, wherever RFC 7606 allows that.
 */

import { Ip } from "../../lib/ip.ts";
import type { PathAttributes } from "../wire/attributes.ts";
import { COMMUNITY_LLGR_STALE, IPV4_UNICAST } from "../wire/constants.ts";
import { type Fault, fault } from "../wire/fault.ts";
import { NlriCursor } from "../wire/nlri.ts";
import { parseUpdate, UpdateView } from "../wire/update.ts";
import type { AttributeStore } from "./attribute_store.ts";
import { Reason } from "./decision.ts";
import { REFUSED } from "./import.ts";
import type { ReceiveResult } from "./interface.ts";
import { scoped } from "./link_local.ts";
import type { LocRib } from "./loc_rib.ts";
import { IS_STALE } from "./path_table.ts";
import { FAMILY_BITS, type PeerState } from "./peer.ts";
import type { Policies } from "./policies.ts";

/** What receiving needs of the router. */
export interface ReceiverContext {
  readonly store: AttributeStore;
  readonly ribs: readonly [LocRib, LocRib];
  readonly policies: Policies;
  interfaceOf(set: number): string | undefined;
}

/** Takes messages in, one at a time. */
export class Receiver {
  readonly #view = new UpdateView();
  readonly #nlri = new NlriCursor();

  constructor(readonly context: ReceiverContext) {}

  /** Takes the body of an UPDATE of a peer whose session is up. */
  receive(peer: PeerState, body: Uint8Array): ReceiveResult {
    if (!peer.session) return NO_FAULT;
    const view = this.#view;
    const refused = parseUpdate(body, peer.session.wire, view);
    if (refused !== view) return { fault: refused as Fault, endOfRib: 0 };
    this.#withdraw(peer, 0, view.withdrawnStart, view.withdrawnEnd);
    if (view.unreachFamily !== 0) this.#withdraw(peer, indexOf(view.unreachFamily), view.unreachStart, view.unreachEnd);
    if (view.endOfRib !== 0) return { endOfRib: view.endOfRib };
    let problem = view.malformed;
    if (view.nlriEnd > view.nlriStart) problem ??= this.#announce(peer, 0, view.nlriStart, view.nlriEnd, undefined);
    if (view.reachFamily !== 0 && view.reachEnd > view.reachStart) {
      problem ??= this.#announce(
        peer,
        indexOf(view.reachFamily),
        view.reachStart,
        view.reachEnd,
        nextHopOf(peer, view),
      );
    }
    if (!problem) return NO_FAULT;
    if (problem.kind === "reset") return { fault: problem, endOfRib: 0 };
    this.#withdraw(peer, 0, view.nlriStart, view.nlriEnd);
    if (view.reachFamily !== 0) this.#withdraw(peer, indexOf(view.reachFamily), view.reachStart, view.reachEnd);
    return { fault: problem, endOfRib: 0 };
  }

  /** The set to use for a received one, or minus the `Reason` for not using it (see `Importer`). */
  imported(peer: PeerState, family: 0 | 1, set: number, prefixClass: number): number {
    return peer.importers?.[family].setFor(set, prefixClass, () => this.context.interfaceOf(set)) ?? REFUSED;
  }

  /** Takes a path in anew with the community of a long-lived stale one (RFC 9494 4.2), still stale. */
  keepLong(peer: PeerState, family: 0 | 1, path: number, value: PathAttributes): void {
    const rib = this.context.ribs[family];
    const prefix = rib.paths.prefix[path]!;
    const communities = [...value.communities, COMMUNITY_LLGR_STALE];
    const received = this.context.store.internValue({ ...value, communities });
    const result = this.imported(peer, family, received, rib.prefixes.class[prefix]!);
    rib.put(prefix, peer.id, rib.paths.pathId[path]!, received, Math.max(0, result), reasonOf(result));
    rib.paths.flags[path]! |= IS_STALE;
  }

  #withdraw(peer: PeerState, family: 0 | 1, start: number, end: number): void {
    if (start === end) return;
    const rib = this.context.ribs[family];
    const { prefixes } = rib;
    const nlri = this.#nlri.over(this.#view.bytes, start, end, family === 1, hasPathId(peer, family));
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
    const view = this.#view;
    const { store, ribs, policies } = this.context;
    if (nextHop && !isHostAddress(nextHop)) {
      return fault("treat-as-withdraw", 3, 8, `next hop ${Ip.fromBytes(nextHop.subarray(0, 16))} is no host's address`);
    }
    const set = store.intern(peer.kind, view.attributes, view.attributesStart, view.attributesEnd, nextHop);
    if (set < 0) return store.fault;
    // Held for the time of the loop, which may free the last path that used it.
    store.retain(set);
    const rib = ribs[family];
    const { prefixes } = rib;
    const nlri = this.#nlri.over(view.bytes, start, end, family === 1, hasPathId(peer, family));
    let lastClass = -1, result = 0;
    while (nlri.next()) {
      if (isUnroutable(nlri, family)) continue;
      const prefix = prefixes.intern(nlri.w0, nlri.w1, nlri.w2, nlri.w3, nlri.length);
      if (prefixes.head[prefix]! < 0) prefixes.class[prefix] = policies.classOf(family, prefix);
      const prefixClass = prefixes.class[prefix]!;
      if (prefixClass !== lastClass) {
        result = this.imported(peer, family, set, prefixClass);
        lastClass = prefixClass;
      }
      rib.put(prefix, peer.id, nlri.pathId, set, result > 0 ? result : 0, reasonOf(result));
    }
    store.release(set);
    return undefined;
  }
}

/** Whether a next hop of MP_REACH_NLRI (4, 16 or 32 octets) can be a host: not unspecified, loopback or multicast. */
function isHostAddress(bytes: Uint8Array): boolean {
  const first = bytes[0]!;
  if (bytes.length === 4) return first !== 0 && first !== 127 && first < 224;
  if (first !== 0) return first !== 0xff;
  for (let i = 1; i < 15; i++) if (bytes[i] !== 0) return true;
  return bytes[15]! > 1;
}

/** Multicast, loopback, link-local and class E networks: wrong in meaning, so ignored (RFC 4271 6.3). */
function isUnroutable({ w0, w1, w2, w3, length }: NlriCursor, family: 0 | 1): boolean {
  if (family === 0) return w0 >= 0x7f000000 && (w0 >= 0xe0000000 || w0 < 0x80000000);
  return w0 >= 0xfe800000 && (w0 >>> 22 === 0x3fa || w0 >= 0xff000000) ||
    length === 128 && w0 === 0 && w1 === 0 && w2 === 0 && w3 <= 1;
}

function nextHopOf({ session }: PeerState, view: UpdateView): Uint8Array {
  const bytes = view.nextHopBytes();
  return session?.ifindex === undefined ? bytes : scoped(bytes, session.ifindex);
}

const NO_FAULT: ReceiveResult = { endOfRib: 0 };

function indexOf(bit: number): 0 | 1 {
  return bit === IPV4_UNICAST ? 0 : 1;
}

function hasPathId(peer: PeerState, family: 0 | 1): boolean {
  return ((peer.session?.wire.addPathReceive ?? 0) & FAMILY_BITS[family]) !== 0;
}

/** What a path keeps of the import's result. */
export function reasonOf(result: number): Reason {
  if (result > 0) return Reason.Best;
  return result === -Reason.Loop || result === -Reason.Leak ? -result : Reason.Refused;
}
