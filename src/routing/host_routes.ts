/**
 * Which routes this host should have of itself: one for each address of a local workload, and a blackhole for each block
 * of its own, so that an address of the block that nobody has is answered here and not sent back to where it came from.
 *
 * Several sources may want the same destination; the first of `routeSources` wins (a workload before a blackhole), among
 * two workloads the one with the lower name. What lost is kept, with the reason. Routes learnt by BGP are the speaker's.
 */

import type { Cidr } from "../lib/cidr.ts";
import { ClaimTable } from "./claims.ts";

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
}

/** A route that gave way to another one of the same destination. */
export interface LostRoute {
  readonly destination: string;
  /** The workload or block whose route it is. */
  readonly owner: string;
  /** Whose route stands. */
  readonly to: string;
  readonly why: string;
}

const RTPROT_BOOT = 3, RTPROT_OWN = 80;

/** The routes of one host by destination, kept as workloads and blocks come and go. */
export class HostRoutes {
  readonly #claims = new ClaimTable<HostRoute>((a, b) =>
    routeSources.indexOf(a.source) - routeSources.indexOf(b.source)
  );

  /** Sets what leads to a workload; no addresses take its routes away. */
  setWorkload(name: string, interfaceName: string, addresses: readonly Cidr[]): void {
    const protocol = interfaceName.startsWith("cali") ? RTPROT_BOOT : RTPROT_OWN;
    this.#claims.set(
      name,
      byDestination(
        addresses.map((destination) => ({ destination, source: "local workload", interfaceName, protocol })),
      ),
    );
  }

  /** Sets whether a block is this host's; a block of one address is its workload's route itself. */
  setBlock(block: Cidr, isOurs: boolean): void {
    const isBlackholed = isOurs && block.length < block.ip.bits;
    this.#claims.set(
      block.toString(),
      byDestination(isBlackholed ? [{ destination: block, source: "blackhole", protocol: RTPROT_OWN }] : []),
    );
  }

  /** The destinations that changed since the last call, with the route that each should have now. */
  takeChanges(): Map<string, HostRoute | undefined> {
    return this.#claims.takeChanges();
  }

  /** What lost, and why. */
  lost(): LostRoute[] {
    return this.#claims.lost().map(({ key, owner, value, to }) => ({
      destination: key,
      owner,
      to: to.owner,
      why: value.source === to.value.source
        ? `${to.owner} has the same address and the lower name`
        : `a route of a ${to.value.source} goes before one of a ${value.source}`,
    }));
  }
}

function byDestination(routes: readonly HostRoute[]): Map<string, HostRoute> {
  return new Map(routes.map((route) => [route.destination.toString(), route]));
}
