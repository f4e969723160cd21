/** BFD control packets: the octets of RFC 5880 section 4.1, every reason to discard one, and any octets. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { type BfdPacket, type BfdState, decodePacket, encodePacket } from "../../../../src/bgp/bfd/packet.ts";

const u32 = fc.integer({ min: 0, max: 0xffffffff });
const anyPacket: fc.Arbitrary<BfdPacket> = fc.record({
  diag: fc.integer({ min: 0, max: 31 }),
  state: fc.constantFrom<BfdState>(0, 1, 2, 3),
  isPoll: fc.boolean(),
  isFinal: fc.boolean(),
  isDemand: fc.boolean(),
  multiplier: fc.integer({ min: 1, max: 255 }),
  myDiscriminator: fc.integer({ min: 1, max: 0xffffffff }),
  yourDiscriminator: fc.integer({ min: 1, max: 0xffffffff }),
  desiredMinTx: u32,
  requiredMinRx: u32,
  requiredMinEchoRx: u32,
});

const hex = (text: string) =>
  Uint8Array.from(text.replaceAll(" ", "").match(/../g) ?? [], (pair) => parseInt(pair, 16));

// vers 1 diag 0 | Up, poll | 3 | 24 || mine 7 || yours 9 || 300 ms || 300 ms || echo 50 ms
const GOOD = "20 e0 03 18 00000007 00000009 000493e0 000493e0 0000c350";

Deno.test("a packet reads back as it was written", () => {
  fc.assert(fc.property(anyPacket, (packet) => assert.deepEqual(decodePacket(encodePacket(packet)), { ...packet })));
});

Deno.test("the octets of a packet are those of the RFC's figure", () => {
  const packet: BfdPacket = {
    diag: 0,
    state: 3,
    isPoll: true,
    isFinal: false,
    isDemand: false,
    multiplier: 3,
    myDiscriminator: 7,
    yourDiscriminator: 9,
    desiredMinTx: 300_000,
    requiredMinRx: 300_000,
    requiredMinEchoRx: 50_000,
  };
  assert.deepEqual(encodePacket(packet), hex(GOOD));
  assert.deepEqual(decodePacket(hex(GOOD)), packet);
  assert.deepEqual(decodePacket(hex(`${GOOD} ffff`)), packet, "octets behind the length are no part of it");
});

const refusals: readonly [string, string, RegExp][] = [
  ["nothing in it", "", /too few/],
  ["23 octets", GOOD.slice(0, -2), /too few/],
  ["version 0", GOOD.replace(/^20/, "00"), /version 0/],
  ["version 2", GOOD.replace(/^20/, "40"), /version 2/],
  ["a length of 23", GOOD.replace("18", "17"), /length 23/],
  ["a length past its end", GOOD.replace("18", "19"), /length 25/],
  ["a length of 25 with authentication", `${GOOD.replace("e0", "e4").replace("18", "19")} 01`, /length 25/],
  ["authentication", `${GOOD.replace("e0", "e4").replace("18", "1a")} 0102`, /authentication/],
  ["multiplier 0", GOOD.replace("03", "00"), /multiplier/],
  ["the multipoint bit", GOOD.replace("e0", "e1"), /multipoint/],
  ["my discriminator 0", GOOD.replace("00000007", "00000000"), /discriminator 0/],
  ["Up without your discriminator", GOOD.replace("00000009", "00000000"), /state Up/],
  ["Init without your discriminator", GOOD.replace("e0", "80").replace("00000009", "00000000"), /state Init/],
];

for (const [what, text, why] of refusals) {
  Deno.test(`a datagram with ${what} is discarded`, () => {
    const result = decodePacket(hex(text));
    assert.match("refused" in result ? result.refused : "taken", why);
  });
}

Deno.test("Down and AdminDown may come without your discriminator", () => {
  for (const flags of ["40", "00"]) {
    assert.ok("state" in decodePacket(hex(GOOD.replace("e0", flags).replace("00000009", "00000000"))));
  }
});

Deno.test("no octets make the decoder throw, and what it takes has sound values", () => {
  const seed = hex(GOOD);
  const mutated = fc.tuple(
    fc.array(fc.tuple(fc.nat({ max: 23 }), fc.nat({ max: 255 })), { maxLength: 4 }),
    fc.nat({ max: 40 }),
  ).map(([changes, length]) => {
    const bytes = new Uint8Array(Math.max(24, length));
    bytes.set(seed);
    for (const [at, value] of changes) bytes[at] = value;
    return bytes.subarray(0, length);
  });
  fc.assert(
    fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 64 })), (bytes) => {
      const result = decodePacket(bytes);
      if ("refused" in result) return;
      assert.ok(result.multiplier > 0 && result.myDiscriminator > 0 && bytes.length >= 24);
      assert.ok(result.yourDiscriminator > 0 || result.state < 2);
    }),
    { numRuns: 20_000 },
  );
});
