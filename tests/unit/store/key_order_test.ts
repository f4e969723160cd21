/** Key order and prefix ends against the bytes of UTF-8. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { compareKeys, prefixEnd } from "../../../src/store/key_order.ts";

const text = fc.string({ unit: "binary", maxLength: 6 }).filter((text) => text.isWellFormed());
const hex = (text: string) =>
  Array.from(new TextEncoder().encode(text), (b) => b.toString(16).padStart(2, "0")).join("");
const order = (a: string, b: string) => a < b ? -1 : a > b ? 1 : 0;

Deno.test("keys are ordered by the bytes of their UTF-8 text", () => {
  fc.assert(fc.property(text, text, (a, b) => {
    assert.equal(Math.sign(compareKeys(a, b)), order(hex(a), hex(b)));
  }));
});

Deno.test("a key is before the prefix's end exactly when it starts with the prefix or sorts before it", () => {
  fc.assert(fc.property(text, text, fc.boolean(), (prefix, key, isBelow) => {
    const probe = isBelow ? prefix + key : key;
    const end = prefixEnd(prefix);
    const isBefore = end === undefined || compareKeys(probe, end) < 0;
    assert.equal(isBefore, probe.startsWith(prefix) || compareKeys(probe, prefix) < 0);
  }));
});

Deno.test("the end of a prefix steps over surrogates and drops the last code point", () => {
  assert.equal(prefixEnd("/a/"), "/a0");
  assert.equal(prefixEnd("\ud7ff"), "\ue000");
  assert.equal(prefixEnd("a\u{10ffff}"), "b");
  assert.equal(prefixEnd(""), undefined);
  assert.equal(prefixEnd("\u{10ffff}"), undefined);
});
