/**
 * OPEN, NOTIFICATION, ROUTE-REFRESH and the framing of messages: read back as written, refused with the code of RFC
 * 4271 section 6, and found however the stream is cut.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { HEADER_LENGTH, MSG_OPEN, MSG_UPDATE } from "../../../../src/bgp/wire/constants.ts";
import { encodeKeepalive, Framer } from "../../../../src/bgp/wire/frame.ts";
import {
  decodeNotification,
  describeNotification,
  encodeNotification,
  encodeShutdownMessage,
  shutdownMessage,
} from "../../../../src/bgp/wire/notification.ts";
import { decodeOpen, encodeOpen } from "../../../../src/bgp/wire/open.ts";
import { decodeRouteRefresh, encodeRouteRefresh } from "../../../../src/bgp/wire/route_refresh.ts";
import { encodeEndOfRib } from "../../../../src/bgp/wire/update_encode.ts";
import { anyCapabilities, hex, tidy, u32 } from "./fixtures.ts";

const MARKER = "ff".repeat(16);

Deno.test("OPEN reads back as it was written, with every capability", () => {
  fc.assert(fc.property(anyCapabilities, fc.constantFrom(0, 3, 90, 65535), u32, (capabilities, holdTime, id) => {
    const open = { as: capabilities.as4 ?? 65001, holdTime, id: id || 1, capabilities };
    assert.deepEqual(tidy(decodeOpen(encodeOpen(open).subarray(HEADER_LENGTH))), tidy(open));
  }));
});

/** "as AS families F", or kind code/subcode. */
function outcome(text: string): string {
  const result = decodeOpen(hex(text));
  return "kind" in result
    ? `${result.kind} ${result.code}/${result.subcode}`
    : `as ${result.as} families ${result.capabilities.families}`;
}

const opens: readonly [string, string, string][] = [
  ["no parameters: IPv4 unicast", "04 fde9 005a 0a000001 00", "as 65001 families 1"],
  ["a 4-octet AS", "04 5ba0 005a 0a000001 08 02 06 41 04 fa56ea01", "as 4200000001 families 1"],
  [
    "capabilities in parameters of their own",
    "04 fde9 005a 0a000001 0e 02 06 01 04 00010001 02 04 01 02 0002",
    "as 65001 families 1",
  ],
  ["extended parameters (RFC 9072)", "04 fde9 005a 0a000001 ff ff 0009 02 0006 01 04 00020001", "as 65001 families 2"],
  ["extended parameters that are cut off", "04 fde9 005a 0a000001 ff ff 0019 02 0006 01 04 00020001", "reset 2/0"],
  ["a capability that overruns", "04 fde9 005a 0a000001 05 02 03 01 04 00", "reset 2/0"],
  ["a parameter that overruns", "04 fde9 005a 0a000001 04 02 09 01 04", "reset 2/0"],
  ["a parameters length that is too long", "04 fde9 005a 0a000001 05 02 00", "reset 2/0"],
  ["parameters behind their length", "04 fde9 005a 0a000001 00 02 00", "reset 2/0"],
  ["a parameter that is no capability", "04 fde9 005a 0a000001 03 01 01 00", "reset 2/4"],
  ["a multiprotocol capability of 3 octets", "04 fde9 005a 0a000001 07 02 05 01 03 000100", "as 65001 families 0"],
  ["an unknown capability", "04 fde9 005a 0a000001 05 02 03 f0 01 00", "as 65001 families 1"],
  ["version 3", "03 fde9 005a 0a000001 00", "reset 2/1"],
  ["AS 0", "04 0000 005a 0a000001 00", "reset 2/2"],
  ["4-octet AS 0", "04 fde9 005a 0a000001 08 02 06 41 04 00000000", "reset 2/2"],
  ["a hold time of 2 seconds", "04 fde9 0002 0a000001 00", "reset 2/6"],
  ["identifier 0", "04 fde9 005a 00000000 00", "reset 2/3"],
  ["nothing in it", "", "reset 2/0"],
];

for (const [what, text, expected] of opens) {
  Deno.test(`an OPEN with ${what}: ${expected}`, () => assert.equal(outcome(text), expected));
}

Deno.test("no octets make the decoders of OPEN, NOTIFICATION and ROUTE-REFRESH throw", () => {
  const mutation = fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 5 });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), anyCapabilities, mutation, (bytes, capabilities, changes) => {
      const open = encodeOpen({ as: 65001, holdTime: 90, id: 1, capabilities }).subarray(HEADER_LENGTH);
      for (const [at, octet] of changes) open[at % open.length] = octet;
      for (const body of [bytes, open]) {
        assert.equal(typeof decodeOpen(body), "object");
        assert.notEqual(describeNotification(decodeNotification(body)), "");
        assert.equal(typeof decodeRouteRefresh(body), "object");
      }
    }),
    { numRuns: 2000 },
  );
});

Deno.test("a NOTIFICATION says in words what it means", () => {
  const describe = (text: string) => describeNotification(decodeNotification(hex(text)));
  assert.equal(describe("02 02 fdea"), "OPEN Message Error/Bad Peer AS (2/2)");
  assert.equal(describe("04 00"), "Hold Timer Expired (4/0)");
  assert.equal(describe("06 02 05 68656c6c6f"), 'Cease/Administrative Shutdown (6/2): "hello"');
  assert.equal(describe("06 09 06 02"), "Cease/Hard Reset (6/9): Cease/Administrative Shutdown (6/2)");
  assert.equal(describe("08 00"), "Send Hold Timer Expired (8/0)");
  assert.equal(describe("63 07"), "Unknown Error (99/7)");
});

Deno.test("a shutdown message of any length is cut at whole characters and reads back", () => {
  fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 300 }), (words) => {
    const data = encodeShutdownMessage(words);
    assert.ok(data.length <= 256);
    const body = encodeNotification({ code: 6, subcode: 2, data }).subarray(HEADER_LENGTH);
    const read = shutdownMessage(decodeNotification(body)) ?? "";
    assert.equal(new TextDecoder("utf-8", { fatal: true }).decode(data.subarray(1)).length > 0, read.length > 0);
  }));
});

Deno.test("ROUTE-REFRESH reads back; a marker of another length is an error", () => {
  assert.deepEqual(decodeRouteRefresh(encodeRouteRefresh(2, 1).subarray(HEADER_LENGTH)), { family: 2, subtype: 1 });
  assert.deepEqual(decodeRouteRefresh(hex("0019 00 41")), { family: 0, subtype: 0 });
  const fault = decodeRouteRefresh(hex("0001 01 01 00"));
  assert.ok("kind" in fault && fault.code === 7 && fault.subcode === 1);
});

Deno.test("the framer finds the same messages however the stream is cut", () => {
  const messages = [
    encodeKeepalive(),
    encodeEndOfRib(1),
    encodeEndOfRib(2),
    encodeNotification({ code: 6, subcode: 4, data: hex("00") }),
    encodeKeepalive(),
  ];
  const stream = new Uint8Array(messages.reduce((sum, message) => sum + message.length, 0));
  messages.reduce((at, message) => (stream.set(message, at), at + message.length), 0);
  fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (pieces) => {
    const framer = new Framer();
    const found: string[] = [];
    for (let at = 0, i = 0; at < stream.length; i++) {
      const size = Math.min(pieces[i % pieces.length] ?? 1, stream.length - at);
      assert.equal(framer.push(stream.subarray(at, at + size)), size);
      at += size;
      while (framer.next()) found.push(`${framer.type} ${framer.body().length}`);
    }
    assert.equal(framer.fault, undefined);
    assert.deepEqual(found, messages.map((message) => `${message[18]} ${message.length - HEADER_LENGTH}`));
  }));
});

const headers: readonly [string, string, string][] = [
  ["a marker that is not all ones", `fe${"ff".repeat(15)} 0013 04`, "1/1"],
  ["a length of 18", `${MARKER} 0012 04`, "1/2"],
  ["a length of 4097", `${MARKER} 1001 02`, "1/2"],
  ["a KEEPALIVE of 20 octets", `${MARKER} 0014 04 00`, "1/2"],
  ["an OPEN of 28 octets", `${MARKER} 001c 01 000000000000000000`, "1/2"],
  ["an UPDATE of 22 octets", `${MARKER} 0016 02 000000`, "1/2"],
  ["type 0", `${MARKER} 0013 00`, "1/3"],
  ["type 6", `${MARKER} 0013 06`, "1/3"],
  ["type 255", `${MARKER} 0013 ff`, "1/3"],
];

for (const [what, text, expected] of headers) {
  Deno.test(`a header with ${what} breaks the connection with ${expected}`, () => {
    const framer = new Framer();
    framer.push(hex(text));
    assert.equal(framer.next(), false);
    assert.equal(`${framer.fault?.code}/${framer.fault?.subcode}`, expected);
    assert.equal(framer.next(), false);
  });
}

Deno.test("extended messages are taken once they are agreed on, but never as OPEN", () => {
  const big = new Uint8Array(60000);
  big.set(hex(`${MARKER} ea60 02`));
  const framer = new Framer();
  framer.isExtended = true;
  framer.push(big);
  assert.equal(framer.next(), true);
  assert.equal(framer.type, MSG_UPDATE);
  assert.equal(framer.body().length, 60000 - HEADER_LENGTH);
  framer.push(hex(`${MARKER} ea60 0${MSG_OPEN}`));
  assert.equal(framer.next(), false);
  assert.equal(framer.fault?.subcode, 2);
});
