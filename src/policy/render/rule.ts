/**
 * One rule of a policy as rules of nft: usually one, one for each IP version where it looks at addresses, and one for each
 * alternative that a single nft rule cannot say (numbered or named ports; another type or another code).
 *
 *     Allow -> accept bit, return     Pass -> pass bit, return     Deny -> drop     Log -> log, go on
 *
 * What Calico builds out of blocks of rules (over 15 ports, many prefixes) is a set in braces here. Packets that have no
 * ports, or another family, do not match the fields of those, which is what the rule means.
 */

import type { Cidr } from "../../lib/cidr.ts";
import type { Family } from "../../lib/ip.ts";
import type { Field, Match, Rule, Statement } from "../../netlink/nft/ruleset.ts";
import {
  among,
  counter,
  drop,
  inSet,
  is,
  isNot,
  leave,
  notAmong,
  notInSet,
  rule as nftRule,
  setBits,
} from "../../netlink/nft/rule.ts";
import {
  type CompiledRule,
  ICMP,
  ICMPV6,
  type PortMatch,
  type PortRange,
  SCTP,
  type Side,
  TCP,
  UDP,
} from "../compile/rule.ts";
import type { Rate } from "../compile/settings.ts";
import { marks, portSetName, selectorSetName, type SetNeed } from "./names.ts";

/** What a rule's rendering depends on besides the rule. */
export interface RuleContext {
  /** The prefix of log lines, whole. */
  readonly logPrefix: string;
  readonly logRate?: Rate | undefined;
}

/** Renders the rule; nothing when it never matches. */
export function renderRule(rule: CompiledRule, context: RuleContext): Rule[] {
  if (rule.never !== undefined) return [];
  const comment = commentOf(rule);
  const statements = statementsOf(rule, context);
  const limit: Match[] = rule.action === "Log" && context.logRate ? [{ kind: "limit", ...context.logRate }] : [];
  return matchesOf(rule).map((matches) => nftRule([...matches, ...limit], statements, comment));
}

/** The sets that a rule looks addresses up in. */
export function needsOf(rule: CompiledRule): SetNeed[] {
  if (rule.never !== undefined) return [];
  const needs: SetNeed[] = [];
  for (const family of rule.families) {
    for (const { selector, notSelector, ports, notPorts } of [rule.source, rule.destination]) {
      for (const some of [selector, notSelector]) if (some) needs.push({ selector: some, family });
      for (const match of [ports, notPorts]) {
        for (const { name, protocol, selector } of match?.named ?? []) {
          needs.push({ selector, port: { name, protocol }, family });
        }
      }
    }
  }
  return needs;
}

/** The comment by which the counters of a rule are found again: "rule 3", then its annotations. */
function commentOf({ index, note }: CompiledRule): string {
  const text = note === undefined ? `rule ${index}` : `rule ${index}: ${note.replace(/["\\\p{Cc}]/gu, "'")}`;
  const bytes = new TextEncoder().encode(text);
  // A character that the limit cuts in two is left out whole.
  return bytes.length <= 127 ? text : new TextDecoder().decode(bytes.subarray(0, 127)).replace(/\uFFFD+$/, "");
}

function statementsOf(rule: CompiledRule, { logPrefix }: RuleContext): Statement[] {
  switch (rule.action) {
    case "Allow":
      return [counter, setBits(marks.accept), leave];
    case "Pass":
      return [counter, setBits(marks.pass), leave];
    case "Deny":
      return [counter, drop];
    case "Log":
      return [counter, { kind: "log", prefix: logPrefix, level: "notice" }];
  }
}

function matchesOf(rule: CompiledRule): Match[][] {
  const { families } = rule;
  if (!looksAtFamily(rule)) return expand(rule, undefined).map((matches) => withFamily(matches, families));
  return families.flatMap((family, i) =>
    expand(rule, family).flatMap((matches) => {
      if (matches.some(isOfFamily)) return [matches];
      // An alternative that is the same in both families is written once.
      return i === 0 ? [withFamily(matches, families)] : [];
    })
  );
}

function withFamily(matches: Match[], families: readonly Family[]): Match[] {
  return families.length === 2 ? matches : [is("meta nfproto", families[0] === 4 ? "ipv4" : "ipv6"), ...matches];
}

/** Whether the match holds in one family only. */
function isOfFamily(match: Match): boolean {
  const [field] = "fields" in match ? match.fields : "field" in match ? [match.field] : [];
  return field !== undefined && /^(ip|ip6|icmp|icmpv6|meta nfproto)( |$)/.test(field);
}

function looksAtFamily({ source, destination, icmp, notIcmp }: CompiledRule): boolean {
  return Boolean(icmp ?? notIcmp) ||
    [source, destination].some((side) =>
      side.nets || side.notNets || side.selector || side.notSelector || side.ports?.named.length ||
      side.notPorts?.named.length
    );
}

/** The matches of the rule in one family; `undefined` where it looks at nothing that differs between them. */
function expand(rule: CompiledRule, family: Family | undefined): Match[][] {
  const { protocol, notProtocol, source, destination } = rule;
  const fixed: Match[] = [];
  const hasFields = Boolean(rule.icmp ?? rule.notIcmp) ||
    [source, destination].some(({ ports }) => ports?.ranges.length);
  // A field of the protocol's header checks for the protocol by itself.
  if (protocol !== undefined && !hasFields) fixed.push(is("meta l4proto", protocol));
  if (notProtocol !== undefined) fixed.push(isNot("meta l4proto", notProtocol));
  if (family !== undefined) {
    fixed.push(...addressMatches(source, "source", family), ...addressMatches(destination, "destination", family));
  }
  let all: Match[][] = [fixed];
  for (const [side, place] of [[source, "source"], [destination, "destination"]] as const) {
    all = product(all, portAlternatives(side.ports, place, { protocol, family }));
    const negated = negatedPorts(side.notPorts, place, { protocol, family });
    all = all.map((matches) => [...matches, ...negated]);
  }
  return family === undefined
    ? all
    : product(product(all, icmpAlternatives(rule, family)), notIcmpAlternatives(rule, family));
}

function product(left: readonly Match[][], right: readonly Match[][]): Match[][] {
  return left.flatMap((a) => right.map((b) => [...a, ...b]));
}

type Place = "source" | "destination";

function addressMatches(side: Side, place: Place, family: Family): Match[] {
  const field: Field = `${family === 4 ? "ip" : "ip6"} ${place === "source" ? "saddr" : "daddr"}`;
  const nets = netTexts(side.nets, family), notNets = netTexts(side.notNets, family);
  const matches: Match[] = [];
  if (nets.includes("all")) matches.push(is("meta nfproto", family === 4 ? "ipv4" : "ipv6"));
  else if (nets.length > 0) matches.push(nets.length === 1 ? is(field, nets[0] ?? "") : among(field, nets));
  if (side.selector) matches.push(inSet(field, selectorSetName(side.selector, family)));
  if (notNets.length > 0) {
    matches.push(notNets.length === 1 ? isNot(field, notNets[0] ?? "") : notAmong(field, notNets));
  }
  if (side.notSelector) matches.push(notInSet(field, selectorSetName(side.notSelector, family)));
  return matches;
}

/** The prefixes of the family in nft's text, without those inside others, in order. */
export function netTexts(nets: readonly Cidr[] | undefined, family: Family): string[] {
  const kept: Cidr[] = [];
  for (const cidr of (nets ?? []).filter((cidr) => cidr.family === family).sort((a, b) => a.compare(b))) {
    if (!kept.at(-1)?.contains(cidr)) kept.push(cidr);
  }
  return kept.map((cidr) => cidr.length === 0 ? "all" : netText(cidr));
}

/** A prefix in nft's text: one of full length is written as its address. */
export function netText(cidr: Cidr): string {
  return cidr.length === cidr.ip.bits ? cidr.ip.toString() : cidr.toString();
}

interface PortContext {
  readonly protocol: number | undefined;
  readonly family: Family | undefined;
}

const portHeaders: ReadonlyMap<number, "tcp" | "udp" | "sctp"> = new Map([[TCP, "tcp"], [UDP, "udp"], [SCTP, "sctp"]]);

function portAlternatives(ports: PortMatch | undefined, place: Place, context: PortContext): Match[][] {
  if (!ports) return [[]];
  const { protocol, family } = context;
  const alternatives: Match[][] = [];
  const header = portHeaders.get(protocol ?? 0);
  if (ports.ranges.length > 0 && header) {
    const field: Field = `${header} ${place === "source" ? "sport" : "dport"}`;
    const values = ports.ranges.map(rangeText);
    alternatives.push([values.length === 1 ? is(field, values[0] ?? "") : among(field, values)]);
  }
  if (family === undefined) return alternatives;
  const hasFields = alternatives.length > 0;
  for (const port of ports.named) {
    const check = hasFields && protocol !== undefined ? [is("meta l4proto", protocol)] : [];
    alternatives.push([...check, inSet(portFields(place, family), portSetName(port, family))]);
  }
  return alternatives;
}

function negatedPorts(ports: PortMatch | undefined, place: Place, { protocol, family }: PortContext): Match[] {
  if (!ports) return [];
  const matches: Match[] = [];
  const header = portHeaders.get(protocol ?? 0);
  if (ports.ranges.length > 0 && header) {
    const field: Field = `${header} ${place === "source" ? "sport" : "dport"}`;
    const values = ports.ranges.map(rangeText);
    matches.push(values.length === 1 ? isNot(field, values[0] ?? "") : notAmong(field, values));
  }
  if (family === undefined) return matches;
  return [...matches, ...ports.named.map((port) => notInSet(portFields(place, family), portSetName(port, family)))];
}

function portFields(place: Place, family: Family): Field[] {
  const end = place === "source" ? "s" : "d";
  return [`${family === 4 ? "ip" : "ip6"} ${end}addr` as Field, "meta l4proto", `th ${end}port` as Field];
}

function rangeText({ min, max }: PortRange): string | number {
  return min === max ? min : `${min}-${max}`;
}

function icmpFields(family: Family): { readonly type: Field; readonly code: Field } {
  return family === 4 ? { type: "icmp type", code: "icmp code" } : { type: "icmpv6 type", code: "icmpv6 code" };
}

function icmpAlternatives({ icmp }: CompiledRule, family: Family): Match[][] {
  if (icmp?.type === undefined) return [[]];
  const { type, code } = icmpFields(family);
  return [[is(type, icmp.type), ...icmp.code === undefined ? [] : [is(code, icmp.code)]]];
}

/** Another type, or the same type with another code. */
function notIcmpAlternatives({ notIcmp, protocol }: CompiledRule, family: Family): Match[][] {
  if (notIcmp?.type === undefined) return [[]];
  const own = family === 4 ? ICMP : ICMPV6;
  if (protocol !== undefined && protocol !== own) return [];
  const { type, code } = icmpFields(family);
  const other = [isNot(type, notIcmp.type)];
  return notIcmp.code === undefined ? [other] : [other, [is(type, notIcmp.type), isNot(code, notIcmp.code)]];
}
