/** All resource types in one place; types only, apart from the few constants and defaults beside them. */

import type { Resource } from "../resource.ts";
import type { BGPConfiguration } from "./bgp_configuration.ts";
import type { BGPFilter } from "./bgp_filter.ts";
import type { BGPPeer } from "./bgp_peer.ts";
import type { ClusterInformation } from "./cluster_information.ts";
import type { FelixConfiguration } from "./felix_configuration.ts";
import type { HostEndpoint } from "./host_endpoint.ts";
import type { IPPool } from "./ip_pool.ts";
import type { IPReservation } from "./ip_reservation.ts";
import type {
  GlobalNetworkPolicy,
  NetworkPolicy,
  StagedGlobalNetworkPolicy,
  StagedNetworkPolicy,
} from "./network_policy.ts";
import type { GlobalNetworkSet, NetworkSet } from "./network_set.ts";
import type { Node } from "./node.ts";
import type { Profile } from "./profile.ts";
import type { Tier } from "./tier.ts";
import type { WorkloadEndpoint } from "./workload_endpoint.ts";

/** Kinds that are known by name and carried along, but not looked into. */
export type OpaqueKind =
  | "StagedKubernetesNetworkPolicy"
  | "KubeControllersConfiguration"
  | "CalicoNodeStatus"
  | "IPAMConfiguration"
  | "BlockAffinity"
  | "LiveMigration";

/** A resource of such a kind. */
export type OpaqueResource = Resource<OpaqueKind, Readonly<Record<string, unknown>>>;

/** A resource of any known kind; `kind` tells which. */
export type AnyResource =
  | Node
  | IPPool
  | IPReservation
  | BGPConfiguration
  | BGPPeer
  | BGPFilter
  | WorkloadEndpoint
  | HostEndpoint
  | Profile
  | Tier
  | GlobalNetworkPolicy
  | NetworkPolicy
  | StagedGlobalNetworkPolicy
  | StagedNetworkPolicy
  | GlobalNetworkSet
  | NetworkSet
  | FelixConfiguration
  | ClusterInformation
  | OpaqueResource;

/** The name of a known kind. */
export type Kind = AnyResource["kind"];

/** The resource type of a kind. */
export type ResourceOf<K extends Kind> = Extract<AnyResource, { readonly kind: K }> extends never ? OpaqueResource
  : Extract<AnyResource, { readonly kind: K }>;

export type * from "../resource.ts";
export type * from "./bgp_configuration.ts";
export type * from "./bgp_filter.ts";
export type * from "./bgp_peer.ts";
export type * from "./cluster_information.ts";
export type * from "./endpoint_port.ts";
export type * from "./felix_configuration.ts";
export type * from "./host_endpoint.ts";
export type * from "./ip_pool.ts";
export type * from "./ip_reservation.ts";
export type * from "./network_policy.ts";
export type * from "./network_set.ts";
export type * from "./node.ts";
export type * from "./profile.ts";
export type * from "./rule.ts";
export type * from "./tier.ts";
export type * from "./workload_endpoint.ts";
