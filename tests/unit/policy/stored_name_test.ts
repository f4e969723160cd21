/** Stores of older Calico keep a policy of the default tier as "default.NAME": the key's name is what its chains are named after. */

import assert from "node:assert/strict";
import { PolicyEngine } from "../../../src/policy/engine.ts";
import { listPolicies } from "../../../src/policy/explain/hits.ts";
import { policy, workload } from "./scene.ts";

Deno.test("a policy that is stored under a longer name has its chains, also for a workload that comes later", () => {
  const engine = new PolicyEngine("a");
  const stored = policy("web", { selector: "all()", ingress: [{ action: "Deny" }] });
  engine.set("GlobalNetworkPolicy", "default.web", stored);
  engine.ruleset();
  engine.set("WorkloadEndpoint", "default/w0", workload("w0", { node: "a", interfaceName: "caliw0" }));
  const chains = engine.ruleset().tables[0]?.chains;
  const jumps = [...chains?.values() ?? []].flatMap(({ rules }) => rules).flatMap(({ statements }) => statements)
    .flatMap((statement) => "chain" in statement && typeof statement.chain === "string" ? [statement.chain] : []);
  assert.ok(jumps.includes("cali-pi-gnp/default.web"), jumps.join(" "));
  assert.deepEqual(jumps.filter((name) => !chains?.has(name)), []);
  const resources = { all: (kind: string) => new Map(kind === "GlobalNetworkPolicy" ? [["default.web", stored]] : []) };
  const [row] = listPolicies(resources as unknown as Parameters<typeof listPolicies>[0], {
    endpointsOf: (id) => engine.endpointsOf(id),
    usersOf: (name) => engine.usersOf(name),
    chains: (name) => chains?.get(name) ? [{ comment: "rule 0", packets: 3n, bytes: 9n }] : undefined,
  });
  assert.deepEqual([row?.policy, row?.endpoints, row?.rules[0]?.packets], ["web", 1, 3]);
});
