/**
 * BGPPeer: whom a node, or every node that a selector picks, has a BGP session with: an address, the nodes that another
 * selector picks, or the workloads of the node itself. What Calico has no field for is in annotations (`peerAnnotations`).
 */

import type { Resource } from "../resource.ts";
import type { BGPPassword } from "./bgp_configuration.ts";

/** What a BGPPeer says. */
export interface BGPPeerSpec {
  /** The node that the peering is for; neither this nor `nodeSelector`: all nodes. */
  readonly node?: string;
  readonly nodeSelector?: string;
  /** "192.0.2.1", "192.0.2.1:1790", "2001:db8::1" or "[2001:db8::1]:1790". */
  readonly peerIP?: string;
  readonly asNumber?: number;
  /** Absent: the AS number of the node. */
  readonly localASNumber?: number;
  /** Nodes to peer with, instead of `peerIP`. */
  readonly peerSelector?: string;
  /** Workloads of this node to peer with, instead of `peerIP`. */
  readonly localWorkloadSelector?: string;
  readonly password?: BGPPassword;
  /** Absent: UseNodeIP. */
  readonly sourceAddress?: "UseNodeIP" | "None";
  /** Absent: Auto. */
  readonly nextHopMode?: "Auto" | "Self" | "Keep";
  readonly keepOriginalNextHop?: boolean;
  /** Go duration text ("2m0s"). */
  readonly maxRestartTime?: string;
  readonly keepaliveTime?: string;
  readonly numAllowedLocalASNumbers?: number;
  /** Hops (1-255) that packets of the peer may have passed (RFC 5082). */
  readonly ttlSecurity?: number;
  /** The gateway of a static route to the peer. */
  readonly reachableBy?: string;
  /** Names of BGPFilters, in order. */
  readonly filters?: readonly string[];
  readonly reversePeering?: "Auto" | "Manual";
}

/** A BGP peering. */
export type BGPPeer = Resource<"BGPPeer", BGPPeerSpec>;

/** Splits `peerIP` into address and port (undefined: none given); undefined when the text is neither form. */
export function splitPeerIP(text: string): { readonly address: string; readonly port?: number } | undefined {
  const match = /^\[([^\]]+)\]:([0-9]{1,5})$/.exec(text) ?? /^([0-9.]+):([0-9]{1,5})$/.exec(text);
  if (!match) return { address: text };
  const port = Number(match[2]);
  return port < 1 || port > 65535 ? undefined : { address: match[1] ?? "", port };
}
