/**
 * Calico's rules for what is taken from peers, told to peers, and installed.
 *
 * Import: the user's filters, else accept. Export: metric and preference are tied together, the user's filters run, then
 *   pools without export | routes of tunnels, from us to our own nodes | communities | own blocks as aggregates | pools
 * and everything else is rejected: nothing outside of the IP pools leaves the host unless a filter accepts it.
 */

import { MAX_PREFERENCE, type PeerConfig, type SpeakerConfig } from "../config.ts";
import { addCommunityTo, compileFilters, parseCommunity } from "./bgp_filter.ts";
import type { RouteDraft } from "./draft.ts";
import { matchesInterface } from "./interface_pattern.ts";
import type { PrefixClasses } from "./prefix_classes.ts";

/** Decides on a route and may change it; the reason says why it was refused, undefined lets it pass. */
export type Policy = (route: RouteDraft) => string | undefined;

/** The policy for what the peer announces. */
export function importPolicy(config: SpeakerConfig, peer: PeerConfig, classes: PrefixClasses): Policy | undefined {
  const filter = compileFilters(peer.importFilters, config.filters, "import", classes);
  if (!filter) return undefined;
  return (route) => filter(route, peer.isSameAs) === "reject" ? "refused by the import filter" : undefined;
}

/** The policy for what the peer is told. */
export function exportPolicy(config: SpeakerConfig, peer: PeerConfig, classes: PrefixClasses): Policy | undefined {
  const filter = compileFilters(peer.exportFilters, config.filters, "export", classes);
  if (!peer.hasCalicoRules && !filter) return undefined;
  const normal = classes.family === 4 ? config.normalPriority4 : config.normalPriority6;
  const rules = peer.hasCalicoRules ? exportRules(config, peer.isSameAs, normal, classes) : () => undefined;
  return (route) => {
    if (route.source === "peer") route.metric = MAX_PREFERENCE - route.localPref;
    else route.localPref = MAX_PREFERENCE - (route.metric ??= normal);
    const verdict = filter?.(route, peer.isSameAs);
    if (verdict === "accept") return undefined;
    return verdict === "reject" ? "refused by the export filter" : rules(route);
  };
}

/** `calico_export_to_bgp_peers`, in its order. */
function exportRules(config: SpeakerConfig, isSameAs: boolean, normal: number, classes: PrefixClasses): Policy {
  const disabled = config.pools.filter((pool) => pool.isExportDisabled).map((pool) => classes.inside(pool.cidr));
  const enabled = config.pools.filter((pool) => !pool.isExportDisabled).map((pool) => classes.inside(pool.cidr));
  const foreign = config.pools
    .filter((pool) => !pool.isExportDisabled && !pool.isProgrammedBySpeaker)
    .map((pool) => classes.inside(pool.cidr));
  const blocks = config.aggregates.map(({ cidr }) => ({ equal: classes.equal(cidr), inside: classes.inside(cidr) }));
  const advertisements = config.advertisements.map(({ cidr, communities }) => ({
    inside: classes.inside(cidr),
    communities: communities.map(parseCommunity).filter((community) => community !== undefined),
  }));
  return (route) => {
    const holds = (condition: number) => classes.holds(route.class, condition);
    if (disabled.some(holds)) return "in a pool without BGP export";
    const name = route.interfaceName;
    if (isSameAs) {
      if (name !== undefined && config.internalRejectInterfaces.some((pattern) => matchesInterface(pattern, name))) {
        return "leads into a tunnel";
      }
      if (route.source === "kernel" && route.hasGateway && foreign.some(holds)) return "a block of another node";
    }
    if (name !== undefined && matchesInterface("bpf*.cali", name)) return "local to the host";
    for (const { inside, communities } of advertisements) {
      if (holds(inside)) { for (const community of communities) addCommunityTo(route, community); }
    }
    for (const { equal, inside } of blocks) {
      if (holds(equal)) return undefined;
      // A workload that is migrating is announced by itself, with a better metric than its block.
      if (holds(inside)) return (route.metric ?? normal) < normal ? undefined : "part of a block of ours";
    }
    return enabled.some(holds) ? undefined : "not in an IP pool";
  };
}

/** What is done with a peer's route in the kernel: the reason for not installing it, or the device of its tunnel. */
export type KernelRule = { readonly refusal: string } | { readonly tunnel: string | undefined };

/** `calico_kernel_programming`: which routes of peers are installed, and through which tunnel. */
export function kernelPolicy(
  config: SpeakerConfig,
  classes: PrefixClasses,
): (prefixClass: number, isInNodeNetwork: () => boolean) => KernelRule {
  const pools = config.pools.map((pool) => ({ pool, inside: classes.inside(pool.cidr) }));
  const accepted: KernelRule = { tunnel: undefined };
  const tunnelled: KernelRule = { tunnel: config.fib.tunnelDevice };
  return (prefixClass, isInNodeNetwork) => {
    const hit = pools.find(({ inside }) => classes.holds(prefixClass, inside));
    if (!hit) return accepted;
    const { encapsulation, isProgrammedBySpeaker } = hit.pool;
    if (!isProgrammedBySpeaker) return { refusal: `${encapsulation} routes are the agent's to install` };
    if (classes.family === 6 || encapsulation === "none") return accepted;
    return encapsulation === "ipip-cross-subnet" && isInNodeNetwork() ? accepted : tunnelled;
  };
}

/** The kernel metric of a peer's route: better than normal ones as they are, all others without one. */
export function kernelMetric(localPref: number, normal: number): number {
  const metric = MAX_PREFERENCE - localPref;
  return metric >= 0 && metric < normal ? metric : 0;
}
