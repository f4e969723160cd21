/** The list of policies with what the kernel counted. */

import assert from "node:assert/strict";
import { type CountedRule, listPolicies } from "../../../src/policy/explain/hits.ts";
import { policy, resourcesOf } from "./scene.ts";

const counted = (comment: string | undefined, packets: bigint): CountedRule => ({
  comment,
  packets,
  bytes: packets * 10n,
});

Deno.test("policies are listed in the order in which they judge, then profiles, and not counted without the kernel", () => {
  const resources = resourcesOf([
    policy("b", { order: 2, ingress: [{ action: "Allow" }] }),
    policy("a", { order: 1, ingress: [{ action: "Deny" }] }),
    policy("last", { egress: [{ action: "Deny" }] }),
  ]);
  const rows = listPolicies(resources, { endpointsOf: (id) => id.length, usersOf: () => 3 });
  assert.deepEqual(rows.map(({ policy, order }) => [policy, order]), [
    ["a", 1],
    ["b", 2],
    ["last", null],
    ["projectcalico-default-allow", null],
  ]);
  assert.deepEqual(rows.map(({ endpoints }) => endpoints), [5, 5, 8, 3]);
  for (const { rules } of rows) {
    for (const { packets, bytes } of rules) assert.deepEqual([packets, bytes], [null, null]);
  }
});

Deno.test("a rule has the sum of what was made of it, and no other rule's whose number begins alike", () => {
  const resources = resourcesOf([policy("p", { ingress: Array.from({ length: 11 }, () => ({ action: "Allow" })) })]);
  const chains = new Map([["cali-pi-gnp/p", [
    counted("rule 1", 1n),
    counted("rule 1: with a note", 2n),
    counted("rule 10", 4n),
    counted(undefined, 8n),
  ]]]);
  const [row] = listPolicies(resources, { endpointsOf: () => 1, usersOf: () => 0, chains: (name) => chains.get(name) });
  assert.deepEqual(row?.rules.map(({ packets }) => packets), [0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 4]);
  assert.deepEqual(row?.rules.map(({ bytes }) => bytes)[1], 30);
});
