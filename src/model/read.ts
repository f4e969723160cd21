/**
 * Reads resources as the store has them, and writes them back.
 *
 * Reading is lenient: members that are not known stay, absent ones get Calico's defaults, policies get the name that their
 * user gave them. Only the types of the members that are used are checked, so that a broken object can be skipped instead
 * of breaking what reads it. No schema library is loaded here: attaching a workload needs this and must start fast.
 */

import { kindEntry } from "./kinds.ts";
import { parseAsNumber } from "./num_or_string.ts";
import {
  givenPolicyMetadata,
  hasPolicyName,
  type PolicyNameStyle,
  readPolicyMetadata,
  writePolicyMetadata,
} from "./policy_name.ts";
import { API_VERSION, type Metadata } from "./resource.ts";
import { withIPPoolDefaults } from "./resources/ip_pool.ts";
import type { AnyResource } from "./resources/mod.ts";
import { withPolicyDefaults } from "./resources/network_policy.ts";
import { withTierDefaults } from "./resources/tier.ts";
import { checkShape } from "./shape.ts";

type Members = Record<string, unknown>;

/** Reads the JSON text of a resource; throws SyntaxError when it is not JSON or not a resource of a known kind. */
export function readResource(text: string): AnyResource {
  return resourceOf(JSON.parse(text));
}

/** Reads a resource from parsed JSON, as `readResource` does. */
export function resourceOf(value: unknown): AnyResource {
  if (!isMembers(value)) throw new SyntaxError("Cannot read a resource: the value is not an object");
  const entry = typeof value.kind === "string" ? kindEntry(value.kind) : undefined;
  if (!entry) throw new SyntaxError(`Cannot read a resource: the kind ${JSON.stringify(value.kind)} is not known`);
  const metadata = readMetadata(value.metadata);
  if (!metadata) throw new SyntaxError(`Cannot read the ${entry.kind}: its metadata has no name`);
  const spec = value.spec ?? {};
  if (!isMembers(spec)) throw new SyntaxError(`Cannot read the ${entry.kind} ${metadata.name}: spec is not an object`);
  const wrong = checkShape(entry.kind, spec);
  if (wrong) throw new SyntaxError(`Cannot read the ${entry.kind} ${metadata.name}: spec.${wrong}`);
  const resource = { ...value, kind: entry.kind, apiVersion: API_VERSION, metadata, spec } as unknown as AnyResource;
  return fillDefaults(resource, readPolicyMetadata);
}

/**
 * The resource with the defaults that Calico's API server or client would fill in; `policyMetadata` says whether the
 * metadata of a policy is as stored or as a user gave it.
 */
export function fillDefaults(
  resource: AnyResource,
  policyMetadata: (metadata: Metadata, tier: string) => Metadata = givenPolicyMetadata,
): AnyResource {
  switch (resource.kind) {
    case "IPPool":
      return { ...resource, spec: withIPPoolDefaults(resource.spec) };
    case "Tier":
      return { ...resource, spec: withTierDefaults(resource.spec) };
    case "GlobalNetworkPolicy":
    case "NetworkPolicy":
    case "StagedGlobalNetworkPolicy":
    case "StagedNetworkPolicy": {
      const spec = withPolicyDefaults(resource.spec);
      return { ...resource, spec, metadata: policyMetadata(resource.metadata, spec.tier) } as AnyResource;
    }
    case "Node":
      return { ...resource, spec: withAsNumbers(resource.spec, [["bgp", "asNumber"]]) };
    case "BGPPeer":
      return { ...resource, spec: withAsNumbers(resource.spec, [["asNumber"], ["localASNumber"]]) };
    case "BGPConfiguration":
      return { ...resource, spec: withAsNumbers(resource.spec, [["asNumber"]]) };
    default:
      return resource;
  }
}

/** Options of `serializeResource`. */
export interface SerializeOptions {
  /** How the store names policies; "plain" when not given. */
  readonly policyNames?: PolicyNameStyle;
}

/**
 * Writes the JSON text to store. Its `metadata.uid` and `creationTimestamp` are the caller's; what the store itself knows
 * (`resourceVersion`) is left out, and the labels that Calico's client forces on an object are put in.
 */
export function serializeResource(resource: AnyResource, options: SerializeOptions = {}): string {
  const { kind, apiVersion, metadata, spec, ...rest } = resource;
  return JSON.stringify({ kind, apiVersion, metadata: storedMetadata(resource, metadata, options), spec, ...rest });
}

/** The name under which a resource is stored, which for policies is not always the user's. */
export function storedName(resource: AnyResource, options: SerializeOptions = {}): string {
  return storedMetadata(resource, resource.metadata, options).name;
}

function storedMetadata(resource: AnyResource, given: Metadata, options: SerializeOptions): Metadata {
  const { resourceVersion: _version, selfLink: _link, ...metadata } = given as Metadata & Members;
  let stored: Metadata = metadata;
  if (hasPolicyName(resource.kind)) {
    const tier = (resource.spec as { readonly tier?: string }).tier || "default";
    stored = writePolicyMetadata(metadata, tier, options.policyNames ?? "plain");
  } else if (resource.kind === "WorkloadEndpoint") {
    const forced = {
      "projectcalico.org/namespace": metadata.namespace ?? "",
      "projectcalico.org/orchestrator": resource.spec.orchestrator,
    };
    stored = { ...metadata, labels: { ...metadata.labels, ...forced } };
  }
  const { namespace, labels, annotations, ...others } = stored;
  return {
    ...others,
    ...namespace && kindEntry(resource.kind).namespaced && { namespace },
    ...labels && Object.keys(labels).length > 0 && { labels },
    ...annotations && Object.keys(annotations).length > 0 && { annotations },
  };
}

function readMetadata(value: unknown): Metadata | undefined {
  if (!isMembers(value) || typeof value.name !== "string" || value.name === "") return undefined;
  const { namespace, labels, annotations, ...others } = value;
  return {
    ...others,
    name: value.name,
    ...typeof namespace === "string" && namespace !== "" && { namespace },
    ...isMembers(labels) && { labels: stringMembers(labels) },
    ...isMembers(annotations) && { annotations: stringMembers(annotations) },
  };
}

function stringMembers(members: Members): Record<string, string> {
  const entries = Object.entries(members).filter((entry): entry is [string, string] => typeof entry[1] === "string");
  return Object.fromEntries(entries);
}

/** Turns the members at these paths into numbers; an AS number 0 is none at all. */
function withAsNumbers<Spec>(spec: Spec, paths: readonly (readonly string[])[]): Spec {
  const copy = structuredClone(spec);
  for (const path of paths) {
    const holder = path.slice(0, -1).reduce<unknown>((at, name) => isMembers(at) ? at[name] : undefined, copy);
    const name = path.at(-1) ?? "";
    if (!isMembers(holder) || holder[name] === undefined) continue;
    const number = parseAsNumber(holder[name]);
    if (number) holder[name] = number;
    else delete holder[name];
  }
  return copy;
}

function isMembers(value: unknown): value is Members {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
