/**
 * The desired state of this host's kernel, computed whole from the snapshot and the links that are there; pure.
 *
 * A workload whose interface is missing gets nothing; one whose interface is down gets no route until it is up (the link
 * itself is wanted up, so that comes by itself). The values are those of the page "Kernel objects" and of Felix:
 * linux/endpoint_mgr.go for the sysctls of an interface, linux/int_dataplane.go for those of the host.
 */

import type { DesiredState } from "../dataplane/dataplane.ts";
import type { DesiredLink } from "../dataplane/link_reconciler.ts";
import { neighbourKey } from "../dataplane/neighbour_reconciler.ts";
import { NUD_PERMANENT, RT_SCOPE_LINK, RT_TABLE_MAIN, RTPROT_TORTIE, workloadAlias } from "../dataplane/ownership.ts";
import type { Link, Neighbour, Route } from "../dataplane/ports.ts";
import { routeKey } from "../dataplane/route_reconciler.ts";
import { Cidr } from "../lib/cidr.ts";
import { type Family, Ip } from "../lib/ip.ts";
import type { WorkloadEndpoint } from "../model/resources/mod.ts";
import { computeHostRoutes, type HostRoute, type LostRoute } from "../routing/host_routes.ts";
import { annotation, gateway4, hostMac } from "./workloads/endpoint.ts";

/** What the desired state depends on. */
export interface DesiredInput {
  /** The workload endpoints of this node. */
  readonly endpoints: Iterable<WorkloadEndpoint>;
  /** This host's confirmed blocks. */
  readonly blocks: Iterable<Cidr>;
  /** The link of that name, or with that alias when it was renamed. */
  readonly findLink: (name: string, alias: string) => Link | undefined;
  /** Whether this kernel has IPv6. */
  readonly hasIpv6: boolean;
  /** FelixConfiguration's `ipForwarding`: false leaves the host's forwarding sysctls alone. */
  readonly isForwarding: boolean;
  /** Whether the host could forward to the workloads' IPv4 gateway without a route of ours (see gateway_route.ts). */
  readonly hasGatewayRoute: boolean;
  /** FelixConfiguration's `floatingIPs`: external addresses get routes too. */
  readonly hasFloatingIps: boolean;
}

/** The desired state, and what did not make it into it. */
export interface Desired {
  readonly state: DesiredState;
  readonly lost: readonly LostRoute[];
  /** Names of endpoints whose interface is not there. */
  readonly missing: readonly string[];
}

/** Computes what should be in the kernel. */
export function computeDesired(input: DesiredInput): Desired {
  const links = new Map<string, DesiredLink>();
  const sysctls = new Map<string, string>(hostSysctls(input));
  const neighbours = new Map<string, Neighbour>();
  const routes = new Map<string, Route>();
  const missing: string[] = [];
  const present = new Map<string, Link>();
  const workloads = [];

  for (const endpoint of input.endpoints) {
    const { name } = endpoint.metadata;
    const interfaceName = endpoint.spec.interfaceName ?? "";
    const alias = workloadAlias(name);
    const link = input.findLink(interfaceName, alias);
    if (!link) {
      missing.push(name);
      continue;
    }
    present.set(interfaceName, link);
    const isVeth = isOwnVeth(endpoint);
    links.set(interfaceName, { name: interfaceName, isUp: true, ...isVeth ? { mac: hostMac, alias } : {} });
    for (const [path, value] of interfaceSysctls(interfaceName, endpoint, input.hasIpv6)) sysctls.set(path, value);
    const addresses = addressesOf(endpoint, input.hasFloatingIps);
    workloads.push({ name, interfaceName, addresses });
    if (!link.isUp || !isVeth || !endpoint.spec.mac) continue;
    for (const { ip } of addressesOf(endpoint, false)) {
      if (ip.family !== 4) continue;
      const neighbour = { index: link.index, ip, mac: endpoint.spec.mac, state: NUD_PERMANENT, flags: 0 };
      neighbours.set(neighbourKey(neighbour), neighbour);
    }
  }

  const planned = computeHostRoutes({ blocks: [...input.blocks], workloads });
  for (const plan of planned.routes.values()) {
    const route = kernelRoute(plan, (name) => present.get(name));
    if (route) routes.set(routeKey(route), route);
  }
  const loopback = input.hasGatewayRoute || workloads.length === 0 ? undefined : input.findLink("lo", "");
  if (loopback?.isUp) {
    const route = gatewayRoute(loopback);
    routes.set(routeKey(route), route);
  }
  return { state: { links, addresses: new Map(), sysctls, neighbours, routes }, lost: planned.lost, missing };
}

/** The addresses that lead to the endpoint: its own, and its floating ones where they are enabled; unreadable ones are left out. */
export function addressesOf(endpoint: WorkloadEndpoint, hasFloatingIps: boolean): Cidr[] {
  const { ipNetworks = [], ipNATs = [] } = endpoint.spec;
  const floating = hasFloatingIps ? ipNATs.map(({ externalIP }) => Ip.tryParse(externalIP)) : [];
  return [
    ...ipNetworks.map((text) => Cidr.tryParse(text) ?? hostCidr(Ip.tryParse(text))),
    ...floating.map(hostCidr),
  ].filter((cidr) => cidr !== undefined);
}

function hostCidr(ip: Ip | undefined): Cidr | undefined {
  return ip && Cidr.host(ip);
}

/** Whether the host's end is a veth that was made for the endpoint, and not an interface that was adopted. */
function isOwnVeth(endpoint: WorkloadEndpoint): boolean {
  return endpoint.metadata.annotations?.[annotation.netns] !== undefined;
}

/** The routes of an endpoint as they should stand on that link, for asking whether they do. */
export function endpointRoutes(endpoint: WorkloadEndpoint, link: Link): Route[] {
  const interfaceName = endpoint.spec.interfaceName ?? "";
  const { routes } = computeHostRoutes({
    blocks: [],
    workloads: [{ name: endpoint.metadata.name, interfaceName, addresses: addressesOf(endpoint, false) }],
  });
  return [...routes.values()].map((plan) => kernelRoute(plan, () => link)).filter((route) => route !== undefined);
}

function gatewayRoute(loopback: Link): Route {
  return {
    destination: Cidr.host(gateway4),
    type: "unicast",
    table: RT_TABLE_MAIN,
    protocol: RTPROT_TORTIE,
    scope: RT_SCOPE_LINK,
    metric: 0,
    nexthops: [{ ifindex: loopback.index }],
  };
}

function kernelRoute(plan: HostRoute, linkNamed: (name: string) => Link | undefined): Route | undefined {
  const { destination, protocol, interfaceName } = plan;
  const base = { destination, protocol, table: RT_TABLE_MAIN, metric: 0 };
  if (interfaceName === undefined) return { ...base, type: "blackhole", scope: 0, nexthops: [] };
  const link = linkNamed(interfaceName);
  if (!link?.isUp) return undefined;
  const scope = destination.family === 4 ? RT_SCOPE_LINK : 0;
  return { ...base, type: "unicast", scope, nexthops: [{ ifindex: link.index }] };
}

function hostSysctls({ isForwarding, hasIpv6 }: DesiredInput): [string, string][] {
  if (!isForwarding) return [];
  return [["net/ipv4/ip_forward", "1"], ...hasIpv6 ? [["net/ipv6/conf/all/forwarding", "1"] as [string, string]] : []];
}

/** The sysctls of a workload interface; a workload that may send from other addresses is not held to reverse-path filtering. */
function interfaceSysctls(name: string, endpoint: WorkloadEndpoint, hasIpv6: boolean): [string, string][] {
  const maySpoof = (family: Family) =>
    (endpoint.spec.allowSpoofedSourcePrefixes ?? []).some((text) => Cidr.tryParse(text)?.family === family);
  const v4: [string, string][] = [
    [`net/ipv4/conf/${name}/route_localnet`, "1"],
    [`net/ipv4/neigh/${name}/proxy_delay`, "0"],
    [`net/ipv4/conf/${name}/forwarding`, "1"],
    [`net/ipv4/conf/${name}/rp_filter`, maySpoof(4) ? "0" : "1"],
    [`net/ipv4/conf/${name}/proxy_arp`, "1"],
  ];
  const v6: [string, string][] = [
    [`net/ipv6/conf/${name}/accept_ra`, "0"],
    [`net/ipv6/conf/${name}/forwarding`, "1"],
    [`net/ipv6/conf/${name}/proxy_ndp`, "1"],
  ];
  return hasIpv6 ? [...v4, ...v6] : v4;
}
