/**
 * Prefixes: known texts, texts that are refused, and for any prefix what it contains, compared with its first and last
 * address.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { Cidr, tryParseIpNet } from "../../../src/lib/cidr.ts";
import { Ip } from "../../../src/lib/ip.ts";

const anyCidr = fc.oneof(
  fc.tuple(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.nat(32)),
  fc.tuple(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.nat(128)),
).map(([bytes, length]) => Cidr.of(Ip.fromBytes(bytes), length));

Deno.test("a prefix has its host bits cleared", () => {
  assert.equal(Cidr.parse("10.1.2.3/8").toString(), "10.0.0.0/8");
  assert.equal(Cidr.parse("10.1.2.3/31").toString(), "10.1.2.2/31");
  assert.equal(Cidr.parse("2001:db8:ffff::1/33").toString(), "2001:db8:8000::/33");
  assert.equal(Cidr.parse("255.255.255.255/0").toString(), "0.0.0.0/0");
});

Deno.test("an interface address keeps its host bits", () => {
  const net = tryParseIpNet("192.0.2.11/24");
  assert.equal(`${net?.ip}/${net?.length}`, "192.0.2.11/24");
});

Deno.test("text that is not a prefix is refused", () => {
  for (
    const text of [
      "",
      "10.0.0.0",
      "10.0.0.0/",
      "10.0.0.0/33",
      "10.0.0.0/08",
      "10.0.0.0/-1",
      "::/129",
      "10/8",
      "10.0.0.0/8/8",
    ]
  ) {
    assert.equal(Cidr.tryParse(text), undefined, text);
  }
  assert.throws(() => Cidr.parse("10.0.0.0/33"), { name: "SyntaxError", message: /10\.0\.0\.0\/33/ });
  assert.throws(() => Cidr.of(Ip.parse("10.0.0.0"), 33), RangeError);
});

Deno.test("a prefix holds its first and last address and not the ones beside them", () => {
  fc.assert(fc.property(anyCidr, (cidr) => {
    assert.ok(cidr.contains(cidr.ip) && cidr.contains(cidr.last) && cidr.contains(cidr));
    assert.equal(cidr.last.toBigInt() - cidr.ip.toBigInt() + 1n, cidr.size);
    const top = (1n << BigInt(cidr.ip.bits)) - 1n;
    if (cidr.last.toBigInt() < top) assert.ok(!cidr.contains(cidr.last.plus(1)));
    if (cidr.ip.toBigInt() > 0n) assert.ok(!cidr.contains(cidr.ip.plus(-1)));
  }));
});

Deno.test("containment and overlap agree with comparing the ends", () => {
  fc.assert(fc.property(anyCidr, anyCidr, (a, b) => {
    const same = a.family === b.family;
    const [a0, a1, b0, b1] = [a.ip.toBigInt(), a.last.toBigInt(), b.ip.toBigInt(), b.last.toBigInt()];
    assert.equal(a.contains(b), same && a0 <= b0 && b1 <= a1);
    assert.equal(a.overlaps(b), same && a0 <= b1 && b0 <= a1);
  }));
});

Deno.test("every prefix survives its text", () => {
  fc.assert(fc.property(anyCidr, (cidr) => assert.ok(Cidr.parse(cidr.toString()).equals(cidr))));
});
