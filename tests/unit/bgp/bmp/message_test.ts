/** BMP messages against octets written out from RFC 7854 and, for the Loc-RIB, RFC 9069. */

import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type BmpPeer,
  type BmpView,
  DOWN_LOCAL_SILENT,
  DOWN_LOCAL_TLV,
  encodeInitiation,
  encodePeerDown,
  encodePeerUp,
  encodeRouteMonitoring,
  encodeStatistics,
  encodeTermination,
  STAT_ADJ_RIB_IN,
  STAT_ADJ_RIB_IN_FAMILY,
} from "../../../../src/bgp/bmp/message.ts";

const hex = (bytes: Uint8Array) => Array.from(bytes, (octet) => octet.toString(16).padStart(2, "0")).join("");
const NOTHING = new Uint8Array(0);
const PEER: BmpPeer = { address: Uint8Array.of(192, 0, 2, 1), as: 4200000000, id: 0xc0000201 };
const V6 = Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
const LOC_RIB: BmpPeer = { address: NOTHING, as: 64512, id: 0x0a000001 };
const TIME = 1_700_000_000_250;
// type, flags, distinguisher, address, AS, id, seconds, microseconds
const header = (type: string, flags: string, address: string, as: string, id: string) =>
  type + flags + "00".repeat(8) + address.padStart(32, "0") + as + id + "6553f100" + "0003d090";
const GLOBAL = (flags: string) => header("00", flags, "c0000201", "fa56ea00", "c0000201");

Deno.test("Initiation and Termination are TLVs behind the common header", () => {
  assert.equal(
    hex(encodeInitiation("ab", "c")),
    "03" + "00000011" + "04" + "0001" + "0001" + "63" + "0002" + "0002" + "6162",
  );
  assert.equal(hex(encodeTermination()), "03" + "0000000c" + "05" + "0001" + "0002" + "0000");
});

Deno.test("a Peer Up has both ends and both OPENs", () => {
  const up = {
    localAddress: Uint8Array.of(192, 0, 2, 2),
    localPort: 179,
    remotePort: 50000,
    openSent: Uint8Array.of(1, 2),
    openReceived: Uint8Array.of(3, 4, 5),
  };
  const body = GLOBAL("00") + "c0000202".padStart(32, "0") + "00b3" + "c350" + "0102" + "030405";
  assert.equal(
    hex(encodePeerUp(PEER, TIME, up)),
    "03" + (6 + body.length / 2).toString(16).padStart(8, "0") + "03" + body,
  );
});

Deno.test("the Loc-RIB's Peer Up and Peer Down name the table", () => {
  const peer = header("03", "00", "", "0000fc00", "0a000001");
  const up = { localAddress: NOTHING, localPort: 0, remotePort: 0, openSent: NOTHING, openReceived: NOTHING };
  const name = "0003" + "0006" + "676c6f62616c";
  assert.equal(hex(encodePeerUp(LOC_RIB, TIME, up)).slice(12), peer + "00".repeat(20) + name);
  assert.equal(hex(encodePeerDown(LOC_RIB, TIME, DOWN_LOCAL_TLV, NOTHING)).slice(12), peer + "06" + name);
});

Deno.test("a Peer Down has its reason and what goes with it", () => {
  const message = hex(encodePeerDown(PEER, TIME, DOWN_LOCAL_SILENT, new Uint8Array(2)));
  assert.equal(message.slice(12), GLOBAL("00") + "02" + "0000");
});

const flags: readonly [BmpView, boolean, boolean, string][] = [
  ["adj-rib-in-pre", false, false, "00"],
  ["adj-rib-in-pre", false, true, "20"],
  ["adj-rib-in-post", false, false, "40"],
  ["adj-rib-out-post", false, false, "50"],
  ["adj-rib-in-pre", true, false, "80"],
  ["adj-rib-in-post", true, false, "c0"],
  ["adj-rib-out-post", true, true, "f0"],
];
for (const [view, isV6, isAs2, expected] of flags) {
  Deno.test(`Route Monitoring of ${view}${isV6 ? " over IPv6" : ""}${isAs2 ? ", 2-octet AS" : ""} has flags ${expected}`, () => {
    const peer = isV6 ? { ...PEER, address: V6 } : PEER;
    const message = hex(encodeRouteMonitoring(peer, TIME, view, Uint8Array.of(0xff), isAs2));
    assert.equal(message.slice(12), header("00", expected, isV6 ? hex(V6) : "c0000201", "fa56ea00", "c0000201") + "ff");
  });
}

Deno.test("Statistics are counted, and each says its length", () => {
  const message = hex(encodeStatistics(PEER, TIME, [
    { type: STAT_ADJ_RIB_IN, value: 5_000_000_000 },
    { type: STAT_ADJ_RIB_IN_FAMILY, value: 3, afi: 2 },
  ]));
  assert.equal(
    message.slice(12),
    GLOBAL("00") + "00000002" + "0007" + "0008" + "000000012a05f200" + "0009" + "000b" + "0002" + "01" +
      "0000000000000003",
  );
});

Deno.test("every message says its own length", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 5_000 }), fc.boolean(), (octets, isV6) => {
    const peer = isV6 ? { ...PEER, address: V6 } : PEER;
    const up = { localAddress: V6, localPort: 1, remotePort: 2, openSent: octets, openReceived: octets };
    for (const message of [encodeRouteMonitoring(peer, TIME, "adj-rib-in-pre", octets), encodePeerUp(peer, TIME, up)]) {
      assert.equal(new DataView(message.buffer).getUint32(1), message.length);
    }
  }));
});
