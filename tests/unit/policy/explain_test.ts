/** The steps that `explain` gives, in the shape that scripts rely on, and what it says when it cannot answer. */

import assert from "node:assert/strict";
import { explain, ExplainError, type Question } from "../../../src/policy/explain/explain.ts";
import { host, policy, profile, resourcesOf, settings, tier, workload } from "./scene.ts";

const resources = resourcesOf([
  tier("security", { order: 1 }),
  workload("web", { labels: { role: "web" }, ipNetworks: ["10.0.0.1/32", "fd00::1/128"], profiles: ["open"] }),
  workload("db", {
    node: "b",
    namespace: "prod",
    labels: { role: "db" },
    ipNetworks: ["10.0.0.2/32"],
    profiles: ["open"],
  }),
  workload("twin", { ipNetworks: ["10.0.0.3/32"] }),
  workload("twin", { node: "b", ipNetworks: ["10.0.0.4/32"] }),
  host("a-eth0", { interfaceName: "eth0", expectedIPs: ["192.0.2.1"] }),
  profile("open", { egress: [{ action: "Allow" }], ingress: [{ action: "Allow", protocol: "ICMP" }] }),
  policy("audit", { tier: "security", selector: 'role == "db"', ingress: [{ action: "Log" }, { action: "Pass" }] }),
  policy("allow-web", {
    namespace: "prod",
    selector: 'role == "db"',
    ingress: [{ action: "Deny", protocol: "TCP", destination: { ports: [22] } }, {
      action: "Allow",
      protocol: "TCP",
      source: { selector: 'role == "web"', namespaceSelector: "all()" },
    }],
  }),
  settings({ defaultEndpointToHostAction: "Accept" }),
]);

const ask = (question: Partial<Question>) =>
  explain(resources, { from: "web", to: "db", protocol: "tcp", port: 5432, ...question });

Deno.test("explain gives each rule that matched with tier, policy, rule and action, in both directions", () => {
  assert.deepEqual(ask({}), {
    verdict: "allow",
    steps: [
      { at: "egress a/web", tier: "profile", policy: "open", rule: 0, action: "Allow" },
      { at: "ingress b/db", tier: "security", policy: "audit", rule: 0, action: "Log" },
      { at: "ingress b/db", tier: "security", policy: "audit", rule: 1, action: "Pass" },
      { at: "ingress b/db", tier: "default", policy: "prod/allow-web", rule: 1, action: "Allow" },
    ],
  });
  assert.deepEqual(ask({ port: 22 }).steps.at(-1), {
    at: "ingress b/db",
    tier: "default",
    policy: "prod/allow-web",
    rule: 0,
    action: "Deny",
  });
});

Deno.test("explain names the end of a tier and of everything as what decided", () => {
  const udp = ask({ protocol: "udp", port: 53 });
  assert.equal(udp.verdict, "deny");
  assert.deepEqual(udp.steps.at(-1), { at: "ingress b/db", tier: "default", policy: null, rule: null, action: "Deny" });
  const back = ask({ from: "db", to: "web" });
  assert.equal(back.verdict, "deny");
  assert.deepEqual(back.steps.at(-1), { at: "ingress a/web", tier: null, policy: null, rule: null, action: "Deny" });
});

Deno.test("explain answers for addresses, for the host and for what nobody knows", () => {
  assert.equal(ask({ from: "10.0.0.1", to: "10.0.0.2" }).verdict, "allow");
  assert.equal(ask({ to: "192.0.2.1" }).steps.at(-1)?.policy, "defaultEndpointToHostAction");
  assert.equal(
    ask({ from: "192.0.2.1", to: "web" }).verdict,
    "deny",
    "the host endpoint's egress has no policy or profile",
  );
  assert.equal(ask({ from: "203.0.113.9", to: "a-eth0", port: 22 }).steps[0]?.tier, "failsafe");
  assert.equal(ask({ from: "203.0.113.9", to: "a-eth0", port: 80 }).verdict, "deny");
  assert.equal(ask({ to: "203.0.113.9" }).verdict, "allow");
});

Deno.test("explain takes icmp for the version that both ends speak", () => {
  assert.equal(ask({ from: "203.0.113.9", to: "web", protocol: "icmp" }).verdict, "allow");
  assert.equal(ask({ from: "2001:db8::9", to: "web", protocol: "icmp" }).verdict, "deny", "ICMPv6 is another protocol");
});

Deno.test("explain says what it lacks", () => {
  const refused: readonly [Partial<Question>, RegExp][] = [
    [{ from: "nobody" }, /there is no workload, host endpoint or address "nobody"/],
    [{ from: "twin" }, /"twin" is the name of several: default\/a-tortie-twin-eth0, default\/b-tortie-twin-eth0/],
    [{ protocol: "xyz" }, /"xyz" is not a protocol/],
    [{ from: "fd00::1", to: "10.0.0.2" }, /have no IP version in common/],
  ];
  for (const [question, message] of refused) {
    assert.throws(() => ask(question), (error) => error instanceof ExplainError && message.test(error.message));
  }
  assert.throws(() => explain(resources, { from: "web", to: "db", protocol: "tcp" }), /the port is missing/);
  assert.equal(ask({ from: "b/twin" }).steps[0]?.at, "egress b/twin");
});
