/**
 * The desired state of this host's kernel, kept as endpoints, links and blocks change; pure.
 *
 * Each endpoint contributes settings of its link, sysctls, neighbours and routes; the host adds its own. Only what changed
 * is handed on. A workload whose interface is missing gets nothing; one whose interface is down gets no route until it is
 * up (the link itself is wanted up, so that comes by itself). The values are those of Felix: linux/endpoint_mgr.go for the
 * sysctls of an interface, linux/int_dataplane.go for those of the host.
 */

import type { DesiredChanges } from "../dataplane/dataplane.ts";
import type { DesiredLink } from "../dataplane/link_reconciler.ts";
import { neighbourKey } from "../dataplane/neighbour_reconciler.ts";
import { NUD_PERMANENT, RT_SCOPE_LINK, RT_TABLE_MAIN, RTPROT_TORTIE, workloadAlias } from "../dataplane/ownership.ts";
import type { Link, Neighbour, Route } from "../dataplane/ports.ts";
import { routeKey } from "../dataplane/route_reconciler.ts";
import { Cidr } from "../lib/cidr.ts";
import { type Family, Ip } from "../lib/ip.ts";
import type { WorkloadEndpoint } from "../model/resources/mod.ts";
import { ClaimTable } from "../routing/claims.ts";
import { type HostRoute, HostRoutes, type LostRoute } from "../routing/host_routes.ts";
import { annotation, gateway4, hostMac } from "./workloads/endpoint.ts";

/** What of the host the desired state depends on. */
export interface HostState {
  /** Whether this kernel has IPv6. */
  readonly hasIpv6: boolean;
  /** Whether this kernel tracks connections. */
  readonly hasConntrack: boolean;
  /** FelixConfiguration's `ipForwarding`: false leaves the host's forwarding sysctls alone. */
  readonly isForwarding: boolean;
  /** The loopback device, if a route to it has to stand in for one to the workloads' gateway (see gateway_route.ts). */
  readonly gatewayVia: Link | undefined;
}

/** The desired state, kept by its parts. */
export class DesiredTracker {
  readonly #present = new ClaimTable<Link>();
  readonly #links = new ClaimTable<DesiredLink>();
  readonly #sysctls = new ClaimTable<string>();
  readonly #neighbours = new ClaimTable<Neighbour>();
  readonly #routes = new HostRoutes();
  readonly #gateway = new ClaimTable<Route>();
  /** The kernel's key of each destination that has a route. */
  readonly #routeKeys = new Map<string, string>();
  /** Ids of endpoints whose interface is not there. */
  readonly missing = new Set<string>();

  /** Sets what the endpoint of that id needs; without an endpoint nothing. `link` is its host end, if it is there. */
  setEndpoint(
    id: string,
    endpoint: WorkloadEndpoint | undefined,
    link: Link | undefined,
    { hasIpv6, hasFloatingIps }: { readonly hasIpv6: boolean; readonly hasFloatingIps: boolean },
  ): void {
    if (endpoint && !link) this.missing.add(id);
    else this.missing.delete(id);
    const name = endpoint?.spec.interfaceName ?? "";
    if (!endpoint || !link) {
      for (const table of [this.#present, this.#links, this.#sysctls, this.#neighbours]) table.set(id);
      return this.#routes.setWorkload(id, name, []);
    }
    const isVeth = isOwnVeth(endpoint);
    const alias = workloadAlias(endpoint.metadata.name);
    this.#present.set(id, new Map([[name, link]]));
    this.#links.set(id, new Map([[name, { name, isUp: true, ...isVeth ? { mac: hostMac, alias } : {} }]]));
    this.#sysctls.set(id, new Map(interfaceSysctls(name, endpoint, hasIpv6)));
    const mac = isVeth && link.isUp ? endpoint.spec.mac : undefined;
    const neighbours = addressesOf(endpoint, false).filter(({ family }) => mac && family === 4).map(({ ip }) => ({
      index: link.index,
      ip,
      mac: mac ?? "",
      state: NUD_PERMANENT,
      flags: 0,
    }));
    this.#neighbours.set(id, new Map(neighbours.map((neighbour) => [neighbourKey(neighbour), neighbour])));
    this.#routes.setWorkload(id, name, addressesOf(endpoint, hasFloatingIps));
  }

  /** Sets whether a block is this host's. */
  setBlock(block: Cidr, isOurs: boolean): void {
    this.#routes.setBlock(block, isOurs);
  }

  /** Sets what the host itself needs. */
  setHost(host: HostState): void {
    this.#sysctls.set("", new Map(hostSysctls(host)));
    const route = host.gatewayVia && gatewayRoute(host.gatewayVia);
    this.#gateway.set("", new Map(route ? [[routeKey(route), route]] : []));
  }

  /** What changed since the last call. */
  takeChanges(): DesiredChanges {
    this.#present.takeChanges();
    const routes = this.#gateway.takeChanges();
    for (const [destination, plan] of this.#routes.takeChanges()) {
      const route = plan && kernelRoute(plan, (name) => this.#present.get(name));
      const key = route ? routeKey(route) : this.#routeKeys.get(destination);
      if (key === undefined) continue;
      routes.set(key, route);
      if (route) this.#routeKeys.set(destination, key);
      else this.#routeKeys.delete(destination);
    }
    return {
      links: this.#links.takeChanges(),
      addresses: new Map(),
      sysctls: this.#sysctls.takeChanges(),
      neighbours: this.#neighbours.takeChanges(),
      routes,
    };
  }

  /** Routes that gave way to others, with the reason; owners are ids of endpoints. */
  lost(): LostRoute[] {
    return this.#routes.lost();
  }
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
  const routes = new HostRoutes();
  routes.setWorkload("", endpoint.spec.interfaceName ?? "", addressesOf(endpoint, false));
  return [...routes.takeChanges().values()].map((plan) => plan && kernelRoute(plan, () => link)).filter((route) =>
    route !== undefined
  );
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

/** Counts packets and bytes of each connection, as Felix does. */
export const conntrackAccounting = "net/netfilter/nf_conntrack_acct";

function hostSysctls({ isForwarding, hasIpv6, hasConntrack }: HostState): [string, string][] {
  const forwarding = ["net/ipv4/ip_forward", ...hasIpv6 ? ["net/ipv6/conf/all/forwarding"] : []];
  return [...isForwarding ? forwarding : [], ...hasConntrack ? [conntrackAccounting] : []].map((path) => [path, "1"]);
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
