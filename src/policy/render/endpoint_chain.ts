/**
 * The chains of endpoints (rules/endpoints.go): what every packet of an interface goes through, in this order.
 *
 *   rate limit; established accept, invalid drop; limit of connections; failsafe ports (hosts); clear marks; tunnels out of
 *   workloads drop; tier by tier the policies; profiles; drop
 *
 * After each policy an accepted packet returns; a passed one skips the rest of its tier. A tier ends in a drop unless its
 * default action is Pass. Only `workload` and `host` chains have profiles and the last drop.
 */

import type { Chain, Rule, Statement } from "../../netlink/nft/ruleset.ts";
import {
  accept,
  clearBits,
  counter,
  drop,
  has,
  is,
  jump,
  leave,
  masked,
  notMasked,
  rule,
  setBits,
} from "../../netlink/nft/rule.ts";
import type { CompiledPolicy, Direction } from "../compile/policy.ts";
import { IPIP } from "../compile/rule.ts";
import type { Settings } from "../compile/settings.ts";
import type { TierPolicies, Use } from "../order.ts";
import { groupChainName, marks, policyChainName, profileChainName } from "./names.ts";

/** What an endpoint's chain is made of. */
export interface EndpointChainInput {
  readonly name: string;
  readonly use: Use;
  /** Which rules of the policies are asked. */
  readonly direction: Direction;
  readonly tiers: readonly TierPolicies[];
  readonly profiles: readonly string[];
  readonly settings: Settings;
  /** The chain of failsafe ports that a host's own traffic passes first. */
  readonly failsafe?: string;
  /** Packets of a workload that go out of it; tunnels are not for workloads to open. */
  readonly isFromWorkload?: boolean;
  readonly packetRate?: { readonly rate: number; readonly burst?: number } | undefined;
  readonly maxConnections?: number | undefined;
}

/** An endpoint's chain, and the chains of groups that it jumps to. */
export interface EndpointChain {
  readonly chain: Chain;
  readonly groups: readonly Chain[];
}

const isAccepted = notMasked("meta mark", marks.accept, 0), isNotPassed = masked("meta mark", marks.pass, 0);

/** Renders the chain. */
export function renderEndpointChain(input: EndpointChainInput): EndpointChain {
  const { use, settings, packetRate, maxConnections, failsafe, tiers } = input;
  const rules: Rule[] = [];
  if (packetRate) {
    const limit = {
      kind: "limit",
      rate: packetRate.rate,
      per: "second",
      burst: packetRate.burst ?? 5,
      isOver: true,
    } as const;
    rules.push(rule([limit], [counter, drop], "packet rate"));
  }
  if (use !== "untracked") {
    const allow: Statement[] = settings.allowAction === "accept" ? [accept] : [setBits(marks.accept), leave];
    rules.push(rule([has("ct state", "established", "related")], [counter, ...allow]));
    if (!settings.mayPassInvalid) rules.push(rule([has("ct state", "invalid")], [counter, drop]));
  }
  if (maxConnections !== undefined) {
    rules.push(rule(
      [is("meta l4proto", "tcp"), { kind: "ct count", count: maxConnections, isOver: true }],
      [counter, { kind: "reject", reply: "tcp reset" }],
      "connections at once",
    ));
  }
  if (failsafe !== undefined) rules.push(rule([], [counter, jump(failsafe)]));
  rules.push(rule([], [clearBits(marks.accept | marks.pass)]));
  if (input.isFromWorkload) {
    if (!settings.mayVxlanFromWorkloads) {
      rules.push(rule([is("udp dport", settings.vxlanPort)], [counter, drop], "VXLAN from a workload"));
    }
    if (!settings.mayIpipFromWorkloads) {
      rules.push(rule([is("meta l4proto", IPIP)], [counter, drop], "IP-in-IP from a workload"));
    }
  }
  const groups: Chain[] = [];
  for (const tier of tiers) rules.push(...renderTier(tier, input, groups));
  if (use === "forward" && tiers.length === 0) {
    rules.push(rule([], [counter, setBits(marks.accept), leave], "no policy for forwarded packets"));
  }
  if (use === "workload" || use === "host") {
    for (const profile of input.profiles) {
      rules.push(rule([], [counter, jump(profileChainName(profile, input.direction))]));
      rules.push(rule([isAccepted], [counter, leave]));
    }
    rules.push(rule([], [counter, drop], "no policy or profile allowed it"));
  }
  return { chain: { name: input.name, rules }, groups };
}

function renderTier(
  { name, policies, defaultAction }: TierPolicies,
  input: EndpointChainInput,
  groups: Chain[],
): Rule[] {
  const { use, direction } = input;
  const rules = [rule([], [clearBits(marks.pass)], `start of tier ${name}`.slice(0, 100))];
  for (const alike of groupPolicies(policies)) {
    const [first] = alike;
    if (!first) continue;
    let chain = policyChainName(first.id, direction);
    if (alike.length > 1) {
      const group = renderGroup(alike, direction);
      groups.push(group);
      chain = group.name;
    }
    rules.push(rule([isNotPassed], [counter, jump(chain)]));
    if (use === "untracked") rules.push(rule([isAccepted], [counter, { kind: "notrack" }]));
    rules.push(rule([isAccepted], [counter, leave]));
  }
  if (use !== "untracked" && use !== "preDNAT" && defaultAction !== "Pass") {
    rules.push(rule([isNotPassed], [counter, drop], `end of tier ${name}`.slice(0, 100)));
  }
  return rules;
}

/** Consecutive policies that select alike. */
function groupPolicies(policies: readonly CompiledPolicy[]): CompiledPolicy[][] {
  const groups: CompiledPolicy[][] = [];
  for (const policy of policies) {
    const last = groups.at(-1);
    if (last?.[0]?.selector.canonical === policy.selector.canonical) last.push(policy);
    else groups.push([policy]);
  }
  return groups;
}

/** How many policies of a group are asked between two looks whether one has decided. */
const stride = 5;

function renderGroup(policies: readonly CompiledPolicy[], direction: Direction): Chain {
  const undecided = masked("meta mark", marks.accept | marks.pass, 0);
  const decided = notMasked("meta mark", marks.accept | marks.pass, 0);
  const rules = policies.flatMap(({ id }, i) => {
    const isFresh = i % stride === 0;
    return [
      ...isFresh && i > 0 ? [rule([decided], [counter, leave])] : [],
      rule(isFresh ? [] : [undecided], [counter, jump(policyChainName(id, direction))]),
    ];
  });
  return { name: groupChainName(policies.map(({ id }) => id), direction), rules };
}
