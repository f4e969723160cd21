/** The firewall's reconciler on the kernel: what stands is what is desired, repairs come within a second, others are left alone. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { benchRuleset } from "../../bench/nft_ruleset.ts";
import { makePlan } from "../../src/dataplane/firewall_plan.ts";
import { FirewallReconciler } from "../../src/dataplane/firewall_reconciler.ts";
import type { Firewall } from "../../src/dataplane/firewall_port.ts";
import type { Clock } from "../../src/lib/clock.ts";
import { openFirewall } from "../../src/linux/nftables.ts";
import { printTable } from "../../src/netlink/nft/print.ts";
import { comparable, expected, until } from "../contract/firewall_suite.ts";
import { ruleset, vandalism } from "../unit/dataplane/firewall_arbitrary.ts";
import { corpus } from "./nft_corpus.ts";
import { hasNft, inNftNamespace, isRoot, nft } from "./nft_lab.ts";

const ignore = !isRoot || !hasNft;
const clock: Clock = { monotonic: () => performance.now(), wall: () => Date.now(), after: () => () => {} };

interface Bench {
  readonly namespace: string;
  readonly firewall: Firewall;
  readonly other: Firewall;
  readonly reconciler: FirewallReconciler;
  /** Reports that came in. */
  readonly reports: () => number;
}

function bench(body: (bench: Bench) => Promise<void>): Promise<void> {
  return inNftNamespace(async (namespace) => {
    const firewall = openFirewall(namespace), other = openFirewall(namespace);
    const reconciler = new FirewallReconciler(firewall, clock);
    let reports = 0;
    const stop = firewall.watch((event) => {
      reports++;
      reconciler.observe(event);
    });
    try {
      await body({ namespace, firewall, other, reconciler, reports: () => reports });
    } finally {
      stop();
      firewall.close();
      other.close();
    }
  });
}

Deno.test({ name: "after any changes and vandalism the kernel has what is desired", ignore }, async () => {
  let acts = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ ruleset, vandalism, mayRemove: fc.boolean() }), { minLength: 1, maxLength: 4 }),
      (steps) =>
        bench(async ({ other, reconciler, reports }) => {
          for (const step of steps) {
            reconciler.desire(step.ruleset);
            await reconciler.apply({ mayRemove: step.mayRemove });
            assert.deepEqual(reconciler.failures(), []);
            const before = reports(), { generation } = await other.read();
            for (const command of step.vandalism) await other.apply([command]).then(() => acts++, () => {});
            // Flushing what is empty changes nothing and is not reported.
            if ((await other.read()).generation !== generation) await until("a report", () => reports() > before);
          }
          await reconciler.apply({ mayRemove: true });
          const last = steps.at(-1)?.ruleset;
          assert.ok(last);
          assert.deepEqual(reconciler.failures(), []);
          assert.deepEqual(comparable(await other.read()), expected(last));
        }),
    ),
    { numRuns: 60 },
  );
  assert.ok(acts > 10, `only ${acts} acts of vandalism succeeded`);
});

const theirs = `table inet theirs {
	chain c {
		type filter hook forward priority 3; policy accept;
		tcp dport 80 drop
	}
}
`;

const vandals: [string, string][] = [
  ["flushes the table", "flush table inet tortie"],
  ["deletes the table", "delete table inet tortie"],
  ["flushes the whole ruleset", "flush ruleset"],
  ["puts a rule on top of a chain", "insert rule inet tortie forward accept"],
  [
    "replaces the table by another",
    "delete table inet tortie\ntable inet tortie { chain forward { type filter hook input priority 9; }\n}",
  ],
  [
    "adds a chain, a set, a counter and a catch-all",
    "table inet tortie {\n set x { type ipv4_addr; }\n counter y { }\n chain z { ip saddr @x accept; }\n}\nadd element inet tortie s4h { 203.0.113.9 }",
  ],
  ["lets a set's members go", "flush set inet tortie s4"],
  ["sends the table to sleep", "add table inet tortie { flags dormant; }"],
  ["edits a map", "delete element inet tortie dispatch { cali1 }\nadd element inet tortie dispatch { cali1 : accept }"],
];

for (const [what, commands] of vandals) {
  Deno.test(
    { name: `somebody ${what}: it stands again within a second, and their table is as it was`, ignore },
    () =>
      bench(async ({ namespace, reconciler, reports }) => {
        const [inet] = corpus().tables;
        assert.ok(inet);
        const desired = { tables: [inet] };
        const list = async (name: string) =>
          (await nft(namespace, ["-s", "-y", "list", "table", "inet", name])).replace(/\s*counter y \{\s*\}/, "");
        reconciler.desire(desired);
        await reconciler.apply({ mayRemove: true });
        await nft(namespace, ["-f", "-"], theirs);
        const [ours, others] = [await list("tortie"), await list("theirs")];
        const before = reports();
        const start = performance.now();
        await nft(namespace, ["-f", "-"], commands);
        await until("a report", () => reports() > before);
        await reconciler.apply({ mayRemove: true });
        assert.ok(performance.now() - start < 1000);
        assert.ok(reconciler.stands);
        // nft lists chains and sets in the order in which they were made.
        const sorted = (text: string) =>
          text.split(/\n(?=\t(?:set|map|chain) )/).map((block) => block.replace(/[\s}]+$/, "")).sort();
        assert.deepEqual(sorted(await list("tortie")), sorted(ours));
        if (commands !== "flush ruleset") assert.equal(await list("theirs"), others);
      }),
  );
}

Deno.test(
  { name: "changes of other tables are neither read nor undone, and conflict with nothing", ignore },
  () =>
    bench(async ({ namespace, firewall, reconciler, reports }) => {
      reconciler.desire(corpus());
      await reconciler.apply({ mayRemove: true });
      await nft(namespace, ["-f", "-"], theirs);
      let reads = 0;
      const read = firewall.read;
      firewall.read = () => {
        reads++;
        return read.call(firewall);
      };
      const [inet] = corpus().tables;
      assert.ok(inet);
      reconciler.desire({ tables: [inet] });
      assert.equal(await reconciler.apply({ mayRemove: true }), 1);
      assert.deepEqual([reads, reports()], [0, 0]);
      assert.match(await nft(namespace, ["list", "ruleset"]), /table inet theirs/);
    }),
);

Deno.test(
  { name: "what is refused leaves the old rules whole, packet for packet", ignore },
  () =>
    bench(async ({ namespace, reconciler }) => {
      const [inet] = corpus().tables;
      assert.ok(inet);
      reconciler.desire({ tables: [inet] });
      await reconciler.apply({ mayRemove: true });
      const before = await nft(namespace, ["-s", "list", "ruleset"]);
      // A reverse path check is refused by the kernel where packets leave.
      const output = {
        name: "cali-OUTPUT",
        base: { type: "filter", hook: "output", priority: 0, policy: "drop" } as const,
      };
      const rules = [{
        matches: [{ kind: "is", field: "fib saddr . iif oif", value: "missing" } as const],
        statements: [{ kind: "drop" } as const],
      }];
      const chains = new Map(inet.chains);
      chains.delete("cali-b");
      reconciler.desire({
        tables: [{ ...inet, sets: new Map(), chains: chains.set("cali-OUTPUT", { ...output, rules }) }],
      });
      await reconciler.apply({ mayRemove: true });
      assert.match(reconciler.failures()[0]?.error.message ?? "", /^Cannot add rule inet tortie/);
      assert.equal(await nft(namespace, ["-s", "list", "ruleset"]), before);
      assert.equal(printTable(inet).includes("cali-b"), true);
    }),
);

Deno.test(
  { name: "more reports than the kernel keeps for us end in one resync, and in what is desired", ignore },
  () =>
    bench(async ({ firewall, other, reconciler }) => {
      const [inet] = corpus().tables;
      assert.ok(inet);
      const desired = { tables: [inet] };
      reconciler.desire(desired);
      await reconciler.apply({ mayRemove: true });
      const types: string[] = [];
      const stop = firewall.watch(({ type }) => void types.push(type));
      try {
        // The thread is held while the kernel reports, so nothing of it can be read in time.
        const flood =
          makePlan(new Map(), benchRuleset({ workloads: 3000, policies: 300 }), { mayRemove: true }).commands;
        await other.apply([{ op: "delete table", family: "inet" }, ...flood]);
        await until("a resync", () => types.includes("resync"));
        await reconciler.apply({ mayRemove: true });
        assert.deepEqual(reconciler.failures(), []);
        assert.deepEqual(comparable(await other.read()), expected(desired));
      } finally {
        stop();
      }
    }),
);
