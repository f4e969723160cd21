/**
 * Whether the host has a route by which it would forward to 169.254.1.1, the workloads' gateway.
 *
 * Linux answers a workload's ARP request for it (proxy_arp) only if it could forward there by another interface than the
 * one that asks (net/ipv4/arp.c). A default route is enough; a host without one gets a route of ours to the loopback
 * device in its place, which nothing ever follows. Followed by events, so that a default route that comes takes over.
 */

import type { Kernel, KernelEvent, Route } from "../dataplane/ports.ts";
import { RT_TABLE_MAIN, RTPROT_TORTIE } from "../dataplane/ownership.ts";
import { routeKey } from "../dataplane/route_reconciler.ts";
import { gateway4 } from "./workloads/endpoint.ts";

/** What is known of routes to the gateway. */
export interface GatewayWatch {
  /** Reads the routes; needed at start and after events were lost. */
  read(): Promise<void>;
  /** Takes a kernel event in. */
  observe(event: KernelEvent): void;
  readonly hasRoute: boolean;
}

/** RTPROT_*: kernel, boot, static, router advertisement, DHCP. A route of a routing daemon is known once it is reported. */
const protocols = [2, 3, 4, 9, 16];

/** Follows the routes that cover the gateway; `changed` is called when there is one first or no longer. */
export function watchGateway(kernel: Pick<Kernel, "fib">, changed: () => void): GatewayWatch {
  const routes = new Map<string, Route>();
  let hadRoute: boolean | undefined;
  const settle = () => {
    const hasRoute = routes.size > 0;
    if (hasRoute === hadRoute) return;
    hadRoute = hasRoute;
    changed();
  };
  const covers = ({ destination, type, table, protocol }: Route) =>
    protocol !== RTPROT_TORTIE && table === RT_TABLE_MAIN && type === "unicast" && destination.contains(gateway4);
  const read = async () => {
    const found: Route[] = [];
    for (const protocol of protocols) {
      found.push(...(await kernel.fib.list({ family: 4, table: RT_TABLE_MAIN, protocol })).filter(covers));
    }
    for (const route of found) routes.set(routeKey(route), route);
    settle();
  };
  const observe = (event: KernelEvent) => {
    if (event.type === "resync") {
      routes.clear();
      read().catch(() => {});
    } else if (event.type === "route" && covers(event.route)) {
      if (event.isGone) routes.delete(routeKey(event.route));
      else routes.set(routeKey(event.route), event.route);
      settle();
    } else if (event.type === "link" && (event.isGone || !event.link.isUp)) {
      for (const [key, { nexthops }] of routes) {
        if (nexthops.every(({ ifindex }) => ifindex === event.link.index)) routes.delete(key);
      }
      settle();
    }
  };
  return {
    read,
    observe,
    get hasRoute() {
      return routes.size > 0;
    },
  };
}
