/**
 * The state of one in-memory network namespace, and what Linux does to it by itself: connected routes come with an
 * address, IPv4 routes leave silently with their link going down, a veth end runs only while both ends are up, and each
 * link brings its own sysctls, which follow a rename.
 *
 * Only the behaviour that the reconcilers meet is here: main and local table, no policy rules, no route cache, no
 * broadcast routes.
 */

import { Cidr } from "../lib/cidr.ts";
import { Ip } from "../lib/ip.ts";
import type { Address, KernelEvent, Link, Neighbour, Route } from "./ports.ts";

/** A link and, for a veth, where its other end is. */
export interface LinkState {
  link: Link;
  peer?: { readonly namespace: MemoryNamespace; readonly index: number };
}

/** RT_SCOPE_LINK and RT_SCOPE_HOST. */
const LINK = 253, HOST = 254;

/** The identity of a route: table, destination and metric. */
export function routeIdentity(route: Route): string {
  return `${route.table} ${route.destination} ${effectiveMetric(route)}`;
}

/** The metric that the kernel stores: IPv6 has no metric 0. */
export function effectiveMetric(route: { destination: Cidr; metric: number }): number {
  return route.destination.family === 6 && route.metric === 0 ? 1024 : route.metric;
}

const interfaceSysctls: readonly (readonly [path: string, value: string])[] = [
  ["net/ipv4/conf/*/forwarding", "0"],
  ["net/ipv4/conf/*/proxy_arp", "0"],
  ["net/ipv4/conf/*/route_localnet", "0"],
  ["net/ipv4/conf/*/rp_filter", "0"],
  ["net/ipv4/neigh/*/proxy_delay", "80"],
  ["net/ipv6/conf/*/accept_dad", "1"],
  ["net/ipv6/conf/*/accept_ra", "1"],
  ["net/ipv6/conf/*/disable_ipv6", "0"],
  ["net/ipv6/conf/*/forwarding", "0"],
  ["net/ipv6/conf/*/proxy_ndp", "0"],
];

/** One namespace; the ports in memory_kernel.ts work on it, the sinks hear of every change. */
export class MemoryNamespace {
  readonly links = new Map<number, LinkState>();
  readonly addresses = new Map<string, Address>();
  readonly routes = new Map<string, Route>();
  readonly neighbours = new Map<string, Neighbour>();
  readonly sysctls = new Map<string, string>([["net/ipv4/ip_forward", "0"]]);
  readonly sinks = new Set<(event: KernelEvent) => void>();
  #nextIndex = 1;

  constructor(readonly id: string) {
    for (const name of ["all", "default"]) this.#makeSysctls(name);
    this.addLink({ name: "lo", mac: "00:00:00:00:00:00", mtu: 65536, kind: "", alias: "" });
  }

  emit(event: KernelEvent): void {
    for (const sink of this.sinks) sink(event);
  }

  byName(name: string): LinkState | undefined {
    for (const state of this.links.values()) if (state.link.name === name) return state;
    return undefined;
  }

  addLink(link: Pick<Link, "name" | "mac" | "mtu" | "kind" | "alias">): LinkState {
    const index = this.#nextIndex++;
    const state: LinkState = { link: { ...link, index, isUp: false, isRunning: false } };
    this.links.set(index, state);
    this.#makeSysctls(link.name);
    this.emit({ type: "link", isGone: false, link: state.link });
    return state;
  }

  /** Changes a link's fields and what follows from them. */
  changeLink(state: LinkState, change: Partial<Link>): void {
    const before = state.link;
    state.link = { ...before, ...change };
    if (change.name !== undefined && change.name !== before.name) this.#renameSysctls(before.name, change.name);
    if (before.isUp && !state.link.isUp) this.#downed(before.index);
    if (!before.isUp && state.link.isUp) this.#upped(state.link);
    this.emit({ type: "link", isGone: false, link: state.link });
    this.settleRunning(state);
    const peer = state.peer?.namespace.links.get(state.peer.index);
    if (peer) state.peer?.namespace.settleRunning(peer);
  }

  /** A veth runs while both ends are up; any other link while it is up. */
  settleRunning(state: LinkState): void {
    const peer = state.peer?.namespace.links.get(state.peer.index);
    const isRunning = state.link.isUp && (state.peer ? peer?.link.isUp === true : true);
    if (isRunning === state.link.isRunning) return;
    state.link = { ...state.link, isRunning };
    this.emit({ type: "link", isGone: false, link: state.link });
  }

  /** Takes a link out with its addresses, routes, neighbours and sysctls; a veth's other end goes too. */
  removeLink(state: LinkState): void {
    const { index, name } = state.link;
    if (!this.links.delete(index)) return;
    this.#downed(index);
    for (const [key, address] of [...this.addresses]) {
      if (address.index === index) this.dropAddress(key, address);
    }
    for (const path of [...this.sysctls.keys()]) if (path.split("/")[3] === name) this.sysctls.delete(path);
    this.emit({ type: "link", isGone: true, link: { ...state.link, isUp: false, isRunning: false } });
    const peer = state.peer?.namespace.links.get(state.peer.index);
    if (peer) state.peer?.namespace.removeLink(peer);
  }

  addAddress(key: string, address: Address): void {
    this.addresses.set(key, address);
    this.emit({ type: "address", isGone: false, address });
    this.#addLocalRoute(address);
    if (this.links.get(address.index)?.link.isUp) this.#addConnectedRoute(address);
  }

  dropAddress(key: string, address: Address): void {
    if (!this.addresses.delete(key)) return;
    this.emit({ type: "address", isGone: true, address });
    for (const route of [localRoute(address), connectedRoute(address)]) {
      const identity = route && routeIdentity(route);
      const found = identity === undefined ? undefined : this.routes.get(identity);
      if (identity !== undefined && found?.protocol === 2) this.dropRoute(identity, found);
    }
  }

  setRoute(identity: string, route: Route): void {
    this.routes.set(identity, route);
    this.emit({ type: "route", isGone: false, route });
  }

  dropRoute(identity: string, route: Route): void {
    this.routes.delete(identity);
    this.emit({ type: "route", isGone: true, route });
  }

  /** Whether the gateway lies on a connected route of that link. */
  reaches(gateway: Ip, index: number): boolean {
    for (const route of this.routes.values()) {
      const [hop] = route.nexthops;
      if (route.scope !== HOST && hop?.ifindex === index && !hop.gateway && route.destination.contains(gateway)) {
        return true;
      }
    }
    return gateway.family === 6 && gateway.isLinkLocal;
  }

  /** Whether the address is one of this namespace's own. */
  owns(ip: Ip): boolean {
    for (const address of this.addresses.values()) if (address.net.ip.equals(ip)) return true;
    return false;
  }

  #addLocalRoute(address: Address): void {
    const route = localRoute(address);
    this.setRoute(routeIdentity(route), route);
  }

  #addConnectedRoute(address: Address): void {
    const route = connectedRoute(address);
    if (route) this.setRoute(routeIdentity(route), route);
  }

  #upped(link: Link): void {
    if (link.name === "lo") {
      this.addAddress(`${link.index} 127.0.0.1/8`, {
        index: link.index,
        net: { ip: Ip.parse("127.0.0.1"), length: 8 },
        scope: HOST,
      });
    }
    for (const address of this.addresses.values()) if (address.index === link.index) this.#addConnectedRoute(address);
  }

  /** Linux reports no RTM_DELROUTE for the IPv4 routes that leave with their link. */
  #downed(index: number): void {
    for (const [identity, route] of [...this.routes]) {
      const rest = route.nexthops.filter((hop) => hop.ifindex !== index);
      if (rest.length === route.nexthops.length || route.type === "local") continue;
      if (rest.length > 0) this.routes.set(identity, { ...route, nexthops: rest });
      else if (route.destination.family === 6) this.dropRoute(identity, route);
      else this.routes.delete(identity);
    }
    for (const [key, neighbour] of [...this.neighbours]) {
      if (neighbour.index !== index) continue;
      this.neighbours.delete(key);
      this.emit({ type: "neighbour", isGone: true, neighbour });
    }
    for (const [key, address] of [...this.addresses]) {
      if (address.index === index && address.net.ip.family === 6) this.dropAddress(key, address);
    }
  }

  #makeSysctls(name: string): void {
    for (const [pattern, value] of interfaceSysctls) {
      this.sysctls.set(pattern.replace("*", name), this.sysctls.get(pattern.replace("*", "default")) ?? value);
    }
  }

  #renameSysctls(from: string, to: string): void {
    for (const [pattern] of interfaceSysctls) {
      const value = this.sysctls.get(pattern.replace("*", from));
      this.sysctls.delete(pattern.replace("*", from));
      if (value !== undefined) this.sysctls.set(pattern.replace("*", to), value);
    }
  }
}

function localRoute({ index, net }: Address): Route {
  const nexthops = [{ ifindex: index }];
  const base = { type: "local", table: 255, protocol: 2, metric: 0, nexthops } as const;
  return { ...base, destination: Cidr.host(net.ip), scope: net.ip.family === 4 ? HOST : 0 };
}

function connectedRoute({ index, net, scope }: Address): Route | undefined {
  if (scope === HOST || net.ip.family === 4 && net.length === 32) return undefined;
  const base = { type: "unicast", table: 254, protocol: 2, nexthops: [{ ifindex: index }] } as const;
  const destination = Cidr.of(net.ip, net.length);
  return net.ip.family === 4
    ? { ...base, destination, scope: LINK, metric: 0, source: net.ip }
    : { ...base, destination, scope: 0, metric: 256 };
}
