/** The view on the kernel's FIB, next hops that are resolved by it, and the table of what we want in it. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { FibTable } from "../../../../src/bgp/fib/fib_table.ts";
import { FibView } from "../../../../src/bgp/fib/fib_view.ts";
import { LocalRoutes } from "../../../../src/bgp/fib/local_routes.ts";
import { NextHops } from "../../../../src/bgp/fib/next_hops.ts";
import { EMPTY_CONFIG } from "../../../../src/bgp/config.ts";
import type { FibRoute } from "../../../../src/bgp/rib/interface.ts";
import { PrefixTable } from "../../../../src/bgp/rib/prefix_table.ts";
import { Cidr } from "../../../../src/lib/cidr.ts";
import { Ip } from "../../../../src/lib/ip.ts";
import { fibRoute, MapFib } from "../rib/router_model.ts";

Deno.test("a lookup finds the longest match with the lowest metric, after any adds and removes", () => {
  const route = fc.record({
    word: fc.constantFrom(0x0a000000, 0x0a000100, 0x0a010000, 0),
    length: fc.constantFrom(0, 8, 16, 24, 25),
    metric: fc.nat(2),
  });
  const step = fc.record({ route, isAdded: fc.boolean() });
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const view = new FibView();
    const model = new Map<string, FibRoute>();
    for (const { route: { word, length, metric }, isAdded } of steps) {
      const one = fibRoute(`${Ip.fromNumber(word)}/${length}`, { metric, dev: 1 });
      const key = `${Ip.fromBytes(one.address)}/${length} ${metric}`;
      if (isAdded) {
        view.put(one);
        model.set(key, one);
      } else {
        view.remove(one);
        model.delete(key);
      }
    }
    for (const text of ["10.0.0.1", "10.0.1.200", "10.1.0.1", "192.0.2.1"]) {
      const ip = Ip.parse(text);
      const hits = [...model.values()].filter((one) => Cidr.of(Ip.fromBytes(one.address), one.length).contains(ip));
      const longest = Math.max(...hits.map(({ length }) => length));
      const best = hits.filter(({ length }) => length === longest).sort((a, b) => a.metric - b.metric)[0];
      assert.equal(view.lookup(ip.bytes), best, text);
    }
    assert.equal([...view.routes()].length, model.size);
  }));
});

Deno.test("a next hop is its own gateway on a connected network, and takes the gateway of a static route elsewhere", () => {
  const fib4 = new FibView();
  const hops = new NextHops(fib4, new FibView(), true);
  fib4.put(fibRoute("10.0.0.0/24", { protocol: 2, dev: 2 }));
  fib4.put(fibRoute("10.9.0.0/16", { via: "10.0.0.7", dev: 2, metric: 30 }));
  fib4.put(fibRoute("10.9.9.0/24", { type: 6 }));
  const number = (text: string) => hops.retain(Ip.parse(text).bytes);
  const connected = hops.resolution(number("10.0.0.5"));
  assert.deepEqual(connected.ways.map(({ gateway, isOnlink }) => [gateway?.join("."), isOnlink]), [["10.0.0.5", true]]);
  assert.equal(connected.cost, 0);
  const remote = hops.resolution(number("10.9.0.5"));
  assert.deepEqual(remote.ways.map(({ gateway, isOnlink }) => [gateway?.join("."), isOnlink]), [[
    "10.0.0.7",
    undefined,
  ]]);
  assert.equal(remote.cost, 30);
  assert.equal(hops.resolution(number("10.9.9.5")).problem, "unreachable");
  assert.equal(hops.resolution(number("192.0.2.1")).problem, "unreachable");
  hops.setOwn(Ip.parse("10.0.0.5").bytes, false);
  assert.deepEqual([...hops.resolveAll()], [number("10.0.0.5")]);
  assert.equal(hops.resolution(number("10.0.0.5")).problem, "own address");
  assert.equal(hops.retain(Ip.parse("fe80::1").bytes, 4) === hops.retain(Ip.parse("fe80::1").bytes, 5), false);
});

Deno.test("numbers of next hops are used again when nobody uses them", () => {
  const hops = new NextHops(new FibView(), new FibView(), false);
  const first = hops.retain(Ip.parse("10.0.0.1").bytes);
  assert.equal(hops.retain(Ip.parse("10.0.0.1").bytes), first);
  hops.release(first);
  hops.release(first);
  assert.equal(hops.retain(Ip.parse("10.0.0.2").bytes), first);
  assert.equal(hops.address(first)?.join("."), "10.0.0.2");
});

Deno.test("after any wishes, losses, alterations, flushes and drains the kernel has what is wanted and no more", () => {
  const PREFIXES = ["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"];
  const step = fc.oneof(
    fc.record({
      kind: fc.constant("want" as const),
      which: fc.nat(2),
      way: fc.nat(3),
      metric: fc.constantFrom(0, 0, 512),
    }),
    fc.record({ kind: fc.constant("lose" as const), which: fc.nat(2) }),
    fc.record({ kind: fc.constant("alter" as const), which: fc.nat(2), way: fc.integer({ min: 1, max: 4 }) }),
    fc.record({ kind: fc.constant("flush" as const), which: fc.nat(2) }),
    fc.record({ kind: fc.constant("drain" as const), max: fc.integer({ min: 1, max: 2 }) }),
  );
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const prefixes = new PrefixTable(false);
    const table = new FibTable(4, prefixes);
    const kernel = new MapFib();
    const ids = PREFIXES.map((text) => prefixes.intern(Cidr.parse(text).ip.toNumber(), 0, 0, 0, 16));
    const wanted = new Map<string, string>();
    // One route of an earlier run that nobody comes to want.
    table.adopt(fibRoute("10.77.0.0/16", { via: "10.0.0.9", dev: 2, protocol: 12 }));
    kernel.routes.set("10.77.0.0/16 metric 0", "via 10.0.0.9 dev 2");
    for (const step of steps) {
      if (step.kind === "drain") {
        table.drain(kernel, step.max, () => {});
        continue;
      }
      const text = PREFIXES[step.which]!, id = ids[step.which]!;
      if (step.kind === "alter" || step.kind === "flush") {
        const key = [...kernel.routes.keys()].find((key) => key.startsWith(`${text} `));
        if (!key) continue;
        if (step.kind === "alter") {
          kernel.routes.set(key, `via 10.0.0.${step.way} dev 2`);
          table.inspect(routeOf(key, `via 10.0.0.${step.way} dev 2`));
        } else {
          kernel.routes.delete(key);
          table.inspectAll([...kernel.routes].map(([each, way]) => routeOf(each, way)));
        }
        continue;
      }
      if (step.kind === "want") {
        for (const key of [...wanted.keys()]) if (key.startsWith(`${text} `)) wanted.delete(key);
        const ways = [{ gateway: Ip.fromNumber(0x0a000000 + step.way).bytes, ifindex: 2 }];
        if (step.way > 0) wanted.set(`${text} metric ${step.metric}`, `via 10.0.0.${step.way} dev 2`);
        table.want(id, step.way === 0 ? 0 : table.set(ways, step.metric));
      } else {
        const key = [...kernel.routes.keys()].find((key) => key.startsWith(`${text} `));
        if (!key) continue;
        kernel.routes.delete(key);
        table.lose(fibRoute(text, { metric: Number(key.split(" ")[2]) }));
      }
    }
    while (table.isPending) table.drain(kernel, 10, () => {});
    assert.equal(kernel.routes.delete("10.77.0.0/16 metric 0"), true, "an adopted route stands");
    assert.deepEqual(Object.fromEntries(kernel.routes), Object.fromEntries(wanted));
    kernel.routes.set("10.77.0.0/16 metric 0", "old");
    table.sweep();
    while (table.isPending) table.drain(kernel, 10, () => {});
    assert.equal(kernel.routes.has("10.77.0.0/16 metric 0"), false, "until it is swept");
  }));
});

/** A route of `MapFib` as the kernel would tell it. */
function routeOf(key: string, way: string): FibRoute {
  const [destination = "", , metric] = key.split(" ");
  return fibRoute(destination, { via: way.split(" ")[1], dev: 2, protocol: 12, metric: Number(metric) });
}

/** [route, is it an own block, what it counts as] */
const SOURCES: [FibRoute, boolean, string | undefined][] = [
  [fibRoute("10.0.0.0/24", { protocol: 2, dev: 2 }), false, "device"],
  [fibRoute("10.0.1.0/24", { protocol: 2, dev: 3 }), false, undefined],
  [fibRoute("10.0.2.0/24", { protocol: 2, dev: 4 }), false, undefined],
  [fibRoute("10.0.3.0/24", { protocol: 2, dev: 99 }), false, undefined],
  [fibRoute("172.17.8.0/26", { type: 6, protocol: 80 }), true, "block"],
  [fibRoute("172.17.8.0/26", { type: 6, protocol: 80 }), false, "kernel"],
  [fibRoute("172.17.8.0/26", { type: 6, protocol: 4 }), true, "kernel"],
  [fibRoute("192.0.2.0/24", { via: "10.0.0.1", dev: 2 }), false, "kernel"],
  [fibRoute("224.0.0.0/4", { dev: 2 }), false, undefined],
  [fibRoute("fe80::/64", { protocol: 2, dev: 2 }), false, undefined],
  [fibRoute("ff00::/8", { dev: 2 }), false, undefined],
  [fibRoute("192.0.2.0/24", { type: 7 }), false, undefined],
];

for (const [route, isBlock, source] of SOURCES) {
  const text = `${Ip.fromBytes(route.address)}/${route.length} protocol ${route.protocol} type ${route.type}`;
  Deno.test(`${text} dev ${route.nexthops[0]?.ifindex} ${isBlock ? "of ours " : ""}counts as ${source ?? "nothing"}`, () => {
    const local = new LocalRoutes();
    const names = new Map([[2, "eth0"], [3, "cali12"], [4, "storage0"]]);
    const config = { ...EMPTY_CONFIG, ignoredInterfaces: ["storage*"] };
    const number = local.classify(route, config, isBlock, (index) => names.get(index));
    assert.equal(number < 0 ? undefined : local.facts(number).source, source);
    if (number >= 0) assert.equal(local.classify(route, config, isBlock, (index) => names.get(index)), number);
  });
}
