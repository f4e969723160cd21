/** Node: a host of the fleet, its addresses and how BGP sees it. Its name is what pools, peers and endpoints refer to. */

import type { Resource } from "../resource.ts";

/** One address of a node and what it is used for. */
export interface NodeAddress {
  readonly address: string;
  readonly type?: "CalicoNodeIP" | "InternalIP" | "ExternalIP" | (string & Record<never, never>);
}

/** The BGP part of a node. */
export interface NodeBgp {
  /** Absent: the AS number of the default BGPConfiguration. */
  readonly asNumber?: number;
  /** Address with the length of the subnet that it is in ("192.0.2.11/24"). */
  readonly ipv4Address?: string;
  readonly ipv6Address?: string;
  readonly ipv4IPIPTunnelAddr?: string;
  /** An IPv4 address; present: the node is a route reflector and not part of the mesh. */
  readonly routeReflectorClusterID?: string;
}

/** What a Node says. */
export interface NodeSpec {
  readonly bgp?: NodeBgp;
  readonly ipv4VXLANTunnelAddr?: string;
  readonly ipv6VXLANTunnelAddr?: string;
  readonly vxlanTunnelMACAddr?: string;
  readonly vxlanTunnelMACAddrV6?: string;
  readonly orchRefs?: readonly { readonly nodeName?: string; readonly orchestrator: string }[];
  readonly wireguard?: { readonly interfaceIPv4Address?: string; readonly interfaceIPv6Address?: string };
  readonly addresses?: readonly NodeAddress[];
  readonly interfaces?: readonly { readonly name?: string; readonly addresses?: readonly string[] }[];
}

/** What the node reports of itself. */
export interface NodeStatus {
  readonly wireguardPublicKey?: string;
  readonly wireguardPublicKeyV6?: string;
  readonly podCIDRs?: readonly string[];
}

/** A host. */
export type Node = Resource<"Node", NodeSpec, NodeStatus>;
