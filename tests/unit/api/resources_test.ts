/** Resources over the store: identity, revisions, Calico's rules, what goes with a pool or a node, watches. */

import assert from "node:assert/strict";
import { ApiError } from "../../../src/api/error.ts";
import type { NodeResources } from "../../../src/api/node_api.ts";
import { makeResources } from "../../../src/api/resources.ts";
import type { WatchLine } from "../../../src/api/shapes.ts";
import { makeIpam } from "../../../src/ipam/ipam.ts";
import { showBlocks } from "../../../src/ipam/show.ts";
import { Ip } from "../../../src/lib/ip.ts";
import { silentLog } from "../../../src/lib/log.ts";
import type { AnyResource, Metadata } from "../../../src/model/resources/mod.ts";
import { openFileStore } from "../../../src/store/file/file_store.ts";
import { MemoryStore } from "../../../src/store/memory.ts";
import type { Store } from "../../../src/store/store.ts";
import { until } from "../../contract/store_suite.ts";

const PREFIX = "/calico/resources/v3/projectcalico.org/";

function make(kind: string, name: string, spec: unknown = {}, metadata: Partial<Metadata> = {}): AnyResource {
  return { kind, apiVersion: "projectcalico.org/v3", metadata: { name, ...metadata }, spec } as AnyResource;
}

const pool = (name: string, cidr: string, spec: Record<string, unknown> = {}) =>
  make("IPPool", name, { cidr, ...spec });

const endpoint = (name: string, ip: string, node = "a") =>
  make("WorkloadEndpoint", `${node}-tortie-${name}-eth0`, {
    orchestrator: "tortie",
    node,
    workload: name,
    endpoint: "eth0",
    interfaceName: `cali${name}`,
    ipNetworks: [`${ip}/32`],
  }, { namespace: "default" });

function version({ metadata }: AnyResource): string | undefined {
  return (metadata as { resourceVersion?: string }).resourceVersion;
}

function refused(code: string, message: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof Error, String(error));
    assert.match(error.message, message);
    assert.equal(error instanceof ApiError ? error.code : (error as { kind?: string }).kind, code);
    return true;
  };
}

function test(name: string, body: (resources: NodeResources, store: Store) => Promise<void>): void {
  Deno.test(name, async () => {
    const store = new MemoryStore();
    await body(makeResources({ store, log: silentLog }), store);
    await store.close();
  });
}

test("a created resource has an identity and a revision, and a change keeps the identity", async (resources, store) => {
  const created = await resources.create(pool("a", "10.0.0.0/16"));
  assert.equal(created.outcome, "created");
  const { uid, creationTimestamp } = created.resource.metadata;
  assert.match(uid ?? "", /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.match(creationTimestamp ?? "", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  const stored = await store.get(`${PREFIX}ippools/a`);
  assert.equal(version(created.resource), String(stored?.revision));
  const value = JSON.parse(stored?.value ?? "{}");
  assert.equal(value.metadata.resourceVersion, undefined);
  assert.deepEqual(value.spec.blockSize, 26);
  const changed = await resources.apply(pool("a", "10.0.0.0/16", { natOutgoing: true }));
  assert.equal(changed.outcome, "changed");
  assert.deepEqual([changed.resource.metadata.uid, changed.resource.metadata.creationTimestamp], [
    uid,
    creationTimestamp,
  ]);
  assert.ok(Number(version(changed.resource)) > Number(version(created.resource)));
  assert.deepEqual(await resources.get({ kind: "IPPool", name: "a" }), changed.resource);
});

test("applying the same again changes nothing, whatever is pasted back", async (resources) => {
  const first = await resources.apply(make("GlobalNetworkPolicy", "p", { selector: "all()" }));
  const again = await resources.apply(make("GlobalNetworkPolicy", "p", { selector: "all()" }));
  const pasted = await resources.apply(await resources.get({ kind: "GlobalNetworkPolicy", name: "p" }));
  assert.deepEqual([first.outcome, again.outcome, pasted.outcome], ["created", "unchanged", "unchanged"]);
  assert.equal(version(again.resource), version(first.resource));
});

test("create, replace and delete hold to what exists, and a dry run writes nothing", async (resources, store) => {
  await assert.rejects(resources.replace(pool("a", "10.0.0.0/16")), refused("missing", /^There is no IPPool a$/));
  const dry = await resources.create(pool("a", "10.0.0.0/16"), { dryRun: true });
  assert.equal(dry.outcome, "created");
  assert.deepEqual((await store.list("/")).entries, []);
  await resources.create(pool("a", "10.0.0.0/16"));
  await assert.rejects(resources.create(pool("a", "10.0.0.0/16")), refused("exists", /^IPPool a exists$/));
  assert.equal(
    (await resources.replace(pool("a", "10.0.0.0/16", { disabled: true }), { dryRun: true })).outcome,
    "changed",
  );
  assert.equal((await resources.delete({ kind: "IPPool", name: "a" }, { dryRun: true })).outcome, "deleted");
  assert.equal((await store.list("/")).entries.length, 1);
  await assert.rejects(resources.delete({ kind: "IPPool", name: "b" }), refused("missing", /There is no IPPool b/));
  await assert.rejects(resources.get({ kind: "NetworkPolicy", name: "b", namespace: "x" }), refused("missing", /x\/b/));
});

test("a resourceVersion that has moved on is a conflict, the present one is not", async (resources) => {
  const { resource } = await resources.create(make("GlobalNetworkSet", "s", { nets: ["192.0.2.0/24"] }));
  const edit = (nets: string[], of: AnyResource) => ({ ...of, spec: { nets } }) as AnyResource;
  const second = await resources.replace(edit(["192.0.2.1/32"], resource));
  await assert.rejects(
    resources.replace(edit(["192.0.2.2/32"], resource)),
    refused("conflict", /has changed: its resourceVersion/),
  );
  assert.equal((await resources.apply(edit(["192.0.2.3/32"], second.resource))).outcome, "changed");
});

test("many changes of one resource at once all end, each on top of another", async (resources, store) => {
  await resources.create(make("GlobalNetworkSet", "s", { nets: [] }));
  const before = (await store.list("/")).revision;
  const changes = Array.from(
    { length: 30 },
    (_, i) => resources.apply(make("GlobalNetworkSet", "s", { nets: [`10.0.0.${i}/32`] })),
  );
  const outcomes = (await Promise.all(changes)).map(({ outcome }) => outcome);
  assert.deepEqual(new Set(outcomes), new Set(["changed"]));
  assert.equal((await store.list("/")).revision, before + 30);
});

test("an invalid resource is refused with its fields", async (resources, store) => {
  await assert.rejects(
    resources.apply(pool("a", "10.0.0.0/33", { blockSiz: 26 })),
    refused("invalid", /^IPPool a: spec\.(cidr|blockSiz).*; also IPPool a: spec\./),
  );
  assert.deepEqual((await store.list("/")).entries, []);
});

test("pools do not overlap, and their prefix and block size never change", async (resources, store) => {
  await resources.create(pool("a", "10.0.0.0/16"));
  await assert.rejects(
    resources.apply(pool("b", "10.0.128.0/17")),
    refused("refused", /10\.0\.128\.0\/17 overlaps 10\.0\.0\.0\/16 of the pool a/),
  );
  await resources.apply(pool("b", "10.1.0.0/16"));
  await assert.rejects(
    resources.apply(pool("a", "10.2.0.0/16")),
    refused("refused", /spec\.cidr never changes, and it is 10\.0\.0\.0\/16/),
  );
  await assert.rejects(
    resources.apply(pool("a", "10.0.0.0/16", { blockSize: 28 })),
    refused("refused", /spec\.blockSize never changes/),
  );
  await store.create("/calico/ipam/v2/assignment/ipv4/block/10.3.0.0-28", "{}");
  await assert.rejects(
    resources.apply(pool("c", "10.3.0.0/16")),
    refused("refused", /block 10\.3\.0\.0\/28 of an earlier pool/),
  );
  assert.equal((await resources.apply(pool("c", "10.3.0.0/16", { blockSize: 28 }))).outcome, "created");
});

test("with a store of one host, a pool that two nodes could allocate from is refused", async (resources) => {
  const bgp = (ip: string) => ({ bgp: { ipv4Address: `${ip}/24` } });
  await resources.apply(make("Node", "a", bgp("192.0.2.1")));
  await resources.apply(pool("p", "10.0.0.0/16"));
  const own = pool("q", "10.1.0.0/16", { nodeSelector: "name == 'a'" });
  await assert.rejects(
    resources.apply(make("Node", "b", bgp("192.0.2.2"))),
    refused("refused", /IPPool p: the nodes a, b could all allocate/),
  );
  await resources.apply(pool("p", "10.0.0.0/16", { nodeSelector: "name == 'b'" }));
  await resources.apply(make("Node", "b", bgp("192.0.2.2")));
  assert.equal((await resources.apply(own)).outcome, "created");
  await assert.rejects(resources.apply(pool("r", "10.2.0.0/16")), refused("refused", /could all allocate/));
});

test("a deleted pool is closed, its claims end, its addresses stay with their workloads", async (resources, store) => {
  await resources.apply(pool("p", "10.0.0.0/24"));
  await resources.apply(make("Node", "a"));
  const ipam = makeIpam({
    store,
    clock: { now: () => Date.now() },
    random: Math.random,
    node: { name: "a", labels: {} },
  });
  const ip = Ip.parse("10.0.0.5");
  await ipam.assignIp(ip, { handle: "h", attributes: { node: "a" } });
  const closed: boolean[] = [];
  const watch = store.watch(`${PREFIX}ippools/`, (event) => {
    if (event.type === "put") closed.push(JSON.parse(event.entry.value).spec.disabled === true);
  });
  const { outcome, warnings } = await resources.delete({ kind: "IPPool", name: "p" });
  watch.close();
  assert.equal(outcome, "deleted");
  assert.deepEqual(warnings, ["1 addresses of the pool are still in use and stay with their workloads"]);
  assert.deepEqual(closed, [false, true]);
  assert.deepEqual((await showBlocks(store)).map(({ affinity, used }) => [affinity, used]), [[null, 1]]);
  assert.deepEqual((await store.list("/calico/ipam/v2/host/")).entries, []);
  assert.deepEqual(await resources.list("IPPool"), []);
});

test("a pool that changes while it is being deleted is deleted all the same", async (resources, store) => {
  await resources.apply(pool("p", "10.0.0.0/24"));
  let isTouched = false;
  const watch = store.watch(`${PREFIX}ippools/`, (event) => {
    if (event.type !== "put" || isTouched || !JSON.parse(event.entry.value).spec.disabled) return;
    isTouched = true;
    void store.put(event.entry.key, event.entry.value);
  });
  assert.equal((await resources.delete({ kind: "IPPool", name: "p" })).outcome, "deleted");
  watch.close();
  assert.deepEqual([isTouched, await resources.list("IPPool")], [true, []]);
});

test(
  "a deleted node takes its endpoints, addresses, claims, peers and settings along, and nobody else's",
  async (resources, store) => {
    await resources.apply(make("Node", "a"));
    await resources.apply(pool("p", "10.0.0.0/24", { nodeSelector: "name == 'a'" }));
    await resources.apply(make("Node", "b"));
    const ipam = makeIpam({
      store,
      clock: { now: () => Date.now() },
      random: Math.random,
      node: { name: "a", labels: {} },
    });
    await ipam.assignIp(Ip.parse("10.0.0.5"), { handle: "h", attributes: { node: "a" } });
    await ipam.assignIp(Ip.parse("10.0.0.6"), { handle: "ipip-tunnel-addr-a", attributes: { node: "a" } });
    for (const node of ["a", "b"]) {
      await resources.apply(endpoint("web", node === "a" ? "10.0.0.5" : "10.9.9.9", node));
      await resources.apply(make("BGPPeer", `peer-${node}`, { node, peerIP: "192.0.2.9", asNumber: 64512 }));
      await resources.apply(make("FelixConfiguration", `node.${node}`, { logSeverityScreen: "Info" }));
      await resources.apply(make("HostEndpoint", `hep-${node}`, { node, interfaceName: "eth0" }));
    }
    await resources.delete({ kind: "Node", name: "a" });
    const left = (await store.list("/")).entries.map(({ key }) => key.replace(PREFIX, ""));
    assert.deepEqual(left, [
      "bgppeers/peer-b",
      "felixconfigurations/node.b",
      "hostendpoints/hep-b",
      "ippools/p",
      "nodes/b",
      "workloadendpoints/default/b-tortie-web-eth0",
    ]);
  },
);

test("tiers: a policy needs one, one with policies stays, the built-in ones stay", async (resources) => {
  const policy = make("NetworkPolicy", "sec.p", { tier: "sec", selector: "all()" }, { namespace: "prod" });
  await assert.rejects(resources.apply(policy), refused("refused", /NetworkPolicy prod\/sec\.p: there is no Tier sec/));
  await resources.apply(make("Tier", "sec", { order: 10 }));
  await resources.apply(policy);
  await assert.rejects(
    resources.delete({ kind: "Tier", name: "sec" }),
    refused("refused", /used by NetworkPolicy prod\/sec\.p/),
  );
  await resources.delete({ kind: "NetworkPolicy", name: "sec.p", namespace: "prod" });
  await resources.delete({ kind: "Tier", name: "sec" });
  await resources.apply(make("Tier", "default", { order: 1_000_000, defaultAction: "Deny" }));
  await assert.rejects(resources.delete({ kind: "Tier", name: "default" }), refused("readonly", /built in/));
});

test(
  "a policy is stored under the style of its store, and found by the user's name in both",
  async (resources, store) => {
    const policy = (order: number) => make("GlobalNetworkPolicy", "web", { order, selector: "all()" });
    await resources.apply(policy(1));
    assert.ok(await store.get(`${PREFIX}globalnetworkpolicies/web`));
    await resources.delete({ kind: "GlobalNetworkPolicy", name: "web" });
    await resources.apply(make("Tier", "adminnetworkpolicy", { order: 1000, defaultAction: "Pass" }));
    await resources.apply(policy(1));
    assert.deepEqual(
      (await store.list(`${PREFIX}globalnetworkpolicies/`)).entries.map(({ key }) => key.replace(PREFIX, "")),
      [
        "globalnetworkpolicies/default.web",
      ],
    );
    assert.equal((await resources.get({ kind: "GlobalNetworkPolicy", name: "web" })).metadata.name, "web");
    assert.equal((await resources.apply(policy(2))).outcome, "changed");
    assert.equal((await resources.list("GlobalNetworkPolicy", { name: "web" })).length, 1);
    assert.equal((await resources.delete({ kind: "GlobalNetworkPolicy", name: "web" })).outcome, "deleted");
  },
);

test("the built-in profile is listed and got, and refuses every change", async (resources) => {
  const name = "projectcalico-default-allow";
  const [first] = await resources.list("Profile");
  assert.deepEqual(first, await resources.get({ kind: "Profile", name }));
  assert.equal(version(first as AnyResource), "1");
  await assert.rejects(resources.apply(make("Profile", name, { egress: [] })), refused("readonly", /built in/));
  await assert.rejects(resources.create(make("Profile", name, { egress: [] })), refused("exists", /exists/));
  await assert.rejects(resources.replace(make("Profile", name, { egress: [] })), refused("readonly", /built in/));
  await assert.rejects(resources.delete({ kind: "Profile", name }), refused("readonly", /built in/));
});

test("a peer's filters must exist", async (resources) => {
  const peer = make("BGPPeer", "tor", { peerIP: "192.0.2.1", asNumber: 64600, filters: ["only-pool"] });
  await assert.rejects(resources.apply(peer), refused("refused", /there is no BGPFilter only-pool/));
  await resources.apply(make("BGPFilter", "only-pool", { exportV4: [{ action: "Accept" }] }));
  assert.equal((await resources.apply(peer)).outcome, "created");
});

test("an endpoint gets its two labels, and its name must be that of its spec", async (resources, store) => {
  await resources.apply(endpoint("web", "10.0.0.5"));
  const stored = await store.get(`${PREFIX}workloadendpoints/default/a-tortie-web-eth0`);
  assert.deepEqual(JSON.parse(stored?.value ?? "{}").metadata.labels, {
    "projectcalico.org/namespace": "default",
    "projectcalico.org/orchestrator": "tortie",
  });
  const wrong = endpoint("web", "10.0.0.5");
  await assert.rejects(
    resources.apply({ ...wrong, metadata: { ...wrong.metadata, name: "a-tortie-db-eth0" } } as AnyResource),
    refused("invalid", /does not fit the spec; it must be a-tortie-web-eth0/),
  );
});

test("status and unknown members: a status stays when a change has none", async (resources, store) => {
  await resources.apply(make("Node", "a"));
  const entry = await store.get(`${PREFIX}nodes/a`);
  const value = JSON.parse(entry?.value ?? "{}");
  await store.put(`${PREFIX}nodes/a`, JSON.stringify({ ...value, status: { wireguardPublicKey: "key" } }));
  await resources.apply(make("Node", "a", {}, { labels: { rack: "r1" } }));
  assert.deepEqual((await resources.get({ kind: "Node", name: "a" })).status, { wireguardPublicKey: "key" });
});

test("what cannot be read is left out of lists, and can be written over or deleted", async (resources, store) => {
  await store.put(`${PREFIX}globalnetworksets/broken`, "{");
  await store.put(`${PREFIX}globalnetworksets/worse`, '{"kind":"Nothing"}');
  await resources.apply(make("GlobalNetworkSet", "good", { nets: [] }));
  assert.deepEqual((await resources.list("GlobalNetworkSet")).map(({ metadata }) => metadata.name), ["good"]);
  assert.equal((await resources.apply(make("GlobalNetworkSet", "broken", { nets: [] }))).outcome, "changed");
  assert.equal((await resources.delete({ kind: "GlobalNetworkSet", name: "worse" })).outcome, "deleted");
  assert.equal((await store.list(`${PREFIX}globalnetworksets/`)).entries.length, 2);
});

test(
  "a watch tells what is there, then each change, and gives a deleted resource as it was",
  async (resources, store) => {
    await resources.apply(make("NetworkSet", "s", { nets: [] }, { namespace: "prod" }));
    await resources.apply(make("NetworkSet", "other", { nets: [] }, { namespace: "dev" }));
    const lines: WatchLine[] = [];
    const stop = resources.watch("NetworkSet", { namespace: "prod" }, (line) => lines.push(line));
    await until(() => lines.length === 2, "the listing");
    await resources.apply(make("NetworkSet", "s", { nets: ["192.0.2.0/24"] }, { namespace: "prod" }));
    await resources.apply(make("NetworkSet", "other", { nets: ["192.0.2.0/24"] }, { namespace: "dev" }));
    await store.put(`${PREFIX}networksets/prod/broken`, "{");
    await resources.delete({ kind: "NetworkSet", name: "s", namespace: "prod" });
    await until(() => lines.length === 4, "both changes");
    stop();
    assert.deepEqual(lines.map(({ type }) => type), ["added", "synced", "modified", "deleted"]);
    const last = lines[3];
    assert.deepEqual(last?.type === "deleted" && last.resource.spec, { nets: ["192.0.2.0/24"] });
  },
);

Deno.test("what the configuration file holds is shown, and a change of it names the file and line", async () => {
  const dir = await Deno.makeTempDir({ prefix: "tortie-resources-" });
  const fixed = [{
    key: `${PREFIX}ippools/p`,
    value: JSON.stringify(pool("p", "10.0.0.0/16")),
    where: "tortie.yaml:12",
  }];
  const store = openFileStore({ dir, owner: { name: "a" }, fixed });
  try {
    const resources = makeResources({ store, log: silentLog });
    assert.equal((await resources.list("IPPool")).length, 1);
    const change = refused("readonly", /edit tortie\.yaml:12 instead/);
    await assert.rejects(resources.apply(pool("p", "10.0.0.0/16", { disabled: true })), change);
    await assert.rejects(resources.delete({ kind: "IPPool", name: "p" }), change);
    await assert.rejects(resources.create(pool("q", "10.0.1.0/24")), refused("refused", /overlaps/));
    assert.equal((await resources.apply(await resources.get({ kind: "IPPool", name: "p" }))).outcome, "unchanged");
  } finally {
    await store.close();
    await Deno.remove(dir, { recursive: true });
  }
});
