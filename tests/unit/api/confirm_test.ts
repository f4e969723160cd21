/** Changes that take themselves back: in time, too late, over a restart, in part, and when others changed something too. */

import assert from "node:assert/strict";
import { CONFIRM_PREFIX, type Confirmations, makeConfirmations } from "../../../src/api/confirm.ts";
import { ApiError } from "../../../src/api/error.ts";
import type { NodeResources } from "../../../src/api/node_api.ts";
import { makeResources } from "../../../src/api/resources.ts";
import { FakeClock } from "../../../src/lib/fake_clock.ts";
import { silentLog } from "../../../src/lib/log.ts";
import type { AnyResource } from "../../../src/model/resources/mod.ts";
import { MemoryStore } from "../../../src/store/memory.ts";

interface Scene {
  readonly store: MemoryStore;
  readonly resources: NodeResources;
  readonly clock: FakeClock;
  /** Another run of the node over the same store. */
  start(): Promise<Confirmations>;
  /** The names of the policies and their orders. */
  orders(): Promise<Record<string, number | undefined>>;
  hasNote(): Promise<boolean>;
}

const policy = (name: string, order: number, tier = "default"): AnyResource => ({
  kind: "GlobalNetworkPolicy",
  apiVersion: "projectcalico.org/v3",
  metadata: { name },
  spec: { order, tier, selector: "all()" },
} as AnyResource);

async function scene(body: (scene: Scene) => Promise<void>): Promise<void> {
  const clock = new FakeClock(), store = new MemoryStore(), log = silentLog;
  const resources = makeResources({ store, log });
  const running: Confirmations[] = [];
  try {
    await body({
      store,
      resources,
      clock,
      start: async () => {
        for (const earlier of running) earlier.stop();
        const started = makeConfirmations({ store, resources, node: "a", clock, log });
        running.push(started);
        await started.resume();
        return started;
      },
      orders: async () =>
        Object.fromEntries(
          (await resources.list("GlobalNetworkPolicy")).map((each) => [
            each.metadata.name,
            each.kind === "GlobalNetworkPolicy" ? each.spec.order : undefined,
          ]),
        ),
      hasNote: async () => (await store.list(CONFIRM_PREFIX)).entries.length > 0,
    });
  } finally {
    for (const each of running) each.stop();
    await store.close();
  }
}

/** Waits until the condition holds, at most a second. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !await holds(); tries++) {
    assert.ok(tries < 200, "waited in vain");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const refused = (code: string, message: RegExp) => (error: unknown) =>
  error instanceof ApiError && error.code === code && message.test(error.message);

Deno.test("what is confirmed in time stands", () =>
  scene(async ({ start, orders, hasNote, clock }) => {
    const confirmations = await start();
    const { results } = await confirmations.apply({ resources: [policy("p", 1)], seconds: 60 });
    assert.deepEqual(results.map(({ outcome }) => outcome), ["created"]);
    clock.advance(59_000);
    assert.deepEqual((await confirmations.confirm()).resources, ["GlobalNetworkPolicy p"]);
    clock.advance(3_600_000);
    assert.deepEqual([await orders(), await hasNote(), confirmations.pending()], [{ p: 1 }, false, null]);
    await assert.rejects(confirmations.confirm(), refused("missing", /nothing waits/));
  }));

Deno.test("what is not confirmed in time is taken back: the changed as it was, the new deleted, the unchanged left", () =>
  scene(async ({ start, orders, hasNote, clock, resources }) => {
    await resources.apply(policy("old", 1));
    await resources.apply(policy("same", 2));
    const confirmations = await start();
    await confirmations.apply({ resources: [policy("old", 7), policy("same", 2), policy("new", 8)], seconds: 60 });
    assert.deepEqual(await orders(), { new: 8, old: 7, same: 2 });
    clock.advance(60_000);
    await until(async () => !await hasNote());
    assert.deepEqual(await orders(), { old: 1, same: 2 });
    assert.equal(confirmations.pending(), null);
  }));

Deno.test("a node that was restarted in between goes on waiting, and one that was down for longer takes it back at once", () =>
  scene(async ({ start, orders, hasNote, clock }) => {
    await (await start()).apply({ resources: [policy("p", 1)], seconds: 60 });
    clock.advance(30_000);
    const again = await start();
    assert.deepEqual([again.pending()?.resources, await orders()], [["GlobalNetworkPolicy p"], { p: 1 }]);
    again.stop();
    clock.advance(30_000);
    assert.deepEqual(await orders(), { p: 1 });
    await start();
    assert.deepEqual([await orders(), await hasNote()], [{}, false]);
  }));

Deno.test("a node that died between two writes takes both back", () =>
  scene(async ({ start, orders, clock, store, resources }) => {
    await resources.apply(policy("old", 1));
    const [before] = await resources.list("GlobalNetworkPolicy");
    const ids = ["old", "new"].map((name) => ({ kind: "GlobalNetworkPolicy", name }));
    const changes = ids.map((id, i) => ({ id, before: i === 0 ? before : null, after: null }));
    await store.put(`${CONFIRM_PREFIX}a`, JSON.stringify({ until: clock.wall() + 60_000, changes }));
    await resources.apply(policy("old", 7));
    await resources.apply(policy("new", 8));
    await start();
    clock.advance(60_000);
    await until(async () => (await orders()).old === 1);
    assert.deepEqual(await orders(), { old: 1 });
  }));

Deno.test("all of a file is applied or nothing", () =>
  scene(async ({ start, orders, hasNote }) => {
    const confirmations = await start();
    const wanted = [policy("p", 1), policy("nowhere.q", 1, "nowhere")];
    await assert.rejects(
      confirmations.apply({ resources: wanted, seconds: 60 }),
      refused("refused", /GlobalNetworkPolicy nowhere\.q: .*no Tier nowhere/),
    );
    assert.deepEqual([await orders(), await hasNote(), confirmations.pending()], [{}, false, null]);
  }));

Deno.test("while something waits nothing else can be put beside it, and what others changed meanwhile is theirs", () =>
  scene(async ({ start, orders, clock, resources, hasNote }) => {
    const confirmations = await start();
    await confirmations.apply({ resources: [policy("p", 1), policy("q", 1)], seconds: 60 });
    await assert.rejects(
      confirmations.apply({ resources: [policy("r", 1)], seconds: 60 }),
      refused("conflict", /other changes wait/),
    );
    await resources.apply(policy("q", 5));
    clock.advance(60_000);
    await until(async () => !await hasNote());
    assert.deepEqual(await orders(), { q: 5 });
  }));
