/** The node is killed with -9 in the middle of 50 attaches: nothing that was acknowledged is lost, nothing leaks. */

import assert from "node:assert/strict";
import { type Lab, until } from "../../src/lab/lab.ts";
import { pings } from "../../src/lab/report.ts";
import { defaultTopology, type Topology } from "../../src/lab/topology.ts";
import { withLab } from "./fleet.ts";

const count = 50;
const host = {
  ...defaultTopology.hosts[0]!,
  workloads: Array.from({ length: count }, (_, i) => ({ name: `w${i}`, labels: { number: String(i) } })),
};
/** One host; its workloads are attached by the test, not by the lab. */
const topology: Topology = { ...defaultTopology, hosts: [{ ...host, workloads: [] }] };

async function addNamespaces(lab: Lab, action: "add" | "del"): Promise<void> {
  for (const { name } of host.workloads) {
    await new Deno.Command("ip", { args: ["netns", action, `${lab.name}-${name}`] }).output();
  }
}

Deno.test("a node killed in the middle of 50 attaches heals at its start, with nothing lost and nothing leaked", async () => {
  await withLab(topology, async (lab) => {
    await addNamespaces(lab, "add");
    try {
      const attach = (name: string, labels: Record<string, string>) =>
        lab.api("a").workloads.attach({ name, netns: `${lab.name}-${name}`, labels });
      const acknowledged = new Map<string, string>();
      const node = lab.process("a");
      assert.ok(node);
      // Five callers, each with ten to attach one after the other, so that the kill finds work at every stage.
      const callers = Array.from({ length: 5 }, async (_, caller) => {
        for (const { name, labels } of host.workloads.filter((_, i) => i % 5 === caller)) {
          const row = await attach(name, labels).catch(() => undefined);
          if (!row) return;
          acknowledged.set(name, row.addresses[0]!);
          if (acknowledged.size === 15) Deno.kill(node.pid, "SIGKILL");
        }
      });
      await Promise.all(callers);
      assert.ok(acknowledged.size >= 15 && acknowledged.size < count, `${acknowledged.size} were answered`);

      lab.startNode(topology.hosts[0]!);
      await lab.nodeReady("a");
      await until("what stands is ready", 20_000, async () => {
        const { workloads } = await lab.api("a").status();
        return workloads.total >= acknowledged.size && workloads.ready === workloads.total;
      });
      const kept = new Map((await lab.api("a").workloads.list()).map((row) => [row.name, row.addresses[0]]));
      for (const [name, address] of acknowledged) assert.equal(kept.get(name), address, `${name} keeps its address`);

      const rows = await Promise.all(host.workloads.map(({ name, labels }) => attach(name, labels)));
      assert.equal(new Set(rows.map(({ addresses }) => addresses[0])).size, count, "no address was given twice");
      const links = JSON.parse(await lab.run("a", ["ip", "-j", "link", "show", "type", "veth"])) as {
        ifname: string;
      }[];
      assert.deepEqual(
        links.map(({ ifname }) => ifname).filter((name) => name.startsWith("cali")).sort(),
        rows.map((row) => row.interface).sort(),
      );
      const routes = JSON.parse(await lab.run("a", ["ip", "-j", "route", "show", "scope", "link"])) as {
        dst: string;
        dev: string;
      }[];
      assert.deepEqual(
        routes.filter(({ dev }) => dev.startsWith("cali")).map(({ dst }) => dst).sort(),
        rows.map(({ addresses }) => addresses[0]!).sort(),
      );
      assert.deepEqual(await lab.api("a").ipam.check(), []);
      for (const { addresses } of rows.slice(0, 5)) assert.ok(await pings(lab, "a", addresses[0]!));
    } finally {
      await addNamespaces(lab, "del");
    }
  });
});
