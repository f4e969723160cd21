/** What lint says, and that it says nothing of policies that are as they should be. */

import assert from "node:assert/strict";
import type { AnyResource } from "../../../src/model/resources/mod.ts";
import { lint } from "../../../src/policy/explain/lint.ts";
import { networkSet, policy, resourcesOf, tier, workload } from "./scene.ts";

const web = workload("web", { labels: { role: "web" }, ipNetworks: ["10.0.0.1/32"] });
const db = workload("db", { labels: { role: "db" }, ipNetworks: ["10.0.0.2/32"] });

function findings(...resources: AnyResource[]): string[] {
  return lint(resourcesOf([web, db, ...resources])).map(({ kind, name, field, message }) =>
    `${kind} ${name} ${field}: ${message}`
  );
}

const cases: readonly {
  readonly name: string;
  readonly resources: readonly AnyResource[];
  readonly expected: readonly RegExp[];
}[] = [
  {
    name: "nothing is said of policies that do what they say",
    resources: [
      policy("a", { selector: 'role == "db"', ingress: [{ action: "Allow", source: { selector: 'role == "web"' } }] }),
      policy("b", { order: 10, selector: 'role == "web"', ingress: [{ action: "Deny" }] }),
      networkSet("office", ["192.0.2.0/24"], { net: "office" }),
      policy("c", {
        order: 20,
        selector: 'role == "db"',
        ingress: [{ action: "Allow", source: { selector: 'net == "office"' } }],
      }),
    ],
    expected: [],
  },
  {
    name: "a rule behind one that decides everything is named",
    resources: [
      policy("a", {
        selector: "all()",
        ingress: [{ action: "Log" }, { action: "Allow" }, { action: "Deny", protocol: "TCP" }],
      }),
    ],
    expected: [/^GlobalNetworkPolicy a spec.ingress\[2\]: never matches: rule 1 before it/],
  },
  {
    name: "rules whose conditions exclude each other are named",
    resources: [
      policy("a", {
        selector: "all()",
        ingress: [
          { action: "Allow", source: { nets: ["10.0.0.0/8"], notNets: ["0.0.0.0/0"] } },
          { action: "Allow", protocol: "TCP", notProtocol: "TCP" },
          { action: "Allow", source: { nets: ["10.0.0.0/8"] }, destination: { nets: ["fd00::/8"] } },
          { action: "Allow", source: { services: { name: "x" } } },
          { action: "Allow", source: { nets: ["10.1.0.0/16"], notNets: ["10.0.0.0/8"] } },
          { action: "Allow", protocol: "TCP", destination: { ports: [80], notPorts: ["1:100"] } },
        ],
      }),
    ],
    expected: [
      /ingress\[0\]: never matches: notNets excludes every address/,
      /ingress\[0\]\.source\.nets: 10\.0\.0\.0\/8 is excluded by notNets/,
      /ingress\[1\]: never matches: protocol and notProtocol are the same/,
      /ingress\[2\]: never matches: its prefixes and protocol leave no IP version/,
      /ingress\[3\]: never matches: services/,
      /ingress\[4\]\.source\.nets: 10\.1\.0\.0\/16 is excluded/,
      /ingress\[5\]\.destination\.ports: 80:80 is excluded/,
    ],
  },
  {
    name: "selectors that pick nothing are named, and those that never could",
    resources: [
      policy("a", { selector: 'role == "cache"', ingress: [] }),
      policy("b", { selector: "has(role) && !has(role)", ingress: [] }),
      policy("c", {
        order: 1,
        selector: 'role == "db"',
        ingress: [{ action: "Allow", source: { selector: 'role == "webb"' } }],
      }),
      policy("d", {
        order: 2,
        selector: 'role == "db"',
        ingress: [{ action: "Allow", source: { notSelector: "has(nothing)" } }],
      }),
    ],
    expected: [
      /Policy a spec.selector: selects no endpoint/,
      /Policy b spec.selector: selects nothing, whatever there is: its conditions on role contradict/,
      /Policy c spec.ingress\[0\].source.selector: selects nothing now/,
      /Policy d spec.ingress\[0\].source.notSelector: selects nothing now/,
    ],
  },
  {
    name: "a policy behind one that decides everything for the same endpoints is named, in later tiers too",
    resources: [
      tier("first", { order: 1 }),
      policy("a", { tier: "first", order: 1, selector: "all()", ingress: [{ action: "Deny" }] }),
      policy("b", { tier: "first", order: 2, selector: 'role == "db"', ingress: [{ action: "Allow" }] }),
      policy("c", { selector: 'role == "db"', ingress: [{ action: "Allow" }] }),
      policy("d", { selector: 'role == "db"', ingress: [{ action: "Allow" }], egress: [{ action: "Allow" }] }),
    ],
    expected: [
      /Policy b spec.order: never decides: a in the tier first/,
      /Policy c spec.order: never decides: a in the tier first/,
    ],
  },
  {
    name: "Pass shadows only the rest of its tier",
    resources: [
      tier("first", { order: 1 }),
      policy("a", { tier: "first", order: 1, selector: "all()", ingress: [{ action: "Pass" }] }),
      policy("b", { tier: "first", order: 2, selector: 'role == "db"', ingress: [{ action: "Allow" }] }),
      policy("c", { selector: 'role == "db"', ingress: [{ action: "Allow" }] }),
    ],
    expected: [/Policy b spec.order: never decides: a/],
  },
  {
    name: "names of what does not exist and directions that are not applied are named",
    resources: [
      policy("a", { tier: "gone", selector: "all()", types: ["Ingress"], egress: [{ action: "Allow" }] }),
      workload("x", { profiles: ["nobody"], ipNetworks: ["10.0.0.9/32"] }),
    ],
    expected: [
      /Policy a spec.tier: there is no tier gone/,
      /Policy a spec.egress: is never applied/,
      /default\/a-tortie-x-eth0 spec.profiles\[0\]: there is no profile nobody/,
    ],
  },
];

for (const { name, resources, expected } of cases) {
  Deno.test(`lint: ${name}`, () => {
    const found = findings(...resources);
    assert.equal(found.length, expected.length, found.join("\n"));
    for (const [i, pattern] of expected.entries()) assert.match(found[i] ?? "", pattern);
  });
}
