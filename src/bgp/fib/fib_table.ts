/**
 * What of ours should be in the kernel's FIB and what is: by prefix number, for one family.
 *
 * Ways out (ECMP) with their metric are sets that many prefixes share. A change of what is wanted queues the prefix once;
 * `drain` compares and gives the difference. Routes of an earlier run (protocol bird) are adopted: they stand until a peer
 * confirms them, or `sweep` gives up on them. A route of ours that somebody deletes is put back.
 */

import type { AddressFamily } from "../config.ts";
import { resize } from "../rib/attribute_columns.ts";
import type { FibNexthop, FibRoute, FibSink } from "../rib/interface.ts";
import type { PrefixTable } from "../rib/prefix_table.ts";
import { wordsOf } from "../filter/prefix_classes.ts";
import { wayKey } from "./next_hops.ts";

/** RTPROT_BIRD: the protocol number of our routes. */
export const RTPROT_BIRD = 12;

interface WaySet {
  readonly key: string;
  readonly ways: readonly FibNexthop[];
  readonly metric: number;
  uses: number;
}

/** One family of our part of the FIB. */
export class FibTable {
  readonly #sets: (WaySet | undefined)[] = [undefined];
  readonly #byKey = new Map<string, number>();
  readonly #freeSets: number[] = [];
  #installed = new Int32Array(1024);
  #isQueued = new Uint8Array(1024);
  #queue: number[] = [];
  readonly #adopted = new Set<number>();
  readonly #address: Uint8Array;
  /** Grows when a set is freed: numbers that were looked up before may be others' now. */
  generation = 0;

  constructor(readonly family: AddressFamily, readonly prefixes: PrefixTable) {
    this.#address = new Uint8Array(family === 4 ? 4 : 16);
  }

  /** The number of a set of ways with a metric; its use is not counted yet. */
  set(ways: readonly FibNexthop[], metric: number): number {
    const key = `${metric} ${ways.map(wayKey).sort().join(" ")}`;
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    const number = this.#freeSets.pop() ?? this.#sets.length;
    this.#sets[number] = { key, ways, metric, uses: 0 };
    this.#byKey.set(key, number);
    return number;
  }

  /** Says what the prefix should be in the FIB: a set's number, or 0 for nothing. */
  want(prefix: number, set: number): void {
    const { fib } = this.prefixes;
    const old = fib[prefix]!;
    if (old === set) return;
    this.#retain(set);
    fib[prefix] = set;
    this.#release(old);
    this.#adopted.delete(prefix);
    this.#enqueue(prefix);
  }

  /** Whether the prefix has nothing wanted and nothing installed. */
  isIdle(prefix: number): boolean {
    return this.prefixes.fib[prefix] === 0 && (this.#installed[prefix] ?? 0) === 0;
  }

  /** A route of ours is in the FIB, from an earlier run or by our own doing. */
  adopt(route: FibRoute): void {
    const prefix = this.#prefixOf(route);
    const set = this.set(route.nexthops, this.#metric(route.metric));
    if (this.#at(prefix) === set) return;
    // What we install is recorded as installed at once, so anything else is not (or no more) what we want.
    if (this.prefixes.fib[prefix] !== 0 || this.#at(prefix) !== 0) return;
    this.#put(prefix, set);
    this.#adopted.add(prefix);
  }

  /** A route of ours has left the FIB; one that we still want is put back. */
  lose(route: FibRoute): void {
    const [w0, w1, w2, w3] = wordsOf(route.address);
    const prefix = this.prefixes.find(w0, w1, w2, w3, route.length);
    const installed = prefix < 0 ? 0 : this.#at(prefix);
    if (installed === 0 || this.#sets[installed]?.metric !== this.#metric(route.metric)) return;
    this.#adopted.delete(prefix);
    this.#put(prefix, 0);
    this.#enqueue(prefix);
  }

  /** The FIB has this route of ours now; one that somebody altered is put right. Strangers' are left alone. */
  inspect(route: FibRoute): number {
    const [w0, w1, w2, w3] = wordsOf(route.address);
    const prefix = this.prefixes.find(w0, w1, w2, w3, route.length);
    const installed = prefix < 0 ? undefined : this.#sets[this.#at(prefix)];
    const metric = this.#metric(route.metric);
    if (installed?.metric !== metric) return -1;
    const set = this.set(route.nexthops, metric);
    if (set !== this.#at(prefix)) {
      this.#adopted.delete(prefix);
      this.#put(prefix, set);
      this.#enqueue(prefix);
    }
    return prefix;
  }

  /** The FIB has these routes of ours and no others: what is missing is put back. */
  inspectAll(routes: Iterable<FibRoute>): void {
    const isThere = new Uint8Array(this.#installed.length);
    for (const route of routes) {
      const prefix = this.inspect(route);
      if (prefix >= 0) isThere[prefix] = 1;
    }
    for (let prefix = 0; prefix < isThere.length; prefix++) {
      if (isThere[prefix] || this.#at(prefix) === 0) continue;
      this.#adopted.delete(prefix);
      this.#put(prefix, 0);
      this.#enqueue(prefix);
    }
  }

  /** Gives up on adopted routes that nobody has confirmed. */
  sweep(): void {
    for (const prefix of this.#adopted) this.#enqueue(prefix);
    this.#adopted.clear();
  }

  /** Whether changes wait for `drain`. */
  get isPending(): boolean {
    return this.#queue.length > 0;
  }

  /** Gives at most `max` changes to the sink; `idle` is called for prefixes that are of no more use here. */
  drain(sink: FibSink, max: number, idle: (prefix: number) => void): number {
    const count = Math.min(max, this.#queue.length);
    for (let i = 0; i < count; i++) {
      const prefix = this.#queue[i]!;
      this.#isQueued[prefix] = 0;
      const wanted = this.prefixes.fib[prefix]!, installed = this.#at(prefix);
      if (wanted !== installed) this.#apply(sink, prefix, wanted, installed);
      if (this.isIdle(prefix)) idle(prefix);
    }
    this.#queue = count === this.#queue.length ? [] : this.#queue.slice(count);
    return count;
  }

  #apply(sink: FibSink, prefix: number, wanted: number, installed: number): void {
    const address = this.prefixes.address(prefix, this.#address), length = this.prefixes.length[prefix]!;
    const next = this.#sets[wanted], old = this.#sets[installed];
    if (old && old.metric !== next?.metric) sink.uninstall(this.family, address, length, old.metric);
    if (next) sink.install(this.family, address, length, next.metric, next.ways);
    this.#put(prefix, wanted);
  }

  /** IPv6 has no metric 0: the kernel makes it 1024. */
  #metric(metric: number): number {
    return this.family === 6 && metric === 1024 ? 0 : metric;
  }

  #prefixOf(route: FibRoute): number {
    const [w0, w1, w2, w3] = wordsOf(route.address);
    return this.prefixes.intern(w0, w1, w2, w3, route.length);
  }

  #at(prefix: number): number {
    return this.#installed[prefix] ?? 0;
  }

  #put(prefix: number, set: number): void {
    this.#reserve(prefix);
    const old = this.#installed[prefix]!;
    this.#retain(set);
    this.#installed[prefix] = set;
    this.#release(old);
  }

  #enqueue(prefix: number): void {
    this.#reserve(prefix);
    if (this.#isQueued[prefix]) return;
    this.#isQueued[prefix] = 1;
    this.#queue.push(prefix);
  }

  #reserve(prefix: number): void {
    if (prefix < this.#installed.length) return;
    const size = Math.max(this.#installed.length * 2, prefix + 1);
    this.#installed = resize(this.#installed, new Int32Array(size));
    this.#isQueued = resize(this.#isQueued, new Uint8Array(size));
  }

  #retain(set: number): void {
    const entry = this.#sets[set];
    if (entry) entry.uses++;
  }

  #release(set: number): void {
    const entry = this.#sets[set];
    if (!entry || --entry.uses > 0) return;
    this.#byKey.delete(entry.key);
    this.#sets[set] = undefined;
    this.#freeSets.push(set);
    this.generation++;
  }
}
