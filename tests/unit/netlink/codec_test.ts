/** Links, addresses, routes, neighbours and rules: decoding what was encoded, and the layout of what is asked. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { ByteWriter } from "../../../src/lib/bytes.ts";
import { Cidr } from "../../../src/lib/cidr.ts";
import { Ip } from "../../../src/lib/ip.ts";
import { decodeAddress, newAddress } from "../../../src/netlink/address.ts";
import { decodeLink, newVeth, setLink } from "../../../src/netlink/link.ts";
import { decodeNeighbour, newNeighbour } from "../../../src/netlink/neighbour.ts";
import type { Request } from "../../../src/netlink/request.ts";
import { addRoute, deleteRoute, replaceRoute, type RouteMessage } from "../../../src/netlink/route.ts";
import { decodeRoute } from "../../../src/netlink/route_row.ts";
import { decodeRule, newRule } from "../../../src/netlink/rule.ts";
import { addresses, mac, name, neighbours, routes, rules } from "./arbitraries.ts";
import { hex, unhex } from "./bytes_text.ts";

function bodyOf(request: Request): Uint8Array {
  const writer = new ByteWriter();
  request.body(writer);
  return writer.bytes();
}

/** Compares by JSON, in which addresses and prefixes are their text and absent equals undefined. */
function same(actual: unknown, expected: unknown): void {
  assert.deepEqual(JSON.parse(JSON.stringify(actual)), JSON.parse(JSON.stringify(expected)));
}

Deno.test("every address decodes to what was encoded", () => {
  fc.assert(fc.property(addresses, (address) => same(decodeAddress(bodyOf(newAddress(address))), address)));
});

Deno.test("every route decodes to what was encoded", () => {
  fc.assert(fc.property(routes, (route) => same(decodeRoute(bodyOf(replaceRoute(route))), route)), { numRuns: 500 });
});

Deno.test("every neighbour decodes to what was encoded", () => {
  fc.assert(fc.property(neighbours, (neighbour) => same(decodeNeighbour(bodyOf(newNeighbour(neighbour))), neighbour)));
});

Deno.test("every rule decodes to what was encoded", () => {
  fc.assert(fc.property(rules, (rule) => same(decodeRule(bodyOf(newRule(rule))), rule)));
});

Deno.test("what is said of a link reads back from it", () => {
  const settings = fc.record({
    name,
    mac,
    mtu: fc.integer({ min: 0, max: 65535 }),
    alias: fc.string({ maxLength: 60 }).filter((text) => !text.includes("\0") && text.isWellFormed()),
    isUp: fc.boolean(),
  });
  fc.assert(fc.property(settings, fc.integer({ min: 1, max: 0x7fffffff }), (wanted, index) => {
    const link = decodeLink(bodyOf(setLink(index, wanted)));
    assert.deepEqual({ ...link, ...wanted }, link);
    assert.equal(link?.index, index);
  }));
});

Deno.test("a veth is asked for with its peer in one message", () => {
  const request = newVeth({ name: "cali1", mac: "ee:ee:ee:ee:ee:ee" }, { name: "eth0", namespace: { fd: 9 } });
  assert.equal(request.operation, "link add cali1 type veth peer eth0");
  const words = [
    "00000000 00000000 00000000 00000000", // struct ifinfomsg
    "0a00 0300 63616c693100 0000", // IFLA_IFNAME "cali1"
    "0a00 0100 eeeeeeeeeeee 0000", // IFLA_ADDRESS
    "3c00 1200", // IFLA_LINKINFO
    "0900 0100 7665746800 000000", // IFLA_INFO_KIND "veth"
    "2c00 0200 2800 0100", // IFLA_INFO_DATA, VETH_INFO_PEER
    "00000000 00000000 00000000 00000000", // struct ifinfomsg
    "0900 0300 6574683000 000000", // IFLA_IFNAME "eth0"
    "0800 1c00 09000000", // IFLA_NET_NS_FD
  ];
  assert.equal(hex(bodyOf(request)), words.join("").replaceAll(" ", ""));
});

Deno.test("messages that speak of something else decode to nothing", () => {
  const bridgePort = unhex("07000000 02000000 00000000 00000000");
  assert.equal(decodeLink(bridgePort), undefined);
  const cachedRoute = unhex("0a800000 fe000001 00020000");
  assert.equal(decodeRoute(cachedRoute), undefined);
  const bridgeEntry = unhex("07000000 02000000 80000000");
  assert.equal(decodeNeighbour(bridgeEntry), undefined);
});

const sink: RouteMessage = {
  destination: Cidr.parse("2001:db8::/32"),
  type: "blackhole",
  table: 254,
  protocol: 80,
  scope: 0,
  metric: 0,
  nexthops: [],
};

Deno.test("deleting an IPv6 blackhole names metric 1024 and loopback, so that nothing else can match", () => {
  const removal = decodeRoute(bodyOf(deleteRoute({ ...sink, type: "unicast" })));
  assert.equal(removal?.metric, 1024);
  const body = hex(bodyOf(deleteRoute(sink)));
  assert.ok(body.endsWith("0800" + "0400" + "01000000"), body);
});

Deno.test("operations are said in the words of ip", () => {
  const hop = { gateway: Ip.parse("192.0.2.2"), ifindex: 3 };
  const route: RouteMessage = {
    ...sink,
    destination: Cidr.parse("10.0.0.0/8"),
    type: "unicast",
    table: 100,
    nexthops: [hop],
  };
  assert.equal(replaceRoute(route).operation, "route replace 10.0.0.0/8 via 192.0.2.2 dev 3 table 100");
  assert.equal(addRoute(sink).operation, "route add blackhole 2001:db8::/32");
  assert.equal(setLink(3, { isUp: true, mtu: 1400 }).operation, "link set 3 mtu 1400 up");
});

Deno.test("a route of more paths than a message can hold is refused with a RangeError", () => {
  const nexthops = new Array(1025).fill({ ifindex: 1 });
  assert.throws(() => replaceRoute({ ...sink, nexthops }), RangeError);
});

Deno.test("a MAC that is none is refused with a SyntaxError", () => {
  assert.throws(() => bodyOf(setLink(1, { mac: "ee:ee" })), SyntaxError);
});
