/** Sets that say what moved in them: the transaction is the same as that of comparing all members, and so is what is known. */

import assert from "node:assert/strict";
import * as fc from "fast-check";
import { type Known, makePlan } from "../../../src/dataplane/firewall_plan.ts";
import type { Command } from "../../../src/netlink/nft/command.ts";
import { noteMoves } from "../../../src/netlink/nft/moves.ts";
import type { NamedSet, Ruleset } from "../../../src/netlink/nft/ruleset.ts";

const rulesetOf = (set: NamedSet): Ruleset => ({
  tables: [{ family: "inet", name: "tortie", chains: new Map(), sets: new Map([[set.name, set]]) }],
});

const setOf = (members: Iterable<string>): NamedSet => ({
  name: "s",
  key: ["ipv4_addr"],
  isInterval: true,
  elements: new Set(members),
});

const describe = (commands: readonly Command[]) =>
  commands.map((command) => "elements" in command ? [command.op, [...command.elements.keys()].sort()] : [command.op]);

/** Applies the ruleset to what is known and returns the transaction. */
function put(known: Known, set: NamedSet): unknown[] {
  const plan = makePlan(known, rulesetOf(set), { mayRemove: true });
  plan.settle(known);
  return describe(plan.commands);
}

const members = (known: Known) => [...known.get("inet")?.sets.get("s")?.members.keys() ?? []].sort();

Deno.test("what moved in a set and comparing all of it give the same transactions and the same knowledge", () => {
  const member = fc.oneof(
    { weight: 9, arbitrary: fc.integer({ min: 0, max: 40 }).map((i) => `10.0.0.${i}`) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 9 }).map((i) => `10.0.0.${i * 4}/30`) },
  );
  const editions = fc.array(fc.uniqueArray(member, { maxLength: 20 }), { minLength: 2, maxLength: 8 });
  fc.assert(
    fc.property(editions, fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }), (lists, isSeen) => {
      const told: Known = new Map(), compared: Known = new Map();
      const of = {};
      let before: readonly string[] = [];
      for (const [i, list] of lists.entries()) {
        const noted = setOf(list);
        noteMoves(noted, {
          of,
          from: i,
          to: i + 1,
          coming: new Set(list.filter((one) => !before.includes(one))),
          going: new Set(before.filter((one) => !list.includes(one))),
        });
        before = list;
        // An edition that was never written breaks the row.
        if (!isSeen[i]) continue;
        assert.deepEqual(put(told, noted), put(compared, setOf(list)));
        assert.deepEqual(members(told), members(compared));
      }
    }),
    { numRuns: 300 },
  );
});

Deno.test("a move of few members in a large set looks at no other", () => {
  const known: Known = new Map(), of = {};
  const large = Array.from({ length: 50_000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`);
  const first = setOf(large), second = setOf([...large.slice(1), "10.9.9.9"]);
  noteMoves(first, { of, from: 0, to: 1, coming: new Set(), going: new Set() });
  noteMoves(second, { of, from: 1, to: 2, coming: new Set(["10.9.9.9"]), going: new Set(["10.0.0.0"]) });
  put(known, first);
  let looks = 0;
  const { elements } = second;
  Object.defineProperty(elements, "keys", { value: () => (looks++, Set.prototype.keys.call(elements)) });
  assert.deepEqual(put(known, second), [["delete elements", ["10.0.0.0"]], ["add elements", ["10.9.9.9"]]]);
  assert.equal(looks, 0);
  assert.equal(members(known).length, 50_000);
});
