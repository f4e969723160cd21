/**
 * The policy engine: resources in, one by one as they change; the ruleset of this host out.
 *
 *   set(kind, key, resource) -> what it touches is marked -> ruleset(): only marked chains and sets are rendered anew
 *
 *   policies x local endpoints  (label index 1: which policies apply here; the others cost nothing more)
 *     -> chains of endpoints, by the ordered ids of their policies     -> chains of the policies that apply
 *     -> sets that their rules need  (label index 2: selectors x all endpoints and network sets)
 *
 * Desired depends on the resources alone, never on the order in which they came. Chains and sets that did not change stay
 * the same objects, which is what makes applying them cheap. A resource that cannot be read counts as absent; absence never
 * opens anything: an endpoint without policy and profile drops.
 */

import type { Cidr } from "../lib/cidr.ts";
import type { Family } from "../lib/ip.ts";
import type {
  FelixConfiguration,
  GlobalNetworkPolicy,
  HostEndpoint,
  IPPool,
  NetworkPolicy,
  NetworkSet,
  Node,
  Profile,
  Tier,
  WorkloadEndpoint,
} from "../model/resources/mod.ts";
import type { AnyResource, Kind } from "../model/resources/mod.ts";
import { DEFAULT_ALLOW_PROFILE } from "../model/resources/profile.ts";
import { BUILT_IN_TIERS } from "../model/resources/tier.ts";
import type { Chain, Ruleset, Table } from "../netlink/nft/ruleset.ts";
import { tableName } from "../netlink/nft/ruleset.ts";
import { assignInterfaces } from "./assign.ts";
import {
  type CompiledPolicy,
  compilePolicy,
  compileProfile,
  type Direction,
  hasDirection,
  policyId,
} from "./compile/policy.ts";
import { parseNet } from "./compile/rule.ts";
import { readSettings, type Settings } from "./compile/settings.ts";
import { withImplicitLabels } from "./labels/implicit_labels.ts";
import { LabelIndex, type Labelled } from "./labels/label_index.ts";
import { type Addressed, MemberSets, netsByFamily, newAddressed } from "./members.ts";
import { keepSameChains, keepSameSets } from "./render/keep.ts";
import type { Piece } from "./render/dispatch.ts";
import { judge, type Judgement, type Packet } from "./explain/match.ts";
import { orderPolicies, type TierOrder } from "./order.ts";
import { type EndpointChains, renderEndpoint } from "./render/endpoints.ts";
import { renderHost } from "./render/host.ts";
import type { SetNeed } from "./render/names.ts";
import { renderMissingProfile, renderPolicyChain, renderProfileChain } from "./render/policy_chain.ts";
import { needsOf } from "./render/rule.ts";

/** Kinds that the engine looks at. */
export const policyKinds = [
  "FelixConfiguration",
  "Tier",
  "Profile",
  "GlobalNetworkPolicy",
  "NetworkPolicy",
  "GlobalNetworkSet",
  "NetworkSet",
  "WorkloadEndpoint",
  "HostEndpoint",
  "IPPool",
  "Node",
] as const satisfies readonly Kind[];

/** One of them. */
export type PolicyKind = (typeof policyKinds)[number];

/** A policy with what it has to do here. */
export interface PolicyState extends CompiledPolicy {
  /** How many local endpoints it selects. */
  locals: number;
}

/** An endpoint of this host. */
export interface LocalEndpoint extends Labelled {
  readonly key: string;
  readonly resource: WorkloadEndpoint | HostEndpoint;
  /** The policies that select it. */
  readonly policies: Set<PolicyState>;
}

interface Active {
  readonly chains: readonly Chain[];
  readonly needs: readonly SetNeed[];
}

/** Computes this host's ruleset, incrementally. */
export class PolicyEngine {
  readonly #tiers = new Map<string, TierOrder>();
  readonly #profiles = new Map<string, Profile>();
  readonly #policies = new Map<string, PolicyState>();
  readonly #policiesBySelector = new Map<string, Set<PolicyState>>();
  readonly #pools = new Map<string, IPPool>();
  readonly #nodes = new Map<string, Node>();
  readonly #configurations = new Map<string, FelixConfiguration>();
  readonly #addressed = new Map<string, Addressed>();
  readonly #locals = new Map<string, LocalEndpoint>();
  readonly #members = new MemberSets();
  readonly #applied: LabelIndex<LocalEndpoint>;
  readonly #activePolicies = new Map<string, Active>();
  readonly #activeProfiles = new Map<string, Active>();
  readonly #profileUsers = new Map<string, number>();
  readonly #endpoints = new Map<string, EndpointChains & { readonly profiles: readonly string[] }>();
  #hostInterfaces: ReadonlyMap<string, readonly string[]> = new Map();
  #assigned: ReadonlyMap<string, readonly string[]> = new Map();
  #settings: Settings = readSettings(undefined, undefined);
  #host: { readonly inet: Piece; readonly arp: Piece } = { inet: nothing, arp: nothing };
  #ended: ReadonlyMap<Family, ReadonlySet<string>> = new Map();
  #ruleset: Ruleset | undefined;
  readonly #dirty = {
    policies: new Set<string>(),
    profiles: new Set<string>(),
    /** Keys of local endpoints. */
    locals: new Set<string>(),
    isHost: true,
    isEverything: true,
    isAnything: true,
  };

  constructor(readonly node: string) {
    for (const [name, spec] of Object.entries(BUILT_IN_TIERS)) {
      if (name === "default") this.#tiers.set(name, spec);
    }
    this.#profiles.set(DEFAULT_ALLOW_PROFILE.metadata.name, DEFAULT_ALLOW_PROFILE);
    this.#applied = new LabelIndex((canonical, local, isMatch) => {
      for (const policy of this.#policiesBySelector.get(canonical) ?? []) this.#link(policy, local, isMatch);
    });
  }

  get settings(): Settings {
    return this.#settings;
  }

  /** The interfaces that have the endpoint's rules, as of the last `ruleset`; the key is that of `set`. */
  interfacesOf(kind: "WorkloadEndpoint" | "HostEndpoint", key: string): readonly string[] {
    return this.#assigned.get(`${kind === "WorkloadEndpoint" ? "wep" : "hep"}/${key}`) ?? [];
  }

  /** Tells what a resource is now; undefined when it is gone. The key is "name" or "namespace/name". */
  set(kind: PolicyKind, key: string, resource: AnyResource | undefined): void {
    this.#dirty.isAnything = true;
    switch (kind) {
      case "FelixConfiguration":
        return this.#setConfiguration(key, resource as FelixConfiguration | undefined);
      case "Tier":
        return this.#setTier(key, resource as Tier | undefined);
      case "Profile":
        return this.#setProfile(key, resource as Profile | undefined);
      case "GlobalNetworkPolicy":
      case "NetworkPolicy":
        return this.#setPolicy(policyId(kind, key), resource as GlobalNetworkPolicy | NetworkPolicy | undefined);
      case "GlobalNetworkSet":
      case "NetworkSet":
        return this.#setNetworkSet(`${kind}/${key}`, resource as NetworkSet | undefined);
      case "WorkloadEndpoint":
        return this.#setWorkload(key, resource as WorkloadEndpoint | undefined);
      case "HostEndpoint":
        return this.#setHostEndpoint(key, resource as HostEndpoint | undefined);
      case "IPPool":
        return this.#setAny(this.#pools, key, resource as IPPool | undefined);
      case "Node":
        return this.#setAny(this.#nodes, key, resource as Node | undefined);
    }
  }

  /** Tells the host's interfaces with their addresses, for host endpoints that are known by address. */
  setHostInterfaces(interfaces: ReadonlyMap<string, readonly string[]>): void {
    this.#hostInterfaces = interfaces;
    if (![...this.#locals.values()].some(({ resource }) => resource.kind === "HostEndpoint")) return;
    this.#dirty.isAnything = this.#dirty.isHost = true;
  }

  /** Tells which connections policies have ended: their packets are dropped, whatever connection tracking takes them for. */
  setEnded(ended: ReadonlyMap<Family, ReadonlySet<string>>): void {
    if (ended.size === 0 && this.#ended.size === 0) return;
    this.#ended = ended;
    this.#dirty.isAnything = this.#dirty.isHost = true;
  }

  /** Whether a host endpoint of this host is known by address only, so that `setHostInterfaces` matters. */
  get needsHostInterfaces(): boolean {
    return [...this.#locals.values()].some(({ resource }) =>
      resource.kind === "HostEndpoint" && !resource.spec.interfaceName
    );
  }

  /** The workload endpoints of this host that have an interface, for judging their connections. */
  *workloads(): Generator<LocalEndpoint> {
    for (const local of this.#locals.values()) {
      if (local.resource.kind === "WorkloadEndpoint" && this.#assigned.has(local.key)) yield local;
    }
  }

  /** How many endpoints of this host a policy ("gnp/NAME", "np/NAMESPACE/NAME") applies to. */
  endpointsOf(id: string): number {
    return this.#policies.get(id)?.locals ?? 0;
  }

  /** How many endpoints of this host that have an interface use the profile, as of the last `ruleset`. */
  usersOf(profile: string): number {
    return this.#profileUsers.get(profile) ?? 0;
  }

  /** What a workload's chain in the direction makes of the first packet of a connection. */
  judge({ resource, policies, parents }: LocalEndpoint, direction: Direction, packet: Packet): Judgement {
    const use = resource.kind === "WorkloadEndpoint" ? "workload" : "host";
    const profiles = parents.map((name) => {
      const profile = this.#profiles.get(name);
      return profile && compileProfile(profile);
    });
    const tiers = orderPolicies(policies, this.#tiers, { use, direction });
    return judge({ use, direction, tiers, profiles }, packet, this.#members);
  }

  /** The ruleset as it should be; the same object as before when nothing changed. */
  ruleset(): Ruleset {
    if (this.#ruleset && !this.#dirty.isAnything) return this.#ruleset;
    this.#dirty.isAnything = false;
    if (this.#dirty.isEverything) this.#readEverything();
    if (this.#dirty.isHost) this.#assign();
    this.#renderPolicies();
    this.#renderEndpoints();
    this.#renderProfiles();
    if (this.#dirty.isHost) this.#renderHost();
    this.#dirty.isHost = false;
    return this.#ruleset = this.#assemble();
  }

  #setConfiguration(key: string, resource: FelixConfiguration | undefined): void {
    if (key !== "default" && key !== `node.${this.node}`) return;
    put(this.#configurations, key, resource);
    this.#dirty.isEverything = true;
  }

  #setTier(key: string, resource: Tier | undefined): void {
    const spec = resource?.spec ?? (key === "default" ? BUILT_IN_TIERS["default"] : undefined);
    put(this.#tiers, key, spec);
    for (const policy of this.#policies.values()) {
      if (policy.tier === key && policy.locals > 0) this.#touchEndpointsOf(policy);
    }
  }

  #setProfile(key: string, resource: Profile | undefined): void {
    const profile = resource ?? (key === DEFAULT_ALLOW_PROFILE.metadata.name ? DEFAULT_ALLOW_PROFILE : undefined);
    put(this.#profiles, key, profile);
    const labels = profile?.spec.labelsToApply;
    this.#applied.setParent(key, labels);
    this.#members.index.setParent(key, labels);
    this.#dirty.profiles.add(key);
  }

  #setPolicy(id: string, resource: GlobalNetworkPolicy | NetworkPolicy | undefined): void {
    const old = this.#policies.get(id);
    let compiled: CompiledPolicy | undefined;
    try {
      // A store of older Calico has another name than people: the key's is what is unique here.
      compiled = resource && { ...compilePolicy(resource), id };
    } catch {
      // Validation has reported it; what it selects cannot be known.
    }
    const isAlike = old?.selector.canonical === compiled?.selector.canonical && old?.stage === compiled?.stage;
    if (old && compiled && isAlike) {
      Object.assign(old, compiled);
      if (old.locals > 0) this.#touchEndpointsOf(old);
      this.#dirty.policies.add(id);
      return;
    }
    if (old) this.#dropPolicy(old);
    if (!compiled) return;
    const policy: PolicyState = { ...compiled, locals: 0 };
    this.#policies.set(id, policy);
    const { canonical } = policy.selector;
    const alike = this.#policiesBySelector.get(canonical);
    if (alike) alike.add(policy);
    else this.#policiesBySelector.set(canonical, new Set());
    const { matched } = this.#applied.addSelector(policy.selector);
    if (!alike) this.#policiesBySelector.get(canonical)?.add(policy);
    for (const local of matched) this.#link(policy, local, true);
    this.#dirty.policies.add(id);
  }

  #dropPolicy(policy: PolicyState): void {
    const { canonical } = policy.selector;
    for (const local of this.#applied.selected(canonical)?.matched ?? []) this.#link(policy, local, false);
    this.#policies.delete(policy.id);
    this.#dirty.policies.add(policy.id);
    const alike = this.#policiesBySelector.get(canonical);
    alike?.delete(policy);
    if (alike?.size !== 0) return;
    this.#policiesBySelector.delete(canonical);
    this.#applied.deleteSelector(canonical);
  }

  #link(policy: PolicyState, local: LocalEndpoint, isMatch: boolean): void {
    // Policies before tracking and before DNAT are about hosts only.
    if (policy.stage !== "normal" && local.resource.kind !== "HostEndpoint") return;
    if (isMatch) local.policies.add(policy);
    else local.policies.delete(policy);
    policy.locals += isMatch ? 1 : -1;
    this.#dirty.policies.add(policy.id);
    this.#dirty.locals.add(local.key);
  }

  #touchEndpointsOf(policy: PolicyState): void {
    for (const local of this.#applied.selected(policy.selector.canonical)?.matched ?? []) {
      this.#dirty.locals.add(local.key);
    }
  }

  #setNetworkSet(key: string, resource: NetworkSet | undefined): void {
    if (!resource) return this.#dropAddressed(key);
    this.#members.setObject(this.#addressedAt(key), {
      labels: withImplicitLabels(resource.metadata.labels, { namespace: resource.metadata.namespace }),
      parents: [],
      ...netsByFamily(parseNets(resource.spec.nets)),
      ports: [],
    });
  }

  #setWorkload(key: string, resource: WorkloadEndpoint | undefined): void {
    const own = `wep/${key}`;
    if (!resource) {
      this.#dropAddressed(own);
      return this.#dropLocal(own);
    }
    const { spec, metadata } = resource;
    const labels = withImplicitLabels(metadata.labels, {
      namespace: metadata.namespace ?? "default",
      orchestrator: spec.orchestrator,
      serviceAccount: spec.serviceAccountName,
    });
    const parents = spec.profiles ?? [];
    const object = this.#addressedAt(own);
    this.#members.setObject(object, {
      labels,
      parents,
      ...netsByFamily(parseNets(spec.ipNetworks)),
      ports: (spec.ports ?? []).filter(({ name }) => name),
    });
    if (spec.node === this.node) this.#setLocal(own, resource, labels, parents);
    else this.#dropLocal(own);
  }

  #setHostEndpoint(key: string, resource: HostEndpoint | undefined): void {
    const own = `hep/${key}`;
    if (!resource) {
      this.#dropAddressed(own);
      return this.#dropLocal(own);
    }
    const { spec, metadata } = resource;
    const labels = metadata.labels ?? {}, parents = spec.profiles ?? [];
    this.#members.setObject(this.#addressedAt(own), {
      labels,
      parents,
      ...netsByFamily(parseNets(spec.expectedIPs)),
      ports: spec.ports ?? [],
    });
    if (spec.node === this.node) this.#setLocal(own, resource, labels, parents);
    else this.#dropLocal(own);
  }

  #setLocal(
    key: string,
    resource: WorkloadEndpoint | HostEndpoint,
    labels: Readonly<Record<string, string>>,
    parents: readonly string[],
  ): void {
    const known = this.#locals.get(key);
    const local = known ?? { key, resource, labels: {}, parents: [], policies: new Set() };
    // Labels are not what the chains of the host are made of.
    if (JSON.stringify(known?.resource.spec) !== JSON.stringify(resource.spec)) this.#dirty.isHost = true;
    Object.assign(local, { resource });
    this.#locals.set(key, local);
    this.#applied.setObject(local, labels, parents);
    this.#dirty.locals.add(key);
  }

  #dropLocal(key: string): void {
    const local = this.#locals.get(key);
    if (!local) return;
    this.#applied.deleteObject(local);
    this.#locals.delete(key);
    this.#dirty.locals.add(key);
    this.#dirty.isHost = true;
  }

  #addressedAt(key: string): Addressed {
    let object = this.#addressed.get(key);
    if (!object) this.#addressed.set(key, object = newAddressed());
    return object;
  }

  #dropAddressed(key: string): void {
    const object = this.#addressed.get(key);
    if (!object) return;
    this.#members.deleteObject(object);
    this.#addressed.delete(key);
  }

  #setAny<R>(map: Map<string, R>, key: string, resource: R | undefined): void {
    put(map, key, resource);
    this.#dirty.isHost = true;
  }

  /** Settings changed: everything is rendered anew, and what comes out the same is kept. */
  #readEverything(): void {
    this.#dirty.isEverything = false;
    this.#settings = readSettings(
      this.#configurations.get("default")?.spec,
      this.#configurations.get(`node.${this.node}`)?.spec,
    );
    for (const id of this.#policies.keys()) this.#dirty.policies.add(id);
    for (const key of this.#locals.keys()) this.#dirty.locals.add(key);
    for (const name of this.#activeProfiles.keys()) this.#dirty.profiles.add(name);
    this.#dirty.isHost = true;
  }

  #renderPolicies(): void {
    for (const id of this.#dirty.policies) {
      const policy = this.#policies.get(id);
      const directions = policy && policy.locals > 0
        ? (["ingress", "egress"] as const).filter((direction) => hasDirection(policy, direction))
        : [];
      this.#activate(
        this.#activePolicies,
        id,
        policy && directions.length > 0
          ? {
            chains: directions.map((direction) => renderPolicyChain(policy, direction, this.#settings)),
            needs: directions.flatMap((direction) => policy[direction].flatMap(needsOf)),
          }
          : undefined,
      );
    }
    this.#dirty.policies.clear();
  }

  #renderProfiles(): void {
    for (const name of this.#dirty.profiles) {
      const isUsed = this.#profileUsers.get(name) ?? 0;
      const profile = this.#profiles.get(name);
      const directions: Direction[] = ["ingress", "egress"];
      const compiled = profile && compileProfile(profile);
      this.#activate(
        this.#activeProfiles,
        name,
        isUsed > 0
          ? {
            chains: directions.map((direction) =>
              compiled ? renderProfileChain(compiled, direction, this.#settings) : renderMissingProfile(name, direction)
            ),
            needs: directions.flatMap((direction) => compiled?.[direction].flatMap(needsOf) ?? []),
          }
          : undefined,
      );
    }
    this.#dirty.profiles.clear();
  }

  /** Puts what was rendered in its place; sets that are still needed survive. */
  #activate(where: Map<string, Active>, key: string, active: Active | undefined): void {
    const old = where.get(key);
    for (const need of active?.needs ?? []) this.#members.need(need);
    for (const need of old?.needs ?? []) this.#members.release(need);
    if (!active) return void where.delete(key);
    where.set(key, old ? { ...active, chains: keepSameChains(old.chains, active.chains) } : active);
  }

  /** Gives interfaces to endpoints; those whose interfaces changed are rendered anew. */
  #assign(): void {
    const assigned = assignInterfaces(this.#locals.values(), this.#hostInterfaces);
    for (const key of this.#locals.keys()) {
      const now = assigned.get(key) ?? [], before = this.#assigned.get(key) ?? [];
      if (now.length !== before.length || now.some((name, i) => name !== before[i])) this.#dirty.locals.add(key);
    }
    this.#assigned = assigned;
  }

  #renderEndpoints(): void {
    for (const key of this.#dirty.locals) {
      const local = this.#locals.get(key), old = this.#endpoints.get(key);
      const interfaces = local ? this.#assigned.get(key) ?? [] : [];
      const profiles = interfaces.length > 0 ? local?.parents ?? [] : [];
      for (const name of profiles) this.#useProfile(name, 1);
      for (const name of old?.profiles ?? []) this.#useProfile(name, -1);
      if (!local || interfaces.length === 0) {
        this.#endpoints.delete(key);
        continue;
      }
      const { resource, policies } = local;
      const made = renderEndpoint({ resource, interfaces, policies, tiers: this.#tiers, settings: this.#settings });
      this.#endpoints.set(key, {
        chains: keepSameChains(old?.chains ?? [], made.chains),
        groups: made.groups,
        profiles,
      });
    }
    this.#dirty.locals.clear();
  }

  #useProfile(name: string, by: 1 | -1): void {
    const users = (this.#profileUsers.get(name) ?? 0) + by;
    if (users === 0) this.#profileUsers.delete(name);
    else this.#profileUsers.set(name, users);
    if (users <= 1) this.#dirty.profiles.add(name);
  }

  #renderHost(): void {
    const endpoints = [...this.#assigned].flatMap(([key, interfaces]) => {
      const local = this.#locals.get(key);
      return local ? [{ resource: local.resource, interfaces }] : [];
    });
    const { node } = this;
    const made = renderHost({
      node,
      settings: this.#settings,
      endpoints,
      pools: this.#pools.values(),
      nodes: this.#nodes.values(),
      ended: this.#ended,
    });
    const { inet, arp } = this.#host;
    this.#host = {
      inet: { chains: keepSameChains(inet.chains, made.inet.chains), sets: keepSameSets(inet.sets, made.inet.sets) },
      arp: { chains: keepSameChains(arp.chains, made.arp.chains), sets: keepSameSets(arp.sets, made.arp.sets) },
    };
  }

  #assemble(): Ruleset {
    const chains = new Map<string, Chain>();
    const add = (some: readonly Chain[]) => some.forEach((chain) => chains.set(chain.name, chain));
    const before = this.#ruleset?.tables[0]?.chains;
    add(this.#host.inet.chains);
    for (const { chains: own, groups } of this.#endpoints.values()) {
      add(own);
      // A group is named after what is in it, so the one that stands is the same.
      for (const group of groups) chains.set(group.name, before?.get(group.name) ?? group);
    }
    for (const active of this.#activePolicies.values()) add(active.chains);
    for (const active of this.#activeProfiles.values()) add(active.chains);
    const inet: Table = {
      family: "inet",
      name: tableName,
      chains,
      sets: byName([...this.#host.inet.sets, ...this.#members.render()]),
    };
    const arp: Table = {
      family: "arp",
      name: tableName,
      chains: byName(this.#host.arp.chains),
      sets: byName(this.#host.arp.sets),
    };
    return { tables: [inet, arp] };
  }
}

const nothing: Piece = { chains: [], sets: [] };

function byName<T extends { readonly name: string }>(items: readonly T[]): Map<string, T> {
  return new Map(items.map((item) => [item.name, item]));
}

function put<V>(map: Map<string, V>, key: string, value: V | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}

function parseNets(texts: readonly string[] | undefined): Cidr[] {
  return (texts ?? []).flatMap((text) => parseNet(text) ?? []);
}
