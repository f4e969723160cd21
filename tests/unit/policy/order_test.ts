/** The order of tiers and policies, and which policies judge what. */

import assert from "node:assert/strict";
import type { GlobalNetworkPolicy, NetworkPolicy } from "../../../src/model/resources/mod.ts";
import { compilePolicy } from "../../../src/policy/compile/policy.ts";
import { orderPolicies, type TierOrder, type Use } from "../../../src/policy/order.ts";
import { readSettings } from "../../../src/policy/compile/settings.ts";
import { limitedName, policyChainName } from "../../../src/policy/render/names.ts";
import { policy } from "./scene.ts";

type Spec = Parameters<typeof policy>[1];
const compiled = (name: string, spec: Spec) => compilePolicy(policy(name, spec) as GlobalNetworkPolicy | NetworkPolicy);

const tiers = new Map<string, TierOrder>([
  ["late", { order: 9, defaultAction: "Deny" }],
  ["b-early", { order: 1, defaultAction: "Pass" }],
  ["a-early", { order: 1, defaultAction: "Deny" }],
]);

function ordered(
  list: readonly (readonly [string, Spec])[],
  use: Use = "workload",
  direction: "ingress" | "egress" = "ingress",
) {
  return orderPolicies(list.map(([name, spec]) => compiled(name, spec)), tiers, { use, direction })
    .map((tier) => `${tier.name} ${tier.defaultAction}: ${tier.policies.map(({ id }) => id).join(" ")}`);
}

Deno.test("tiers come by order, then name, one that does not exist last; policies by order, then name, namespace and kind", () => {
  assert.deepEqual(
    ordered([
      ["x", { tier: "gone" }],
      ["z", { tier: "late" }],
      ["b", { tier: "late", order: 5 }],
      ["a", { tier: "late", order: 5 }],
      ["a", { tier: "late", order: 5, namespace: "prod" }],
      ["c", { tier: "late", order: -1.5 }],
      ["y", { tier: "b-early" }],
      ["w", { tier: "a-early" }],
    ]),
    ["a-early Deny: gnp/w", "b-early Pass: gnp/y", "late Deny: gnp/c gnp/a np/prod/a gnp/b gnp/z", "gone Deny: gnp/x"],
  );
});

Deno.test("a policy judges the directions of its types and the traffic that it is for", () => {
  const list: [string, Spec][] = [
    ["normal", { ingress: [{ action: "Allow" }] }],
    ["forward", { applyOnForward: true, ingress: [{ action: "Allow" }], egress: [{ action: "Allow" }] }],
    ["untracked", { applyOnForward: true, doNotTrack: true }],
    ["early", { applyOnForward: true, preDNAT: true }],
    ["out", { egress: [{ action: "Allow" }] }],
  ];
  assert.deepEqual(ordered(list), ["default Deny: gnp/forward gnp/normal"]);
  assert.deepEqual(ordered(list, "host", "egress"), ["default Deny: gnp/forward gnp/out"]);
  assert.deepEqual(ordered(list, "forward"), ["default Deny: gnp/forward"]);
  assert.deepEqual(ordered(list, "untracked"), ["default Deny: gnp/untracked"]);
  assert.deepEqual(ordered(list, "preDNAT"), ["default Deny: gnp/early"]);
  assert.deepEqual(ordered(list, "preDNAT", "egress"), []);
});

Deno.test("a name that the kernel would refuse ends in a hash that tells it from others", () => {
  const long = (end: string) => policyChainName(`np/ns/${"n".repeat(250)}${end}`, "ingress");
  assert.ok(long("a").length <= 255 && long("a") !== long("b") && long("a").startsWith("cali-pi-_"));
  assert.equal(policyChainName("gnp/x", "egress"), "cali-po-gnp/x");
  assert.notEqual(limitedName("cali-pri-", "_x"), "cali-pri-_x", "a name of its own never looks like a hash");
});

Deno.test("the node's own settings win member by member, and what cannot be read stays at its default", () => {
  const settings = readSettings(
    { logPrefix: "all", interfacePrefix: "cali, tap", natPortRange: "1000:2000", logActionRateLimit: "x" },
    {
      logPrefix: "own",
      defaultEndpointToHostAction: "Accept",
      failsafeInboundHostPorts: [{ port: 22 }, { protocol: "nope", port: 1 }],
    },
  );
  assert.equal(settings.logPrefix, "own");
  assert.deepEqual(settings.interfacePrefixes, ["cali", "tap"]);
  assert.equal(settings.natPorts, "1000-2000");
  assert.equal(settings.logRate, undefined);
  assert.equal(settings.endpointToHost, "accept");
  assert.deepEqual(settings.failsafeInbound, [{ protocol: 6, port: 22 }]);
  assert.equal(settings.failsafeOutbound.length, 9);
});
