/**
 * UPDATE messages and prefixes: any read back, malformed ones end as RFC 7606 has it, and no octets make the parser
 * throw.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { encodeAttributes } from "../../../../src/bgp/wire/attributes.ts";
import { HEADER_LENGTH, IPV4_UNICAST, IPV6_UNICAST } from "../../../../src/bgp/wire/constants.ts";
import { isValidNlri, NlriCursor, nlriSize, putIpv4, putIpv6 } from "../../../../src/bgp/wire/nlri.ts";
import type { WireOptions } from "../../../../src/bgp/wire/options.ts";
import { parseUpdate, UpdateView } from "../../../../src/bgp/wire/update.ts";
import {
  encodeAnnounceIpv4,
  encodeAnnounceMp,
  encodeEndOfRib,
  encodeWithdraw,
  nlriRoom,
  withdrawRoom,
} from "../../../../src/bgp/wire/update_encode.ts";
import { anyAttributes, hex, INTERNAL, u32 } from "./fixtures.ts";

const mask = (bits: number) => bits <= 0 ? 0 : bits >= 32 ? 0xffffffff : (-1 << (32 - bits)) >>> 0;
const prefix4 = fc.tuple(u32, fc.nat(32), u32).map(([address, length, pathId]) => ({
  words: [(address & mask(length)) >>> 0, 0, 0, 0],
  length,
  pathId,
}));
const prefix6 = fc.tuple(fc.array(u32, { minLength: 4, maxLength: 4 }), fc.nat(128), u32).map((
  [words, length, pathId],
) => ({
  words: words.map((word, i) => (word & mask(length - 32 * i)) >>> 0),
  length,
  pathId,
}));
type Prefix = { words: number[]; length: number; pathId: number };

function encode(prefixes: readonly Prefix[], isV6: boolean, hasPathId: boolean): Uint8Array {
  const out = new Uint8Array(prefixes.length * 21);
  let at = 0;
  for (const { words: [a = 0, b = 0, c = 0, d = 0], length, pathId } of prefixes) {
    const before = at;
    const id = hasPathId ? pathId : undefined;
    at = isV6 ? putIpv6(out, at, a, b, c, d, length, id) : putIpv4(out, at, a, length, id);
    assert.equal(at - before, nlriSize(length, hasPathId));
  }
  return out.slice(0, at);
}

function decode(bytes: Uint8Array, start: number, end: number, isV6: boolean, hasPathId: boolean): Prefix[] {
  const cursor = new NlriCursor().over(bytes, start, end, isV6, hasPathId);
  const found: Prefix[] = [];
  while (cursor.next()) {
    const { w0, w1, w2, w3, length, pathId } = cursor;
    found.push({ words: [w0, w1, w2, w3], length, pathId });
  }
  return found;
}

const plain = (list: readonly Prefix[], hasPathId: boolean) =>
  list.map((prefix) => ({ ...prefix, pathId: hasPathId ? prefix.pathId : 0 }));

Deno.test("prefixes of both families, with and without path identifiers, read back as they were written", () => {
  fc.assert(fc.property(fc.array(prefix4), fc.array(prefix6), fc.boolean(), (four, six, hasPathId) => {
    for (const [list, isV6] of [[four, false], [six, true]] as const) {
      const bytes = encode(list, isV6, hasPathId);
      assert.ok(isValidNlri(bytes, 0, bytes.length, isV6 ? 128 : 32, hasPathId));
      assert.deepEqual(decode(bytes, 0, bytes.length, isV6, hasPathId), plain(list, hasPathId));
    }
  }));
});

Deno.test("host bits of a prefix are cleared on reading", () => {
  assert.deepEqual(decode(hex("0c ac1f"), 0, 3, false, false), [{
    words: [0xac100000, 0, 0, 0],
    length: 12,
    pathId: 0,
  }]);
});

Deno.test("an UPDATE reads back: withdrawn, attributes and prefixes of both families", () => {
  fc.assert(
    fc.property(
      anyAttributes,
      fc.array(prefix4, { minLength: 1 }),
      fc.array(prefix6, { minLength: 1 }),
      (attributes, four, six) => {
        const raw = encodeAttributes(attributes, INTERNAL);
        const announce = encodeAnnounceIpv4(raw, encode(four, false, false));
        const view = parse(announce);
        assert.deepEqual(view.attributeBytes(), raw);
        assert.deepEqual(decode(view.bytes, view.nlriStart, view.nlriEnd, false, false), plain(four, false));

        const nextHop = hex("20010db8000000000000000000000001");
        const mp = parse(encodeAnnounceMp(IPV6_UNICAST, raw, nextHop, encode(six, true, false)));
        assert.equal(mp.reachFamily, IPV6_UNICAST);
        assert.deepEqual(mp.nextHopBytes(), nextHop);
        assert.deepEqual(mp.attributeBytes(), raw);
        assert.deepEqual(decode(mp.bytes, mp.reachStart, mp.reachEnd, true, false), plain(six, false));

        const gone4 = parse(encodeWithdraw(IPV4_UNICAST, encode(four, false, false)));
        assert.deepEqual(
          decode(gone4.bytes, gone4.withdrawnStart, gone4.withdrawnEnd, false, false),
          plain(four, false),
        );
        assert.equal(gone4.hasReach, false);
        const gone6 = parse(encodeWithdraw(IPV6_UNICAST, encode(six, true, false)));
        assert.equal(gone6.unreachFamily, IPV6_UNICAST);
        assert.deepEqual(decode(gone6.bytes, gone6.unreachStart, gone6.unreachEnd, true, false), plain(six, false));
      },
    ),
  );
});

function parse(message: Uint8Array, options: WireOptions = INTERNAL): UpdateView {
  const view = parseUpdate(message.subarray(HEADER_LENGTH), options);
  assert.ok(view instanceof UpdateView, "kind" in view ? view.reason : "");
  return view;
}

Deno.test("attributes are the same octets wherever MP_REACH_NLRI stands among them", () => {
  const origin = "40010100",
    path = "400200",
    reach = "800e 1a 0002 01 10 20010db8000000000000000000000001 00 20 20010db8";
  const places = [`${reach} ${origin} ${path}`, `${origin} ${reach} ${path}`, `${origin} ${path} ${reach}`];
  for (const place of places) {
    const attributes = hex(place);
    const view = parseUpdate(hex(`0000 00${attributes.length.toString(16)} ${place}`), INTERNAL);
    assert.ok(view instanceof UpdateView);
    assert.deepEqual(view.attributeBytes(), hex(origin + path));
    assert.equal(view.reachEnd - view.reachStart, 5);
  }
});

Deno.test("End-of-RIB is known in both families, and only when nothing else is in the message", () => {
  assert.equal(parse(encodeEndOfRib(IPV4_UNICAST)).endOfRib, IPV4_UNICAST);
  assert.equal(parse(encodeEndOfRib(IPV6_UNICAST)).endOfRib, IPV6_UNICAST);
  assert.equal(parse(encodeWithdraw(IPV6_UNICAST, hex("20 20010db8"))).endOfRib, 0);
  assert.equal(parse(encodeEndOfRib(IPV6_UNICAST), { ...INTERNAL, families: IPV4_UNICAST }).endOfRib, 0);
});

Deno.test("the room for prefixes is what is left of the message", () => {
  const attributes = new Uint8Array(100);
  const nextHop = new Uint8Array(16);
  const four = nlriRoom(100, 4096);
  assert.equal(encodeAnnounceIpv4(attributes, new Uint8Array(four)).length, 4096);
  const six = nlriRoom(100, 4096, 16);
  assert.equal(encodeAnnounceMp(IPV6_UNICAST, attributes, nextHop, new Uint8Array(six)).length, 4096);
  for (const family of [IPV4_UNICAST, IPV6_UNICAST]) {
    assert.equal(encodeWithdraw(family, new Uint8Array(withdrawRoom(family, 4096))).length, 4096);
  }
});

/** "ok", "withdraw c/s" (malformed), or "reset c/s". */
function outcome(text: string, options: WireOptions = INTERNAL): string {
  const result = parseUpdate(hex(text), options);
  if (!(result instanceof UpdateView)) return `${result.kind} ${result.code}/${result.subcode}`;
  return result.malformed ? `${result.malformed.kind} ${result.malformed.code}/${result.malformed.subcode}` : "ok";
}

const cases: readonly [string, string, string, WireOptions?][] = [
  ["too short", "0000 00", "reset 3/1"],
  ["withdrawn routes that overrun", "0009 0000", "reset 3/1"],
  ["attributes that overrun", "0000 0009", "reset 3/1"],
  ["a withdrawn prefix of 33 bits", "0006 21 0a00000001 0000", "reset 3/10"],
  ["a prefix that is cut off", "0000 0000 18 0a00", "reset 3/10"],
  ["a prefix of 33 bits", "0000 0000 21 0a00000001", "reset 3/10"],
  ["an attribute that overruns, with prefixes to withdraw", "0000 0004 40010900 18 0a0000", "treat-as-withdraw 3/5"],
  ["an attribute that overruns, without prefixes", "0000 0004 40010900", "reset 3/5"],
  ["an attribute header that is cut off", "0000 0002 4001 18 0a0000", "treat-as-withdraw 3/1"],
  ["MP_REACH_NLRI that is too short", "0000 0006 800e 03 000201", "reset 3/9"],
  ["MP_REACH_NLRI whose next hop overruns", "0000 0008 800e 05 0002 01 10 00", "reset 3/9"],
  ["MP_REACH_NLRI with an IPv6 next hop of 5 octets", "0000 000d 800e 0a 0002 01 05 0102030405 00", "reset 3/9"],
  ["MP_UNREACH_NLRI that is too short", "0000 0005 800f 02 0002", "reset 3/9"],
  [
    "MP_UNREACH_NLRI with a prefix of 129 bits",
    "0000 0018 800f 15 0002 01 81 2001000000000000000000000000000000",
    "reset 3/9",
  ],
  ["MP_UNREACH_NLRI twice", "0000 000c 800f 03 000201 800f 03 000201", "reset 3/1"],
  ["MP_UNREACH_NLRI of a family that we do not speak", "0000 0008 800f 05 0019 41 0102", "ok"],
  ["an error in attributes without prefixes", "0000 0004 40010109", "reset 3/6"],
  ["IPv4 prefixes although only IPv6 was agreed", "0000 0000 18 0a0000", "ok", { ...INTERNAL, families: IPV6_UNICAST }],
];

for (const [what, text, expected, options] of cases) {
  Deno.test(`an UPDATE with ${what}: ${expected}`, () => assert.equal(outcome(text, options), expected));
}

Deno.test("no octets make the parser throw, and every range it gives can be walked", () => {
  const mutation = fc.array(fc.tuple(fc.nat(2000), fc.nat(255)), { maxLength: 6 });
  const message = fc.oneof(
    fc.uint8Array({ maxLength: 120 }),
    fc.tuple(anyAttributes, fc.array(prefix6), mutation).map(([attributes, six, changes]) => {
      const nextHop = new Uint8Array(32).fill(1);
      const bytes = encodeAnnounceMp(
        IPV6_UNICAST,
        encodeAttributes(attributes, INTERNAL),
        nextHop,
        encode(six, true, false),
      )
        .subarray(HEADER_LENGTH);
      for (const [at, octet] of changes) bytes[at % bytes.length] = octet;
      return bytes;
    }),
  );
  fc.assert(
    fc.property(message, fc.nat(3), fc.nat(3), (body, families, addPathReceive) => {
      const result = parseUpdate(body, { ...INTERNAL, families, addPathReceive });
      if (!(result instanceof UpdateView)) return assert.equal(result.kind, "reset");
      const has = (family: number) => (addPathReceive & family) !== 0;
      decode(result.bytes, result.withdrawnStart, result.withdrawnEnd, false, has(IPV4_UNICAST));
      decode(result.bytes, result.nlriStart, result.nlriEnd, false, has(IPV4_UNICAST));
      for (
        const [family, start, end] of [
          [result.reachFamily, result.reachStart, result.reachEnd],
          [result.unreachFamily, result.unreachStart, result.unreachEnd],
        ] as const
      ) {
        if (family !== 0) decode(result.bytes, start, end, family === IPV6_UNICAST, has(family));
      }
      assert.ok(result.attributesEnd <= result.attributes.length);
    }),
    { numRuns: 2000 },
  );
});
