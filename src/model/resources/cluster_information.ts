/** ClusterInformation "default": what the fleet is, and whether its store may be used. */

import type { Resource } from "../resource.ts";

/** What ClusterInformation says. */
export interface ClusterInformationSpec {
  /** 32 hexadecimal digits. */
  readonly clusterGUID?: string;
  readonly clusterType?: string;
  /** calicoctl refuses to work when this is there and is not its own version. */
  readonly calicoVersion?: string;
  readonly datastoreReady?: boolean;
  readonly variant?: string;
}

/** The fleet. */
export type ClusterInformation = Resource<"ClusterInformation", ClusterInformationSpec>;
