/** All chains of one endpoint of this host: two of a workload, up to seven of each interface of a host endpoint. */

import type { Chain } from "../../netlink/nft/ruleset.ts";
import type { CompiledPolicy } from "../compile/policy.ts";
import type { Settings } from "../compile/settings.ts";
import type { HostEndpoint, WorkloadEndpoint } from "../../model/resources/mod.ts";
import { orderPolicies, type TierOrder, type Use } from "../order.ts";
import { type EndpointChainInput, renderEndpointChain } from "./endpoint_chain.ts";
import { anyInterface, hostChainName, type Way, workloadChainName } from "./names.ts";

/** What the chains depend on. */
export interface EndpointInput {
  readonly resource: WorkloadEndpoint | HostEndpoint;
  readonly interfaces: readonly string[];
  /** The policies that select it, in any order. */
  readonly policies: Iterable<CompiledPolicy>;
  readonly tiers: ReadonlyMap<string, TierOrder>;
  readonly settings: Settings;
}

/** The chains, and those of groups of policies, which endpoints share. */
export interface EndpointChains {
  readonly chains: readonly Chain[];
  readonly groups: readonly Chain[];
}

/** Renders the chains of an endpoint on its interfaces. */
export function renderEndpoint(input: EndpointInput): EndpointChains {
  const made = input.interfaces.flatMap((name) =>
    input.resource.kind === "WorkloadEndpoint"
      ? workloadInputs(input.resource, name, input)
      : hostInputs(input.resource, name, input)
  ).map(renderEndpointChain);
  return { chains: made.map(({ chain }) => chain), groups: made.flatMap(({ groups }) => groups) };
}

function workloadInputs({ spec }: WorkloadEndpoint, name: string, input: EndpointInput): EndpointChainInput[] {
  const { qosControls: qos = {}, profiles = [] } = spec;
  const { settings } = input;
  const rateOf = (rate: number | undefined, burst: number | undefined) =>
    rate ? { rate, ...burst ? { burst } : {} } : undefined;
  return [
    {
      name: workloadChainName(name, "to"),
      use: "workload",
      direction: "ingress",
      tiers: orderPolicies(input.policies, input.tiers, { use: "workload", direction: "ingress" }),
      profiles,
      settings,
      packetRate: rateOf(qos.ingressPacketRate, qos.ingressPacketBurst),
      maxConnections: qos.ingressMaxConnections || undefined,
    },
    {
      name: workloadChainName(name, "from"),
      use: "workload",
      direction: "egress",
      tiers: orderPolicies(input.policies, input.tiers, { use: "workload", direction: "egress" }),
      profiles,
      settings,
      isFromWorkload: true,
      packetRate: rateOf(qos.egressPacketRate, qos.egressPacketBurst),
      maxConnections: qos.egressMaxConnections || undefined,
    },
  ];
}

const hostUses: readonly {
  readonly use: Use;
  readonly way: Way;
  readonly stage: Parameters<typeof hostChainName>[2];
}[] = [
  { use: "untracked", way: "from", stage: "untracked" },
  { use: "untracked", way: "to", stage: "untracked" },
  { use: "preDNAT", way: "from", stage: "preDNAT" },
  { use: "host", way: "from", stage: "normal" },
  { use: "host", way: "to", stage: "normal" },
  { use: "forward", way: "from", stage: "forward" },
  { use: "forward", way: "to", stage: "forward" },
];

function hostInputs({ spec }: HostEndpoint, name: string, input: EndpointInput): EndpointChainInput[] {
  const uses = name === anyInterface ? hostUses.filter(({ use }) => use !== "untracked") : hostUses;
  return uses.map(({ use, way, stage }) => {
    // What comes in from the interface is the host endpoint's ingress.
    const direction = way === "from" ? "ingress" : "egress";
    const failsafe = `cali-${use === "untracked" ? "raw-" : ""}failsafe-${way === "from" ? "in" : "out"}`;
    return {
      name: hostChainName(name, way, stage),
      use,
      direction,
      tiers: orderPolicies(input.policies, input.tiers, { use, direction }),
      profiles: spec.profiles ?? [],
      settings: input.settings,
      ...use === "forward" ? {} : { failsafe },
    };
  });
}
