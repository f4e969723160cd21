/**
 * The difference between the rules that stand and those that should, as one transaction.
 *
 *     flush changed chains -> delete elements, sets, chains -> add sets, members, chains -> verdict maps -> rules
 *
 * What goes is taken away first, because a name can be used again only then and a chain can go only when nothing jumps to it;
 * packets see nothing of the order, since a transaction takes effect as a whole. A chain whose content is the same is not
 * touched, a set's members are sent as a difference. Chains and sets that are the same object as the one that was written are
 * not even looked into. Pure: known and desired in, commands out.
 */

import { canonicalBase, canonicalRules } from "../netlink/nft/canonical.ts";
import type { Command, SetDeclaration } from "../netlink/nft/command.ts";
import { canonicalMembers } from "../netlink/nft/elements.ts";
import { movesBetween } from "../netlink/nft/moves.ts";
import type { Chain, NamedSet, Ruleset, Table, TableFamily } from "../netlink/nft/ruleset.ts";
import type { ActualRuleset, ActualTable } from "./firewall_port.ts";

/** A chain as it stands: what we wrote, or what was read. */
export type KnownChain =
  | { readonly written: Chain }
  | { readonly base: string; readonly rules: readonly string[] };

/** A set as it stands: the shape in text, the members in canonical text with their values. */
export interface KnownSet {
  readonly written?: NamedSet;
  readonly shape: string;
  readonly members: ReadonlyMap<string, string>;
  /** The same members, ours to change, where all of the set was written and each is a single value. */
  readonly plain?: Map<string, string>;
}

/** A table as it stands. */
export interface KnownTable {
  /** A dormant table does nothing. */
  readonly isDormant: boolean;
  readonly chains: Map<string, KnownChain>;
  readonly sets: Map<string, KnownSet>;
}

/** All that is known of our tables. */
export type Known = Map<TableFamily, KnownTable>;

/** What was read, as something to compare with. */
export function knownOf({ tables }: ActualRuleset): Known {
  return new Map([...tables].map(([family, table]) => [family, knownTable(table)]));
}

function knownTable({ flags, chains, sets }: ActualTable): KnownTable {
  return {
    isDormant: (flags & 1) !== 0,
    chains: new Map([...chains].map(([name, { base, rules }]) => [
      name,
      { base: canonicalBase(base), rules: rules.map(({ content }) => content) },
    ])),
    sets: new Map([...sets].map(([name, set]) => [
      name,
      { shape: set.key ? shapeOf({ ...set, key: set.key }) : "unknown", members: set.elements },
    ])),
  };
}

/** What a set cannot change without being made anew. */
function shapeOf(
  { key, value, isInterval, hasTimeout }: Omit<SetDeclaration, "name" | "value"> & { value?: string | undefined },
): string {
  return `${key.join(" . ")} : ${value ?? ""} ${isInterval ? "interval" : ""} ${hasTimeout ? "timeout" : ""}`;
}

/** A transaction, and what is known once it was applied. */
export interface Plan {
  readonly commands: readonly Command[];
  /**
   * New sets so large that they are made and filled before, in transactions of their own: nothing refers to them yet, and
   * the kernel is not held up for long.
   */
  readonly ahead: readonly (readonly Command[])[];
  /** Notes in `known` that all of it was applied. */
  settle(known: Known): void;
}

/** Members that one transaction adds to a new set; those of a larger set are sent ahead. */
export const membersAhead = 65_536;

/** The steps of a transaction in their order. */
const order = [
  "tables",
  "flushes",
  "going members",
  "going sets",
  "going chains",
  "sets",
  "members",
  "chains",
  "verdicts",
  "rules",
] as const;
type Step = typeof order[number];

interface Draft {
  readonly steps: ReadonlyMap<Step, Command[]>;
  readonly ahead: Command[][];
  readonly settlements: ((known: Known) => void)[];
  readonly mayRemove: boolean;
  readonly isQuick: boolean;
}

function put(draft: Draft, step: Step, command: Command): void {
  draft.steps.get(step)?.push(command);
}

/**
 * What has to change. Without `mayRemove` chains, sets and members that are not desired stay. With `rebuild` the tables are
 * made anew in one transaction, whatever is in them. With `isQuick` chains that were read are taken for what is desired when
 * they have as many rules, which is enough to mend at once what somebody flushed or deleted. Throws RangeError on a ruleset that cannot be encoded.
 */
export function makePlan(
  known: Known,
  desired: Ruleset,
  { mayRemove, rebuild = false, isQuick = false }: {
    readonly mayRemove: boolean;
    readonly rebuild?: boolean;
    readonly isQuick?: boolean;
  },
): Plan {
  const draft: Draft = {
    steps: new Map(order.map((step) => [step, []])),
    ahead: [],
    settlements: [],
    mayRemove,
    isQuick,
  };
  for (const table of desired.tables) planTable(draft, known.get(table.family), table, rebuild);
  if (mayRemove) {
    const wanted = new Set(desired.tables.map(({ family }) => family));
    for (const family of known.keys()) {
      if (wanted.has(family)) continue;
      put(draft, "tables", { op: "delete table", family });
      draft.settlements.push((after) => void after.delete(family));
    }
  }
  return {
    commands: [...draft.steps.values()].flat(),
    ahead: draft.ahead,
    settle: (after) => draft.settlements.forEach((settle) => settle(after)),
  };
}

function planTable(draft: Draft, standing: KnownTable | undefined, table: Table, rebuild: boolean): void {
  const { family } = table;
  const isFresh = rebuild || !standing;
  if (rebuild && standing) put(draft, "tables", { op: "delete table", family });
  if (isFresh || standing.isDormant) put(draft, "tables", { op: "add table", family });
  const before = isFresh ? { isDormant: false, chains: new Map(), sets: new Map() } : standing;
  draft.settlements.push((after) => {
    after.set(family, { isDormant: false, chains: before.chains, sets: before.sets });
  });
  const isRemade = planSets(draft, before, table, isFresh && !rebuild);
  planChains(draft, before, table, isRemade);
}

/** Returns whether a set has to be made anew, which it can be only once no rule names it. */
function planSets(draft: Draft, before: KnownTable, { family, sets }: Table, mayGoAhead: boolean): boolean {
  let isRemade = false;
  for (const [name, set] of sets) {
    const standing = before.sets.get(name);
    if (standing?.written === set) continue;
    const shape = shapeOf(set);
    const moved = movedMembers(standing, set);
    if (standing && moved && draft.mayRemove) {
      planMoved(draft, before, { family, set, standing, moved });
      continue;
    }
    const wanted = canonicalMembers(set);
    const isAnew = standing !== undefined && standing.shape !== shape;
    if (isAnew) {
      isRemade = true;
      put(draft, "going sets", { op: "delete set", family, set: name });
    }
    const isNew = !standing || isAnew;
    const members = isNew || draft.mayRemove ? wanted : joined(set, standing.members, wanted);
    if (isNew && !isAnew && members.size > membersAhead && set.value !== "verdict") {
      sendAhead(draft, family, set, members, mayGoAhead);
    } else {
      if (isNew) put(draft, "sets", { op: "add set", family, set });
      planMembers(draft, family, set, isNew ? new Map() : standing.members, members);
    }
    const isPlainSet = members === wanted && !set.value && wanted.keys().every(isPlain);
    const written = { ...members === wanted ? { written: set } : {}, ...isPlainSet ? { plain: wanted } : {} };
    draft.settlements.push(() => void before.sets.set(name, { ...written, shape, members }));
  }
  if (draft.mayRemove) {
    for (const name of before.sets.keys()) {
      if (sets.has(name)) continue;
      put(draft, "going sets", { op: "delete set", family, set: name });
      draft.settlements.push(() => void before.sets.delete(name));
    }
  }
  return isRemade;
}

/**
 * The members that came and went since the set that stands was written, in canonical text, where that is known: then the
 * rest need not be looked at. Undefined where intervals of several values are about, because those that overlap are joined.
 */
function movedMembers(standing: KnownSet | undefined, set: NamedSet): Moved | undefined {
  if (!standing?.written || !standing.plain || set.value) return undefined;
  const moves = movesBetween(standing.written, set);
  if (!moves) return undefined;
  const coming = canonicalMembers({ ...set, elements: moves.coming });
  const going = canonicalMembers({ ...set, elements: moves.going });
  const { members } = standing;
  for (const member of coming.keys()) if (!isPlain(member) || members.has(member)) return undefined;
  for (const member of going.keys()) if (!members.has(member)) return undefined;
  // Two texts of one member would count twice.
  return members.size + coming.size - going.size === set.elements.size ? { coming, going } : undefined;
}

interface Moved {
  readonly coming: ReadonlyMap<string, string>;
  readonly going: ReadonlyMap<string, string>;
}

/** Whether the text is a single value, which overlaps no other. */
function isPlain(member: string): boolean {
  return !member.includes("/") && !member.includes("-");
}

function planMoved(
  draft: Draft,
  before: KnownTable,
  { family, set, standing, moved: { coming, going } }: {
    readonly family: TableFamily;
    readonly set: NamedSet;
    readonly standing: KnownSet;
    readonly moved: Moved;
  },
): void {
  if (going.size > 0) put(draft, "going members", { op: "delete elements", family, set, elements: going });
  if (coming.size > 0) put(draft, "members", { op: "add elements", family, set, elements: coming });
  draft.settlements.push(() => {
    for (const member of going.keys()) standing.plain?.delete(member);
    for (const [member, value] of coming) standing.plain?.set(member, value);
    before.sets.set(set.name, { ...standing, written: set });
  });
}

/** The members of both, where nothing may be removed: intervals that overlap become one. */
function joined(
  set: NamedSet,
  standing: ReadonlyMap<string, string>,
  wanted: ReadonlyMap<string, string>,
): ReadonlyMap<string, string> {
  const both = new Map([...standing, ...wanted]);
  if (!set.isInterval || set.value || standing.has("unknown")) return both;
  return canonicalMembers({ ...set, elements: new Set(both.keys()) });
}

function planMembers(
  draft: Draft,
  family: TableFamily,
  set: NamedSet,
  before: ReadonlyMap<string, string>,
  members: ReadonlyMap<string, string>,
): void {
  const coming = new Map<string, string>(), going = new Map<string, string>();
  for (const [member, value] of members) {
    const standing = before.get(member);
    if (standing === value) continue;
    coming.set(member, value);
    if (standing !== undefined) going.set(member, standing);
  }
  for (const [member, value] of before) if (!members.has(member)) going.set(member, value);
  if (going.size > 0) put(draft, "going members", { op: "delete elements", family, set, elements: going });
  if (coming.size > 0) {
    const step = set.value === "verdict" ? "verdicts" : "members";
    put(draft, step, { op: "add elements", family, set, elements: coming });
  }
}

function sendAhead(
  draft: Draft,
  family: TableFamily,
  set: NamedSet,
  members: ReadonlyMap<string, string>,
  withTable: boolean,
): void {
  if (withTable && draft.ahead.length === 0) draft.ahead.push([{ op: "add table", family }]);
  draft.ahead.push([{ op: "add set", family, set }]);
  let piece = new Map<string, string>();
  const close = () => {
    if (piece.size > 0) draft.ahead.push([{ op: "add elements", family, set, elements: piece }]);
    piece = new Map();
  };
  for (const [member, value] of members) {
    piece.set(member, value);
    if (piece.size === membersAhead) close();
  }
  close();
}

function planChains(draft: Draft, before: KnownTable, { family, chains, sets }: Table, areAllChanged: boolean): void {
  const isIntervalSet = (name: string) => sets.get(name)?.isInterval ?? false;
  for (const [name, chain] of chains) {
    const standing = before.chains.get(name);
    // A lookup in a set of another shape has another text.
    if (areAllChanged) contents.delete(chain);
    if (standing && !areAllChanged && draft.isQuick && looksSame(standing, chain)) continue;
    if (standing && !areAllChanged && isSameChain(family, standing, chain, isIntervalSet)) continue;
    const { base } = chain;
    if (standing) put(draft, "flushes", { op: "flush chain", family, chain: name });
    const isRetyped = standing !== undefined && withoutPolicy(baseOf(standing)) !== withoutPolicy(canonicalBase(base));
    if (isRetyped) put(draft, "going chains", { op: "delete chain", family, chain: name });
    // Adding a base chain that is there changes its policy.
    if (!standing || isRetyped || baseOf(standing) !== canonicalBase(base)) {
      put(draft, "chains", { op: "add chain", family, chain: name, ...base ? { base } : {} });
    }
    for (const rule of chain.rules) put(draft, "rules", { op: "add rule", family, chain: name, rule });
    draft.settlements.push(() => void before.chains.set(name, { written: chain }));
  }
  if (!draft.mayRemove) return;
  for (const name of before.chains.keys()) {
    if (chains.has(name)) continue;
    put(draft, "flushes", { op: "flush chain", family, chain: name });
    put(draft, "going chains", { op: "delete chain", family, chain: name });
    draft.settlements.push(() => void before.chains.delete(name));
  }
}

function baseOf(standing: KnownChain): string {
  return "written" in standing ? canonicalBase(standing.written.base) : standing.base;
}

function withoutPolicy(base: string): string {
  return base.replace(/ policy \w+;$/, "");
}

/** The canonical rules of chains that were compared before. */
const contents = new WeakMap<Chain, readonly string[]>();

/** Whether a chain that was read has the properties and as many rules as the desired one. */
function looksSame(standing: KnownChain, chain: Chain): boolean {
  return "rules" in standing && standing.rules.length === chain.rules.length &&
    standing.base === canonicalBase(chain.base);
}

function isSameChain(
  family: TableFamily,
  standing: KnownChain,
  chain: Chain,
  isIntervalSet: (set: string) => boolean,
): boolean {
  if ("written" in standing && standing.written === chain) return true;
  if (baseOf(standing) !== canonicalBase(chain.base)) return false;
  // A chain that somebody flushed needs no comparing, which for all chains of a host takes longer than writing them.
  const { length } = "written" in standing ? standing.written.rules : standing.rules;
  if (length !== chain.rules.length) return false;
  const contentOf = (one: Chain) => {
    let content = contents.get(one);
    if (!content) contents.set(one, content = canonicalRules(family, one, isIntervalSet));
    return content;
  };
  const have = "written" in standing ? contentOf(standing.written) : standing.rules;
  const want = contentOf(chain);
  return have.length === want.length && have.every((rule, i) => rule === want[i]);
}
