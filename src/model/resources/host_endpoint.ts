/** HostEndpoint: an interface of a host (or all of them, `*`) that policy applies to. */

import type { Resource } from "../resource.ts";
import type { EndpointPort } from "./endpoint_port.ts";

/** What a HostEndpoint says. */
export interface HostEndpointSpec {
  readonly node?: string;
  readonly interfaceName?: string;
  readonly expectedIPs?: readonly string[];
  readonly profiles?: readonly string[];
  readonly ports?: readonly EndpointPort[];
}

/** An interface of a host under policy. */
export type HostEndpoint = Resource<"HostEndpoint", HostEndpointSpec>;
