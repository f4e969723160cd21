/**
 * WorkloadEndpoint: the interface of one workload on one node, with its addresses. Its name is composed of node,
 * orchestrator, workload and endpoint (`wep_name.ts`).
 */

import type { Resource } from "../resource.ts";
import type { EndpointPort } from "./endpoint_port.ts";

/** Annotations that tortie writes to the endpoints that it makes; they come back when people edit what `get` shows. */
export const WORKLOAD_ANNOTATIONS = [
  "tortie/netns",
  "tortie/netns-id",
  "tortie/adopted",
  "tortie/name",
  "tortie/mtu",
  "tortie/requested-ips",
] as const;

/** Limits on the traffic of an endpoint: bits, packets or connections a second, each way. */
export interface QoSControls {
  readonly ingressBandwidth?: number;
  readonly egressBandwidth?: number;
  readonly ingressBurst?: number;
  readonly egressBurst?: number;
  readonly ingressPeakrate?: number;
  readonly egressPeakrate?: number;
  readonly ingressMinburst?: number;
  readonly egressMinburst?: number;
  readonly ingressPacketRate?: number;
  readonly egressPacketRate?: number;
  readonly ingressPacketBurst?: number;
  readonly egressPacketBurst?: number;
  readonly ingressMaxConnections?: number;
  readonly egressMaxConnections?: number;
  readonly dscp?: string | number;
}

/** What a WorkloadEndpoint says. */
export interface WorkloadEndpointSpec {
  readonly orchestrator: string;
  readonly node: string;
  readonly workload?: string;
  readonly containerID?: string;
  readonly pod?: string;
  readonly endpoint?: string;
  readonly serviceAccountName?: string;
  /** Full-length prefixes: "10.65.3.68/32", "fd00:65::44/128". */
  readonly ipNetworks?: readonly string[];
  readonly ipNATs?: readonly { readonly internalIP: string; readonly externalIP: string }[];
  readonly ipv4Gateway?: string;
  readonly ipv6Gateway?: string;
  readonly profiles?: readonly string[];
  /** The host's end. */
  readonly interfaceName?: string;
  /** The workload's end. */
  readonly mac?: string;
  readonly ports?: readonly EndpointPort[];
  readonly allowSpoofedSourcePrefixes?: readonly string[];
  readonly qosControls?: QoSControls;
}

/** The endpoint of a workload. */
export type WorkloadEndpoint = Resource<"WorkloadEndpoint", WorkloadEndpointSpec>;
