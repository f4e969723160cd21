/** MRT records against octets written out from RFC 6396, and any entries read back. */

import assert from "node:assert/strict";
import fc from "fast-check";
import {
  MRT_STATES,
  type MrtEntry,
  type MrtMessage,
  putMessage,
  putPeerIndex,
  putRibEntries,
  putStateChange,
} from "../../../../src/bgp/mrt/record.ts";
import { ByteReader, ByteWriter } from "../../../../src/lib/bytes.ts";

const hex = (bytes: Uint8Array) => Array.from(bytes, (octet) => octet.toString(16).padStart(2, "0")).join("");
const V4 = Uint8Array.of(192, 0, 2, 1), LOCAL4 = Uint8Array.of(192, 0, 2, 2);
const V6 = Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);

/** The header of the only record in the octets, after seeing that its length is theirs. */
function header(bytes: Uint8Array): { time: number; type: number; subtype: number; body: ByteReader } {
  const reader = new ByteReader(bytes);
  const [time, type, subtype, length] = [reader.u32be(), reader.u16be(), reader.u16be(), reader.u32be()];
  assert.equal(length, reader.left);
  return { time, type, subtype, body: reader };
}

Deno.test("the index of peers has the octets of RFC 6396 section 4.3.1", () => {
  const out = new ByteWriter();
  putPeerIndex(out, 0x65000000, 0xc0000202, "a", [
    { id: 0xc0000201, address: V4, as: 65001 },
    { id: 0xc0000203, address: V6, as: 4200000000 },
  ]);
  assert.equal(
    hex(out.bytes()),
    "65000000" + "000d" + "0001" + "0000002f" + // header
      "c0000202" + "0001" + "61" + "0002" + // collector, view, count
      "02" + "c0000201" + "c0000201" + "0000fde9" +
      "03" + "c0000203" + hex(V6) + "fa56ea00",
  );
});

Deno.test("a state change has both states behind the session", () => {
  const out = new ByteWriter();
  const session = { peerAs: 65001, localAs: 65002, peerAddress: V4, localAddress: LOCAL4 };
  putStateChange(out, 1_700_000_000_123, session, MRT_STATES.OpenConfirm, MRT_STATES.Established);
  assert.equal(
    hex(out.bytes()),
    "6553f100" + "0011" + "0005" + "0000001c" + "0001e078" + // header, 123,000 µs
      "0000fde9" + "0000fdea" + "0000" + "0001" + "c0000201" + "c0000202" + "0005" + "0006",
  );
});

const subtypes: readonly [Omit<MrtMessage, "bytes">, number][] = [
  [{ isSent: false, isFourOctetAs: false, hasPathIds: false }, 1],
  [{ isSent: false, isFourOctetAs: true, hasPathIds: false }, 4],
  [{ isSent: true, isFourOctetAs: false, hasPathIds: false }, 6],
  [{ isSent: true, isFourOctetAs: true, hasPathIds: false }, 7],
  [{ isSent: false, isFourOctetAs: false, hasPathIds: true }, 8],
  [{ isSent: false, isFourOctetAs: true, hasPathIds: true }, 9],
  [{ isSent: true, isFourOctetAs: false, hasPathIds: true }, 10],
  [{ isSent: true, isFourOctetAs: true, hasPathIds: true }, 11],
];
for (const [kind, subtype] of subtypes) {
  Deno.test(`a message that is ${JSON.stringify(kind)} has subtype ${subtype}`, () => {
    const out = new ByteWriter();
    const bytes = Uint8Array.of(1, 2, 3);
    putMessage(out, 5_000, { peerAs: 1, localAs: 2, peerAddress: V6, localAddress: V6 }, { ...kind, bytes });
    const { time, type, subtype: found, body } = header(out.bytes());
    assert.deepEqual([time, type, found], [5, 17, subtype]);
    assert.equal(body.u32be(), 0);
    const as = kind.isFourOctetAs ? [body.u32be(), body.u32be()] : [body.u16be(), body.u16be()];
    assert.deepEqual(as, [1, 2]);
    assert.deepEqual([body.u16be(), body.u16be()], [0, 2]);
    assert.deepEqual([body.take(16), body.take(16), body.rest()], [V6, V6, bytes]);
  });
}

const entry: fc.Arbitrary<MrtEntry> = fc.record({
  peerIndex: fc.nat({ max: 65535 }),
  originated: fc.nat(),
  raw: fc.uint8Array({ maxLength: 300 }),
  nextHop: fc.constantFrom(new Uint8Array(0), V6, Uint8Array.of(...V6, ...V6)),
});

Deno.test("entries of a prefix read back as they were written", () => {
  fc.assert(fc.property(fc.array(entry, { maxLength: 8 }), fc.boolean(), fc.boolean(), (entries, isV6, hasPathIds) => {
    const written = hasPathIds ? entries.map((one, pathId) => ({ ...one, pathId })) : entries;
    const nlri = isV6 ? Uint8Array.of(32, 0x20, 1, 0xd, 0xb8) : Uint8Array.of(24, 192, 0, 2);
    const out = new ByteWriter();
    putRibEntries(out, 7, 9, isV6, nlri, written);
    const { time, type, subtype, body } = header(out.bytes());
    assert.deepEqual([time, type, subtype], [7, 13, (isV6 ? 4 : 2) + (hasPathIds && entries.length > 0 ? 6 : 0)]);
    assert.equal(body.u32be(), 9);
    assert.deepEqual(body.take(nlri.length), nlri);
    assert.equal(body.u16be(), entries.length);
    for (const [at, one] of entries.entries()) {
      assert.deepEqual([body.u16be(), body.u32be()], [one.peerIndex, one.originated]);
      if (hasPathIds) assert.equal(body.u32be(), at);
      const attributes = body.slice(body.u16be());
      assert.deepEqual(attributes.take(one.raw.length), one.raw);
      if (one.nextHop.length === 0) assert.equal(attributes.left, 0);
      else {
        assert.deepEqual([attributes.u8(), attributes.u8(), attributes.u8()], [0x80, 14, one.nextHop.length + 1]);
        assert.deepEqual(attributes.take(attributes.u8()), one.nextHop);
        assert.equal(attributes.left, 0);
      }
    }
    assert.equal(body.left, 0);
  }));
});
