/**
 * The reference: what Calico's policy model says of a packet, written from its description as plainly as can be, and slowly.
 * It shares no code with the engine beyond addresses and the evaluation of selectors, which have tests of their own.
 *
 *   trip = the interface it comes in by (none: the host sent it) and the one it leaves by (none: it is for the host)
 */

import { Cidr } from "../../../src/lib/cidr.ts";
import { Ip } from "../../../src/lib/ip.ts";
import type {
  AnyResource,
  EndpointPort,
  EntityRule,
  FelixConfigurationSpec,
  GlobalNetworkPolicySpec,
  HostEndpoint,
  Rule,
  WorkloadEndpoint,
} from "../../../src/model/resources/mod.ts";
import { parseSelector } from "../../../src/model/selector/mod.ts";

/** The first packet of a connection. */
export interface TestPacket {
  readonly source: string;
  readonly destination: string;
  /** IP protocol number. */
  readonly protocol: number;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  readonly icmpType?: number;
  readonly icmpCode?: number;
}

/** Where it comes in and leaves. */
export interface Trip {
  readonly in?: string;
  readonly out?: string;
}

type Endpoint = WorkloadEndpoint | HostEndpoint;
type Outcome = "allow" | "deny" | "undecided";
type Use = "workload" | "host" | "forward" | "untracked" | "preDNAT";

interface World {
  readonly all: readonly AnyResource[];
  readonly node: string;
  readonly packet: TestPacket;
}

/** Whether the host lets the packet through. */
export function evaluateTrip(
  all: readonly AnyResource[],
  node: string,
  trip: Trip,
  packet: TestPacket,
): "allow" | "deny" {
  const world = { all, node, packet };
  const isWorkload = (name: string | undefined) => name !== undefined && name.startsWith("cali");
  const comesIn = trip.in, goesOut = trip.out;
  let isAccepted = false;

  // Before tracking, and before DNAT.
  if (comesIn !== undefined && !isWorkload(comesIn)) {
    const hep = hostEndpointOf(world, comesIn, false);
    if (hep && !failsafe(world, "ingress", true)) {
      const outcome = judge(world, hep, "untracked", "ingress");
      if (outcome === "deny") return "deny";
      isAccepted = outcome === "allow";
    }
  }
  if (comesIn !== undefined && !isAccepted) {
    const hep = hostEndpointOf(world, comesIn, true);
    if (hep && !failsafe(world, "ingress", false)) {
      const outcome = judge(world, hep, "preDNAT", "ingress");
      if (outcome === "deny") return "deny";
      isAccepted = outcome === "allow";
    }
  }

  if (comesIn === undefined) return evaluateSent(world, goesOut);
  if (goesOut === undefined) return evaluateReceived(world, comesIn, isWorkload(comesIn), isAccepted);

  // Forwarded.
  if (!isAccepted) {
    const hep = hostEndpointOf(world, comesIn, true);
    if (hep && judge(world, hep, "forward", "ingress") === "deny") return "deny";
  }
  if (isWorkload(comesIn)) {
    if (packet.protocol === 58 && packet.icmpType! >= 133 && packet.icmpType! <= 137) return "deny";
    const wep = workloadOf(world, comesIn);
    if (!wep || judge(world, wep, "workload", "egress") !== "allow") return "deny";
  }
  if (isWorkload(goesOut)) {
    const wep = workloadOf(world, goesOut);
    if (!wep || judge(world, wep, "workload", "ingress") !== "allow") return "deny";
  }
  const hep = hostEndpointOf(world, goesOut, true);
  return hep && judge(world, hep, "forward", "egress") === "deny" ? "deny" : "allow";
}

function evaluateSent(world: World, goesOut: string | undefined): "allow" | "deny" {
  if (goesOut === undefined) return "allow";
  const specific = hostEndpointOf(world, goesOut, false);
  if (specific && !failsafe(world, "egress", true)) {
    const outcome = judge(world, specific, "untracked", "egress");
    if (outcome !== "undecided") return outcome;
  }
  if (goesOut.startsWith("cali")) return "allow";
  const hep = hostEndpointOf(world, goesOut, true);
  if (!hep || failsafe(world, "egress", false)) return "allow";
  return judge(world, hep, "host", "egress") === "allow" ? "allow" : "deny";
}

function evaluateReceived(world: World, comesIn: string, isWorkload: boolean, isAccepted: boolean): "allow" | "deny" {
  if (isWorkload) {
    const { protocol, icmpType = -1 } = world.packet;
    if (protocol === 58 && [130, 131, 132, 133, 135, 136].includes(icmpType)) return "allow";
    const wep = workloadOf(world, comesIn);
    if (!wep || judge(world, wep, "workload", "egress") !== "allow") return "deny";
    return (felix(world).defaultEndpointToHostAction ?? "Drop") === "Drop" ? "deny" : "allow";
  }
  if (isAccepted) return "allow";
  const hep = hostEndpointOf(world, comesIn, true);
  if (!hep || failsafe(world, "ingress", false)) return "allow";
  return judge(world, hep, "host", "ingress") === "allow" ? "allow" : "deny";
}

function felix({ all, node }: World): FelixConfigurationSpec {
  const named = (name: string) =>
    all.find(({ kind, metadata }) => kind === "FelixConfiguration" && metadata.name === name)?.spec;
  return { ...named("default") as object, ...named(`node.${node}`) as object };
}

function failsafe(world: World, direction: "ingress" | "egress", isRaw: boolean): boolean {
  const common = [179, 2379, 2380, 5473, 6443, 6666, 6667].map((port) => ({ protocol: "tcp", port, net: undefined }));
  const inbound = felix(world).failsafeInboundHostPorts ??
    [{ protocol: "tcp", port: 22 }, { protocol: "udp", port: 68 }, ...common];
  const outbound = felix(world).failsafeOutboundHostPorts ??
    [{ protocol: "udp", port: 53 }, { protocol: "udp", port: 67 }, ...common];
  const [own, other] = direction === "ingress" ? [inbound, outbound] : [outbound, inbound];
  const { packet } = world;
  const remote = direction === "ingress" ? packet.source : packet.destination;
  const isOpen = (list: typeof inbound, port: number | undefined) =>
    list.some((entry) =>
      (entry.protocol === "udp" ? 17 : 6) === packet.protocol && entry.port === port &&
      (entry.net === undefined || contains(entry.net, remote))
    );
  return isOpen(own, packet.destinationPort) || isRaw && isOpen(other, packet.sourcePort);
}

function workloadOf({ all, node }: World, interfaceName: string): WorkloadEndpoint | undefined {
  return all.filter((one) => one.kind === "WorkloadEndpoint")
    .filter(({ spec }) => spec.node === node && spec.interfaceName === interfaceName)
    .sort((a, b) =>
      `${a.metadata.namespace}/${a.metadata.name}` < `${b.metadata.namespace}/${b.metadata.name}` ? -1 : 1
    )[0];
}

function hostEndpointOf({ all, node }: World, interfaceName: string, orAny: boolean): HostEndpoint | undefined {
  const own = all.filter((one) => one.kind === "HostEndpoint").filter(({ spec }) => spec.node === node)
    .sort((a, b) => a.metadata.name < b.metadata.name ? -1 : 1);
  return own.find(({ spec }) => spec.interfaceName === interfaceName) ??
    (orAny ? own.find(({ spec }) => spec.interfaceName === "*") : undefined);
}

/** What the policies and profiles of an endpoint say. */
export function judge(world: World, endpoint: Endpoint, use: Use, direction: "ingress" | "egress"): Outcome {
  const labels = labelsOf(world, endpoint);
  const policies = world.all.filter((one) => one.kind === "GlobalNetworkPolicy" || one.kind === "NetworkPolicy")
    .map((one) => ({
      kind: one.kind,
      name: one.metadata.name,
      namespace: one.metadata.namespace,
      spec: one.spec as GlobalNetworkPolicySpec,
    }))
    .filter(({ spec }) => spec.types.includes(direction === "ingress" ? "Ingress" : "Egress"))
    .filter(({ spec }) =>
      use === "untracked"
        ? spec.doNotTrack
        : use === "preDNAT"
        ? spec.preDNAT
        : !spec.doNotTrack && !spec.preDNAT && (use !== "forward" || spec.applyOnForward)
    )
    .filter(({ spec, namespace }) =>
      (namespace === undefined || labels.get("projectcalico.org/namespace") === namespace) &&
      (!spec.namespaceSelector || selectsNamespace(spec.namespaceSelector, labels)) &&
      parseSelector(spec.selector ?? "").matches(labels)
    );
  const tierOrder = (name: string) => {
    const tier = world.all.find((one) => one.kind === "Tier" && one.metadata.name === name);
    return tier?.kind === "Tier"
      ? tier.spec
      : name === "default"
      ? { order: 1_000_000, defaultAction: "Deny" }
      : undefined;
  };
  const tiers = [...new Set(policies.map(({ spec }) => spec.tier))].sort((a, b) => {
    const [left, right] = [tierOrder(a), tierOrder(b)];
    if (!left || !right) return left ? -1 : right ? 1 : a < b ? -1 : 1;
    return left.order - right.order || (a < b ? -1 : 1);
  });
  for (const tier of tiers) {
    const own = policies.filter(({ spec }) => spec.tier === tier).sort((a, b) => {
      const [left, right] = [a.spec.order ?? Infinity, b.spec.order ?? Infinity];
      if (left !== right) return left < right ? -1 : 1;
      return `${a.name}/${a.namespace ?? ""}/${a.kind}` < `${b.name}/${b.namespace ?? ""}/${b.kind}` ? -1 : 1;
    });
    let isPassed = false;
    for (const { spec, namespace } of own) {
      const action = firstMatch(world, spec[direction] ?? [], namespace);
      if (action === "Allow") return "allow";
      if (action === "Deny") return "deny";
      if (action === "Pass") {
        isPassed = true;
        break;
      }
    }
    const isEnforced = use !== "untracked" && use !== "preDNAT";
    if (!isPassed && isEnforced && tierOrder(tier)?.defaultAction !== "Pass") return "deny";
  }
  if (use === "untracked" || use === "preDNAT" || use === "forward") return "undecided";
  for (const name of endpoint.spec.profiles ?? []) {
    if (name === "projectcalico-default-allow") return "allow";
    const profile = world.all.find((one) => one.kind === "Profile" && one.metadata.name === name);
    if (profile?.kind !== "Profile") return "deny";
    const action = firstMatch(world, profile.spec[direction] ?? [], undefined);
    if (action === "Allow") return "allow";
    if (action === "Deny") return "deny";
  }
  return "deny";
}

function firstMatch(world: World, rules: readonly Rule[], namespace: string | undefined): string | undefined {
  return rules.find((rule) => rule.action !== "Log" && ruleMatches(world, rule, namespace))?.action;
}

const protocols: Record<string, number> = { TCP: 6, UDP: 17, ICMP: 1, ICMPv6: 58, SCTP: 132, UDPLite: 136 };
const numberOf = (protocol: string | number) =>
  typeof protocol === "number" ? protocol : protocols[protocol] ?? Number(protocol);

function ruleMatches(world: World, rule: Rule, namespace: string | undefined): boolean {
  const { packet } = world;
  const version = packet.source.includes(":") ? 6 : 4;
  if (rule.ipVersion && rule.ipVersion !== version) return false;
  if (rule.protocol !== undefined && numberOf(rule.protocol) !== packet.protocol) return false;
  if (rule.notProtocol !== undefined && numberOf(rule.notProtocol) === packet.protocol) return false;
  const isIcmp = packet.protocol === (version === 4 ? 1 : 58);
  const isThat = (icmp: { type?: number; code?: number }) =>
    icmp.type === packet.icmpType && (icmp.code === undefined || icmp.code === packet.icmpCode);
  if (rule.icmp?.type !== undefined && !(isIcmp && isThat(rule.icmp))) return false;
  if (rule.notICMP?.type !== undefined && !(isIcmp && !isThat(rule.notICMP))) return false;
  return sideMatches(world, rule, rule.source ?? {}, { ip: packet.source, port: packet.sourcePort, namespace }) &&
    sideMatches(world, rule, rule.destination ?? {}, {
      ip: packet.destination,
      port: packet.destinationPort,
      namespace,
    });
}

function sideMatches(
  world: World,
  rule: Rule,
  entity: EntityRule,
  { ip, port, namespace }: { ip: string; port: number | undefined; namespace: string | undefined },
): boolean {
  const version = ip.includes(":") ? 6 : 4;
  for (const list of [entity.nets, entity.notNets]) {
    // A list without a prefix of the packet's version leaves the rule to the other version.
    if (list?.length && !list.some((net) => (net.includes(":") ? 6 : 4) === version)) return false;
  }
  if (entity.notNets?.some((net) => net.endsWith("/0"))) return false;
  if (entity.nets?.length && !entity.nets.some((net) => contains(net, ip))) return false;
  if (entity.notNets?.some((net) => contains(net, ip))) return false;
  const isPicked = pickedBy(entity, namespace);
  if (isPicked && !peers(world).some((peer) => isPicked(peer.labels) && peer.nets.some((net) => contains(net, ip)))) {
    return false;
  }
  const { notSelector } = entity;
  if (notSelector) {
    const selector = parseSelector(notSelector);
    if (peers(world).some((peer) => selector.matches(peer.labels) && peer.nets.some((net) => contains(net, ip)))) {
      return false;
    }
  }
  const isOneOf = (ports: readonly (string | number)[]) =>
    ports.some((wanted) => {
      if (port === undefined) return false;
      const range = /^(\d+)(?::(\d+))?$/.exec(`${wanted}`);
      if (range) return Number(range[1]) <= port && port <= Number(range[2] ?? range[1]);
      const needed = rule.protocol === "UDP" ? 17 : rule.protocol === "SCTP" ? 132 : 6;
      return needed === world.packet.protocol && peers(world).some((peer) =>
        (isPicked?.(peer.labels) ?? true) && peer.nets.some((net) => isSameAddress(net, ip)) &&
        peer.ports.some((own) => own.name === wanted && numberOf(own.protocol) === needed && own.port === port)
      );
    });
  if (entity.ports?.length && !isOneOf(entity.ports)) return false;
  return !(entity.notPorts?.length && isOneOf(entity.notPorts));
}

type Labels = ReadonlyMap<string, string>;

/** Who the positive selectors pick; undefined when there are none. */
function pickedBy(entity: EntityRule, namespace: string | undefined): ((labels: Labels) => boolean) | undefined {
  const { selector, namespaceSelector } = entity;
  if (!selector && !namespaceSelector) return undefined;
  const parsed = parseSelector(selector ?? "");
  return (labels) => {
    const isThere = namespaceSelector
      ? selectsNamespace(namespaceSelector, labels)
      : namespace === undefined || labels.get("projectcalico.org/namespace") === namespace;
    return isThere && parsed.matches(labels);
  };
}

function selectsNamespace(text: string, labels: Labels): boolean {
  const own = labels.get("projectcalico.org/namespace");
  if (text === "global()") return own === undefined;
  if (text === "all()") return own !== undefined;
  return parseSelector(text).matches(new Map(own === undefined ? [] : [["projectcalico.org/name", own]]));
}

interface Peer {
  readonly labels: Labels;
  readonly nets: readonly string[];
  readonly ports: readonly EndpointPort[];
}

function peers(world: World): Peer[] {
  return world.all.flatMap((one): Peer[] => {
    switch (one.kind) {
      case "WorkloadEndpoint":
        return [{ labels: labelsOf(world, one), nets: one.spec.ipNetworks ?? [], ports: one.spec.ports ?? [] }];
      case "HostEndpoint":
        return [{ labels: labelsOf(world, one), nets: one.spec.expectedIPs ?? [], ports: one.spec.ports ?? [] }];
      case "GlobalNetworkSet":
      case "NetworkSet": {
        const labels = new Map(Object.entries(one.metadata.labels ?? {}));
        if (one.metadata.namespace) labels.set("projectcalico.org/namespace", one.metadata.namespace);
        return [{ labels, nets: one.spec.nets ?? [], ports: [] }];
      }
      default:
        return [];
    }
  });
}

function labelsOf({ all }: World, endpoint: Endpoint): Labels {
  const labels = new Map<string, string>();
  for (const name of [...endpoint.spec.profiles ?? []].reverse()) {
    const profile = all.find((one) => one.kind === "Profile" && one.metadata.name === name);
    if (profile?.kind !== "Profile") continue;
    for (const [label, value] of Object.entries(profile.spec.labelsToApply ?? {})) labels.set(label, value);
  }
  for (const [label, value] of Object.entries(endpoint.metadata.labels ?? {})) labels.set(label, value);
  if (endpoint.kind === "WorkloadEndpoint") {
    labels.set("projectcalico.org/namespace", endpoint.metadata.namespace ?? "default");
    labels.set("projectcalico.org/orchestrator", endpoint.spec.orchestrator);
  }
  return labels;
}

function contains(net: string, ip: string): boolean {
  return (Cidr.tryParse(net) ?? Cidr.host(Ip.parse(net))).contains(Ip.parse(ip));
}

function isSameAddress(net: string, ip: string): boolean {
  return net.replace(/\/(32|128)$/, "") === ip;
}
