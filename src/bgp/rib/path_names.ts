/**
 * Paths by the names that peers with ADD-PATH know them by (RFC 7911): a prefix and a path identifier.
 *
 * To such a peer a path of a prefix is what a prefix is to others, so update groups work on these numbers as they do on
 * those of prefixes. One family, shared by all groups. A name belongs to one peer's path as long as anybody knows it; the
 * identifier counts up, so that a late withdrawal never meets a new path.
 */

import { resize } from "./attribute_columns.ts";
import type { PrefixTable } from "./prefix_table.ts";

/** Nobody's: a name that is only kept to be withdrawn. */
const NOBODY = -1;

/** The names; numbers begin at 0. */
export class PathNames {
  /** The prefix by its number, -1 for a number that is free. */
  prefix = new Int32Array(64).fill(-1);
  /** The identifier on the wire. */
  pathId = new Uint32Array(64);
  /** Whose path, and by which identifier it came. */
  readonly #peer: number[] = [];
  readonly #received: number[] = [];
  readonly #next: number[] = [];
  readonly #stamps: number[] = [];
  /** First name of each prefix. */
  readonly #heads = new Map<number, number>();
  readonly #free: number[] = [];
  #limit = 0;
  #lastId = 0;
  #stamp = 0;

  constructor(readonly prefixes: PrefixTable) {}

  get capacity(): number {
    return this.prefix.length;
  }

  /** How many there are. */
  get size(): number {
    return this.#limit - this.#free.length;
  }

  isLive(name: number): boolean {
    return this.prefix[name]! >= 0;
  }

  /** The name of that peer's path, made when it is new; it counts as seen. */
  see(prefix: number, peer: number, received: number): number {
    let name = this.first(prefix);
    while (name >= 0 && (this.#peer[name] !== peer || this.#received[name] !== received)) name = this.#next[name]!;
    if (name < 0) name = this.#add(prefix, peer, received, this.#newId(prefix));
    this.#stamps[name] = this.#stamp;
    return name;
  }

  /** Begins a look at a prefix: no name has been seen. */
  begin(): void {
    this.#stamp++;
  }

  isSeen(name: number): boolean {
    return this.#stamps[name] === this.#stamp;
  }

  /** The first name of a prefix, -1 for none. */
  first(prefix: number): number {
    return this.#heads.get(prefix) ?? -1;
  }

  /** The next name of the same prefix, -1 for none. */
  next(name: number): number {
    return this.#next[name]!;
  }

  /** The name by what is on the wire, -1 when nobody has it. */
  find(prefix: number, pathId: number): number {
    if (prefix < 0) return -1;
    let name = this.first(prefix);
    while (name >= 0 && this.pathId[name] !== pathId) name = this.#next[name]!;
    return name;
  }

  /** A name that is gone comes back, so that its withdrawal can be told. */
  revive(prefix: number, pathId: number): number {
    return this.#add(prefix, NOBODY, 0, pathId);
  }

  remove(name: number): void {
    const prefix = this.prefix[name]!;
    let before = this.first(prefix);
    if (before === name) {
      if (this.#next[name]! < 0) this.#heads.delete(prefix);
      else this.#heads.set(prefix, this.#next[name]!);
    } else {
      while (this.#next[before] !== name) before = this.#next[before]!;
      this.#next[before] = this.#next[name]!;
    }
    this.prefix[name] = -1;
    this.#free.push(name);
  }

  #add(prefix: number, peer: number, received: number, pathId: number): number {
    const name = this.#free.pop() ?? this.#limit++;
    if (name >= this.capacity) {
      const size = this.capacity * 2;
      this.prefix = resize(this.prefix, new Int32Array(size).fill(-1));
      this.pathId = resize(this.pathId, new Uint32Array(size));
    }
    this.prefix[name] = prefix;
    this.pathId[name] = pathId;
    this.#peer[name] = peer;
    this.#received[name] = received;
    this.#stamps[name] = 0;
    this.#next[name] = this.first(prefix);
    this.#heads.set(prefix, name);
    return name;
  }

  #newId(prefix: number): number {
    do this.#lastId = this.#lastId === 0xffffffff ? 1 : this.#lastId + 1; while (this.find(prefix, this.#lastId) >= 0);
    return this.#lastId;
  }
}

/** What an update group's numbers stand for: prefixes, or paths where path identifiers are sent. */
export type NlriTable = PrefixTable | PathNames;
