/**
 * What may not be changed or deleted, beyond what each resource says by itself: pools keep their range and block size,
 * tiers stay while a policy is in them, what is built in stays.
 */

import { hasPolicyName } from "./policy_name.ts";
import type { AnyResource } from "./resources/mod.ts";
import { DEFAULT_ALLOW_PROFILE } from "./resources/profile.ts";
import { BUILT_IN_TIERS } from "./resources/tier.ts";

/** Why a change is refused. */
export interface Refusal {
  /** Path of the member ("spec.cidr"); empty for the resource as a whole. */
  readonly field: string;
  readonly message: string;
  readonly hint: string;
}

/** Why the resource cannot be replaced by this one; undefined when it can. */
export function refuseUpdate(before: AnyResource, after: AnyResource): Refusal | undefined {
  if (before.kind !== "IPPool" || after.kind !== "IPPool") return undefined;
  for (const member of ["cidr", "blockSize"] as const) {
    const [old, wanted] = [before.spec[member], after.spec[member]];
    if (old === wanted) continue;
    return {
      field: `spec.${member}`,
      message: `cannot be changed from ${old} to ${wanted}, because addresses are allocated by it`,
      hint: "make a new pool, set disabled: true on this one, and delete it once nothing uses it",
    };
  }
  return undefined;
}

/** Why the resource cannot be deleted while these are there; undefined when it can. */
export function refuseDelete(resource: AnyResource, others: Iterable<AnyResource>): Refusal | undefined {
  const { name } = resource.metadata;
  const isBuiltIn = resource.kind === "Tier" && Object.hasOwn(BUILT_IN_TIERS, name) ||
    resource.kind === "Profile" && name === DEFAULT_ALLOW_PROFILE.metadata.name;
  if (isBuiltIn) return { field: "", message: `${resource.kind} ${name} is built in`, hint: "leave it" };
  if (resource.kind !== "Tier") return undefined;
  for (const other of others) {
    if (!hasPolicyName(other.kind) || (other.spec as { readonly tier?: string }).tier !== name) continue;
    const message = `Tier ${name} holds the ${other.kind} ${other.metadata.name}`;
    return { field: "", message, hint: "delete its policies, or move them to another tier" };
  }
  return undefined;
}
