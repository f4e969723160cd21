/**
 * A rule of a policy or profile with everything read once: numbers instead of names, prefixes by family, the selectors that
 * its words amount to. Rendering, `explain` and `lint` all work on this one form.
 *
 * What Calico decides when it turns rules into the kernel's (rules/policy.go, updateprocessors/rules.go) is decided here: a
 * rule lives in the families in which every list of prefixes has a member; a selector of a namespaced policy picks within
 * the namespace unless a namespaceSelector says otherwise; a named port without a protocol is TCP's; a negated prefix of
 * length 0 and `services` (which only Kubernetes has) make a rule that never matches; `notICMP` is about ICMP packets only.
 */

import { Cidr } from "../../lib/cidr.ts";
import { type Family, Ip } from "../../lib/ip.ts";
import { parsePort, parseProtocol } from "../../model/num_or_string.ts";
import type { EntityRule, IcmpMatch, Rule, RuleAction } from "../../model/resources/mod.ts";
import { parseSelector, type Selector, type SelectorNode } from "../../model/selector/mod.ts";
import {
  NAMESPACE_LABEL,
  namespaceNode,
  selectorOf,
  SERVICE_ACCOUNT_LABEL,
  serviceAccountNode,
} from "../labels/implicit_labels.ts";

/** Both ends included. */
export interface PortRange {
  readonly min: number;
  readonly max: number;
}

/** A port by name: that of the endpoints that the selector picks. */
export interface NamedPort {
  readonly name: string;
  readonly protocol: number;
  readonly selector: Selector;
}

/** Ports of a rule: any of the ranges, or any of the names. */
export interface PortMatch {
  readonly ranges: readonly PortRange[];
  readonly named: readonly NamedPort[];
}

/** One side of the traffic; absent members match anything. */
export interface Side {
  readonly nets?: readonly Cidr[];
  readonly notNets?: readonly Cidr[];
  readonly selector?: Selector;
  readonly notSelector?: Selector;
  readonly ports?: PortMatch;
  readonly notPorts?: PortMatch;
}

/** A rule as it is applied. */
export interface CompiledRule {
  /** Its place in the policy's list. */
  readonly index: number;
  readonly action: RuleAction;
  /** The families in which it can match. */
  readonly families: readonly Family[];
  readonly protocol?: number;
  readonly notProtocol?: number;
  readonly icmp?: IcmpMatch;
  readonly notIcmp?: IcmpMatch;
  readonly source: Side;
  readonly destination: Side;
  /** Why it can never match; absent when it can. */
  readonly never?: string;
  /** The annotations of the rule as text. */
  readonly note?: string;
}

/** IP protocol numbers that rules treat specially. */
export const ICMP = 1, IPIP = 4, TCP = 6, UDP = 17, ICMPV6 = 58, SCTP = 132;

/** Compiles the rules of one direction; `namespace` is that of a namespaced policy. */
export function compileRules(rules: readonly Rule[] | undefined, namespace: string | undefined): CompiledRule[] {
  return (rules ?? []).map((rule, index) => compileRule(rule, index, namespace));
}

/** Compiles one rule; what cannot be read makes it one that never matches. */
export function compileRule(rule: Rule, index: number, namespace: string | undefined): CompiledRule {
  const fault: { why?: string } = {};
  const protocol = rule.protocol === undefined ? undefined : parseProtocol(rule.protocol);
  const notProtocol = rule.notProtocol === undefined ? undefined : parseProtocol(rule.notProtocol);
  if (rule.protocol !== undefined && protocol === undefined) fault.why = `${rule.protocol} is not a protocol`;
  if (rule.notProtocol !== undefined && notProtocol === undefined) fault.why = `${rule.notProtocol} is not a protocol`;
  const source = compileSide(rule.source, { namespace, protocol, fault });
  const destination = compileSide(rule.destination, { namespace, protocol, fault });
  const icmp = isEmptyIcmp(rule.icmp) ? undefined : rule.icmp;
  const notIcmp = isEmptyIcmp(rule.notICMP) ? undefined : rule.notICMP;
  const families = familiesOf(rule, [source, destination], { protocol, hasIcmp: Boolean(icmp ?? notIcmp) });
  const isIcmp = protocol === ICMP || protocol === ICMPV6;
  if (icmp && !isIcmp) fault.why ??= "icmp needs the protocol ICMP or ICMPv6";
  if (notIcmp && protocol !== undefined && !isIcmp) {
    fault.why ??= `notICMP never matches packets of protocol ${protocol}`;
  }
  if (protocol !== undefined && protocol === notProtocol) fault.why ??= "protocol and notProtocol are the same";
  if (families.length === 0) fault.why ??= "its prefixes and protocol leave no IP version";
  const note = noteOf(rule);
  return {
    index,
    action: rule.action,
    families,
    source,
    destination,
    ...protocol === undefined ? {} : { protocol },
    ...notProtocol === undefined ? {} : { notProtocol },
    ...icmp ? { icmp } : {},
    ...notIcmp ? { notIcmp } : {},
    ...fault.why === undefined ? {} : { never: fault.why },
    ...note === "" ? {} : { note },
  };
}

interface SideContext {
  readonly namespace: string | undefined;
  readonly protocol: number | undefined;
  readonly fault: { why?: string };
}

function compileSide(entity: EntityRule | undefined, context: SideContext): Side {
  if (!entity) return {};
  const { fault } = context;
  if (entity.services) fault.why ??= "services are objects of Kubernetes, of which there are none";
  const selector = positiveSelector(entity, context);
  const notSelector = entity.notSelector ? tryParse(entity.notSelector, fault) : undefined;
  const notNets = parseNets(entity.notNets, fault);
  if (notNets?.some(({ length }) => length === 0)) fault.why ??= "notNets excludes every address";
  const nets = parseNets(entity.nets, fault);
  const ports = compilePorts(entity.ports, selector, context);
  const notPorts = compilePorts(entity.notPorts, selector, context);
  return {
    ...nets ? { nets } : {},
    ...notNets ? { notNets } : {},
    ...selector ? { selector } : {},
    ...notSelector ? { notSelector } : {},
    ...ports ? { ports } : {},
    ...notPorts ? { notPorts } : {},
  };
}

function positiveSelector(entity: EntityRule, { namespace, fault }: SideContext): Selector | undefined {
  const { selector, namespaceSelector, serviceAccounts } = entity;
  const names = serviceAccounts?.names ?? [];
  const hasAccounts = names.length > 0 || Boolean(serviceAccounts?.selector);
  if (!selector && !namespaceSelector && !hasAccounts) return undefined;
  try {
    const nodes: SelectorNode[] = [];
    if (namespaceSelector) nodes.push(namespaceNode(namespaceSelector));
    else if (namespace) nodes.push({ op: "==", label: NAMESPACE_LABEL, value: namespace });
    if (names.length > 0) nodes.push({ op: "in", label: SERVICE_ACCOUNT_LABEL, values: [...names].sort() });
    if (serviceAccounts?.selector) nodes.push(serviceAccountNode(serviceAccounts.selector));
    if (selector) nodes.push(parseSelector(selector).root);
    return selectorOf(nodes);
  } catch (error) {
    fault.why ??= `its selector cannot be read: ${error instanceof Error ? error.message : String(error)}`;
    return undefined;
  }
}

function tryParse(text: string, fault: { why?: string }): Selector | undefined {
  try {
    return parseSelector(text);
  } catch (error) {
    fault.why ??= `its notSelector cannot be read: ${error instanceof Error ? error.message : String(error)}`;
    return undefined;
  }
}

/** A prefix, or an address as the prefix of its full length; undefined when the text is neither. */
export function parseNet(text: string): Cidr | undefined {
  const ip = text.includes("/") ? undefined : Ip.tryParse(text);
  return ip ? Cidr.host(ip) : Cidr.tryParse(text);
}

function parseNets(texts: readonly string[] | undefined, fault: { why?: string }): Cidr[] | undefined {
  if (!texts?.length) return undefined;
  return texts.flatMap((text) => {
    const cidr = parseNet(text);
    if (!cidr) fault.why ??= `${text} is not a prefix`;
    return cidr ? [cidr] : [];
  });
}

function compilePorts(
  values: EntityRule["ports"],
  selector: Selector | undefined,
  { protocol, fault }: SideContext,
): PortMatch | undefined {
  if (!values?.length) return undefined;
  const ranges: PortRange[] = [], named: NamedPort[] = [];
  for (const value of values) {
    const port = parsePort(value);
    if (!port) fault.why ??= `${value} is not a port`;
    else if (!("name" in port)) ranges.push(port);
    else {
      const portProtocol = protocol === UDP || protocol === SCTP ? protocol : TCP;
      named.push({ name: port.name, protocol: portProtocol, selector: selector ?? parseSelector("all()") });
    }
  }
  if (ranges.length > 0 && protocol !== TCP && protocol !== UDP && protocol !== SCTP) {
    fault.why ??= "ports need the protocol TCP, UDP or SCTP";
  }
  return { ranges: mergeRanges(ranges), named };
}

/** The ranges in order, with those that overlap or touch made one. */
export function mergeRanges(ranges: readonly PortRange[]): PortRange[] {
  const merged: PortRange[] = [];
  for (const range of [...ranges].sort((a, b) => a.min - b.min)) {
    const last = merged.at(-1);
    if (last && range.min <= last.max + 1) {
      merged[merged.length - 1] = { min: last.min, max: Math.max(last.max, range.max) };
    } else merged.push(range);
  }
  return merged;
}

function isEmptyIcmp(icmp: IcmpMatch | undefined): boolean {
  return icmp?.type === undefined;
}

function familiesOf(
  rule: Rule,
  sides: readonly Side[],
  { protocol, hasIcmp }: { readonly protocol: number | undefined; readonly hasIcmp: boolean },
): Family[] {
  let families: Family[] = rule.ipVersion ? [rule.ipVersion] : [4, 6];
  for (const { nets, notNets } of sides) {
    for (const list of [nets, notNets]) {
      if (list) families = families.filter((family) => list.some((cidr) => cidr.family === family));
    }
  }
  if (hasIcmp && protocol === ICMP) families = families.filter((family) => family === 4);
  if (hasIcmp && protocol === ICMPV6) families = families.filter((family) => family === 6);
  return families;
}

function noteOf(rule: Rule): string {
  return Object.entries(rule.metadata?.annotations ?? {}).map(([name, value]) => `${name}=${value}`).join(", ");
}
