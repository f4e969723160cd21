/**
 * Which selectors select which objects, kept as both come, change and go.
 *
 *   object (endpoint, network set) = own labels + parents (profiles), whose labels it inherits; own labels win, then the
 *   parents in order.   selector = a tree (`model/selector`).   matched(selector) = the objects it selects.
 *
 * A change costs what it touches: an object's labels lead to the selectors that demand one of them (a label at a value, or
 * a label), and only those are evaluated; a new selector looks only at the objects that have the label at the value it
 * demands. Selectors that demand nothing of the kind (`all()`, `!has(x)`) are evaluated for every object. Felix does the
 * same in calc/labelindex.
 */

import type { Labels } from "../../model/selector/mod.ts";
import { isSatisfiable, labelRestrictions, type Selector } from "../../model/selector/mod.ts";
import { MultiMap, PairMap } from "./multi_map.ts";

/** An object in the index. */
export interface Labelled {
  labels: Readonly<Record<string, string>>;
  parents: readonly string[];
}

/** A selector in the index, with what it selects. */
export interface Selected<T> {
  readonly selector: Selector;
  readonly matched: ReadonlySet<T>;
}

interface Entry<T> extends Selected<T> {
  readonly matched: Set<T>;
  /** By what the entry is found: a label with values, a label, or nothing. */
  readonly demand: { readonly label: string; readonly values?: readonly string[] } | undefined;
  readonly isPossible: boolean;
}

/** Told of each object that a selector starts or stops to select. */
export type OnMatch<T> = (selector: string, object: T, isMatch: boolean) => void;

const none: readonly string[] = [];

/** The index; selectors are named by their canonical text. */
export class LabelIndex<T extends Labelled> {
  readonly #objects = new Set<T>();
  readonly #byPair = new PairMap<T>();
  readonly #children = new MultiMap<string, T>();
  readonly #parents = new Map<string, { readonly name: string; readonly labels: Readonly<Record<string, string>> }>();
  readonly #parentsByPair = new PairMap<{ readonly name: string }>();
  readonly #entries = new Map<string, Entry<T>>();
  readonly #entriesByPair = new PairMap<Entry<T>>();
  readonly #entriesByLabel = new MultiMap<string, Entry<T>>();
  readonly #scanned = new Set<Entry<T>>();
  /** How many selectors were evaluated for an object, for measuring. */
  evaluations = 0;

  constructor(readonly onMatch: OnMatch<T> = () => {}) {}

  get objects(): ReadonlySet<T> {
    return this.#objects;
  }

  /** The value of a label of the object, inherited ones included. */
  labelOf(object: T, label: string): string | undefined {
    if (Object.hasOwn(object.labels, label)) return object.labels[label];
    for (const name of object.parents) {
      const labels = this.#parents.get(name)?.labels;
      if (labels && Object.hasOwn(labels, label)) return labels[label];
    }
    return undefined;
  }

  /** Adds an object, or tells that its labels or parents become these. */
  setObject(object: T, labels: Readonly<Record<string, string>>, parents: readonly string[] = none): void {
    const isNew = !this.#objects.has(object);
    if (!isNew && sameLabels(object.labels, labels) && sameList(object.parents, parents)) return;
    const candidates = isNew ? new Set<Entry<T>>() : this.#candidates(object);
    if (!isNew) this.#unlist(object);
    object.labels = labels;
    object.parents = parents;
    this.#objects.add(object);
    for (const [label, value] of Object.entries(labels)) this.#byPair.add(label, value, object);
    for (const parent of parents) this.#children.add(parent, object);
    this.#candidates(object, candidates);
    this.#judge(object, candidates);
  }

  /** Removes an object; it stops matching what it matched. */
  deleteObject(object: T): void {
    if (!this.#objects.delete(object)) return;
    const candidates = this.#candidates(object);
    this.#unlist(object);
    for (const entry of candidates) {
      if (entry.matched.delete(object)) this.onMatch(entry.selector.canonical, object, false);
    }
  }

  /** Sets the labels that children of the parent inherit; undefined when there is no such parent any more. */
  setParent(name: string, labels: Readonly<Record<string, string>> | undefined): void {
    const old = this.#parents.get(name);
    if (old && labels && sameLabels(old.labels, labels)) return;
    if (!old && (!labels || Object.keys(labels).length === 0)) return;
    const candidates = new Set<Entry<T>>();
    for (const [label, value] of Object.entries(old?.labels ?? {})) {
      this.#candidatesOfPair(label, value, candidates);
      if (old) this.#parentsByPair.delete(label, value, old);
    }
    if (labels) {
      const parent = { name, labels };
      this.#parents.set(name, parent);
      for (const [label, value] of Object.entries(labels)) {
        this.#candidatesOfPair(label, value, candidates);
        this.#parentsByPair.add(label, value, parent);
      }
    } else this.#parents.delete(name);
    for (const child of [...this.#children.get(name)]) {
      // Losing one parent's label may uncover another parent's, so what the child has now counts too.
      const all = new Set(candidates);
      this.#candidates(child, all);
      this.#judge(child, all);
    }
  }

  /** Adds a selector unless it is there; the objects that it selects are reported. */
  addSelector(selector: Selector): Selected<T> {
    const known = this.#entries.get(selector.canonical);
    if (known) return known;
    const entry = this.#makeEntry(selector);
    this.#entries.set(selector.canonical, entry);
    const { demand } = entry;
    if (!demand) this.#scanned.add(entry);
    else if (!demand.values) this.#entriesByLabel.add(demand.label, entry);
    else for (const value of demand.values) this.#entriesByPair.add(demand.label, value, entry);
    if (!entry.isPossible) return entry;
    for (const object of this.#objectsFor(entry)) {
      if (entry.matched.has(object) || !this.#isSelected(entry, object)) continue;
      entry.matched.add(object);
      this.onMatch(selector.canonical, object, true);
    }
    return entry;
  }

  /** Removes a selector; nothing is reported. */
  deleteSelector(canonical: string): void {
    const entry = this.#entries.get(canonical);
    if (!entry) return;
    this.#entries.delete(canonical);
    const { demand } = entry;
    if (!demand) this.#scanned.delete(entry);
    else if (!demand.values) this.#entriesByLabel.delete(demand.label, entry);
    else for (const value of demand.values) this.#entriesByPair.delete(demand.label, value, entry);
  }

  /** What the selector selects; undefined when it is not in the index. */
  selected(canonical: string): Selected<T> | undefined {
    return this.#entries.get(canonical);
  }

  /** The selectors that select the object now. */
  *selectorsOf(object: T): Generator<string> {
    for (const entry of this.#candidates(object)) if (entry.matched.has(object)) yield entry.selector.canonical;
  }

  #makeEntry(selector: Selector): Entry<T> {
    const restrictions = labelRestrictions(selector.root);
    let demand: Entry<T>["demand"];
    let cost = Infinity, isPossible = true;
    for (const [label, restriction] of restrictions) {
      if (!isSatisfiable(restriction)) isPossible = false;
      if (!restriction.mustBePresent) continue;
      const { values } = restriction;
      const price = values
        ? values.reduce((sum, value) => sum + this.#byPair.count(label, value), 0)
        : Number.MAX_SAFE_INTEGER;
      if (price >= cost) continue;
      cost = price;
      demand = values ? { label, values } : { label };
    }
    return { selector, matched: new Set(), demand, isPossible };
  }

  *#objectsFor({ demand }: Entry<T>): Generator<T> {
    if (!demand) return yield* this.#objects;
    const { label, values } = demand;
    const own = values ? values.map((value) => this.#byPair.get(label, value)) : [this.#byPair.having(label)];
    for (const objects of own) yield* objects;
    const parents = values
      ? values.map((value) => this.#parentsByPair.get(label, value))
      : [this.#parentsByPair.having(label)];
    for (const some of parents) for (const { name } of some) yield* this.#children.get(name);
  }

  #unlist(object: T): void {
    for (const [label, value] of Object.entries(object.labels)) this.#byPair.delete(label, value, object);
    for (const parent of object.parents) this.#children.delete(parent, object);
  }

  /** The selectors that may select the object as it is, put into `into`. */
  #candidates(object: T, into = new Set<Entry<T>>()): Set<Entry<T>> {
    for (const label in object.labels) this.#candidatesOfPair(label, object.labels[label] ?? "", into);
    for (const name of object.parents) {
      const labels = this.#parents.get(name)?.labels;
      for (const label in labels) this.#candidatesOfPair(label, labels[label] ?? "", into);
    }
    for (const entry of this.#scanned) into.add(entry);
    return into;
  }

  #candidatesOfPair(label: string, value: string, into: Set<Entry<T>>): void {
    this.#entriesByPair.addTo(label, value, into);
    this.#entriesByLabel.addTo(label, into);
  }

  #judge(object: T, candidates: ReadonlySet<Entry<T>>): void {
    for (const entry of candidates) {
      const was = entry.matched.has(object), is = this.#isSelected(entry, object);
      if (was === is) continue;
      if (is) entry.matched.add(object);
      else entry.matched.delete(object);
      this.onMatch(entry.selector.canonical, object, is);
    }
  }

  #isSelected(entry: Entry<T>, object: T): boolean {
    this.evaluations++;
    return entry.isPossible && entry.selector.evaluate((label) => this.labelOf(object, label));
  }
}

function sameLabels(a: Labels, b: Labels): boolean {
  if (a === b) return true;
  const left = Object.entries(a), right = Object.keys(b);
  return left.length === right.length &&
    left.every(([label, value]) => Object.hasOwn(b, label) && (b as Record<string, string>)[label] === value);
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i]);
}
