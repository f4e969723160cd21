/**
 * Recomputation after one change in a large world: 10,000 policies, 100,000 endpoints known of which 200 are here. What is
 * measured is the engine alone: a resource in, the ruleset out.
 *
 *   deno run -A bench/policy.ts
 */

import { API_VERSION } from "../src/model/resource.ts";
import type { AnyResource, GlobalNetworkPolicy, WorkloadEndpoint } from "../src/model/resources/mod.ts";
import { PolicyEngine } from "../src/policy/engine.ts";

const policyCount = 10_000, endpointCount = 100_000, localCount = 200, apps = 1_000;

const address = (i: number) => `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`;

function endpoint(i: number, labels: Record<string, string> = {}): WorkloadEndpoint {
  const node = i < localCount ? "a" : `n${i % 500}`;
  return {
    kind: "WorkloadEndpoint",
    apiVersion: API_VERSION,
    metadata: {
      name: `${node}-tortie-w${i}-eth0`,
      namespace: `ns${i % 50}`,
      labels: { app: `app${i % apps}`, zone: `z${i % 10}`, pod: `w${i}`, ...labels },
    },
    spec: {
      orchestrator: "tortie",
      node,
      workload: `w${i}`,
      endpoint: "eth0",
      interfaceName: `cali${i}`,
      ipNetworks: [`${address(i)}/32`],
      profiles: ["base"],
    },
  };
}

function policy(i: number, port = 80): GlobalNetworkPolicy {
  return {
    kind: "GlobalNetworkPolicy",
    apiVersion: API_VERSION,
    metadata: { name: `p${i}` },
    spec: {
      tier: "default",
      order: i % 100,
      types: ["Ingress", "Egress"],
      selector: `app == "app${i % apps}"`,
      ingress: [
        {
          action: "Allow",
          protocol: "TCP",
          source: { selector: `app == "app${(i * 7) % apps}"` },
          destination: { ports: [port] },
        },
        {
          action: "Allow",
          protocol: "TCP",
          source: { selector: `app == "app${(i * 11) % apps}" && zone == "z${i % 10}"` },
        },
      ],
      egress: [{ action: "Allow", protocol: "UDP", destination: { nets: ["10.0.0.10/32"], ports: [53] } }],
    },
  };
}

const key = ({ metadata: { name, namespace } }: AnyResource) => namespace ? `${namespace}/${name}` : name;
const engine = new PolicyEngine("a");
const before = Deno.memoryUsage();
let start = performance.now();
engine.set("Profile", "base", {
  kind: "Profile",
  apiVersion: API_VERSION,
  metadata: { name: "base" },
  spec: { labelsToApply: { base: "yes" } },
});
for (let i = 0; i < endpointCount; i++) engine.set("WorkloadEndpoint", key(endpoint(i)), endpoint(i));
for (let i = 0; i < policyCount; i++) engine.set("GlobalNetworkPolicy", `p${i}`, policy(i));
const { tables } = engine.ruleset();
const loaded = performance.now() - start;

function median(
  name: string,
  change: (round: number) => void,
  rounds = 41,
): { name: string; ms: number; worst: number } {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    start = performance.now();
    change(round);
    engine.ruleset();
    times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  return { name, ms: times[times.length >> 1] ?? NaN, worst: times.at(-1) ?? NaN };
}

const results = [
  median("a remote endpoint changes a label", (round) => {
    const changed = endpoint(50_000, { zone: `z${round % 10}` });
    engine.set("WorkloadEndpoint", key(changed), changed);
  }),
  median("a local endpoint changes a label", (round) => {
    const changed = endpoint(7, { app: `app${(round * 13) % apps}` });
    engine.set("WorkloadEndpoint", key(changed), changed);
  }),
  median("a local endpoint comes or goes", (round) => {
    const changed = endpoint(localCount - 1);
    engine.set("WorkloadEndpoint", key(changed), round % 2 === 0 ? undefined : changed);
  }),
  median(
    "a policy that applies here changes",
    (round) => engine.set("GlobalNetworkPolicy", "p7", policy(7, 1000 + round)),
  ),
  median("a policy that does not apply here changes", (round) => {
    engine.set("GlobalNetworkPolicy", "p900", policy(900, 1000 + round));
  }),
  median("a profile's labels change for all endpoints", (round) => {
    engine.set("Profile", "base", {
      kind: "Profile",
      apiVersion: API_VERSION,
      metadata: { name: "base" },
      spec: { labelsToApply: { base: `yes${round}` } },
    });
  }, 5),
];

(globalThis as { gc?: () => void }).gc?.();
const after = Deno.memoryUsage();
console.log(
  `${tables[0]?.chains.size} chains, ${tables[0]?.sets.size} sets; all resources taken in ${loaded.toFixed(0)} ms`,
);
for (const { name, ms, worst } of results) {
  console.log(`${ms.toFixed(2).padStart(8)} ms median ${worst.toFixed(2).padStart(8)} ms worst  ${name}`);
}
console.log(
  `${(after.heapUsed / 2 ** 20).toFixed(0)} MB heap (${
    ((after.heapUsed - before.heapUsed) / 2 ** 20).toFixed(0)
  } MB of it ours), ${(after.rss / 2 ** 20).toFixed(0)} MB resident`,
);
const slowest = Math.max(...results.slice(0, 5).map(({ ms }) => ms));
console.log(
  `goal: recomputation after one change under 20 ms: ${slowest < 20 ? "met" : "missed"} (${slowest.toFixed(2)} ms)`,
);
console.log(`goal: memory under 400 MB: ${after.heapUsed < 400 * 2 ** 20 ? "met" : "missed"}`);
