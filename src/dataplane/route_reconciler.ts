/**
 * Keeps our routes. Only what bears our mark is read and followed, so a million routes of the speaker cost nothing here.
 *
 * A route of somebody else's in our place (same table, destination and metric) is not overwritten: ours is added with
 * NLM_F_EXCL, the refusal is kept as the reason, and the key is tried again the moment the other route goes. Linux
 * reports nothing for the IPv4 routes that leave with a link going down, so the link's event stands for them. That event
 * may be from before our own write, as when a link has just been made: then what is in the way is our own route.
 */

import type { Clock } from "../lib/clock.ts";
import { NetlinkError } from "../netlink/error.ts";
import type { LinkTable } from "./link_table.ts";
import { isOurRoute, RTPROT_BOOT, RTPROT_TORTIE } from "./ownership.ts";
import type { Fib, KernelEvent, Nexthop, Route } from "./ports.ts";
import { TableReconciler } from "./table_reconciler.ts";

/** The identity of a route in the kernel: table, destination, and metric (IPv6 turns 0 into 1024). */
export function routeKey(route: Route): string {
  const metric = route.destination.family === 6 && route.metric === 0 ? 1024 : route.metric;
  return `${route.destination} table ${route.table} metric ${metric}`;
}

/** Whether the kernel's route is what is desired. */
export function isSameRoute(desired: Route, actual: Route): boolean {
  return desired.type === actual.type && desired.protocol === actual.protocol &&
    (desired.destination.family === 6 || desired.scope === actual.scope) &&
    String(desired.source) === String(actual.source) &&
    (desired.type !== "unicast" || isSamePath(desired.nexthops, actual.nexthops)) &&
    routeKey(desired) === routeKey(actual);
}

function isSamePath(desired: readonly Nexthop[], actual: readonly Nexthop[]): boolean {
  return desired.length === actual.length && desired.every((hop, i) => {
    const other = actual[i];
    return other !== undefined && hop.ifindex === other.ifindex && String(hop.gateway) === String(other.gateway) &&
      (hop.weight ?? 1) === (other.weight ?? 1) && (!hop.isOnlink || other.isOnlink === true);
  });
}

/** The reconciler of routes. */
export class RouteReconciler extends TableReconciler<Route, Route> {
  constructor(fib: Fib, readonly linkTable: LinkTable, clock: Clock) {
    const read = async () => {
      const found = new Map<string, Route>();
      for (const protocol of [RTPROT_BOOT, RTPROT_TORTIE]) {
        for (const route of await fib.list({ protocol })) {
          if (this.#isClaimed(route)) found.set(routeKey(route), route);
        }
      }
      return found;
    };
    super({
      name: "routes",
      read,
      isSame: isSameRoute,
      assume: (desired) => desired,
      groupOf: (route) => route.nexthops[0]?.ifindex,
      put: async (puts) => {
        const errors = await fib.apply(
          puts.map(({ desired, actual }) => ({ action: "replace", route: desired, isExclusive: actual === undefined })),
        );
        if (!errors.some((error) => error?.code === "EEXIST")) return errors;
        const standing = await read();
        return errors.map((error, i) => {
          if (error?.code !== "EEXIST") return error;
          const { key, desired } = puts[i]!;
          const found = standing.get(key);
          return found && isSameRoute(desired, found) ? undefined : standsInTheWay(error);
        });
      },
      remove: (removals) => fib.apply(removals.map(({ actual }) => ({ action: "delete", route: actual }))),
    }, clock);
  }

  /** Takes a route event in. */
  routeChanged(event: Extract<KernelEvent, { type: "route" }>): void {
    const { route, isGone } = event;
    const key = routeKey(route);
    const known = this.actualAt(key);
    if (isGone) {
      if (known && isSameRoute(known, route)) this.observe(key, undefined);
      else if (!known && this.isDesired(key)) this.retry(key);
    } else if (this.#isClaimed(route)) this.observe(key, route);
    else if (known) this.observe(key, undefined);
  }

  #isClaimed(route: Route): boolean {
    const desired = this.desiredAt(routeKey(route));
    return isOurRoute(route, (index) => this.linkTable.at(index)) ||
      desired !== undefined && isSameRoute(desired, route);
  }
}

function standsInTheWay({ operation, errno, code }: NetlinkError): NetlinkError {
  return new NetlinkError(operation, errno, code, "a route of another program stands in its place; delete that one");
}
