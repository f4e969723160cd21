/**
 * Our marks in the kernel: what bears one is ours to change and to remove, everything else is never touched.
 *
 * Links bear the prefix `cali` or an alias that names the workload; routes bear protocol 3 (on a workload interface
 * only) or 80. A route through a gateway with protocol 80 is left alone: tortie writes none.
 */

import type { Link, Route } from "./ports.ts";

/** RTPROT_* and RT_TABLE_* that the dataplane uses (linux/rtnetlink.h); 80 is Felix's number. */
export const RTPROT_BOOT = 3, RTPROT_TORTIE = 80, RT_TABLE_MAIN = 254;

/** RTPROT_BIRD: what the speaker learned from peers; the dataplane leaves it alone while the node runs. */
export const RTPROT_BIRD = 12;

/** RT_SCOPE_LINK, NUD_PERMANENT. */
export const RT_SCOPE_LINK = 253, NUD_PERMANENT = 0x80;

/** The prefix of workload interfaces. */
export const workloadPrefix = "cali";

const aliasPrefix = "tortie:";

/** The alias of the host side of a workload's veth; `workload` is the name of its WorkloadEndpoint. */
export function workloadAlias(workload: string): string {
  return aliasPrefix + workload;
}

/** The WorkloadEndpoint name that a link was made for; undefined when we did not make it. */
export function workloadOfAlias(alias: string): string | undefined {
  return alias.startsWith(aliasPrefix) ? alias.slice(aliasPrefix.length) : undefined;
}

/** Whether the link is a workload's by its name or by our alias. */
export function isWorkloadLink(link: Pick<Link, "name" | "alias">): boolean {
  return link.name.startsWith(workloadPrefix) || workloadOfAlias(link.alias) !== undefined;
}

/** Whether the route bears our mark; `linkAt` finds the link of an index. */
export function isOurRoute(route: Route, linkAt: (index: number) => Link | undefined): boolean {
  if (route.nexthops.some((hop) => hop.gateway)) return false;
  if (route.protocol === RTPROT_TORTIE) return true;
  const index = route.nexthops.length === 1 ? route.nexthops[0]?.ifindex : undefined;
  const link = route.protocol === RTPROT_BOOT && index !== undefined ? linkAt(index) : undefined;
  return link !== undefined && isWorkloadLink(link);
}
