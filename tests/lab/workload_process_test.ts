/** Workloads whose namespace has no name, as containers' have none: known by a path or by a process id. */

import assert from "node:assert/strict";
import { ip, labTest, run, standing, within } from "./workload_lab.ts";

/** Starts a program in a network namespace of its own, as a container does. */
async function startContainer(): Promise<{ pid: number; stop(): Promise<void> }> {
  const own = Deno.readLinkSync("/proc/self/ns/net");
  const child = new Deno.Command("unshare", { args: ["--net", "sleep", "600"], stdin: "null" }).spawn();
  await within(5_000, "it is in a namespace of its own", () => Deno.readLinkSync(`/proc/${child.pid}/ns/net`) !== own);
  return {
    pid: child.pid,
    async stop() {
      child.kill("SIGKILL");
      await child.status;
    },
  };
}

labTest("a namespace without a name is attached by process id and by path, and its end is noticed", async (lab) => {
  const agent = await lab.start();
  const before = standing(lab.host);
  const [first, second] = [await startContainer(), await startContainer()];
  try {
    const one = await agent.workloads.attach({ name: "one", netns: String(first.pid) });
    const two = await agent.workloads.attach({ name: "two", netns: `/proc/${second.pid}/ns/net` });
    const inside = (pid: number, ...args: string[]) => run(lab.host, "nsenter", `--net=/proc/${pid}/ns/net`, ...args);
    assert.match((await inside(first.pid, "ip", "route")).text, /^default via 169\.254\.1\.1 dev eth0/m);
    assert.match((await inside(first.pid, "ping", "-n", "-c1", "-w2", two.addresses[0] ?? "")).text, / 1 received/);
    assert.match((await inside(second.pid, "ping", "-n", "-c1", "-w2", one.addresses[0] ?? "")).text, / 1 received/);

    await first.stop();
    await within(
      5_000,
      "one is not ready any more",
      async () => (await agent.workloads.list()).find(({ name }) => name === "one")?.ready === false,
    );
    assert.doesNotMatch(ip(lab.host, "link"), new RegExp(one.interface), "its veth went with its namespace");
    assert.ok(!ip(lab.host, "route").includes(`${one.addresses[0]} dev`));
    assert.ok(ip(lab.host, "route").includes(`${two.addresses[0]} dev ${two.interface}`));
    await agent.workloads.detach("one");
    await agent.workloads.detach("two");
    assert.deepEqual(standing(lab.host).filter((line) => !line.startsWith("blackhole")), before);
  } finally {
    await first.stop().catch(() => {});
    await second.stop().catch(() => {});
  }
});
