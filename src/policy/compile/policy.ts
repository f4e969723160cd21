/**
 * A policy or profile with everything read once: where it stands in the order, whom it applies to, its rules by direction.
 *
 * Kinds: `normal` policies guard workloads and hosts; `untracked` (doNotTrack) and `preDNAT` ones hosts only, before
 * connection tracking and before addresses are translated. Staged kinds are never compiled: nothing of them is applied.
 */

import type {
  GlobalNetworkPolicy,
  GlobalNetworkPolicySpec,
  NetworkPolicy,
  Profile,
} from "../../model/resources/mod.ts";
import { parseSelector, type Selector, type SelectorNode } from "../../model/selector/mod.ts";
import { NAMESPACE_LABEL, namespaceNode, selectorOf, serviceAccountNode } from "../labels/implicit_labels.ts";
import { type CompiledRule, compileRules } from "./rule.ts";

/** Ingress is towards the endpoint. */
export type Direction = "ingress" | "egress";

/** When a policy judges packets. */
export type PolicyStage = "normal" | "untracked" | "preDNAT";

/** A policy as it is applied. */
export interface CompiledPolicy {
  /** "gnp/NAME" or "np/NAMESPACE/NAME": unique, and what its chains are named after. */
  readonly id: string;
  readonly kind: "GlobalNetworkPolicy" | "NetworkPolicy";
  readonly name: string;
  readonly namespace?: string;
  readonly tier: string;
  /** Infinity when the policy says none. */
  readonly order: number;
  readonly stage: PolicyStage;
  readonly appliesOnForward: boolean;
  /** Whom it applies to, namespaces and service accounts included. */
  readonly selector: Selector;
  readonly hasIngress: boolean;
  readonly hasEgress: boolean;
  readonly ingress: readonly CompiledRule[];
  readonly egress: readonly CompiledRule[];
}

/** A profile as it is applied. */
export interface CompiledProfile {
  readonly name: string;
  readonly ingress: readonly CompiledRule[];
  readonly egress: readonly CompiledRule[];
}

/** The id of a policy by its kind and the snapshot's key ("name" or "namespace/name"). */
export function policyId(kind: CompiledPolicy["kind"], key: string): string {
  return `${kind === "GlobalNetworkPolicy" ? "gnp" : "np"}/${key}`;
}

/** Compiles a policy; throws SelectorError when whom it applies to cannot be read. */
export function compilePolicy(policy: GlobalNetworkPolicy | NetworkPolicy): CompiledPolicy {
  const { kind, spec, metadata: { name, namespace } } = policy;
  const global: GlobalNetworkPolicySpec = spec;
  const own = kind === "NetworkPolicy" ? namespace ?? "default" : undefined;
  const nodes: SelectorNode[] = [];
  if (own !== undefined) nodes.push({ op: "==", label: NAMESPACE_LABEL, value: own });
  else if (global.namespaceSelector) nodes.push(namespaceNode(global.namespaceSelector));
  if (spec.serviceAccountSelector) nodes.push(serviceAccountNode(spec.serviceAccountSelector));
  nodes.push(parseSelector(spec.selector ?? "").root);
  const isGlobal = kind === "GlobalNetworkPolicy";
  return {
    id: policyId(kind, own === undefined ? name : `${own}/${name}`),
    kind,
    name,
    ...own === undefined ? {} : { namespace: own },
    tier: spec.tier,
    order: spec.order ?? Infinity,
    stage: isGlobal && global.doNotTrack ? "untracked" : isGlobal && global.preDNAT ? "preDNAT" : "normal",
    appliesOnForward: isGlobal && Boolean(global.applyOnForward),
    selector: selectorOf(nodes),
    hasIngress: spec.types.includes("Ingress"),
    hasEgress: spec.types.includes("Egress"),
    ingress: compileRules(spec.ingress, own),
    egress: compileRules(spec.egress, own),
  };
}

/** Compiles a profile. */
export function compileProfile({ metadata: { name }, spec }: Profile): CompiledProfile {
  return { name, ingress: compileRules(spec.ingress, undefined), egress: compileRules(spec.egress, undefined) };
}

/** Whether the policy has a say in the direction. */
export function hasDirection(policy: CompiledPolicy, direction: Direction): boolean {
  return direction === "ingress" ? policy.hasIngress : policy.hasEgress;
}
