/**
 * What must hold across the resources of a file: names are unique, pools do not overlap, what is referred to exists, and
 * addresses of nodes are their own.
 *
 * Without a shared store nothing coordinates who takes which address, so a pool that two nodes could allocate from is
 * refused. With etcd the file may be a part of what there is: then only what it contradicts by itself is wrong.
 */

import { Cidr } from "../lib/cidr.ts";
import type { ConfigError } from "./config_error.ts";
import { nearest } from "./nearest.ts";
import type { SourcedResource } from "./parse.ts";
import { idOf, resourceIdText } from "./resource.ts";
import type { AnyResource, IPPool, Kind, Node } from "./resources/mod.ts";
import { BUILT_IN_TIERS } from "./resources/tier.ts";
import { parseSelector } from "./selector/mod.ts";

/** What the checks need to know beside the resources. */
export interface FleetOptions {
  /** "file": the resources are all there is. */
  readonly datastore: "file" | "etcd";
  /** The name of the node that the file is for, if it is known. */
  readonly nodeName?: string;
}

interface Sourced<R extends AnyResource> extends SourcedResource {
  readonly resource: R;
}

/** Checks the resources of a file against each other; gives all errors. */
export function checkFleet(resources: readonly SourcedResource[], options: FleetOptions): ConfigError[] {
  const errors = [
    ...duplicateNames(resources),
    ...overlappingPools(ofKind(resources, "IPPool")),
    ...nodeAddressCollisions(ofKind(resources, "Node")),
  ];
  if (options.datastore === "file") {
    errors.push(
      ...sharedPools(ofKind(resources, "IPPool"), ofKind(resources, "Node")),
      ...missingFilters(resources),
      ...missingTiers(resources),
      ...missingNodes(resources),
      ...missingSelf(ofKind(resources, "Node"), options.nodeName),
    );
  }
  return errors;
}

/** The labels that a pool's or peer's node selector sees: the node's own and `name`. */
export function nodeLabels(node: Node): Record<string, string> {
  return { ...node.metadata.labels, name: node.metadata.name };
}

function ofKind<K extends Kind>(resources: readonly SourcedResource[], kind: K): Sourced<AnyResource & { kind: K }>[] {
  return resources.filter((sourced): sourced is Sourced<AnyResource & { kind: K }> => sourced.resource.kind === kind);
}

function duplicateNames(resources: readonly SourcedResource[]): ConfigError[] {
  const seen = new Map<string, SourcedResource>();
  const errors: ConfigError[] = [];
  for (const sourced of resources) {
    const id = resourceIdText(idOf(sourced.resource));
    const first = seen.get(id);
    if (first) {
      const hint = "rename or remove one of them";
      errors.push(sourced.error(["metadata", "name"], `${id} is there already, ${place(first)}`, hint));
    } else seen.set(id, sourced);
  }
  return errors;
}

function place(sourced: SourcedResource): string {
  return `at ${sourced.file}:${sourced.line}`;
}

function overlappingPools(pools: readonly Sourced<IPPool>[]): ConfigError[] {
  const errors: ConfigError[] = [];
  const sorted = pools.map((pool) => ({ pool, cidr: Cidr.parse(pool.resource.spec.cidr) }))
    .toSorted((a, b) => a.cidr.compare(b.cidr));
  let widest = sorted[0];
  for (const entry of sorted.slice(1)) {
    if (widest && widest.cidr.overlaps(entry.cidr)) {
      // Blame the one that is written later.
      const [first, later] = widest.pool.line <= entry.pool.line ? [widest, entry] : [entry, widest];
      const message = `overlaps with the pool ${first.pool.resource.metadata.name} (${first.cidr}), ${
        place(first.pool)
      }`;
      errors.push(later.pool.error(["spec", "cidr"], message, "give each pool a range of its own"));
    } else widest = entry;
  }
  return errors;
}

function sharedPools(pools: readonly Sourced<IPPool>[], nodes: readonly Sourced<Node>[]): ConfigError[] {
  const errors: ConfigError[] = [];
  for (const pool of pools) {
    const { spec } = pool.resource;
    const isForNodes = spec.allowedUses.some((use) => use !== "LoadBalancer");
    if (spec.disabled || !isForNodes) continue;
    const selector = parseSelector(spec.nodeSelector);
    const names = nodes.filter((node) => selector.matches(nodeLabels(node.resource)))
      .map((node) => node.resource.metadata.name);
    if (names.length < 2) continue;
    const message = `the nodes ${listed(names)} could both allocate from this pool, which only etcd can coordinate`;
    const hint = `give each node a pool of its own, such as nodeSelector: "name == '${
      names[0]
    }'", or use datastore type etcd`;
    errors.push(pool.error(["spec", "nodeSelector"], message, hint));
  }
  return errors;
}

function listed(names: readonly string[]): string {
  return names.length > 2 ? `${names[0]}, ${names[1]} and ${names.length - 2} more` : names.join(" and ");
}

function nodeAddressCollisions(nodes: readonly Sourced<Node>[]): ConfigError[] {
  const owners = new Map<string, Sourced<Node>>();
  const errors: ConfigError[] = [];
  for (const node of nodes) {
    for (const member of ["ipv4Address", "ipv6Address"] as const) {
      const address = node.resource.spec.bgp?.[member]?.replace(/\/.*/, "");
      if (!address) continue;
      const owner = owners.get(address);
      if (owner && owner.resource.metadata.name !== node.resource.metadata.name) {
        const message = `${address} is the address of the node ${owner.resource.metadata.name}, ${place(owner)}`;
        errors.push(node.error(["spec", "bgp", member], message, "give each node an address of its own"));
      } else owners.set(address, node);
    }
  }
  return errors;
}

function missingFilters(resources: readonly SourcedResource[]): ConfigError[] {
  const known = ofKind(resources, "BGPFilter").map((filter) => filter.resource.metadata.name);
  return ofKind(resources, "BGPPeer").flatMap((peer) =>
    (peer.resource.spec.filters ?? []).flatMap((name, i) =>
      known.includes(name) ? [] : [missing(peer, ["spec", "filters", i], "BGPFilter", name, known)]
    )
  );
}

function missingTiers(resources: readonly SourcedResource[]): ConfigError[] {
  const known = [
    ...Object.keys(BUILT_IN_TIERS),
    ...ofKind(resources, "Tier").map((tier) => tier.resource.metadata.name),
  ];
  const policies =
    (["GlobalNetworkPolicy", "NetworkPolicy", "StagedGlobalNetworkPolicy", "StagedNetworkPolicy"] as const)
      .flatMap((kind) => ofKind(resources, kind));
  return policies.flatMap((policy) => {
    const { tier } = policy.resource.spec;
    return known.includes(tier) ? [] : [missing(policy, ["spec", "tier"], "Tier", tier, known)];
  });
}

function missing(
  sourced: SourcedResource,
  path: readonly PropertyKey[],
  kind: Kind,
  name: string,
  known: readonly string[],
): ConfigError {
  const near = nearest(name, known);
  return sourced.error(
    path,
    `there is no ${kind} ${name}`,
    near ? `did you mean ${near}?` : `add the ${kind}, or remove this`,
  );
}

/** Where nodes are listed, what is for one node must name one of them. */
function missingNodes(resources: readonly SourcedResource[]): ConfigError[] {
  const known = ofKind(resources, "Node").map((node) => node.resource.metadata.name);
  if (known.length === 0) return [];
  return [...ofKind(resources, "BGPPeer"), ...ofKind(resources, "HostEndpoint")].flatMap((sourced) => {
    const { node } = sourced.resource.spec;
    return !node || known.includes(node) ? [] : [missing(sourced, ["spec", "node"], "Node", node, known)];
  });
}

/** A file that lists nodes must list the one that it is for. */
function missingSelf(nodes: readonly Sourced<Node>[], nodeName: string | undefined): ConfigError[] {
  const [first] = nodes;
  const names = nodes.map((node) => node.resource.metadata.name);
  if (!first || nodeName === undefined || names.includes(nodeName)) return [];
  const near = nearest(nodeName, names);
  const hint = near
    ? `did you mean ${near}? set node.name, or add a Node ${nodeName}`
    : `add a Node ${nodeName}, or set node.name to one of ${names.slice(0, 5).join(", ")}`;
  return [first.error(["metadata", "name"], `the file lists nodes, but not this one (${nodeName})`, hint)];
}
