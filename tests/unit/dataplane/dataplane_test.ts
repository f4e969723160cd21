/**
 * The reconcilers together on the in-memory kernel, one case of damage, gate or fault each; its log of operations shows
 * what it cost.
 */

import assert from "node:assert/strict";
import { makeDataplane } from "../../../src/dataplane/dataplane.ts";
import { isOurRoute } from "../../../src/dataplane/ownership.ts";
import { isSameRoute, routeKey } from "../../../src/dataplane/route_reconciler.ts";
import { FakeClock } from "../../../src/lib/fake_clock.ts";
import type { Kernel, Route } from "../../../src/dataplane/ports.ts";
import { blackhole, converge, desiredState, makeHost, permanent, settle, workloadRoute } from "./converge.ts";

async function start() {
  const host = await makeHost();
  const clock = new FakeClock();
  const dataplane = makeDataplane(host.kernel, clock);
  host.kernel.watch((event) => void dataplane.observe(event));
  const index = async (name: string) => (await host.outside.links.get(name))?.index ?? 0;
  const cali0 = await index("cali0");
  const desired = desiredState({
    links: ["cali0"],
    routes: [workloadRoute("10.0.0.1", cali0), blackhole("10.0.0.0/26")],
    neighbours: [permanent("10.0.0.1", cali0, "02:00:00:00:00:07")],
    sysctls: [["net/ipv4/conf/cali0/proxy_arp", "1"], ["net/ipv4/ip_forward", "1"]],
  });
  dataplane.desire(desired);
  await converge(dataplane, clock);
  return { ...host, clock, dataplane, desired, cali0, index };
}

async function routesOf(kernel: Kernel): Promise<string[]> {
  return (await kernel.fib.list({ table: 254 })).filter((route) => route.protocol !== 2).map((route) =>
    `${route.type} ${route.destination} proto ${route.protocol}`
  ).sort();
}

const standing = ["blackhole 10.0.0.0/26 proto 80", "unicast 10.0.0.1/32 proto 3"];

Deno.test("desired links, routes, neighbours and sysctls are put into the kernel", async () => {
  const { outside } = await start();
  assert.deepEqual(await routesOf(outside), standing);
  assert.equal(await outside.sysctl.read("net/ipv4/conf/cali0/proxy_arp"), "1");
  assert.equal((await outside.neighbours.list()).length, 1);
});

Deno.test("a settled dataplane has no operation left to make", async () => {
  const { dataplane, faults, desired } = await start();
  faults.operations.length = 0;
  dataplane.desire(desired);
  await dataplane.apply({ mayRemove: true });
  assert.deepEqual(faults.operations, []);
});

Deno.test("a route that somebody deletes is repaired from the event alone, without reading the table", async () => {
  const { dataplane, outside, faults } = await start();
  await outside.fib.apply([{ action: "delete", route: blackhole("10.0.0.0/26") }]);
  await settle();
  faults.operations.length = 0;
  await dataplane.apply({ mayRemove: true });
  assert.deepEqual(await routesOf(outside), standing);
  assert.deepEqual(faults.operations, ["route batch", "route add 10.0.0.0/26"]);
});

Deno.test("a link that went down and up gets its routes and neighbours back", async () => {
  const { dataplane, clock, outside, cali0 } = await start();
  await outside.links.change(cali0, { isUp: false });
  assert.deepEqual(await routesOf(outside), ["blackhole 10.0.0.0/26 proto 80"]);
  await outside.links.change(cali0, { isUp: true });
  await converge(dataplane, clock);
  assert.deepEqual(await routesOf(outside), standing);
  assert.equal((await outside.neighbours.list()).length, 1);
});

Deno.test("reports of a link from before our route was written are no reason to take the route for another's", async () => {
  const { dataplane, outside, cali0 } = await start();
  const link = await outside.links.get("cali0");
  assert.ok(link);
  for (const isUp of [false, true]) dataplane.observe({ type: "link", isGone: false, link: { ...link, isUp } });
  const { failures } = await dataplane.apply({ mayRemove: true });
  assert.deepEqual(failures, []);
  assert.equal(dataplane.stands(workloadRoute("10.0.0.1", cali0)), true);
  assert.deepEqual(await routesOf(outside), standing);
});

Deno.test("a link that is left down, renamed and given another MAC is put back as it was", async () => {
  const { dataplane, clock, outside, cali0 } = await start();
  await outside.links.change(cali0, { isUp: false, name: "other", mac: "02:00:00:00:00:09" });
  const took = await converge(dataplane, clock);
  const link = await outside.links.get("cali0");
  assert.equal(link?.isUp, true);
  assert.equal(link?.mac, "ee:ee:ee:ee:ee:ee");
  assert.deepEqual(await routesOf(outside), standing);
  assert.ok(took < 1_000);
});

Deno.test("a foreign route in the place of ours is not overwritten, is reported, and ours returns when it goes", async () => {
  const { dataplane, clock, outside, index } = await start();
  const foreign: Route = { ...workloadRoute("10.0.0.1", await index("eth0")), protocol: 4 };
  await outside.fib.apply([{ action: "replace", route: foreign }]);
  await converge(dataplane, clock);
  assert.deepEqual(await routesOf(outside), ["blackhole 10.0.0.0/26 proto 80", "unicast 10.0.0.1/32 proto 4"]);
  assert.match(dataplane.failures()[0]?.error.message ?? "", /another program/);
  await outside.fib.apply([{ action: "delete", route: foreign }]);
  await settle();
  await dataplane.apply({ mayRemove: true });
  assert.deepEqual(await routesOf(outside), standing);
  assert.deepEqual(dataplane.failures(), []);
});

Deno.test("routes of BIRD, of the kernel and of others on other links are never removed", async () => {
  const { dataplane, clock, outside, index } = await start();
  const eth0 = await index("eth0");
  const others: Route[] = [
    { ...workloadRoute("10.9.0.1", eth0), protocol: 12 },
    { ...workloadRoute("10.9.0.2", eth0), protocol: 3 },
    { ...workloadRoute("10.9.0.3", await index("cali1")), protocol: 4 },
    { ...blackhole("10.9.1.0/24"), protocol: 12 },
  ];
  await outside.fib.apply(others.map((route) => ({ action: "replace", route })));
  dataplane.desire(desiredState({}));
  clock.advance(90_000);
  await converge(dataplane, clock);
  assert.deepEqual(
    (await outside.fib.list({ table: 254 })).filter(({ protocol }) => protocol !== 2).map(routeKey).sort(),
    others.map(routeKey).sort(),
  );
});

Deno.test("nothing is removed until the gate opens, while additions are made", async () => {
  const { dataplane, outside, cali0 } = await start();
  dataplane.desire(desiredState({ routes: [workloadRoute("10.0.0.2", cali0)] }));
  await dataplane.apply({ mayRemove: false });
  assert.deepEqual(await routesOf(outside), [...standing, "unicast 10.0.0.2/32 proto 3"]);
  await dataplane.apply({ mayRemove: true });
  assert.deepEqual(await routesOf(outside), ["unicast 10.0.0.2/32 proto 3"]);
});

Deno.test("a restart over a standing dataplane changes nothing that is as it should be", async () => {
  const { kernel, clock, outside, desired, faults, cali0 } = await start();
  const restarted = makeDataplane(kernel, clock);
  faults.operations.length = 0;
  const routes = [...desired.routes.values(), workloadRoute("10.0.0.3", cali0)];
  restarted.desire({ ...desired, routes: new Map(routes.map((route) => [routeKey(route), route])) });
  await converge(restarted, clock);
  const writes = faults.operations.filter((operation) => !/ list| read|batch/.test(operation));
  assert.deepEqual(writes, ["route add 10.0.0.3/32"]);
  assert.equal((await routesOf(outside)).length, 3);
});

Deno.test("one refused route stays dirty and is retried; the others stand meanwhile", async () => {
  const { dataplane, clock, outside, faults, cali0 } = await start();
  faults.fail({ matching: /route add 10\.0\.0\.5/, code: "ENOBUFS", times: 3 });
  const routes = ["10.0.0.4", "10.0.0.5", "10.0.0.6"].map((ip) => workloadRoute(ip, cali0));
  dataplane.desire(desiredState({ routes }));
  await dataplane.apply({ mayRemove: true });
  assert.equal((await routesOf(outside)).length, 2);
  assert.equal(dataplane.failures().length, 1);
  const took = await converge(dataplane, clock);
  assert.equal((await routesOf(outside)).length, 3);
  assert.ok(took > 0 && took <= 1_000, `took ${took} ms`);
});

Deno.test("a resync event makes everything be read again", async () => {
  const { dataplane, clock, outside, faults } = await start();
  faults.dropsEvents = true;
  await outside.fib.apply([{ action: "delete", route: blackhole("10.0.0.0/26") }]);
  await settle();
  faults.dropsEvents = false;
  dataplane.observe({ type: "resync" });
  await converge(dataplane, clock);
  assert.deepEqual(await routesOf(outside), standing);
});

Deno.test("a full re-read every 90 seconds finds what no event told", async () => {
  const { dataplane, clock, outside } = await start();
  await outside.sysctl.write("net/ipv4/conf/cali0/proxy_arp", "0");
  clock.advance(90_000);
  await converge(dataplane, clock);
  assert.equal(await outside.sysctl.read("net/ipv4/conf/cali0/proxy_arp"), "1");
});

Deno.test("ownership looks at protocol, link and gateway", () => {
  const link = (name: string, alias = "") => ({
    index: 5,
    name,
    mac: "",
    mtu: 1500,
    isUp: true,
    isRunning: true,
    kind: "",
    alias,
  });
  const cases: [Route, string, string, boolean][] = [
    [workloadRoute("10.0.0.1", 5), "cali1", "", true],
    [workloadRoute("10.0.0.1", 5), "renamed", "tortie:x", true],
    [workloadRoute("10.0.0.1", 5), "eth0", "", false],
    [{ ...workloadRoute("10.0.0.1", 5), protocol: 80 }, "tap0", "", true],
    [{ ...workloadRoute("10.0.0.1", 5), protocol: 12 }, "cali1", "", false],
    [{ ...workloadRoute("10.0.0.1", 5), protocol: 2 }, "cali1", "", false],
    [blackhole("10.0.0.0/26"), "eth0", "", true],
    [{ ...blackhole("10.0.0.0/26"), protocol: 12 }, "eth0", "", false],
  ];
  for (const [route, name, alias, isOurs] of cases) {
    assert.equal(isOurRoute(route, () => link(name, alias)), isOurs, `${route.protocol} on ${name}`);
  }
  assert.ok(isSameRoute(blackhole("10.0.0.0/26"), blackhole("10.0.0.0/26")));
});
