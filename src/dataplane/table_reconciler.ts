/**
 * The loop that keeps one kernel table: what is desired is set whole, what is actual is read once and then followed by
 * events, and the difference of the dirty keys is applied.
 *
 *     desire, observe, forget  ->  dirty keys  ->  apply: puts, then removals  ->  what failed stays dirty, with back-off
 *
 * Races that this survives: an event that tells of something older than our own write (what we wrote is assumed before
 * the call, so the event wins and the key is written once more); a read that overlaps with events (they are replayed on
 * its result); a table that was flushed behind lost events (`distrust`, the first failure of a key, and a timer re-read).
 */

import type { Clock } from "../lib/clock.ts";
import { computeDelta } from "../lib/delta.ts";

/** A key to write, with what is there now; a key to remove, with what is there now. */
export interface Put<D, A> {
  readonly key: string;
  readonly desired: D;
  readonly actual: A | undefined;
}
/** See `Put`. */
export interface Removal<A> {
  readonly key: string;
  readonly actual: A;
}

/** What the loop knows of a table; the arrays of results have an error or undefined for each change. */
export interface Table<D, A> {
  /** Plural noun for reports: "routes". */
  readonly name: string;
  /** Reads what is there and ours, or stands where something desired belongs. */
  read(desired: ReadonlyMap<string, D>): Promise<ReadonlyMap<string, A>>;
  isSame(desired: D, actual: A): boolean;
  /** What will be there once `desired` is written. */
  assume(desired: D, actual: A | undefined): A;
  /** What entries are forgotten together by: an interface. */
  groupOf(actual: A, key: string): string | number | undefined;
  put(changes: readonly Put<D, A>[]): Promise<readonly (Error | undefined)[]>;
  remove(changes: readonly Removal<A>[]): Promise<readonly (Error | undefined)[]>;
}

/** Something that could not be applied yet. */
export interface Failure {
  readonly table: string;
  readonly key: string;
  readonly error: Error;
}

/** How long until the whole table is read again, and the longest wait between two tries of a key, in milliseconds. */
export const resyncInterval = 90_000, longestBackoff = 10_000;

/** Milliseconds between two readings of a table in doubt: while reports are lost all the time, reading is not all we do. */
export const shortestReread = 250;

function backoff(attempts: number): number {
  return attempts <= 1 ? 0 : Math.min(longestBackoff, 50 * 2 ** Math.min(attempts, 10));
}

/** Calls `change` for each item on its own and collects the errors. */
export async function each<T>(
  items: readonly T[],
  change: (item: T) => Promise<void>,
): Promise<(Error | undefined)[]> {
  const results: (Error | undefined)[] = [];
  for (const item of items) {
    try {
      await change(item);
      results.push(undefined);
    } catch (error) {
      results.push(asError(error));
    }
  }
  return results;
}

/** The reconciler of one table; one caller at a time may be inside `apply`. */
export class TableReconciler<D, A> {
  readonly #desired = new Map<string, D>();
  #actual = new Map<string, A>();
  readonly #groups = new Map<string | number, Set<string>>();
  readonly #dirty = new Set<string>();
  readonly #failures = new Map<string, { error: Error; attempts: number; due: number }>();
  /** What events said while a read was under way. */
  #overtaking: Map<string, A | undefined> | undefined;
  #isDoubtful = true;
  #lastRead = -Infinity;
  #readFailure: { error: Error; attempts: number; due: number } | undefined;

  constructor(readonly table: Table<D, A>, readonly clock: Clock) {}

  /** Sets what should be there, whole. */
  desire(desired: ReadonlyMap<string, D>): void {
    const changes = new Map<string, D | undefined>(desired);
    for (const key of this.#desired.keys()) if (!desired.has(key)) changes.set(key, undefined);
    this.amend(changes);
  }

  /** Changes what should be there for some keys: undefined where nothing should be any more. */
  amend(changes: ReadonlyMap<string, D | undefined>): void {
    for (const [key, want] of changes) {
      const before = this.#desired.get(key);
      if (want === undefined) this.#desired.delete(key);
      else this.#desired.set(key, want);
      const isUnchanged = want !== undefined && before !== undefined &&
        this.table.isSame(want, this.table.assume(before, undefined));
      if (isUnchanged) this.#mark(key);
      else this.retry(key);
    }
  }

  isDesired(key: string): boolean {
    return this.#desired.has(key);
  }

  desiredAt(key: string): D | undefined {
    return this.#desired.get(key);
  }

  actualAt(key: string): A | undefined {
    return this.#actual.get(key);
  }

  /** Whether the last try to write the key was refused. */
  hasFailed(key: string): boolean {
    return this.#failures.has(key);
  }

  /** Takes note that the key now holds `actual`, or nothing that is ours. */
  observe(key: string, actual: A | undefined): void {
    this.#overtaking?.set(key, actual);
    this.#setActual(key, actual);
    this.#mark(key);
  }

  /** Everything of the group has gone from the kernel, or cannot be trusted any more. */
  forgetGroup(group: string | number): void {
    for (const key of [...this.#groups.get(group) ?? []]) this.observe(key, undefined);
  }

  /** Tries the key at the next `apply`, whatever its back-off says. */
  retry(key: string): void {
    this.#failures.delete(key);
    this.#mark(key);
  }

  /** Reports may have been lost: the next `apply` reads the table. */
  distrust(): void {
    this.#isDoubtful = true;
  }

  /** Applies the difference of the dirty keys; without `mayRemove` removals wait. Returns how many changes were made. */
  async apply({ mayRemove }: { readonly mayRemove: boolean }): Promise<number> {
    const now = this.clock.monotonic();
    if (this.#isReadDue(now) && !await this.#read(now)) return 0;
    const desired = new Map<string, D>(), actual = new Map<string, A>();
    for (const key of this.#dirty) {
      if ((this.#failures.get(key)?.due ?? 0) > now) continue;
      const want = this.#desired.get(key), have = this.#actual.get(key);
      if (want !== undefined) desired.set(key, want);
      if (have !== undefined) actual.set(key, have);
      if (want !== undefined || have === undefined || mayRemove) this.#dirty.delete(key);
    }
    const delta = computeDelta(desired, actual, this.table.isSame);
    const changing = new Set(delta.put.map(({ key }) => key));
    for (const key of desired.keys()) if (!changing.has(key)) this.#failures.delete(key);
    let count = await this.#put(delta.put);
    if (mayRemove) count += await this.#remove(delta.remove);
    return count;
  }

  /** Whether a key waits for the next `apply` (one that failed waits for its time). */
  get isDirty(): boolean {
    return this.#dirty.size > this.#failures.size;
  }

  /** When `apply` is next worth calling without a new event, on the clock's monotonic time. */
  nextDue(): number {
    let due = this.#readFailure?.due ?? this.#lastRead + (this.#isDoubtful ? shortestReread : resyncInterval);
    for (const failure of this.#failures.values()) due = Math.min(due, failure.due);
    return due;
  }

  /** What is not as desired, and why. */
  failures(): Failure[] {
    const table = this.table.name;
    const failures = [...this.#failures].map(([key, { error }]) => ({ table, key, error }));
    if (this.#readFailure) failures.push({ table, key: "", error: this.#readFailure.error });
    return failures;
  }

  #isReadDue(now: number): boolean {
    if (this.#readFailure) return this.#readFailure.due <= now;
    return now - this.#lastRead >= (this.#isDoubtful ? shortestReread : resyncInterval);
  }

  /** Without a first good read nothing may be applied, because what is there is not known. */
  async #read(now: number): Promise<boolean> {
    this.#isDoubtful = false;
    this.#overtaking = new Map();
    try {
      const actual = await this.table.read(this.#desired);
      for (const key of [...this.#actual.keys()]) if (!actual.has(key)) this.#setActual(key, undefined);
      for (const [key, value] of actual) this.#setActual(key, value);
      for (const [key, value] of this.#overtaking) this.#setActual(key, value);
      this.#readFailure = undefined;
      this.#lastRead = now;
      for (const key of this.#desired.keys()) this.#mark(key);
      for (const key of this.#actual.keys()) this.#mark(key);
      return true;
    } catch (error) {
      const attempts = (this.#readFailure?.attempts ?? 1) + 1;
      this.#readFailure = { error: asError(error), attempts, due: now + backoff(attempts) };
      this.#isDoubtful = true;
      return this.#lastRead !== -Infinity;
    } finally {
      this.#overtaking = undefined;
    }
  }

  async #put(puts: readonly Put<D, A>[]): Promise<number> {
    const assumed = puts.map(({ key, desired, actual }) => {
      const value = this.table.assume(desired, actual);
      this.#setActual(key, value);
      return value;
    });
    return await this.#settle(puts, (changes) => this.table.put(changes), (key, i, actual) => {
      if (this.#actual.get(key) === assumed[i]) this.#setActual(key, actual);
    });
  }

  async #remove(removals: readonly Removal<A>[]): Promise<number> {
    for (const { key } of removals) this.#setActual(key, undefined);
    return await this.#settle(removals, (changes) => this.table.remove(changes), (key, _i, actual) => {
      if (!this.#actual.has(key)) this.#setActual(key, actual);
    });
  }

  async #settle<C extends { readonly key: string; readonly actual: A | undefined }>(
    changes: readonly C[],
    run: (changes: readonly C[]) => Promise<readonly (Error | undefined)[]>,
    undo: (key: string, index: number, actual: A | undefined) => void,
  ): Promise<number> {
    if (changes.length === 0) return 0;
    let errors: readonly (Error | undefined)[];
    try {
      errors = await run(changes);
    } catch (error) {
      errors = changes.map(() => asError(error));
    }
    let done = 0;
    for (const [i, { key, actual }] of changes.entries()) {
      const error = errors[i];
      if (!error) {
        this.#failures.delete(key);
        done++;
        continue;
      }
      undo(key, i, actual);
      this.#fail(key, error);
    }
    return done;
  }

  #fail(key: string, error: Error): void {
    const attempts = (this.#failures.get(key)?.attempts ?? 0) + 1;
    this.#failures.set(key, { error, attempts, due: this.clock.monotonic() + backoff(attempts) });
    this.#dirty.add(key);
    if (attempts === 1) this.#isDoubtful = true;
  }

  #mark(key: string): void {
    const want = this.#desired.get(key), have = this.#actual.get(key);
    const isSettled = want === undefined ? have === undefined : have !== undefined && this.table.isSame(want, have);
    if (!isSettled) this.#dirty.add(key);
    else if (this.#dirty.delete(key)) this.#failures.delete(key);
  }

  #setActual(key: string, actual: A | undefined): void {
    const before = this.#actual.get(key);
    const oldGroup = before === undefined ? undefined : this.table.groupOf(before, key);
    if (oldGroup !== undefined) {
      const keys = this.#groups.get(oldGroup);
      keys?.delete(key);
      if (keys?.size === 0) this.#groups.delete(oldGroup);
    }
    if (actual === undefined) {
      this.#actual.delete(key);
      return;
    }
    this.#actual.set(key, actual);
    const group = this.table.groupOf(actual, key);
    if (group === undefined) return;
    const keys = this.#groups.get(group) ?? new Set();
    this.#groups.set(group, keys.add(key));
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
