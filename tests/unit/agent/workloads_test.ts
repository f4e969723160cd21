/**
 * Attach and detach on the in-memory kernel: what they make, what they refuse and why, and that they can be repeated.
 */

import assert from "node:assert/strict";
import { eventually, makeMachine, putPool, startScene, traces } from "./scene.ts";
import { MemoryStore } from "../../../src/store/memory.ts";

async function startWithPool(families: readonly (4 | 6)[] = [4]) {
  const machine = await makeMachine();
  const store = new MemoryStore();
  if (families.includes(4)) await putPool(store, "v4", "172.17.8.0/24");
  if (families.includes(6)) await putPool(store, "v6", "fd00:8::/64");
  machine.namespace("web");
  machine.namespace("db");
  return await startScene({ machine, store });
}

Deno.test("attach makes veth, addresses, routes, neighbour, sysctls and endpoint, and answers when they stand", async () => {
  const scene = await startWithPool();
  try {
    const workload = await scene.agent.workloads.attach({ name: "web", netns: "web", labels: { role: "web" } });
    assert.match(workload.interface, /^cali[0-9a-f]{11}$/);
    assert.equal(workload.ready, true);
    assert.deepEqual(workload.labels, { role: "web" });
    const [address = ""] = workload.addresses;
    const host = scene.machine.handle("host"), inside = scene.machine.handle("web");

    const link = await host.links.get(workload.interface);
    assert.equal(link?.mac, "ee:ee:ee:ee:ee:ee");
    assert.equal(link?.isRunning, true);
    assert.equal(link?.alias, "tortie:a-tortie-web-eth0");
    const routes = (await host.fib.list({ protocol: 3 })).map((
      route,
    ) => [`${route.destination}`, route.scope, route.metric]);
    assert.deepEqual(routes, [[`${address}/32`, 253, 0]]);
    const [neighbour] = await host.neighbours.list();
    assert.deepEqual([`${neighbour?.ip}`, neighbour?.mac, neighbour?.state], [address, workload.mac, 0x80]);
    for (
      const [path, value] of [
        [`net/ipv4/conf/${workload.interface}/proxy_arp`, "1"],
        [`net/ipv4/neigh/${workload.interface}/proxy_delay`, "0"],
        [`net/ipv4/conf/${workload.interface}/rp_filter`, "1"],
        [`net/ipv6/conf/${workload.interface}/accept_ra`, "0"],
        ["net/ipv4/ip_forward", "1"],
      ] as const
    ) assert.equal(await host.sysctl.read(path), value, path);

    const eth0 = await inside.links.get("eth0");
    assert.equal(eth0?.mac, workload.mac);
    assert.equal((await inside.links.get("lo"))?.isUp, true);
    const insideRoutes = (await inside.fib.list({ table: 254, family: 4 })).map((route) =>
      `${route.destination} ${route.nexthops[0]?.gateway ?? "on link"}`
    );
    assert.deepEqual(insideRoutes, ["169.254.1.1/32 on link", "0.0.0.0/0 169.254.1.1"]);
    const addresses = (await inside.links.addresses()).filter(({ index }) => index === eth0?.index);
    assert.deepEqual(addresses.map(({ net }) => `${net.ip}/${net.length}`), [`${address}/32`]);
  } finally {
    await scene.agent.stop();
  }
});

Deno.test("with pools of both families a workload gets an address of each, and its IPv6 gateway is the host end", async () => {
  const scene = await startWithPool([4, 6]);
  try {
    const workload = await scene.agent.workloads.attach({ name: "web", netns: "web" });
    assert.equal(workload.addresses.length, 2);
    const inside = scene.machine.handle("web");
    const routes = (await inside.fib.list({ table: 254, family: 6 })).filter(({ protocol }) => protocol === 3);
    assert.deepEqual(routes.map(({ nexthops }) => `${nexthops[0]?.gateway}`), ["fe80::ecee:eeff:feee:eeee"]);
    assert.equal(await inside.sysctl.read("net/ipv6/conf/eth0/accept_dad"), "0");
  } finally {
    await scene.agent.stop();
  }
});

Deno.test("the same attach again, also at the same time, gives the same answer and makes nothing anew", async () => {
  const scene = await startWithPool();
  try {
    const request = { name: "web", netns: "web", labels: { role: "web" } };
    const [first, second] = await Promise.all([
      scene.agent.workloads.attach(request),
      scene.agent.workloads.attach(request),
    ]);
    assert.deepEqual(second, first);
    assert.deepEqual(await scene.agent.workloads.attach(request), first);
    assert.equal((await traces(scene)).filter((line) => line.startsWith("link")).length, 1);
  } finally {
    await scene.agent.stop();
  }
});

Deno.test("another request for an attached name is refused with what differs", async () => {
  const scene = await startWithPool();
  try {
    await scene.agent.workloads.attach({ name: "web", netns: "web", labels: { role: "web" } });
    await assert.rejects(
      scene.agent.workloads.attach({ name: "web", netns: "db", labels: { role: "db" }, profiles: ["p"] }),
      {
        message:
          "Cannot attach web: it is attached already, and the namespace is web, not db, the labels are role=web, " +
          "not role=db, the profiles are projectcalico-default-allow, not p; detach it first",
      },
    );
  } finally {
    await scene.agent.stop();
  }
});

Deno.test("refusals say what is wrong and leave nothing behind", async () => {
  const scene = await startWithPool();
  try {
    const { attach } = scene.agent.workloads;
    await attach({ name: "db", netns: "db", ips: ["172.17.8.9"] });
    const before = await traces(scene);
    const cases: [Parameters<typeof attach>[0], RegExp][] = [
      [{ name: "web", netns: "gone" }, /there is no network namespace gone .*create it first/],
      [{ name: "Web!", netns: "web" }, /a name is 1 to 128 of/],
      [{ name: "web" }, /exactly one of/],
      [{ name: "web", netns: "web", tap: "tap0" }, /exactly one of/],
      [{ name: "web", netns: "web", ips: ["172.17.8.9"] }, /172\.17\.8\.9/],
      [{ name: "web", netns: "web", ips: ["10.1.1.1"] }, /10\.1\.1\.1/],
      [{ name: "web", netns: "web", ips: ["10.1.1.1/24"] }, /not an IP address/],
      [{ name: "web", netns: "web", mtu: 5 }, /MTU 5/],
      [{ name: "web", tap: "tap0" }, /there is no interface tap0/],
      [{ name: "web", tap: "eth0" }, /not a tap/],
      [{ name: "web", netns: "db" }, /already has an interface eth0/],
      [{ name: "web", netns: "web", labels: { "projectcalico.org/orchestrator": "x" } }, /set by tortie itself/],
    ];
    for (const [request, message] of cases) {
      await assert.rejects(attach(request), message);
      assert.deepEqual(await traces(scene), before, JSON.stringify(request));
    }
  } finally {
    await scene.agent.stop();
  }
});

Deno.test("detach takes everything off and is idempotent, also when the namespace has gone", async () => {
  const scene = await startWithPool();
  try {
    await scene.agent.workloads.attach({ name: "web", netns: "web" });
    await scene.agent.workloads.attach({ name: "db", netns: "db" });
    await scene.agent.workloads.detach("web");
    assert.equal((await traces(scene)).length, 5);
    scene.machine.destroy("db");
    await scene.agent.workloads.detach("db");
    await scene.agent.workloads.detach("db");
    await scene.agent.workloads.detach("never-there");
    assert.deepEqual(await traces(scene), []);
    assert.deepEqual(await scene.agent.workloads.list(), []);
  } finally {
    await scene.agent.stop();
  }
});

Deno.test("an interface of the user's own is adopted as it is and left in place by detach", async () => {
  const scene = await startWithPool();
  try {
    const host = scene.machine.handle("host");
    await host.links.createVeth({
      name: "vm0",
      mac: "02:00:00:00:00:33",
      peerName: "nic",
      peerNamespace: scene.machine.handle("web"),
    });
    const workload = await scene.agent.workloads.attach({ name: "vm", interface: "vm0", ips: ["172.17.8.77"] });
    assert.deepEqual([workload.interface, workload.addresses, workload.ready], ["vm0", ["172.17.8.77"], true]);
    const [route] = await host.fib.list({ protocol: 80, family: 4 }).then((routes) =>
      routes.filter(({ type }) => type === "unicast")
    );
    assert.equal(`${route?.destination}`, "172.17.8.77/32");
    assert.equal((await host.links.get("vm0"))?.mac, "02:00:00:00:00:33");
    await assert.rejects(scene.agent.workloads.attach({ name: "vm2", interface: "vm0" }), /belongs to the workload vm/);
    await scene.agent.workloads.detach("vm");
    assert.deepEqual(await traces(scene), ["link vm0"]);
    assert.equal(await host.sysctl.read("net/ipv4/conf/vm0/proxy_arp"), "0");
  } finally {
    await scene.agent.stop();
  }
});

Deno.test("an interface that somebody deletes is made again with the same addresses and MAC", async () => {
  const scene = await startWithPool();
  try {
    const workload = await scene.agent.workloads.attach({ name: "web", netns: "web" });
    const host = scene.machine.handle("host");
    const link = await host.links.get(workload.interface);
    await host.links.delete(link?.index ?? 0);
    await eventually("the interface is back and ready", async () => {
      const [again] = await scene.agent.workloads.list();
      return again?.ready === true && await host.links.get(workload.interface) !== undefined;
    });
    const inside = await scene.machine.handle("web").links.get("eth0");
    assert.equal(inside?.mac, workload.mac);
    assert.deepEqual(await scene.agent.workloads.list(), [workload]);
  } finally {
    await scene.agent.stop();
  }
});

Deno.test("a workload whose namespace has gone is listed as not ready, and attached again once it is back", async () => {
  const scene = await startWithPool();
  try {
    const workload = await scene.agent.workloads.attach({ name: "web", netns: "web" });
    scene.machine.destroy("web");
    await eventually("it is not ready", async () => (await scene.agent.workloads.list())[0]?.ready === false);
    await assert.rejects(scene.agent.workloads.attach({ name: "web", netns: "web" }), /no network namespace web/);
    scene.machine.namespace("web");
    assert.deepEqual(await scene.agent.workloads.attach({ name: "web", netns: "web" }), workload);
  } finally {
    await scene.agent.stop();
  }
});

Deno.test("an endpoint that another program made is not detached", async () => {
  const scene = await startWithPool();
  try {
    const key = "/calico/resources/v3/projectcalico.org/workloadendpoints/default/a-cni-0123-eth0";
    const endpoint = {
      kind: "WorkloadEndpoint",
      apiVersion: "projectcalico.org/v3",
      metadata: { name: "a-cni-0123-eth0", namespace: "default" },
      spec: { orchestrator: "cni", node: "a", containerID: "0123", endpoint: "eth0", interfaceName: "cali0123" },
    };
    await scene.store.put(key, JSON.stringify(endpoint));
    await eventually("it is listed", async () => (await scene.agent.workloads.list()).length === 1);
    await assert.rejects(scene.agent.workloads.detach("0123"), /another program attached it \(a-cni-0123-eth0\)/);
    assert.notEqual(await scene.store.get(key), undefined);
  } finally {
    await scene.agent.stop();
  }
});

Deno.test("a container of a CNI runtime is attached under its id, with Calico's interface name, and detached by its name", async () => {
  const scene = await startWithPool();
  try {
    const containerID = "0a1b2c3d4e5f67890";
    const request = { name: `${containerID}/eth0`, containerID, orchestrator: "cni", netns: "web", profiles: ["net1"] };
    const workload = await scene.agent.workloads.attach(request);
    assert.deepEqual([workload.name, workload.interface], [request.name, "cali0a1b2c3d4e5"]);
    assert.ok((await traces(scene)).includes(`endpoint a-cni-${containerID}-eth0`));
    assert.deepEqual(await scene.agent.workloads.attach(request), workload);
    await scene.agent.workloads.detach(request.name);
    assert.deepEqual(await traces(scene), []);
  } finally {
    await scene.agent.stop();
  }
});

Deno.test("a process id that has come to mean another namespace does not get the workload's interface", async () => {
  const scene = await startWithPool();
  try {
    scene.machine.namespace("4711");
    await scene.agent.workloads.attach({ name: "web", netns: "4711" });
    scene.machine.destroy("4711");
    scene.machine.namespace("4711");
    await assert.rejects(
      scene.agent.workloads.attach({ name: "web", netns: "4711" }),
      /process 4711 is in another network namespace than when it was attached; detach it first/,
    );
    assert.equal(await scene.machine.handle("4711").links.get("eth0"), undefined);
  } finally {
    await scene.agent.stop();
  }
});

Deno.test("a workload's MTU is what fits the uplink and the pool's tunnel, or what was asked for", async () => {
  const scene = await startWithPool();
  try {
    const host = scene.machine.handle("host");
    await host.links.change((await host.links.get("eth0"))?.index ?? 0, { mtu: 9000 });
    const pool = { metadata: { name: "v4" }, spec: { cidr: "172.17.8.0/24", ipipMode: "Always" } };
    await scene.store.put(
      "/calico/resources/v3/projectcalico.org/ippools/v4",
      JSON.stringify({ kind: "IPPool", apiVersion: "projectcalico.org/v3", ...pool }),
    );
    await eventually("the pool is known", () => {
      const known = scene.agent.snapshot.all("IPPool").get("v4");
      return known?.spec.ipipMode === "Always";
    });
    await scene.agent.workloads.attach({ name: "web", netns: "web" });
    await scene.agent.workloads.attach({ name: "db", netns: "db", mtu: 1300 });
    assert.equal((await scene.machine.handle("web").links.get("eth0"))?.mtu, 8980);
    assert.equal((await scene.machine.handle("db").links.get("eth0"))?.mtu, 1300);
  } finally {
    await scene.agent.stop();
  }
});
