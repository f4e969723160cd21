/**
 * The routes of workloads and blocks, change by change; for any history the changes add up to the strongest claims.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { Cidr } from "../../../src/lib/cidr.ts";
import { type HostRoute, HostRoutes } from "../../../src/routing/host_routes.ts";

const cidrs = (...texts: string[]) => texts.map((text) => Cidr.parse(text));

function lines(changes: ReadonlyMap<string, HostRoute | undefined>): string[] {
  return [...changes].map(([destination, route]) => {
    if (!route) return `no ${destination}`;
    const { interfaceName, protocol } = route;
    return interfaceName
      ? `${destination} dev ${interfaceName} proto ${protocol}`
      : `blackhole ${destination} proto ${protocol}`;
  });
}

Deno.test("each address of a workload gets a route to its interface and each block a blackhole, in both families", () => {
  const routes = new HostRoutes();
  routes.setWorkload("a-tortie-web-eth0", "cali1", cidrs("172.17.8.2/32", "fd00::2/128"));
  for (const block of cidrs("172.17.8.0/26", "fd00::/122")) routes.setBlock(block, true);
  assert.deepEqual(lines(routes.takeChanges()), [
    "172.17.8.2/32 dev cali1 proto 3",
    "fd00::2/128 dev cali1 proto 3",
    "blackhole 172.17.8.0/26 proto 80",
    "blackhole fd00::/122 proto 80",
  ]);
  assert.deepEqual(routes.lost(), []);
  assert.deepEqual(lines(routes.takeChanges()), []);
});

Deno.test("a change names the destinations that it changes and no others", () => {
  const routes = new HostRoutes();
  for (let i = 0; i < 50; i++) routes.setWorkload(`w${i}`, `cali${i}`, cidrs(`10.0.0.${i}/32`));
  routes.takeChanges();
  routes.setWorkload("w7", "cali7", cidrs("10.0.1.7/32"));
  routes.setBlock(Cidr.parse("10.0.1.0/26"), true);
  assert.deepEqual(lines(routes.takeChanges()).sort(), [
    "10.0.1.7/32 dev cali7 proto 3",
    "blackhole 10.0.1.0/26 proto 80",
    "no 10.0.0.7/32",
  ]);
  routes.setBlock(Cidr.parse("10.0.1.0/26"), false);
  assert.deepEqual(lines(routes.takeChanges()), ["no 10.0.1.0/26"]);
});

Deno.test("a block of a single address gets no blackhole", () => {
  const routes = new HostRoutes();
  for (const block of cidrs("10.0.0.1/32", "fd00::1/128")) routes.setBlock(block, true);
  assert.deepEqual(lines(routes.takeChanges()), []);
});

Deno.test("an interface that does not bear our prefix gets routes of our own protocol", () => {
  const routes = new HostRoutes();
  routes.setWorkload("a-tortie-vm-eth0", "tap0", cidrs("10.0.0.9/32"));
  assert.deepEqual(lines(routes.takeChanges()), ["10.0.0.9/32 dev tap0 proto 80"]);
});

Deno.test("of two workloads with one address the lower name wins in any order, the reason is kept, and the other is next", () => {
  for (const order of [["web", "db"], ["db", "web"]]) {
    const routes = new HostRoutes();
    for (const name of order) routes.setWorkload(name, name === "web" ? "cali1" : "cali2", cidrs("10.0.0.1/32"));
    assert.deepEqual(lines(routes.takeChanges()), ["10.0.0.1/32 dev cali2 proto 3"]);
    assert.deepEqual(routes.lost(), [
      { destination: "10.0.0.1/32", owner: "web", to: "db", why: "db has the same address and the lower name" },
    ]);
    routes.setWorkload("db", "cali2", []);
    assert.deepEqual(lines(routes.takeChanges()), ["10.0.0.1/32 dev cali1 proto 3"]);
    assert.deepEqual(routes.lost(), []);
  }
});

Deno.test("whatever comes and goes, the changes add up to the strongest claim of each destination", () => {
  const step = fc.record({
    name: fc.constantFrom("w1", "w2", "w3"),
    addresses: fc.uniqueArray(fc.nat(3), { maxLength: 3 }),
    block: fc.boolean(),
  });
  fc.assert(fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
    const routes = new HostRoutes();
    const standing = new Map<string, HostRoute>();
    const wanted = new Map<string, Set<string>>();
    for (const { name, addresses, block } of steps) {
      const destinations = addresses.map((n) => `10.0.0.${n}/32`);
      routes.setWorkload(name, name, destinations.map((text) => Cidr.parse(text)));
      wanted.set(name, new Set(destinations));
      routes.setBlock(Cidr.parse("10.0.0.0/30"), block);
      for (const [destination, route] of routes.takeChanges()) {
        if (route) standing.set(destination, route);
        else standing.delete(destination);
      }
      for (let n = 0; n < 4; n++) {
        const claimants = [...wanted].filter(([, set]) => set.has(`10.0.0.${n}/32`)).map(([name]) => name).sort();
        assert.equal(standing.get(`10.0.0.${n}/32`)?.interfaceName, claimants[0]);
      }
      assert.equal(standing.has("10.0.0.0/30"), block);
    }
  }));
});
