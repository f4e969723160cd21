/**
 * Why a packet passes or not: the way of the first packet of a connection from one place to another, with the tier, policy,
 * rule and action of each step.
 *
 *   a workload's egress -> [its host: default endpoint-to-host action] -> a workload's or host endpoint's ingress
 *
 * The host's own packets to its workloads are never judged. What cannot be resolved is a `ExplainError` for people.
 */

import { type Family, Ip } from "../../lib/ip.ts";
import { parseProtocol } from "../../model/num_or_string.ts";
import type { HostEndpoint, RuleAction, WorkloadEndpoint } from "../../model/resources/mod.ts";
import type { Direction } from "../compile/policy.ts";
import { ICMP, ICMPV6, parseNet, SCTP, TCP, UDP } from "../compile/rule.ts";
import { type Failsafe, readSettings } from "../compile/settings.ts";
import { orderPolicies, type Use } from "../order.ts";
import { judge, type Packet, type Step } from "./match.ts";
import { membershipOf, policiesFor, profileOf, type Resources, tiersOf } from "./model.ts";

/** What is asked. */
export interface Question {
  /** A workload's name ("web", "prod/web", "rack1-a/web"), the name of a host endpoint, or an address. */
  readonly from: string;
  readonly to: string;
  /** A name or number. */
  readonly protocol: string | number;
  /** The destination port, of protocols that have ports. */
  readonly port?: number;
  readonly sourcePort?: number;
  /** Echo request when left out. */
  readonly icmpType?: number;
  readonly icmpCode?: number;
  readonly family?: Family;
}

/** A step at a place: "egress a/web". */
export interface ExplainStep extends Step {
  readonly at: string;
}

/** The answer. */
export interface Explanation {
  readonly verdict: "allow" | "deny";
  readonly steps: readonly ExplainStep[];
}

/** A question that cannot be answered; the message says why and how to mend it. */
export class ExplainError extends Error {
  override readonly name = "ExplainError";
}

interface Place {
  readonly text: string;
  readonly endpoint?: WorkloadEndpoint | HostEndpoint;
  readonly ips: readonly Ip[];
  /** The node whose own address it is. */
  readonly hostOf?: string;
}

/** Explains; throws ExplainError. */
export function explain(resources: Resources, question: Question): Explanation {
  const from = resolve(resources, question.from), to = resolve(resources, question.to);
  const packet = packetOf(question, from, to);
  const steps: ExplainStep[] = [];
  const ask = (place: Place, direction: Direction, use: Use): "allow" | "deny" | "next" => {
    const { endpoint } = place;
    if (!endpoint) return "allow";
    const judgement = judge(
      {
        use,
        direction,
        tiers: orderPolicies(policiesFor(resources, endpoint), tiersOf(resources), { use, direction }),
        profiles: (endpoint.spec.profiles ?? []).map((name) => profileOf(resources, name)),
      },
      packet,
      membershipOf(resources),
    );
    steps.push(...judgement.steps.map((step) => ({ at: `${direction} ${nameOf(endpoint)}`, ...step })));
    return judgement.verdict;
  };
  const askHost = (place: Place, direction: Direction): "allow" | "deny" => {
    const { endpoint } = place;
    if (endpoint?.kind !== "HostEndpoint") return "allow";
    if (isFailsafe(resources, endpoint, direction, packet)) {
      steps.push({
        at: `${direction} ${nameOf(endpoint)}`,
        tier: "failsafe",
        policy: null,
        rule: null,
        action: "Allow",
      });
      return "allow";
    }
    for (const use of ["untracked", ...direction === "ingress" ? ["preDNAT" as const] : [], "host"] as const) {
      if (use === "untracked" && endpoint.spec.interfaceName === "*") continue;
      const verdict = ask(place, direction, use);
      if (verdict !== "next") return verdict;
    }
    return "deny";
  };
  const finish = (verdict: "allow" | "deny"): Explanation => ({ verdict, steps });

  if (from.endpoint?.kind === "WorkloadEndpoint") {
    if (ask(from, "egress", "workload") === "deny") return finish("deny");
    const own = from.endpoint.spec.node;
    if (to.hostOf === own || to.endpoint?.kind === "HostEndpoint" && to.endpoint.spec.node === own) {
      const action = hostAction(resources, own);
      steps.push({ at: `host ${own}`, tier: null, policy: "defaultEndpointToHostAction", rule: null, action });
      return finish(action === "Allow" ? "allow" : "deny");
    }
  } else if (askHost(from, "egress") === "deny") return finish("deny");

  if (to.endpoint?.kind === "WorkloadEndpoint") {
    const own = to.endpoint.spec.node;
    const isFromOwnHost = from.hostOf === own ||
      from.endpoint?.kind === "HostEndpoint" && from.endpoint.spec.node === own;
    return finish(!isFromOwnHost && ask(to, "ingress", "workload") === "deny" ? "deny" : "allow");
  }
  return finish(askHost(to, "ingress"));
}

/** How steps and people name an endpoint: its node and workload. */
export function nameOf(endpoint: WorkloadEndpoint | HostEndpoint): string {
  if (endpoint.kind === "HostEndpoint") return `${endpoint.spec.node ?? ""}/${endpoint.metadata.name}`;
  const { node, workload, pod, containerID } = endpoint.spec;
  return `${node}/${workload || pod || containerID || endpoint.metadata.name}`;
}

function hostAction(resources: Resources, node: string): RuleAction {
  return settingsOf(resources, node).endpointToHost === "drop" ? "Deny" : "Allow";
}

function settingsOf(resources: Resources, node: string) {
  const all = resources.all("FelixConfiguration");
  return readSettings(all.get("default")?.spec, all.get(`node.${node}`)?.spec);
}

function isFailsafe(resources: Resources, endpoint: HostEndpoint, direction: Direction, packet: Packet): boolean {
  const { failsafeInbound, failsafeOutbound } = settingsOf(resources, endpoint.spec.node ?? "");
  const remote = direction === "ingress" ? packet.source : packet.destination;
  const isOpen = ({ protocol, port, net }: Failsafe) =>
    protocol === packet.protocol && (packet.destinationPort === undefined || port === packet.destinationPort) &&
    (!net || net.contains(remote));
  return (direction === "ingress" ? failsafeInbound : failsafeOutbound).some(isOpen);
}

function resolve(resources: Resources, text: string): Place {
  const ip = Ip.tryParse(text);
  if (ip) return resolveAddress(resources, text, ip);
  const named = [...resources.all("WorkloadEndpoint").values()].filter((endpoint) => isNamed(endpoint, text));
  const hosts = [...resources.all("HostEndpoint").values()].filter(({ metadata }) => metadata.name === text);
  const found = [...named, ...hosts];
  const [endpoint] = found;
  if (!endpoint) {
    throw new ExplainError(
      `there is no workload, host endpoint or address ${JSON.stringify(text)}; see "workload list"`,
    );
  }
  if (found.length > 1) {
    const names = found.map((one) =>
      one.metadata.namespace ? `${one.metadata.namespace}/${one.metadata.name}` : one.metadata.name
    );
    throw new ExplainError(`${JSON.stringify(text)} is the name of several: ${names.join(", ")}; name one of them`);
  }
  const nets = endpoint.kind === "WorkloadEndpoint" ? endpoint.spec.ipNetworks : endpoint.spec.expectedIPs;
  return { text, endpoint, ips: (nets ?? []).flatMap((net) => parseNet(net)?.ip ?? []) };
}

function isNamed({ metadata: { name, namespace = "default" }, spec }: WorkloadEndpoint, text: string): boolean {
  const short = [spec.workload, spec.pod, spec.containerID].filter((word) => word !== undefined && word !== "");
  return [name, ...short].some((word) =>
    text === word || text === `${namespace}/${word}` || text === `${spec.node}/${word}`
  );
}

function resolveAddress(resources: Resources, text: string, ip: Ip): Place {
  const has = (nets: readonly string[] | undefined) => (nets ?? []).some((net) => parseNet(net)?.ip.equals(ip));
  for (const endpoint of resources.all("WorkloadEndpoint").values()) {
    if (has(endpoint.spec.ipNetworks)) return { text, endpoint, ips: [ip] };
  }
  for (const endpoint of resources.all("HostEndpoint").values()) {
    if (has(endpoint.spec.expectedIPs)) return { text, endpoint, ips: [ip], hostOf: endpoint.spec.node ?? "" };
  }
  for (const [name, { spec }] of resources.all("Node")) {
    const texts = [
      spec.bgp?.ipv4Address,
      spec.bgp?.ipv6Address,
      ...(spec.addresses ?? []).map(({ address }) => address),
    ];
    if (has(texts.flatMap((address) => address ? [address.replace(/\/.*/, "")] : []))) {
      return { text, ips: [ip], hostOf: name };
    }
  }
  return { text, ips: [ip] };
}

function packetOf(question: Question, from: Place, to: Place): Packet {
  const protocol = parseProtocol(question.protocol);
  if (protocol === undefined) {
    throw new ExplainError(
      `${JSON.stringify(question.protocol)} is not a protocol; write tcp, udp, sctp, icmp or a number`,
    );
  }
  const hasPorts = protocol === TCP || protocol === UDP || protocol === SCTP;
  if (hasPorts && question.port === undefined) throw new ExplainError("the port is missing; add --port");
  const wanted = question.family ?? (protocol === ICMPV6 ? 6 : undefined);
  for (const family of [4, 6] as const) {
    if (wanted !== undefined && wanted !== family) continue;
    const source = from.ips.find((ip) => ip.family === family), destination = to.ips.find((ip) => ip.family === family);
    if (!source || !destination) continue;
    // People say icmp and mean that of the version they speak.
    const isIcmp = protocol === ICMP || protocol === ICMPV6;
    const echo = family === 4 ? 8 : 128;
    return {
      family,
      protocol: isIcmp ? family === 4 ? ICMP : ICMPV6 : protocol,
      source,
      destination,
      ...hasPorts ? { destinationPort: question.port, sourcePort: question.sourcePort ?? 49152 } : {},
      ...isIcmp ? { icmpType: question.icmpType ?? echo, icmpCode: question.icmpCode ?? 0 } : {},
    };
  }
  throw new ExplainError(`${from.text} and ${to.text} have no IP version in common`);
}
