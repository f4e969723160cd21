/**
 * Octets written and read back in both byte orders, with known octets and for any values; no read leaves its slice.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { ByteReader, ByteWriter, TruncatedError } from "../../../src/lib/bytes.ts";

Deno.test("numbers come back as they were written, in either byte order", () => {
  const writer = new ByteWriter(1);
  writer.u8(0xab).u16be(0x1234).u16le(0x1234).u32be(0xdeadbeef).u32le(0xdeadbeef).i32le(-2)
    .u64be(0x0102030405060708n).u64le(0x0102030405060708n).put(Uint8Array.of(9, 8));
  assert.deepEqual([...writer.bytes().slice(0, 5)], [0xab, 0x12, 0x34, 0x34, 0x12]);
  const reader = new ByteReader(writer.bytes());
  assert.equal(reader.u8(), 0xab);
  assert.equal(reader.u16be(), 0x1234);
  assert.equal(reader.u16le(), 0x1234);
  assert.equal(reader.u32be(), 0xdeadbeef);
  assert.equal(reader.u32le(), 0xdeadbeef);
  assert.equal(reader.i32le(), -2);
  assert.equal(reader.u64be(), 0x0102030405060708n);
  assert.equal(reader.u64le(), 0x0102030405060708n);
  assert.deepEqual([...reader.rest()], [9, 8]);
  assert.equal(reader.left, 0);
});

Deno.test("a read past the end says what was wanted and what was left", () => {
  const reader = new ByteReader(Uint8Array.of(1, 2, 3));
  reader.skip(1);
  assert.throws(() => reader.u32be(), (error) => {
    assert.ok(error instanceof TruncatedError);
    assert.deepEqual([error.offset, error.wanted, error.left], [1, 4, 2]);
    return true;
  });
  assert.equal(reader.u16be(), 0x0203, "a refused read takes nothing");
});

Deno.test("a sub-reader cannot read past its slice, wherever the array lies in its buffer", () => {
  const reader = new ByteReader(Uint8Array.of(0, 1, 2, 3, 4, 5).subarray(1));
  const slice = reader.slice(2);
  assert.equal(slice.u16be(), 0x0102);
  assert.throws(() => slice.u8(), TruncatedError);
  assert.equal(reader.u8(), 3);
  assert.throws(() => reader.take(-1), TruncatedError);
});

Deno.test("a patch fills in what was reserved, and align pads with zeros", () => {
  const writer = new ByteWriter(2);
  const at = writer.reserve(2);
  writer.put(Uint8Array.of(7, 7, 7)).align(4);
  writer.patchU16be(at, writer.length);
  assert.deepEqual([...writer.bytes()], [0, 8, 7, 7, 7, 0, 0, 0]);
  writer.clear();
  assert.equal(writer.u8(1).align(4).length, 4);
  assert.deepEqual([...writer.view()], [1, 0, 0, 0]);
});

Deno.test("a writer of any first capacity holds what was put into it", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 64 }), fc.array(fc.uint8Array({ maxLength: 40 })), (capacity, parts) => {
      const writer = new ByteWriter(capacity);
      for (const part of parts) writer.put(part);
      assert.deepEqual([...writer.bytes()], parts.flatMap((part) => [...part]));
    }),
  );
});
