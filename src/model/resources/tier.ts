/** Tier: an ordered group of policies. What no policy of the tier decides gets the tier's default action. */

import type { Resource } from "../resource.ts";

/** What a Tier says; both members are filled in when it is read. */
export interface TierSpec {
  readonly order: number;
  readonly defaultAction: "Deny" | "Pass";
}

/** A tier of policies. */
export type Tier = Resource<"Tier", TierSpec>;

/** Order of a tier that says none. */
export const DEFAULT_TIER_ORDER = 1_000_000;

/** The tiers that exist from the start, with both generations of names. */
export const BUILT_IN_TIERS: Readonly<Record<string, TierSpec>> = {
  "default": { order: DEFAULT_TIER_ORDER, defaultAction: "Deny" },
  "kube-admin": { order: 1_000, defaultAction: "Pass" },
  "kube-baseline": { order: 10_000_000, defaultAction: "Pass" },
  "adminnetworkpolicy": { order: 1_000, defaultAction: "Pass" },
  "baselineadminnetworkpolicy": { order: 10_000_000, defaultAction: "Pass" },
};

/** The spec with order 1000000 and Deny for what is absent. */
export function withTierDefaults(spec: Partial<TierSpec>): TierSpec {
  return { ...spec, order: spec.order ?? DEFAULT_TIER_ORDER, defaultAction: spec.defaultAction || "Deny" };
}
