/**
 * An attach or detach that dies before any one of its steps, on the in-memory kernel: the next start leaves neither
 * links, routes nor addresses that belong to nobody. What is left is read from the listings of kernel and store.
 */

import assert from "node:assert/strict";
import { startAgent } from "../../../src/agent/agent.ts";
import { silentLog } from "../../../src/lib/log.ts";
import { systemClock } from "../../../src/store/expiry.ts";
import { MemoryStore } from "../../../src/store/memory.ts";
import { Doom, doomKernel, doomStore } from "./doom.ts";
import { eventually, makeMachine, putPool, type Scene, startScene, traces } from "./scene.ts";

const settings = { name: "a", ip: "autodetect", ip6: "none" };
const request = { name: "web", netns: "web", labels: { role: "web" } };

/** A node with a workload "db" attached, on a process that can be made to die. */
async function makeDoomed() {
  const machine = await makeMachine();
  const store = new MemoryStore();
  await putPool(store, "v4", "172.17.8.0/24");
  await putPool(store, "v6", "fd00:8::/64");
  machine.namespace("web");
  machine.namespace("db");
  const doom = new Doom();
  const agent = startAgent({
    store: doomStore(store, doom),
    kernel: doomKernel(machine.handle("host"), doom),
    settings,
    clock: systemClock,
    log: silentLog,
  });
  await agent.ready;
  await agent.workloads.attach({ name: "db", netns: "db" });
  return { machine, store, agent, doom };
}

/** Starts a new agent where the dead one was, and checks that nothing is half-made. */
async function checkHealed(scene: Pick<Scene, "machine" | "store">, when: string): Promise<boolean> {
  const { agent } = await startScene(scene);
  try {
    const isAttached = async () => (await traces(scene)).some((line) => line === "endpoint a-tortie-web-eth0");
    const perWorkload = ["link", "route", "route", "neighbour", "handle", "endpoint"].length;
    await eventually(`${when}: everything or nothing stands`, async () => {
      const rows = await agent.workloads.list();
      const wanted = (await isAttached() ? 2 : 1) * perWorkload;
      return rows.every(({ ready }) => ready) && (await traces(scene)).length === wanted;
    });
    const healed = await isAttached();
    const workload = await agent.workloads.attach(request);
    assert.equal(workload.ready, true, when);
    for (const name of ["web", "db"]) await agent.workloads.detach(name);
    assert.deepEqual(await traces(scene), [], when);
    const blocks = await scene.store.list("/calico/ipam/v2/assignment/");
    for (const { value } of blocks.entries) {
      assert.ok(
        JSON.parse(value).allocations.every((at: unknown) => at === null),
        `${when}: an address leaked: ${value}`,
      );
    }
    return healed;
  } finally {
    await agent.stop();
  }
}

Deno.test("a crash before any step of an attach is healed at the next start, with nothing leaked", async () => {
  const outcomes = new Set<boolean>();
  let isEnded = false;
  for (let steps = 0; steps < 200 && !isEnded; steps++) {
    const { doom, agent, ...scene } = await makeDoomed();
    doom.after(steps);
    const answer = await Promise.race([
      agent.workloads.attach(request).then(() => true, () => false),
      eventually("the process dies", () => doom.isDead).then(() => false),
    ]);
    isEnded = answer && !doom.isDead;
    await agent.stop();
    outcomes.add(await checkHealed(scene, `after ${steps} operations`));
  }
  assert.ok(isEnded, "an attach takes fewer than 200 operations");
  assert.deepEqual([...outcomes].sort(), [false, true]);
});

Deno.test("a crash before any step of a detach is healed at the next start, with nothing leaked", async () => {
  let isEnded = false;
  for (let steps = 0; steps < 200 && !isEnded; steps++) {
    const { doom, agent, ...scene } = await makeDoomed();
    await agent.workloads.attach(request);
    doom.after(steps);
    const answer = await Promise.race([
      agent.workloads.detach("web").then(() => true, () => false),
      eventually("the process dies", () => doom.isDead).then(() => false),
    ]);
    isEnded = answer && !doom.isDead;
    await agent.stop();
    await checkHealed(scene, `after ${steps} operations`);
  }
  assert.ok(isEnded, "a detach takes fewer than 200 operations");
});

Deno.test("an attach that is refused half-way takes back what it made", async () => {
  const machine = await makeMachine();
  const store = new MemoryStore();
  await putPool(store, "v4", "172.17.8.0/24");
  machine.namespace("web");
  const scene = await startScene({ machine, store });
  try {
    for (const matching of [/link add/, /link set/, /route add 0\.0\.0\.0/, /address add/]) {
      const restore = scene.faults.fail({ matching, code: "EPERM", times: 1 });
      await assert.rejects(scene.agent.workloads.attach(request), /Cannot attach web: .*CAP_NET_ADMIN/);
      restore();
      assert.deepEqual(await traces(scene), [], String(matching));
    }
    assert.equal((await scene.agent.workloads.attach(request)).ready, true);
  } finally {
    await scene.agent.stop();
  }
});

Deno.test("a veth that was made but not yet named after its workload is swept with the addresses", async () => {
  const machine = await makeMachine();
  const store = new MemoryStore();
  await putPool(store, "v4", "172.17.8.0/24");
  machine.namespace("web");
  const first = await startScene({ machine, store });
  const workload = await first.agent.workloads.attach(request);
  await first.agent.stop();
  const host = machine.handle("host");
  const link = await host.links.get(workload.interface);
  await host.links.change(link?.index ?? 0, { alias: "" });
  await store.delete("/calico/resources/v3/projectcalico.org/workloadendpoints/default/a-tortie-web-eth0");
  const second = await startScene({ machine, store });
  try {
    await eventually("nothing is left", async () => (await traces(second)).length === 0);
  } finally {
    await second.agent.stop();
  }
});
