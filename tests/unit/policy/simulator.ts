/**
 * A small interpreter of rulesets: takes a packet through the hooks of a trip as the kernel would, for the expressions that
 * policy uses. It knows nothing of policies, so it holds the rendering to what the rules say and not to what they mean to.
 */

import assert from "node:assert/strict";
import { Cidr } from "../../../src/lib/cidr.ts";
import { Ip } from "../../../src/lib/ip.ts";
import { numberOf } from "../../../src/netlink/nft/values.ts";
import type { Chain, Field, Hook, Match, NamedSet, Rule, Ruleset, Table } from "../../../src/netlink/nft/ruleset.ts";
import type { TestPacket, Trip } from "./evaluator.ts";

/** A packet under way. */
export interface Flight {
  readonly packet: TestPacket;
  readonly trip: Trip;
  readonly state?: "new" | "established" | "invalid" | "untracked";
  readonly status?: readonly string[];
  /** Whether the route back to the source leads out of the interface it came by. */
  readonly hasReversePath?: boolean;
  readonly mark?: number;
}

interface Run {
  readonly table: Table;
  readonly flight: Flight;
  mark: number;
  isTracked: boolean;
  /** Chains that packets went through. */
  readonly visited: string[];
}

/** What became of the packet. */
export interface Landing {
  readonly verdict: "accept" | "drop";
  readonly mark: number;
  readonly isTracked: boolean;
  readonly visited: readonly string[];
}

/** Takes the packet through all hooks of its trip. */
export function fly(ruleset: Ruleset, flight: Flight): Landing {
  const table = ruleset.tables.find(({ family }) => family === "inet");
  assert.ok(table, "there is no inet table");
  const run: Run = { table, flight, mark: flight.mark ?? 0, isTracked: true, visited: [] };
  const { in: comesIn, out: goesOut } = flight.trip;
  const hooks: Hook[] = comesIn === undefined
    ? ["output", "postrouting"]
    : goesOut === undefined
    ? ["prerouting", "input"]
    : ["prerouting", "forward", "postrouting"];
  for (const hook of hooks) {
    const bases = [...table.chains.values()].filter(({ base }) => base?.hook === hook)
      .sort((a, b) => (a.base?.priority ?? 0) - (b.base?.priority ?? 0));
    for (const chain of bases) {
      if (call(run, chain, hook, 0) === "drop") return { verdict: "drop", ...landing(run) };
    }
  }
  return { verdict: "accept", ...landing(run) };
}

function landing({ mark, isTracked, visited }: Run): Omit<Landing, "verdict"> {
  return { mark, isTracked, visited };
}

type Outcome = "accept" | "drop" | "end";

function call(run: Run, chain: Chain, hook: Hook, depth: number): Outcome {
  assert.ok(depth <= 16, "jumps nest deeper than the kernel allows");
  run.visited.push(chain.name);
  for (const rule of chain.rules) {
    const outcome = apply(run, rule, hook, depth);
    if (outcome === "return") return "end";
    if (outcome !== undefined) return outcome;
  }
  return "end";
}

function apply(run: Run, rule: Rule, hook: Hook, depth: number): Outcome | "return" | undefined {
  if (!rule.matches.every((match) => holds(run, match, hook))) return undefined;
  const enter = (name: string): Outcome => {
    const chain = run.table.chains.get(name);
    assert.ok(chain, `there is no chain ${name}`);
    return call(run, chain, hook, depth + 1);
  };
  for (const statement of rule.statements) {
    switch (statement.kind) {
      case "accept":
      case "drop":
      case "return":
        return statement.kind;
      case "reject":
        return "drop";
      case "goto": {
        const outcome = enter(statement.chain);
        return outcome === "end" ? "return" : outcome;
      }
      case "jump": {
        const outcome = enter(statement.chain);
        if (outcome !== "end") return outcome;
        break;
      }
      case "vmap": {
        const verdict = setNamed(run, statement.map).elements;
        assert.ok(verdict instanceof Map);
        const found = verdict.get(statement.fields.map((field) => valueOf(run, field, hook) ?? "").join(" . "));
        if (found === undefined) return undefined;
        const [word, chain = ""] = found.split(" ");
        const outcome = enter(chain);
        if (outcome !== "end") return outcome;
        if (word === "goto") return "return";
        break;
      }
      case "change mark":
        run.mark = ((run.mark & (statement.and ?? 0xffffffff)) | (statement.or ?? 0)) >>> 0;
        break;
      case "notrack":
        run.isTracked = false;
        break;
      case "counter":
      case "log":
      case "masquerade":
      case "snat":
      case "dnat":
      case "set":
        break;
      default:
        assert.fail(`the interpreter does not know ${statement.kind}`);
    }
  }
  return undefined;
}

function setNamed({ table }: Run, name: string): NamedSet {
  const set = table.sets.get(name);
  assert.ok(set, `there is no set ${name}`);
  return set;
}

/** What the packet has in the field; undefined when it has no such field, and then no match on it holds. */
function valueOf({ flight: { packet, trip } }: Run, field: Field, hook: Hook): string | number | undefined {
  const isV6 = packet.source.includes(":");
  const hasPorts = [6, 17, 132].includes(packet.protocol);
  switch (field) {
    case "iifname":
      return trip.in ?? "";
    case "oifname":
      return hook === "prerouting" || hook === "input" ? "" : trip.out ?? "";
    case "meta l4proto":
      return packet.protocol;
    case "meta nfproto":
      return isV6 ? 10 : 2;
    case "ip saddr":
      return isV6 ? undefined : packet.source;
    case "ip daddr":
      return isV6 ? undefined : packet.destination;
    case "ip6 saddr":
      return isV6 ? packet.source : undefined;
    case "ip6 daddr":
      return isV6 ? packet.destination : undefined;
    case "ip protocol":
      return isV6 ? undefined : packet.protocol;
    // Any protocol's first four bytes after its header's start; ICMP has type and code there.
    case "th sport":
      return hasPorts ? packet.sourcePort : (packet.icmpType ?? 0) * 256 + (packet.icmpCode ?? 0);
    case "th dport":
      return hasPorts ? packet.destinationPort : 0;
    case "icmp type":
      return !isV6 && packet.protocol === 1 ? packet.icmpType : undefined;
    case "icmp code":
      return !isV6 && packet.protocol === 1 ? packet.icmpCode : undefined;
    case "icmpv6 type":
      return isV6 && packet.protocol === 58 ? packet.icmpType : undefined;
    case "icmpv6 code":
      return isV6 && packet.protocol === 58 ? packet.icmpCode : undefined;
  }
  const header = /^(tcp|udp|sctp|udplite) (sport|dport)$/.exec(field);
  if (!header) assert.fail(`the interpreter does not know the field ${field}`);
  const number = { tcp: 6, udp: 17, sctp: 132, udplite: 136 }[header[1] as "tcp"];
  if (number !== packet.protocol) return undefined;
  return header[2] === "sport" ? packet.sourcePort : packet.destinationPort;
}

function holds(run: Run, match: Match, hook: Hook): boolean {
  const { flight } = run;
  switch (match.kind) {
    case "limit":
      // As if the limit were never reached.
      return !match.isOver;
    case "ct count":
      return !match.isOver;
    case "has": {
      const has = match.field === "ct state"
        ? [run.isTracked ? flight.state ?? "new" : "untracked"]
        : flight.status ?? [];
      return match.flags.some((flag) => (has as readonly string[]).includes(flag)) !== (match.isNot ?? false);
    }
    case "in": {
      const values = match.fields.map((field) => valueOf(run, field, hook));
      if (values.includes(undefined)) return false;
      return isMember(setNamed(run, match.set), match.fields, values as (string | number)[]) !== (match.isNot ?? false);
    }
    case "among": {
      const value = valueOf(run, match.field, hook);
      if (value === undefined) return false;
      return match.values.some((wanted) => isValue(match.field, wanted, value)) !== (match.isNot ?? false);
    }
    case "is": {
      if (match.field === "meta mark") {
        return (((run.mark & (match.mask ?? 0xffffffff)) >>> 0) === match.value) !== (match.isNot ?? false);
      }
      if (match.field === "fib saddr . mark . iif oif") {
        return ((flight.hasReversePath ?? true) ? "exists" : "missing") === match.value;
      }
      if (match.field === "fib daddr type") {
        return (flight.trip.out === undefined ? "local" : "unicast") === match.value;
      }
      const value = valueOf(run, match.field, hook);
      if (value === undefined) return false;
      return isValue(match.field, match.value, value) !== (match.isNot ?? false);
    }
  }
}

function isMember(
  { elements, isInterval }: NamedSet,
  fields: readonly Field[],
  values: readonly (string | number)[],
): boolean {
  const text = values.map((value, i) => fields[i] === "meta l4proto" ? protocolName(value) : `${value}`).join(" . ");
  if (elements.has(text)) return true;
  return Boolean(isInterval) &&
    [...elements.keys()].some((member) => member.includes("/") && Cidr.parse(member).contains(Ip.parse(text)));
}

function protocolName(value: string | number): string {
  return { 1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp", 132: "sctp" }[Number(value)] ?? `${value}`;
}

function isValue(field: Field, wanted: string | number, value: string | number): boolean {
  const text = `${wanted}`;
  if (field === "iifname" || field === "oifname") {
    return text.endsWith("*") ? `${value}`.startsWith(text.slice(0, -1)) : text === value;
  }
  if (field.endsWith("addr")) {
    return (text.includes("/") ? Cidr.parse(text) : Cidr.host(Ip.parse(text))).contains(Ip.parse(`${value}`));
  }
  const range = /^(\d+)-(\d+)$/.exec(text);
  if (range) return Number(range[1]) <= Number(value) && Number(value) <= Number(range[2]);
  if (field === "meta l4proto" || field === "ip protocol") return numberOf("inet_proto", wanted) === value;
  if (field === "meta nfproto") return numberOf("nf_proto", wanted) === value;
  return Number(wanted) === value;
}
