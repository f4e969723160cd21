/** The speaker killed with -9 beside BIRD, FRR and GoBGP: the dataplane does not notice, and what is stale goes in time. */

import assert from "node:assert/strict";
import { canRun, eventually, startTortie } from "./daemons.ts";
import { configFor, HELPERS, killRepeatedly, THERE, withKillScene } from "./kill_scene.ts";

/** A few on every run; `deno task kill` does as many as are wanted. */
const KILLS = 5;
const present = HELPERS.filter(({ programs }) => canRun(...programs));
const note = present.length === HELPERS.length ? "" : " (skipped: not all three are installed)";

Deno.test({
  name: `a speaker killed ${KILLS} times beside BIRD, FRR and GoBGP loses no ping of the workload behind it${note}`,
  ignore: present.length < HELPERS.length,
  async fn() {
    const sums = await Promise.all(HELPERS.map(async (helper) => {
      let sum = { sent: 0, lost: -1 };
      await withKillScene(helper, async (scene) => void (sum = await killRepeatedly(scene, KILLS)));
      return { name: helper.name, lost: sum.lost, isLong: sum.sent > 50 * KILLS };
    }));
    assert.deepEqual(sums, HELPERS.map(({ name }) => ({ name, lost: 0, isLong: true })));
  },
});

for (const helper of HELPERS) {
  const isAble = canRun(...helper.programs);
  Deno.test({
    name: `${helper.name} gives up the routes of a speaker that stays away for longer than its restart time${
      isAble ? "" : " (skipped: it is not installed)"
    }`,
    ignore: !isAble,
    fn: () =>
      withKillScene(helper, async (scene) => {
        const speaker = await scene.startSpeaker(configFor(4));
        await speaker.stop("SIGKILL");
        assert.ok(await scene.hasBlock());
        await eventually("the end of the stale routes", async () => !(await scene.hasBlock()));
      }),
  });
}

Deno.test({
  name: `routes of an earlier run that no peer confirms leave the kernel when the delay is over${note}`,
  ignore: present.length === 0,
  fn: () =>
    withKillScene(present[0] ?? HELPERS[0]!, async (scene) => {
      const first = await scene.startSpeaker(configFor(60));
      await first.stop("SIGKILL");
      await scene.daemon.stop("SIGKILL");
      const begun = performance.now();
      const second = startTortie(scene.hosts, configFor(60, 4));
      await eventually("a speaker that waits", async () => (await second.peer("right"))?.state !== undefined);
      assert.ok(await scene.hasRouteThere());
      await eventually("the sweep", async () => !(await scene.hasRouteThere()));
      assert.ok(performance.now() - begun > 4_000, "not before its time");
      assert.deepEqual(await second.ask({ kind: "routes", prefix: THERE }), []);
    }),
});

Deno.test({
  name: `a peer's routes stand while it is killed and restarts, and go when it stays away${note}`,
  ignore: present.length === 0,
  fn: () =>
    withKillScene(HELPERS[0]!, async (scene) => {
      // Two speakers of ours: the right one in the daemon's place.
      await scene.daemon.stop();
      const { hosts } = scene;
      const swap = (config: ReturnType<typeof configFor>) => ({
        ...config,
        nodeName: "right",
        routerId: "10.77.0.2",
        nodeAddress4: "10.77.0.2",
        aggregates: [],
        pools: [{ ...config.pools[0]!, cidr: "10.50.0.0/16" }],
        peers: config.peers.map((peer) => ({ ...peer, name: "left", address: "10.77.0.1" })),
      });
      await hosts.exec(hosts.right, "ip", "route", "add", "blackhole", THERE, "proto", "80");
      const left = startTortie(hosts, configFor(60));
      const right = startTortie(hosts, swap(configFor(5)), hosts.right);
      const stale = async () => (await left.ask({ kind: "routes", prefix: THERE })).map((row) => row.stale);
      await eventually("its route", async () => (await stale())[0] === false);
      await eventually("its route in the kernel", scene.hasRouteThere);
      await right.stop("SIGKILL");
      await eventually("a stale route", async () => (await stale())[0] === true);
      const again = startTortie(hosts, swap(configFor(5)), hosts.right);
      await eventually("the route confirmed", async () => {
        assert.ok(await scene.hasRouteThere());
        return (await stale())[0] === false;
      });
      await again.stop("SIGKILL");
      await eventually("a stale route again", async () => (await stale())[0] === true);
      assert.ok(await scene.hasRouteThere());
      await eventually("the end of its time", async () => !(await scene.hasRouteThere()));
      assert.deepEqual(await stale(), []);
    }),
});
