/**
 * The packet filter in memory: the `Firewall` port with the refusals of Linux and a fault switch, for tests of whatever
 * programs rules. The contract suite holds it to what the kernel does.
 *
 * A `MemoryFilter` is the ruleset of one namespace; each handle on it sees the changes of the others as reports, as sockets
 * do. A transaction works on copies, which replace the tables when all of it went well. Nothing here filters a packet.
 */

import { EBUSY, EEXIST, EINVAL, ENOENT, errnoCode, errnoText } from "../netlink/errno.ts";
import { NetlinkError } from "../netlink/error.ts";
import { canonicalBase, canonicalRule } from "../netlink/nft/canonical.ts";
import type { Command, SetDeclaration } from "../netlink/nft/command.ts";
import { parseMember } from "../netlink/nft/elements.ts";
import { compareBytes } from "../netlink/nft/intervals.ts";
import { CommandError, encodeBatch } from "../netlink/nft/message.ts";
import { describeCommand } from "../netlink/nft/print.ts";
import type { Rule, TableFamily } from "../netlink/nft/ruleset.ts";
import {
  type ActualChain,
  type ActualRule,
  type ActualRuleset,
  type ActualSet,
  type ActualTable,
  type Firewall,
  FirewallError,
  type FirewallEvent,
} from "./firewall_port.ts";

const ERESTART = 85, EOPNOTSUPP = 95;

interface MemoryRule extends ActualRule {
  /** Chains and sets that it names. */
  readonly chains: readonly string[];
  readonly sets: readonly string[];
}

interface MemoryChain extends ActualChain {
  readonly rules: readonly MemoryRule[];
}

interface MemoryTable {
  readonly flags: number;
  readonly chains: Map<string, MemoryChain>;
  readonly sets: Map<string, ActualSet>;
}

/** Which commands are refused: those whose text matches, after `skip` of them, `times` times. */
export interface FirewallFault {
  readonly matching: RegExp;
  readonly errno: number;
  readonly skip?: number;
  readonly times?: number;
}

/** The faults of one handle. */
export class FirewallFaults {
  #rules: { readonly fault: FirewallFault; seen: number }[] = [];
  /** While true reports are lost; `resync` comes before the first that gets through again. */
  losesReports = false;
  /** Awaited before each operation ("read", "apply"); a test holds calls up, or comes in between. */
  before: ((operation: "read" | "apply") => Promise<void> | void) | undefined;
  /** Every transaction that was asked for, as text. */
  readonly transactions: string[][] = [];

  /** Adds a fault; the returned function takes it away. "read" matches the reading of the tables. */
  fail(fault: FirewallFault): () => void {
    const entry = { fault, seen: 0 };
    this.#rules.push(entry);
    return () => void (this.#rules = this.#rules.filter((other) => other !== entry));
  }

  /** Takes everything back. */
  clear(): void {
    this.#rules = [];
    this.losesReports = false;
    this.before = undefined;
  }

  /** The errno of the first fault that the text falls under. */
  errnoFor(text: string): number | undefined {
    for (const entry of this.#rules) {
      const { matching, errno, skip = 0, times = Infinity } = entry.fault;
      if (!matching.test(text)) continue;
      const turn = entry.seen++ - skip;
      if (turn >= 0 && turn < times) return errno;
    }
    return undefined;
  }
}

/** The ruleset of one namespace in memory. */
export class MemoryFilter {
  #tables = new Map<TableFamily, MemoryTable>();
  #generation = 1;
  #handles = 0n;
  readonly #listeners = new Set<{ readonly owner: object; readonly hear: (event: FirewallEvent) => void }>();

  /** The filter through a handle of its own. */
  handle(faults: FirewallFaults = new FirewallFaults()): Firewall & { readonly faults: FirewallFaults } {
    const owner = {};
    let isLossy = false;
    return {
      faults,
      read: async () => {
        await faults.before?.("read");
        const errno = faults.errnoFor("read");
        if (errno !== undefined) throw new NetlinkError("list our tables", errno, errnoCode(errno), "injected fault");
        return this.#snapshot();
      },
      apply: async (commands, options = {}) => {
        await faults.before?.("apply");
        faults.transactions.push(commands.map(describeCommand));
        return this.#apply(owner, commands, options.generation, faults);
      },
      watch: (sink) => {
        const listener = {
          owner,
          hear: (event: FirewallEvent) => {
            if (faults.losesReports) {
              isLossy = true;
              return;
            }
            if (isLossy) queueMicrotask(() => this.#listeners.has(listener) && sink({ type: "resync" }));
            isLossy = false;
            queueMicrotask(() => this.#listeners.has(listener) && sink(event));
          },
        };
        this.#listeners.add(listener);
        return () => void this.#listeners.delete(listener);
      },
      close: () => {},
    };
  }

  /** Somebody changed a table that is not ours: only the generation moves on. */
  touchOthers(): void {
    this.#generation++;
  }

  #snapshot(): ActualRuleset {
    const tables = new Map<TableFamily, ActualTable>();
    for (const [family, { flags, chains, sets }] of this.#tables) {
      tables.set(family, {
        family,
        flags,
        chains: new Map([...chains].map(([name, chain]) => [name, { ...chain, rules: [...chain.rules] }])),
        sets: new Map([...sets].map(([name, set]) => [name, { ...set, elements: new Map(set.elements) }])),
      });
    }
    return { generation: this.#generation, tables };
  }

  #apply(owner: object, commands: readonly Command[], generation: number | undefined, faults: FirewallFaults): number {
    if (generation !== undefined && generation !== this.#generation) {
      throw new FirewallError(
        "apply a transaction",
        undefined,
        ERESTART,
        "ERESTART",
        "the ruleset changed since it was read",
      );
    }
    const copy = new Map([...this.#tables].map(([family, { flags, chains, sets }]) => [
      family,
      { flags, chains: new Map(chains), sets: new Map([...sets].map(([name, set]) => [name, copySet(set)])) },
    ]));
    checkEncoding(commands, copy);
    const families = new Set<TableFamily>();
    for (const [index, command] of commands.entries()) {
      families.add(command.family);
      const errno = faults.errnoFor(describeCommand(command)) ?? this.#run(copy, command);
      if (errno !== undefined) {
        throw new FirewallError(describeCommand(command), index, errno, errnoCode(errno), errnoText(errno));
      }
    }
    this.#tables = copy;
    this.#generation++;
    for (const family of families) {
      for (const listener of this.#listeners) if (listener.owner !== owner) listener.hear({ type: "changed", family });
    }
    return this.#generation;
  }

  /** Runs one command on the copy; the errno with which the kernel refuses it. */
  #run(tables: Map<TableFamily, MemoryTable>, command: Command): number | undefined {
    const { family } = command;
    const table = tables.get(family);
    if (command.op === "add table") {
      tables.set(family, { flags: 0, chains: table?.chains ?? new Map(), sets: table?.sets ?? new Map() });
      return undefined;
    }
    if (!table) return ENOENT;
    const { chains, sets } = table;
    switch (command.op) {
      case "delete table":
        tables.delete(family);
        return undefined;
      case "add chain": {
        const standing = chains.get(command.chain);
        const policyless = (text: string) => text.replace(/ policy \w+;$/, "");
        if (standing && policyless(canonicalBase(standing.base)) !== policyless(canonicalBase(command.base))) {
          return EEXIST;
        }
        chains.set(command.chain, { name: command.chain, base: command.base, rules: standing?.rules ?? [] });
        return undefined;
      }
      case "delete chain":
        if (!chains.has(command.chain)) return ENOENT;
        if (isChainUsed(table, command.chain)) return EBUSY;
        chains.delete(command.chain);
        return undefined;
      case "flush chain": {
        const chain = chains.get(command.chain);
        if (!chain) return ENOENT;
        chains.set(command.chain, { ...chain, rules: [] });
        return undefined;
      }
      case "delete rule": {
        const chain = chains.get(command.chain);
        const rules = chain?.rules.filter(({ handle }) => handle !== command.handle);
        if (!chain || !rules || rules.length === chain.rules.length) return ENOENT;
        chains.set(command.chain, { ...chain, rules });
        return undefined;
      }
      case "add rule": {
        const chain = chains.get(command.chain);
        if (!chain) return ENOENT;
        const rule = this.#makeRule(family, table, command.rule);
        if (rule.chains.some((name) => !chains.has(name)) || rule.sets.some((name) => !sets.has(name))) return ENOENT;
        if (rule.chains.some((name) => chains.get(name)?.base)) return EOPNOTSUPP;
        chains.set(command.chain, { ...chain, rules: [...chain.rules, rule] });
        return undefined;
      }
      case "add set": {
        const standing = sets.get(command.set.name);
        if (standing) return isSameShape(standing, command.set) ? undefined : EEXIST;
        const { name, key, value, isInterval = false, hasTimeout = false } = command.set;
        sets.set(name, { name, key, value, isInterval, hasTimeout, elements: new Map() });
        return undefined;
      }
      case "delete set":
        if (!sets.has(command.set)) return ENOENT;
        if ([...chains.values()].some(({ rules }) => rules.some((rule) => rule.sets.includes(command.set)))) {
          return EBUSY;
        }
        sets.delete(command.set);
        return undefined;
      case "flush set": {
        const set = sets.get(command.set);
        if (!set) return ENOENT;
        sets.set(command.set, { ...set, elements: new Map() });
        return undefined;
      }
      case "add elements":
      case "delete elements":
        return changeElements(table, command);
    }
  }

  #makeRule(family: TableFamily, table: MemoryTable, rule: Rule): MemoryRule {
    const content = canonicalRule(family, rule, (name) => table.sets.get(name)?.isInterval ?? false);
    const chains: string[] = [], sets: string[] = [];
    for (const match of rule.matches) if (match.kind === "in") sets.push(match.set);
    for (const statement of rule.statements) {
      if (statement.kind === "jump" || statement.kind === "goto") chains.push(statement.chain);
      else if (statement.kind === "vmap") sets.push(statement.map);
      else if ((statement.kind === "snat" || statement.kind === "dnat") && typeof statement.to === "object") {
        sets.push(statement.to.map);
      }
    }
    const hasCounter = rule.statements.some(({ kind }) => kind === "counter");
    const counts = hasCounter ? { packets: 0n, bytes: 0n } : {};
    return { handle: ++this.#handles, content, comment: rule.comment, ...counts, chains, sets };
  }
}

function copySet(set: ActualSet): ActualSet {
  return { ...set, elements: new Map(set.elements) };
}

/** What cannot be encoded is refused as the port over netlink refuses it. */
function checkEncoding(commands: readonly Command[], tables: ReadonlyMap<TableFamily, MemoryTable>): void {
  try {
    const isIntervalSet = (family: TableFamily, name: string) =>
      tables.get(family)?.sets.get(name)?.isInterval ?? false;
    encodeBatch(commands, { first: 1, isIntervalSet });
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    const command = commands[error.index];
    throw new FirewallError(
      command ? describeCommand(command) : "apply a transaction",
      error.index,
      EINVAL,
      "EINVAL",
      error.message,
    );
  }
}

function isChainUsed({ chains, sets }: MemoryTable, name: string): boolean {
  for (const { rules } of chains.values()) if (rules.some((rule) => rule.chains.includes(name))) return true;
  for (const { value, elements } of sets.values()) {
    if (value === "verdict" && [...elements.values()].some((verdict) => verdict.split(" ")[1] === name)) return true;
  }
  return false;
}

function isSameShape(
  standing: ActualSet,
  { key, value, isInterval = false, hasTimeout = false }: SetDeclaration,
): boolean {
  return standing.key?.join() === key.join() && standing.value === value && standing.isInterval === isInterval &&
    standing.hasTimeout === hasTimeout;
}

function changeElements(
  { chains, sets }: MemoryTable,
  { op, set, elements }: Extract<Command, { op: "add elements" | "delete elements" }>,
): number | undefined {
  const standing = sets.get(set.name);
  if (!standing) return ENOENT;
  const members = standing.elements as Map<string, string>;
  for (const [member, value] of elements) {
    const known = members.get(member);
    if (op === "delete elements") {
      if (known === undefined) return ENOENT;
      members.delete(member);
      continue;
    }
    const chain = set.value === "verdict" ? value.split(" ")[1] : undefined;
    if (chain !== undefined && !chains.has(chain)) return ENOENT;
    if (known !== undefined) {
      if (known !== value) return EEXIST;
      continue;
    }
    if (set.isInterval && set.key.length === 1 && overlapsAny(set, members, member)) return EEXIST;
    members.set(member, value);
  }
  return undefined;
}

function overlapsAny(set: SetDeclaration, members: ReadonlyMap<string, string>, member: string): boolean {
  const { from, to } = parseMember(set, member);
  return [...members.keys()].some((other) => {
    const standing = parseMember(set, other);
    return compareBytes(from, standing.to) <= 0 && compareBytes(standing.from, to) <= 0;
  });
}
