/** The stage of the agent's loop, on the in-memory packet filter and connection tracking. */

import assert from "node:assert/strict";
import { makeFirewallStage, type PolicyStage } from "../../../src/agent/policy/firewall_stage.ts";
import type { Snapshot } from "../../../src/agent/snapshot.ts";
import { MemoryConntrack } from "../../../src/dataplane/firewall_conntrack.ts";
import { MemoryFilter } from "../../../src/dataplane/firewall_memory.ts";
import { MemoryMachine } from "../../../src/dataplane/memory_kernel.ts";
import { FakeClock } from "../../../src/lib/fake_clock.ts";
import { Ip } from "../../../src/lib/ip.ts";
import { silentLog } from "../../../src/lib/log.ts";
import type { AnyResource, Kind, ResourceOf } from "../../../src/model/resources/mod.ts";
import { EPERM } from "../../../src/netlink/errno.ts";
import type { Connection, Tuple } from "../../../src/netlink/conntrack.ts";
import { host, keyOf, policy, workload } from "./scene.ts";

/** Resources that a test changes under the stage's feet. */
class Resources {
  readonly #kinds = new Map<string, Map<string, AnyResource>>();

  put(...resources: AnyResource[]): void {
    for (const resource of resources) {
      const kind = this.#kinds.get(resource.kind) ?? new Map<string, AnyResource>();
      this.#kinds.set(resource.kind, kind.set(keyOf(resource), resource));
    }
  }

  delete(resource: AnyResource): void {
    this.#kinds.get(resource.kind)?.delete(keyOf(resource));
  }

  get snapshot(): Snapshot {
    return {
      all: <K extends Kind>(kind: K) =>
        (this.#kinds.get(kind) ?? new Map()) as ReadonlyMap<string, unknown> as ReadonlyMap<string, ResourceOf<K>>,
      blocks: new Map(),
      revisionOf: () => undefined,
      isInSync: true,
      unavailable: undefined,
      revision: 1,
      unreadable: new Map(),
    };
  }
}

const web = workload("web", {
  labels: { role: "web" },
  ipNetworks: ["10.0.0.1/32"],
  profiles: ["projectcalico-default-allow"],
});
const db = workload("db", {
  labels: { role: "db" },
  ipNetworks: ["10.0.0.2/32"],
  profiles: ["projectcalico-default-allow"],
});

function makeScene({ filter = new MemoryFilter(), resources = [web, db] as readonly AnyResource[] } = {}) {
  const machine = new MemoryMachine(), kernel = machine.handle("host");
  const firewall = filter.handle(), conntrack = new MemoryConntrack(), clock = new FakeClock();
  const world = new Resources();
  world.put(...resources);
  let wakes = 0;
  const stage: PolicyStage = makeFirewallStage({ node: "a", firewall, conntrack, kernel, clock, log: silentLog })(
    world.snapshot,
    () => void wakes++,
  );
  const round = () => {
    stage.desire();
    return stage.apply();
  };
  /** A round, and the one after it in which connections are looked at. */
  const settle = async () => {
    await round();
    clock.advance(stage.nextDue() - clock.monotonic());
    return await stage.apply();
  };
  return { filter, firewall, conntrack, clock, world, stage, round, settle, kernel, wakes: () => wakes };
}

const endpoint = (name: string) => `a-tortie-${name}-eth0`;

async function chainsOf(filter: MemoryFilter): Promise<string[]> {
  return [...(await filter.handle().read()).tables.get("inet")?.chains.keys() ?? []];
}

Deno.test("before the first policy a host without rules of ours drops what workload interfaces send and get", async () => {
  const { filter, stage } = makeScene();
  await stage.apply();
  const { tables } = await filter.handle().read();
  const rules = tables.get("inet")?.chains.get("cali-from-wl-dispatch")?.rules ?? [];
  assert.deepEqual(rules.map(({ comment }) => comment), [undefined, "unknown interface"]);
  assert.equal(tables.get("inet")?.sets.get("cali-from-wl")?.elements.size, 0);
  assert.equal(stage.stands(endpoint("web")), false);
});

Deno.test("the rules of an earlier run stand until the first policy of this one does", async () => {
  const first = makeScene();
  await first.round();
  const before = await chainsOf(first.filter);
  assert.ok(before.includes("cali-fw-caliweb"));
  first.stage.stop?.();
  const second = makeScene({ filter: first.filter });
  await second.stage.apply();
  assert.deepEqual(await chainsOf(first.filter), before);
  await second.round();
  assert.equal(second.firewall.faults.transactions.length, 0, "what stands is what should: nothing is sent");
  assert.ok(second.stage.stands(endpoint("web")));
});

Deno.test("an endpoint stands once its rules do, and not while they are refused or have changed", async () => {
  const { firewall, world, stage, round, clock } = makeScene();
  const mend = firewall.faults.fail({ matching: /cali-fw-caliweb/, errno: EPERM });
  const failures = await round();
  assert.match(failures[0]?.error.message ?? "", /cali-fw-caliweb/);
  assert.equal(stage.stands(endpoint("web")), false);
  assert.ok(stage.nextDue() > clock.monotonic());
  mend();
  clock.advance(stage.nextDue() - clock.monotonic());
  assert.deepEqual(await stage.apply(), []);
  assert.ok(stage.stands(endpoint("web")) && stage.stands(endpoint("db")));
  world.put(workload("web", { labels: { role: "new" }, ipNetworks: ["10.0.0.1/32"] }));
  stage.desire();
  assert.equal(stage.stands(endpoint("web")), false);
  assert.ok(stage.stands(endpoint("db")), "the others' rules stand as they are");
  await stage.apply();
  assert.ok(stage.stands(endpoint("web")));
});

Deno.test("a change sends only what it changes, and a workload that goes leaves nothing behind", async () => {
  const { firewall, filter, world, round } = makeScene();
  await round();
  firewall.faults.transactions.length = 0;
  world.put(policy("only-db", { selector: 'role == "db"', ingress: [{ action: "Deny" }] }));
  await round();
  const [commands = []] = firewall.faults.transactions;
  assert.ok(commands.length > 0 && commands.every((command) => !command.includes("caliweb")), commands.join("\n"));
  world.delete(db);
  await round();
  const left = (await chainsOf(filter)).filter((name) => name.includes("db"));
  assert.deepEqual(left, []);
});

Deno.test("hints about changes of others' endpoints ask for a round, and only they are looked at then", async () => {
  const remote = (role: string) => workload("far", { node: "b", labels: { role }, ipNetworks: ["10.0.1.1/32"] });
  const allow = policy("p", {
    selector: 'role == "db"',
    ingress: [{ action: "Allow", source: { selector: 'role == "web"' } }],
  });
  const { filter, world, stage, round, wakes } = makeScene({ resources: [web, db, allow, remote("other")] });
  await round();
  const members = async () => {
    const sets = (await filter.handle().read()).tables.get("inet")?.sets ?? new Map();
    return [...sets].filter(([name]) => name.startsWith("cali40s-")).flatMap(([, { elements }]) => [...elements.keys()])
      .sort();
  };
  assert.deepEqual(await members(), ["10.0.0.1"]);
  const before = wakes();
  world.put(remote("web"));
  stage.changed("WorkloadEndpoint", "default/b-tortie-far-eth0");
  assert.equal(wakes(), before + 1);
  await stage.apply();
  assert.deepEqual(await members(), ["10.0.0.1", "10.0.1.1"]);
  stage.changed("blocks", "10.0.0.0/26");
  assert.equal(wakes(), before + 1, "blocks are nothing to policy");
});

Deno.test("somebody else's change of our tables asks for a round, which repairs it", async () => {
  const { filter, stage, round, wakes } = makeScene();
  await round();
  const before = wakes();
  await filter.handle().apply([{ op: "flush chain", family: "inet", chain: "cali-fw-caliweb" }]);
  await new Promise((resolve) => setTimeout(resolve));
  assert.ok(wakes() > before);
  await stage.apply();
  assert.ok((await filter.handle().read()).tables.get("inet")?.chains.get("cali-fw-caliweb")?.rules.length);
});

Deno.test("a policy ends the connections that it forbids, and no others", async () => {
  const { conntrack, world, settle } = makeScene({ resources: [web, db] });
  await settle();
  const kept = [
    connection(1, "10.0.0.1", "10.0.0.2", 443),
    connection(4, "203.0.113.5", "203.0.113.6", 80),
    connection(5, "10.0.0.2", "203.0.113.6", 80),
  ];
  const doomed = [
    connection(2, "10.0.0.1", "10.0.0.2", 80),
    connection(6, "203.0.113.5", "192.0.2.50", 80, "10.0.0.2"),
  ];
  for (const one of [...kept, ...doomed]) conntrack.add(one);
  world.put(
    policy("p", {
      selector: 'role == "db"',
      ingress: [{ action: "Allow", protocol: "TCP", destination: { ports: [443] } }],
    }),
  );
  await settle();
  assert.deepEqual(conntrack.connections.map(({ id }) => id), kept.map(({ id }) => id));
});

Deno.test("what a policy ended is kept from coming back as long as it is forbidden", async () => {
  const { conntrack, filter, world, settle } = makeScene();
  await settle();
  conntrack.add(connection(2, "10.0.0.1", "10.0.0.2", 80));
  const deny = policy("p", { selector: 'role == "db"', ingress: [{ action: "Deny" }] });
  world.put(deny);
  await settle();
  const ended =
    async () => [...(await filter.handle().read()).tables.get("inet")?.sets.get("cali40ended")?.elements.keys() ?? []];
  assert.deepEqual(await ended(), ["10.0.0.1 . 10.0.0.2 . tcp . 50002 . 80", "10.0.0.2 . 10.0.0.1 . tcp . 80 . 50002"]);
  world.delete(deny);
  await settle();
  assert.deepEqual(await ended(), []);
});

Deno.test("the host's own connections to its workloads are not ended, and a failure to end others is tried again", async () => {
  const scene = makeScene();
  const link = await scene.kernel.links.createVeth({ name: "eth0", mac: "02:00:00:00:00:01", peerName: "x" });
  await scene.kernel.links.addAddress({ index: link.index, net: { ip: Ip.parse("192.0.2.1"), length: 24 }, scope: 0 });
  await scene.settle();
  scene.conntrack.add(connection(1, "192.0.2.1", "10.0.0.2", 80));
  scene.conntrack.add(connection(2, "10.0.0.1", "10.0.0.2", 80));
  scene.conntrack.fault = { matching: /./ };
  scene.world.put(policy("p", { selector: 'role == "db"', ingress: [{ action: "Deny" }] }));
  const failures = await scene.settle();
  assert.equal(failures[0]?.table, "connections");
  assert.ok(scene.stage.nextDue() < Infinity);
  scene.conntrack.fault = undefined;
  scene.clock.advance(scene.stage.nextDue() - scene.clock.monotonic());
  assert.deepEqual(await scene.stage.apply(), []);
  assert.deepEqual(scene.conntrack.connections.map(({ id }) => id), [1]);
});

Deno.test("a host endpoint that is known by its address only guards the interface that has it", async () => {
  const { filter, kernel, round } = makeScene({ resources: [host("a", { expectedIPs: ["192.0.2.1"] })] });
  const link = await kernel.links.createVeth({ name: "eth7", mac: "02:00:00:00:00:01", peerName: "x" });
  await kernel.links.addAddress({ index: link.index, net: { ip: Ip.parse("192.0.2.1"), length: 24 }, scope: 0 });
  await round();
  assert.ok((await chainsOf(filter)).includes("cali-fh-eth7"));
});

function connection(
  id: number,
  source: string,
  destination: string,
  port: number,
  translated = destination,
): Connection {
  const tuple = (from: string, to: string, sourcePort: number, destinationPort: number): Tuple => ({
    source: Ip.parse(from),
    destination: Ip.parse(to),
    protocol: 6,
    sourcePort,
    destinationPort,
  });
  return {
    family: 4,
    original: tuple(source, destination, 50_000 + id, port),
    reply: tuple(translated, source, port, 50_000 + id),
    status: 14,
    mark: 0,
    zone: 0,
    id,
    timeout: 100,
  };
}
