/** GlobalNetworkSet and NetworkSet: prefixes with labels, so that selectors of rules can pick addresses outside. */

import type { Resource } from "../resource.ts";

/** What a network set says. */
export interface NetworkSetSpec {
  readonly nets?: readonly string[];
}

/** A set of prefixes for all namespaces. */
export type GlobalNetworkSet = Resource<"GlobalNetworkSet", NetworkSetSpec>;
/** A set of prefixes in a namespace. */
export type NetworkSet = Resource<"NetworkSet", NetworkSetSpec>;
