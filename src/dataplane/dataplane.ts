/**
 * All reconcilers of one kernel together: one desired state in, kernel events in, `apply` out.
 *
 * The order of an `apply` is links, addresses, sysctls, neighbours, routes, so that an interface answers for its workload
 * (forwarding, proxy ARP) before traffic is sent its way. The caller puts the firewall before all of it and owns the
 * timers: `nextDue` says when the next call is worth making. A failing table never stops the others.
 */

import type { Clock } from "../lib/clock.ts";
import { AddressReconciler } from "./address_reconciler.ts";
import { type DesiredLink, LinkReconciler } from "./link_reconciler.ts";
import { type LinkChange, LinkTable } from "./link_table.ts";
import { NeighbourReconciler } from "./neighbour_reconciler.ts";
import type { Address, Kernel, KernelEvent, Link, Neighbour, Route } from "./ports.ts";
import { isSameRoute, routeKey, RouteReconciler } from "./route_reconciler.ts";
import { SysctlReconciler } from "./sysctl_reconciler.ts";
import { type Failure, resyncInterval } from "./table_reconciler.ts";

/** Everything that should be in the kernel besides the firewall; the keys are those of the reconcilers. */
export interface DesiredState {
  readonly links: ReadonlyMap<string, DesiredLink>;
  readonly addresses: ReadonlyMap<string, Address>;
  readonly sysctls: ReadonlyMap<string, string>;
  readonly neighbours: ReadonlyMap<string, Neighbour>;
  readonly routes: ReadonlyMap<string, Route>;
}

/** What changes of it: undefined where nothing should be any more. */
export type DesiredChanges = {
  readonly [table in keyof DesiredState]: DesiredState[table] extends ReadonlyMap<string, infer D>
    ? ReadonlyMap<string, D | undefined>
    : never;
};

/** What an `apply` did. */
export interface ApplyReport {
  readonly changes: number;
  readonly failures: readonly Failure[];
}

/** The reconcilers of one kernel. */
export interface Dataplane {
  /** The links of the host as last heard. */
  readonly links: LinkTable;
  /** Sets what should be there, whole. */
  desire(state: DesiredState): void;
  /** Changes some of what should be there; costs what it changes. */
  amend(changes: DesiredChanges): void;
  /** Takes an event in; true when it may change what is desired (a link came, went or changed) or what has to be done. */
  observe(event: KernelEvent): boolean;
  /** Reads the links if in doubt; true when they differ from before, so that desired has to be computed anew. */
  refreshLinks(): Promise<boolean>;
  apply(options: { readonly mayRemove: boolean }): Promise<ApplyReport>;
  /** When `apply` is next worth calling without an event, on the clock's monotonic time. */
  nextDue(): number;
  failures(): Failure[];
  /** Whether the route stands in the kernel as it is, as far as is known. */
  stands(route: Route): boolean;
}

/** Makes the reconcilers; `isTunnel` says of which links the addresses are all ours. */
export function makeDataplane(
  kernel: Kernel,
  clock: Clock,
  { isTunnel = () => false, onLinkChange }: {
    readonly isTunnel?: (link: Link) => boolean;
    /** Told of each link that came, went or changed, before `observe` or `refreshLinks` return. */
    readonly onLinkChange?: (change: LinkChange) => void;
  } = {},
): Dataplane {
  const linkTable = new LinkTable();
  const links = new LinkReconciler(kernel.links, linkTable, clock);
  const addresses = new AddressReconciler(kernel.links, linkTable, isTunnel, clock);
  const sysctls = new SysctlReconciler(kernel.sysctl, clock);
  const neighbours = new NeighbourReconciler(kernel.neighbours, linkTable, clock);
  const routes = new RouteReconciler(kernel.fib, linkTable, clock);
  const tables = [links, addresses, sysctls, neighbours, routes];
  let areLinksDoubtful = true;
  let lastLinkRead = -Infinity;
  let linkFailure: Error | undefined;

  const linkChanged = (change: LinkChange) => {
    const { link, before, isGone } = change;
    onLinkChange?.(change);
    links.linkChanged(link, isGone);
    const isNewHere = !isGone && before?.name !== link.name;
    if (isGone || isNewHere) sysctls.forgetGroup(link.name);
    if (!isGone && (link.isUp || !before?.isUp)) return;
    for (const table of [addresses, neighbours, routes]) table.forgetGroup(link.index);
  };
  const failures = () => [
    ...linkFailure ? [{ table: "links", key: "", error: linkFailure }] : [],
    ...tables.flatMap((table) => table.failures()),
  ];

  return {
    links: linkTable,
    desire: (state) => {
      links.desire(state.links);
      addresses.desire(state.addresses);
      sysctls.desire(state.sysctls);
      neighbours.desire(state.neighbours);
      routes.desire(state.routes);
    },
    amend: (changes) => {
      links.amend(changes.links);
      addresses.amend(changes.addresses);
      sysctls.amend(changes.sysctls);
      neighbours.amend(changes.neighbours);
      routes.amend(changes.routes);
    },
    observe: (event) => {
      switch (event.type) {
        case "resync":
          areLinksDoubtful = true;
          for (const table of tables) table.distrust();
          return true;
        case "link": {
          const change = linkTable.observe(event);
          if (change) linkChanged(change);
          return change !== undefined;
        }
        case "address":
          addresses.addressChanged(event);
          break;
        case "route":
          routes.routeChanged(event);
          break;
        case "neighbour":
          neighbours.neighbourChanged(event);
          break;
      }
      return tables.some((table) => table.isDirty);
    },
    refreshLinks: async () => {
      if (!areLinksDoubtful && clock.monotonic() - lastLinkRead < resyncInterval) return false;
      areLinksDoubtful = false;
      try {
        const changes = await linkTable.refresh(kernel.links);
        changes.forEach(linkChanged);
        lastLinkRead = clock.monotonic();
        linkFailure = undefined;
        return changes.length > 0;
      } catch (error) {
        linkFailure = error instanceof Error ? error : new Error(String(error));
        areLinksDoubtful = true;
        return false;
      }
    },
    apply: async (options) => {
      let changes = 0;
      if (lastLinkRead !== -Infinity) { for (const table of tables) changes += await table.apply(options); }
      return { changes, failures: failures() };
    },
    nextDue: () => {
      if (areLinksDoubtful) return linkFailure ? clock.monotonic() + linkRetry : 0;
      return Math.min(...tables.map((table) => table.nextDue()), lastLinkRead + resyncInterval);
    },
    failures,
    stands: (route) => {
      const key = routeKey(route);
      const actual = routes.actualAt(key);
      return actual !== undefined && isSameRoute(route, actual) && !routes.hasFailed(key);
    },
  };
}

/** Milliseconds between two tries to list the links. */
const linkRetry = 500;
