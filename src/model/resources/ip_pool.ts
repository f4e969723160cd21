/** IPPool: a range of addresses for workloads and tunnels, and how traffic to it travels. Defaults are Calico's. */

import type { Resource } from "../resource.ts";

/** When a tunnel is used: for every other host, only for hosts in another subnet, or not at all. */
export type EncapMode = "Always" | "CrossSubnet" | "Never";

/** What addresses of the pool may be given to. */
export type AllowedUse = "Workload" | "Tunnel" | "LoadBalancer";

/** What an IPPool says; the members without `?` are filled in when it is read. */
export interface IPPoolSpec {
  /** Masked prefix; never changes. */
  readonly cidr: string;
  /** Length of the prefix that hosts take from the pool at a time; never changes. */
  readonly blockSize: number;
  readonly ipipMode: EncapMode;
  readonly vxlanMode: EncapMode;
  readonly nodeSelector: string;
  readonly allowedUses: readonly AllowedUse[];
  readonly assignmentMode: "Automatic" | "Manual";
  readonly natOutgoing?: boolean;
  readonly disabled?: boolean;
  readonly disableBGPExport?: boolean;
  readonly namespaceSelector?: string;
}

/** An address pool. */
export type IPPool = Resource<"IPPool", IPPoolSpec>;

/** The spec with Calico's defaults for what is absent (block /26 or /122, no encapsulation, all nodes). */
export function withIPPoolDefaults(spec: Partial<IPPoolSpec> & { readonly cidr: string }): IPPoolSpec {
  return {
    ...spec,
    cidr: spec.cidr,
    blockSize: spec.blockSize || (spec.cidr.includes(":") ? 122 : 26),
    ipipMode: spec.ipipMode || "Never",
    vxlanMode: spec.vxlanMode || "Never",
    nodeSelector: spec.nodeSelector || "all()",
    allowedUses: spec.allowedUses?.length ? spec.allowedUses : ["Workload", "Tunnel"],
    assignmentMode: spec.assignmentMode || "Automatic",
  };
}
