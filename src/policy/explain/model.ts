/**
 * The resources as policy sees them, computed on demand: what `explain` and `lint` ask. Compiled forms are kept as long as
 * the resource object is, so that asking again after a change costs what changed.
 */

import { Cidr } from "../../lib/cidr.ts";
import type { Ip } from "../../lib/ip.ts";
import { parseProtocol } from "../../model/num_or_string.ts";
import type {
  EndpointPort,
  GlobalNetworkPolicy,
  HostEndpoint,
  Kind,
  LabelMap,
  NetworkPolicy,
  Profile,
  ResourceOf,
  WorkloadEndpoint,
} from "../../model/resources/mod.ts";
import { DEFAULT_ALLOW_PROFILE } from "../../model/resources/profile.ts";
import { BUILT_IN_TIERS } from "../../model/resources/tier.ts";
import type { LabelLookup } from "../../model/selector/mod.ts";
import { type CompiledPolicy, type CompiledProfile, compilePolicy, compileProfile } from "../compile/policy.ts";
import { parseNet } from "../compile/rule.ts";
import { withImplicitLabels } from "../labels/implicit_labels.ts";
import type { TierOrder } from "../order.ts";
import type { Membership } from "./match.ts";

/** The store's resources by kind and key; the agent's snapshot is one. */
export interface Resources {
  all<K extends Kind>(kind: K): ReadonlyMap<string, ResourceOf<K>>;
}

/** Something that selectors of rules can pick, by its addresses. */
export interface Peer {
  readonly labels: LabelMap;
  readonly profiles: readonly string[];
  readonly nets: readonly string[];
  readonly ports: readonly EndpointPort[];
}

const compiledPolicies = new WeakMap<GlobalNetworkPolicy | NetworkPolicy, CompiledPolicy | undefined>();
const compiledProfiles = new WeakMap<Profile, CompiledProfile>();

/** All policies that can be read. */
export function* policiesOf(resources: Resources): Generator<CompiledPolicy> {
  for (const kind of ["GlobalNetworkPolicy", "NetworkPolicy"] as const) {
    for (const policy of resources.all(kind).values()) {
      const compiled = policyOf(policy);
      if (compiled) yield compiled;
    }
  }
}

/** A policy's compiled form; undefined when it cannot be read. */
export function policyOf(policy: GlobalNetworkPolicy | NetworkPolicy): CompiledPolicy | undefined {
  if (!compiledPolicies.has(policy)) compiledPolicies.set(policy, tryCompile(policy));
  return compiledPolicies.get(policy);
}

function tryCompile(policy: GlobalNetworkPolicy | NetworkPolicy): CompiledPolicy | undefined {
  try {
    return compilePolicy(policy);
  } catch {
    return undefined;
  }
}

/** The tiers, the built-in default one included. */
export function tiersOf(resources: Resources): Map<string, TierOrder> {
  const tiers = new Map<string, TierOrder>();
  if (BUILT_IN_TIERS["default"]) tiers.set("default", BUILT_IN_TIERS["default"]);
  for (const [name, { spec }] of resources.all("Tier")) tiers.set(name, spec);
  return tiers;
}

/** A profile by name, built-in ones included. */
export function profileOf(resources: Resources, name: string): CompiledProfile | undefined {
  const builtIn = name === DEFAULT_ALLOW_PROFILE.metadata.name ? DEFAULT_ALLOW_PROFILE : undefined;
  const profile = resources.all("Profile").get(name) ?? builtIn;
  if (!profile) return undefined;
  const known = compiledProfiles.get(profile);
  if (known) return known;
  const compiled = compileProfile(profile);
  compiledProfiles.set(profile, compiled);
  return compiled;
}

/** The labels of an endpoint as selectors see them. */
export function labelsOf(resources: Resources, labels: LabelMap, profiles: readonly string[]): LabelLookup {
  return (label) => {
    if (Object.hasOwn(labels, label)) return labels[label];
    for (const name of profiles) {
      const inherited = resources.all("Profile").get(name)?.spec.labelsToApply;
      if (inherited && Object.hasOwn(inherited, label)) return inherited[label];
    }
    return undefined;
  };
}

/** A workload's own and implicit labels. */
export function workloadLabels({ metadata, spec }: WorkloadEndpoint): LabelMap {
  return withImplicitLabels(metadata.labels, {
    namespace: metadata.namespace ?? "default",
    orchestrator: spec.orchestrator,
    serviceAccount: spec.serviceAccountName,
  });
}

/** The policies that select an endpoint. */
export function policiesFor(
  resources: Resources,
  { metadata, spec, kind }: WorkloadEndpoint | HostEndpoint,
): CompiledPolicy[] {
  const own = kind === "WorkloadEndpoint"
    ? workloadLabels({ kind, metadata, spec } as WorkloadEndpoint)
    : metadata.labels ?? {};
  const lookup = labelsOf(resources, own, spec.profiles ?? []);
  return [...policiesOf(resources)].filter(({ selector }) => selector.evaluate(lookup));
}

/** Everything that rules' selectors can pick. */
export function* peersOf(resources: Resources): Generator<Peer> {
  for (const endpoint of resources.all("WorkloadEndpoint").values()) {
    const { profiles = [], ipNetworks = [], ports = [] } = endpoint.spec;
    yield { labels: workloadLabels(endpoint), profiles, nets: ipNetworks, ports };
  }
  for (const { metadata, spec } of resources.all("HostEndpoint").values()) {
    const { profiles = [], expectedIPs = [], ports = [] } = spec;
    yield { labels: metadata.labels ?? {}, profiles, nets: expectedIPs, ports };
  }
  for (const kind of ["GlobalNetworkSet", "NetworkSet"] as const) {
    for (const { metadata, spec } of resources.all(kind).values()) {
      const labels = withImplicitLabels(metadata.labels, { namespace: metadata.namespace });
      yield { labels, profiles: [], nets: spec.nets ?? [], ports: [] };
    }
  }
}

/** Who is in the sets that rules name, for questions about a few addresses. */
export function membershipOf(resources: Resources): Membership {
  const byAddress = new Map<string, Peer[]>();
  const peersAt = (ip: Ip): Peer[] => {
    const text = ip.toString();
    const known = byAddress.get(text);
    if (known) return known;
    const found = [...peersOf(resources)].filter(({ nets }) => nets.some((net) => holds(net, ip)));
    byAddress.set(text, found);
    return found;
  };
  return {
    isIn: (selector, ip) =>
      peersAt(ip).some(({ labels, profiles }) => selector.evaluate(labelsOf(resources, labels, profiles))),
    hasPort: (port, ip, number) =>
      peersAt(ip).some((peer) =>
        peer.ports.some(({ name, protocol, port: own }) =>
          name === port.name && parseProtocol(protocol) === port.protocol && own === number
        ) && peer.nets.some((net) => isAddress(net, ip)) &&
        port.selector.evaluate(labelsOf(resources, peer.labels, peer.profiles))
      ),
  };
}

function holds(net: string, ip: Ip): boolean {
  return parseNet(net)?.contains(ip) ?? false;
}

/** Whether the prefix is the address, which is what a named port needs. */
function isAddress(net: string, ip: Ip): boolean {
  return parseNet(net)?.equals(Cidr.host(ip)) ?? false;
}
