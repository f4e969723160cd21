/** Shared steps of the dataplane tests: a host with links, and driving a dataplane until it has nothing left to do. */

import type { Dataplane, DesiredState } from "../../../src/dataplane/dataplane.ts";
import { Faults } from "../../../src/dataplane/memory_faults.ts";
import { MemoryMachine } from "../../../src/dataplane/memory_kernel.ts";
import { neighbourKey } from "../../../src/dataplane/neighbour_reconciler.ts";
import type { Neighbour, Route } from "../../../src/dataplane/ports.ts";
import { routeKey } from "../../../src/dataplane/route_reconciler.ts";
import { Cidr } from "../../../src/lib/cidr.ts";
import type { FakeClock } from "../../../src/lib/fake_clock.ts";
import { Ip } from "../../../src/lib/ip.ts";

/** Lets every promise and microtask that is under way come to its end. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

/** A machine with the namespace "host": eth0 with 192.0.2.1/24, and workload links cali0 to cali3, all up. */
export async function makeHost() {
  const machine = new MemoryMachine();
  const faults = new Faults();
  const kernel = machine.handle("host", faults);
  const outside = machine.handle("host");
  const names = ["eth0", "cali0", "cali1", "cali2", "cali3"];
  for (const name of names) {
    const peer = machine.handle(`peer-${name}`);
    const alias = name.startsWith("cali") ? `tortie:${name}` : "";
    const mac = name === "eth0" ? "02:00:00:00:00:01" : "ee:ee:ee:ee:ee:ee";
    const link = await outside.links.createVeth({ name, mac, alias, peerName: "eth0", peerNamespace: peer });
    await outside.links.change(link.index, { isUp: true });
    const far = await peer.links.get("eth0");
    if (far) await peer.links.change(far.index, { isUp: true });
  }
  const eth0 = await outside.links.get("eth0");
  if (!eth0) throw new Error("no eth0");
  await outside.links.addAddress({ index: eth0.index, net: { ip: Ip.parse("192.0.2.1"), length: 24 }, scope: 0 });
  return { machine, kernel, outside, faults };
}

export function workloadRoute(ip: string, index: number): Route {
  return {
    destination: Cidr.host(Ip.parse(ip)),
    type: "unicast",
    table: 254,
    protocol: 3,
    scope: 253,
    metric: 0,
    nexthops: [{ ifindex: index }],
  };
}

export function blackhole(cidr: string): Route {
  return {
    destination: Cidr.parse(cidr),
    type: "blackhole",
    table: 254,
    protocol: 80,
    scope: 0,
    metric: 0,
    nexthops: [],
  };
}

export function permanent(ip: string, index: number, mac: string): Neighbour {
  return { index, ip: Ip.parse(ip), mac, state: 0x80, flags: 0 };
}

/** A desired state out of lists. */
export function desiredState(
  { routes = [], neighbours = [], sysctls = [], links = [] }: {
    routes?: Route[];
    neighbours?: Neighbour[];
    sysctls?: [string, string][];
    links?: string[];
  },
): DesiredState {
  return {
    links: new Map(
      links.map((name) => [name, { name, isUp: true, mac: "ee:ee:ee:ee:ee:ee", alias: `tortie:${name}` }]),
    ),
    addresses: new Map(),
    sysctls: new Map(sysctls),
    neighbours: new Map(neighbours.map((neighbour) => [neighbourKey(neighbour), neighbour])),
    routes: new Map(routes.map((route) => [routeKey(route), route])),
  };
}

/** Applies until nothing is due within `within` milliseconds, turning the clock; bounded in rounds. */
export async function converge(
  dataplane: Dataplane,
  clock: FakeClock,
  { within = 1_000, compute }: { within?: number; compute?: () => DesiredState } = {},
): Promise<number> {
  const start = clock.monotonic();
  for (let round = 0; round < 200; round++) {
    await settle();
    await dataplane.refreshLinks();
    if (compute) dataplane.desire(compute());
    await dataplane.apply({ mayRemove: true });
    await settle();
    const due = Math.max(dataplane.nextDue(), clock.monotonic());
    if (due > start + within) return clock.monotonic() - start;
    if (dataplane.failures().length === 0 && due > clock.monotonic()) clock.advance(due - clock.monotonic());
    else clock.advance(Math.max(1, due - clock.monotonic()));
  }
  throw new Error("the dataplane did not come to rest in 200 rounds");
}
