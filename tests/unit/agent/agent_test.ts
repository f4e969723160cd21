/**
 * The whole agent on the in-memory kernel and store: what it writes at a start, what it leaves to others, and when
 * routes follow.
 */

import assert from "node:assert/strict";
import { startAgent } from "../../../src/agent/agent.ts";
import { takeDown } from "../../../src/agent/down.ts";
import { Faults } from "../../../src/dataplane/memory_faults.ts";
import { silentLog } from "../../../src/lib/log.ts";
import { resourceKey } from "../../../src/model/keys/mod.ts";
import { readResource } from "../../../src/model/read.ts";
import { systemClock } from "../../../src/store/expiry.ts";
import { MemoryStore } from "../../../src/store/memory.ts";
import { blackhole } from "../dataplane/converge.ts";
import { eventually, makeMachine, putPool, startScene, traces } from "./scene.ts";

async function startWithPool() {
  const machine = await makeMachine();
  const store = new MemoryStore();
  await putPool(store, "v4", "172.17.8.0/24");
  machine.namespace("web");
  return await startScene({ machine, store });
}

Deno.test("the agent writes its Node, the built-in tiers and ClusterInformation, and a default pool where there is none", async () => {
  const store = new MemoryStore();
  const scene = await startScene({ store, ip6: "autodetect" });
  try {
    const read = async (...key: Parameters<typeof resourceKey>) =>
      readResource((await store.get(resourceKey(...key)))?.value ?? "null");
    const node = await read("Node", "a");
    assert.ok(node.kind === "Node" && node.metadata.uid && node.metadata.creationTimestamp);
    assert.deepEqual(node.spec, {
      bgp: { ipv4Address: "192.0.2.1/24", ipv6Address: "2001:db8::1/64" },
      addresses: [
        { address: "192.0.2.1/24", type: "CalicoNodeIP" },
        { address: "192.0.2.1", type: "InternalIP" },
        { address: "2001:db8::1/64", type: "CalicoNodeIP" },
        { address: "2001:db8::1", type: "InternalIP" },
      ],
    });
    for (const tier of ["default", "kube-admin", "kube-baseline"]) {
      assert.equal((await read("Tier", tier)).kind, "Tier");
    }
    const cluster = await read("ClusterInformation", "default");
    assert.ok(cluster.kind === "ClusterInformation" && cluster.spec.datastoreReady === true);
    assert.match(cluster.spec.clusterGUID ?? "", /^[0-9a-f]{32}$/);
    const pool = await read("IPPool", "default-ipv4-ippool");
    assert.ok(pool.kind === "IPPool" && pool.spec.cidr === "192.168.0.0/16");
    const { node: shown, store: storeStatus, dataplane } = scene.agent.status();
    assert.deepEqual(shown, { name: "a", ip: "192.0.2.1", ip6: "2001:db8::1", as: 64512 });
    assert.equal(storeStatus.inSync, true);
    assert.deepEqual(dataplane, { inSync: true, lastError: null });
  } finally {
    await scene.agent.stop();
  }
});

Deno.test("a second start changes nothing in the store", async () => {
  const store = new MemoryStore();
  const machine = await makeMachine();
  const first = await startScene({ machine, store });
  await first.agent.stop();
  const before = await store.list("/");
  const second = await startScene({ machine, store });
  await second.agent.stop();
  assert.deepEqual(await store.list("/"), before);
});

Deno.test("what others wrote into the Node stays when an address changes", async () => {
  const store = new MemoryStore();
  const key = resourceKey("Node", "a");
  const spec = { bgp: { asNumber: 65001, ipv4Address: "198.51.100.1/24" }, orchRefs: [{ orchestrator: "k8s" }] };
  const metadata = { name: "a", uid: "u", creationTimestamp: "2026-01-01T00:00:00Z", labels: { rack: "r1" } };
  await store.put(key, JSON.stringify({ kind: "Node", apiVersion: "projectcalico.org/v3", metadata, spec }));
  const scene = await startScene({ store });
  try {
    const node = readResource((await store.get(key))?.value ?? "");
    assert.ok(node.kind === "Node");
    assert.deepEqual(node.metadata, metadata);
    assert.equal(node.spec.bgp?.asNumber, 65001);
    assert.equal(node.spec.bgp?.ipv4Address, "192.0.2.1/24");
    assert.deepEqual(node.spec.orchRefs, [{ orchestrator: "k8s" }]);
  } finally {
    await scene.agent.stop();
  }
});

Deno.test("until the store is in sync nothing is taken off the kernel", async () => {
  const first = await startWithPool();
  await first.agent.workloads.attach({ name: "web", netns: "web" });
  await first.agent.stop();
  const { machine, store } = first;
  const before = await traces(first);

  const silent = { ...first.store, type: "memory" as const };
  const sinks: (() => void)[] = [];
  const slow: typeof store = Object.assign(Object.create(store), silent, {
    watch: (prefix: string, sink: Parameters<typeof store.watch>[1]) => {
      let inner: { close(): void } | undefined;
      sinks.push(() => inner = store.watch(prefix, sink));
      return { close: () => inner?.close() };
    },
  });
  for (const method of ["get", "list", "create", "update", "put", "delete"] as const) {
    Object.assign(slow, { [method]: (store[method] as (...args: unknown[]) => unknown).bind(store) });
  }
  const faults = new Faults();
  const host = machine.handle("host", faults);
  const settings = { name: "a", ip: "autodetect", ip6: "none" };
  const agent = startAgent({ store: slow, kernel: host, settings, clock: systemClock, log: silentLog });
  try {
    await host.fib.apply([{ action: "replace", route: blackhole("10.99.0.0/16") }]);
    const reads = () => faults.operations.filter((operation) => operation === "route list").length;
    await eventually("the agent has looked for the gateway's route", () => reads() >= 5);
    assert.deepEqual(await traces(first), before);
    assert.equal((await host.fib.list({ protocol: 80 })).length, 2);
    assert.equal(agent.status().dataplane.inSync, false);
    for (const open of sinks) open();
    await agent.ready;
    await eventually(
      "the route that is nobody's is gone",
      async () => (await host.fib.list({ protocol: 80 })).length === 1,
    );
    assert.deepEqual(await traces(first), before);
  } finally {
    await agent.stop();
  }
});

Deno.test("a value that cannot be read is reported and stops nothing else", async () => {
  const scene = await startWithPool();
  try {
    const key = resourceKey("WorkloadEndpoint", "a-tortie-bad-eth0", "default");
    await scene.store.put(key, "{ not json");
    await scene.agent.workloads.attach({ name: "web", netns: "web" });
    assert.match(scene.agent.status().store.warnings.join("\n"), /a-tortie-bad-eth0: /);
    await scene.store.delete(key);
    await eventually("the report is gone", () => scene.agent.status().store.warnings.length === 0);
  } finally {
    await scene.agent.stop();
  }
});

Deno.test("a workload gets its route only once its policy stands, and loses nothing when the firewall fails later", async () => {
  const machine = await makeMachine();
  const store = new MemoryStore();
  await putPool(store, "v4", "172.17.8.0/24");
  machine.namespace("web");
  const stands = new Set<string>();
  let isBroken = true, applied = 0, due = 0;
  const scene = await startScene({
    machine,
    store,
    firewall: (snapshot) => ({
      desire: () => {},
      apply: () => {
        applied++;
        if (isBroken) {
          due = performance.now() + 5;
          return Promise.resolve([{ table: "firewall", key: "", error: new Error("no table") }]);
        }
        due = Infinity;
        for (const { metadata } of snapshot.all("WorkloadEndpoint").values()) stands.add(metadata.name);
        return Promise.resolve([]);
      },
      nextDue: () => due,
      stands: (endpoint) => stands.has(endpoint),
    }),
  });
  try {
    let isAnswered = false;
    const attach = scene.agent.workloads.attach({ name: "web", netns: "web" }).finally(() => isAnswered = true);
    const from = applied;
    await eventually("the firewall is tried ten times more", () => applied > from + 10);
    const routed = async () => (await traces(scene)).some((line) => line.startsWith("route"));
    assert.equal(await routed(), false);
    assert.equal(isAnswered, false);
    assert.match(scene.agent.status().dataplane.lastError ?? "", /no table/);
    isBroken = false;
    assert.equal((await attach).ready, true);
    assert.equal(await routed(), true);
    isBroken = true;
    await store.put("/calico/resources/v3/projectcalico.org/tiers/x", "{}");
    await eventually(
      "the firewall fails again",
      () => scene.agent.status().dataplane.inSync === false || applied > 1_000,
    );
    assert.equal(await routed(), true);
  } finally {
    await scene.agent.stop();
  }
});

Deno.test("a hundred attaches at once all stand, each with an address of its own", async () => {
  const scene = await startWithPool();
  try {
    const names = Array.from({ length: 100 }, (_, i) => `w${i}`);
    for (const name of names) scene.machine.namespace(name);
    const workloads = await Promise.all(names.map((name) => scene.agent.workloads.attach({ name, netns: name })));
    assert.equal(new Set(workloads.map(({ addresses }) => addresses[0])).size, 100);
    assert.deepEqual(scene.agent.status().workloads, { ready: 100, total: 100 });
    await Promise.all(names.map((name) => scene.agent.workloads.detach(name)));
    assert.deepEqual(await traces(scene), []);
  } finally {
    await scene.agent.stop();
  }
});

Deno.test("taking down removes links, routes and neighbours of ours and leaves the rest", async () => {
  const scene = await startWithPool();
  await scene.agent.workloads.attach({ name: "web", netns: "web" });
  await scene.agent.stop();
  const host = scene.machine.handle("host");
  const foreign = { ...blackhole("10.9.0.0/16"), protocol: 12 };
  await host.fib.apply([{ action: "replace", route: foreign }]);
  const taken = await takeDown(host);
  assert.deepEqual(taken.errors, []);
  assert.equal(taken.links.length, 1);
  assert.deepEqual((await host.links.list()).map(({ name }) => name), ["lo", "eth0"]);
  const left = (await host.fib.list({ table: 254 })).filter(({ protocol }) => protocol !== 2);
  assert.deepEqual(left.map(({ destination }) => `${destination}`), ["10.9.0.0/16"]);
  assert.deepEqual(await host.neighbours.list(), []);
});
