/** The ruleset that the firewall benches load: workloads with their two chains, policies, dispatch maps and sets. */

import {
  accept,
  clearBits,
  counter,
  drop,
  goto,
  has,
  inSet,
  is,
  jump,
  leave,
  masked,
  rule,
  setBits,
  vmap,
} from "../src/netlink/nft/rule.ts";
import type { Chain, NamedSet, Ruleset } from "../src/netlink/nft/ruleset.ts";

const accepted = 0x10000, passed = 0x20000;

/** The chains of one workload: to it and from it, `policies` by name in both directions. */
export function workloadChains(index: number, policies: readonly string[]): Chain[] {
  return (["tw", "fw"] as const).map((direction) => ({
    name: `cali-${direction}-cali${index}`,
    rules: [
      rule([has("ct state", "established", "related")], [counter, accept]),
      rule([has("ct state", "invalid")], [counter, drop]),
      rule([], [clearBits(accepted | passed), counter]),
      ...direction === "fw" ? [rule([is("udp dport", 4789)], [counter, drop], "no VXLAN from workloads")] : [],
      rule([], [clearBits(passed), counter], "tier default"),
      ...policies.flatMap((policy) => [
        rule([masked("meta mark", passed, 0)], [counter, jump(policy)]),
        rule([masked("meta mark", accepted, accepted)], [counter, leave], "accepted by policy"),
      ]),
      rule([], [counter, drop], "end of tier default"),
    ],
  }));
}

function policyChain(index: number, sets: number): Chain {
  return {
    name: `cali-pi-policy${index}`,
    rules: [
      rule([is("tcp dport", 1000 + index % 5000), inSet("ip saddr", `cali40s-${index % sets}`)], [
        setBits(accepted),
        counter,
      ]),
      rule([masked("meta mark", accepted, accepted)], [counter, leave]),
      rule([is("ip saddr", "10.0.0.0/8"), is("udp dport", "5000-6000")], [counter, drop], `rule ${index}`),
    ],
  };
}

function byName<T extends { readonly name: string }>(items: readonly T[]): Map<string, T> {
  return new Map(items.map((item) => [item.name, item]));
}

/** A ruleset of so many workloads and policies, two policies for each workload. */
export function benchRuleset({ workloads, policies }: { workloads: number; policies: number }): Ruleset {
  const sets = Math.max(1, policies / 10 | 0);
  const dispatch = (name: string, direction: "fw" | "tw"): NamedSet => ({
    name,
    key: ["ifname"],
    value: "verdict",
    elements: new Map(Array.from({ length: workloads }, (_, i) => [`cali${i}`, `goto cali-${direction}-cali${i}`])),
  });
  const selector = (index: number): NamedSet => ({
    name: `cali40s-${index}`,
    key: ["ipv4_addr"],
    isInterval: true,
    elements: new Set(Array.from({ length: 20 }, (_, i) => `10.${index & 255}.${i}.${index >> 8}`)),
  });
  const chains: Chain[] = [
    { name: "cali-from-wl-dispatch", rules: [rule([], [vmap("iifname", "from-dispatch")]), rule([], [counter, drop])] },
    { name: "cali-to-wl-dispatch", rules: [rule([], [vmap("oifname", "to-dispatch")]), rule([], [counter, drop])] },
    {
      name: "cali-FORWARD",
      base: { type: "filter", hook: "forward", priority: 0, policy: "accept" },
      rules: [
        rule([is("iifname", "cali*")], [counter, jump("cali-from-wl-dispatch")]),
        rule([is("oifname", "cali*")], [counter, jump("cali-to-wl-dispatch")]),
      ],
    },
    {
      name: "cali-INPUT",
      base: { type: "filter", hook: "input", priority: 0, policy: "accept" },
      rules: [rule([is("iifname", "cali*")], [counter, goto("cali-from-wl-dispatch")])],
    },
    ...Array.from({ length: policies }, (_, i) => policyChain(i, sets)),
    ...Array.from({ length: workloads }, (_, i) => workloadChains(i, policyNames(i, policies))).flat(),
  ];
  return {
    tables: [{
      family: "inet",
      name: "tortie",
      chains: byName(chains),
      sets: byName([
        dispatch("from-dispatch", "fw"),
        dispatch("to-dispatch", "tw"),
        ...Array.from({ length: sets }, (_, i) => selector(i)),
      ]),
    }],
  };
}

function policyNames(workload: number, policies: number): string[] {
  return [workload, workload + 1].map((i) => `cali-pi-policy${i % policies}`);
}

/** The same ruleset with one more workload; what is not new is the same object as before. */
export function withWorkload(ruleset: Ruleset, index: number, policies: number): Ruleset {
  const [table] = ruleset.tables;
  if (!table) return ruleset;
  const chains = new Map(table.chains), sets = new Map(table.sets);
  for (const chain of workloadChains(index, policyNames(index, policies))) chains.set(chain.name, chain);
  for (const [name, direction] of [["from-dispatch", "fw"], ["to-dispatch", "tw"]] as const) {
    const map = sets.get(name);
    if (!map) continue;
    const elements = new Map(map.elements as ReadonlyMap<string, string>);
    sets.set(name, { ...map, elements: elements.set(`cali${index}`, `goto cali-${direction}-cali${index}`) });
  }
  return { tables: [{ ...table, chains, sets }] };
}
