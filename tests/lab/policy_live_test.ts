/**
 * The stage on a real kernel: connections that a new policy forbids die within a second and the others lose nothing; forged
 * sources and ARP leave no workload; a flushed table is mended.
 */

import assert from "node:assert/strict";
import { makeFirewallStage, type PolicyStage } from "../../src/agent/policy/firewall_stage.ts";
import type { Snapshot } from "../../src/agent/snapshot.ts";
import { silentLog } from "../../src/lib/log.ts";
import { openConntrack } from "../../src/linux/conntrack.ts";
import { openKernel } from "../../src/linux/kernel.ts";
import type { AnyResource } from "../../src/model/resources/mod.ts";
import { systemClock } from "../../src/store/expiry.ts";
import { addresses } from "../unit/policy/arbitraries.ts";
import { policy, pool, resourcesOf, settings, workload } from "../unit/policy/scene.ts";
import { inside, isRoot, makePolicyLab, type PolicyLab } from "./policy_lab.ts";
import { type Prober, startProber } from "./policy_probes.ts";
import { within } from "./workload_lab.ts";

interface Live {
  readonly lab: PolicyLab;
  readonly stage: PolicyStage;
  /** Replaces what the store holds, and runs a round. */
  apply(resources: readonly AnyResource[]): Promise<void>;
  prober(place: number): Promise<Prober>;
}

/** Runs the body with a stage on a fresh host; rounds are run when the stage asks for them. */
async function live(body: (live: Live) => Promise<void>): Promise<void> {
  const lab = makePolicyLab(), kernel = openKernel(lab.host), conntrack = openConntrack(lab.host);
  const probers: Prober[] = [];
  let now = resourcesOf([]), round: Promise<unknown> = Promise.resolve();
  const snapshot: Snapshot = {
    all: (kind) => now.all(kind),
    blocks: new Map(),
    revisionOf: () => undefined,
    isInSync: true,
    unavailable: undefined,
    revision: 1,
    unreadable: new Map(),
  };
  const parts = { node: "a", firewall: lab.firewall, conntrack, kernel, clock: systemClock, log: silentLog };
  const stage: PolicyStage = makeFirewallStage(parts)(snapshot, () => round = round.then(() => stage.apply()));
  try {
    await body({
      lab,
      stage,
      apply: async (resources) => {
        now = resourcesOf(resources);
        await (round = round.then(async () => {
          stage.desire();
          assert.deepEqual(await stage.apply(), []);
        }));
      },
      prober: async (place) => {
        const prober = await startProber(lab.places.get(place) ?? "");
        probers.push(prober);
        return prober;
      },
    });
  } finally {
    stage.stop?.();
    await round;
    await Promise.all(probers.map((prober) => prober.stop()));
    conntrack.close();
    kernel.close();
    lab.close();
  }
}

const workloads = [0, 1, 2].map((i) =>
  workload(`w${i}`, {
    labels: { name: `w${i}` },
    ipNetworks: [`${addresses.v4[i]}/32`, `${addresses.v6[i]}/128`],
    profiles: ["projectcalico-default-allow"],
  })
);

Deno.test({
  name: "of 200 live connections those that a new policy forbids are dead within a second, and the others lose nothing",
  ignore: !isRoot,
  fn: () =>
    live(async ({ apply, prober }) => {
      await apply(workloads);
      const [client] = await Promise.all([prober(0), prober(1)]);
      for (const port of [443, 8080]) await client?.hold({ to: addresses.v4[1], port, count: 100 });
      await apply([
        ...workloads,
        policy("close", {
          selector: 'name == "w1"',
          ingress: [{ action: "Deny", protocol: "TCP", destination: { ports: [8080] } }, { action: "Allow" }],
        }),
      ]);
      const start = performance.now();
      // Half a second of silence on all of them within a second and a half: no echo came after the first second.
      await within(1500, "the forbidden connections fall silent", async () => {
        const silence = await client?.report() ?? {};
        assert.ok(Math.max(...silence[443] ?? [Infinity]) < 1000, `an allowed connection was held up: ${silence[443]}`);
        return (silence[8080] ?? []).every((ms) => ms >= 500);
      });
      const silence = await client?.report() ?? {};
      const since = performance.now() - start;
      const lastEcho = since - Math.min(...silence[8080] ?? [0]);
      assert.equal(silence[8080]?.length, 100);
      assert.ok(lastEcho < 1000, `an echo came ${lastEcho} ms after the policy`);
      assert.ok(Math.max(...silence[443] ?? [Infinity]) < 1000);
    }),
});

Deno.test({
  name: "a workload sends from its own addresses only, in IPv4, IPv6 and ARP",
  ignore: !isRoot,
  fn: () =>
    live(async ({ lab, apply, prober }) => {
      await apply(workloads);
      await prober(1);
      const w0 = lab.places.get(0) ?? "";
      const ping = (...args: string[]) =>
        new Deno.Command("ip", { args: ["netns", "exec", w0, "ping", "-n", "-c", "1", "-W", "1", ...args] })
          .outputSync().code === 0;
      assert.ok(ping(addresses.v4[1]) && ping(addresses.v6[1]));
      const dropped = (comment: string, family = "inet") => {
        const line = inside(lab.host, "nft", "list", "table", family, "tortie").split("\n").find((text) =>
          text.includes(`"${comment}"`)
        );
        return Number(/counter packets (\d+)/.exec(line ?? "")?.[1] ?? NaN);
      };
      assert.equal(dropped("spoofed source"), 0);
      inside(w0, "ip", "addr", "add", "10.0.0.77/32", "dev", "eth0");
      inside(w0, "ip", "addr", "add", "fd00::77/128", "dev", "eth0", "nodad");
      assert.ok(!ping("-I", "10.0.0.77", addresses.v4[1]));
      assert.ok(!ping("-I", "fd00::77", addresses.v6[1]));
      assert.equal(dropped("spoofed source"), 2);
      // Another workload's address, too.
      inside(w0, "ip", "addr", "add", `${addresses.v4[2]}/32`, "dev", "eth0");
      assert.ok(!ping("-I", addresses.v4[2], addresses.v4[1]));
      assert.equal(dropped("spoofed source"), 3);
      // An ARP request that says the other's address is the workload's.
      const before = dropped("spoofed ARP", "arp");
      inside(w0, "ip", "neigh", "flush", "dev", "eth0");
      inside(
        w0,
        "sh",
        "-c",
        "echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_notify; ip link set eth0 down; ip link set eth0 up",
      );
      await within(3000, "a forged announcement is dropped", () => dropped("spoofed ARP", "arp") > before);
      assert.ok(!inside(lab.host, "ip", "neigh", "show", addresses.v4[2], "dev", "caliw0").includes("lladdr"));
    }),
});

Deno.test({
  name: "what somebody flushes or deletes of our table is mended within a second",
  ignore: !isRoot,
  fn: () =>
    live(async ({ lab, apply, prober }) => {
      await apply([...workloads, policy("deny", { selector: 'name == "w1"', ingress: [{ action: "Deny" }] })]);
      const [client] = await Promise.all([prober(0), prober(1)]);
      const isThrough = () => client?.try({ protocol: "tcp", to: addresses.v4[1], port: 80, patience: 300 });
      const list = () => inside(lab.host, "nft", "-s", "list", "ruleset");
      const whole = list();
      assert.equal(await isThrough(), false);
      for (const command of [["flush", "table", "inet", "tortie"], ["delete", "table", "inet", "tortie"]]) {
        inside(lab.host, "nft", ...command);
        const took = await within(1000, `${command.join(" ")} is mended`, () => list().length === whole.length);
        assert.equal(await isThrough(), false, `after ${took} ms`);
      }
    }),
});

Deno.test({
  name: "floating IPs lead to their workload, also from itself, and what leaves a pool takes the host's address",
  ignore: !isRoot,
  fn: () =>
    live(async ({ lab, apply, prober }) => {
      const external = { v4: "192.0.2.50", v6: "2001:db8::50" };
      const [w0, , w2] = workloads;
      assert.ok(w0 && w2);
      const w1 = workload("w1", {
        labels: { name: "w1" },
        ipNetworks: [`${addresses.v4[1]}/32`, `${addresses.v6[1]}/128`],
        ipNATs: [
          { internalIP: addresses.v4[1], externalIP: external.v4 },
          { internalIP: addresses.v6[1], externalIP: external.v6 },
        ],
        profiles: ["projectcalico-default-allow"],
      });
      const pools = [pool("p", "10.0.0.0/16", { natOutgoing: true }), pool("q", "fd00::/64", { natOutgoing: true })];
      const out = lab.places.get(5) ?? "";
      // The peer outside can answer nobody but the host.
      inside(out, "ip", "route", "del", "default");
      inside(out, "ip", "-6", "route", "del", "default");
      inside(out, "ip", "route", "add", `${external.v4}/32`, "via", "192.0.2.1", "src", addresses.v4[5]);
      inside(out, "ip", "route", "add", `${external.v6}/128`, "via", "2001:db8::1", "src", addresses.v6[5]);
      const [client, server, far] = await Promise.all([prober(0), prober(1), prober(5)]);
      const reaches = (from: Prober | undefined, to: string) =>
        from?.try({ protocol: "tcp", to, port: 80, patience: 2000 });
      await apply([w0, w1, w2]);
      assert.equal(await reaches(client, addresses.v4[5]), false, "without translation nobody answers");
      await apply([w0, w1, w2, ...pools, settings({ floatingIPs: "Enabled" })]);
      for (const version of ["v4", "v6"] as const) {
        assert.equal(await reaches(client, addresses[version][5]), true, `outgoing ${version}`);
        assert.equal(await reaches(far, external[version]), true, `floating ${version}`);
        assert.equal(await reaches(server, external[version]), true, `itself ${version}`);
        assert.equal(await reaches(client, external[version]), true, `a neighbour ${version}`);
      }
      const deny = policy("deny", { selector: 'name == "w1"', ingress: [{ action: "Deny" }] });
      await apply([w0, w1, w2, ...pools, settings({ floatingIPs: "Enabled" }), deny]);
      assert.equal(await reaches(client, external.v4), false, "policy judges the workload, not the floating IP");
    }),
});
