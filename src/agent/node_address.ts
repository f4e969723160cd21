/**
 * Which address of the host is the node's: an address that was configured, or one found by a method; pure.
 *
 * The methods are calico/node's (IP_AUTODETECTION_METHOD): first-found, interface=REGEX[,REGEX], skip-interface=…,
 * can-reach=ADDRESS, cidr=CIDR[,CIDR]. Links are looked at in the order of their index; loopback, link-local and
 * multicast addresses never count. The prefix length is that of the interface, because the fleet's subnets follow from it.
 */

import { Cidr, type IpNet, tryParseIpNet } from "../lib/cidr.ts";
import { type Family, Ip } from "../lib/ip.ts";
import type { Address, Link, Route } from "../dataplane/ports.ts";

/** What the host has. */
export interface HostAddresses {
  readonly links: readonly Link[];
  readonly addresses: readonly Address[];
  /** Needed for can-reach only. */
  readonly routes?: readonly Route[];
}

/** The address, or why there is none; `none` was asked for when both are missing. */
export interface FoundAddress {
  readonly net?: IpNet;
  readonly why?: string;
}

/** Interfaces that first-found and cidr pass over: those of containers, tunnels and virtual bridges. */
const virtualLinks = [
  /^docker/,
  /^cbr/,
  /^dummy/,
  /^virbr/,
  /^lxcbr/,
  /^veth/,
  /^lo$/,
  /^cali/,
  /^tunl/,
  /^flannel/,
  /^kube-ipvs/,
  /^cni/,
  /^podman/,
  /^vxlan\.calico$/,
  /^vxlan-v6\.calico$/,
  /^wireguard\.cali$/,
  /^wg-v6\.cali$/,
  /^nodelocaldns/,
];

/** Whether a method needs the routing table. */
export function needsRoutes(method: string): boolean {
  return method.startsWith("can-reach=");
}

/** Finds the node's address of a family by a method of the configuration, or takes it literally. */
export function findNodeAddress(method: string, family: Family, host: HostAddresses): FoundAddress {
  if (method === "none" || method === "") return {};
  const literal = Ip.tryParse(method) ?? tryParseIpNet(method);
  if (literal) return literalAddress(literal, family, host);
  const [word, ...rest] = method.split("=");
  const argument = rest.join("=");
  switch (word) {
    case "autodetect":
    case "first-found":
      return firstOn(host, family, (link) => !isVirtual(link), `has an IPv${family} address that others could reach`);
    case "interface": {
      const patterns = regexes(argument);
      if (typeof patterns === "string") return { why: patterns };
      for (const pattern of patterns) {
        const found = firstOn(host, family, (link) => pattern.test(link.name), "");
        if (found.net) return found;
      }
      return { why: `no interface that matches ${argument} has an IPv${family} address` };
    }
    case "skip-interface": {
      const patterns = regexes(argument);
      if (typeof patterns === "string") return { why: patterns };
      const isWanted = (link: Link) => !isVirtual(link) && !patterns.some((pattern) => pattern.test(link.name));
      return firstOn(host, family, isWanted, `that does not match ${argument} has an IPv${family} address`);
    }
    case "cidr": {
      const cidrs = argument.split(",").map((text) => Cidr.tryParse(text.trim())).filter((cidr) => cidr !== undefined);
      if (cidrs.length === 0) return { why: `${JSON.stringify(argument)} is not a list of CIDR prefixes` };
      const isInside = (ip: Ip) => cidrs.some((cidr) => cidr.contains(ip));
      return firstOn(host, family, (link) => !isVirtual(link), `has an address in ${argument}`, isInside);
    }
    case "can-reach": {
      const target = Ip.tryParse(argument);
      if (!target) return { why: `${JSON.stringify(argument)} is not an IP address; names are not looked up` };
      return target.family === family ? towards(target, host) : {};
    }
    default:
      return { why: `${JSON.stringify(method)} is neither an address nor a method of finding one` };
  }
}

function literalAddress(literal: Ip | IpNet, family: Family, { addresses }: HostAddresses): FoundAddress {
  const ip = literal instanceof Ip ? literal : literal.ip;
  if (ip.family !== family) return { why: `${ip} is not an IPv${family} address` };
  if (!(literal instanceof Ip)) return { net: literal };
  const found = addresses.find(({ net }) => net.ip.equals(ip));
  return { net: found?.net ?? { ip, length: ip.bits } };
}

function regexes(list: string): RegExp[] | string {
  try {
    return list.split(",").map((text) => new RegExp(text.trim()));
  } catch {
    return `${JSON.stringify(list)} is not a list of regular expressions`;
  }
}

/** Whether the link is one of a container, a tunnel or a virtual bridge by its name, or the loopback device. */
export function isVirtual(link: Link): boolean {
  return virtualLinks.some((pattern) => pattern.test(link.name));
}

function isReachable(ip: Ip): boolean {
  return !ip.isLoopback && !ip.isLinkLocal && !ip.isMulticast && !ip.isUnspecified;
}

function firstOn(
  { links, addresses }: HostAddresses,
  family: Family,
  isWanted: (link: Link) => boolean,
  wanted: string,
  isWantedIp: (ip: Ip) => boolean = () => true,
): FoundAddress {
  for (const link of [...links].sort((a, b) => a.index - b.index)) {
    if (!link.isUp || !isWanted(link)) continue;
    for (const { index, net } of addresses) {
      if (index === link.index && net.ip.family === family && isReachable(net.ip) && isWantedIp(net.ip)) return { net };
    }
  }
  return { why: `no interface ${wanted}` };
}

/** The source address that packets to the target would have: that of the most specific route, else the first of its link. */
function towards(target: Ip, { links, addresses, routes = [] }: HostAddresses): FoundAddress {
  const best =
    routes.filter((route) => route.type === "unicast" && route.destination.contains(target)).sort((a, b) =>
      b.destination.length - a.destination.length || a.metric - b.metric
    )[0];
  if (!best) return { why: `there is no route to ${target}` };
  const { source, nexthops } = best;
  const bySource = source && addresses.find(({ net }) => net.ip.equals(source));
  if (bySource) return { net: bySource.net };
  const via = nexthops[0];
  const link = links.filter(({ index }) => index === via?.ifindex);
  const onLink = addresses.find(({ index, net }) =>
    index === via?.ifindex && via?.gateway !== undefined && Cidr.of(net.ip, net.length).contains(via.gateway)
  );
  if (onLink) return { net: onLink.net };
  return firstOn({ links: link, addresses }, target.family, () => true, `towards ${target} has an address`);
}
