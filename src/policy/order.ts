/**
 * The order in which policies judge: tiers by order (absent: last), then name; a tier that does not exist after all others;
 * inside a tier policies by order (absent: last), then by the text "name/namespace/kind" (calc/policy_sorter.go).
 *
 * In: the policies that select an endpoint, in any order. Out: for each use (a workload, a host's own traffic, forwarded
 * traffic, before tracking, before DNAT) the tiers that have a policy for the direction.
 */

import { type CompiledPolicy, type Direction, hasDirection } from "./compile/policy.ts";

/** What the order needs of a tier. */
export interface TierOrder {
  readonly order: number;
  readonly defaultAction: "Deny" | "Pass";
}

/** A tier's policies for one endpoint and direction, in order; never empty. */
export interface TierPolicies<P extends CompiledPolicy = CompiledPolicy> {
  readonly name: string;
  readonly defaultAction: "Deny" | "Pass";
  readonly policies: readonly P[];
}

/** What traffic of an endpoint is judged. */
export type Use = "workload" | "host" | "forward" | "untracked" | "preDNAT";

/** Whether the policy judges that traffic of an endpoint that it selects. */
export function isForUse(policy: CompiledPolicy, use: Use): boolean {
  switch (use) {
    case "workload":
    case "host":
      return policy.stage === "normal";
    case "forward":
      return policy.stage === "normal" && policy.appliesOnForward;
    case "untracked":
    case "preDNAT":
      return policy.stage === use;
  }
}

/** Compares two policies of one tier. */
export function comparePolicies(a: CompiledPolicy, b: CompiledPolicy): number {
  return compareNumbers(a.order, b.order) || compareTexts(tieBreak(a), tieBreak(b));
}

function tieBreak({ name, namespace, kind }: CompiledPolicy): string {
  return `${name}/${namespace ?? ""}/${kind}`;
}

/** Compares two tiers by name, given what is known of them. */
export function compareTiers(tiers: ReadonlyMap<string, TierOrder>, a: string, b: string): number {
  const left = tiers.get(a), right = tiers.get(b);
  if (!left !== !right) return left ? -1 : 1;
  return compareNumbers(left?.order ?? Infinity, right?.order ?? Infinity) || compareTexts(a, b);
}

function compareNumbers(a: number, b: number): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

function compareTexts(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

/** Sorts the policies for one use and direction into their tiers. */
export function orderPolicies<P extends CompiledPolicy>(
  policies: Iterable<P>,
  tiers: ReadonlyMap<string, TierOrder>,
  { use, direction }: { readonly use: Use; readonly direction: Direction },
): TierPolicies<P>[] {
  const byTier = new Map<string, P[]>();
  for (const policy of policies) {
    if (!isForUse(policy, use) || !hasDirection(policy, direction)) continue;
    const found = byTier.get(policy.tier);
    if (found) found.push(policy);
    else byTier.set(policy.tier, [policy]);
  }
  return [...byTier.keys()].sort((a, b) => compareTiers(tiers, a, b)).map((name) => ({
    name,
    defaultAction: tiers.get(name)?.defaultAction ?? "Deny",
    policies: (byTier.get(name) ?? []).sort(comparePolicies),
  }));
}
