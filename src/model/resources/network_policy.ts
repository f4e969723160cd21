/**
 * The policies: GlobalNetworkPolicy, NetworkPolicy and their staged forms (stored and listed, never applied).
 *
 * Their stored names have two styles (`policy_name.ts`); what is read here always bears the user's name.
 */

import type { Resource } from "../resource.ts";
import type { Rule } from "./rule.ts";

/** A direction that a policy applies to. */
export type PolicyType = "Ingress" | "Egress";

/** What a NetworkPolicy says; `tier` and `types` are filled in when it is read. */
export interface NetworkPolicySpec {
  readonly tier: string;
  /** Lower first; absent: after all others. */
  readonly order?: number;
  readonly selector?: string;
  readonly serviceAccountSelector?: string;
  readonly types: readonly PolicyType[];
  readonly ingress?: readonly Rule[];
  readonly egress?: readonly Rule[];
  readonly performanceHints?: readonly "AssumeNeededOnEveryNode"[];
}

/** What a GlobalNetworkPolicy says beyond that. */
export interface GlobalNetworkPolicySpec extends NetworkPolicySpec {
  readonly namespaceSelector?: string;
  readonly doNotTrack?: boolean;
  readonly preDNAT?: boolean;
  readonly applyOnForward?: boolean;
}

/** What a staged policy would do. */
export type StagedAction = "Set" | "Delete" | "Learn" | "Ignore";

/** A policy in a namespace. */
export type NetworkPolicy = Resource<"NetworkPolicy", NetworkPolicySpec>;
/** A policy for all namespaces and hosts. */
export type GlobalNetworkPolicy = Resource<"GlobalNetworkPolicy", GlobalNetworkPolicySpec>;
/** A policy in a namespace that is not applied. */
export type StagedNetworkPolicy = Resource<
  "StagedNetworkPolicy",
  NetworkPolicySpec & { readonly stagedAction?: StagedAction }
>;
/** A global policy that is not applied. */
export type StagedGlobalNetworkPolicy = Resource<
  "StagedGlobalNetworkPolicy",
  GlobalNetworkPolicySpec & { readonly stagedAction?: StagedAction }
>;

/** The spec with Calico's defaults: tier `default`; types by the rules there are (Ingress if there are none). */
export function withPolicyDefaults<Spec extends Partial<NetworkPolicySpec>>(
  spec: Spec,
): Spec & Pick<NetworkPolicySpec, "tier" | "types"> {
  const hasEgress = (spec.egress?.length ?? 0) > 0;
  const hasIngress = (spec.ingress?.length ?? 0) > 0;
  const derived: PolicyType[] = hasEgress ? hasIngress ? ["Ingress", "Egress"] : ["Egress"] : ["Ingress"];
  return { ...spec, tier: spec.tier || "default", types: spec.types?.length ? spec.types : derived };
}
