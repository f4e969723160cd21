/**
 * Which routes this host should have of itself: one for each address of a local workload, and a blackhole for each block
 * of its own, so that an address of the block that nobody has is answered here and not sent back to where it came from.
 *
 * Several sources may want the same destination; the first of `routeSources` wins (a workload before a blackhole), among
 * two workloads the one with the lower name. What lost is kept with the reason. Routes learnt by BGP are the speaker's.
 */

import type { Cidr } from "../lib/cidr.ts";

/** Where a route comes from, the strongest first (Calico's order for one destination). */
export const routeSources = [
  "local workload",
  "wireguard",
  "vxlan same subnet",
  "vxlan tunnel",
  "ipip same subnet",
  "ipip tunnel",
  "no encapsulation",
  "blackhole",
] as const;

/** See `routeSources`. */
export type RouteSource = typeof routeSources[number];

/** A route that this host should have; the interface is still a name. */
export interface HostRoute {
  readonly destination: Cidr;
  readonly source: RouteSource;
  /** Absent for a blackhole. */
  readonly interfaceName?: string;
  /** RTPROT_*: 3 on workload interfaces named `cali…`, else 80, by which we know our own again. */
  readonly protocol: number;
  /** Whose it is: the endpoint's name or the block. */
  readonly owner: string;
}

/** A route that gave way to another one of the same destination. */
export interface LostRoute {
  readonly route: HostRoute;
  readonly to: HostRoute;
  readonly why: string;
}

/** A workload of this host. */
export interface RoutedWorkload {
  /** The name of its WorkloadEndpoint. */
  readonly name: string;
  readonly interfaceName: string;
  /** Full-length prefixes. */
  readonly addresses: readonly Cidr[];
}

/** The routes by destination, and those that lost. */
export interface HostRoutes {
  readonly routes: ReadonlyMap<string, HostRoute>;
  readonly lost: readonly LostRoute[];
}

const RTPROT_BOOT = 3, RTPROT_OWN = 80;

/** Computes the routes from this host's confirmed blocks and its workloads. */
export function computeHostRoutes(
  { blocks, workloads }: { readonly blocks: readonly Cidr[]; readonly workloads: readonly RoutedWorkload[] },
): HostRoutes {
  const routes = new Map<string, HostRoute>();
  const lost: LostRoute[] = [];
  for (const route of [...workloads.flatMap(routesOfWorkload), ...blocks.flatMap(routeOfBlock)]) {
    const key = route.destination.toString();
    const rival = routes.get(key);
    const [winner, loser] = !rival || isStronger(route, rival) ? [route, rival] : [rival, route];
    routes.set(key, winner);
    if (loser) lost.push({ route: loser, to: winner, why: reason(loser, winner) });
  }
  return { routes, lost };
}

function routesOfWorkload({ name, interfaceName, addresses }: RoutedWorkload): HostRoute[] {
  const protocol = interfaceName.startsWith("cali") ? RTPROT_BOOT : RTPROT_OWN;
  return addresses.map((destination) => ({
    destination,
    source: "local workload",
    interfaceName,
    protocol,
    owner: name,
  }));
}

/** A block of one address is the workload's route itself. */
function routeOfBlock(block: Cidr): HostRoute[] {
  if (block.length === block.ip.bits) return [];
  return [{ destination: block, source: "blackhole", protocol: RTPROT_OWN, owner: block.toString() }];
}

function isStronger(a: HostRoute, b: HostRoute): boolean {
  const difference = routeSources.indexOf(a.source) - routeSources.indexOf(b.source);
  return difference !== 0 ? difference < 0 : a.owner < b.owner;
}

function reason(loser: HostRoute, winner: HostRoute): string {
  return loser.source === winner.source
    ? `${winner.owner} has the same address and the lower name`
    : `a route of a ${winner.source} goes before one of a ${loser.source}`;
}
