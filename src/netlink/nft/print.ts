/**
 * Rules, chains and sets as `nft` text: what golden files and people read, what `nft -f` loads into the same bytes that we
 * send, and what `nft -s list` prints back.
 *
 * Numbers that have names are printed by name, marks as eight hex digits. Members of sets are sorted, so that equal rulesets
 * have equal text. In: the typed language. Out: text; RangeError as in `encode.ts`.
 */

import type { Command, SetDeclaration } from "./command.ts";
import { fieldShape } from "./fields.ts";
import { parseMember } from "./elements.ts";
import { wantsTcpFirst } from "./encode.ts";
import { compareBytes, disjoint, formatInterval, parseInterval } from "./intervals.ts";
import type {
  BaseChain,
  Chain,
  Field,
  Match,
  NamedSet,
  NatFlags,
  Rule,
  Ruleset,
  Statement,
  Table,
  Value,
} from "./ruleset.ts";
import { tableName } from "./ruleset.ts";
import { formatNumber, numberOf, valueBytes } from "./values.ts";

/** The whole ruleset. */
export function printRuleset({ tables }: Ruleset): string {
  return tables.map(printTable).join("\n");
}

/** A table with its sets and chains. */
export function printTable({ family, name, sets, chains }: Table): string {
  const parts = [...[...sets.values()].map(printSet), ...[...chains.values()].map(printChain)];
  return `table ${family} ${name} {\n${parts.map(indent).join("\n")}}\n`;
}

function indent(text: string): string {
  return text.replace(/^(?=.)/gm, "\t");
}

/** A chain with its rules. */
export function printChain({ name, base, rules }: Chain): string {
  const lines = [...base ? [printBase(base)] : [], ...rules.map(printRule)];
  return `chain ${name} {\n${lines.map((line) => `\t${line}\n`).join("")}}\n`;
}

/** What makes a chain a base chain. */
export function printBase({ type, hook, priority, policy }: BaseChain): string {
  return `type ${type} hook ${hook} priority ${priority}; policy ${policy};`;
}

/** A set or map with its members. */
export function printSet(set: NamedSet): string {
  const pairs = [...memberEntries(set.elements)]
    .map(([member, value]) => ({ key: parseMember(set, member).from, text: printMember(member, value, set) }))
    .sort((a, b) => compareBytes(a.key, b.key)).map(({ text }) => text);
  const elements = pairs.length === 0 ? [] : [`elements = { ${pairs.join(",\n\t\t     ")} }`];
  return `${set.value ? "map" : "set"} ${set.name} {\n${
    [...printDeclaration(set), ...elements].map((line) => `\t${line}\n`).join("")
  }}\n`;
}

/** The members with their values; a set's have none. */
export function* memberEntries(elements: NamedSet["elements"]): Generator<[string, string]> {
  if (elements instanceof Map) yield* elements as ReadonlyMap<string, string>;
  else for (const member of elements.keys()) yield [member, ""];
}

function printDeclaration({ key, value, isInterval, hasTimeout }: SetDeclaration): string[] {
  const flags = [...isInterval ? ["interval"] : [], ...hasTimeout ? ["timeout"] : []];
  return [
    `type ${key.join(" . ")}${value ? ` : ${value}` : ""}`,
    ...flags.length > 0 ? [`flags ${flags.join(",")}`] : [],
  ];
}

function printMember(member: string, value: string, { key }: SetDeclaration): string {
  const parts = member.split(" . ").map((part, i) => key[i] === "ifname" ? `"${part}"` : part);
  return `${parts.join(" . ")}${value === "" ? "" : ` : ${value}`}`;
}

/** One rule on one line. */
export function printRule(rule: Rule): string {
  const { matches, statements, comment } = rule;
  return [
    ...wantsTcpFirst(rule) ? ["meta l4proto tcp"] : [],
    ...matches.map(printMatch),
    ...statements.map(printStatement),
    ...comment === undefined ? [] : [`comment ${quote(comment)}`],
  ].join(" ");
}

/** nft's strings have no escapes: what they cannot hold is refused where it is encoded. */
function quote(text: string): string {
  return `"${text}"`;
}

function printMatch(match: Match): string {
  switch (match.kind) {
    case "is": {
      const { field, value, mask, isNot } = match;
      if (mask !== undefined) {
        return `${field} & ${formatNumber("mark", mask)} ${isNot ? "!=" : "=="} ${printValue(field, value)}`;
      }
      return `${field} ${isNot ? "!= " : ""}${printValue(field, value)}`;
    }
    case "among": {
      return `${match.field} ${match.isNot ? "!= " : ""}{ ${printValues(match.field, match.values).join(", ")} }`;
    }
    case "in":
      return `${match.fields.join(" . ")} ${match.isNot ? "!= " : ""}@${match.set}`;
    case "has":
      return `${match.field} ${match.isNot ? "! " : ""}${match.flags.join(",")}`;
    case "limit": {
      const burst = match.burst === undefined || match.burst === 5 ? "" : ` burst ${match.burst} packets`;
      return `limit rate ${match.isOver ? "over " : ""}${match.rate}/${match.per}${burst}`;
    }
    case "ct count":
      return `ct count ${match.isOver ? "over " : ""}${match.count}`;
  }
}

/** In the order of their values, and where there are ranges joined with those that they touch. */
function printValues(field: Field, values: readonly Value[]): string[] {
  const { type } = fieldShape(field);
  if (type === "ifname") return values.map((value) => printValue(field, value)).sort();
  const intervals = values.map((value) => parseInterval(type, `${value}`));
  if (intervals.some(({ from, to }) => from !== to)) {
    return disjoint(intervals, { joinTouching: true }).map((interval) => formatInterval(type, interval));
  }
  return intervals.sort((a, b) => compareBytes(a.from, b.from)).map((interval) => formatInterval(type, interval));
}

function printValue(field: Field, value: Value): string {
  const { type } = fieldShape(field);
  const text = `${value}`;
  switch (type) {
    case "ifname":
      return `"${text}"`;
    case "ether_addr":
      return text.toLowerCase();
    case "ipv4_addr":
    case "ipv6_addr":
      return text.endsWith("/0")
        ? `${text.slice(0, text.indexOf("/"))}/0`
        : formatInterval(type, parseInterval(type, text));
    case "raw128":
      return `0x${
        [...valueBytes(type, value)].map((byte) => byte.toString(16).padStart(2, "0")).join("").replace(/^0+(?=.)/, "")
      }`;
  }
  const dash = text.indexOf("-");
  const isRange = dash > 0 && /^\d+-\d+$/.test(text);
  if (isRange) {
    return [text.slice(0, dash), text.slice(dash + 1)].map((end) => formatNumber(type, Number(end))).join("-");
  }
  return formatNumber(type, numberOf(type, value));
}

function printStatement(statement: Statement): string {
  switch (statement.kind) {
    case "jump":
    case "goto":
      return `${statement.kind} ${statement.chain}`;
    case "log": {
      const { prefix, level, group } = statement;
      return `log${prefix === undefined ? "" : ` prefix ${quote(prefix)}`}${
        level === undefined || level === "warn" ? "" : ` level ${level}`
      }${group === undefined ? "" : ` group ${group}`}`;
    }
    case "set":
      return `${statement.field} set ${printValue(statement.field, statement.value)}`;
    case "change mark":
      return printMarkChange((statement.and ?? 0xffffffff) >>> 0, (statement.or ?? 0) >>> 0);
    case "copy mark":
      return statement.to === "ct mark" ? "ct mark set meta mark" : "meta mark set ct mark";
    case "vmap":
      return `${statement.fields.join(" . ")} vmap @${statement.map}`;
    case "reject":
      return statement.reply === "tcp reset"
        ? "reject with tcp reset"
        : statement.reply === "port-unreachable"
        ? "reject"
        : `reject with icmpx ${statement.reply}`;
    case "masquerade":
      return `masquerade${statement.ports === undefined ? "" : ` to :${statement.ports}`}${
        printNatFlags(statement.flags)
      }`;
    case "snat":
    case "dnat": {
      const { to, family, ports } = statement;
      const v6Bracketed = typeof to === "string" && family === "ip6" && ports !== undefined ? `[${to}]` : to;
      const target = typeof to === "string" ? v6Bracketed : `${to.field} map @${to.map}`;
      return `${statement.kind} ${family} to ${target}${ports === undefined ? "" : `:${ports}`}${
        printNatFlags(statement.flags)
      }`;
    }
    default:
      return statement.kind;
  }
}

/** As nft lists it: an `or` that overlaps the mask shows as cleared there first. */
function printMarkChange(and: number, or: number): string {
  const mask = (and & ~or) >>> 0;
  if (or === 0) return `meta mark set meta mark & ${formatNumber("mark", mask)}`;
  if ((mask | or) >>> 0 === 0xffffffff) return `meta mark set meta mark | ${formatNumber("mark", or)}`;
  return `meta mark set meta mark & ${formatNumber("mark", (mask | or) >>> 0)} | ${formatNumber("mark", or)}`;
}

function printNatFlags({ isRandom, isFullyRandom, isPersistent }: NatFlags = {}): string {
  const flags = [
    ...isRandom ? ["random"] : [],
    ...isFullyRandom ? ["fully-random"] : [],
    ...isPersistent ? ["persistent"] : [],
  ];
  return flags.length === 0 ? "" : ` ${flags.join(",")}`;
}

/** One command of a transaction on one line, as it would be given to `nft`. */
export function printCommand(command: Command): string {
  const table = `${command.family} ${tableName}`;
  switch (command.op) {
    case "add table":
    case "delete table":
      return `${command.op} ${table}`;
    case "add chain":
      return `add chain ${table} ${command.chain}${command.base ? ` { ${printBase(command.base)} }` : ""}`;
    case "delete chain":
    case "flush chain":
      return `${command.op} ${table} ${command.chain}`;
    case "add rule":
      return `add rule ${table} ${command.chain} ${printRule(command.rule)}`;
    case "delete rule":
      return `delete rule ${table} ${command.chain} handle ${command.handle}`;
    case "add set": {
      const { set } = command;
      return `add ${set.value ? "map" : "set"} ${table} ${set.name} { ${printDeclaration(set).join("; ")}; }`;
    }
    case "delete set":
    case "flush set":
      return `${command.op} ${table} ${command.set}`;
    case "add elements":
    case "delete elements": {
      const { set, elements } = command;
      const shown = [...elements].slice(0, 5).map(([member, value]) => printMember(member, value, set));
      const more = elements.size > shown.length ? `, … ${elements.size} in all` : "";
      return `${command.op.slice(0, -1)} ${table} ${set.name} { ${shown.join(", ")}${more} }`;
    }
  }
}

/** The same for messages: a command that cannot be printed is named by what it does. */
export function describeCommand(command: Command): string {
  try {
    return printCommand(command);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return `${command.op} in ${command.family} ${tableName}${"chain" in command ? ` ${command.chain}` : ""}`;
  }
}
