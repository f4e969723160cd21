/**
 * What the kernel counted for each rule: policies and profiles in the order in which they judge, each rule with the packets
 * and bytes of all nft rules that were made of it.
 *
 * A chain is found by its policy, a rule in it by its comment ("rule 3"). Only packets that are judged are counted, which of
 * a connection is the first. A policy that is changed is counted anew. Pure: resources and what was read in, rows out.
 */

import { type CompiledPolicy, type Direction, policyId } from "../compile/policy.ts";
import type { CompiledRule } from "../compile/rule.ts";
import { comparePolicies, compareTiers } from "../order.ts";
import { policyChainName, profileChainName } from "../render/names.ts";
import { fullName } from "./match.ts";
import { policyOf, profileOf, type Resources, tiersOf } from "./model.ts";

/** A rule as the kernel has it. */
export interface CountedRule {
  readonly comment: string | undefined;
  readonly packets?: bigint;
  readonly bytes?: bigint;
}

/** The rules of a chain by its name; undefined where there is no such chain. */
export type CountedChains = (chain: string) => readonly CountedRule[] | undefined;

/** Counted packets and bytes. */
export interface Count {
  readonly packets: number;
  readonly bytes: number;
}

/** A rule with what was counted for it; null where it does not stand in the kernel. */
export interface RuleRow {
  readonly direction: Direction;
  /** Its place in its list. */
  readonly rule: number;
  readonly action: CompiledRule["action"];
  readonly packets: number | null;
  readonly bytes: number | null;
}

/** A policy or profile. */
export interface PolicyRow {
  /** "profile" for profiles. */
  readonly tier: string;
  /** As people know it: "NAMESPACE/NAME", or "NAME". */
  readonly policy: string;
  readonly kind: "GlobalNetworkPolicy" | "NetworkPolicy" | "Profile";
  /** Null for the last. */
  readonly order: number | null;
  readonly types: readonly ("Ingress" | "Egress")[];
  readonly selector: string | null;
  /** How many endpoints of this host it applies to. */
  readonly endpoints: number;
  readonly rules: readonly RuleRow[];
}

/** What the list needs of the host. */
export interface Applied {
  /** How many endpoints of this host a policy ("gnp/NAME", "np/NAMESPACE/NAME") applies to. */
  readonly endpointsOf: (policyId: string) => number;
  /** How many use the profile. */
  readonly usersOf: (profile: string) => number;
  /** Without it nothing is counted. */
  readonly chains?: CountedChains | undefined;
}

/** All policies in the order in which they judge, then the profiles that exist. */
export function listPolicies(resources: Resources, { endpointsOf, usersOf, chains }: Applied): PolicyRow[] {
  const tiers = tiersOf(resources);
  const found: { readonly id: string; readonly policy: CompiledPolicy; readonly selector: string }[] = [];
  for (const kind of ["GlobalNetworkPolicy", "NetworkPolicy"] as const) {
    for (const [key, resource] of resources.all(kind)) {
      const policy = policyOf(resource);
      if (policy) found.push({ id: policyId(kind, key), policy, selector: resource.spec.selector || "all()" });
    }
  }
  found.sort(({ policy: a }, { policy: b }) => compareTiers(tiers, a.tier, b.tier) || comparePolicies(a, b));
  const policies = found.map(({ id, policy, selector }): PolicyRow => ({
    tier: policy.tier,
    policy: fullName(policy),
    kind: policy.kind,
    order: Number.isFinite(policy.order) ? policy.order : null,
    types: [...policy.hasIngress ? ["Ingress" as const] : [], ...policy.hasEgress ? ["Egress" as const] : []],
    selector,
    endpoints: endpointsOf(id),
    rules: [
      ...policy.hasIngress ? rowsOf(policy.ingress, "ingress", chains?.(policyChainName(id, "ingress"))) : [],
      ...policy.hasEgress ? rowsOf(policy.egress, "egress", chains?.(policyChainName(id, "egress"))) : [],
    ],
  }));
  const names = new Set(["projectcalico-default-allow", ...resources.all("Profile").keys()]);
  const profiles = [...names].sort().flatMap((name): PolicyRow[] => {
    const profile = profileOf(resources, name);
    if (!profile) return [];
    return [{
      tier: "profile",
      policy: name,
      kind: "Profile",
      order: null,
      types: ["Ingress", "Egress"],
      selector: null,
      endpoints: usersOf(name),
      rules: (["ingress", "egress"] as const).flatMap((direction) =>
        rowsOf(profile[direction], direction, chains?.(profileChainName(name, direction)))
      ),
    }];
  });
  return [...policies, ...profiles];
}

function rowsOf(
  rules: readonly CompiledRule[],
  direction: Direction,
  counted: readonly CountedRule[] | undefined,
): RuleRow[] {
  return rules.map(({ index, action }) => {
    const count = counted && countOf(counted, index);
    return { direction, rule: index, action, packets: count?.packets ?? null, bytes: count?.bytes ?? null };
  });
}

/** What was counted for the rule of that place in its list; zero when it never matches, because then nothing was made of it. */
export function countOf(counted: readonly CountedRule[], index: number): Count {
  return sumOf(counted.filter(({ comment = "" }) => /^rule (\d+)(?:$|:)/.exec(comment)?.[1] === String(index)));
}

/** What was counted for the rules with exactly this comment; undefined when there is none. */
export function countOfComment(counted: readonly CountedRule[], wanted: string): Count | undefined {
  const found = counted.filter(({ comment }) => comment === wanted);
  return found.length > 0 ? sumOf(found) : undefined;
}

function sumOf(rules: readonly CountedRule[]): Count {
  const sum = (member: "packets" | "bytes") => Number(rules.reduce((total, rule) => total + (rule[member] ?? 0n), 0n));
  return { packets: sum("packets"), bytes: sum("bytes") };
}
