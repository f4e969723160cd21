/**
 * Attach, detach and taking down on the real kernel, as Debian's `ip` and `ping` and /proc/sys see them from the host
 * and from inside the workloads.
 */

import assert from "node:assert/strict";
import { ip, labTest, pings, run, standing } from "./workload_lab.ts";
import { takeDown } from "../../src/agent/down.ts";

labTest("two workloads reach each other and the host, and their gateway is ee:ee:ee:ee:ee:ee", async (lab) => {
  const agent = await lab.start();
  const web = await agent.workloads.attach({ name: "web", netns: lab.web, labels: { role: "web" } });
  const db = await agent.workloads.attach({ name: "db", netns: lab.db, ips: ["172.17.8.99"] });
  assert.deepEqual(db.addresses, ["172.17.8.99"]);
  const [webIp = "", dbIp = ""] = [web.addresses[0], db.addresses[0]];

  assert.ok(await pings(lab.web, dbIp), "web pings db");
  assert.ok(await pings(lab.db, webIp), "db pings web");
  assert.ok(await pings(lab.host, webIp), "the host pings web");
  assert.ok(await pings(lab.web, "192.0.2.1"), "web pings the host");

  assert.match(ip(lab.web, "neigh", "show", "169.254.1.1"), /dev eth0 lladdr ee:ee:ee:ee:ee:ee/);
  const routes = ip(lab.host, "route");
  assert.match(routes, new RegExp(`${webIp} dev ${web.interface} scope link`));
  assert.match(routes, /blackhole 172\.17\.8\.\d+\/26 proto 80/);
  assert.match(ip(lab.host, "neigh", "show", webIp), new RegExp(`lladdr ${web.mac} PERMANENT`));
  assert.match(
    ip(lab.host, "-d", "link", "show", web.interface),
    /ee:ee:ee:ee:ee:ee[\s\S]*alias tortie:a-tortie-web-eth0/,
  );
  assert.match(ip(lab.web, "route"), /default via 169\.254\.1\.1 dev eth0\s[\s\S]*169\.254\.1\.1 dev eth0 scope link/);
  assert.match(ip(lab.web, "address", "show", "dev", "eth0"), new RegExp(`inet ${webIp}/32`));
  for (const [name, value] of [["proxy_arp", "1"], ["rp_filter", "1"], ["route_localnet", "1"], ["forwarding", "1"]]) {
    const { text } = await run(lab.host, "cat", `/proc/sys/net/ipv4/conf/${web.interface}/${name}`);
    assert.equal(text.trim(), value, name);
  }
  assert.deepEqual((await agent.workloads.list()).map(({ name, ready }) => [name, ready]), [["db", true], [
    "web",
    true,
  ]]);
});

labTest("with an IPv6 pool workloads reach each other over IPv6 at once", async (lab) => {
  const agent = await lab.start();
  const web = await agent.workloads.attach({ name: "web", netns: lab.web });
  const db = await agent.workloads.attach({ name: "db", netns: lab.db });
  const v6 = (addresses: readonly string[]) => addresses.find((address) => address.includes(":")) ?? "";
  assert.equal(web.addresses.length, 2);
  assert.ok(await pings(lab.web, v6(db.addresses)), "web pings db");
  assert.ok(await pings(lab.host, v6(web.addresses)), "the host pings web");
  assert.match(ip(lab.web, "-6", "route"), /default via fe80::ecee:eeff:feee:eeee dev eth0/);
}, { hasIpv6: true });

labTest("detach leaves the host and the namespace as they were", async (lab) => {
  const agent = await lab.start();
  const before = standing(lab.host), inside = standing(lab.web);
  await agent.workloads.attach({ name: "web", netns: lab.web });
  assert.notDeepEqual(standing(lab.host), before);
  await agent.workloads.detach("web");
  const blockless = standing(lab.host).filter((line) => !line.startsWith("blackhole"));
  assert.deepEqual(blockless, before);
  assert.deepEqual(standing(lab.web).filter((line) => line !== "lo"), inside.filter((line) => line !== "lo"));
  assert.deepEqual(await agent.workloads.list(), []);
});

labTest("a tap is adopted with its name and left to its owner by detach", async (lab) => {
  const agent = await lab.start();
  ip(lab.host, "tuntap", "add", "vm0", "mode", "tap");
  const mac = (JSON.parse(ip(lab.host, "-j", "link", "show", "vm0")) as { address: string }[])[0]?.address;
  const vm = await agent.workloads.attach({ name: "vm", tap: "vm0" });
  assert.deepEqual([vm.interface, vm.mac, vm.ready], ["vm0", mac, true]);
  assert.match(ip(lab.host, "route"), new RegExp(`${vm.addresses[0]} dev vm0 proto 80 scope link`));
  await agent.workloads.detach("vm");
  assert.doesNotMatch(ip(lab.host, "route"), /vm0/);
  assert.match(ip(lab.host, "link", "show", "vm0"), new RegExp(mac ?? "no mac"));
  assert.equal((await run(lab.host, "cat", "/proc/sys/net/ipv4/conf/vm0/proxy_arp")).text.trim(), "0");
});

labTest("taking the dataplane down removes what bears our mark and nothing else", async (lab) => {
  ip(lab.host, "link", "add", "caliother", "type", "veth", "peer", "name", "other0");
  ip(lab.host, "route", "add", "203.0.113.0/24", "via", "192.0.2.2", "proto", "static");
  ip(lab.host, "route", "add", "blackhole", "198.51.100.0/24", "proto", "bird");
  const before = standing(lab.host);
  const agent = await lab.start();
  await agent.workloads.attach({ name: "web", netns: lab.web });
  ip(lab.host, "tuntap", "add", "vm0", "mode", "tap");
  await agent.workloads.attach({ name: "vm", tap: "vm0" });
  await agent.stop();
  const taken = await takeDown(lab.kernel);
  assert.deepEqual(taken.errors, []);
  assert.deepEqual(standing(lab.host).filter((line) => line !== "vm0"), before);
  assert.equal((await run(lab.host, "cat", "/proc/sys/net/ipv4/conf/vm0/proxy_arp")).text.trim(), "0");
});

labTest("errors of the kernel and of the request are one line that says how to mend it", async (lab) => {
  const agent = await lab.start();
  await agent.workloads.attach({ name: "db", netns: lab.db });
  const cases: [Parameters<typeof agent.workloads.attach>[0], RegExp][] = [
    [{ name: "x", netns: "ttF-no-such" }, /there is no network namespace ttF-no-such .*create it first$/],
    [{ name: "x", netns: lab.db }, /already has an interface eth0/],
    [{ name: "x", netns: lab.host }, /the host's own network namespace/],
    [{ name: "x", tap: "tap9" }, /there is no interface tap9 on this host; create it first$/],
    [{ name: "x", tap: "eth0" }, /eth0 is not a tap; give it as an interface$/],
    [{ name: "x", netns: lab.web, ips: ["8.8.8.8"] }, /8\.8\.8\.8/],
  ];
  const before = standing(lab.host);
  for (const [request, message] of cases) {
    await assert.rejects(agent.workloads.attach(request), (error: Error) => {
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /\n/);
      return true;
    });
    assert.deepEqual(standing(lab.host), before);
  }
});
