/**
 * Address translation (rules/nat.go): floating IPs lead to their workload, a workload that reaches itself by its floating IP
 * sees that as its source, and what leaves the pools takes the host's address where the pool wants it.
 */

import type { Cidr } from "../../lib/cidr.ts";
import type { Family } from "../../lib/ip.ts";
import type { Match, NamedSet, Rule, Statement } from "../../netlink/nft/ruleset.ts";
import { counter, inSet, is, isNot, jump, notInSet, rule } from "../../netlink/nft/rule.ts";
import type { Settings } from "../compile/settings.ts";
import type { Piece } from "./dispatch.ts";
import { setPrefix } from "./names.ts";
import { netText } from "./rule.ts";

/** A floating IP: the external address leads to the internal one. */
export interface FloatingIp {
  readonly external: string;
  readonly internal: string;
  readonly family: Family;
}

/** What translation depends on. */
export interface NatInput {
  readonly settings: Settings;
  readonly floating: readonly FloatingIp[];
  /** All pools, and whether what leaves from them to outside takes the host's address. */
  readonly pools: readonly { readonly cidr: Cidr; readonly isMasqueraded: boolean }[];
  /** Tunnel devices with our own address on each: what leaves by one from another local address takes it. */
  readonly tunnels: readonly { readonly device: string; readonly address: string; readonly family: Family }[];
}

const families: readonly Family[] = [4, 6];
const header = (family: Family) => family === 4 ? "ip" : "ip6";

/** Renders the chains and maps of translation. */
export function renderNat(input: NatInput): Piece {
  return {
    chains: [
      { name: "cali-nat-PREROUTING", rules: [rule([], [counter, jump("cali-fip-dnat")])] },
      { name: "cali-nat-OUTPUT", rules: [rule([], [counter, jump("cali-fip-dnat")])] },
      {
        name: "cali-nat-POSTROUTING",
        rules: [
          rule([], [counter, jump("cali-fip-snat")]),
          rule([], [counter, jump("cali-nat-outgoing")]),
          ...input.tunnels.map(renderTunnel),
        ],
      },
      { name: "cali-fip-dnat", rules: floatingFamilies(input).map(renderFloatingDnat) },
      { name: "cali-fip-snat", rules: floatingFamilies(input).map(renderFloatingSnat) },
      { name: "cali-nat-outgoing", rules: families.flatMap((family) => renderOutgoing(family, input)) },
    ],
    sets: floatingFamilies(input).flatMap((family) => floatingSets(family, input.floating)),
  };
}

function floatingFamilies({ floating }: NatInput): Family[] {
  return families.filter((family) => floating.some((ip) => ip.family === family));
}

function renderFloatingDnat(family: Family): Rule {
  const ip = header(family);
  return rule([], [counter, {
    kind: "dnat",
    family: ip,
    to: { field: `${ip} daddr`, map: `${setPrefix(family)}fip-dnat` },
  }]);
}

function renderFloatingSnat(family: Family): Rule {
  const ip = header(family);
  return rule([inSet([`${ip} saddr`, `${ip} daddr`], `${setPrefix(family)}fip-hairpin`)], [counter, {
    kind: "snat",
    family: ip,
    to: { field: `${ip} saddr`, map: `${setPrefix(family)}fip-snat` },
  }]);
}

function floatingSets(family: Family, floating: readonly FloatingIp[]): NamedSet[] {
  const type = family === 4 ? "ipv4_addr" : "ipv6_addr";
  const own = floating.filter((ip) => ip.family === family).sort((a, b) => a.external < b.external ? -1 : 1);
  const snat = new Map<string, string>();
  // An address with several floating IPs shows itself by the first.
  for (const { internal, external } of own) if (!snat.has(internal)) snat.set(internal, external);
  const prefix = setPrefix(family);
  return [
    {
      name: `${prefix}fip-dnat`,
      key: [type],
      value: type,
      elements: new Map(own.map((ip) => [ip.external, ip.internal])),
    },
    { name: `${prefix}fip-snat`, key: [type], value: type, elements: snat },
    {
      name: `${prefix}fip-hairpin`,
      key: [type, type],
      elements: new Set([...snat.keys()].map((internal) => `${internal} . ${internal}`)),
    },
  ];
}

function renderOutgoing(family: Family, { settings, pools }: NatInput): Rule[] {
  if (!pools.some(({ cidr, isMasqueraded }) => isMasqueraded && cidr.family === family)) return [];
  const ip = header(family), prefix = setPrefix(family);
  const matches: Match[] = [
    inSet(`${ip} saddr`, `${prefix}masq-ipam-pools`),
    notInSet(`${ip} daddr`, `${prefix}network-ip-pools`),
    ...settings.natExcludesHosts ? [notInSet(`${ip} daddr`, `${prefix}all-hosts-net`)] : [],
    ...settings.natInterface ? [is("oifname", settings.natInterface)] : [],
  ];
  const { natPorts, natAddress } = settings;
  const isOwnAddress = natAddress !== undefined && family === 4;
  const translate = (ports?: string): Statement => {
    const range = ports === undefined ? {} : { ports };
    if (!isOwnAddress) return { kind: "masquerade", ...range };
    return { kind: "snat", family: ip, to: natAddress, ...range };
  };
  const withPorts = natPorts === undefined
    ? []
    : ["tcp", "udp"].map((protocol) =>
      rule([is("meta l4proto", protocol), ...matches], [counter, translate(natPorts)])
    );
  return [...withPorts, rule(matches, [counter, translate()])];
}

function renderTunnel({ device, address, family }: NatInput["tunnels"][number]): Rule {
  const isOther = isNot(family === 4 ? "ip saddr" : "ip6 saddr", address);
  return rule(
    [is("oifname", device), isOther, is("fib saddr type", "local")],
    [counter, { kind: "masquerade" }],
    "into the tunnel",
  );
}

/** A set of prefixes of one family. */
export function netSet(name: string, family: Family, cidrs: Iterable<Cidr>): NamedSet {
  const elements = new Set<string>();
  for (const cidr of cidrs) if (cidr.family === family) elements.add(netText(cidr));
  return {
    name: `${setPrefix(family)}${name}`,
    key: [family === 4 ? "ipv4_addr" : "ipv6_addr"],
    isInterval: true,
    elements,
  };
}

/** The sets of the pools. */
export function poolSets(pools: NatInput["pools"]): NamedSet[] {
  return families.flatMap((family) => [
    netSet("masq-ipam-pools", family, pools.filter(({ isMasqueraded }) => isMasqueraded).map(({ cidr }) => cidr)),
    netSet("network-ip-pools", family, pools.map(({ cidr }) => cidr)),
  ]);
}
