/** The stage inside a whole agent on the in-memory kernel: a workload is attached once its policy stands. */

import assert from "node:assert/strict";
import { makeFirewallStage } from "../../../src/agent/policy/firewall_stage.ts";
import { MemoryConntrack } from "../../../src/dataplane/firewall_conntrack.ts";
import { MemoryFilter } from "../../../src/dataplane/firewall_memory.ts";
import { silentLog } from "../../../src/lib/log.ts";
import { EPERM } from "../../../src/netlink/errno.ts";
import { systemClock } from "../../../src/store/expiry.ts";
import { makeMachine, putPool, startScene } from "../agent/scene.ts";

Deno.test("attaching returns once the workload's rules stand, and fails while they are refused", async () => {
  const machine = await makeMachine(), filter = new MemoryFilter(), firewall = filter.handle();
  machine.handle("web");
  const { agent, store } = await startScene({
    machine,
    firewall: makeFirewallStage({
      node: "a",
      firewall,
      conntrack: new MemoryConntrack(),
      kernel: machine.handle("host"),
      clock: systemClock,
      log: silentLog,
    }),
  });
  try {
    await putPool(store, "p", "10.1.0.0/24");
    const chains = async () => [...(await filter.handle().read()).tables.get("inet")?.chains.keys() ?? []];
    const web = await agent.workloads.attach({ name: "web", netns: "web" });
    assert.equal(web.ready, true);
    assert.ok((await chains()).includes(`cali-fw-${web.interface}`));
    const mend = firewall.faults.fail({ matching: /cali-fw-/, errno: EPERM });
    machine.handle("db");
    await assert.rejects(agent.workloads.attach({ name: "db", netns: "db" }));
    mend();
    const left = (await agent.workloads.list()).filter(({ name }) => name !== "web");
    assert.ok(left.every(({ ready }) => !ready), JSON.stringify(left));
  } finally {
    await agent.stop();
  }
});
