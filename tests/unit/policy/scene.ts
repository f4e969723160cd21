/** Resources for policy tests, written short, and an engine that has taken them in. */

import { API_VERSION } from "../../../src/model/resource.ts";
import type {
  AnyResource,
  GlobalNetworkPolicySpec,
  HostEndpointSpec,
  Kind,
  ProfileSpec,
  ResourceOf,
  TierSpec,
  WorkloadEndpointSpec,
} from "../../../src/model/resources/mod.ts";
import { withPolicyDefaults } from "../../../src/model/resources/network_policy.ts";
import { withIPPoolDefaults } from "../../../src/model/resources/ip_pool.ts";
import { withTierDefaults } from "../../../src/model/resources/tier.ts";
import { PolicyEngine, type PolicyKind, policyKinds } from "../../../src/policy/engine.ts";

type Labels = Readonly<Record<string, string>>;

/** A workload endpoint of node "a" (or another) on the interface "cali" + its name. */
export function workload(
  name: string,
  spec: Partial<WorkloadEndpointSpec> & { readonly labels?: Labels; readonly namespace?: string } = {},
): AnyResource {
  const { labels, namespace = "default", ...rest } = spec;
  const node = rest.node ?? "a";
  return {
    kind: "WorkloadEndpoint",
    apiVersion: API_VERSION,
    metadata: { name: `${node}-tortie-${name.replaceAll("-", "--")}-eth0`, namespace, ...labels ? { labels } : {} },
    spec: { orchestrator: "tortie", node, workload: name, endpoint: "eth0", interfaceName: `cali${name}`, ...rest },
  };
}

/** A host endpoint of node "a" (or another). */
export function host(name: string, spec: HostEndpointSpec & { readonly labels?: Labels } = {}): AnyResource {
  const { labels, ...rest } = spec;
  return {
    kind: "HostEndpoint",
    apiVersion: API_VERSION,
    metadata: { name, ...labels ? { labels } : {} },
    spec: { node: "a", ...rest },
  };
}

/** A global policy, or with a namespace one of that namespace. */
export function policy(
  name: string,
  spec: Partial<GlobalNetworkPolicySpec> & { readonly namespace?: string },
): AnyResource {
  const { namespace, ...rest } = spec;
  const full = withPolicyDefaults(rest);
  return namespace === undefined
    ? { kind: "GlobalNetworkPolicy", apiVersion: API_VERSION, metadata: { name }, spec: full }
    : { kind: "NetworkPolicy", apiVersion: API_VERSION, metadata: { name, namespace }, spec: full };
}

/** A tier. */
export function tier(name: string, spec: Partial<TierSpec>): AnyResource {
  return { kind: "Tier", apiVersion: API_VERSION, metadata: { name }, spec: withTierDefaults(spec) };
}

/** A profile. */
export function profile(name: string, spec: ProfileSpec): AnyResource {
  return { kind: "Profile", apiVersion: API_VERSION, metadata: { name }, spec };
}

/** A network set, global or of a namespace. */
export function networkSet(name: string, nets: readonly string[], labels: Labels, namespace?: string): AnyResource {
  return namespace === undefined
    ? { kind: "GlobalNetworkSet", apiVersion: API_VERSION, metadata: { name, labels }, spec: { nets } }
    : { kind: "NetworkSet", apiVersion: API_VERSION, metadata: { name, labels, namespace }, spec: { nets } };
}

/** A pool. */
export function pool(name: string, cidr: string, spec: object = {}): AnyResource {
  return { kind: "IPPool", apiVersion: API_VERSION, metadata: { name }, spec: withIPPoolDefaults({ cidr, ...spec }) };
}

/** The agent's settings. */
export function settings(spec: Readonly<Record<string, unknown>>, name = "default"): AnyResource {
  return { kind: "FelixConfiguration", apiVersion: API_VERSION, metadata: { name }, spec };
}

/** The key of a resource as the snapshot has it. */
export function keyOf({ metadata: { name, namespace } }: AnyResource): string {
  return namespace ? `${namespace}/${name}` : name;
}

/** Resources as the snapshot shows them. */
export function resourcesOf(
  list: Iterable<AnyResource>,
): { all<K extends Kind>(kind: K): ReadonlyMap<string, ResourceOf<K>> } {
  const kinds = new Map<string, Map<string, AnyResource>>();
  for (const resource of list) {
    const of = kinds.get(resource.kind) ?? new Map<string, AnyResource>();
    kinds.set(resource.kind, of.set(keyOf(resource), resource));
  }
  return {
    all: <K extends Kind>(kind: K) =>
      (kinds.get(kind) ?? new Map()) as ReadonlyMap<string, unknown> as ReadonlyMap<string, ResourceOf<K>>,
  };
}

/** Tells the engine one resource. */
export function give(engine: PolicyEngine, resource: AnyResource): void {
  if (isPolicyKind(resource.kind)) engine.set(resource.kind, keyOf(resource), resource);
}

function isPolicyKind(kind: string): kind is PolicyKind {
  return (policyKinds as readonly string[]).includes(kind);
}

/** An engine of node "a" with the resources. */
export function engineWith(resources: Iterable<AnyResource>): PolicyEngine {
  const engine = new PolicyEngine("a");
  for (const resource of resources) give(engine, resource);
  return engine;
}
