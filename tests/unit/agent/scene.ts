/** A node on the in-memory kernel and store, for the agent's tests. */

import { type Agent, startAgent } from "../../../src/agent/agent.ts";
import { Faults } from "../../../src/dataplane/memory_faults.ts";
import { MemoryMachine } from "../../../src/dataplane/memory_kernel.ts";
import { Ip } from "../../../src/lib/ip.ts";
import { type LogFields, makeLog } from "../../../src/lib/log.ts";
import { systemClock } from "../../../src/store/expiry.ts";
import { MemoryStore } from "../../../src/store/memory.ts";
import type { Store } from "../../../src/store/store.ts";

/** A machine whose namespace "host" has eth0 with 192.0.2.1/24 and 2001:db8::1/64. */
export async function makeMachine(): Promise<MemoryMachine> {
  const machine = new MemoryMachine();
  const host = machine.handle("host");
  const link = await host.links.createVeth({
    name: "eth0",
    mac: "02:00:00:00:00:01",
    peerName: "port",
    peerNamespace: machine.handle("switch"),
  });
  await host.links.change(link.index, { isUp: true });
  await host.links.addAddress({ index: link.index, net: { ip: Ip.parse("192.0.2.1"), length: 24 }, scope: 0 });
  await host.links.addAddress({ index: link.index, net: { ip: Ip.parse("2001:db8::1"), length: 64 }, scope: 0 });
  return machine;
}

/** A started agent and its surroundings. */
export interface Scene {
  readonly machine: MemoryMachine;
  readonly store: Store;
  readonly faults: Faults;
  readonly agent: Agent;
  readonly lines: string[];
}

/** Starts an agent named "a" on the machine's "host"; waits until it is ready. */
export async function startScene(
  { machine, store = new MemoryStore(), ip = "autodetect", ip6 = "none", faults = new Faults(), firewall }: {
    machine?: MemoryMachine;
    store?: Store;
    ip?: string;
    ip6?: string;
    faults?: Faults;
    firewall?: Parameters<typeof startAgent>[0]["firewall"];
  } = {},
): Promise<Scene> {
  const host = machine ?? await makeMachine();
  const lines: string[] = [];
  const log = makeLog((level, message, fields: LogFields) =>
    lines.push(`${level} ${message} ${JSON.stringify(fields)}`)
  );
  const kernel = host.handle("host", faults);
  const agent = startAgent({
    store,
    kernel,
    settings: { name: "a", ip, ip6 },
    clock: systemClock,
    log,
    ...firewall ? { firewall } : {},
  });
  await agent.ready;
  return { machine: host, store, faults, agent, lines };
}

/** Puts a pool into the store. */
export async function putPool(store: Store, name: string, cidr: string): Promise<void> {
  const value = {
    kind: "IPPool",
    apiVersion: "projectcalico.org/v3",
    metadata: { name, uid: crypto.randomUUID(), creationTimestamp: "2026-01-01T00:00:00Z" },
    spec: { cidr },
  };
  await store.put(`/calico/resources/v3/projectcalico.org/ippools/${name}`, JSON.stringify(value));
}

/** Waits until the condition holds; fails after two seconds with its words. */
export async function eventually(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 2_000;
  while (!await condition()) {
    if (performance.now() > deadline) throw new Error(`${what} did not come about within 2 s`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** What stands in the namespace "host" besides eth0 and lo: links, routes not made by the kernel, neighbours, handles. */
export async function traces({ machine, store }: Pick<Scene, "machine" | "store">): Promise<string[]> {
  const host = machine.handle("host");
  const links = (await host.links.list()).filter(({ name }) => !["lo", "eth0"].includes(name));
  const routes = (await host.fib.list({ table: 254 })).filter(({ protocol }) => protocol !== 2);
  const handles = (await store.list("/calico/ipam/v2/handle/")).entries;
  const endpoints = (await store.list("/calico/resources/v3/projectcalico.org/workloadendpoints/")).entries;
  return [
    ...links.map(({ name }) => `link ${name}`),
    ...routes.filter(({ type, nexthops }) => type !== "blackhole" && nexthops[0]?.ifindex !== 1).map((
      { destination },
    ) => `route ${destination}`),
    ...(await host.neighbours.list()).map(({ ip }) => `neighbour ${ip}`),
    ...handles.map(({ key }) => `handle ${key.split("/").at(-1)}`),
    ...endpoints.map(({ key }) => `endpoint ${key.split("/").at(-1)}`),
  ];
}
