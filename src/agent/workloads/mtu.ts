/**
 * The MTU of a workload's interface where none is asked for: what fits through every uplink of the host, less what a
 * tunnel of one of the pools adds (20 bytes for IPIP, 50 for VXLAN over IPv4, 70 over IPv6).
 */

import type { Link } from "../../dataplane/ports.ts";
import type { IPPool } from "../../model/resources/mod.ts";
import { isVirtual } from "../node_address.ts";

/** The MTU; undefined, which is the kernel's default, where the host has no uplink that is up. */
export function defaultMtu(links: Iterable<Link>, pools: Iterable<IPPool>): number | undefined {
  const uplinks = [...links].filter((link) => link.isUp && link.index !== 1 && !isVirtual(link) && link.kind !== "tun");
  if (uplinks.length === 0) return undefined;
  const overheads = [...pools].filter(({ spec }) => !spec.disabled).map(({ spec: { cidr, ipipMode, vxlanMode } }) => {
    if (vxlanMode !== "Never") return cidr.includes(":") ? 70 : 50;
    return ipipMode !== "Never" ? 20 : 0;
  });
  return Math.min(...uplinks.map(({ mtu }) => mtu)) - Math.max(0, ...overheads);
}
