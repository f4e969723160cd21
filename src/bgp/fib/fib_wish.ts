/**
 * What the kernel should have for a prefix: the ways of the best path and of its equals, or nothing, with the reason.
 *
 * Only peers' routes are installed. Calico's kernel rules say which pools' routes are the speaker's and which go through
 * the IPIP device. A route that somebody else has put there with the same metric is left alone.
 */

import { Cidr } from "../../lib/cidr.ts";
import { Ip } from "../../lib/ip.ts";
import { kernelMetric, kernelPolicy } from "../filter/calico.ts";
import type { FibNexthop } from "../rib/interface.ts";
import { IS_MULTIPATH } from "../rib/path_table.ts";
import type { RouterCore } from "../rib/router.ts";
import { FibTable } from "./fib_table.ts";
import { wayKey } from "./next_hops.ts";

/** Computes wishes for one family and puts them into its table. */
export interface FibWish {
  readonly table: FibTable;
  update(prefix: number): void;
  /** Why the best path of a prefix is not installed; undefined when it is. */
  refusal(prefix: number): string | undefined;
}

/** Makes the wishes of a family by the router's present configuration; `table` is taken over from the last one. */
export function makeFibWish(router: RouterCore, family: 0 | 1, known?: FibTable): FibWish {
  const { prefixes, paths } = router.ribs[family];
  const table = known ?? new FibTable(family === 0 ? 4 : 6, prefixes);
  const { config, nextHops } = router;
  const rule = kernelPolicy(config, router.policies.classes[family]);
  const networks = config.fib.nodeNetworks.map((text) => Cidr.tryParse(text)).filter((cidr) => cidr !== undefined);
  const normal = family === 0 ? config.normalPriority4 : config.normalPriority6;
  const address = new Uint8Array(family === 0 ? 4 : 16);
  let memoHop = -1, memoMetric = -1, memoTunnel = -1, memoSet = 0, memoGeneration = -1;
  let memoResolution: unknown;

  /** The set for the prefix, or why there is none. */
  function wish(prefix: number): number | string {
    const best = prefixes.best[prefix]!;
    if (best < 0) return "no path";
    if (paths.peer[best] === 0) return "a route of the host";
    const hop = router.nextHopOf(paths.attributes[best]!);
    const verdict = rule(prefixes.class[prefix]!, () => {
      const bytes = nextHops.address(hop);
      const ip = bytes && Ip.fromBytes(bytes);
      return ip !== undefined && networks.some((network) => network.contains(ip));
    });
    if ("refusal" in verdict) return verdict.refusal;
    const tunnel = verdict.tunnel === undefined ? 0 : indexOf(verdict.tunnel);
    if (tunnel === undefined) return `no device ${verdict.tunnel}`;
    const metric = kernelMetric(router.store.columns.localPref[paths.attributes[best]!]!, normal);
    if (hasAlien(prefix, metric)) return "another route is there";
    const isSingle = (paths.flags[best]! & IS_MULTIPATH) === 0;
    const resolution = nextHops.resolution(hop);
    if (
      isSingle && hop === memoHop && metric === memoMetric && tunnel === memoTunnel && memoResolution === resolution &&
      memoGeneration === table.generation
    ) return memoSet;
    const ways = waysOf(prefix, best, isSingle, tunnel);
    if (ways.length === 0) return "next hop unreachable";
    const set = table.set(ways, metric);
    if (isSingle) {
      [memoHop, memoMetric, memoTunnel, memoSet, memoGeneration] = [hop, metric, tunnel, set, table.generation];
      memoResolution = resolution;
    }
    return set;
  }

  function indexOf(name: string): number | undefined {
    for (const [index, link] of router.host.links) if (link.name === name) return index;
    return undefined;
  }

  function hasAlien(prefix: number, metric: number): boolean {
    const aliens = router.host.views[family].at(prefixes.address(prefix, address), prefixes.length[prefix]!);
    if (aliens.length === 0) return false;
    const kernels = family === 1 && metric === 0 ? 1024 : metric;
    return aliens.some((alien) => alien.metric === kernels);
  }

  function waysOf(prefix: number, best: number, isSingle: boolean, tunnel: number): FibNexthop[] {
    const ways = new Map<string, FibNexthop>();
    const add = (path: number) => {
      const hop = router.nextHopOf(paths.attributes[path]!);
      const gateway = nextHops.address(hop);
      const found = tunnel !== 0 && gateway
        ? [{ gateway, ifindex: tunnel, isOnlink: true }]
        : nextHops.resolution(hop).ways;
      for (const way of found) if (ways.size < config.fib.maxPaths) ways.set(wayKey(way), way);
    };
    add(best);
    if (!isSingle) {
      for (let path = prefixes.head[prefix]!; path >= 0; path = paths.next[path]!) {
        if (path !== best && (paths.flags[path]! & IS_MULTIPATH) !== 0 && paths.peer[path] !== 0) add(path);
      }
    }
    return [...ways.values()];
  }

  return {
    table,
    update(prefix) {
      const set = wish(prefix);
      table.want(prefix, typeof set === "number" ? set : 0);
    },
    refusal(prefix) {
      const set = wish(prefix);
      return typeof set === "number" ? undefined : set;
    },
  };
}
