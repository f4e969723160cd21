/**
 * Everything that is not of one endpoint or policy: the chains at the hooks, dispatch by interface, failsafes, translation,
 * the sets of pools and nodes, and the table of the arp family.
 */

import type { Cidr } from "../../lib/cidr.ts";
import { type Family, Ip } from "../../lib/ip.ts";
import { parseDscp } from "../../model/num_or_string.ts";
import type { HostEndpoint, IPPool, Node, WorkloadEndpoint } from "../../model/resources/mod.ts";
import type { NamedSet } from "../../netlink/nft/ruleset.ts";
import { parseNet } from "../compile/rule.ts";
import type { Settings } from "../compile/settings.ts";
import { renderArp } from "./arp.ts";
import {
  otherInterfaces,
  type Piece,
  renderHostDispatch,
  renderWorkloadDispatch,
  workloadMatches,
} from "./dispatch.ts";
import { renderFailsafes } from "./failsafe.ts";
import { anyInterface } from "./names.ts";
import { type FloatingIp, netSet, poolSets, renderNat } from "./nat.ts";
import { netText } from "./rule.ts";
import { endedSet, renderDscp, renderRpfSkip, renderStaticChains } from "./static_chains.ts";

/** What it depends on. */
export interface HostInput {
  readonly node: string;
  readonly settings: Settings;
  /** The endpoints of this host that have an interface, with their interfaces. */
  readonly endpoints: readonly {
    readonly resource: WorkloadEndpoint | HostEndpoint;
    readonly interfaces: readonly string[];
  }[];
  readonly pools: Iterable<IPPool>;
  readonly nodes: Iterable<Node>;
  /** Connections that a policy has ended, as members of their sets. */
  readonly ended: ReadonlyMap<Family, ReadonlySet<string>>;
}

interface LocalWorkload {
  readonly interfaceName: string;
  readonly spec: WorkloadEndpoint["spec"];
  readonly addresses: readonly Cidr[];
}

/** Renders the pieces of both tables. */
export function renderHost(input: HostInput): { readonly inet: Piece; readonly arp: Piece } {
  const { settings } = input;
  const workloads = localWorkloads(input);
  const hosts = input.endpoints.filter(({ resource }) => resource.kind === "HostEndpoint").flatMap(({ interfaces }) =>
    interfaces
  );
  const names = workloads.map(({ interfaceName }) => interfaceName).sort();
  const prefixes = settings.interfacePrefixes;
  const others = names.filter((name) => !prefixes.some((prefix) => name.startsWith(prefix)));
  const known = { prefixes, hasOthers: others.length > 0 };
  const fromWorkload = workloadMatches("from", known), toWorkload = workloadMatches("to", known);
  const pools = [...input.pools].flatMap(({ spec }) => {
    const cidr = parseNet(spec.cidr);
    return cidr ? [{ cidr, isMasqueraded: spec.natOutgoing === true, spec }] : [];
  });
  const nodes = [...input.nodes];
  const own = nodes.find(({ metadata }) => metadata.name === input.node);
  const hasIpip = pools.some(({ spec }) => spec.ipipMode !== "Never");
  const hasVxlan = pools.some(({ spec }) => spec.vxlanMode !== "Never");
  const marked = dscpEndpoints(workloads);
  const dispatch = renderWorkloadDispatch(names);
  const hostDispatch = renderHostDispatch({
    interfaces: [...new Set(hosts.filter((name) => name !== anyInterface))].sort(),
    hasAny: hosts.includes(anyInterface),
    toWorkload,
  });
  const nat = renderNat({
    settings,
    floating: settings.hasFloatingIps ? floatingIps(workloads) : [],
    pools,
    tunnels: tunnelsOf(own),
  });
  const allowed = settings.maySpoof ? spoofed(workloads) : [];
  const otherSets: NamedSet[] = others.length > 0
    ? [{ name: otherInterfaces, key: ["ifname"], elements: new Set(others) }]
    : [];
  const sets: NamedSet[] = [
    ...dispatch.sets,
    ...hostDispatch.sets,
    ...nat.sets,
    ...poolSets(pools),
    ...nodeSets(nodes, own),
    ...otherSets,
    ...[...input.ended].map(([family, elements]) => endedMembers(family, elements)),
  ];
  const chains = [
    ...renderStaticChains({
      settings,
      fromWorkload,
      toWorkload,
      hasIpip,
      hasVxlan,
      hasDscp: marked.length > 0,
      ended: [...input.ended.keys()],
    }),
    renderRpfSkip(allowed),
    ...renderFailsafes(settings),
    ...dispatch.chains,
    ...hostDispatch.chains,
    ...nat.chains,
    ...marked.length > 0 ? [renderDscp(marked)] : [],
  ];
  const arp = renderArp({
    fromWorkload,
    addresses: workloads.flatMap(({ interfaceName, addresses }) =>
      addresses.filter(({ family }) => family === 4).map(({ ip }) => ({ interfaceName, address: ip.toString() }))
    ),
    allowed: allowed.filter(({ family }) => family === 4),
  });
  return { inet: { chains, sets }, arp: { chains: arp.chains, sets: [...arp.sets, ...otherSets] } };
}

const parsed = new WeakMap<WorkloadEndpoint, readonly Cidr[]>();

/** The addresses of an endpoint; read once for each object, because one change renders all of the host's. */
function addressesOf(resource: WorkloadEndpoint): readonly Cidr[] {
  let addresses = parsed.get(resource);
  if (!addresses) {
    parsed.set(
      resource,
      addresses = (resource.spec.ipNetworks ?? []).flatMap((text) => parseNet(text) ?? []),
    );
  }
  return addresses;
}

function localWorkloads({ endpoints }: HostInput): LocalWorkload[] {
  return endpoints.flatMap(({ resource, interfaces }) =>
    resource.kind === "WorkloadEndpoint"
      ? interfaces.map((interfaceName) => ({ interfaceName, spec: resource.spec, addresses: addressesOf(resource) }))
      : []
  );
}

function floatingIps(workloads: readonly LocalWorkload[]): FloatingIp[] {
  const floating = new Map<string, FloatingIp>();
  for (const { spec } of workloads) {
    for (const nat of spec.ipNATs ?? []) {
      const external = Ip.tryParse(nat.externalIP), internal = Ip.tryParse(nat.internalIP);
      if (!external || external.family !== internal?.family || floating.has(external.toString())) continue;
      floating.set(external.toString(), {
        external: external.toString(),
        internal: internal.toString(),
        family: external.family,
      });
    }
  }
  return [...floating.values()];
}

function spoofed(workloads: readonly LocalWorkload[]) {
  return workloads.flatMap(({ interfaceName, spec }) =>
    (spec.allowSpoofedSourcePrefixes ?? []).flatMap(
      (text): { interfaceName: string; prefix: string; family: Family }[] => {
        const cidr = parseNet(text);
        return cidr ? [{ interfaceName, prefix: netText(cidr), family: cidr.family }] : [];
      },
    )
  );
}

function dscpEndpoints(workloads: readonly LocalWorkload[]) {
  return workloads.flatMap(({ spec, addresses }) => {
    const dscp = parseDscp(spec.qosControls?.dscp);
    if (dscp === undefined) return [];
    return addresses.map((cidr) => ({ address: netText(cidr), family: cidr.family, dscp }));
  });
}

function tunnelsOf(node: Node | undefined) {
  const spec = node?.spec;
  const tunnels = [
    { device: "tunl0", text: spec?.bgp?.ipv4IPIPTunnelAddr },
    { device: "vxlan.calico", text: spec?.ipv4VXLANTunnelAddr },
    { device: "vxlan-v6.calico", text: spec?.ipv6VXLANTunnelAddr },
  ];
  return tunnels.flatMap(({ device, text }) => {
    const ip = text ? Ip.tryParse(text) : undefined;
    return ip ? [{ device, address: ip.toString(), family: ip.family }] : [];
  });
}

/** Addresses of nodes, wherever the Node says them. */
function nodeAddresses({ spec }: Node): Cidr[] {
  const texts = [spec.bgp?.ipv4Address, spec.bgp?.ipv6Address, ...(spec.addresses ?? []).map(({ address }) => address)];
  return texts.flatMap((text) => (text && parseNet(text.replace(/\/.*/, ""))) || []);
}

function endedMembers(family: Family, elements: ReadonlySet<string>): NamedSet {
  const address = family === 4 ? "ipv4_addr" : "ipv6_addr";
  return { name: endedSet(family), key: [address, address, "inet_proto", "inet_service", "inet_service"], elements };
}

function nodeSets(nodes: readonly Node[], own: Node | undefined): NamedSet[] {
  const all = nodes.flatMap(nodeAddresses);
  const here = own ? nodeAddresses(own) : [];
  const families: Family[] = [4, 6];
  return families.flatMap((family) => [
    netSet("all-hosts-net", family, all),
    netSet("all-vxlan-net", family, all),
    netSet("this-host", family, here),
  ]);
}
