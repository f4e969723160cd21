/**
 * What FelixConfiguration says of the firewall, with Calico's defaults: the node's own (`node.<name>`) over `default`, member
 * by member. What cannot be read is left at its default; validation has reported it.
 */

import type { Cidr } from "../../lib/cidr.ts";
import { parsePort, parseProtocol } from "../../model/num_or_string.ts";
import type { FailsafePort, FelixConfigurationSpec } from "../../model/resources/mod.ts";
import { parseNet, TCP } from "./rule.ts";

/** A port that stays open whatever policy says. */
export interface Failsafe {
  readonly protocol: number;
  readonly port: number;
  readonly net?: Cidr;
}

/** A limit on packets. */
export interface Rate {
  readonly rate: number;
  readonly per: "second" | "minute" | "hour" | "day";
  readonly burst: number;
}

/** The firewall's settings. */
export interface Settings {
  /** What names of workload interfaces start with. */
  readonly interfacePrefixes: readonly string[];
  readonly endpointToHost: "accept" | "drop" | "return";
  /** Whether allowed packets are accepted at once, or go on to rules that stand behind ours in the chain. */
  readonly allowAction: "accept" | "return";
  readonly failsafeInbound: readonly Failsafe[];
  readonly failsafeOutbound: readonly Failsafe[];
  readonly mayPassInvalid: boolean;
  readonly maySpoof: boolean;
  readonly mayVxlanFromWorkloads: boolean;
  readonly mayIpipFromWorkloads: boolean;
  readonly vxlanPort: number;
  readonly logPrefix: string;
  readonly logRate?: Rate;
  readonly hasFloatingIps: boolean;
  /** "low-high". */
  readonly natPorts?: string;
  /** Masquerade takes the address of the interface where this is absent. */
  readonly natAddress?: string;
  readonly natInterface?: string;
  readonly natExcludesHosts: boolean;
}

const open = (protocol: string, ...ports: number[]): FailsafePort[] => ports.map((port) => ({ protocol, port }));
const defaultInbound = [
  ...open("tcp", 22),
  ...open("udp", 68),
  ...open("tcp", 179, 2379, 2380, 5473, 6443, 6666, 6667),
];
const defaultOutbound = [...open("udp", 53, 67), ...open("tcp", 179, 2379, 2380, 5473, 6443, 6666, 6667)];

/** Merges the two configurations and reads them. */
export function readSettings(
  common: FelixConfigurationSpec | undefined,
  own: FelixConfigurationSpec | undefined,
): Settings {
  const spec: FelixConfigurationSpec = { ...common, ...own };
  const prefixes = (spec.interfacePrefix ?? "cali").split(",").map((prefix) => prefix.trim()).filter(Boolean);
  const allowAction = spec["nftablesFilterAllowAction"] ?? spec["iptablesFilterAllowAction"];
  const rate = /^(\d+)\/(second|minute|hour|day)$/.exec(spec.logActionRateLimit ?? "");
  const natPorts = spec.natPortRange === undefined ? undefined : parsePort(spec.natPortRange);
  const filter = spec["iptablesNATOutgoingInterfaceFilter"];
  const burst = spec["logActionRateLimitBurst"];
  return {
    interfacePrefixes: prefixes.length > 0 ? prefixes : ["cali"],
    endpointToHost: ({ Accept: "accept", Return: "return", Drop: "drop" } as const)[
      spec.defaultEndpointToHostAction ?? "Drop"
    ],
    allowAction: allowAction === "Return" ? "return" : "accept",
    failsafeInbound: readFailsafes(spec.failsafeInboundHostPorts ?? defaultInbound),
    failsafeOutbound: readFailsafes(spec.failsafeOutboundHostPorts ?? defaultOutbound),
    mayPassInvalid: spec["disableConntrackInvalidCheck"] === true,
    maySpoof: spec.workloadSourceSpoofing === "Any",
    mayVxlanFromWorkloads: spec["allowVXLANPacketsFromWorkloads"] === true,
    mayIpipFromWorkloads: spec["allowIPIPPacketsFromWorkloads"] === true,
    vxlanPort: spec.vxlanPort ?? 4789,
    logPrefix: spec.logPrefix ?? "calico-packet",
    hasFloatingIps: spec.floatingIPs === "Enabled",
    natExcludesHosts: spec["natOutgoingExclusions"] === "IPPoolsAndHostIPs",
    ...rate
      ? {
        logRate: { rate: Number(rate[1]), per: rate[2] as Rate["per"], burst: typeof burst === "number" ? burst : 5 },
      }
      : {},
    ...natPorts && !("name" in natPorts) && natPorts.max > 0
      ? { natPorts: natPorts.min === natPorts.max ? `${natPorts.min}` : `${natPorts.min}-${natPorts.max}` }
      : {},
    ...spec.natOutgoingAddress ? { natAddress: spec.natOutgoingAddress } : {},
    ...typeof filter === "string" && filter ? { natInterface: filter.replace(/\+$/, "*") } : {},
  };
}

function readFailsafes(ports: readonly FailsafePort[]): Failsafe[] {
  return ports.flatMap(({ protocol, port, net }) => {
    const number = protocol === undefined ? TCP : parseProtocol(protocol);
    const cidr = net === undefined ? undefined : parseNet(net);
    if (number === undefined || net !== undefined && !cidr) return [];
    return [{ protocol: number, port, ...cidr ? { net: cidr } : {} }];
  });
}
