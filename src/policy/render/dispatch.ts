/**
 * From the hooks to the chain of the interface: one lookup in a verdict map, so that the cost of a packet does not grow with
 * the number of interfaces. What comes from or goes to a workload interface that nobody knows is dropped.
 */

import type { Chain, Match, NamedSet, Rule } from "../../netlink/nft/ruleset.ts";
import { counter, drop, goto, is, leave, rule, vmap } from "../../netlink/nft/rule.ts";
import { anyInterface, hostChainName, type Way, workloadChainName } from "./names.ts";

/** Chains and sets by name, as a part of a table. */
export interface Piece {
  readonly chains: readonly Chain[];
  readonly sets: readonly NamedSet[];
}

/** The verdict map from the name of an interface to its chain. */
function verdictMap(name: string, interfaces: readonly string[], chain: (interfaceName: string) => string): NamedSet {
  const elements = new Map(interfaces.map((name): [string, string] => [name, `goto ${chain(name)}`]));
  return { name, key: ["ifname"], value: "verdict", elements };
}

/** Dispatch of packets of workloads. */
export function renderWorkloadDispatch(interfaces: readonly string[]): Piece {
  const ways: Way[] = ["from", "to"];
  return {
    chains: ways.map((way): Chain => ({
      name: `cali-${way}-wl-dispatch`,
      rules: [
        rule([], [vmap(way === "from" ? "iifname" : "oifname", `cali-${way}-wl`)]),
        rule([], [counter, drop], "unknown interface"),
      ],
    })),
    sets: ways.map((way) => verdictMap(`cali-${way}-wl`, interfaces, (name) => workloadChainName(name, way))),
  };
}

/** What dispatch of a host's packets is about. */
export interface HostDispatchInput {
  /** Interfaces that a host endpoint names, or is found by. */
  readonly interfaces: readonly string[];
  /** Whether there is a host endpoint `*`. */
  readonly hasAny: boolean;
  /** What is a workload's interface, seen as packets leave. */
  readonly toWorkload: readonly Match[];
}

/** Dispatch of packets of the host's own interfaces, in each of the stages. */
export function renderHostDispatch({ interfaces, hasAny, toWorkload }: HostDispatchInput): Piece {
  const chains: Chain[] = [], sets: NamedSet[] = [];
  const put = (name: string, way: Way, stage: Parameters<typeof hostChainName>[2], map: string) => {
    const rules: Rule[] = [];
    if (interfaces.length > 0) {
      rules.push(rule([], [vmap(way === "from" ? "iifname" : "oifname", map)]));
      sets.push(verdictMap(map, interfaces, (name) => hostChainName(name, way, stage)));
    }
    // Tracking is never switched off for all interfaces at once.
    if (hasAny && stage !== "untracked") {
      if (way === "to" && stage === "normal") {
        rules.push(...toWorkload.map((match) => rule([match], [counter, leave], "host to workload")));
      }
      rules.push(rule([], [counter, goto(hostChainName(anyInterface, way, stage))]));
    }
    chains.push({ name, rules });
  };
  put("cali-raw-from-host-endpoint", "from", "untracked", "cali-raw-from-hep");
  put("cali-raw-to-host-endpoint", "to", "untracked", "cali-raw-to-hep");
  put("cali-mangle-from-host-endpoint", "from", "preDNAT", "cali-mangle-from-hep");
  put("cali-from-host-endpoint", "from", "normal", "cali-from-hep");
  put("cali-to-host-endpoint", "to", "normal", "cali-to-hep");
  put("cali-from-hep-forward", "from", "forward", "cali-from-hep-fw");
  put("cali-to-hep-forward", "to", "forward", "cali-to-hep-fw");
  return { chains, sets };
}

/** The matches by which packets of workload interfaces are known: by prefix, and those with names of their own. */
export function workloadMatches(
  way: Way,
  { prefixes, hasOthers }: { readonly prefixes: readonly string[]; readonly hasOthers: boolean },
): Match[] {
  const field = way === "from" ? "iifname" : "oifname";
  return [
    ...prefixes.map((prefix) => is(field, `${prefix}*`)),
    ...hasOthers ? [{ kind: "in", fields: [field], set: otherInterfaces } as const] : [],
  ];
}

/** The set of workload interfaces whose names do not start with a prefix. */
export const otherInterfaces = "cali-other-wl";
