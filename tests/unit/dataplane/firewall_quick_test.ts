/** What somebody emptied is mended before everything is compared; what he edited in place is found by comparing. */

import assert from "node:assert/strict";
import { type Known, type KnownChain, makePlan } from "../../../src/dataplane/firewall_plan.ts";
import { canonicalRules } from "../../../src/netlink/nft/canonical.ts";
import { accept, drop, is, rule } from "../../../src/netlink/nft/rule.ts";
import type { Chain, Ruleset } from "../../../src/netlink/nft/ruleset.ts";

const chain = (name: string, port: number): Chain => ({
  name,
  rules: [rule([is("tcp dport", port)], [accept]), rule([], [drop])],
});
const chains = [chain("whole", 80), chain("flushed", 81), chain("edited", 82), chain("deleted", 83)];
const desired: Ruleset = {
  tables: [{
    family: "inet",
    name: "tortie",
    chains: new Map(chains.map((each) => [each.name, each])),
    sets: new Map(),
  }],
};

/** What is read after somebody has flushed one chain, edited another and deleted a third. */
function vandalised(): Known {
  const read = (each: Chain): KnownChain => ({ base: "", rules: canonicalRules("inet", each, () => false) });
  const found: [string, KnownChain][] = [
    ["whole", read(chain("whole", 80))],
    ["flushed", { base: "", rules: [] }],
    ["edited", read(chain("edited", 9))],
  ];
  return new Map([["inet", { isDormant: false, chains: new Map(found), sets: new Map() }]]);
}

const touched = (known: Known, isQuick: boolean) => {
  const plan = makePlan(known, desired, { mayRemove: true, isQuick });
  plan.settle(known);
  return [...new Set(plan.commands.flatMap((command) => "chain" in command ? [command.chain] : []))].sort();
};

Deno.test("holes are mended first, and then what was edited; nothing is left to do after that", () => {
  const known = vandalised();
  assert.deepEqual(touched(known, true), ["deleted", "flushed"]);
  assert.deepEqual(touched(known, false), ["edited"]);
  assert.deepEqual(touched(known, false), []);
});

Deno.test("without haste all of it is mended in one transaction", () => {
  assert.deepEqual(touched(vandalised(), false), ["deleted", "edited", "flushed"]);
});
