/** Whether the host has a route to its gateway, followed through the events of the in-memory kernel. */

import assert from "node:assert/strict";
import { watchGateway } from "../../../src/agent/gateway_route.ts";
import type { Route } from "../../../src/dataplane/ports.ts";
import { Cidr } from "../../../src/lib/cidr.ts";
import { settle } from "../dataplane/converge.ts";
import { makeMachine } from "./scene.ts";

async function watched() {
  const machine = await makeMachine();
  const host = machine.handle("host");
  const eth0 = await host.links.get("eth0");
  const ifindex = eth0?.index ?? 0;
  let changes = 0;
  const gateway = watchGateway(host, () => changes++);
  const stop = host.watch((event) => gateway.observe(event));
  const route = (destination: string, rest: Partial<Route> = {}): Route => ({
    destination: Cidr.parse(destination),
    type: "unicast",
    table: 254,
    protocol: 4,
    scope: 253,
    metric: 0,
    nexthops: [{ ifindex }],
    ...rest,
  });
  return { host, stop, gateway, ifindex, route, changes: () => changes };
}

Deno.test("a default route of anybody's counts, whether it was there first or comes later, until it goes", async () => {
  const { host, stop, gateway, route, changes } = await watched();
  await gateway.read();
  assert.equal(gateway.hasRoute, false);
  const before = changes();
  await host.fib.apply([{ action: "replace", route: route("0.0.0.0/0", { protocol: 12 }) }]);
  await settle();
  assert.equal(gateway.hasRoute, true);
  assert.equal(changes(), before + 1);
  await host.fib.apply([{ action: "delete", route: route("0.0.0.0/0", { protocol: 12 }) }]);
  await settle();
  assert.equal(gateway.hasRoute, false);
  stop();
});

Deno.test("a default route that leaves silently with its link is noticed", async () => {
  const { host, stop, gateway, route, ifindex } = await watched();
  await host.fib.apply([{ action: "replace", route: route("0.0.0.0/0") }]);
  await gateway.read();
  assert.equal(gateway.hasRoute, true);
  await host.links.change(ifindex, { isUp: false });
  await settle();
  assert.equal(gateway.hasRoute, false);
  stop();
});

Deno.test("our own stand-in, blackholes, other tables and routes elsewhere do not count", async () => {
  const { host, stop, gateway, route } = await watched();
  const others = [
    route("169.254.1.1/32", { protocol: 80 }),
    route("169.254.0.0/16", { type: "blackhole", nexthops: [] }),
    route("0.0.0.0/0", { table: 100 }),
    route("10.0.0.0/8"),
  ];
  await host.fib.apply(others.map((route) => ({ action: "replace", route })));
  await gateway.read();
  await settle();
  assert.equal(gateway.hasRoute, false);
  stop();
});
