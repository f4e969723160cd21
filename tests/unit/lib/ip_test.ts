/** Addresses: the texts of RFC 5952, texts that are refused, and any address against the `ip-address` package. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { Address4, Address6 } from "ip-address";
import { Ip } from "../../../src/lib/ip.ts";

const bytes = (size: number) => fc.uint8Array({ minLength: size, maxLength: size });
const anyIp = fc.oneof(bytes(4), bytes(16)).map((value) => Ip.fromBytes(value));

Deno.test("an IPv6 address is written as RFC 5952 asks", () => {
  for (
    const [text, canonical] of [
      ["2001:0db8:0000:0000:0000:0000:0002:0001", "2001:db8::2:1"],
      ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
      ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
      ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
      ["2001:DB8::A", "2001:db8::a"],
      ["0:0:0:0:0:0:0:0", "::"],
      ["::1", "::1"],
      ["1::", "1::"],
      ["::ffff:192.0.2.1", "::ffff:192.0.2.1"],
      ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
    ] as const
  ) assert.equal(Ip.parse(text).toString(), canonical);
});

Deno.test("text that could be misread is not an address", () => {
  for (
    const text of [
      "",
      "1.2.3",
      "1.2.3.4.5",
      "010.0.0.1",
      "1.2.3.256",
      "1.2.3.4 ",
      " 1.2.3.4",
      "0x1.2.3.4",
      "1.2.3.-4",
      "1.2.3.4/32",
      ":",
      ":::",
      "1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:8:9",
      "1::2::3",
      "1:2:3:4:5:6:7::8",
      "12345::",
      "g::1",
      "::1%eth0",
      "1.2.3.4::",
      "::1.2.3",
      "::1.2.3.4:5",
    ]
  ) assert.equal(Ip.tryParse(text), undefined, text);
});

Deno.test("parse names the text that is not an address", () => {
  assert.throws(() => Ip.parse("1.2.3"), { name: "SyntaxError", message: /"1\.2\.3"/ });
});

Deno.test("every address survives text, integer and byte forms", () => {
  fc.assert(fc.property(anyIp, (ip) => {
    assert.ok(Ip.parse(ip.toString()).equals(ip));
    assert.ok(Ip.fromBigInt(ip.family, ip.toBigInt()).equals(ip));
    if (ip.family === 4) assert.ok(Ip.fromNumber(ip.toNumber()).equals(ip));
  }));
});

Deno.test("text and value agree with an independent implementation", () => {
  fc.assert(fc.property(anyIp, (ip) => {
    const oracle = ip.family === 4 ? new Address4(ip.toString()) : new Address6(ip.toString());
    assert.equal(oracle.bigInt(), ip.toBigInt());
    if (ip.family === 6 && !ip.toString().includes(".")) assert.equal(oracle.correctForm(), ip.toString());
  }));
});

Deno.test("order is by family, then by value", () => {
  fc.assert(fc.property(anyIp, anyIp, (a, b) => {
    const expected = a.family - b.family || (a.toBigInt() < b.toBigInt() ? -1 : a.toBigInt() > b.toBigInt() ? 1 : 0);
    assert.equal(Math.sign(a.compare(b)), Math.sign(expected));
    assert.equal(a.compare(b) === 0, a.equals(b));
  }));
});

Deno.test("an address past the end of its family is refused", () => {
  assert.throws(() => Ip.parse("255.255.255.255").plus(1), RangeError);
  assert.throws(() => Ip.parse("::").plus(-1), RangeError);
  assert.equal(Ip.parse("10.0.0.255").plus(1).toString(), "10.0.1.0");
  assert.throws(() => Ip.fromBytes(new Uint8Array(5)), RangeError);
});

Deno.test("special addresses are recognised", () => {
  const is = (text: string) => {
    const ip = Ip.parse(text);
    return [ip.isUnspecified, ip.isLoopback, ip.isLinkLocal, ip.isMulticast];
  };
  assert.deepEqual(is("0.0.0.0"), [true, false, false, false]);
  assert.deepEqual(is("::"), [true, false, false, false]);
  assert.deepEqual(is("127.9.9.9"), [false, true, false, false]);
  assert.deepEqual(is("::1"), [false, true, false, false]);
  assert.deepEqual(is("169.254.1.1"), [false, false, true, false]);
  assert.deepEqual(is("febf::1"), [false, false, true, false]);
  assert.deepEqual(is("fec0::1"), [false, false, false, false]);
  assert.deepEqual(is("239.1.1.1"), [false, false, false, true]);
  assert.deepEqual(is("ff02::1"), [false, false, false, true]);
});
