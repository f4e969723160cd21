/**
 * Resources of the fleet and the node's block affinities to the speaker's configuration: pure, and the same on every run.
 *
 * It says what confd makes of the same resources for BIRD: peers, filters, pools, own blocks as aggregates, communities. What
 * only works with Kubernetes (secrets, peering with local workloads, services) is left out, with a reason where one asks.
 */

import { createHash } from "node:crypto";
import { Cidr } from "../../lib/cidr.ts";
import { Ip } from "../../lib/ip.ts";
import { BGP_DEFAULTS, speakerAnnotations } from "../../model/resources/bgp_configuration.ts";
import type { BGPFilterRule } from "../../model/resources/bgp_filter.ts";
import type { BGPFilter, IPPool } from "../../model/resources/mod.ts";
import {
  type AddressFamily,
  type AdvertisementConfig,
  type AggregateConfig,
  DEFAULT_NORMAL_PRIORITY,
  EMPTY_CONFIG,
  type Encapsulation,
  type FilterConfig,
  type FilterRule,
  type PoolConfig,
  type SpeakerConfig,
} from "../config.ts";
import { type BgpNode, bgpNodes, type ClusterRoutes, configurationOf, type ResolveInput, specOf } from "./input.ts";
import { resolvePeers } from "./peers.ts";

export type { AffinityFact, ClusterRoutes, ResolveInput } from "./input.ts";

/** The configuration, and what had to be left out with the reasons. */
export interface Resolved {
  readonly config: SpeakerConfig;
  readonly problems: readonly string[];
}

/** Computes the configuration of a node; one that is no Node of the fleet has no peers. */
export function resolveSpeaker(input: ResolveInput): Resolved {
  const spec = specOf(input);
  const defaultAs = spec.asNumber ?? BGP_DEFAULTS.asNumber;
  const nodes = bgpNodes(input, defaultAs);
  const self = nodes.find(({ name }) => name === input.nodeName);
  const filters = input.filters.map(filterConfig);
  const routes = clusterRoutes(spec.programClusterRoutes, input.defaultClusterRoutes);
  const { peers, problems } = self
    ? resolvePeers({ input, nodes, self, defaultAs, filters })
    : { peers: [], problems: [`no Node ${input.nodeName} in the fleet`] };
  const families: AddressFamily[] = [];
  if (self?.address4) families.push(4);
  if (self?.address6) families.push(6);
  const config: SpeakerConfig = {
    ...EMPTY_CONFIG,
    nodeName: input.nodeName,
    routerId: routerIdOf(input, self),
    localAs: self?.as ?? defaultAs,
    listen: {
      addresses: spec.bindMode === "NodeIP"
        ? [self?.address4, self?.address6].filter((text) => text !== undefined)
        : [],
      port: self?.listenPort ?? BGP_DEFAULTS.listenPort,
    },
    families,
    ...(self?.address4 ? { nodeAddress4: self.address4 } : {}),
    ...(self?.address6 ? { nodeAddress6: self.address6 } : {}),
    peers,
    filters,
    pools: input.pools.map((pool) => poolConfig(pool, routes)).sort((a, b) => a.cidr < b.cidr ? -1 : 1),
    aggregates: aggregatesOf(input),
    advertisements: advertisementsOf(input),
    statics: peers.flatMap(({ address, reachableBy }) =>
      reachableBy && address !== "" ? [{ cidr: Cidr.host(Ip.parse(address)).toString(), via: reachableBy }] : []
    ),
    ignoredInterfaces: spec.ignoredInterfaces ?? [],
    internalRejectInterfaces: ["*.cali", "*.calico", ...(routes.ipip ? [] : ["tunl0"])],
    normalPriority4: spec.ipv4NormalRoutePriority ?? DEFAULT_NORMAL_PRIORITY,
    normalPriority6: spec.ipv6NormalRoutePriority ?? DEFAULT_NORMAL_PRIORITY,
    fib: {
      ...EMPTY_CONFIG.fib,
      isInstalling: true,
      isLearning: true,
      nodeNetworks: self?.networks.map((text) => Cidr.tryParse(text)?.toString() ?? text) ?? [],
    },
    ...speakerAnnotations(configurationOf(input)?.metadata.annotations),
  };
  return { config, problems };
}

/** The first four octets of the name's SHA-256, kept below the multicast range: Calico's router id "hash". */
export function hashedRouterId(nodeName: string): string {
  const [first = 0, ...rest] = createHash("sha256").update(nodeName).digest().subarray(0, 4);
  return [first > 223 ? first - 32 : first, ...rest].join(".");
}

function routerIdOf(input: ResolveInput, self: BgpNode | undefined): string {
  if (input.routerId && input.routerId !== "hash") return input.routerId;
  if (input.routerId === "hash" || !self?.address4) return hashedRouterId(input.nodeName);
  return self.address4;
}

function clusterRoutes(text: string | undefined, fallback: ClusterRoutes = "EnabledNoEncapOnly") {
  const isKnown = text === "Enabled" || text === "Disabled" || text === "EnabledIPIPOnly" ||
    text === "EnabledNoEncapOnly";
  const mode = isKnown ? text : fallback;
  return {
    ipip: mode === "Enabled" || mode === "EnabledIPIPOnly",
    noEncap: mode === "Enabled" || mode === "EnabledNoEncapOnly",
  };
}

function poolConfig({ spec }: IPPool, routes: { readonly ipip: boolean; readonly noEncap: boolean }): PoolConfig {
  const encapsulation = encapsulationOf(spec.ipipMode, spec.vxlanMode);
  return {
    cidr: Cidr.tryParse(spec.cidr)?.toString() ?? spec.cidr,
    isExportDisabled: spec.disableBGPExport ?? false,
    encapsulation,
    isProgrammedBySpeaker: encapsulation === "none"
      ? routes.noEncap
      : encapsulation.startsWith("ipip")
      ? routes.ipip
      : false,
  };
}

function encapsulationOf(ipip: string | undefined, vxlan: string | undefined): Encapsulation {
  if (vxlan === "Always") return "vxlan";
  if (vxlan === "CrossSubnet") return "vxlan-cross-subnet";
  if (ipip === "Always") return "ipip";
  return ipip === "CrossSubnet" ? "ipip-cross-subnet" : "none";
}

/** The node's blocks: confirmed ones, and those of old that have no state. */
function aggregatesOf({ affinities, nodeName }: ResolveInput): AggregateConfig[] {
  return affinities
    .filter(({ host, state }) => host === nodeName && state !== "pending")
    .map(({ cidr }) => ({
      cidr,
      hasBlackhole: !/\/(32|128)$/.test(cidr) || cidr.includes(":") && !cidr.endsWith("/128"),
    }))
    .sort((a, b) => a.cidr < b.cidr ? -1 : 1);
}

/** The node's own prefix advertisements where it has any, else the fleet's; names of communities become values. */
function advertisementsOf(input: ResolveInput): AdvertisementConfig[] {
  const own = specOf(input, input.nodeName);
  const spec = own.prefixAdvertisements ? own : specOf(input);
  return (spec.prefixAdvertisements ?? []).flatMap(({ cidr, communities }) => {
    const values = communities.flatMap((text) => {
      if (/^[0-9]+(:[0-9]+){1,2}$/.test(text)) return [text];
      return spec.communities?.find(({ name }) => name === text)?.value ?? [];
    });
    return values.length > 0 ? [{ cidr, communities: [...new Set(values)].sort() }] : [];
  });
}

/** A BGPFilter in the speaker's words. */
export function filterConfig({ metadata, spec }: BGPFilter): FilterConfig {
  const rules = (list: readonly BGPFilterRule[] | undefined) => (list ?? []).map(filterRule);
  return {
    name: metadata.name,
    importV4: rules(spec.importV4),
    importV6: rules(spec.importV6),
    exportV4: rules(spec.exportV4),
    exportV6: rules(spec.exportV6),
  };
}

function filterRule(rule: BGPFilterRule): FilterRule {
  const { communities, operations, ...same } = rule;
  return {
    ...same,
    ...(communities ? { communities: communities.values } : {}),
    ...(operations
      ? {
        operations: operations.map(({ addCommunity, prependASPath, setPriority }) => ({
          ...(addCommunity ? { addCommunity: addCommunity.value } : {}),
          ...(prependASPath ? { prependAsPath: prependASPath.prefix } : {}),
          ...(setPriority ? { setPriority: setPriority.value } : {}),
        })),
      }
      : {}),
  };
}
