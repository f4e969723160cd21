/**
 * Peers that are told the same: one Adj-RIB-Out, one log of encoded messages, and a cursor for each.
 *
 * `change` compares what a prefix should be with what was told, and collects the difference; `flush` packs prefixes of
 * equal attributes into common messages and logs them once. A peer that joins a filled table reads a snapshot first,
 * which runs into the log and is shared by peers that join at about the same time. A peer that is too far behind leaves
 * the log: the prefixes it has not read become bits, and its messages are made from the table until it has caught up.
 *
 *   joined ──snapshot──> in the log ──4 MB behind──> in the table (bits) ──no bits left──> in the log
 */

import { encodeAttributes } from "../wire/attributes.ts";
import { afiOf, IPV4_UNICAST, IPV6_UNICAST, MSG_ROUTE_REFRESH, MSG_UPDATE, SAFI_UNICAST } from "../wire/constants.ts";
import { NlriCursor } from "../wire/nlri.ts";
import type { WireOptions } from "../wire/options.ts";
import { parseUpdate, UpdateView } from "../wire/update.ts";
import { AdjRibOut } from "./adj_rib_out.ts";
import type { AttributeStore } from "./attribute_store.ts";
import { Batch } from "./batch.ts";
import { type NlriTable, PathNames } from "./path_names.ts";
import { type Chunk, type Cursor, everyoneBut, only, read, seek, UpdateLog } from "./update_log.ts";
import { UpdateWriter } from "./update_writer.ts";

/** Octets that a peer may be behind before it is caught up from the table. */
export const MAX_BACKLOG = 4 << 20;
/** A snapshot is reused until the log behind it has grown by this much. */
const SNAPSHOT_LIFE = 1 << 20;

const FAMILIES = [IPV4_UNICAST, IPV6_UNICAST] as const;

interface Member {
  cursor: Cursor;
  /** For a peer in the table: bits of prefixes that it has to be told, by family. */
  bits: { readonly words: [Uint32Array, Uint32Array]; left: number; next: [number, number] } | undefined;
  /** Families whose End-of-RIB is still to be sent, once everything else has been read. */
  endOfRib: number;
  /** Families whose refresh began or is to be ended with a marker (RFC 7313). */
  beginOfRefresh: number;
  endOfRefresh: number;
}

/** One group. */
export class UpdateGroup {
  readonly log = new UpdateLog();
  readonly out: readonly [AdjRibOut, AdjRibOut];
  readonly members = new Map<number, Member>();
  readonly #writer: UpdateWriter;
  readonly #announced = new Batch();
  readonly #withdrawn = new Map<number, number[]>();
  #snapshot: { readonly first: Chunk; readonly position: number } | undefined;
  readonly #scratch = new Uint8Array(65536);
  /** How many members are in the table and not in the log. */
  detached = 0;
  /** Prefixes without paths that detached members have to be told of; the router frees them afterwards. */
  zombies: { readonly family: 0 | 1; readonly prefix: number }[] = [];

  constructor(
    readonly key: string,
    readonly wire: WireOptions,
    readonly store: AttributeStore,
    readonly prefixes: readonly [NlriTable, NlriTable],
  ) {
    this.out = [new AdjRibOut(store), new AdjRibOut(store)];
    this.#writer = new UpdateWriter(this.log, wire);
  }

  /** Whether a message can hold that set's attributes. */
  fits(id: number): boolean {
    return this.#writer.fits(this.#raw(id).length);
  }

  /** Says what a prefix of the family (0: IPv4, 1: IPv6) should be now; `set` 0 means that it is not told. */
  change(family: 0 | 1, prefix: number, set: number, source: number): void {
    const out = this.out[family];
    const oldSet = out.set(prefix), oldSource = out.source(prefix);
    if (oldSet === set && (set === 0 || oldSource === source)) return;
    out.put(prefix, set, source);
    if (set === 0) this.#withdraw(everyoneBut(oldSource), prefix);
    else {
      this.#announced.add(prefix, set, source);
      // The new source had the route of the old one.
      if (oldSet !== 0 && oldSource !== source && source !== 0) this.#withdraw(only(source), prefix);
    }
    if (this.detached > 0) { for (const member of this.members.values()) mark(member, family, prefix); }
  }

  #withdraw(audience: number, prefix: number): void {
    const list = this.#withdrawn.get(audience);
    if (list) list.push(prefix);
    else this.#withdrawn.set(audience, [prefix]);
  }

  /** Encodes the changes since the last call into the log; true when there were any. */
  flush(family: 0 | 1): boolean {
    if (this.#announced.length === 0 && this.#withdrawn.size === 0) return false;
    const position = this.log.position;
    const writer = this.#writer, prefixes = this.prefixes[family], bit = FAMILIES[family];
    for (const [audience, list] of this.#withdrawn) {
      writer.withdraw(bit, audience);
      for (const prefix of list) writer.add(prefixes, prefix);
      writer.end();
    }
    this.#withdrawn.clear();
    this.#announced.pack(this.store.limit, (set, source, prefix, isFirst) => {
      if (isFirst) {
        if (source >= 0) writer.announce(bit, everyoneBut(source), this.#raw(set), this.#nextHop(set));
        else writer.end();
      } else writer.add(prefixes, prefix);
    });
    this.#detachSlow(position);
    return true;
  }

  /** A peer joins: it will be told the whole table, then End-of-RIB of each of its families. */
  join(peer: number, families: number): void {
    const isEmpty = this.out[0].count === 0 && this.out[1].count === 0;
    this.members.set(peer, {
      cursor: isEmpty ? this.log.end() : this.#snapshotCursor(),
      bits: undefined,
      endOfRib: families,
      beginOfRefresh: 0,
      endOfRefresh: 0,
    });
  }

  /** A peer comes from another group: it is told all differences between what it was told and what is told here. */
  takeOver(peer: number, from: UpdateGroup, families: number): void {
    const old = from.members.get(peer);
    this.join(peer, 0);
    const member = this.members.get(peer);
    if (!member) return;
    member.endOfRib = (old?.endOfRib ?? 0) & families;
    member.cursor = this.log.end();
    this.#detach(peer, member);
    for (const family of [0, 1] as const) {
      for (const { out } of [from, this]) out[family].each((prefix) => mark(member, family, prefix));
    }
    if (old?.bits) {
      for (const family of [0, 1] as const) {
        old.bits.words[family].forEach((word, at) => {
          for (let bits = word; bits !== 0; bits &= bits - 1) {
            mark(member, family, at * 32 + 31 - Math.clz32(bits & -bits));
          }
        });
      }
    } else if (old) from.eachUnread(peer, old, (family, prefix) => mark(member, family, prefix));
    // Their numbers must stay theirs until this member has been told.
    this.zombies.push(...from.zombies);
  }

  leave(peer: number): void {
    const member = this.members.get(peer);
    if (member?.bits) this.detached--;
    this.members.delete(peer);
    if (this.members.size === 0) this.#snapshot = undefined;
  }

  /** Tells the peer everything of the families again (ROUTE-REFRESH). */
  refresh(peer: number, families: number, isEnhanced: boolean): void {
    const member = this.members.get(peer);
    if (!member) return;
    this.#detach(peer, member);
    for (const family of [0, 1] as const) {
      if ((families & FAMILIES[family]) === 0) continue;
      this.out[family].each((prefix) => mark(member, family, prefix));
    }
    if (!isEnhanced) return;
    member.beginOfRefresh |= families & this.wire.families;
    member.endOfRefresh |= families & this.wire.families;
  }

  /** Whether the peer has messages waiting. */
  hasBytes(peer: number): boolean {
    const member = this.members.get(peer);
    if (!member) return false;
    return (member.endOfRib | member.endOfRefresh) !== 0 || member.bits !== undefined || seek(member.cursor, peer);
  }

  /** The next messages for the peer. */
  nextBytes(peer: number, max: number): Uint8Array | undefined {
    const member = this.members.get(peer);
    if (!member) return undefined;
    if (member.beginOfRefresh !== 0) {
      const families = member.beginOfRefresh;
      member.beginOfRefresh = 0;
      return refreshMarkers(families, BEGIN_OF_REFRESH);
    }
    if (member.bits) {
      const bytes = this.#fromTable(peer, member, max);
      if (bytes) return bytes;
    }
    const bytes = read(member.cursor, peer, max, this.#scratch);
    if (bytes) return bytes;
    if (member.endOfRefresh !== 0) {
      const families = member.endOfRefresh;
      member.endOfRefresh = 0;
      return refreshMarkers(families, END_OF_REFRESH);
    }
    return this.#endOfRib(member);
  }

  /** Frees everything that the group holds. */
  clear(): void {
    for (const out of this.out) out.clear();
  }

  #endOfRib(member: Member): Uint8Array | undefined {
    if (member.endOfRib === 0) return undefined;
    const log = new UpdateLog();
    const writer = new UpdateWriter(log, this.wire);
    for (const bit of FAMILIES) if (member.endOfRib & bit) writer.endOfRib(bit, 0);
    member.endOfRib = 0;
    return log.tail.bytes.subarray(0, log.tail.used);
  }

  /** A cursor at the begin of a snapshot of the table that runs into the log. */
  #snapshotCursor(): Cursor {
    if (!this.#snapshot || this.log.position - this.#snapshot.position > SNAPSHOT_LIFE) {
      const position = this.log.position;
      const next = this.log.seal();
      const log = new UpdateLog(position);
      const first = log.tail;
      this.#writer.log = log;
      for (const family of [0, 1] as const) {
        const batch = new Batch();
        const out = this.out[family];
        out.each((prefix) => batch.add(prefix, out.set(prefix), out.source(prefix)));
        this.#packInto(batch, family);
      }
      this.#writer.log = this.log;
      log.tail.next = next;
      this.#snapshot = { first, position };
    }
    return { chunk: this.#snapshot.first, record: 0, at: 0 };
  }

  #packInto(batch: Batch, family: 0 | 1, audience?: number): void {
    const writer = this.#writer, prefixes = this.prefixes[family], bit = FAMILIES[family];
    batch.pack(this.store.limit, (set, source, prefix, isFirst) => {
      if (!isFirst) writer.add(prefixes, prefix);
      else if (source < 0) writer.end();
      else writer.announce(bit, audience ?? everyoneBut(source), this.#raw(set), this.#nextHop(set));
    });
  }

  #detachSlow(before: number): void {
    if (this.log.position - before === 0) return;
    for (const [peer, member] of this.members) {
      if (member.bits || this.log.position - member.cursor.chunk.position <= MAX_BACKLOG) continue;
      this.#detach(peer, member);
    }
  }

  /** Moves a member from the log to the table: what it has not read becomes bits. */
  #detach(peer: number, member: Member): void {
    if (member.bits) return;
    const words = this.prefixes.map((table) => new Uint32Array((table.capacity >> 5) + 1)) as [
      Uint32Array,
      Uint32Array,
    ];
    member.bits = { words, left: 0, next: [0, 0] };
    this.detached++;
    this.eachUnread(peer, member, (family, prefix) => mark(member, family, prefix));
  }

  /** Reads the rest of the log for a member, and names the prefixes in it. */
  eachUnread(peer: number, member: { readonly cursor: Cursor }, visit: (family: 0 | 1, prefix: number) => void): void {
    const view = new UpdateView(), nlri = new NlriCursor();
    const options = { ...this.wire, addPathReceive: this.wire.addPathSend, isExtendedNextHop: true };
    while (seek(member.cursor, peer)) {
      const { chunk, at } = member.cursor;
      const length = chunk.bytes[at + 16]! << 8 | chunk.bytes[at + 17]!;
      if (chunk.bytes[at + 18] === MSG_UPDATE) {
        parseUpdate(chunk.bytes.subarray(at + 19, at + length), options, view);
        const bytes = view.bytes;
        const ranges = [
          [IPV4_UNICAST, view.withdrawnStart, view.withdrawnEnd],
          [IPV4_UNICAST, view.nlriStart, view.nlriEnd],
          [view.reachFamily, view.reachStart, view.reachEnd],
          [view.unreachFamily, view.unreachStart, view.unreachEnd],
        ] as const;
        for (const [bit, start, end] of ranges) {
          if (bit === 0 || start === end) continue;
          const family = bit === IPV4_UNICAST ? 0 : 1;
          nlri.over(bytes, start, end, family === 1, (options.addPathReceive & bit) !== 0);
          while (nlri.next()) {
            const found = this.#find(family, nlri);
            visit(family, found >= 0 ? found : this.#zombie(family, nlri));
          }
        }
      }
      member.cursor.at = at + length;
    }
  }

  #find(family: 0 | 1, { w0, w1, w2, w3, length, pathId }: NlriCursor): number {
    const table = this.prefixes[family];
    if (!(table instanceof PathNames)) return table.find(w0, w1, w2, w3, length);
    return table.find(table.prefixes.find(w0, w1, w2, w3, length), pathId);
  }

  /** A prefix that is gone comes back in name, so that its withdrawal can be told. */
  #zombie(family: 0 | 1, { w0, w1, w2, w3, length, pathId }: NlriCursor): number {
    const table = this.prefixes[family];
    const prefixes = table instanceof PathNames ? table.prefixes : table;
    const prefix = prefixes.intern(w0, w1, w2, w3, length);
    this.zombies.push({ family, prefix });
    return table instanceof PathNames ? table.revive(prefix, pathId) : prefix;
  }

  /** Messages from the table for a member's bits; undefined when it has caught up and is back in the log. */
  #fromTable(peer: number, member: Member, max: number): Uint8Array | undefined {
    const { bits } = member;
    if (!bits) return undefined;
    const log = new UpdateLog();
    const first = log.tail;
    this.#writer.log = log;
    const budget = Math.max(64, max >> 3);
    for (const family of [0, 1] as const) {
      const batch = new Batch(), withdrawn: number[] = [];
      const out = this.out[family], words = bits.words[family];
      let at = bits.next[family];
      for (; at < words.length && batch.length + withdrawn.length < budget; at++) {
        let word = words[at]!;
        words[at] = 0;
        for (; word !== 0; word &= word - 1) {
          bits.left--;
          const prefix = at * 32 + 31 - Math.clz32(word & -word);
          const set = out.set(prefix), source = out.source(prefix);
          if (set !== 0 && source !== peer) batch.add(prefix, set, source);
          else if (this.prefixes[family].isLive(prefix)) withdrawn.push(prefix);
        }
      }
      bits.next[family] = at;
      if (withdrawn.length > 0) {
        this.#writer.withdraw(FAMILIES[family], 0);
        for (const prefix of withdrawn) this.#writer.add(this.prefixes[family], prefix);
        this.#writer.end();
      }
      this.#packInto(batch, family, 0);
      if (batch.length + withdrawn.length >= budget) break;
    }
    this.#writer.log = this.log;
    if (bits.left === 0) {
      member.bits = undefined;
      this.detached--;
      member.cursor = this.log.end();
    } else if (log.position === 0) {
      // Only bits of prefixes before the place reached are left.
      bits.next = [0, 0];
      return this.#fromTable(peer, member, max);
    }
    return log.position === 0 ? undefined : gather(first, log.position);
  }

  /** The attributes as they go to members, without MP_REACH. */
  #raw(set: number): Uint8Array {
    if (this.wire.isFourOctetAs) {
      const own = this.store.ownRaw(set);
      if (own) return own;
    }
    return encodeAttributes(this.store.decode(set), this.wire);
  }

  #nextHop(set: number): Uint8Array {
    return this.store.mpNextHop(set);
  }
}

function mark(member: Member, family: 0 | 1, prefix: number): void {
  const { bits } = member;
  if (!bits) return;
  const at = prefix >> 5;
  if (at >= bits.words[family].length) {
    const grown = new Uint32Array(Math.max(at + 1, bits.words[family].length * 2));
    grown.set(bits.words[family]);
    bits.words[family] = grown;
  }
  const bit = 1 << (prefix & 31);
  const words = bits.words[family];
  if ((words[at]! & bit) !== 0) return;
  words[at]! |= bit;
  bits.left++;
  if (at < bits.next[family]) bits.next[family] = at;
}

/** All octets of a log in one piece. */
function gather(first: Chunk, length: number): Uint8Array {
  if (first.next === undefined) return first.bytes.subarray(0, first.used);
  const out = new Uint8Array(length);
  for (let chunk: Chunk | undefined = first, at = 0; chunk; chunk = chunk.next) {
    out.set(chunk.bytes.subarray(0, chunk.used), at);
    at += chunk.used;
  }
  return out;
}

const BEGIN_OF_REFRESH = 1;
const END_OF_REFRESH = 2;

/** ROUTE-REFRESH messages that frame a refresh, one for each family (RFC 7313). */
function refreshMarkers(families: number, subtype: number): Uint8Array {
  const bits = FAMILIES.filter((bit) => (families & bit) !== 0);
  const out = new Uint8Array(bits.length * 23).fill(0xff);
  bits.forEach((bit, i) => out.set([0, 23, MSG_ROUTE_REFRESH, 0, afiOf(bit), subtype, SAFI_UNICAST], i * 23 + 16));
  return out;
}
