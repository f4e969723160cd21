/**
 * All paths of one family: one row per (prefix, peer, path identifier), in typed arrays.
 *
 * A row is in two lists: the paths of its prefix (singly linked, short) and the paths of its peer (doubly linked, so that
 * a session's end costs what the peer had announced). It keeps the attributes as received (Adj-RIB-In before policy) and
 * as imported (after policy, 0 when the filter refused), and the reason for which it is not the best.
 */

import { GROWTH, resize } from "./attribute_columns.ts";

/** Bits of `flags`. */
export const IS_STALE = 1;
/** Used beside the best path (ECMP). */
export const IS_MULTIPATH = 2;

/** The rows; path numbers begin at 0. */
export class PathTable {
  prefix = new Int32Array(1024);
  /** The peer that announced it; 0 is the host itself. */
  peer = new Uint16Array(1024);
  pathId = new Uint32Array(1024);
  /** Attributes as received; for the host's own routes the number of their facts. */
  received = new Int32Array(1024);
  /** Attributes after the import filter, 0 when it refused. */
  attributes = new Int32Array(1024);
  flags = new Uint8Array(1024);
  /** A `Reason`. */
  reason = new Uint8Array(1024);
  /** Next path of the prefix, -1 at the end. */
  next = new Int32Array(1024);
  #peerNext = new Int32Array(1024);
  #peerPrevious = new Int32Array(1024);
  /** First path of each peer, -1 for none. */
  #peerHead: Int32Array = new Int32Array(64).fill(-1);
  #peerCount = new Int32Array(64);
  #peerAccepted = new Int32Array(64);
  #free: number[] = [];
  #limit = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Adds a row at the head of the prefix's list (`head` is the old one, the result the new one). */
  add(prefix: number, peer: number, pathId: number, head: number): number {
    const id = this.#free.pop() ?? this.#limit++;
    if (id >= this.prefix.length) this.#grow();
    this.prefix[id] = prefix;
    this.peer[id] = peer;
    this.pathId[id] = pathId;
    this.received[id] = 0;
    this.attributes[id] = 0;
    this.flags[id] = 0;
    this.reason[id] = 0;
    this.next[id] = head;
    if (peer >= this.#peerHead.length) this.#growPeers(peer);
    const first = this.#peerHead[peer]!;
    this.#peerNext[id] = first;
    this.#peerPrevious[id] = -1;
    if (first >= 0) this.#peerPrevious[first] = id;
    this.#peerHead[peer] = id;
    this.#peerCount[peer]!++;
    this.#size++;
    return id;
  }

  /** Takes a row out of both lists; the result is the new head of the prefix's list. */
  remove(id: number, head: number): number {
    const next = this.next[id]!;
    if (head === id) head = next;
    else {
      let before = head;
      while (this.next[before] !== id) before = this.next[before]!;
      this.next[before] = next;
    }
    this.setAttributes(id, 0, 0);
    const peer = this.peer[id]!, after = this.#peerNext[id]!, previous = this.#peerPrevious[id]!;
    if (after >= 0) this.#peerPrevious[after] = previous;
    if (previous >= 0) this.#peerNext[previous] = after;
    else this.#peerHead[peer] = after;
    this.#peerCount[peer]!--;
    this.prefix[id] = -1;
    this.#size--;
    this.#free.push(id);
    return head;
  }

  /** The row of that peer and path identifier in the list, -1 when there is none. */
  find(head: number, peer: number, pathId: number): number {
    for (let id = head; id >= 0; id = this.next[id]!) {
      if (this.peer[id] === peer && this.pathId[id] === pathId) return id;
    }
    return -1;
  }

  /** Sets the path's attributes, as received and as imported (0: refused); uses are the caller's to count. */
  setAttributes(id: number, received: number, imported: number): void {
    this.#peerAccepted[this.peer[id]!]! += (imported > 0 ? 1 : 0) - (this.attributes[id]! > 0 ? 1 : 0);
    this.received[id] = received;
    this.attributes[id] = imported;
  }

  firstOf(peer: number): number {
    return this.#peerHead[peer] ?? -1;
  }
  nextOf(id: number): number {
    return this.#peerNext[id]!;
  }
  countOf(peer: number): number {
    return this.#peerCount[peer] ?? 0;
  }
  /** How many of the peer's paths the import filter let pass. */
  acceptedOf(peer: number): number {
    return this.#peerAccepted[peer] ?? 0;
  }

  #growPeers(peer: number): void {
    const size = Math.max(this.#peerHead.length * 2, peer + 1);
    const heads = new Int32Array(size).fill(-1);
    heads.set(this.#peerHead);
    this.#peerHead = heads;
    this.#peerCount = resize(this.#peerCount, new Int32Array(size));
    this.#peerAccepted = resize(this.#peerAccepted, new Int32Array(size));
  }

  #grow(): void {
    const size = this.prefix.length * GROWTH;
    this.prefix = resize(this.prefix, new Int32Array(size));
    this.peer = resize(this.peer, new Uint16Array(size));
    this.pathId = resize(this.pathId, new Uint32Array(size));
    this.received = resize(this.received, new Int32Array(size));
    this.attributes = resize(this.attributes, new Int32Array(size));
    this.flags = resize(this.flags, new Uint8Array(size));
    this.reason = resize(this.reason, new Uint8Array(size));
    this.next = resize(this.next, new Int32Array(size));
    this.#peerNext = resize(this.#peerNext, new Int32Array(size));
    this.#peerPrevious = resize(this.#peerPrevious, new Int32Array(size));
  }
}
