/**
 * Takes everything that bears our mark off this host: veths, routes (the speaker's too), neighbours and the sysctls
 * of adopted interfaces. What others made stays. Works without a store; a later start makes everything again.
 */

import {
  isOurRoute,
  isWorkloadLink,
  NUD_PERMANENT,
  RT_TABLE_MAIN,
  RTPROT_BIRD,
  RTPROT_BOOT,
  RTPROT_TORTIE,
  workloadOfAlias,
} from "../dataplane/ownership.ts";
import type { Kernel } from "../dataplane/ports.ts";
import { resetSysctls } from "./workloads/workloads.ts";

/** What was taken down. */
export interface TakenDown {
  readonly links: readonly string[];
  readonly routes: number;
  readonly neighbours: number;
  /** What could not be removed, in words. */
  readonly errors: readonly string[];
}

/** Takes the dataplane down; errors are collected, so that one never keeps the rest up. */
export async function takeDown(kernel: Kernel): Promise<TakenDown> {
  const errors: string[] = [];
  const attempt = async (what: () => Promise<void>) => {
    try {
      await what();
      return true;
    } catch (error) {
      errors.push(error instanceof Error ? error.message : String(error));
      return false;
    }
  };
  const links = await kernel.links.list();
  const linkAt = new Map(links.map((link) => [link.index, link]));

  const routes = [];
  const adopted = new Set<string>();
  for (const protocol of [RTPROT_BOOT, RTPROT_TORTIE]) {
    for (const route of await kernel.fib.list({ protocol })) {
      if (!isOurRoute(route, (index) => linkAt.get(index))) continue;
      routes.push(route);
      const link = linkAt.get(route.nexthops[0]?.ifindex ?? 0);
      if (link && link.name !== "lo" && workloadOfAlias(link.alias) === undefined) adopted.add(link.name);
    }
  }
  // The speaker's go through a gateway; a blackhole of that protocol is another BIRD's.
  for (const route of await kernel.fib.list({ protocol: RTPROT_BIRD, table: RT_TABLE_MAIN })) {
    if (route.nexthops.some((hop) => hop.gateway)) routes.push(route);
  }
  const results = await kernel.fib.apply(routes.map((route) => ({ action: "delete", route })));
  for (const error of results) if (error) errors.push(error.message);

  let neighbours = 0;
  for (const neighbour of await kernel.neighbours.list()) {
    const link = linkAt.get(neighbour.index);
    if (!link || !isWorkloadLink(link) || neighbour.state !== NUD_PERMANENT) continue;
    if (await attempt(() => kernel.neighbours.delete(neighbour))) neighbours++;
  }

  const removed: string[] = [];
  for (const link of links) {
    if (workloadOfAlias(link.alias) !== undefined) {
      if (await attempt(() => kernel.links.delete(link.index))) removed.push(link.name);
    } else if (isWorkloadLink(link) || adopted.has(link.name)) await attempt(() => resetSysctls(kernel, link.name));
  }
  const refused = results.filter((error) => error !== undefined).length;
  return { links: removed, routes: routes.length - refused, neighbours, errors };
}
