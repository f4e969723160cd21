/**
 * Whether a compiled rule matches a packet, and what the tiers and profiles of an endpoint make of it: the meaning of the
 * chains that `render/` makes, computed instead of programmed. `explain` asks it for people, and what ends connections that
 * a new policy forbids asks it for each of them.
 *
 * Who is in a selector's set is asked of a `Membership`, because the engine has sets and `explain` has resources.
 */

import type { Cidr } from "../../lib/cidr.ts";
import type { Family, Ip } from "../../lib/ip.ts";
import type { RuleAction } from "../../model/resources/mod.ts";
import type { Selector } from "../../model/selector/mod.ts";
import type { CompiledPolicy, CompiledProfile, Direction } from "../compile/policy.ts";
import {
  type CompiledRule,
  ICMP,
  ICMPV6,
  type NamedPort,
  type PortMatch,
  SCTP,
  type Side,
  TCP,
  UDP,
} from "../compile/rule.ts";
import type { TierPolicies, Use } from "../order.ts";

/** The first packet of a connection. */
export interface Packet {
  readonly family: Family;
  /** IP protocol number. */
  readonly protocol: number;
  readonly source: Ip;
  readonly destination: Ip;
  readonly sourcePort?: number | undefined;
  readonly destinationPort?: number | undefined;
  readonly icmpType?: number | undefined;
  readonly icmpCode?: number | undefined;
}

/** Who is in the sets that rules name. */
export interface Membership {
  isIn(selector: Selector, ip: Ip): boolean;
  /** Whether the address has the named port at that number. */
  hasPort(port: NamedPort, ip: Ip, number: number): boolean;
}

/** Whether the rule matches the packet. */
export function matches(rule: CompiledRule, packet: Packet, members: Membership): boolean {
  const { protocol, family } = packet;
  if (rule.never !== undefined || !rule.families.includes(family)) return false;
  if (rule.protocol !== undefined && rule.protocol !== protocol) return false;
  if (rule.notProtocol === protocol) return false;
  if (rule.icmp && !(isIcmp(packet) && isSameIcmp(rule.icmp, packet))) return false;
  if (rule.notIcmp && (!isIcmp(packet) || isSameIcmp(rule.notIcmp, packet))) return false;
  return matchesSide(rule.source, packet.source, packet.sourcePort, packet, members) &&
    matchesSide(rule.destination, packet.destination, packet.destinationPort, packet, members);
}

function isIcmp({ family, protocol }: Packet): boolean {
  return protocol === (family === 4 ? ICMP : ICMPV6);
}

function isSameIcmp(
  wanted: { readonly type?: number; readonly code?: number },
  { icmpType, icmpCode }: Packet,
): boolean {
  return wanted.type === icmpType && (wanted.code === undefined || wanted.code === icmpCode);
}

function matchesSide(side: Side, ip: Ip, port: number | undefined, { protocol }: Packet, members: Membership): boolean {
  const isInside = (nets: readonly Cidr[]) => nets.some((cidr) => cidr.contains(ip));
  if (side.nets && !isInside(side.nets)) return false;
  if (side.notNets && isInside(side.notNets)) return false;
  if (side.selector && !members.isIn(side.selector, ip)) return false;
  if (side.notSelector && members.isIn(side.notSelector, ip)) return false;
  if (side.ports && !isPort(side.ports, ip, port, protocol, members)) return false;
  return !(side.notPorts && isPort(side.notPorts, ip, port, protocol, members));
}

function isPort(wanted: PortMatch, ip: Ip, port: number | undefined, protocol: number, members: Membership): boolean {
  if (port === undefined || protocol !== TCP && protocol !== UDP && protocol !== SCTP) return false;
  return wanted.ranges.some(({ min, max }) => min <= port && port <= max) ||
    wanted.named.some((named) => named.protocol === protocol && members.hasPort(named, ip, port));
}

/** A rule that matched, or what the end of a tier or of everything decided. */
export interface Step {
  /** "profile" for a profile's rules; null for what no tier decides. */
  readonly tier: string | null;
  /** The policy's or profile's name, that of a namespaced policy after its namespace; null for a default. */
  readonly policy: string | null;
  /** The rule's place in its list. */
  readonly rule: number | null;
  readonly action: RuleAction;
}

/** What an endpoint makes of a packet; "next" where another stage decides. */
export interface Judgement {
  readonly verdict: "allow" | "deny" | "next";
  readonly steps: readonly Step[];
}

/** What judges: the endpoint's ordered policies and profiles for one use and direction. */
export interface Judges {
  readonly use: Use;
  readonly direction: Direction;
  readonly tiers: readonly TierPolicies[];
  /** A profile that does not exist is undefined, and drops. */
  readonly profiles: readonly (CompiledProfile | undefined)[];
}

/** Judges a packet as the endpoint's chain does. */
export function judge({ use, direction, tiers, profiles }: Judges, packet: Packet, members: Membership): Judgement {
  const steps: Step[] = [];
  const ask = (rules: readonly CompiledRule[], tier: string, policy: string): RuleAction | undefined => {
    for (const rule of rules) {
      if (!matches(rule, packet, members)) continue;
      steps.push({ tier, policy, rule: rule.index, action: rule.action });
      if (rule.action !== "Log") return rule.action;
    }
    return undefined;
  };
  for (const tier of tiers) {
    const action = firstAction(tier.policies, (policy) => ask(policy[direction], tier.name, fullName(policy)));
    if (action === "Allow") return { verdict: "allow", steps };
    if (action === "Deny") return { verdict: "deny", steps };
    if (action === "Pass" || use === "untracked" || use === "preDNAT") continue;
    steps.push({ tier: tier.name, policy: null, rule: null, action: tier.defaultAction });
    if (tier.defaultAction === "Deny") return { verdict: "deny", steps };
  }
  if (use === "forward" && tiers.length === 0) return { verdict: "allow", steps };
  if (use !== "workload" && use !== "host") return { verdict: "next", steps };
  for (const profile of profiles) {
    const action = profile ? ask(profile[direction], "profile", profile.name) : "Deny";
    if (action === "Allow") return { verdict: "allow", steps };
    if (action === "Deny") return { verdict: "deny", steps };
  }
  steps.push({ tier: null, policy: null, rule: null, action: "Deny" });
  return { verdict: "deny", steps };
}

function firstAction<P>(policies: readonly P[], ask: (policy: P) => RuleAction | undefined): RuleAction | undefined {
  for (const policy of policies) {
    const action = ask(policy);
    if (action !== undefined) return action;
  }
  return undefined;
}

/** A policy's name as people know it: "NAMESPACE/NAME", or "NAME" of a global one. */
export function fullName({ name, namespace }: CompiledPolicy): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}
