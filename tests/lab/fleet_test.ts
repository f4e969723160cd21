/**
 * The main job, on the real kernel with witnesses that nobody here wrote: `ip`, `ping`, `tcpdump`, and BIRD as the
 * top-of-rack router. One fleet serves all steps, because bringing it up is what takes time.
 */

import assert from "node:assert/strict";
import { type Lab, until } from "../../src/lab/lab.ts";
import { pings, reportLab } from "../../src/lab/report.ts";
import { isRunning } from "../../src/lab/process.ts";
import { defaultTopology } from "../../src/lab/topology.ts";
import { runTortie, withLab } from "./fleet.ts";

const lines = (text: string) => text.split("\n").map((line) => line.trim()).filter(Boolean);

async function addressOf(lab: Lab, host: string, workload: string): Promise<string> {
  const found = (await lab.api(host).workloads.list()).find(({ name }) => name === workload)?.addresses[0];
  assert.ok(found, `${workload} has an address`);
  return found;
}

async function shows(lab: Lab, member: string, command: readonly string[], pattern: RegExp, patience = 10_000) {
  await until(
    `${member}: ${command.join(" ")} shows ${pattern}`,
    patience,
    async () => pattern.test(await lab.run(member, command, { mayFail: true })),
  );
}

async function hides(lab: Lab, member: string, command: readonly string[], pattern: RegExp, patience = 10_000) {
  await until(
    `${member}: ${command.join(" ")} no longer shows ${pattern}`,
    patience,
    async () => !pattern.test(await lab.run(member, command, { mayFail: true })),
  );
}

Deno.test("three hosts route for their workloads from one YAML file", async (t) => {
  await withLab(defaultTopology, async (lab) => {
    await t.step("a workload has its address, the link-local gateway, and proxy ARP resolves it", async () => {
      const address = await addressOf(lab, "a", "a-web");
      assert.match(address, /^172\.17\.8\.\d+$/);
      assert.deepEqual(lines(await lab.run("a-web", ["ip", "route"])), [
        "default via 169.254.1.1 dev eth0",
        "169.254.1.1 dev eth0 scope link",
      ]);
      assert.match(await lab.run("a-web", ["ip", "-4", "address", "show", "eth0"]), new RegExp(`inet ${address}/32 `));
      assert.ok(await pings(lab, "a-web", "192.168.100.101"));
      assert.match(
        await lab.run("a-web", ["ip", "neigh", "show", "169.254.1.1"]),
        /169\.254\.1\.1 dev eth0 lladdr ee:ee:ee:ee:ee:ee/,
      );
    });

    await t.step("a host's FIB has the shape that was promised", async () => {
      const web = await addressOf(lab, "a", "a-web"), db = await addressOf(lab, "a", "a-db");
      const routes = lines(await lab.run("a", ["ip", "route"]));
      const expected = [
        /^default via 192\.168\.100\.1 dev eth0$/,
        /^10\.99\.0\.0\/16 via 192\.168\.100\.1 dev eth0 proto bird onlink$/,
        new RegExp(`^${web} dev cali[0-9a-f]{11} scope link$`),
        new RegExp(`^${db} dev cali[0-9a-f]{11} scope link$`),
        /^blackhole 172\.17\.8\.0\/26 proto 80$/,
        /^172\.17\.9\.0\/26 via 192\.168\.100\.101 dev eth0 proto bird onlink$/,
        /^172\.17\.10\.0\/26 via 192\.168\.100\.102 dev eth0 proto bird onlink$/,
        /^192\.168\.100\.0\/24 dev eth0 proto kernel scope link src 192\.168\.100\.100$/,
      ];
      for (const pattern of expected) {
        assert.equal(routes.filter((line) => pattern.test(line)).length, 1, `${pattern} in\n${routes.join("\n")}`);
      }
      assert.equal(routes.length, expected.length, routes.join("\n"));
    });

    await t.step("the router has every host's block with its next hop and AS path", async () => {
      for (const [i, host] of lab.topology.hosts.entries()) {
        const block = `172.17.${8 + i}.0/26`, address = `192.168.100.${100 + i}`;
        const own = await lab.birdc("show", "route", block, "protocol", host.name, "all");
        assert.match(own, /BGP\.as_path: 64512\n/);
        assert.match(own, new RegExp(`BGP\\.next_hop: ${address.replaceAll(".", "\\.")}\n`));
        // The other hosts tell it too, and name the host that has the block.
        const every = await lab.birdc("show", "route", block);
        const ways = [...every.matchAll(/via (\S+) on eth0/g)].map((match) => match[1]);
        assert.ok(ways.length >= 1 && ways.every((way) => way === address), every);
      }
    });

    await t.step("what the router originates is in every host's FIB", async () => {
      for (const { name } of lab.topology.hosts) {
        await shows(
          lab,
          name,
          ["ip", "route", "show", "proto", "bird"],
          /^10\.99\.0\.0\/16 via 192\.168\.100\.1 dev eth0/m,
        );
      }
    });

    await t.step("every workload reaches every other", async () => {
      const { reach } = await reportLab(lab);
      const names = lab.topology.hosts.flatMap((host) => host.workloads.map(({ name }) => name));
      assert.deepEqual(Object.keys(reach).sort(), names.sort());
      assert.deepEqual(
        reach,
        Object.fromEntries(names.map((from) => [from, Object.fromEntries(names.map((to) => [to, true]))])),
      );
    });

    await t.step("packets cross the segment with the workloads' own addresses, in no tunnel", async () => {
      const [from, to] = [await addressOf(lab, "a", "a-web"), await addressOf(lab, "b", "b-db")];
      const dump = new Deno.Command("ip", {
        args: [
          "netns",
          "exec",
          lab.namespace("b"),
          "tcpdump",
          "-lnni",
          "eth0",
          "-c",
          "2",
          "net 172.17.0.0/16 or proto 4 or udp port 4789",
        ],
        stdout: "piped",
        stderr: "piped",
      }).spawn();
      const stderr = dump.stderr.getReader();
      let heard = "";
      while (!heard.includes("listening on")) {
        const { value, done } = await stderr.read();
        if (done) break;
        heard += new TextDecoder().decode(value);
      }
      stderr.releaseLock();
      assert.ok(await pings(lab, "a-web", to));
      const { stdout } = await dump.output();
      const packets = lines(new TextDecoder().decode(stdout));
      assert.equal(packets.length, 2, packets.join("\n"));
      assert.match(packets[0] ?? "", new RegExp(` IP ${from} > ${to}: ICMP echo request`));
      assert.match(packets[1] ?? "", new RegExp(` IP ${to} > ${from}: ICMP echo reply`));
    });

    await t.step("the commands of the contract show it, for people and for scripts", async () => {
      const socket = ["--socket", lab.socket("a")];
      const json = async (...args: string[]) => {
        const { code, stdout, stderr } = await runTortie([...args, ...socket, "-o", "json"]);
        assert.equal(code, 0, stderr);
        return JSON.parse(stdout);
      };
      const peers = await json("bgp", "peers") as { peer: string; state: string; as: number; localAs: number }[];
      assert.deepEqual(
        peers.map(({ peer, state, as, localAs }) => [peer, state, as, localAs]).sort(),
        [["192.168.100.1", "Established", 65000, 64512], ["192.168.100.101", "Established", 64512, 64512], [
          "192.168.100.102",
          "Established",
          64512,
          64512,
        ]],
      );
      const [route] = await json("bgp", "routes", "172.17.9.0/26") as {
        prefix: string;
        best: boolean;
        nextHop: string;
      }[];
      assert.deepEqual([route?.prefix, route?.best, route?.nextHop], ["172.17.9.0/26", true, "192.168.100.101"]);
      assert.deepEqual(await json("ipam", "show", "--blocks"), [
        { cidr: "172.17.8.0/26", affinity: "host:a", used: 2, free: 62, borrowed: 0 },
      ]);
      const status = await json("status");
      assert.deepEqual(status.bgp, { established: 3, configured: 3 });
      assert.deepEqual(status.workloads, { ready: 2, total: 2 });
      assert.deepEqual(status.dataplane, { inSync: true, lastError: null });
      assert.equal(status.store.type, "file");
      assert.match((await runTortie(["status", ...socket])).stdout, /^BGP +3 of 3 sessions established$/m);
      assert.match((await runTortie(["get", "ippools", ...socket])).stdout, /^pool-b +172\.17\.9\.0\/24/m);
      assert.match(
        (await runTortie(["get", "wep", ...socket, "-o", "name"])).stdout,
        /^workloadendpoints\/default\/a-tortie-a--web-eth0$/m,
      );
      assert.equal((await runTortie(["ipam", "check", ...socket])).code, 0);
      assert.match((await runTortie(["bgp", "explain", "172.17.10.7", ...socket])).stdout, /^172\.17\.10\.0\/26/);
    });

    await t.step(
      "a bad edit of the file changes nothing, is named in the status, and is forgotten when mended",
      async () => {
        const file = `${lab.dir}/a/tortie.yaml`;
        const good = await Deno.readTextFile(file);
        const before = await lab.run("a", ["ip", "route"]);
        await Deno.writeTextFile(file, good.replace("cidr: 172.17.10.0/24", "cidr: 172.17.8.0/23"));
        const api = lab.api("a");
        await until("the refusal is in the status", 5_000, async () => (await api.status()).config.error !== null);
        assert.match((await api.status()).config.error ?? "", /tortie\.yaml:\d+:\d+: spec\.cidr: .*overlaps/);
        assert.equal(await lab.run("a", ["ip", "route"]), before);
        assert.equal((await runTortie(["reload", "--socket", lab.socket("a")])).code, 1);
        await Deno.writeTextFile(file, good);
        await until("the refusal is gone", 5_000, async () => (await api.status()).config.error === null);
        assert.equal((await api.status()).bgp.established, 3);
      },
    );

    await t.step("a workload moves to another host and is reached there", async () => {
      const old = await addressOf(lab, "a", "a-db");
      await lab.api("a").workloads.detach("a-db");
      const { addresses } = await lab.api("b").workloads.attach({ name: "a-db", netns: lab.namespace("a-db") });
      const now = addresses[0] ?? "";
      assert.match(now, /^172\.17\.9\./);
      assert.ok(await pings(lab, "c-web", now));
      assert.equal(await pings(lab, "c-web", old), false);
      assert.doesNotMatch(await lab.run("a", ["ip", "route"]), new RegExp(`^${old} `, "m"));
      await lab.api("b").workloads.detach("a-db");
      assert.equal((await lab.api("a").workloads.attach({ name: "a-db", netns: lab.namespace("a-db") })).ready, true);
    });

    await t.step("the router restarts: its route goes and comes back, and so do ours on it", async () => {
      const router = lab.process("tor");
      assert.ok(router && isRunning(router));
      Deno.kill(router.pid, "SIGKILL");
      await hides(lab, "a", ["ip", "route"], /^10\.99\.0\.0\/16/m);
      assert.ok(await pings(lab, "a-web", await addressOf(lab, "b", "b-web")), "the mesh does not need the router");
      lab.startRouter();
      await shows(lab, "a", ["ip", "route"], /^10\.99\.0\.0\/16 via 192\.168\.100\.1 dev eth0 proto bird/m, 40_000);
      await until("the router has every block again", 40_000, async () => {
        const table = await lab.birdc("show", "route");
        return ["172.17.8.0/26", "172.17.9.0/26", "172.17.10.0/26"].every((block) => table.includes(block));
      });
    });

    await t.step("a host dies: the others withdraw its block, and take it back when it returns", async () => {
      const node = lab.process("c");
      assert.ok(node && isRunning(node));
      Deno.kill(node.pid, "SIGKILL");
      await hides(lab, "a", ["ip", "route"], /^172\.17\.10\.0\/26/m);
      assert.match(
        await lab.run("c", ["ip", "route"]),
        /^blackhole 172\.17\.10\.0\/26 proto 80/m,
        "its own dataplane stands",
      );
      const host = lab.topology.hosts.find(({ name }) => name === "c");
      assert.ok(host);
      lab.startNode(host);
      await lab.nodeReady("c");
      await shows(lab, "a", ["ip", "route"], /^172\.17\.10\.0\/26 via 192\.168\.100\.102/m, 30_000);
      assert.ok(await pings(lab, "a-web", await addressOf(lab, "c", "c-web")));
    });

    await t.step("the lab's own commands work", async () => {
      // `lab exec` and `lab status` find the lab by its folder below /run; this one lives elsewhere on purpose.
      assert.equal((await runTortie(["lab", "status", "--name", "ttnone"])).code, 1);
    });
  });
});
