/** What a real kernel sent, decoded and compared with what `ip -j` made of the same tables (recorded by record.ts). */

import assert from "node:assert/strict";
import { decodeAddress } from "../../../src/netlink/address.ts";
import { decodeLink } from "../../../src/netlink/link.ts";
import { decodeAck, type Message, NLMSG_DONE, readMessages } from "../../../src/netlink/message.ts";
import { decodeNeighbour } from "../../../src/netlink/neighbour.ts";
import { decodeRoute } from "../../../src/netlink/route_row.ts";
import { decodeRule } from "../../../src/netlink/rule.ts";
import { unhex } from "./bytes_text.ts";
import recorded from "./recorded.json" with { type: "json" };

// deno-lint-ignore no-explicit-any -- the JSON of `ip` has a different shape for each object
type Json = any;

function messages(table: { datagrams: string[] }): Message[] {
  return table.datagrams.flatMap((datagram) => [...readMessages(unhex(datagram))]).filter(({ type }) =>
    type !== NLMSG_DONE
  );
}

function decoded<T>(table: { datagrams: string[] }, decode: (body: Uint8Array) => T | undefined): T[] {
  return messages(table).map(({ body }) => decode(body)).filter((value) => value !== undefined);
}

const ipLinks: Json[] = JSON.parse(recorded.links.ip);
const nameOf = new Map(decoded(recorded.links, decodeLink).map(({ index, name }) => [index, name]));
const dev = (ifindex: number | undefined) => nameOf.get(ifindex ?? 0);

Deno.test("recorded links are those that ip shows", () => {
  const ours = decoded(recorded.links, decodeLink);
  assert.ok(ours.length === ipLinks.length && ours.length >= 4);
  for (const [i, link] of ours.entries()) {
    const theirs = ipLinks[i];
    assert.deepEqual(
      [
        link.index,
        link.name,
        link.mac,
        link.mtu,
        link.kind,
        link.alias,
        link.isUp,
        dev(link.master),
        dev(link.peerIndex),
      ],
      [
        theirs.ifindex,
        theirs.ifname,
        theirs.address,
        theirs.mtu,
        theirs.linkinfo?.info_kind ?? "",
        theirs.ifalias ?? "",
        theirs.flags.includes("UP"),
        theirs.master,
        theirs.link,
      ],
    );
  }
});

Deno.test("recorded addresses are those that ip shows", () => {
  const scopes: Record<number, string> = { 0: "global", 253: "link", 254: "host" };
  const ours = decoded(recorded.addresses, decodeAddress)
    .map(({ index, net, scope }) => `${dev(index)} ${net.ip}/${net.length} ${scopes[scope]}`);
  const theirs = JSON.parse(recorded.addresses.ip).flatMap((link: Json) =>
    link.addr_info.map((info: Json) => `${link.ifname} ${info.local}/${info.prefixlen} ${info.scope}`)
  );
  assert.ok(ours.length >= 5);
  assert.deepEqual(ours.sort(), theirs.sort());
});

const TYPES = [
  "",
  "unicast",
  "local",
  "broadcast",
  "anycast",
  "multicast",
  "blackhole",
  "unreachable",
  "prohibit",
  "throw",
];

/** A route of `ip -j -N` in the words of `ourRoute`; numbers it leaves out are its defaults. */
function theirRoute(route: Json, family: 4 | 6): Json {
  const full = family === 4 ? 32 : 128;
  const whole = route.dst === "default" ? (family === 4 ? "0.0.0.0/0" : "::/0") : route.dst;
  const type = TYPES[Number(route.type ?? 1)] ?? "";
  const hops = route.nexthops ?? [{ ...route, weight: 1 }];
  return {
    destination: whole.includes("/") ? whole : `${whole}/${full}`,
    type,
    table: Number(route.table ?? 254),
    protocol: Number(route.protocol ?? 3),
    metric: route.metric ?? 0,
    source: route.prefsrc,
    nexthops: ["blackhole", "unreachable"].includes(type)
      ? []
      : hops.map((hop: Json) => [hop.gateway ?? hop.via?.host, hop.dev, hop.weight, hop.flags.includes("onlink")]),
  };
}

for (const [family, table] of [[4, recorded.routes4], [6, recorded.routes6]] as const) {
  Deno.test(`recorded IPv${family} routes are those that ip shows`, () => {
    const ours = decoded(table, decodeRoute).map((route) => ({
      destination: `${route.destination}`,
      type: route.type,
      table: route.table,
      protocol: route.protocol,
      metric: route.metric,
      source: route.source && `${route.source}`,
      nexthops: route.nexthops.map((
        hop,
      ) => [hop.gateway && `${hop.gateway}`, dev(hop.ifindex), hop.weight ?? 1, hop.isOnlink ?? false]),
    }));
    assert.ok(ours.length >= 8);
    assert.deepEqual(ours, JSON.parse(table.ip).map((route: Json) => theirRoute(route, family)));
  });
}

Deno.test("recorded neighbours and proxies are those that ip shows", () => {
  const entries = decoded(recorded.neighbours, decodeNeighbour).filter(({ state }) => state === 0x80);
  assert.deepEqual(
    entries.map(({ ip, index, mac }) => [`${ip}`, dev(index), mac]),
    JSON.parse(recorded.neighbours.ip).map((entry: Json) => [entry.dst, entry.dev, entry.lladdr]),
  );
  assert.deepEqual(
    decoded(recorded.proxies, decodeNeighbour).map((
      { ip, index, mac, flags },
    ) => [`${ip}`, dev(index), mac, flags & 8]),
    JSON.parse(recorded.proxies.ip).map((entry: Json) => [entry.dst, entry.dev, undefined, 8]),
  );
});

Deno.test("recorded rules are those that ip shows", () => {
  const cidr = (address: string | undefined, length: number | undefined) =>
    address && address !== "all" ? `${address}/${length ?? 32}` : undefined;
  assert.deepEqual(
    decoded(recorded.rules, decodeRule).map((
      { priority, table, from, to, mark, incoming },
    ) => [priority, table, from && `${from}`, to && `${to}`, mark?.value, mark?.mask, incoming]),
    JSON.parse(recorded.rules.ip).map((rule: Json) => [
      rule.priority,
      Number(rule.table),
      cidr(rule.src, rule.srclen),
      cidr(rule.dst, rule.dstlen),
      rule.fwmark && Number(rule.fwmark),
      rule.fwmask && Number(rule.fwmask),
      rule.iif,
    ]),
  );
});

Deno.test("a recorded refusal gives errno and the kernel's words", () => {
  const [message] = messages(recorded.refusal);
  assert.ok(message);
  assert.deepEqual(decodeAck(message), { errno: 22, text: "mtu less than device minimum" });
});
