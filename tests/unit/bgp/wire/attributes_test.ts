/**
 * Path attributes: any set reads back, malformed ones meet the fate of RFC 7606 and of each attribute's own RFC, and no
 * octets make the decoder throw.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import {
  asPathLength,
  decodeAttributes,
  encodeAttributes,
  formatAsPath,
  prependAs,
} from "../../../../src/bgp/wire/attributes.ts";
import type { WireOptions } from "../../../../src/bgp/wire/options.ts";
import { anyAttributes, EXTERNAL, hex, INTERNAL, tidy } from "./fixtures.ts";

const ORIGIN = "40 01 01 00";
const PATH = "40 02 06 02 01 0000fde9";
const NEXT_HOP = "40 03 04 c0000201";
const LOCAL_PREF = "40 05 04 00000064";
const GOOD = `${ORIGIN} ${PATH} ${NEXT_HOP} ${LOCAL_PREF}`;

/** "ok", "ok -n" with n discarded attributes, or kind and code/subcode of the fault. */
function outcome(text: string, options: WireOptions = INTERNAL): string {
  const result = decodeAttributes(hex(text), options);
  if (result.ok) return result.discarded.length > 0 ? `ok -${result.discarded.length}` : "ok";
  return `${result.fault.kind} ${result.fault.code}/${result.fault.subcode}`;
}

Deno.test("attributes read back as they were written", () => {
  fc.assert(fc.property(anyAttributes, (attributes) => {
    const result = decodeAttributes(encodeAttributes(attributes, INTERNAL), INTERNAL);
    assert.ok(result.ok);
    assert.deepEqual(tidy(result.attributes), tidy(attributes));
    assert.deepEqual(result.discarded, []);
  }));
});

Deno.test("attributes pass a 2-octet speaker without loss: AS4_PATH and AS4_AGGREGATOR restore them", () => {
  const twoOctets: WireOptions = { ...INTERNAL, isFourOctetAs: false };
  fc.assert(fc.property(anyAttributes, (attributes) => {
    const result = decodeAttributes(encodeAttributes(attributes, twoOctets), twoOctets);
    assert.ok(result.ok);
    assert.equal(formatAsPath(result.attributes.asPath), formatAsPath(attributes.asPath));
    assert.deepEqual(tidy(result.attributes.aggregator), tidy(attributes.aggregator));
  }));
});

Deno.test("AS4_PATH keeps what a 2-octet speaker put in front, and is ignored when it is longer", () => {
  const options: WireOptions = { ...EXTERNAL, isFourOctetAs: false };
  const read = (path: string, as4: string) => {
    const result = decodeAttributes(hex(`${ORIGIN} ${path} ${NEXT_HOP} ${as4}`), options);
    return result.ok ? formatAsPath(result.attributes.asPath) : result.fault.reason;
  };
  // 65001 AS_TRANS AS_TRANS, with 4200000001 4200000002
  assert.equal(
    read("40 02 08 02 03 fde9 5ba0 5ba0", "c0 11 0a 02 02 fa56ea01 fa56ea02"),
    "65001 4200000001 4200000002",
  );
  assert.equal(read("40 02 04 02 01 5ba0", "c0 11 0a 02 02 fa56ea01 fa56ea02"), "23456");
});

const cases: readonly [string, string, string, WireOptions?][] = [
  ["all that is needed", GOOD, "ok"],
  ["the well-known ones alone from eBGP", `${ORIGIN} ${PATH} ${NEXT_HOP}`, "ok", EXTERNAL],
  ["no ORIGIN", `${PATH} ${NEXT_HOP} ${LOCAL_PREF}`, "treat-as-withdraw 3/3"],
  ["no AS_PATH", `${ORIGIN} ${NEXT_HOP} ${LOCAL_PREF}`, "treat-as-withdraw 3/3"],
  ["no NEXT_HOP", `${ORIGIN} ${PATH} ${LOCAL_PREF}`, "treat-as-withdraw 3/3"],
  ["no LOCAL_PREF in iBGP", `${ORIGIN} ${PATH} ${NEXT_HOP}`, "treat-as-withdraw 3/3"],
  ["ORIGIN 3", `40 01 01 03 ${PATH} ${NEXT_HOP} ${LOCAL_PREF}`, "treat-as-withdraw 3/6"],
  ["ORIGIN of no length", `40 01 00 ${PATH} ${NEXT_HOP} ${LOCAL_PREF}`, "treat-as-withdraw 3/6"],
  ["ORIGIN with the optional flag", `c0 01 01 00 ${PATH} ${NEXT_HOP} ${LOCAL_PREF}`, "treat-as-withdraw 3/4"],
  ["ORIGIN twice: the first counts", `${GOOD} 40 01 01 09`, "ok -1"],
  ["a segment of no length", `${ORIGIN} 40 02 02 02 00 ${NEXT_HOP} ${LOCAL_PREF}`, "treat-as-withdraw 3/11"],
  ["a segment that overruns", `${ORIGIN} 40 02 06 02 02 0000fde9 ${NEXT_HOP} ${LOCAL_PREF}`, "treat-as-withdraw 3/11"],
  ["a segment of type 5", `${ORIGIN} 40 02 06 05 01 0000fde9 ${NEXT_HOP} ${LOCAL_PREF}`, "treat-as-withdraw 3/11"],
  ["AS 0", `${ORIGIN} 40 02 06 02 01 00000000 ${NEXT_HOP} ${LOCAL_PREF}`, "treat-as-withdraw 3/11"],
  ["a set from eBGP", `${ORIGIN} 40 02 06 01 01 0000fde9 ${NEXT_HOP}`, "ok", EXTERNAL],
  [
    "a confederation segment from eBGP",
    `${ORIGIN} 40 02 06 03 01 0000fde9 ${NEXT_HOP}`,
    "treat-as-withdraw 3/11",
    EXTERNAL,
  ],
  ["another first AS where that matters", `${ORIGIN} 40 02 06 02 01 0000fdea ${NEXT_HOP}`, "treat-as-withdraw 3/11", {
    ...EXTERNAL,
    mustBeginWithPeerAs: true,
  }],
  ["a next hop of 5 octets", `${ORIGIN} ${PATH} 40 03 05 c000020101 ${LOCAL_PREF}`, "treat-as-withdraw 3/8"],
  ["next hop 0.0.0.0", `${ORIGIN} ${PATH} 40 03 04 00000000 ${LOCAL_PREF}`, "treat-as-withdraw 3/8"],
  ["a multicast next hop", `${ORIGIN} ${PATH} 40 03 04 e0000001 ${LOCAL_PREF}`, "treat-as-withdraw 3/8"],
  ["LOCAL_PREF from eBGP", `${ORIGIN} ${PATH} ${NEXT_HOP} ${LOCAL_PREF}`, "ok -1", EXTERNAL],
  ["MED of 3 octets", `${GOOD} 80 04 03 000001`, "treat-as-withdraw 3/5"],
  ["ATOMIC_AGGREGATE with a value", `${GOOD} 40 06 01 00`, "ok -1"],
  ["AGGREGATOR of 6 octets from a 4-octet speaker", `${GOOD} c0 07 06 fde9 c0000201`, "ok -1"],
  ["AGGREGATOR of AS 0", `${GOOD} c0 07 08 00000000 c0000201`, "ok -1"],
  ["COMMUNITIES of 5 octets", `${GOOD} c0 08 05 0000000001`, "treat-as-withdraw 3/5"],
  ["COMMUNITIES of no length", `${GOOD} c0 08 00`, "treat-as-withdraw 3/5"],
  ["ORIGINATOR_ID from eBGP", `${ORIGIN} ${PATH} ${NEXT_HOP} 80 09 04 0a000001`, "ok -1", EXTERNAL],
  ["ORIGINATOR_ID of 5 octets", `${GOOD} 80 09 05 0a00000101`, "treat-as-withdraw 3/5"],
  ["CLUSTER_LIST of 3 octets", `${GOOD} 80 0a 03 0a0000`, "treat-as-withdraw 3/5"],
  ["extended communities of 7 octets", `${GOOD} c0 10 07 00020000000000`, "treat-as-withdraw 3/5"],
  ["large communities of 11 octets", `${GOOD} c0 20 0b 0000000000000000000000`, "treat-as-withdraw 3/5"],
  ["AS4_PATH from a 4-octet speaker", `${GOOD} c0 11 06 02 01 0000fde9`, "ok -1"],
  ["OTC of 3 octets", `${GOOD} c0 23 03 000001`, "treat-as-withdraw 3/5"],
  ["attribute 23, transitive", `${GOOD} c0 17 02 abcd`, "ok"],
  ["attribute 28 of no length", `${GOOD} c0 1c 00`, "ok"],
  ["attribute 40, transitive", `${GOOD} e0 28 04 00000000`, "ok"],
  ["an optional one that is not transitive", `${GOOD} 80 63 01 00`, "ok"],
  ["an unknown well-known one", `${GOOD} 40 63 01 00`, "reset 3/2"],
  ["a cut off one", `${GOOD} 80 04 04 0000`, "treat-as-withdraw 3/1"],
];

for (const [what, text, expected, options] of cases) {
  Deno.test(`attributes with ${what}: ${expected}`, () => assert.equal(outcome(text, options), expected));
}

Deno.test("an unknown transitive attribute is passed on byte for byte with the Partial bit, others are dropped", () => {
  const value = "abcdef".repeat(100);
  const result = decodeAttributes(hex(`${GOOD} d0 17 012c ${value} 80 63 01 00`), INTERNAL);
  assert.ok(result.ok);
  assert.deepEqual(result.attributes.unknown, [{ flags: 0xe0, type: 23, value: hex(value) }]);
  const written = encodeAttributes(result.attributes, INTERNAL);
  assert.deepEqual(written.subarray(-304), hex(`f0 17 012c ${value}`));
});

Deno.test("a path of 300 hops is split into segments of 255 at most, and comes back whole", () => {
  const asns = Array.from({ length: 300 }, (_, i) => 64512 + i);
  const base = decodeAttributes(hex(GOOD), INTERNAL);
  assert.ok(base.ok);
  const written = encodeAttributes({ ...base.attributes, asPath: [{ type: 2, asns }] }, INTERNAL);
  const result = decodeAttributes(written, INTERNAL);
  assert.ok(result.ok);
  assert.deepEqual(result.attributes.asPath.map((segment) => segment.asns.length), [255, 45]);
  assert.deepEqual(result.attributes.asPath.flatMap((segment) => segment.asns), asns);
});

Deno.test("prepending extends the first sequence, and opens a new one when it is full or a set", () => {
  assert.equal(formatAsPath(prependAs([{ type: 2, asns: [2, 3] }], [1])), "1 2 3");
  assert.equal(formatAsPath(prependAs([{ type: 1, asns: [2, 3] }], [1, 1])), "1 1 {2 3}");
  const full = Array.from({ length: 255 }, () => 7);
  assert.deepEqual(prependAs([{ type: 2, asns: full }], [1]).map((segment) => segment.asns.length), [1, 255]);
  assert.equal(asPathLength([{ type: 3, asns: [9] }, { type: 2, asns: [1, 2] }, { type: 1, asns: [3, 4] }]), 3);
});

Deno.test("no octets make the decoder throw", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), fc.boolean(), (raw, isInternal, isFourOctetAs) => {
      const result = decodeAttributes(raw, { ...INTERNAL, isInternal, isFourOctetAs });
      assert.equal(typeof result.ok, "boolean");
    }),
    { numRuns: 2000 },
  );
});

Deno.test("a valid set with some octets changed never makes the decoder throw", () => {
  const mutation = fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(anyAttributes, mutation, (attributes, changes) => {
      const raw = encodeAttributes(attributes, INTERNAL);
      for (const [at, octet] of changes) raw[at % raw.length] = octet;
      const result = decodeAttributes(raw, INTERNAL);
      if (result.ok) assert.ok(decodeAttributes(encodeAttributes(result.attributes, INTERNAL), INTERNAL).ok);
      else assert.notEqual(result.fault.reason, "");
    }),
    { numRuns: 1000 },
  );
});
