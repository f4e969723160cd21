/** Members of sets: text to elements and back, intervals without overlap, and damaged bytes. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { ByteWriter } from "../../../../src/lib/bytes.ts";
import { Cidr } from "../../../../src/lib/cidr.ts";
import { Ip } from "../../../../src/lib/ip.ts";
import { MalformedError } from "../../../../src/netlink/malformed.ts";
import type { SetDeclaration } from "../../../../src/netlink/nft/command.ts";
import {
  type ActualElement,
  canonicalMembers,
  membersOf,
  putElement,
  readElements,
} from "../../../../src/netlink/nft/elements.ts";
import { disjointMembers, parseInterval } from "../../../../src/netlink/nft/intervals.ts";
import type { DataType, NamedSet } from "../../../../src/netlink/nft/ruleset.ts";
import { keyTypeId, keyTypes } from "../../../../src/netlink/nft/values.ts";

const ipv4 = fc.nat(0xff).map((i) => `10.0.${i >> 4}.${i & 15}`);
const cidr4 = fc.tuple(fc.nat(0xff), fc.integer({ min: 20, max: 32 }))
  .map(([i, length]) => Cidr.of(Ip.fromNumber(0x0a000000 + i * 17), length).toString().replace(/\/32$/, ""));
const cidr6 = fc.tuple(fc.nat(0xff), fc.integer({ min: 112, max: 128 }))
  .map(([i, length]) =>
    Cidr.of(Ip.parse(`2001:db8::${(i * 257).toString(16)}`), length).toString().replace(/\/128$/, "")
  );
const ports = fc.tuple(fc.nat(300), fc.nat(20)).map(([from, more]) =>
  more === 0 ? `${from}` : `${from}-${from + more}`
);
const valueOf: Record<DataType, fc.Arbitrary<string>> = {
  ipv4_addr: ipv4,
  ipv6_addr: fc.nat(0xffff).map((i) => Ip.parse(`2001:db8::${i.toString(16)}`).toString()),
  ether_addr: fc.nat(255).map((i) => `02:00:00:00:00:${i.toString(16).padStart(2, "0")}`),
  inet_proto: fc.constantFrom("tcp", "udp", "sctp", "200"),
  inet_service: fc.nat(65535).map((i) => `${i}`),
  mark: fc.nat(0xffffffff).map((i) => `0x${i.toString(16).padStart(8, "0")}`),
  ifname: fc.nat(9999).map((i) => `cali${i}`),
};

function roundTrip(set: SetDeclaration, members: ReadonlyMap<string, string>): Map<string, string> {
  const writer = new ByteWriter();
  for (const [member, value] of members) putElement(writer, set, member, value);
  const elements: ActualElement[] = [];
  readElements(writer.view(), 0, writer.length, set.value, (element) => void elements.push(element));
  // The kernel gives elements in any order.
  return membersOf(set, elements.reverse());
}

const sorted = (map: ReadonlyMap<string, string>) => [...map].sort();

Deno.test("members of every key type, alone and side by side, come back as the same text", () => {
  const key = fc.array(fc.constantFrom(...Object.keys(valueOf) as DataType[]), { minLength: 1, maxLength: 4 });
  fc.assert(fc.property(
    key.chain((types) =>
      fc.record({
        types: fc.constant(types),
        members: fc.array(fc.tuple(...types.map((type) => valueOf[type])).map((parts) => parts.join(" . ")), {
          maxLength: 8,
        }),
      })
    ),
    ({ types, members }) => {
      const wanted = new Map(members.map((member) => [member, ""]));
      assert.deepEqual(sorted(roundTrip({ name: "s", key: types }, wanted)), sorted(wanted));
      assert.deepEqual(keyTypes(keyTypeId(types)), types);
    },
  ));
});

Deno.test("maps keep their verdicts and values", () => {
  const verdict = fc.constantFrom("accept", "drop", "return", "goto cali-fw-x", "jump cali-tw-y");
  fc.assert(fc.property(fc.dictionary(valueOf.ifname, verdict), fc.dictionary(ipv4, ipv4), (verdicts, values) => {
    for (
      const [set, pairs] of [[{ name: "m", key: ["ifname"], value: "verdict" }, verdicts], [{
        name: "m",
        key: ["ipv4_addr"],
        value: "ipv4_addr",
      }, values]] as const
    ) {
      const wanted = new Map(Object.entries(pairs));
      assert.deepEqual(sorted(roundTrip(set, wanted)), sorted(wanted));
    }
  }));
});

Deno.test("interval members come back without overlap, at both ends of the numbers too", () => {
  const kinds: [DataType, fc.Arbitrary<string>][] = [
    ["ipv4_addr", fc.oneof(cidr4, fc.constantFrom("0.0.0.0/8", "255.255.255.255", "240.0.0.0/4"))],
    ["ipv6_addr", fc.oneof(cidr6, fc.constantFrom("::/16", "ffff::/16"))],
    ["inet_service", fc.oneof(ports, fc.constantFrom("0", "65535", "60000-65535"))],
  ];
  for (const [type, member] of kinds) {
    fc.assert(fc.property(fc.array(member, { maxLength: 12 }), (list) => {
      const set: NamedSet = { name: "s", key: [type], isInterval: true, elements: new Set(list) };
      const wanted = canonicalMembers(set);
      assert.deepEqual(sorted(roundTrip(set, wanted)), sorted(wanted));
    }));
  }
});

Deno.test("concatenated intervals come back as the same text", () => {
  const set: SetDeclaration = { name: "s", key: ["ipv4_addr", "inet_proto", "inet_service"], isInterval: true };
  fc.assert(
    fc.property(fc.array(fc.tuple(cidr4, valueOf.inet_proto, ports).map((parts) => parts.join(" . "))), (list) => {
      const wanted = canonicalMembers({ ...set, elements: new Set(list) });
      assert.deepEqual(sorted(roundTrip(set, wanted)), sorted(wanted));
    }),
  );
});

Deno.test("what is made free of overlap covers the same addresses, each once", () => {
  fc.assert(
    fc.property(
      fc.array(cidr4, { maxLength: 10 }),
      fc.array(ipv4, { minLength: 20, maxLength: 20 }),
      (list, probes) => {
        const found = [...disjointMembers("ipv4_addr", list).keys()];
        const holds = (member: string, ip: Ip) => {
          const { from, to } = parseInterval("ipv4_addr", member);
          return Ip.fromBytes(from).compare(ip) <= 0 && ip.compare(Ip.fromBytes(to)) <= 0;
        };
        for (const probe of [...probes, ...list.map((member) => member.replace(/\/.*/, ""))]) {
          const ip = Ip.parse(probe);
          const covering = found.filter((member) => holds(member, ip)).length;
          assert.equal(covering, list.some((member) => holds(member, ip)) ? 1 : 0, `${probe} in ${found}`);
        }
      },
    ),
  );
});

Deno.test("members that only touch stay apart, so that none changes with its neighbour", () => {
  assert.deepEqual([...disjointMembers("ipv4_addr", ["10.0.0.1", "10.0.0.0", "10.0.0.2/31"]).keys()].sort(), [
    "10.0.0.0",
    "10.0.0.1",
    "10.0.0.2/31",
  ]);
  assert.deepEqual([...disjointMembers("inet_service", ["80", "81-90", "85-99"]).keys()].sort(), ["80", "81-99"]);
});

Deno.test("other spellings of a member are one member", () => {
  const set: NamedSet = { name: "s", key: ["ipv6_addr"], elements: new Set(["2001:DB8:0::1", "2001:db8::1/128"]) };
  assert.deepEqual([...canonicalMembers(set).keys()], ["2001:db8::1"]);
  const v4: NamedSet = {
    name: "s",
    key: ["ipv4_addr"],
    isInterval: true,
    elements: new Set(["10.1.2.3/8", "10.0.0.0/8", "1.1.1.1/32"]),
  };
  assert.deepEqual([...canonicalMembers(v4).keys()].sort(), ["1.1.1.1", "10.0.0.0/8"]);
});

Deno.test("text that is no member is refused", () => {
  for (
    const member of [
      "",
      "10.0.0",
      "10.0.0.256",
      "10.0.0.0/33",
      "10.0.0.9-10.0.0.1",
      "::1",
      "10.0.0.1 . tcp",
      "10.0.0.0/08",
    ]
  ) {
    const set: NamedSet = { name: "s", key: ["ipv4_addr"], isInterval: true, elements: new Set([member]) };
    assert.throws(() => canonicalMembers(set), RangeError, member);
    assert.throws(() => putElement(new ByteWriter(), set, member, ""), RangeError, member);
  }
});

Deno.test("damaged elements are refused with MalformedError or read, and nothing else", () => {
  const set: SetDeclaration = { name: "s", key: ["ifname"], value: "verdict" };
  let refused = 0;
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 }), fc.nat(), (edits, cut) => {
      const writer = new ByteWriter();
      for (const member of ["cali1", "cali2"]) putElement(writer, set, member, "goto cali-fw-x");
      const bytes = writer.bytes();
      for (const [at, byte] of edits) bytes[at % bytes.length] = byte;
      const length = cut % 3 === 0 ? cut % bytes.length : bytes.length;
      try {
        const elements: ActualElement[] = [];
        readElements(bytes.subarray(0, length), 0, length, "verdict", (element) => void elements.push(element));
        membersOf(set, elements);
        membersOf({ key: ["ipv4_addr"], isInterval: true }, elements);
      } catch (error) {
        assert.ok(error instanceof MalformedError, String(error));
        refused++;
      }
    }),
    { numRuns: 3000 },
  );
  assert.ok(refused > 100, `only ${refused} were refused`);
});
