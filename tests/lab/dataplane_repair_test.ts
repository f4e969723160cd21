/**
 * A standing dataplane in the real kernel against vandalism, foreign objects and restarts: what is ours comes back in
 * time, what is not stays. Debian's `ip` does the damage and reads the result; `ping` tells whether a flow survives.
 */

import assert from "node:assert/strict";
import { ip, labTest, pings, run, standing, within } from "./workload_lab.ts";

labTest("whatever others do to our routes, neighbours and links is repaired within a second", async (lab) => {
  const agent = await lab.start();
  const web = await agent.workloads.attach({ name: "web", netns: lab.web });
  const db = await agent.workloads.attach({ name: "db", netns: lab.db });
  const [webIp = "", dbIp = ""] = [web.addresses[0], db.addresses[0]];
  const iface = web.interface;
  const before = standing(lab.host);
  const block = before.find((line) => line.startsWith("blackhole"))?.split(" ")[1] ?? "";
  const vandalism: [string, string[]][] = [
    ["a workload's route is deleted", ["route", "del", webIp]],
    ["the blackhole is deleted", ["route", "del", "blackhole", block]],
    ["routes of protocol boot are flushed", ["route", "flush", "proto", "boot"]],
    ["routes of protocol 80 are flushed", ["route", "flush", "proto", "80"]],
    ["the routes of the interface are flushed", ["route", "flush", "dev", iface]],
    ["a workload's route is changed", ["route", "change", webIp, "dev", db.interface, "scope", "link"]],
    ["a route of ours is added", ["route", "add", "blackhole", "10.99.0.0/16", "proto", "80"]],
    ["the neighbour is deleted", ["neigh", "del", webIp, "dev", iface]],
    ["the neighbour is changed", ["neigh", "replace", webIp, "dev", iface, "lladdr", "02:00:00:00:00:99"]],
    ["the link is taken down", ["link", "set", iface, "down"]],
    ["the MAC is changed", ["link", "set", iface, "address", "02:00:00:00:00:98"]],
    ["the link is renamed", ["link", "set", iface, "name", "stolen"]],
  ];
  for (const [what, command] of vandalism) {
    ip(lab.host, ...command);
    await within(1_000, what, () => standing(lab.host).join("\n") === before.join("\n"));
    const link = ip(lab.host, "link", "show", iface);
    assert.match(link, /state UP[\s\S]*ee:ee:ee:ee:ee:ee/, what);
  }
  ip(lab.host, "link", "set", iface, "down");
  ip(lab.host, "link", "set", iface, "up");
  await within(1_000, "the link goes down and up", () => standing(lab.host).join("\n") === before.join("\n"));
  ip(lab.host, "route", "flush", "table", "main");
  await within(
    1_000,
    "the main table is flushed",
    () => [webIp, dbIp, block].every((destination) => ip(lab.host, "route").includes(destination)),
  );
  assert.ok(await pings(lab.web, dbIp));
  assert.equal(agent.status().dataplane.lastError, null);
});

labTest("somebody else's links, routes, neighbours and addresses are never touched", async (lab) => {
  ip(lab.host, "link", "add", "br0", "type", "bridge");
  ip(lab.host, "link", "set", "br0", "up");
  ip(lab.host, "address", "add", "198.51.100.1/24", "dev", "br0");
  ip(lab.host, "neigh", "add", "198.51.100.7", "dev", "br0", "lladdr", "02:00:00:00:00:07", "nud", "permanent");
  const foreign = [
    ["203.0.113.0/24", "via", "192.0.2.2", "proto", "static"],
    ["10.1.0.0/16", "via", "192.0.2.2", "proto", "bird"],
    ["10.2.0.0/16", "dev", "br0", "proto", "boot"],
    ["blackhole", "10.3.0.0/16", "proto", "bird"],
    ["10.4.0.0/16", "via", "192.0.2.2", "proto", "80"],
  ];
  for (const route of foreign) ip(lab.host, "route", "add", ...route);
  ip(lab.host, "route", "add", "10.5.0.0/16", "via", "192.0.2.2", "table", "77", "proto", "boot");
  const before = standing(lab.host);
  const table77 = ip(lab.host, "route", "show", "table", "77");
  for (let round = 0; round < 2; round++) {
    const agent = await lab.start();
    await agent.workloads.attach({ name: "web", netns: lab.web });
    for (const line of before) assert.ok(standing(lab.host).includes(line), line);
    await agent.workloads.detach("web");
    await agent.stop();
  }
  assert.deepEqual(standing(lab.host).filter((line) => !line.startsWith("blackhole 172.17.8.")), before);
  assert.equal(ip(lab.host, "route", "show", "table", "77"), table77);
});

labTest(
  "a route of somebody else's in the place of ours stays, is reported, and ours comes when it goes",
  async (lab) => {
    const agent = await lab.start();
    ip(lab.host, "route", "add", "172.17.8.50/32", "via", "192.0.2.2", "proto", "static");
    await assert.rejects(
      agent.workloads.attach({ name: "web", netns: lab.web, ips: ["172.17.8.50"] }),
      /172\.17\.8\.50\/32 .*: a route of another program stands in its place; delete that one/,
    );
    assert.match(ip(lab.host, "route"), /172\.17\.8\.50 via 192\.0\.2\.2 dev eth0 proto static/);
    ip(lab.host, "route", "del", "172.17.8.50/32");
    const web = await agent.workloads.attach({ name: "web", netns: lab.web, ips: ["172.17.8.50"] });
    assert.equal(web.ready, true);
  },
);

labTest(
  "a restart with a changed configuration applies only the difference and loses no ping of a 10 ms flow",
  async (lab) => {
    let agent = await lab.start();
    const web = await agent.workloads.attach({ name: "web", netns: lab.web });
    const db = await agent.workloads.attach({ name: "db", netns: lab.db });
    const dbIp = db.addresses[0] ?? "";
    assert.ok(await pings(lab.web, dbIp));
    const before = standing(lab.host);

    const ping = new Deno.Command("ip", {
      args: ["netns", "exec", lab.web, "ping", "-n", "-i", "0.01", "-w", "4", dbIp],
      stdout: "piped",
    }).spawn();
    const changes: string[] = [];
    const unwatch = lab.kernel.watch((event) => {
      if (event.type === "route") changes.push(`${event.isGone ? "-" : "+"} ${event.route.destination}`);
      if (event.type === "link") changes.push(`link ${event.link.name}`);
      if (event.type === "neighbour" && event.neighbour.state === 0x80) changes.push(`neighbour ${event.neighbour.ip}`);
    });
    try {
      for (let restart = 0; restart < 3; restart++) {
        await agent.stop();
        const pool = {
          kind: "IPPool",
          apiVersion: "projectcalico.org/v3",
          metadata: { name: `more${restart}` },
          spec: {},
        };
        const key = `/calico/resources/v3/projectcalico.org/ippools/more${restart}`;
        await lab.store.put(key, JSON.stringify({ ...pool, spec: { cidr: `172.18.${restart}.0/24` } }));
        const affinity = `/calico/ipam/v2/host/a/ipv4/block/172.18.${restart}.0-26`;
        const block = `/calico/ipam/v2/assignment/ipv4/block/172.18.${restart}.0-26`;
        const free = Array.from({ length: 64 }, (_, i) => i);
        await lab.store.put(affinity, JSON.stringify({ state: "confirmed", deleted: false }));
        await lab.store.put(
          block,
          JSON.stringify({
            cidr: `172.18.${restart}.0/26`,
            affinity: "host:a",
            allocations: free.map(() => null),
            unallocated: free,
            attributes: [],
            deleted: false,
          }),
        );
        agent = await lab.start();
        await within(
          2_000,
          "the new block's route stands",
          () => ip(lab.host, "route").includes(`blackhole 172.18.${restart}.0/26`),
        );
      }
      await within(2_000, "the kernel has reported three changes", () => changes.length >= 3);
    } finally {
      unwatch();
    }
    const report = new TextDecoder().decode((await ping.output()).stdout);
    const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(report) ?? [];
    assert.equal(received, sent, report.slice(-300));
    assert.ok(Number(sent) > 200, report.slice(-300));
    assert.deepEqual(changes, ["+ 172.18.0.0/26", "+ 172.18.1.0/26", "+ 172.18.2.0/26"]);
    for (const line of before) assert.ok(standing(lab.host).includes(line), line);
    assert.deepEqual((await agent.workloads.list()).map(({ ready }) => ready), [true, true]);
    assert.equal(web.ready, true);
  },
);

labTest("a veth that somebody deletes is made again, and the workload is reachable as before", async (lab) => {
  const agent = await lab.start();
  const web = await agent.workloads.attach({ name: "web", netns: lab.web });
  ip(lab.host, "link", "del", web.interface);
  await within(
    2_000,
    "it is ready again",
    async () =>
      (await agent.workloads.list())[0]?.ready === true &&
      (await run(lab.host, "ping", "-c1", "-w1", web.addresses[0] ?? "")).code === 0,
  );
  assert.match(ip(lab.web, "link", "show", "eth0"), new RegExp(web.mac ?? "no mac"));
});
