/** Debian's `ip` as the independent reader and writer: what we write it shows, what it writes we read, theirs stays theirs. */

import assert from "node:assert/strict";
import { Cidr } from "../../src/lib/cidr.ts";
import { Ip } from "../../src/lib/ip.ts";
import type { Nexthop, Route } from "../../src/dataplane/ports.ts";
import { NetlinkError } from "../../src/netlink/error.ts";
import { type LinuxKernel, openKernel } from "../../src/linux/kernel.ts";
import { inNamespaces, ip, ipJson, isRoot } from "./netlink_lab.ts";

const ignore = !isRoot;
const suffix = isRoot ? "" : " (skipped: needs root)";

/** A veth that is up, cali1 here and eth0 in the second namespace, with 192.0.2.1/24 and 2001:db8::1/64 at cali1. */
async function attached(
  near: string,
  far: string,
  body: (kernel: LinuxKernel, ifindex: number, peer: LinuxKernel) => Promise<void>,
) {
  const [kernel, peer] = [openKernel(near), openKernel(far)];
  try {
    const link = await kernel.links.createVeth({
      name: "cali1",
      mac: "ee:ee:ee:ee:ee:ee",
      peerName: "eth0",
      peerNamespace: peer,
    });
    await kernel.links.change(1, { isUp: true });
    await kernel.links.change(link.index, { isUp: true });
    await peer.links.change(link.peerIndex ?? 0, { isUp: true });
    ip(near, "addr", "add", "192.0.2.1/24", "dev", "cali1");
    ip(near, "addr", "add", "2001:db8::1/64", "dev", "cali1", "nodad");
    await body(kernel, link.index, peer);
  } finally {
    kernel.close();
    peer.close();
  }
}

function route(destination: string, nexthops: Nexthop[], rest: Partial<Route> = {}): Route {
  return {
    destination: Cidr.parse(destination),
    type: "unicast",
    table: 254,
    protocol: 12,
    scope: 0,
    metric: 0,
    nexthops,
    ...rest,
  };
}

async function apply(kernel: LinuxKernel, action: "replace" | "delete", ...routes: Route[]): Promise<void> {
  const errors = await kernel.fib.apply(routes.map((one) => ({ action, route: one })));
  assert.deepEqual(errors.map((error) => error?.message), routes.map(() => undefined));
}

/** The lines of `ip route show` without what only clutters. */
function shown(namespace: string, ...args: string[]): string[] {
  return ip(namespace, ...args).split("\n").map((line) =>
    line.replace(/ pref medium/g, "").replaceAll("\t", " ").trim()
  )
    .filter((line) => line !== "");
}

Deno.test(
  { name: `ip shows each route as it was written${suffix}`, ignore },
  () =>
    inNamespaces(2, (near, far) =>
      attached(near, far, async (kernel, ifindex) => {
        const gateway = Ip.parse("192.0.2.2"), gateway6 = Ip.parse("2001:db8::2");
        const table: [Route, string][] = [
          [
            route("172.17.9.0/26", [{ gateway: Ip.parse("192.168.100.101"), ifindex, isOnlink: true }]),
            "172.17.9.0/26 via 192.168.100.101 dev cali1 proto bird onlink",
          ],
          [
            route("10.0.0.5/32", [{ ifindex }], { protocol: 3, scope: 253 }),
            "10.0.0.5 dev cali1 scope link",
          ],
          [route("172.17.8.0/26", [], { type: "blackhole", protocol: 80 }), "blackhole 172.17.8.0/26 proto 80"],
          [
            route("172.17.7.0/26", [], { type: "unreachable", metric: 7 }),
            "unreachable 172.17.7.0/26 proto bird metric 7",
          ],
          [route("172.17.6.0/26", [], { type: "prohibit" }), "prohibit 172.17.6.0/26 proto bird"],
          [route("172.17.5.0/26", [], { type: "throw" }), "throw 172.17.5.0/26 proto bird"],
          [
            route("0.0.0.0/0", [{ gateway, ifindex }], { source: Ip.parse("192.0.2.1") }),
            "default via 192.0.2.2 dev cali1 proto bird src 192.0.2.1",
          ],
          [
            route("10.9.0.0/16", [{ gateway: Ip.parse("fe80::1"), ifindex }]),
            "10.9.0.0/16 via inet6 fe80::1 dev cali1 proto bird",
          ],
          [
            route("2001:db8:9::/64", [{ gateway: Ip.parse("fe80::1"), ifindex }]),
            "2001:db8:9::/64 via fe80::1 dev cali1 proto bird metric 1024",
          ],
          [
            route("2001:db8:8::/64", [{ gateway: gateway6, ifindex }], { metric: 50, source: Ip.parse("2001:db8::1") }),
            "2001:db8:8::/64 via 2001:db8::2 dev cali1 proto bird src 2001:db8::1 metric 50",
          ],
          [
            route("2001:db8:7::/64", [], { type: "blackhole", protocol: 80 }),
            "blackhole 2001:db8:7::/64 dev lo proto 80 metric 1024",
          ],
          [
            route("2001:db8:6::5/128", [{ ifindex }], { protocol: 3 }),
            "2001:db8:6::5 dev cali1 metric 1024",
          ],
          [
            route("2001:db8:5::/64", [{ gateway: Ip.parse("2001:db8:ffff::1"), ifindex, isOnlink: true }]),
            "2001:db8:5::/64 via 2001:db8:ffff::1 dev cali1 proto bird metric 1024 onlink",
          ],
        ];
        for (const [one, text] of table) {
          await apply(kernel, "replace", one);
          const family = `-${one.destination.family}`;
          assert.ok(
            shown(near, family, "route", "show", "table", "main").includes(text),
            `${text}\nis not in\n${ip(near, family, "route")}`,
          );
        }
        await apply(kernel, "replace", route("10.8.0.0/16", [{ gateway, ifindex }], { table: 70000 }));
        assert.deepEqual(shown(near, "route", "show", "table", "70000"), [
          "10.8.0.0/16 via 192.0.2.2 dev cali1 proto bird",
        ]);
        await apply(kernel, "delete", ...table.map(([one]) => one));
        const left = [...shown(near, "-4", "route"), ...shown(near, "-6", "route")].filter((line) =>
          !line.includes("proto kernel")
        );
        assert.deepEqual(left, []);
      })),
);

Deno.test(
  { name: `several paths are written, changed and removed in IPv4 and IPv6${suffix}`, ignore },
  () =>
    inNamespaces(2, (near, far) =>
      attached(near, far, async (kernel, ifindex) => {
        for (const [destination, prefix] of [["10.3.0.0/16", "192.0.2."], ["2001:db8:3::/48", "2001:db8::"]] as const) {
          const hop = (n: number, weight?: number): Nexthop => ({
            gateway: Ip.parse(`${prefix}${n}`),
            ifindex,
            ...(weight && { weight }),
          });
          const family = `-${Cidr.parse(destination).family}`;
          const hops = (): string[] => {
            const [found] = ipJson(near, family, "route", "show", destination);
            const list = (found?.nexthops ?? (found ? [{ ...found, weight: 1 }] : [])) as {
              gateway: string;
              weight: number;
            }[];
            return list.map(({ gateway, weight }) => `${gateway} ${weight}`).sort();
          };
          const sets: Nexthop[][] = [[hop(2), hop(3, 5)], [hop(4), hop(3), hop(2)], [hop(2)], [hop(2), hop(4)]];
          for (const nexthops of sets) {
            await apply(kernel, "replace", route(destination, nexthops));
            assert.deepEqual(hops(), nexthops.map(({ gateway, weight }) => `${gateway} ${weight ?? 1}`).sort());
            const [ours] = (await kernel.fib.list({ protocol: 12 })).filter((one) =>
              `${one.destination}` === destination
            );
            assert.deepEqual(ours?.nexthops.map(({ gateway, weight }) => `${gateway} ${weight ?? 1}`).sort(), hops());
          }
          await apply(kernel, "delete", route(destination, [hop(2), hop(4)]));
          assert.deepEqual(hops(), []);
        }
      })),
);

Deno.test(
  { name: `routes of others to the same destination stay${suffix}`, ignore },
  () =>
    inNamespaces(2, (near, far) =>
      attached(near, far, async (kernel, ifindex) => {
        const theirs = [
          "10.1.0.0/16 via 192.0.2.9 dev cali1 proto static metric 5",
          "10.1.0.0/16 via 192.0.2.2 dev cali1 proto static metric 10",
          "2001:db8:1::/48 via 2001:db8::9 dev cali1 proto static metric 5",
          "2001:db8:1::/48 via 2001:db8::2 dev cali1 proto static metric 10",
        ];
        for (const line of theirs) ip(near, "route", "add", ...line.split(" "));
        const ours = [
          route("10.1.0.0/16", [{ gateway: Ip.parse("192.0.2.2"), ifindex }], { metric: 20 }),
          route("2001:db8:1::/48", [{ gateway: Ip.parse("2001:db8::2"), ifindex }], { metric: 20 }),
        ];
        await apply(kernel, "replace", ...ours);
        const nearMisses = ours.flatMap((
          one,
        ) => [{ ...one, metric: 10 }, { ...one, metric: 5 }, { ...one, metric: 0 }]);
        await apply(kernel, "delete", ...nearMisses, ...ours, ...ours);
        const left = ["-4", "-6"].flatMap((family) => shown(near, family, "route", "show", "proto", "static"));
        assert.deepEqual(left, theirs.map((line) => line.replace(" proto static", "")));
        assert.deepEqual(["-4", "-6"].flatMap((family) => shown(near, family, "route", "show", "proto", "bird")), []);
      })),
);

Deno.test(
  { name: `links, addresses and neighbours that we write are shown by ip${suffix}`, ignore },
  () =>
    inNamespaces(2, (near, far) =>
      attached(near, far, async (kernel, index, peer) => {
        await kernel.links.change(index, { mtu: 1400, mac: "ee:ee:ee:ee:ee:01", alias: "wörkload/web", name: "cali9" });
        await kernel.links.addAddress({ index, net: { ip: Ip.parse("198.51.100.7"), length: 32 }, scope: 253 });
        await kernel.links.addAddress({ index, net: { ip: Ip.parse("2001:db8:7::7"), length: 128 }, scope: 0 });
        await kernel.neighbours.replace({
          index,
          ip: Ip.parse("192.0.2.9"),
          mac: "02:00:00:00:00:09",
          state: 0x80,
          flags: 0,
        });
        await kernel.neighbours.replace({ index, ip: Ip.parse("192.0.2.10"), state: 0, flags: 8 });
        const [link] = ipJson(near, "addr", "show", "dev", "cali9");
        assert.deepEqual([link?.mtu, link?.address, link?.ifalias], [1400, "ee:ee:ee:ee:ee:01", "wörkload/web"]);
        const addresses = (link?.addr_info as { local: string; prefixlen: number; scope: string }[])
          .map(({ local, prefixlen, scope }) => `${local}/${prefixlen} ${scope}`);
        for (const text of ["198.51.100.7/32 link", "2001:db8:7::7/128 global"]) {
          assert.ok(addresses.includes(text), `${addresses}`);
        }
        assert.deepEqual(ipJson(near, "neigh", "show", "nud", "permanent").map(({ dst, lladdr }) => [dst, lladdr]), [[
          "192.0.2.9",
          "02:00:00:00:00:09",
        ]]);
        assert.deepEqual(
          ipJson(near, "neigh", "show", "proxy").map(({ dst }) => dst),
          ["192.0.2.10"],
        );
        const eth0 = await peer.links.get("eth0");
        await peer.links.move(eth0?.index ?? 0, kernel);
        assert.deepEqual(ipJson(far, "link", "show").map(({ ifname }) => ifname), ["lo"]);
        assert.ok(
          ipJson(near, "link", "show").some(({ ifname }) => ifname === "eth0"),
        );
      })),
);

Deno.test({
  name: `what ip writes is read: a tap, a bridge and its port, addresses, routes, neighbours and rules${suffix}`,
  ignore,
}, () =>
  inNamespaces(1, async (name) => {
    const kernel = openKernel(name);
    try {
      const lines = [
        "link set lo up",
        "tuntap add tap0 mode tap",
        "link add br0 type bridge",
        "link set tap0 master br0",
        "link set br0 up",
        "addr add 192.0.2.1/24 dev br0",
        "route add 10.1.0.0/16 via 192.0.2.2 proto 80 metric 3",
        "route add blackhole 10.2.0.0/16",
        "-6 route add unreachable 2001:db8::/32",
        "neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev br0",
        "rule add from 10.0.0.0/8 fwmark 0x10/0xf0 lookup 1000 priority 99",
      ];
      for (const line of lines) ip(name, ...line.split(" "));
      const [tap, bridge] = [await kernel.links.get("tap0"), await kernel.links.get("br0")];
      assert.deepEqual([tap?.kind, bridge?.kind, tap?.master, tap?.isUp, bridge?.isUp], [
        "tun",
        "bridge",
        bridge?.index,
        false,
        true,
      ]);
      assert.deepEqual(
        (await kernel.links.addresses()).filter(({ index }) => index === bridge?.index).map(({ net }) =>
          `${net.ip}/${net.length}`
        )
          .filter((text) => !text.startsWith("fe80")),
        ["192.0.2.1/24"],
      );
      const routes = (await kernel.fib.list({ table: 254 })).filter(({ protocol }) => protocol !== 2);
      assert.deepEqual(
        routes.map((one) =>
          `${one.type} ${one.destination} ${one.nexthops[0]?.gateway ?? ""} ${one.protocol} ${one.metric}`
        ),
        [
          "unicast 10.1.0.0/16 192.0.2.2 80 3",
          "blackhole 10.2.0.0/16  3 0",
          "unreachable 2001:db8::/32  3 1024",
        ],
      );
      assert.deepEqual(
        (await kernel.neighbours.list()).filter(({ state }) => state === 0x80).map(({ ip: of, mac }) => `${of} ${mac}`),
        ["192.0.2.9 02:00:00:00:00:09"],
      );
      const [rule] = (await kernel.rules.list(4)).filter(({ priority }) => priority === 99);
      assert.deepEqual([`${rule?.from}`, rule?.mark, rule?.table], ["10.0.0.0/8", { value: 0x10, mask: 0xf0 }, 1000]);
      assert.ok(rule);
      await kernel.rules.delete(rule);
      await kernel.rules.delete(rule);
      assert.ok(!ip(name, "rule").includes("fwmark"));
      await kernel.rules.add(rule);
      await kernel.rules.add(rule);
      assert.match(ip(name, "rule"), /^99:\s+from 10\.0\.0\.0\/8 fwmark 0x10\/0xf0 lookup 1000/m);
    } finally {
      kernel.close();
    }
  }));

Deno.test(
  { name: `refusals carry the kernel's own words${suffix}`, ignore },
  () =>
    inNamespaces(2, (near, far) =>
      attached(near, far, async (kernel, ifindex) => {
        await assert.rejects(() => kernel.links.change(ifindex, { mtu: 10 }), {
          message: `Cannot link set ${ifindex} mtu 10: mtu less than device minimum (EINVAL)`,
        });
        const [invalid, source] = await kernel.fib.apply([
          { action: "replace", route: route("10.1.0.0/16", [{ gateway: Ip.parse("203.0.113.1"), ifindex }]) },
          {
            action: "replace",
            route: route("10.2.0.0/16", [{ ifindex }], { scope: 253, source: Ip.parse("203.0.113.1") }),
          },
        ]);
        assert.equal(
          invalid?.message,
          `Cannot route replace 10.1.0.0/16 via 203.0.113.1 dev ${ifindex}: Nexthop has invalid gateway (ENETUNREACH)`,
        );
        assert.equal(source?.kernelMessage, "Invalid prefsrc address");
        const longName = await kernel.links.createVeth({
          name: "a-name-longer-than-15",
          mac: "ee:ee:ee:ee:ee:ee",
          peerName: "x",
        }).catch((error) => error);
        assert.match(longName.message, /^Cannot link add a-name-longer-than-15 type veth peer x: /);
        assert.ok(longName.offset > 0, "the kernel points at the attribute");
        const request = { name: "cali2", mac: "ee:ee:ee:ee:ee:ee", peerName: "x", alias: "y".repeat(300) };
        await assert.rejects(() => kernel.links.createVeth(request), NetlinkError);
        assert.deepEqual([await kernel.links.get("cali2"), await kernel.links.get("x")], [undefined, undefined]);
      })),
);
