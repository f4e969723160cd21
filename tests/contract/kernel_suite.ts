/**
 * The contract of the dataplane ports, run on every implementation. A machine has two namespaces, near and far, new for
 * each test; what a kernel adds by itself (IPv6 link-local addresses, multicast routes) is let pass.
 */

import assert from "node:assert/strict";
import { Cidr, type IpNet, tryParseIpNet } from "../../src/lib/cidr.ts";
import { Ip } from "../../src/lib/ip.ts";
import { NetlinkError } from "../../src/netlink/error.ts";
import { type Kernel, type KernelEvent, type Link, NamespaceError, type Route } from "../../src/dataplane/ports.ts";

/** Two fresh namespaces of one machine; `farName` opens the far one by name. */
export interface TwoNamespaces {
  readonly near: Kernel;
  readonly far: Kernel;
  readonly farName: string;
  close(): void;
}

const MAC = "ee:ee:ee:ee:ee:ee";

/** "192.0.2.1/24" with its host bits. */
export function net(text: string): IpNet {
  const parsed = tryParseIpNet(text);
  assert.ok(parsed, text);
  return parsed;
}

/** A route of the main table, protocol 80, with what is given laid over. */
export function route(destination: string, rest: Partial<Route> = {}): Route {
  const base = { type: "unicast", table: 254, protocol: 80, scope: 0, metric: 0, nexthops: [] } as const;
  return { ...base, destination: Cidr.parse(destination), ...rest };
}

/** A route as one line, for comparing sets of routes. */
export function routeText(of: Route): string {
  const hops = of.nexthops.map((hop) =>
    [
      hop.gateway && `via ${hop.gateway}`,
      hop.ifindex && `dev ${hop.ifindex}`,
      hop.isOnlink && "onlink",
      hop.weight && `weight ${hop.weight}`,
    ]
      .filter(Boolean).join(" ")
  );
  return [
    of.type,
    of.destination,
    `table ${of.table} proto ${of.protocol} scope ${of.scope} metric ${of.metric}`,
    of.source && `src ${of.source}`,
    ...hops,
  ]
    .filter(Boolean).join(" ");
}

/** Waits until the condition holds; fails after ten seconds, saying what was waited for. */
export async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await condition())) {
    if (performance.now() > deadline) assert.fail(`waited in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Defines the contract's tests for one implementation. */
export function kernelSuite(name: string, open: () => Promise<TwoNamespaces>): void {
  const test = (sentence: string, body: (machine: TwoNamespaces) => Promise<void>) =>
    Deno.test(`${name}: ${sentence}`, async () => {
      const machine = await open();
      try {
        await body(machine);
      } finally {
        machine.close();
      }
    });
  linkTests(test);
  addressTests(test);
  routeTests(test);
  neighbourAndSysctlTests(test);
  namespaceTests(test);
}

type Test = (sentence: string, body: (machine: TwoNamespaces) => Promise<void>) => void;

async function refused(code: string, run: () => Promise<unknown>): Promise<NetlinkError> {
  let refusal: unknown;
  await assert.rejects(run, (error) => (refusal = error) instanceof NetlinkError);
  assert.ok(refusal instanceof NetlinkError);
  assert.equal(refusal.code, code, refusal.message);
  return refusal;
}

function veth({ near, far }: TwoNamespaces, name = "cali1", peerName = "eth0"): Promise<Link> {
  return near.links.createVeth({
    name,
    mac: MAC,
    mtu: 1400,
    alias: "web",
    peerName,
    peerMac: "02:00:00:00:00:01",
    peerNamespace: far,
  });
}

/** A veth that is up at both ends, with 192.0.2.1/24 at the near one. */
async function attached(machine: TwoNamespaces): Promise<Link> {
  const link = await veth(machine);
  await machine.near.links.change(link.index, { isUp: true });
  await machine.far.links.change(link.peerIndex ?? 0, { isUp: true });
  await machine.near.links.addAddress({ index: link.index, net: net("192.0.2.1/24"), scope: 0 });
  return link;
}

async function routesOf(kernel: Kernel, protocol = 80): Promise<string[]> {
  return (await kernel.fib.list({ protocol })).map(routeText).sort();
}

async function apply(kernel: Kernel, ...changes: Parameters<Kernel["fib"]["apply"]>[0]): Promise<void> {
  assert.deepEqual(await kernel.fib.apply(changes), changes.map(() => undefined));
}

function linkTests(test: Test): void {
  test("a new namespace holds the loopback device alone, and it is down", async ({ near }) => {
    const links = await near.links.list();
    assert.deepEqual(links.map(({ index, name, isUp, kind }) => ({ index, name, isUp, kind })), [
      { index: 1, name: "lo", isUp: false, kind: "" },
    ]);
  });

  test("a veth is made with its peer born in the other namespace", async (machine) => {
    const link = await veth(machine);
    const peer = await machine.far.links.get("eth0");
    assert.ok(peer);
    assert.deepEqual(link, {
      index: link.index,
      name: "cali1",
      mac: MAC,
      mtu: 1400,
      isUp: false,
      isRunning: false,
      kind: "veth",
      alias: "web",
      peerIndex: peer.index,
    });
    assert.deepEqual(await machine.near.links.get("cali1"), link);
    assert.deepEqual(await machine.near.links.get(link.index), link);
    assert.deepEqual((await machine.near.links.list()).find(({ name }) => name === "cali1"), link);
    const { mac, mtu, peerIndex, isUp } = peer;
    assert.deepEqual({ mac, mtu, peerIndex, isUp }, {
      mac: "02:00:00:00:00:01",
      mtu: 1400,
      peerIndex: link.index,
      isUp: false,
    });
    assert.equal(await machine.near.links.get("eth0"), undefined);
  });

  test("without a namespace for the peer both ends of a veth are here", async ({ near }) => {
    await near.links.createVeth({ name: "a", mac: MAC, peerName: "b" });
    assert.deepEqual((await near.links.list()).map(({ name }) => name).sort(), ["a", "b", "lo"]);
  });

  test("a name that is taken is refused with EEXIST and nothing is made", async (machine) => {
    await veth(machine);
    const error = await refused("EEXIST", () => veth(machine, "cali1", "eth1"));
    assert.match(error.message, /^Cannot link add cali1 type veth/);
    await refused("EEXIST", () => veth(machine, "cali2", "eth0"));
    assert.deepEqual((await machine.near.links.list()).map(({ name }) => name).sort(), ["cali1", "lo"]);
    assert.deepEqual((await machine.far.links.list()).map(({ name }) => name).sort(), ["eth0", "lo"]);
  });

  test("a link that is not there is undefined, and changing it is refused with ENODEV", async ({ near }) => {
    assert.equal(await near.links.get("nothing"), undefined);
    assert.equal(await near.links.get("a-name-too-long-for-any-link"), undefined);
    assert.equal(await near.links.get(4711), undefined);
    await refused("ENODEV", () => near.links.change(4711, { mtu: 1300 }));
  });

  test("a change touches only what it names", async (machine) => {
    const link = await veth(machine);
    const changes = [{ isUp: true }, { mac: "02:11:22:33:44:55" }, { mtu: 1300 }, { alias: "db" }, { isUp: false }];
    let expected = link;
    for (const change of changes) {
      await machine.near.links.change(link.index, change);
      expected = { ...expected, ...change };
      assert.deepEqual(await machine.near.links.get(link.index), expected, JSON.stringify(change));
    }
  });

  test("a veth runs while both its ends are up", async (machine) => {
    const link = await attached(machine);
    assert.equal((await machine.near.links.get(link.index))?.isRunning, true);
    await machine.far.links.change(link.peerIndex ?? 0, { isUp: false });
    await until(
      "the near end stops running",
      async () => (await machine.near.links.get(link.index))?.isRunning === false,
    );
    assert.equal((await machine.near.links.get(link.index))?.isUp, true);
  });

  test("a link is renamed while it is up, stays up, and takes its sysctls along", async (machine) => {
    const link = await attached(machine);
    await machine.near.sysctl.write("net/ipv4/conf/cali1/proxy_arp", "1");
    await machine.near.links.change(link.index, { name: "cali9" });
    const { name, isUp } = (await machine.near.links.get(link.index)) ?? {};
    assert.deepEqual({ name, isUp }, { name: "cali9", isUp: true });
    assert.equal(await machine.near.links.get("cali1"), undefined);
    assert.equal(await machine.near.sysctl.read("net/ipv4/conf/cali9/proxy_arp"), "1");
    await refused("EEXIST", () => machine.near.links.change(link.index, { name: "lo" }));
  });

  test("a moved link is gone here and down there", async (machine) => {
    const link = await machine.near.links.createVeth({ name: "cali1", mac: MAC, peerName: "tmp1" });
    await machine.near.links.move(link.peerIndex ?? 0, machine.far);
    assert.equal(await machine.near.links.get("tmp1"), undefined);
    const moved = await machine.far.links.get("tmp1");
    assert.deepEqual({ kind: moved?.kind, isUp: moved?.isUp, peerIndex: moved?.peerIndex }, {
      kind: "veth",
      isUp: false,
      peerIndex: link.index,
    });
  });

  test("deleting a veth takes its peer along, and deleting it again is no error", async (machine) => {
    const link = await veth(machine);
    await machine.near.links.delete(link.index);
    await machine.near.links.delete(link.index);
    assert.equal(await machine.near.links.get("cali1"), undefined);
    await until("the peer is gone", async () => (await machine.far.links.get("eth0")) === undefined);
  });
}

function addressTests(test: Test): void {
  test("an address stands once however often it is added, and removing it twice is no error", async (machine) => {
    const link = await attached(machine);
    const address = { index: link.index, net: net("192.0.2.1/24"), scope: 0 };
    await machine.near.links.addAddress(address);
    const texts = async () =>
      (await machine.near.links.addresses()).filter(({ index, net: { ip } }) => index === link.index && !ip.isLinkLocal)
        .map(({ net: { ip, length }, scope }) => `${ip}/${length} scope ${scope}`);
    assert.deepEqual(await texts(), ["192.0.2.1/24 scope 0"]);
    await machine.near.links.removeAddress(address);
    await machine.near.links.removeAddress(address);
    assert.deepEqual(await texts(), []);
  });

  test("an address on a link that is not there is refused with ENODEV, and removing it is no error", async ({ near }) => {
    const address = { index: 4711, net: net("192.0.2.1/24"), scope: 0 };
    await refused("ENODEV", () => near.links.addAddress(address));
    await near.links.removeAddress(address);
  });

  test("an address brings its connected route, of protocol kernel", async (machine) => {
    const link = await attached(machine);
    const connected = (await routesOf(machine.near, 2)).filter((text) =>
      text.includes("192.0.2.0/24") && text.includes("table 254")
    );
    assert.deepEqual(connected, [
      `unicast 192.0.2.0/24 table 254 proto 2 scope 253 metric 0 src 192.0.2.1 dev ${link.index}`,
    ]);
  });
}

function routeTests(test: Test): void {
  test("routes of every kind read back as they were written", async (machine) => {
    const { index: ifindex } = await attached(machine);
    const gateway = Ip.parse("192.0.2.2");
    const written = [
      route("10.0.0.0/26", { type: "blackhole" }),
      route("10.0.0.64/26", { type: "unreachable", metric: 7 }),
      route("10.0.0.5/32", { scope: 253, nexthops: [{ ifindex }] }),
      route("10.1.0.0/16", { nexthops: [{ gateway, ifindex }], source: Ip.parse("192.0.2.1") }),
      route("10.2.0.0/16", { nexthops: [{ gateway: Ip.parse("198.51.100.9"), ifindex, isOnlink: true }], table: 1000 }),
      route("0.0.0.0/0", { nexthops: [{ gateway, ifindex }] }),
      route("10.3.0.0/16", {
        nexthops: [{ gateway, ifindex }, { gateway: Ip.parse("192.0.2.3"), ifindex, weight: 5 }],
      }),
      route("2001:db8:1::/64", { type: "blackhole", metric: 1024 }),
      route("2001:db8:2::/64", { nexthops: [{ gateway: Ip.parse("fe80::1"), ifindex }], metric: 50 }),
    ];
    await apply(machine.near, ...written.map((one) => ({ action: "replace" as const, route: one })));
    assert.deepEqual(await routesOf(machine.near), written.map(routeText).sort());
    await apply(machine.near, ...written.map((one) => ({ action: "delete" as const, route: one })));
    assert.deepEqual(await routesOf(machine.near), []);
  });

  test("replace overwrites the route of that identity and again changes nothing", async (machine) => {
    const { index: ifindex } = await attached(machine);
    const before = route("10.1.0.0/16", { type: "blackhole" });
    const after = route("10.1.0.0/16", { nexthops: [{ gateway: Ip.parse("192.0.2.2"), ifindex }] });
    const otherMetric = route("10.1.0.0/16", { type: "blackhole", metric: 9 });
    await apply(
      machine.near,
      ...[before, otherMetric, after, after].map((one) => ({ action: "replace" as const, route: one })),
    );
    assert.deepEqual(await routesOf(machine.near), [after, otherMetric].map(routeText).sort());
  });

  test("an exclusive replace is refused with EEXIST where a route of that identity stands", async ({ near }) => {
    await near.links.change(1, { isUp: true });
    await apply(near, { action: "replace", route: route("10.1.0.0/16", { type: "blackhole", protocol: 4 }) });
    const [error, none] = await near.fib.apply([
      { action: "replace", isExclusive: true, route: route("10.1.0.0/16", { type: "blackhole" }) },
      { action: "replace", isExclusive: true, route: route("10.2.0.0/16", { type: "blackhole" }) },
    ]);
    assert.equal(error?.code, "EEXIST");
    assert.equal(none, undefined);
    assert.deepEqual(await routesOf(near), [routeText(route("10.2.0.0/16", { type: "blackhole" }))]);
  });

  test("an IPv6 route without a metric gets 1024 and is deleted without one", async ({ near }) => {
    await near.links.change(1, { isUp: true });
    const sink = route("2001:db8::/32", { type: "blackhole" });
    await apply(near, { action: "replace", route: sink });
    assert.deepEqual(await routesOf(near), [routeText({ ...sink, metric: 1024 })]);
    await apply(near, { action: "delete", route: sink });
    assert.deepEqual(await routesOf(near), []);
  });

  test("deleting a route that is gone, or never was, is no error", async ({ near }) => {
    await near.links.change(1, { isUp: true });
    for (const destination of ["10.9.0.0/16", "2001:db8:9::/48"]) {
      for (const table of [254, 4242]) {
        await apply(near, { action: "delete", route: route(destination, { type: "blackhole", table }) });
      }
    }
    assert.deepEqual(await routesOf(near), []);
  });

  test("a deletion leaves alone what another protocol or another kind of route put there", async (machine) => {
    const { index: ifindex } = await attached(machine);
    const theirs = [
      route("10.1.0.0/16", { type: "blackhole", protocol: 4 }),
      route("10.2.0.0/16", { protocol: 80, nexthops: [{ gateway: Ip.parse("192.0.2.2"), ifindex }] }),
      route("2001:db8:1::/48", { type: "blackhole", protocol: 4, metric: 1024 }),
    ];
    await apply(machine.near, ...theirs.map((one) => ({ action: "replace" as const, route: one })));
    await apply(
      machine.near,
      ...theirs.map((one) => ({
        action: "delete" as const,
        route: route(`${one.destination}`, { type: "blackhole" }),
      })),
    );
    assert.deepEqual(
      [...await routesOf(machine.near, 4), ...await routesOf(machine.near)].sort(),
      theirs.map(routeText).sort(),
    );
  });

  test("one refused change of many says why and does not stop the others", async (machine) => {
    const { index: ifindex } = await attached(machine);
    const down = await machine.near.links.createVeth({ name: "down0", mac: MAC, peerName: "down1" });
    const results = await machine.near.fib.apply([
      { action: "replace", route: route("10.1.0.0/16", { type: "blackhole" }) },
      { action: "replace", route: route("10.2.0.0/16", { nexthops: [{ gateway: Ip.parse("203.0.113.1"), ifindex }] }) },
      { action: "replace", route: route("10.3.0.0/16", { nexthops: [{ ifindex: 4711 }], scope: 253 }) },
      { action: "replace", route: route("10.4.0.0/16", { nexthops: [{ ifindex: down.index }], scope: 253 }) },
      {
        action: "replace",
        route: route("10.5.0.0/16", { nexthops: [{ ifindex }], scope: 253, source: Ip.parse("203.0.113.9") }),
      },
      { action: "delete", route: route("10.1.0.0/16", { type: "blackhole" }) },
      { action: "replace", route: route("10.6.0.0/16", { type: "blackhole" }) },
    ]);
    assert.deepEqual(results.map((error) => error?.code), [
      undefined,
      "ENETUNREACH",
      "ENODEV",
      "ENETDOWN",
      "EINVAL",
      undefined,
      undefined,
    ]);
    assert.match(results[1]?.message ?? "", /10\.2\.0\.0\/16/);
    assert.deepEqual(await routesOf(machine.near), [routeText(route("10.6.0.0/16", { type: "blackhole" }))]);
  });

  test("a list is filtered by family, table and protocol", async ({ near }) => {
    await near.links.change(1, { isUp: true });
    const written = [
      route("10.1.0.0/16", { type: "blackhole" }),
      route("10.2.0.0/16", { type: "blackhole", table: 100 }),
      route("10.3.0.0/16", { type: "blackhole", protocol: 12 }),
      route("2001:db8:1::/48", { type: "blackhole", metric: 1024 }),
    ];
    await apply(near, ...written.map((one) => ({ action: "replace" as const, route: one })));
    const destinations = async (filter: Parameters<Kernel["fib"]["list"]>[0]) =>
      (await near.fib.list(filter)).filter(({ protocol }) => protocol !== 2).map(({ destination }) => `${destination}`)
        .sort();
    assert.deepEqual(await destinations({ family: 6 }), ["2001:db8:1::/48"]);
    assert.deepEqual(await destinations({ table: 100 }), ["10.2.0.0/16"]);
    assert.deepEqual(await destinations({ protocol: 12 }), ["10.3.0.0/16"]);
    assert.deepEqual(await destinations({ family: 4, table: 254, protocol: 80 }), ["10.1.0.0/16"]);
    assert.deepEqual(await destinations({ table: 4242 }), []);
  });

  test("thousands of routes are applied and removed in one call", async ({ near }) => {
    await near.links.change(1, { isUp: true });
    const routes = Array.from({ length: 3000 }, (_, i) => route(`10.${i >> 8}.${i & 255}.0/24`, { type: "blackhole" }));
    await apply(near, ...routes.map((one) => ({ action: "replace" as const, route: one })));
    assert.deepEqual(await routesOf(near), routes.map(routeText).sort());
    await apply(near, ...routes.map((one) => ({ action: "delete" as const, route: one })));
    assert.deepEqual(await routesOf(near), []);
  });
}

function neighbourAndSysctlTests(test: Test): void {
  test("permanent and proxy neighbours are written, overwritten, listed and removed", async (machine) => {
    const { index } = await attached(machine);
    const entry = { index, ip: Ip.parse("192.0.2.9"), mac: "02:00:00:00:00:09", state: 0x80, flags: 0 };
    const entry6 = { index, ip: Ip.parse("fe80::9"), mac: "02:00:00:00:00:09", state: 0x80, flags: 0 };
    const proxy = { index, ip: Ip.parse("192.0.2.10"), state: 0, flags: 8 };
    const changed = { ...entry, mac: "02:00:00:00:00:0a" };
    const found = async () =>
      (await machine.near.neighbours.list()).filter((one) =>
        one.index === index && (one.state === 0x80 || one.flags & 8)
      );
    for (const one of [entry, entry6, proxy, changed]) await machine.near.neighbours.replace(one);
    const ips = (list: { ip: Ip }[]) => list.map(({ ip }) => `${ip}`).sort();
    const there = await found();
    assert.deepEqual(ips(there), ["192.0.2.10", "192.0.2.9", "fe80::9"]);
    assert.equal(there.find(({ ip }) => `${ip}` === "192.0.2.9")?.mac, changed.mac);
    assert.equal(there.find(({ ip }) => `${ip}` === "192.0.2.10")?.mac, undefined);
    for (const one of [changed, entry6, proxy]) {
      await machine.near.neighbours.delete(one);
      await machine.near.neighbours.delete(one);
    }
    assert.deepEqual(ips(await found()), []);
  });

  test("a sysctl belongs to its namespace", async ({ near, far }) => {
    await near.sysctl.write("net/ipv4/conf/lo/proxy_arp", "1");
    assert.equal(await near.sysctl.read("net/ipv4/conf/lo/proxy_arp"), "1");
    assert.equal(await far.sysctl.read("net/ipv4/conf/lo/proxy_arp"), "0");
  });

  test("a sysctl that is not there reads as undefined and cannot be written", async ({ near }) => {
    assert.equal(await near.sysctl.read("net/ipv4/conf/nothing/proxy_arp"), undefined);
    await assert.rejects(
      () => near.sysctl.write("net/ipv4/conf/nothing/proxy_arp", "1"),
      /net\/ipv4\/conf\/nothing\/proxy_arp/,
    );
  });
}

function namespaceTests(test: Test): void {
  test("a watch reports links, addresses, routes and neighbours as they come and go, until it is stopped", async (machine) => {
    const events: KernelEvent[] = [];
    const stop = machine.near.watch((event) => events.push(event));
    const { index } = await attached(machine);
    const neighbour = { index, ip: Ip.parse("192.0.2.9"), mac: "02:00:00:00:00:09", state: 0x80, flags: 0 };
    const sink = route("10.1.0.0/16", { type: "blackhole" });
    await machine.near.neighbours.replace(neighbour);
    await apply(machine.near, { action: "replace", route: sink });
    await apply(machine.near, { action: "delete", route: sink });
    await machine.near.neighbours.delete(neighbour);
    await machine.near.links.delete(index);
    const isThere = (isWanted: (event: KernelEvent) => boolean) => events.some(isWanted);
    const wanted: [string, (event: KernelEvent) => boolean][] = [false, true].flatMap((isGone) => [
      [`link gone ${isGone}`, (e) => e.type === "link" && e.link.index === index && e.isGone === isGone],
      [
        `address gone ${isGone}`,
        (e) => e.type === "address" && `${e.address.net.ip}` === "192.0.2.1" && e.isGone === isGone,
      ],
      [
        `route gone ${isGone}`,
        (e) => e.type === "route" && routeText(e.route) === routeText(sink) && e.isGone === isGone,
      ],
      [
        `neighbour ${isGone}`,
        (e) =>
          e.type === "neighbour" && `${e.neighbour.ip}` === "192.0.2.9" &&
          (!isGone || e.isGone || e.neighbour.mac === undefined),
      ],
    ]);
    for (const [what, isWanted] of wanted) await until(what, () => isThere(isWanted));
    stop();
    stop();
    const heard = events.length;
    await veth(machine, "cali2", "eth2");
    const second: KernelEvent[] = [];
    const stopSecond = machine.near.watch((event) => second.push(event));
    await machine.near.links.change(1, { isUp: true });
    await until(
      "another watch hears of it",
      () => second.some((event) => event.type === "link" && event.link.index === 1),
    );
    stopSecond();
    assert.equal(events.length, heard);
  });

  test("a namespace is opened by name, and is the same however it is opened", async ({ near, far, farName }) => {
    const opened = await near.open(farName);
    try {
      assert.equal(opened.id, far.id);
      assert.notEqual(opened.id, near.id);
      await far.links.createVeth({ name: "a", mac: MAC, peerName: "b" });
      assert.ok(await opened.links.get("a"));
    } finally {
      opened.close();
    }
  });

  test("a namespace that is not there is a NamespaceError that names it", async ({ near }) => {
    await assert.rejects(
      () => near.open("no-such-namespace"),
      (error) => error instanceof NamespaceError && error.message.includes("no-such-namespace"),
    );
  });
}
