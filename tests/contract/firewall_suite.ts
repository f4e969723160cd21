/**
 * The contract of the `Firewall` port, run on the kernel and on the firewall in memory: what a transaction does, what is
 * refused and with which errno, that a refused one changes nothing, and who hears of what.
 */

import assert from "node:assert/strict";
import { makePlan } from "../../src/dataplane/firewall_plan.ts";
import {
  type ActualRuleset,
  type Firewall,
  FirewallError,
  type FirewallEvent,
} from "../../src/dataplane/firewall_port.ts";
import type { Command, SetDeclaration } from "../../src/netlink/nft/command.ts";
import { canonicalRule } from "../../src/netlink/nft/canonical.ts";
import { canonicalMembers } from "../../src/netlink/nft/elements.ts";
import { accept, counter, drop, inSet, is, jump, rule, vmap } from "../../src/netlink/nft/rule.ts";
import type { Ruleset } from "../../src/netlink/nft/ruleset.ts";
import { corpus } from "../lab/nft_corpus.ts";

/** One namespace's filter, through as many handles as are asked for. */
export interface FirewallBench {
  open(): Firewall;
}

const inet = { family: "inet" } as const;
const table: Command = { op: "add table", ...inet };
const chain = (name: string): Command => ({ op: "add chain", ...inet, chain: name });
const s4: SetDeclaration = { name: "s4", key: ["ipv4_addr"], isInterval: true };
const dispatch: SetDeclaration = { name: "dispatch", key: ["ifname"], value: "verdict" };
const members = (...list: string[]) => new Map(list.map((member) => [member, ""]));

/** Everything in a ruleset that was read, without handles and counts, as one comparable value. */
export function comparable({ tables }: ActualRuleset): unknown {
  return [...tables.values()].map(({ family, flags, chains, sets }) => ({
    family,
    flags,
    chains: [...chains.values()].map(({ name, base, rules }) => ({
      name,
      base,
      rules: rules.map(({ content }) => content),
    }))
      .sort((a, b) => a.name < b.name ? -1 : 1),
    sets: [...sets.values()].map((set) => ({ ...set, elements: [...set.elements].sort() }))
      .sort((a, b) => a.name < b.name ? -1 : 1),
  })).sort((a, b) => a.family < b.family ? -1 : 1);
}

/** What should be read once a ruleset stands. */
export function expected({ tables }: Ruleset): unknown {
  return comparable({
    generation: 0,
    tables: new Map(tables.map(({ family, chains, sets }) => [family, {
      family,
      flags: 0,
      chains: new Map([...chains].map(([name, { base, rules }]) => [name, {
        name,
        base,
        rules: rules.map((one) => ({
          handle: 0n,
          comment: one.comment,
          content: canonicalRule(family, one, (set) => sets.get(set)?.isInterval ?? false),
        })),
      }])),
      sets: new Map([...sets].map(([name, set]) => [name, {
        name,
        key: set.key,
        value: set.value,
        isInterval: set.isInterval ?? false,
        hasTimeout: set.hasTimeout ?? false,
        elements: canonicalMembers(set),
      }])),
    }])),
  });
}

async function refusalOf(promise: Promise<unknown>): Promise<FirewallError> {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof FirewallError, `not a FirewallError: ${error}`);
    return error;
  }
  assert.fail("it was not refused");
}

/** Waits until the condition holds, at most two seconds. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 2000;
  while (!holds()) {
    assert.ok(performance.now() < deadline, `never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Registers the tests; `run` gives each a fresh filter. */
export function firewallSuite(
  name: string,
  run: (body: (bench: FirewallBench) => Promise<void>) => Promise<void>,
  options: { ignore?: boolean } = {},
): void {
  const test = (sentence: string, body: (bench: FirewallBench) => Promise<void>) =>
    Deno.test({ name: `${name}: ${sentence}`, ignore: options.ignore ?? false, fn: () => run(body) });

  test("an empty filter has none of our tables", async ({ open }) => {
    assert.equal((await open().read()).tables.size, 0);
  });

  test("every match, statement, set and base chain reads back as it was written", async ({ open }) => {
    const firewall = open();
    const generation = await firewall.apply(makePlan(new Map(), corpus(), { mayRemove: true }).commands);
    const actual = await firewall.read();
    assert.equal(actual.generation, generation);
    assert.deepEqual(comparable(actual), expected(corpus()));
    const [first] = actual.tables.get("inet")?.chains.get("forward")?.rules ?? [];
    assert.deepEqual([first?.packets, first?.bytes], [0n, 0n]);
  });

  const refused: [string, Command[], number, string, number][] = [
    [
      "a rule in a chain that is not there",
      [{ op: "add rule", ...inet, chain: "none", rule: rule([], [drop]) }],
      2,
      "ENOENT",
      0,
    ],
    [
      "a jump to a chain that is not there",
      [{ op: "add rule", ...inet, chain: "a", rule: rule([], [jump("none")]) }],
      2,
      "ENOENT",
      0,
    ],
    [
      "a lookup in a set that is not there",
      [{ op: "add rule", ...inet, chain: "a", rule: rule([inSet("ip saddr", "none")], [drop]) }],
      2,
      "ENOENT",
      0,
    ],
    ["deleting a chain that is not there", [{ op: "delete chain", ...inet, chain: "none" }], 2, "ENOENT", 0],
    [
      "deleting a chain that a rule jumps to",
      [
        chain("b"),
        { op: "add rule", ...inet, chain: "b", rule: rule([], [jump("a")]) },
        { op: "delete chain", ...inet, chain: "a" },
      ],
      16,
      "EBUSY",
      2,
    ],
    [
      "deleting a chain that a verdict map goes to",
      [
        { op: "add elements", ...inet, set: dispatch, elements: new Map([["cali1", "goto a"]]) },
        { op: "delete chain", ...inet, chain: "a" },
      ],
      16,
      "EBUSY",
      1,
    ],
    [
      "deleting a set that a rule looks into",
      [
        { op: "add rule", ...inet, chain: "a", rule: rule([inSet("ip saddr", "s4")], [drop]) },
        { op: "delete set", ...inet, set: "s4" },
      ],
      16,
      "EBUSY",
      1,
    ],
    [
      "a verdict that goes to a chain that is not there",
      [
        { op: "add elements", ...inet, set: dispatch, elements: new Map([["cali1", "goto none"]]) },
      ],
      2,
      "ENOENT",
      0,
    ],
    [
      "deleting a member that is not there",
      [
        { op: "delete elements", ...inet, set: s4, elements: members("192.0.2.1") },
      ],
      2,
      "ENOENT",
      0,
    ],
    [
      "members that overlap",
      [
        { op: "add elements", ...inet, set: s4, elements: members("10.1.0.0/16") },
      ],
      17,
      "EEXIST",
      0,
    ],
    ["a set of another shape", [{ op: "add set", ...inet, set: { name: "s4", key: ["ipv4_addr"] } }], 17, "EEXIST", 0],
    ["flushing a set that is not there", [{ op: "flush set", ...inet, set: "none" }], 2, "ENOENT", 0],
    [
      "a value that is none",
      [{ op: "add rule", ...inet, chain: "a", rule: rule([is("tcp dport", "http!")], [drop]) }],
      22,
      "EINVAL",
      0,
    ],
    ["a member that is none", [{ op: "add elements", ...inet, set: s4, elements: members("10.0.0") }], 22, "EINVAL", 0],
    [
      "a comment that nft could not print",
      [{ op: "add rule", ...inet, chain: "a", rule: rule([], [drop], 'say "x"') }],
      22,
      "EINVAL",
      0,
    ],
  ];
  for (const [what, commands, errno, code, index] of refused) {
    test(`${what} is refused with ${code}, and nothing of the transaction is applied`, async ({ open }) => {
      const firewall = open();
      await firewall.apply([
        table,
        chain("a"),
        { op: "add set", ...inet, set: s4 },
        { op: "add set", ...inet, set: dispatch },
        { op: "add elements", ...inet, set: s4, elements: members("10.0.0.0/8") },
        { op: "add rule", ...inet, chain: "a", rule: rule([is("iifname", "lo")], [counter, accept], "stays") },
      ]);
      const before = await firewall.read();
      const error = await refusalOf(firewall.apply([chain("early"), ...commands, chain("late")]));
      assert.deepEqual([error.errno, error.code, error.index], [errno, code, index + 1]);
      assert.ok(error.kernelMessage.length > 0);
      const after = await firewall.read();
      assert.deepEqual(comparable(after), comparable(before));
      assert.equal(after.generation, before.generation);
    });
  }

  test("adding what is there in the same form succeeds", async ({ open }) => {
    const firewall = open();
    const commands: Command[] = [
      table,
      chain("a"),
      { op: "add set", ...inet, set: s4 },
      { op: "add elements", ...inet, set: s4, elements: members("10.0.0.0/8", "11.0.0.0/8") },
    ];
    await firewall.apply(commands);
    const before = await firewall.read();
    await firewall.apply(commands);
    assert.deepEqual(comparable(await firewall.read()), comparable(before));
  });

  test("a chain, its rules and its dispatch are replaced and deleted in one transaction", async ({ open }) => {
    const firewall = open();
    const lead = { type: "filter", hook: "forward", priority: 0, policy: "drop" } as const;
    await firewall.apply([
      table,
      chain("a"),
      { op: "add set", ...inet, set: dispatch },
      { op: "add chain", ...inet, chain: "forward", base: lead },
      { op: "add elements", ...inet, set: dispatch, elements: new Map([["cali1", "goto a"]]) },
      { op: "add rule", ...inet, chain: "forward", rule: rule([], [vmap("iifname", "dispatch")]) },
    ]);
    await firewall.apply([
      { op: "flush chain", ...inet, chain: "forward" },
      { op: "delete elements", ...inet, set: dispatch, elements: new Map([["cali1", "goto a"]]) },
      { op: "delete set", ...inet, set: "dispatch" },
      { op: "delete chain", ...inet, chain: "a" },
      { op: "delete chain", ...inet, chain: "forward" },
      chain("a"),
      { op: "add chain", ...inet, chain: "forward", base: { ...lead, priority: 7, policy: "accept" } },
      { op: "add rule", ...inet, chain: "forward", rule: rule([], [jump("a")]) },
    ]);
    const { tables } = await firewall.read();
    const { chains, sets } = tables.get("inet") ?? {};
    assert.deepEqual(chains?.get("forward")?.base, { ...lead, priority: 7, policy: "accept" });
    assert.equal(chains?.get("forward")?.rules.length, 1);
    assert.equal(sets?.size, 0);
  });

  test("adding a base chain that is there changes its policy", async ({ open }) => {
    const firewall = open();
    const base = { type: "filter", hook: "input", priority: 0, policy: "accept" } as const;
    await firewall.apply([table, { op: "add chain", ...inet, chain: "input", base }]);
    await firewall.apply([{ op: "add chain", ...inet, chain: "input", base: { ...base, policy: "drop" } }]);
    assert.equal((await firewall.read()).tables.get("inet")?.chains.get("input")?.base?.policy, "drop");
  });

  test("a table that is deleted and added in one transaction is empty", async ({ open }) => {
    const firewall = open();
    await firewall.apply(makePlan(new Map(), corpus(), { mayRemove: true }).commands);
    await firewall.apply([{ op: "delete table", ...inet }, table, chain("only")]);
    assert.deepEqual([...(await firewall.read()).tables.get("inet")?.chains.keys() ?? []], ["only"]);
  });

  test("a rule is deleted by its handle", async ({ open }) => {
    const firewall = open();
    await firewall.apply([
      table,
      chain("a"),
      { op: "add rule", ...inet, chain: "a", rule: rule([], [counter], "one") },
      { op: "add rule", ...inet, chain: "a", rule: rule([], [counter], "two") },
    ]);
    const handle = (await firewall.read()).tables.get("inet")?.chains.get("a")?.rules[0]?.handle ?? 0n;
    await firewall.apply([{ op: "delete rule", ...inet, chain: "a", handle }]);
    assert.deepEqual((await firewall.read()).tables.get("inet")?.chains.get("a")?.rules.map(({ comment }) => comment), [
      "two",
    ]);
  });

  test("a transaction at an old generation is refused with ERESTART", async ({ open }) => {
    const firewall = open(), other = open();
    await firewall.apply([table]);
    const { generation } = await firewall.read();
    await other.apply([chain("theirs")]);
    const error = await refusalOf(firewall.apply([chain("ours")], { generation }));
    assert.equal(error.code, "ERESTART");
    const read = await firewall.read();
    assert.deepEqual([...read.tables.get("inet")?.chains.keys() ?? []], ["theirs"]);
    await firewall.apply([chain("ours")], { generation: read.generation });
    assert.equal((await firewall.read()).tables.get("inet")?.chains.size, 2);
  });

  test("a watcher hears of changes by others and not of its own", async ({ open }) => {
    const firewall = open(), other = open();
    const events: FirewallEvent[] = [];
    await firewall.apply([table]);
    const stop = firewall.watch((event) => events.push(event));
    await firewall.apply([chain("ours")]);
    await other.apply([chain("theirs")]);
    await until("a report", () => events.length > 0);
    assert.deepEqual(events, [{ type: "changed", family: "inet" }]);
    await other.apply([{ op: "delete table", ...inet }]);
    await until("a second report", () => events.length > 1);
    stop();
    await other.apply([table]);
    await firewall.read();
    assert.deepEqual(events.map(({ type }) => type), ["changed", "changed"]);
  });

  test("a hundred thousand members are added in one transaction, a few deleted in another", async ({ open }) => {
    const firewall = open();
    const hosts: SetDeclaration = { name: "hosts", key: ["ipv4_addr"] };
    const all = members(...Array.from({ length: 100_000 }, (_, i) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`));
    await firewall.apply([
      table,
      { op: "add set", ...inet, set: hosts },
      { op: "add elements", ...inet, set: hosts, elements: all },
    ]);
    await firewall.apply([{ op: "delete elements", ...inet, set: hosts, elements: members("10.0.0.0", "10.1.0.0") }]);
    const found = (await firewall.read()).tables.get("inet")?.sets.get("hosts")?.elements;
    assert.equal(found?.size, 99_998);
    assert.ok(found?.has("10.1.134.159") && !found.has("10.1.0.0"));
  });
}
