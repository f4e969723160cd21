/**
 * The two styles in which Calico stores the names of policies, and the user's name behind them.
 *
 * Up to Calico 3.31 a policy of the default tier is stored as `default.<name>`; from 3.32 on as it was named. Both keep
 * the user's name in an annotation. Reading understands both; a store holds one style, which the names of its tiers tell.
 */

import type { Metadata } from "./resource.ts";

/** How a store names policies: "prefixed" up to Calico 3.31, "plain" from 3.32 on. */
export type PolicyNameStyle = "prefixed" | "plain";

/** The annotation with the user's name: `{"name":"…"}`. */
export const POLICY_METADATA_ANNOTATION = "projectcalico.org/metadata";
/** The label that holds a policy's tier. */
export const TIER_LABEL = "projectcalico.org/tier";

/** Whether the kind is one of the four whose names are stored so. */
export function hasPolicyName(kind: string): boolean {
  return kind === "GlobalNetworkPolicy" || kind === "NetworkPolicy" || kind === "StagedGlobalNetworkPolicy" ||
    kind === "StagedNetworkPolicy";
}

/** The style of a store, by the names of its tiers; undefined when they do not tell. */
export function policyNameStyle(tiers: Iterable<string>): PolicyNameStyle | undefined {
  const names = new Set(tiers);
  if (names.has("kube-admin")) return "plain";
  return names.has("adminnetworkpolicy") ? "prefixed" : undefined;
}

/** The name under which a policy is stored. */
export function storedPolicyName(name: string, tier: string, style: PolicyNameStyle): string {
  return style === "prefixed" && tier === "default" && !name.startsWith("default.") ? `default.${name}` : name;
}

/** Turns stored metadata into the user's: their name, without the annotation, with the tier's label. */
export function readPolicyMetadata(stored: Metadata, tier: string): Metadata {
  const isDefault = tier === "" || tier === "default";
  const kept = nameIn(stored.annotations?.[POLICY_METADATA_ANNOTATION]);
  const name = kept ?? (isDefault ? stored.name.replace(/^default\./, "") : stored.name);
  return { ...givenPolicyMetadata(stored, tier), name };
}

/** Completes metadata that a user gave: the name stays, the tier's label comes, the annotation of stores goes. */
export function givenPolicyMetadata(given: Metadata, tier: string): Metadata {
  const { [POLICY_METADATA_ANNOTATION]: _, ...annotations } = given.annotations ?? {};
  const { annotations: _all, ...rest } = given;
  return {
    ...rest,
    labels: { [TIER_LABEL]: tier || "default", ...given.labels },
    ...Object.keys(annotations).length > 0 && { annotations },
  };
}

/** Turns a user's metadata into what is stored. */
export function writePolicyMetadata(metadata: Metadata, tier: string, style: PolicyNameStyle): Metadata {
  const { [TIER_LABEL]: _, ...others } = metadata.labels ?? {};
  const labels = style === "plain" || tier !== "default" ? { ...others, [TIER_LABEL]: tier } : others;
  return {
    ...metadata,
    name: storedPolicyName(metadata.name, tier, style),
    labels,
    annotations: { ...metadata.annotations, [POLICY_METADATA_ANNOTATION]: JSON.stringify({ name: metadata.name }) },
  };
}

function nameIn(annotation: string | undefined): string | undefined {
  if (!annotation) return undefined;
  try {
    const name = (JSON.parse(annotation) as { name?: unknown } | null)?.name;
    return typeof name === "string" && name !== "" ? name : undefined;
  } catch {
    return undefined;
  }
}
