/** The firewall's reconciler on the filter in memory: after any change, vandalism and faults what stands is what is desired. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { FirewallFaults, MemoryFilter } from "../../../src/dataplane/firewall_memory.ts";
import { FirewallReconciler, firewallResync } from "../../../src/dataplane/firewall_reconciler.ts";
import { FakeClock } from "../../../src/lib/fake_clock.ts";
import { accept, counter, drop, goto, inSet, is, jump, rule, vmap } from "../../../src/netlink/nft/rule.ts";
import type { Chain, NamedSet, Ruleset } from "../../../src/netlink/nft/ruleset.ts";
import { benchRuleset, withWorkload } from "../../../bench/nft_ruleset.ts";
import { comparable, expected } from "../../contract/firewall_suite.ts";
import { ruleset, vandalism } from "./firewall_arbitrary.ts";

const EBUSY = 16, ENOMEM = 12, ENOENT = 2, ERESTART = 85;

function bench() {
  const clock = new FakeClock(), filter = new MemoryFilter(), faults = new FirewallFaults();
  const firewall = filter.handle(faults), other = filter.handle();
  const reconciler = new FirewallReconciler(firewall, clock);
  firewall.watch((event) => reconciler.observe(event));
  /** Reports arrive in microtasks. */
  const settled = () => new Promise<void>((resolve) => queueMicrotask(() => queueMicrotask(resolve)));
  const standing = async () => comparable(await other.read());
  return { clock, filter, faults, other, reconciler, settled, standing };
}

function table(chains: Chain[], sets: NamedSet[] = []): Ruleset {
  const byName = <T extends { name: string }>(items: T[]) => new Map(items.map((item) => [item.name, item]));
  return { tables: [{ family: "inet", name: "tortie", chains: byName(chains), sets: byName(sets) }] };
}

const lead = { type: "filter", hook: "forward", priority: 0, policy: "drop" } as const;
const nets = (...list: string[]): NamedSet => ({
  name: "nets",
  key: ["ipv4_addr"],
  isInterval: true,
  elements: new Set(list),
});

Deno.test("after any changes, vandalism and faults what stands is what is desired", async () => {
  let repaired = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          ruleset,
          vandalism,
          fault: fc.option(
            fc.record({
              errno: fc.constantFrom(EBUSY, ENOMEM, ENOENT, ERESTART),
              skip: fc.nat(5),
              times: fc.integer({ min: 1, max: 4 }),
            }),
          ),
          losesReports: fc.boolean(),
          mayRemove: fc.boolean(),
        }),
        { minLength: 1, maxLength: 4 },
      ),
      async (steps) => {
        const { clock, faults, other, reconciler, settled, standing } = bench();
        for (const step of steps) {
          faults.losesReports = step.losesReports;
          if (step.fault) faults.fail({ matching: /./, ...step.fault });
          reconciler.desire(step.ruleset);
          await reconciler.apply({ mayRemove: step.mayRemove });
          for (const command of step.vandalism) await other.apply([command]).then(() => repaired++, () => {});
          await settled();
          clock.advance(60);
          await reconciler.apply({ mayRemove: step.mayRemove });
        }
        faults.clear();
        // A report that gets through again brings a resync with it; else the timer does.
        clock.advance(firewallResync);
        await reconciler.apply({ mayRemove: true });
        const last = steps.at(-1)?.ruleset;
        assert.ok(last);
        assert.deepEqual(reconciler.failures(), []);
        assert.deepEqual(await standing(), expected(last));
        assert.ok(reconciler.stands);
        assert.equal(await reconciler.apply({ mayRemove: true }), 0);
      },
    ),
    { numRuns: 300 },
  );
  assert.ok(repaired > 50, `only ${repaired} acts of vandalism succeeded`);
});

Deno.test("somebody's change of our table is undone at the next apply, without a timer", async () => {
  const { clock, other, reconciler, settled, standing } = bench();
  const desired = table([{ name: "forward", base: lead, rules: [rule([], [counter, drop])] }]);
  reconciler.desire(desired);
  await reconciler.apply({ mayRemove: true });
  assert.equal(reconciler.nextDue(), firewallResync);
  await other.apply([{ op: "flush chain", family: "inet", chain: "forward" }]);
  await settled();
  assert.ok(reconciler.isDirty && !reconciler.stands);
  assert.equal(reconciler.nextDue(), clock.monotonic());
  assert.equal(await reconciler.apply({ mayRemove: true }), 2);
  assert.deepEqual(await standing(), expected(desired));
});

Deno.test("only what differs is sent: one member, one chain, one map entry", async () => {
  const { faults, reconciler } = bench();
  const a: Chain = { name: "a", rules: [rule([is("tcp dport", 80)], [counter, accept])] };
  const b: Chain = { name: "b", rules: [rule([inSet("ip saddr", "nets")], [counter, goto("a")])] };
  const map = (...list: [string, string][]): NamedSet => ({
    name: "map",
    key: ["ifname"],
    value: "verdict",
    elements: new Map(list),
  });
  const last = () => faults.transactions.at(-1);
  const apply = (ruleset: Ruleset) => {
    reconciler.desire(ruleset);
    return reconciler.apply({ mayRemove: true });
  };
  await apply(table([a, b], [nets("10.0.0.0/8"), map(["cali1", "goto a"])]));
  await apply(table([a, b], [nets("10.0.0.0/8", "192.0.2.1"), map(["cali1", "goto a"])]));
  assert.deepEqual(last(), ["add element inet tortie nets { 192.0.2.1 }"]);
  await apply(table([a, b], [nets("192.0.2.1", "10.0.0.0/8"), map(["cali1", "goto b"], ["cali2", "drop"])]));
  assert.deepEqual(last(), [
    'delete element inet tortie map { "cali1" : goto a }',
    'add element inet tortie map { "cali1" : goto b, "cali2" : drop }',
  ]);
  const count = faults.transactions.length;
  assert.equal(
    await apply(
      table([{ ...a, rules: [...a.rules] }, b], [
        nets("10.0.0.0/8", "192.0.2.1"),
        map(["cali1", "goto b"], ["cali2", "drop"]),
      ]),
    ),
    0,
  );
  assert.equal(faults.transactions.length, count, "the same content in other objects is no change");
  await apply(
    table([{ ...a, rules: [rule([], [drop])] }, b], [nets("10.0.0.0/8"), map(["cali1", "goto b"], ["cali2", "drop"])]),
  );
  assert.deepEqual(last(), [
    "flush chain inet tortie a",
    "delete element inet tortie nets { 192.0.2.1 }",
    "add rule inet tortie a drop",
  ]);
});

Deno.test("overlapping prefixes reach the kernel without overlap, and what they hid comes back", async () => {
  const { faults, reconciler, standing } = bench();
  const apply = (...list: string[]) => {
    reconciler.desire(table([], [nets(...list)]));
    return reconciler.apply({ mayRemove: true });
  };
  await apply("10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32");
  assert.deepEqual(await standing(), expected(table([], [nets("10.0.0.0/8")])));
  await apply("10.1.2.3/32", "10.1.0.0/16");
  assert.deepEqual(faults.transactions.at(-1), [
    "delete element inet tortie nets { 10.0.0.0/8 }",
    "add element inet tortie nets { 10.1.0.0/16 }",
  ]);
});

Deno.test("one workload among a thousand costs a few dozen commands", async () => {
  const { faults, reconciler } = bench();
  const before = benchRuleset({ workloads: 1000, policies: 100 });
  reconciler.desire(before);
  await reconciler.apply({ mayRemove: true });
  reconciler.desire(withWorkload(before, 1000, 100));
  assert.equal(await reconciler.apply({ mayRemove: true }), 23);
  assert.ok((faults.transactions.at(-1)?.length ?? 0) < 30);
});

Deno.test("without leave to remove, chains, sets and members that are not desired stay", async () => {
  const { other, reconciler, standing } = bench();
  const old = table([{ name: "old", rules: [rule([], [accept])] }], [nets("192.0.2.1"), {
    ...nets("1.1.1.1"),
    name: "gone",
  }]);
  const first = new FirewallReconciler(other, new FakeClock());
  first.desire(old);
  await first.apply({ mayRemove: true });
  const desired = table([{ name: "new", rules: [rule([], [drop])] }], [nets("198.51.100.1")]);
  reconciler.desire(desired);
  await reconciler.apply({ mayRemove: false });
  assert.deepEqual(
    await standing(),
    expected(table(
      [{ name: "old", rules: [rule([], [accept])] }, { name: "new", rules: [rule([], [drop])] }],
      [nets("192.0.2.1", "198.51.100.1"), { ...nets("1.1.1.1"), name: "gone" }],
    )),
  );
  await reconciler.apply({ mayRemove: true });
  assert.deepEqual(await standing(), expected(desired));
});

Deno.test("a transaction that is refused leaves the old rules whole, is told of, and is tried again after a wait", async () => {
  const { clock, faults, reconciler, standing } = bench();
  const old = table([{ name: "a", rules: [rule([], [drop])] }]),
    wanted = table([{ name: "a", rules: [rule([], [accept])] }]);
  reconciler.desire(old);
  await reconciler.apply({ mayRemove: true });
  const heal = faults.fail({ matching: /^add rule/, errno: ENOMEM });
  reconciler.desire(wanted);
  assert.equal(await reconciler.apply({ mayRemove: true }), 0);
  assert.deepEqual(await standing(), expected(old));
  assert.match(reconciler.failures()[0]?.error.message ?? "", /^Cannot add rule inet tortie a accept: .*ENOMEM/);
  assert.ok(!reconciler.stands && !reconciler.isDirty && reconciler.nextDue() > clock.monotonic());
  const before = faults.transactions.length;
  await reconciler.apply({ mayRemove: true });
  assert.equal(faults.transactions.length, before, "nothing is tried before its time");
  let waited = 0;
  for (let i = 0; i < 12; i++) {
    waited = reconciler.nextDue() - clock.monotonic();
    clock.advance(waited);
    await reconciler.apply({ mayRemove: true });
  }
  assert.equal(waited, 10_000);
  heal();
  clock.advance(waited);
  await reconciler.apply({ mayRemove: true });
  assert.deepEqual(await standing(), expected(wanted));
  assert.deepEqual(reconciler.failures(), []);
});

Deno.test("a new ruleset is tried at once, whatever was refused before", async () => {
  const { faults, reconciler, standing } = bench();
  reconciler.desire(table([{ name: "a", rules: [rule([is("tcp dport", "no port")], [drop])] }]));
  await reconciler.apply({ mayRemove: true });
  assert.match(reconciler.failures()[0]?.error.message ?? "", /no port/);
  const good = table([{ name: "a", rules: [rule([is("tcp dport", 80)], [drop])] }]);
  reconciler.desire(good);
  await reconciler.apply({ mayRemove: true });
  assert.deepEqual(await standing(), expected(good));
  assert.ok(faults.transactions.length > 1);
});

Deno.test("a conflict with somebody's change is read again and repeated at once", async () => {
  const { faults, other, reconciler, standing } = bench();
  let intrusions = 0;
  faults.before = async (operation) => {
    if (operation !== "apply" || intrusions >= 3) return;
    intrusions++;
    await other.apply([{ op: "add table", family: "inet" }, {
      op: "add chain",
      family: "inet",
      chain: `intruder${intrusions}`,
    }]);
  };
  const desired = table([{ name: "a", rules: [rule([], [drop])] }]);
  reconciler.desire(desired);
  await reconciler.apply({ mayRemove: true });
  assert.equal(intrusions, 3);
  assert.deepEqual(await standing(), expected(desired));
  assert.deepEqual(reconciler.failures(), []);
});

Deno.test("where the difference cannot be applied, the tables are made anew in one transaction", async () => {
  const { faults, other, reconciler, standing } = bench();
  const desired = table([{ name: "forward", base: lead, rules: [rule([], [vmap("iifname", "map")])] }, {
    name: "a",
    rules: [],
  }], [
    { name: "map", key: ["ifname"], value: "verdict", elements: new Map([["cali1", "goto a"]]) },
  ]);
  await other.apply([{ op: "add table", family: "inet" }, { op: "add chain", family: "inet", chain: "stuck" }]);
  faults.fail({ matching: /^delete chain inet tortie stuck/, errno: EBUSY });
  reconciler.desire(desired);
  await reconciler.apply({ mayRemove: true });
  assert.deepEqual(await standing(), expected(desired));
  assert.deepEqual(faults.transactions.at(-1)?.slice(0, 2), ["delete table inet tortie", "add table inet tortie"]);
});

Deno.test("a set that changes its type is made anew while its name is in use", async () => {
  const { reconciler, standing } = bench();
  const chain = (): Chain => ({ name: "a", rules: [rule([inSet("ip saddr", "nets")], [drop])] });
  reconciler.desire(table([chain(), { name: "b", rules: [rule([], [jump("a")])] }], [nets("10.0.0.0/8")]));
  await reconciler.apply({ mayRemove: true });
  const changed = table([chain(), { name: "b", rules: [rule([], [jump("a")])] }], [{
    name: "nets",
    key: ["ipv4_addr"],
    elements: new Set(["10.0.0.1"]),
  }]);
  reconciler.desire(changed);
  await reconciler.apply({ mayRemove: true });
  assert.deepEqual(await standing(), expected(changed));
});

Deno.test("a large new set is filled in transactions of its own before a rule names it", async () => {
  const { faults, reconciler, standing } = bench();
  const many: NamedSet = {
    name: "many",
    key: ["ipv4_addr"],
    elements: new Set(Array.from({ length: 150_000 }, (_, i) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`)),
  };
  const desired = table([{ name: "a", rules: [rule([inSet("ip saddr", "many")], [drop])] }], [many]);
  reconciler.desire(desired);
  await reconciler.apply({ mayRemove: true });
  assert.deepEqual(await standing(), expected(desired));
  assert.deepEqual(faults.transactions.map((commands) => commands.map((command) => command.split(" ", 2).join(" "))), [
    ["add table"],
    ["add set"],
    ["add element"],
    ["add element"],
    ["add element"],
    ["add table", "add chain", "add rule"],
  ]);
});

Deno.test("nothing desired takes our tables away, and before anything is desired nothing is touched", async () => {
  const { other, reconciler, standing } = bench();
  await other.apply([{ op: "add table", family: "inet" }, { op: "add table", family: "arp" }]);
  assert.equal(await reconciler.apply({ mayRemove: true }), 0);
  reconciler.desire({ tables: [] });
  await reconciler.apply({ mayRemove: false });
  assert.equal((await standing() as unknown[]).length, 2);
  await reconciler.apply({ mayRemove: true });
  assert.deepEqual(await standing(), []);
});

Deno.test("a chain that looks into a concatenation stays the same after that set became one of intervals", async () => {
  const { clock, reconciler, standing } = bench();
  const key = ["ipv4_addr", "inet_proto", "inet_service"] as const;
  const chain: Chain = { name: "a", rules: [rule([inSet(["ip daddr", "meta l4proto", "th dport"], "np")], [drop])] };
  const plain: NamedSet = { name: "np", key, elements: new Set(["10.0.0.1 . tcp . 80"]) };
  const intervals: NamedSet = { name: "np", key, isInterval: true, elements: new Set(["10.0.0.0/24 . tcp . 80-90"]) };
  for (const set of [plain, intervals, plain]) {
    reconciler.desire(table([chain], [set]));
    await reconciler.apply({ mayRemove: true });
    clock.advance(firewallResync);
    assert.equal(await reconciler.apply({ mayRemove: true }), 0, "nothing differs when it is read again");
    assert.deepEqual(await standing(), expected(table([chain], [set])));
  }
});
