/** A short run of the fuzzers with seeds of their own, and what the costliest messages for their size may cost. */

import assert from "node:assert/strict";
import { PLAIN_INTERNAL } from "../../../../src/bgp/wire/options.ts";
import { UpdateView } from "../../../../src/bgp/wire/update.ts";
import { factorOf, fuzzDecoders, fuzzSession, type FuzzSum } from "../../../fuzz/fuzz.ts";
import { octetsOf } from "./corpus.ts";

Deno.test("thousands of mutated messages end no session but their own and leave nothing behind", () => {
  const sum: FuzzSum = { messages: 0, octets: 0, resets: 0, worstFactor: 0 };
  for (let seed = 7_000_001; seed <= 7_000_020; seed++) fuzzSession(seed, 200, sum);
  for (let seed = 7_000_101; seed <= 7_000_120; seed++) fuzzDecoders(seed, 2_000, sum);
  assert.ok(sum.messages > 40_000 && sum.resets > 500, JSON.stringify(sum));
});

/** A message: marker, length, type, then the body of hex. */
function message(type: number, body: string): Uint8Array {
  const octets = octetsOf(body);
  const out = new Uint8Array(19 + octets.length).fill(0xff, 0, 16);
  out.set([out.length >> 8, out.length & 255, type], 16);
  out.set(octets, 19);
  return out;
}

const BASE = "40010100 400200 4003040a000002 400504 00000064";
const u16 = (value: number) => value.toString(16).padStart(4, "0");
const update = (attributes: string) => message(2, `0000 ${u16(octetsOf(attributes).length)} ${attributes} 180a0100`);
const open = (capabilities: string) => {
  const size = octetsOf(capabilities).length;
  return message(1, `04 fde9 005a 0a000002 ff ff ${u16(size + 3)} 02 ${u16(size)} ${capabilities}`);
};
const types = Array.from({ length: 200 }, (_, i) => `c0${(50 + i).toString(16).padStart(2, "0")}`);

const COSTLY: Readonly<Record<string, Uint8Array>> = {
  "an unknown attribute 20,000 times": update(`${BASE} 20000*c0c800`),
  "ATOMIC_AGGREGATE 20,000 times": update(`${BASE} 20000*400600`),
  "200 unknown attributes of no octets": update(`${BASE} ${types.map((type) => `${type}00`).join(" ")}`),
  "200 unknown attributes of one octet": update(`${BASE} ${types.map((type) => `${type}01aa`).join(" ")}`),
  "a path of 10,000 segments": update(`40010100 5002${u16(60_000)} 10000*02010000fde9 4003040a000002 40050400000064`),
  "7,500 extended communities": update(`${BASE} d010${u16(60_000)} 60000*ff`),
  "5,000 large communities": update(`${BASE} d020${u16(60_000)} 5000*0102030405060708090a0b0c`),
  "15,000 communities": update(`${BASE} d008${u16(60_000)} 60000*ff`),
  "15,000 clusters": update(`${BASE} 900a${u16(60_000)} 60000*ff`),
  "2,000 unknown capabilities": open("2000*c800"),
  "1,000 capabilities of a wrong length": open("1000*4100"),
  "1,000 roles": open("1000*090100"),
  "120 parameters of no octets": message(1, "04 fde9 005a 0a000002 f0 120*0200"),
  "nested hard resets": message(3, "32758*0609"),
};

for (const [name, octets] of Object.entries(COSTLY)) {
  Deno.test(`${name} cost at most 64 octets of memory each`, () => {
    const factor = factorOf(octets, PLAIN_INTERNAL, new UpdateView());
    assert.ok(factor <= 64, `${factor.toFixed(1)} octets for each of ${octets.length}`);
  });
}
