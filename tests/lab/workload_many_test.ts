/**
 * Many attaches and detaches at once on the real kernel: each workload has an address and a route of its own, and
 * afterwards `ip` and the store show nothing of them.
 */

import assert from "node:assert/strict";
import { createNamespace, deleteNamespace } from "../../src/linux/namespace.ts";
import { ip, labTest, pings } from "./workload_lab.ts";

labTest(
  "thirty workloads attached at once all stand, answer, and are gone after being detached at once",
  async (lab) => {
    const agent = await lab.start();
    const names = Array.from({ length: 30 }, (_, i) => `${lab.web}-${i}`);
    const made: string[] = [];
    try {
      for (const name of names) {
        createNamespace(name);
        made.push(name);
      }
      const workloads = await Promise.all(names.map((netns, i) => agent.workloads.attach({ name: `w${i}`, netns })));
      const addresses = workloads.map(({ addresses }) => addresses[0] ?? "");
      assert.equal(new Set(addresses).size, names.length);
      const routes = ip(lab.host, "route");
      for (const [i, { interface: name }] of workloads.entries()) {
        assert.match(routes, new RegExp(`^${addresses[i]} dev ${name} scope link`, "m"));
      }
      assert.ok(await pings(names[0] ?? "", addresses.at(-1) ?? ""));
      assert.deepEqual(agent.status().workloads, { ready: 30, total: 30 });
      await Promise.all(workloads.map(({ name }) => agent.workloads.detach(name)));
      assert.doesNotMatch(ip(lab.host, "route"), /cali/);
      assert.doesNotMatch(ip(lab.host, "link"), /cali/);
      assert.deepEqual((await lab.store.list("/calico/ipam/v2/handle/")).entries, []);
    } finally {
      for (const name of made) deleteNamespace(name);
    }
  },
);
