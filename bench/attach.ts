/**
 * How long an attach takes at the node: from the call to the answer, policy included, on the real kernel in namespaces of
 * its own and with the file store (every write is on the disk before it counts).
 *
 *   deno run -A bench/attach.ts [attaches]
 *
 * Needs root. The target is a p50 under 30 ms.
 */

import { startAgent } from "../src/agent/agent.ts";
import { makeFirewallStage } from "../src/agent/policy/firewall_stage.ts";
import { silentLog } from "../src/lib/log.ts";
import { openConntrack } from "../src/linux/conntrack.ts";
import { openKernel } from "../src/linux/kernel.ts";
import { createNamespace, deleteNamespace } from "../src/linux/namespace.ts";
import { openFirewall } from "../src/linux/nftables.ts";
import { resourceKey } from "../src/model/keys/mod.ts";
import { systemClock } from "../src/store/expiry.ts";
import { openFileStore } from "../src/store/file/file_store.ts";

const attaches = Number(Deno.args[0] ?? 200);

function percentile(sorted: readonly number[], share: number): string {
  return (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN).toFixed(1);
}

function report(what: string, times: number[]): void {
  const sorted = [...times].sort((a, b) => a - b);
  console.log(
    `${what}: ${sorted.length} times, p50 ${percentile(sorted, 0.5)} ms, p90 ${percentile(sorted, 0.9)} ms, ` +
      `p99 ${percentile(sorted, 0.99)} ms, longest ${percentile(sorted, 1)} ms`,
  );
}

const prefix = `ttF-bench-${Deno.pid}`;
const dir = await Deno.makeTempDir({ prefix: "tortie-bench-" });
const made: string[] = [];
const make = (name: string) => {
  createNamespace(name);
  made.push(name);
  return name;
};
try {
  const kernel = openKernel(make(`${prefix}-host`));
  const store = openFileStore({ dir, owner: { name: "bench" } });
  const pool = {
    kind: "IPPool",
    apiVersion: "projectcalico.org/v3",
    metadata: { name: "bench" },
    spec: { cidr: "172.17.0.0/16" },
  };
  await store.put(resourceKey("IPPool", "bench"), JSON.stringify(pool));
  const settings = { name: "bench", ip: "192.0.2.1/24", ip6: "none" };
  const firewall = openFirewall(`${prefix}-host`), conntrack = openConntrack(`${prefix}-host`);
  const stage = makeFirewallStage({ node: "bench", firewall, conntrack, kernel, clock: systemClock, log: silentLog });
  const agent = startAgent({ store, kernel, settings, clock: systemClock, log: silentLog, firewall: stage });
  await agent.ready;
  for (let i = 0; i < attaches; i++) make(`${prefix}-${i}`);

  const attach: number[] = [], again: number[] = [], detach: number[] = [];
  const time = async (times: number[], call: () => Promise<unknown>) => {
    const start = performance.now();
    await call();
    times.push(performance.now() - start);
  };
  for (let i = 0; i < attaches; i++) {
    await time(attach, () => agent.workloads.attach({ name: `w${i}`, netns: `${prefix}-${i}` }));
  }
  for (let i = 0; i < attaches; i++) {
    await time(again, () => agent.workloads.attach({ name: `w${i}`, netns: `${prefix}-${i}` }));
  }
  const { workloads, dataplane } = agent.status();
  console.log(`${workloads.ready} of ${workloads.total} workloads ready, dataplane ${JSON.stringify(dataplane)}`);
  for (let i = 0; i < attaches; i++) await time(detach, () => agent.workloads.detach(`w${i}`));
  report("attach", attach);
  report("attach again", again);
  report("detach", detach);
  await agent.stop();
  await store.close();
  conntrack.close();
  firewall.close();
  kernel.close();
} finally {
  for (const name of made) deleteNamespace(name);
  await Deno.remove(dir, { recursive: true });
}
