/** The ruleset, `explain` and the reference evaluator agree on random worlds and packets, also when worlds change. */

import assert from "node:assert/strict";
import * as fc from "fast-check";
import type { AnyResource } from "../../../src/model/resources/mod.ts";
import { printRuleset } from "../../../src/netlink/nft/print.ts";
import { explain } from "../../../src/policy/explain/explain.ts";
import { scenario, world } from "./arbitraries.ts";
import { evaluateTrip } from "./evaluator.ts";
import { engineWith, give, keyOf, resourcesOf } from "./scene.ts";
import { fly } from "./simulator.ts";
import { PolicyEngine, type PolicyKind, policyKinds } from "../../../src/policy/engine.ts";

Deno.test("the rendered rules decide as the reference evaluator does, for random policies and packets", () => {
  const seen = { allow: 0, deny: 0 };
  fc.assert(
    fc.property(scenario, ({ resources, flights }) => {
      const ruleset = engineWith(resources).ruleset();
      for (const { packet, trip } of flights) {
        const expected = evaluateTrip(resources, "a", trip, packet);
        const { verdict } = fly(ruleset, { packet, trip });
        seen[expected]++;
        assert.equal(
          verdict,
          expected === "allow" ? "accept" : "drop",
          `${JSON.stringify(packet)} ${JSON.stringify(trip)}: the evaluator says ${expected}`,
        );
      }
    }),
    { numRuns: 400 },
  );
  assert.ok(seen.allow > 300 && seen.deny > 300, `hardly a choice was made: ${JSON.stringify(seen)}`);
});

Deno.test("explain decides as the reference evaluator does between workloads", () => {
  let count = 0;
  fc.assert(
    fc.property(scenario, ({ resources, flights }) => {
      for (const { packet, trip } of flights) {
        if (
          !trip.in?.startsWith("cali") || !trip.out?.startsWith("cali") ||
          packet.protocol === 58 && packet.icmpType === 135
        ) continue;
        const { verdict } = explain(resourcesOf(resources), {
          from: packet.source,
          to: packet.destination,
          protocol: packet.protocol,
          family: packet.source.includes(":") ? 6 : 4,
          ...packet.destinationPort === undefined ? {} : { port: packet.destinationPort },
          ...packet.sourcePort === undefined ? {} : { sourcePort: packet.sourcePort },
          ...packet.icmpType === undefined ? {} : { icmpType: packet.icmpType },
          ...packet.icmpCode === undefined ? {} : { icmpCode: packet.icmpCode },
        });
        count++;
        // Host endpoints judge forwarded packets too, which a question between workloads does not ask about.
        const noHosts = resources.filter(({ kind }) => kind !== "HostEndpoint");
        assert.equal(verdict, evaluateTrip(noHosts, "a", trip, packet), JSON.stringify({ packet, trip }));
      }
    }),
    { numRuns: 200 },
  );
  assert.ok(count > 300, `only ${count} packets`);
});

Deno.test("after any changes the ruleset is what an engine that never knew anything else makes", () => {
  fc.assert(
    fc.property(fc.array(world, { minLength: 2, maxLength: 4 }), (worlds) => {
      const engine = new PolicyEngine("a");
      let before: readonly AnyResource[] = [];
      for (const next of worlds) {
        moveTo(engine, before, next);
        before = next;
        assert.equal(canonical(engine), canonical(engineWith(next)));
      }
    }),
    { numRuns: 60 },
  );
});

Deno.test("chains and sets that a change does not touch stay the same objects", () => {
  fc.assert(
    fc.property(world, (resources) => {
      const engine = engineWith(resources);
      const first = engine.ruleset();
      assert.equal(engine.ruleset(), first, "nothing changed");
      // The same resources again, as new objects: what is rendered is equal, so nothing may look new.
      for (const resource of resources) give(engine, structuredClone(resource));
      const second = engine.ruleset();
      for (const [i, table] of second.tables.entries()) {
        for (const [name, chain] of table.chains) assert.equal(chain, first.tables[i]?.chains.get(name), name);
        for (const [name, set] of table.sets) {
          // A set whose members went and came back is rendered again; its content is the same.
          assert.deepEqual(set, first.tables[i]?.sets.get(name), name);
        }
      }
    }),
    { numRuns: 60 },
  );
});

function moveTo(engine: PolicyEngine, before: readonly AnyResource[], next: readonly AnyResource[]): void {
  const id = (resource: AnyResource) => `${resource.kind} ${keyOf(resource)}`;
  const wanted = new Set(next.map(id));
  for (const old of before) {
    if (!wanted.has(id(old)) && isPolicyKind(old.kind)) engine.set(old.kind, keyOf(old), undefined);
  }
  for (const resource of next) give(engine, resource);
}

function isPolicyKind(kind: string): kind is PolicyKind {
  return (policyKinds as readonly string[]).includes(kind);
}

/** The ruleset as text, whatever order chains and sets are in. */
function canonical(engine: PolicyEngine): string {
  const { tables } = engine.ruleset();
  return printRuleset({
    tables: tables.map((table) => ({ ...table, chains: sorted(table.chains), sets: sorted(table.sets) })),
  });
}

function sorted<V>(map: ReadonlyMap<string, V>): Map<string, V> {
  return new Map([...map].sort(([a], [b]) => a < b ? -1 : 1));
}
