/** What the speaker's configuration is computed from, and the views on it that all parts of the computation share. */

import { nodeLabels } from "../../model/fleet.ts";
import type {
  BGPConfiguration,
  BGPConfigurationSpec,
  BGPFilter,
  BGPPeer,
  IPPool,
  Node,
} from "../../model/resources/mod.ts";
import { parseSelector } from "../../model/selector/mod.ts";
import type { AddressFamily } from "../config.ts";

/** A block affinity, as it is stored; the state "pending" is as good as none. */
export interface AffinityFact {
  readonly cidr: string;
  readonly host: string;
  readonly state: string;
}

/** Whose FIB routes of tunnelled and plain pools the speaker installs (`programClusterRoutes`). */
export type ClusterRoutes = "Enabled" | "Disabled" | "EnabledIPIPOnly" | "EnabledNoEncapOnly";

/** Resources of the fleet and what is known of this node. */
export interface ResolveInput {
  readonly nodeName: string;
  readonly nodes: readonly Node[];
  readonly peers: readonly BGPPeer[];
  readonly configurations: readonly BGPConfiguration[];
  readonly filters: readonly BGPFilter[];
  readonly pools: readonly IPPool[];
  readonly affinities: readonly AffinityFact[];
  /** Router id: an IPv4 address, "hash" (of the node's name), or the node's IPv4 address when left out. */
  readonly routerId?: string;
  /** What holds where BGPConfiguration has no `programClusterRoutes`; Calico 3.33: EnabledNoEncapOnly. */
  readonly defaultClusterRoutes?: ClusterRoutes;
}

/** A node as BGP sees it. */
export interface BgpNode {
  readonly name: string;
  readonly labels: Record<string, string>;
  readonly address4?: string;
  readonly address6?: string;
  /** The networks that the addresses are in. */
  readonly networks: readonly string[];
  /** The AS of the node or of the fleet. */
  readonly as: number;
  /** Empty when the node is no route reflector. */
  readonly clusterId: string;
  /** Undefined where nobody has set one (179). */
  readonly listenPort?: number;
}

/** The name of the fleet's BGPConfiguration. */
const DEFAULT_NAME = "default";

/** The fleet's configuration, or that of one node. */
export function specOf(input: ResolveInput, node?: string): BGPConfigurationSpec {
  return configurationOf(input, node)?.spec ?? {};
}

/** The resource that `specOf` reads. */
export function configurationOf(input: ResolveInput, node?: string): BGPConfiguration | undefined {
  const name = node === undefined ? DEFAULT_NAME : `node.${node}`;
  return input.configurations.find(({ metadata }) => metadata.name === name);
}

/** All nodes with a BGP part, in the order of their names. */
export function bgpNodes(input: ResolveInput, defaultAs: number): BgpNode[] {
  return input.nodes.map((node): BgpNode => {
    const { bgp } = node.spec;
    return {
      name: node.metadata.name,
      labels: nodeLabels(node),
      address4: bgp?.ipv4Address?.split("/")[0],
      address6: bgp?.ipv6Address?.split("/")[0],
      networks: [bgp?.ipv4Address, bgp?.ipv6Address].filter((text) =>
        text !== undefined && text.includes("/")
      ) as string[],
      as: bgp?.asNumber ?? defaultAs,
      clusterId: bgp?.routeReflectorClusterID ?? "",
      listenPort: specOf(input, node.metadata.name).listenPort ?? specOf(input).listenPort,
    };
  }).sort((a, b) => a.name < b.name ? -1 : 1);
}

/** The nodes that a selector picks; none when the selector cannot be read. */
export function nodesMatching(nodes: readonly BgpNode[], selector: string): BgpNode[] {
  try {
    const { matches } = parseSelector(selector);
    return nodes.filter(({ labels }) => matches(labels));
  } catch {
    return [];
  }
}

/** The address of a node in a family. */
export function addressOf(node: BgpNode, family: AddressFamily): string | undefined {
  return family === 4 ? node.address4 : node.address6;
}

/** The family of an address's text. */
export function familyOf(address: string): AddressFamily {
  return address.includes(":") ? 6 : 4;
}
