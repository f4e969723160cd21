/** FelixConfiguration: settings of the agent for all nodes ("default") or one ("node.<name>"). Only what is read is typed. */

import type { Resource } from "../resource.ts";

/** A port that stays open whatever policy says. */
export interface FailsafePort {
  readonly protocol?: string;
  readonly port: number;
  /** Absent: from (or to) anywhere. */
  readonly net?: string;
}

/** What a FelixConfiguration says; members without a type of their own are kept as they are. */
export interface FelixConfigurationSpec {
  readonly logSeverityScreen?: string;
  readonly interfacePrefix?: string;
  readonly interfaceExclude?: string;
  readonly chainInsertMode?: "Insert" | "Append" | "insert" | "append";
  readonly defaultEndpointToHostAction?: "Drop" | "Return" | "Accept";
  readonly failsafeInboundHostPorts?: readonly FailsafePort[];
  readonly failsafeOutboundHostPorts?: readonly FailsafePort[];
  readonly ipForwarding?: "Enabled" | "Disabled";
  readonly workloadSourceSpoofing?: "Disabled" | "Any";
  readonly floatingIPs?: "Enabled" | "Disabled";
  readonly vxlanPort?: number;
  readonly vxlanVNI?: number;
  readonly vxlanMTU?: number;
  readonly ipipMTU?: number;
  readonly natOutgoingAddress?: string;
  readonly natPortRange?: number | string;
  readonly deviceRouteProtocol?: number;
  readonly deviceRouteSourceAddress?: string;
  readonly deviceRouteSourceAddressIPv6?: string;
  readonly removeExternalRoutes?: boolean;
  readonly logPrefix?: string;
  readonly logActionRateLimit?: string;
  readonly endpointReportingEnabled?: boolean;
  readonly reportingInterval?: string;
  readonly reportingTTL?: string;
  readonly routeSource?: "WorkloadIPs" | "CalicoIPAM";
  readonly [member: string]: unknown;
}

/** Settings of the agent. */
export type FelixConfiguration = Resource<"FelixConfiguration", FelixConfigurationSpec>;
