/** Calico's methods of finding the node's address, tried on one made-up host with many interfaces. */

import assert from "node:assert/strict";
import { findNodeAddress, type HostAddresses } from "../../../src/agent/node_address.ts";
import type { Link, Route } from "../../../src/dataplane/ports.ts";
import { Cidr, tryParseIpNet } from "../../../src/lib/cidr.ts";
import { Ip } from "../../../src/lib/ip.ts";

function link(index: number, name: string, isUp = true): Link {
  return { index, name, mac: "", mtu: 1500, isUp, isRunning: isUp, kind: "", alias: "" };
}

function address(index: number, text: string) {
  const net = tryParseIpNet(text);
  assert.ok(net);
  return { index, net, scope: 0 };
}

function route(destination: string, ifindex: number, rest: Partial<Route> = {}): Route {
  const base = { type: "unicast", table: 254, protocol: 4, scope: 0, metric: 0 } as const;
  return { ...base, destination: Cidr.parse(destination), nexthops: [{ ifindex }], ...rest };
}

const host: HostAddresses = {
  links: [
    link(1, "lo"),
    link(2, "docker0"),
    link(3, "eth0"),
    link(4, "eth1"),
    link(5, "caliabc"),
    link(6, "bond0"),
    link(7, "eth9", false),
  ],
  addresses: [
    address(1, "127.0.0.1/8"),
    address(2, "172.17.0.1/16"),
    address(3, "169.254.7.7/16"),
    address(3, "192.0.2.11/24"),
    address(3, "fe80::1/64"),
    address(3, "2001:db8::11/64"),
    address(4, "198.51.100.4/25"),
    address(5, "10.0.0.1/32"),
    address(6, "10.1.0.6/16"),
    address(7, "10.7.0.9/16"),
  ],
  routes: [
    route("0.0.0.0/0", 3, { nexthops: [{ ifindex: 3, gateway: Ip.parse("192.0.2.254") }] }),
    route("203.0.113.0/24", 4, { nexthops: [{ ifindex: 4, gateway: Ip.parse("198.51.100.1") }] }),
    route("10.9.0.0/16", 6, { source: Ip.parse("198.51.100.4") }),
    { ...route("10.8.0.0/16", 3), type: "blackhole", nexthops: [] },
  ],
};

const found: [method: string, family: 4 | 6, net: string][] = [
  ["autodetect", 4, "192.0.2.11/24"],
  ["first-found", 4, "192.0.2.11/24"],
  ["autodetect", 6, "2001:db8::11/64"],
  ["interface=eth1", 4, "198.51.100.4/25"],
  ["interface=bond.*,eth.*", 4, "10.1.0.6/16"],
  ["interface=docker0", 4, "172.17.0.1/16"],
  ["skip-interface=eth0", 4, "198.51.100.4/25"],
  ["skip-interface=eth.*", 4, "10.1.0.6/16"],
  ["cidr=198.51.100.0/24", 4, "198.51.100.4/25"],
  ["cidr=203.0.113.0/24,10.1.0.0/16", 4, "10.1.0.6/16"],
  ["can-reach=8.8.8.8", 4, "192.0.2.11/24"],
  ["can-reach=203.0.113.9", 4, "198.51.100.4/25"],
  ["can-reach=10.9.1.1", 4, "198.51.100.4/25"],
  ["198.51.100.4", 4, "198.51.100.4/25"],
  ["198.51.100.9/26", 4, "198.51.100.9/26"],
  ["10.99.0.1", 4, "10.99.0.1/32"],
];

for (const [method, family, net] of found) {
  Deno.test(`the method ${method} finds ${net}`, () => {
    const { net: result } = findNodeAddress(method, family, host);
    assert.equal(`${result?.ip}/${result?.length}`, net);
  });
}

const missing: [method: string, family: 4 | 6, why: RegExp][] = [
  ["interface=wlan.*", 4, /no interface that matches wlan\.\*/],
  ["skip-interface=eth.*", 6, /that does not match/],
  ["cidr=10.0.0.0/24", 4, /10\.0\.0\.0\/24/],
  ["cidr=nonsense", 4, /not a list of CIDR prefixes/],
  ["interface=(", 4, /not a list of regular expressions/],
  ["can-reach=example.org", 4, /names are not looked up/],
  ["2001:db8::11", 4, /not an IPv4 address/],
  ["guess", 4, /neither an address nor a method/],
];

for (const [method, family, why] of missing) {
  Deno.test(`the method ${method} finds nothing for IPv${family} and says why`, () => {
    const result = findNodeAddress(method, family, host);
    assert.equal(result.net, undefined);
    assert.match(result.why ?? "", why);
  });
}

Deno.test("none asks for no address and gives no reason", () => {
  assert.deepEqual(findNodeAddress("none", 6, host), {});
});

Deno.test("no default route means nothing can be reached beyond the routes there are", () => {
  const { why } = findNodeAddress("can-reach=8.8.8.8", 4, { ...host, routes: [] });
  assert.equal(why, "there is no route to 8.8.8.8");
});
