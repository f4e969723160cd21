/** Messages, attributes and acks: byte layouts, and what does not fit. */

import assert from "node:assert/strict";
import { ByteWriter } from "../../../src/lib/bytes.ts";
import {
  eachAttribute,
  NLA_F_NESTED,
  putBytes,
  putFlag,
  putNest,
  putString,
  putU16,
  putU16be,
  putU32,
  putU32be,
  putU64be,
  putU8,
  readAttributes,
  stringAt,
} from "../../../src/netlink/attribute.ts";
import { errnoCode, errnoText } from "../../../src/netlink/errno.ts";
import { MalformedError } from "../../../src/netlink/malformed.ts";
import { decodeAck, decodeDone, putMessage, readMessages } from "../../../src/netlink/message.ts";
import { hex, unhex } from "./bytes_text.ts";

Deno.test("each kind of attribute has the kernel's layout and is padded to four bytes", () => {
  const table: [string, (writer: ByteWriter) => void, string][] = [
    ["u8", (w) => putU8(w, 1, 0xab), "0500 0100 ab000000"],
    ["u16", (w) => putU16(w, 2, 0x1234), "0600 0200 3412 0000"],
    ["u16 in network order", (w) => putU16be(w, 2, 0x1234), "0600 0200 1234 0000"],
    ["u32", (w) => putU32(w, 3, 0x12345678), "0800 0300 78563412"],
    ["u32 in network order", (w) => putU32be(w, 3, 0x12345678), "0800 0300 12345678"],
    ["u64 in network order", (w) => putU64be(w, 3, 1n), "0c00 0300 0000000000000001"],
    ["text", (w) => putString(w, 4, "veth"), "0900 0400 76657468 00 000000"],
    ["bytes", (w) => putBytes(w, 5, Uint8Array.of(1, 2, 3, 4, 5, 6)), "0a00 0500 010203040506 0000"],
    ["a flag", (w) => putFlag(w, 6), "0400 0600"],
    ["a nest", (w) => putNest(w, 7 | NLA_F_NESTED, () => putU8(w, 1, 1)), "0c00 0780 0500 0100 01000000"],
  ];
  for (const [what, put, bytes] of table) {
    const writer = new ByteWriter(4);
    put(writer);
    assert.equal(hex(writer.bytes()), bytes.replaceAll(" ", ""), what);
  }
});

Deno.test("attributes are read back by type without their flag bits, and text ends at its NUL", () => {
  const writer = new ByteWriter();
  putString(writer, 1, "lo");
  putNest(writer, 2 | NLA_F_NESTED, () => putU32(writer, 9, 7));
  const found = readAttributes(writer.bytes());
  assert.deepEqual([...found.keys()], [1, 2]);
  assert.equal(stringAt(found.get(1)!, 0, 3), "lo");
  assert.deepEqual([...readAttributes(found.get(2)!).keys()], [9]);
});

Deno.test("an attribute that is longer than its block, or shorter than its header, is malformed", () => {
  for (const bytes of ["0900 0100 00000000", "0300 0100", "0000 0000", "ffff 0100 00"]) {
    assert.throws(() => readAttributes(unhex(bytes)), MalformedError, bytes);
  }
  assert.throws(() => eachAttribute(unhex("04000100"), 0, 8, () => {}), MalformedError);
});

Deno.test("one to three bytes after the last attribute are padding", () => {
  assert.deepEqual([...readAttributes(unhex("0500 0100 ab")).keys()], [1]);
  assert.deepEqual([...readAttributes(unhex("0400 0100 000000")).keys()], [1]);
});

Deno.test("a message has its length filled in and the next one starts at four bytes", () => {
  const writer = new ByteWriter();
  putMessage(writer, { type: 16, flags: 5, sequence: 7 }, (w) => void w.u8(0xaa));
  putMessage(writer, { type: 17, flags: 1, sequence: 8 }, () => {});
  assert.equal(
    hex(writer.bytes()),
    "11000000" + "1000" + "0500" + "07000000" + "00000000" + "aa000000" +
      "10000000" + "1100" + "0100" + "08000000" + "00000000",
  );
  assert.deepEqual(
    [...readMessages(writer.bytes())].map(({ type, flags, sequence, body }) => [type, flags, sequence, body.length]),
    [
      [16, 5, 7, 1],
      [17, 1, 8, 0],
    ],
  );
});

Deno.test("a cut datagram gives its whole messages and then is malformed", () => {
  const writer = new ByteWriter();
  putMessage(writer, { type: 16, flags: 0, sequence: 1 }, (w) => void w.u32le(1));
  putMessage(writer, { type: 16, flags: 0, sequence: 2 }, (w) => void w.u32le(2));
  const whole = writer.bytes();
  for (let length = 21; length < whole.length; length++) {
    const seen: number[] = [];
    assert.throws(
      () => {
        for (const message of readMessages(whole.subarray(0, length))) seen.push(message.sequence);
      },
      MalformedError,
      `${length} bytes`,
    );
    assert.deepEqual(seen, [1]);
  }
});

Deno.test("a plain ack is errno 0, a dump's end may carry an error", () => {
  const message = (body: string, flags = 0) => ({ type: 2, flags, sequence: 1, port: 1, body: unhex(body) });
  assert.deepEqual(decodeAck(message("00000000")), { errno: 0 });
  assert.deepEqual(decodeAck(message("efffffff")), { errno: 17 });
  assert.deepEqual(decodeDone(message("")), { errno: 0 });
  assert.deepEqual(decodeDone(message("05000000")), { errno: 0 });
  assert.deepEqual(decodeDone(message("feffffff")), { errno: 2 });
  assert.throws(() => decodeAck(message("0000")), MalformedError);
  assert.throws(() => decodeAck(message("05000000")), MalformedError);
});

Deno.test("error numbers have the kernel's names, and unknown ones keep their number", () => {
  assert.deepEqual([17, 95, 11, 9999].map(errnoCode), ["EEXIST", "EOPNOTSUPP", "EAGAIN", "E9999"]);
  assert.deepEqual([17, 3, 9999].map(errnoText), ["File exists", "No such process", "Unknown error 9999"]);
});
