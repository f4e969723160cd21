/** BGPFilter: ordered rules for the routes that a peer gets (export) and gives (import), each family apart; first match wins. */

import type { Resource } from "../resource.ts";

/** One change that an accepting rule makes to the route; exactly one member is set. */
export interface BGPFilterOperation {
  readonly addCommunity?: { readonly value: string };
  readonly prependASPath?: { readonly prefix: readonly number[] };
  readonly setPriority?: { readonly value: number };
}

/** What a route must look like, and what happens to it. */
export interface BGPFilterRule {
  readonly cidr?: string;
  readonly matchOperator?: "Equal" | "NotEqual" | "In" | "NotIn";
  readonly prefixLength?: { readonly min?: number; readonly max?: number };
  readonly source?: "RemotePeers";
  /** Name of the outgoing interface, `*` and `?` as wildcards. */
  readonly interface?: string;
  readonly peerType?: "eBGP" | "iBGP";
  readonly communities?: { readonly values: readonly string[] };
  readonly asPathPrefix?: readonly number[];
  readonly priority?: number;
  readonly action: "Accept" | "Reject";
  readonly operations?: readonly BGPFilterOperation[];
}

/** What a BGPFilter says. */
export interface BGPFilterSpec {
  readonly exportV4?: readonly BGPFilterRule[];
  readonly importV4?: readonly BGPFilterRule[];
  readonly exportV6?: readonly BGPFilterRule[];
  readonly importV6?: readonly BGPFilterRule[];
}

/** A route filter. */
export type BGPFilter = Resource<"BGPFilter", BGPFilterSpec>;
