/**
 * An attach or detach that dies before any one of its operations on the real kernel is healed by the next start: the
 * routes and links that `ip` shows and the keys of the store are those of before, and the workload can be attached
 * again.
 */

import assert from "node:assert/strict";
import { startAgent } from "../../src/agent/agent.ts";
import { silentLog } from "../../src/lib/log.ts";
import { systemClock } from "../../src/store/expiry.ts";
import { Doom, doomKernel, doomStore } from "../unit/agent/doom.ts";
import { ip, type Lab, labTest, pings, standing, within } from "./workload_lab.ts";

const settings = { name: "a", ip: "autodetect", ip6: "none" };

/** What the store holds of workloads: handles and endpoints. */
async function stored({ store }: Lab): Promise<string[]> {
  const prefixes = ["/calico/ipam/v2/handle/", "/calico/resources/v3/projectcalico.org/workloadendpoints/"];
  const lists = await Promise.all(prefixes.map((prefix) => store.list(prefix)));
  return lists.flatMap(({ entries }) => entries.map(({ key }) => key));
}

/** Runs the call on an agent that dies after `steps` operations; whether it ended before. */
async function runDoomed(lab: Lab, steps: number, name: "attach" | "detach"): Promise<boolean> {
  const doom = new Doom();
  const agent = startAgent({
    store: doomStore(lab.store, doom),
    kernel: doomKernel(lab.kernel, doom),
    settings,
    clock: systemClock,
    log: silentLog,
  });
  try {
    await agent.ready;
    if (name === "detach") await agent.workloads.attach({ name: "web", netns: lab.web });
    doom.after(steps);
    const call = name === "attach"
      ? agent.workloads.attach({ name: "web", netns: lab.web })
      : agent.workloads.detach("web");
    const isDone = await Promise.race([
      call.then(() => true, () => false),
      within(5_000, "the process dies", () => doom.isDead).then(() => false),
    ]);
    return isDone && !doom.isDead;
  } finally {
    await agent.stop();
  }
}

for (const name of ["attach", "detach"] as const) {
  labTest(
    `a crash before any step of ${name} on the real kernel leaves no veth, route, neighbour or address`,
    async (lab) => {
      const first = await lab.start();
      await first.workloads.attach({ name: "web", netns: lab.web });
      await first.workloads.detach("web");
      await first.stop();
      ip(lab.web, "link", "set", "lo", "up");
      const before = standing(lab.host).join("\n"), inside = standing(lab.web).join("\n");
      let isEnded = false, steps = 0;
      for (; steps < 150 && !isEnded; steps++) {
        isEnded = await runDoomed(lab, steps, name);
        const agent = await lab.start();
        const when = `after ${steps} operations`;
        await within(2_000, `${when} what stands is whole`, async () => {
          const rows = await agent.workloads.list();
          const isNothing = rows.length === 0 && standing(lab.host).join("\n") === before;
          return isNothing || rows[0]?.ready === true;
        });
        const web = await agent.workloads.attach({ name: "web", netns: lab.web });
        if (steps % 10 === 0) assert.ok(await pings(lab.host, web.addresses[0] ?? ""), `${when} the host pings web`);
        await agent.workloads.detach("web");
        await within(2_000, `${when} nothing is left on the host`, () => standing(lab.host).join("\n") === before);
        assert.equal(standing(lab.web).join("\n"), inside, when);
        assert.deepEqual(await stored(lab), [], when);
        await agent.stop();
      }
      assert.ok(isEnded && steps > 5, `${name} ended after ${steps} operations`);
    },
  );
}

labTest("an attach whose process is killed outright is healed by the next start", async (lab) => {
  const agent = await lab.start();
  await agent.workloads.attach({ name: "db", netns: lab.db });
  await agent.stop();
  const before = standing(lab.host).join("\n");
  // What an attach has made when it dies between the veth and the endpoint.
  ip(
    lab.host,
    "link",
    "add",
    "cali0123456789a",
    "address",
    "ee:ee:ee:ee:ee:ee",
    "type",
    "veth",
    "peer",
    "eth0",
    "netns",
    lab.web,
  );
  ip(lab.host, "link", "set", "cali0123456789a", "alias", "tortie:a-tortie-web-eth0");
  const again = await lab.start();
  await within(2_000, "the interface of nobody is gone", () => standing(lab.host).join("\n") === before);
  assert.deepEqual((await again.workloads.list()).map(({ name, ready }) => [name, ready]), [["db", true]]);
});
