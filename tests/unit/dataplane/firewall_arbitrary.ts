/** Random rulesets of the firewall's language, valid for the kernel: jumps go to later chains only, and to what is there. */

import fc from "fast-check";
import type { Command } from "../../../src/netlink/nft/command.ts";
import { accept, counter, drop, goto, inSet, jump, leave, rule, setBits, vmap } from "../../../src/netlink/nft/rule.ts";
import type { Chain, Match, NamedSet, Rule, Ruleset, Statement, Table } from "../../../src/netlink/nft/ruleset.ts";
import { corpus } from "../../lab/nft_corpus.ts";

const chainNames = ["cali-a", "cali-b", "cali-c", "cali-d", "cali-e"];
const bases = [
  { name: "cali-FORWARD", type: "filter", hook: "forward" },
  { name: "cali-INPUT", type: "filter", hook: "input" },
  { name: "cali-raw-PREROUTING", type: "filter", hook: "prerouting" },
] as const;

/** Matches that refer to no set. */
const plainMatches: Match[][] = (corpus().tables[0]?.chains.get("forward")?.rules ?? [])
  .map(({ matches }) => [...matches]).filter((matches) =>
    !matches.some(({ kind }) => kind === "in" || kind === "ct count")
  );

const cidr = fc.tuple(fc.nat(3), fc.nat(3), fc.constantFrom(32, 31, 30, 24, 16, 8))
  .map(([a, b, length]) => `10.${a}.0.${b}/${length}`);

const anySet: fc.Arbitrary<NamedSet>[] = [
  fc.array(cidr, { maxLength: 12 }).map((list): NamedSet => ({
    name: "nets",
    key: ["ipv4_addr"],
    isInterval: true,
    elements: new Set(list),
  })),
  fc.uniqueArray(fc.nat(20), { maxLength: 12 }).map((list): NamedSet => ({
    name: "hosts",
    key: ["ipv4_addr"],
    elements: new Set(list.map((i) => `192.0.2.${i}`)),
  })),
  fc.uniqueArray(fc.nat(20), { maxLength: 12 }).map((list): NamedSet => ({
    name: "named-ports",
    key: ["ipv4_addr", "inet_proto", "inet_service"],
    elements: new Set(list.map((i) => `192.0.2.${i} . ${i % 2 ? "tcp" : "udp"} . ${i}`)),
  })),
  fc.uniqueArray(fc.nat(200), { maxLength: 12 }).map((list): NamedSet => ({
    name: "six",
    key: ["ipv6_addr"],
    isInterval: true,
    elements: new Set(list.map((i) => `2001:DB8:0::${i.toString(16)}/${i % 3 ? 128 : 120}`)),
  })),
];

interface Shape {
  readonly present: readonly string[];
  readonly bodies: readonly (readonly [number, number, number])[][];
  readonly lead: readonly { readonly priority: number; readonly isDrop: boolean }[];
  readonly sets: readonly NamedSet[];
  readonly dispatched: readonly (readonly [number, number])[];
  readonly withArp: boolean;
}

const shape: fc.Arbitrary<Shape> = fc.record({
  present: fc.subarray(chainNames),
  bodies: fc.array(fc.array(fc.tuple(fc.nat(), fc.nat(), fc.nat()), { maxLength: 4 }), {
    minLength: chainNames.length + bases.length,
    maxLength: chainNames.length + bases.length,
  }),
  lead: fc.array(fc.record({ priority: fc.constantFrom(0, 5), isDrop: fc.boolean() }), {
    minLength: bases.length,
    maxLength: bases.length,
  }),
  sets: fc.tuple(...anySet).chain((sets) => fc.subarray(sets)),
  dispatched: fc.array(fc.tuple(fc.nat(9), fc.nat()), { maxLength: 8 }),
  withArp: fc.boolean(),
});

/** A random ruleset. */
export const ruleset: fc.Arbitrary<Ruleset> = shape.map(build);

function build({ present, bodies, lead, sets, dispatched, withArp }: Shape): Ruleset {
  const verdicts = ["accept", "drop", "return", ...present.flatMap((name) => [`jump ${name}`, `goto ${name}`])];
  // The dispatch goes to any chain: only base chains look into it, so nothing goes round in circles.
  const dispatch: NamedSet = {
    name: "dispatch",
    key: ["ifname"],
    value: "verdict",
    elements: new Map(dispatched.map(([i, pick]) => [`cali${i}`, verdicts[pick % verdicts.length] ?? "drop"])),
  };
  const chains: Chain[] = present.map((name, i) => ({
    name,
    rules: (bodies[i] ?? []).map((picks) => makeRule(picks, present.slice(i + 1), sets, false)),
  }));
  for (const [i, { name, ...hook }] of bases.entries()) {
    const { priority = 0, isDrop = false } = lead[i] ?? {};
    const rules = (bodies[chainNames.length + i] ?? []).map((picks) => makeRule(picks, present, sets, true));
    chains.push({ name, base: { ...hook, priority, policy: isDrop ? "drop" : "accept" }, rules });
  }
  const inet: Table = { family: "inet", name: "tortie", chains: byName(chains), sets: byName([...sets, dispatch]) };
  const arp = corpus().tables[1];
  return { tables: withArp && arp ? [inet, arp] : [inet] };
}

function byName<T extends { readonly name: string }>(items: readonly T[]): Map<string, T> {
  return new Map(items.map((item) => [item.name, item]));
}

function makeRule(
  [a, b, c]: readonly [number, number, number],
  later: readonly string[],
  sets: readonly NamedSet[],
  isBase: boolean,
): Rule {
  const matches: Match[] = [...plainMatches[a % plainMatches.length] ?? []];
  const set = sets[b % 7];
  if (set) {
    const fields = { nets: ["ip saddr"], hosts: ["ip daddr"], six: ["ip6 saddr"] }[set.name] ??
      ["ip daddr", "meta l4proto", "th dport"];
    matches.push({ ...inSet(fields as Parameters<typeof inSet>[0], set.name) });
  }
  const target = later[c % Math.max(1, later.length)];
  const ends: Statement[] = [accept, drop, leave, setBits(0x10000), ...target ? [jump(target), goto(target)] : []];
  const statement = isBase && c % 5 === 0 ? vmap("iifname", "dispatch") : ends[c % ends.length] ?? drop;
  return rule(matches, [counter, statement], c % 3 === 0 ? `rule ${c % 100}` : undefined);
}

const inet = { family: "inet" } as const;

/** What somebody else may do to our tables; commands that are refused do nothing. */
export const vandalism: fc.Arbitrary<Command[]> = fc.array(
  fc.oneof(
    fc.constantFrom<Command>(
      { op: "delete table", ...inet },
      { op: "delete table", family: "arp" },
      { op: "add chain", ...inet, chain: "intruder" },
      { op: "add rule", ...inet, chain: "cali-FORWARD", rule: rule([], [accept], "open") },
      { op: "add set", ...inet, set: { name: "intruders", key: ["ipv4_addr"] } },
      { op: "delete set", ...inet, set: "nets" },
      {
        op: "add chain",
        ...inet,
        chain: "cali-FORWARD",
        base: { type: "filter", hook: "forward", priority: 0, policy: "accept" },
      },
      {
        op: "add elements",
        ...inet,
        set: { name: "hosts", key: ["ipv4_addr"] },
        elements: new Map([["203.0.113.1", ""]]),
      },
      {
        op: "add elements",
        ...inet,
        set: { name: "nets", key: ["ipv4_addr"], isInterval: true },
        elements: new Map([["198.51.100.0/24", ""]]),
      },
      { op: "flush set", ...inet, set: "dispatch" },
      { op: "flush set", ...inet, set: "nets" },
    ),
    fc.constantFrom(...chainNames, ...bases.map(({ name }) => name)).chain((chain) =>
      fc.constantFrom<Command>({ op: "flush chain", ...inet, chain }, { op: "delete chain", ...inet, chain })
    ),
    fc.constantFrom(...chainNames).map((chain): Command => ({
      op: "add rule",
      ...inet,
      chain: "intruder",
      rule: rule([], [jump(chain)]),
    })),
  ),
  { maxLength: 4 },
);
