/** Interfaces that others made and that workloads come with: taps, tuns, the host's end of somebody's veth. */

import assert from "node:assert/strict";
import { ip, labTest, pings, run, standing, within } from "./workload_lab.ts";

labTest(
  "the host's end of somebody's veth is adopted, and the workload behind it is reached and reaches",
  async (lab) => {
    const agent = await lab.start();
    const db = await agent.workloads.attach({ name: "db", netns: lab.db });
    ip(lab.host, "link", "add", "lxc7", "type", "veth", "peer", "name", "eth0", "netns", lab.web);
    const before = standing(lab.host);
    const web = await agent.workloads.attach({ name: "web", interface: "lxc7", ips: ["172.17.8.7"] });
    assert.deepEqual([web.interface, web.addresses], ["lxc7", ["172.17.8.7"]]);
    // What is inside is its owner's: an address as /32 and the gateway that every workload has.
    ip(lab.web, "address", "add", "172.17.8.7/32", "dev", "eth0");
    ip(lab.web, "link", "set", "eth0", "up");
    ip(lab.web, "route", "add", "169.254.1.1", "dev", "eth0", "scope", "link");
    ip(lab.web, "route", "add", "default", "via", "169.254.1.1", "dev", "eth0");
    await within(
      2_000,
      "it is ready",
      async () => (await agent.workloads.list()).find(({ name }) => name === "web")?.ready === true,
    );
    assert.ok(await pings(lab.web, db.addresses[0] ?? ""), "web pings db");
    assert.ok(await pings(lab.db, "172.17.8.7"), "db pings web");

    const again = await agent.workloads.attach({ name: "web", interface: "lxc7", ips: ["172.17.8.7"] });
    assert.deepEqual([again.interface, again.addresses, again.mac], [web.interface, web.addresses, web.mac]);
    await agent.workloads.detach("web");
    await agent.workloads.detach("web");
    assert.deepEqual(standing(lab.host), before);
    const link = JSON.parse(ip(lab.host, "-j", "link", "show", "lxc7")) as { ifname: string }[];
    assert.equal(link[0]?.ifname, "lxc7", "the interface is its owner's and stays");
  },
);

labTest("a tun has no Ethernet and is adopted all the same", async (lab) => {
  const agent = await lab.start();
  ip(lab.host, "tuntap", "add", "tun7", "mode", "tun");
  const vpn = await agent.workloads.attach({ name: "vpn", interface: "tun7" });
  await within(
    2_000,
    "its route stands",
    () => new RegExp(`^${vpn.addresses[0]} dev tun7 .*scope link`, "m").test(ip(lab.host, "route")),
  );
  assert.match(ip(lab.host, "link", "show", "tun7"), /[<,]UP[,>]/);
  await agent.workloads.detach("vpn");
  assert.doesNotMatch(ip(lab.host, "route"), /tun7/);
});

labTest("a tap that goes with its machine and comes again has its route again within a second", async (lab) => {
  const agent = await lab.start();
  ip(lab.host, "tuntap", "add", "vm0", "mode", "tap");
  const vm = await agent.workloads.attach({ name: "vm", tap: "vm0" });
  const route = new RegExp(`^${vm.addresses[0]} dev vm0 .*scope link`, "m");
  assert.match(ip(lab.host, "route"), route);
  ip(lab.host, "tuntap", "del", "vm0", "mode", "tap");
  await within(1_000, "it is said not to be ready", async () => (await agent.workloads.list())[0]?.ready === false);
  ip(lab.host, "tuntap", "add", "vm0", "mode", "tap");
  await within(1_000, "the route is back", () => route.test(ip(lab.host, "route")));
  for (const [name, value] of [["proxy_arp", "1"], ["rp_filter", "1"], ["forwarding", "1"]]) {
    assert.equal((await run(lab.host, "cat", `/proc/sys/net/ipv4/conf/vm0/${name}`)).text.trim(), value, name);
  }
  assert.equal((await agent.workloads.list())[0]?.ready, true);
});

labTest("an adopted interface stands over a restart of the agent without a change", async (lab) => {
  let agent = await lab.start();
  ip(lab.host, "tuntap", "add", "vm0", "mode", "tap");
  await agent.workloads.attach({ name: "vm", tap: "vm0" });
  const before = standing(lab.host);
  await agent.stop();
  const heard: string[] = [];
  const unwatch = lab.kernel.watch((event) => {
    if (event.type === "route") heard.push(`${event.isGone ? "-" : "+"} ${event.route.destination}`);
  });
  agent = await lab.start();
  await within(2_000, "it is ready", async () => (await agent.workloads.list())[0]?.ready === true);
  unwatch();
  assert.deepEqual(standing(lab.host), before);
  assert.deepEqual(heard, []);
});
