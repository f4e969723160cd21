import assert from "node:assert/strict";
import fc from "fast-check";
import { Cidr } from "../../../src/lib/cidr.ts";
import { computeHostRoutes, type HostRoute } from "../../../src/routing/host_routes.ts";

const cidrs = (...texts: string[]) => texts.map((text) => Cidr.parse(text));

function lines(routes: Iterable<HostRoute>): string[] {
  return [...routes].map(({ destination, interfaceName, protocol }) =>
    interfaceName
      ? `${destination} dev ${interfaceName} proto ${protocol}`
      : `blackhole ${destination} proto ${protocol}`
  );
}

Deno.test("each address of a workload gets a route to its interface and each block a blackhole, in both families", () => {
  const { routes, lost } = computeHostRoutes({
    blocks: cidrs("172.17.8.0/26", "fd00::/122"),
    workloads: [{
      name: "a-tortie-web-eth0",
      interfaceName: "cali1",
      addresses: cidrs("172.17.8.2/32", "fd00::2/128"),
    }],
  });
  assert.deepEqual(lines(routes.values()), [
    "172.17.8.2/32 dev cali1 proto 3",
    "fd00::2/128 dev cali1 proto 3",
    "blackhole 172.17.8.0/26 proto 80",
    "blackhole fd00::/122 proto 80",
  ]);
  assert.deepEqual(lost, []);
});

Deno.test("a block of a single address gets no blackhole", () => {
  const { routes } = computeHostRoutes({ blocks: cidrs("10.0.0.1/32", "fd00::1/128"), workloads: [] });
  assert.deepEqual(lines(routes.values()), []);
});

Deno.test("an interface that does not bear our prefix gets routes of our own protocol", () => {
  const { routes } = computeHostRoutes({
    blocks: [],
    workloads: [{ name: "a-tortie-vm-eth0", interfaceName: "tap0", addresses: cidrs("10.0.0.9/32") }],
  });
  assert.deepEqual(lines(routes.values()), ["10.0.0.9/32 dev tap0 proto 80"]);
});

Deno.test("of two workloads with one address the lower name wins in any order, and the reason is kept", () => {
  const web = { name: "a-tortie-web-eth0", interfaceName: "cali1", addresses: cidrs("10.0.0.1/32") };
  const db = { name: "a-tortie-db-eth0", interfaceName: "cali2", addresses: cidrs("10.0.0.1/32") };
  for (const workloads of [[web, db], [db, web]]) {
    const { routes, lost } = computeHostRoutes({ blocks: [], workloads });
    assert.deepEqual(lines(routes.values()), ["10.0.0.1/32 dev cali2 proto 3"]);
    assert.deepEqual(lost.map(({ route, why }) => `${route.owner}: ${why}`), [
      "a-tortie-web-eth0: a-tortie-db-eth0 has the same address and the lower name",
    ]);
  }
});

Deno.test("every destination that is wanted has one route, and every other claim a reason", () => {
  const workload = fc.record({
    name: fc.constantFrom("w1", "w2", "w3"),
    interfaceName: fc.constantFrom("cali1", "cali2", "tap0"),
    addresses: fc.array(fc.nat(5).map((n) => Cidr.parse(`10.0.0.${n}/32`)), { maxLength: 3 }),
  });
  fc.assert(fc.property(fc.array(workload, { maxLength: 5 }), (workloads) => {
    const { routes, lost } = computeHostRoutes({ blocks: cidrs("10.0.0.0/26"), workloads });
    const claims = workloads.flatMap(({ addresses }) => addresses);
    assert.equal(routes.size + lost.length, claims.length + 1);
    for (const claim of claims) assert.equal(routes.get(claim.toString())?.source, "local workload");
  }));
});
