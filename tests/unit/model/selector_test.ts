/** Selectors against Calico's answers, and the laws that hold for any selector. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { labelRestrictions, parseSelector, SelectorError } from "../../../src/model/selector/mod.ts";
import { tokenize } from "../../../src/model/selector/tokenizer.ts";
import { selectorUid } from "../../../src/model/selector/uid.ts";
import { conformanceTest } from "./conformance.ts";

interface ParseRow {
  selector: string;
  valid: boolean;
  canonical?: string;
  uid?: string;
}

interface Extra {
  canonical: { selector: string; canonical: string; realUid: string }[];
  tokens: { input: string; error: boolean; tokens?: { kind: string; value?: string }[] | null }[];
  labelRestrictions: {
    selector: string;
    restrictions: Record<string, { mustBePresent: boolean; mustBeAbsent: boolean; values?: string[] }>;
  }[];
}

conformanceTest<ParseRow[]>(
  "Selectors are valid or not, with canonical text and identifier, as in Calico",
  "selector-parse.json",
  (rows) => {
    assert.ok(rows.length > 0);
    for (const row of rows) {
      if (!row.valid) {
        assert.throws(() => parseSelector(row.selector), SelectorError, row.selector);
        continue;
      }
      const selector = parseSelector(row.selector);
      if (row.canonical !== undefined) assert.equal(selector.canonical, row.canonical);
      if (row.uid !== undefined) assert.equal(selectorUid(selector), row.uid);
    }
  },
);

conformanceTest<{ selector: string; labels: Record<string, string>; match: boolean }[]>(
  "Selectors match labels as in Calico",
  "selector-eval.json",
  (rows) => {
    assert.ok(rows.length > 0);
    for (const { selector, labels, match } of rows) {
      assert.equal(parseSelector(selector).matches(labels), match, `${selector} on ${JSON.stringify(labels)}`);
      assert.equal(parseSelector(selector).matches(new Map(Object.entries(labels))), match);
    }
  },
);

conformanceTest<Extra>(
  "Tokens, canonical texts and label restrictions are Calico's",
  "selector-extra.json",
  (extra) => {
    for (const { input, error, tokens } of extra.tokens) {
      if (error) {
        assert.throws(() => tokenize(input), SelectorError, input);
        continue;
      }
      const actual = tokenize(input).map(({ kind, value }) => ({ kind, value }));
      assert.deepEqual(actual, (tokens ?? []).map(({ kind, value }) => ({ kind, value: value ?? "" })), input);
    }
    for (const row of extra.canonical) {
      const selector = parseSelector(row.selector);
      assert.equal(selector.canonical, row.canonical);
      assert.equal(selectorUid(selector), row.realUid);
    }
    for (const { selector, restrictions } of extra.labelRestrictions) {
      const actual = Object.fromEntries(labelRestrictions(parseSelector(selector).root));
      assert.deepEqual(actual, restrictions, selector);
    }
  },
);

const label = fc.stringMatching(/^[A-Za-z0-9_./-]{1,12}$/);
const value = fc.string({ maxLength: 6 }).filter((text) => !(text.includes('"') && text.includes("'")));
const quoted = value.map((text) => text.includes('"') ? `'${text}'` : `"${text}"`);
const space = fc.constantFrom("", " ", "\t", "  ");
const operator = fc.constantFrom("==", "!=", " contains ", " starts with ", "ends  with", "startswith")
  .map((text) => /^[a-z]/.test(text) ? ` ${text}` : text);
const primary = fc.oneof(
  fc.constant("all()"),
  fc.tuple(label, space).map(([name, gap]) => `has(${gap}${name}${gap})`),
  fc.tuple(label, operator, space, quoted).map((parts) => parts.join("")),
  fc.tuple(label, fc.constantFrom(" in", " not in", " notin "), space, fc.array(quoted, { maxLength: 3 }))
    .map(([name, word, gap, values]) => `${name}${word}${gap}{${values.join(gap + ",")}}`),
);
const { selector } = fc.letrec<{ selector: string; list: string; negated: string }>((tie) => ({
  selector: fc.oneof({ maxDepth: 4 }, primary, tie("list"), tie("negated")),
  list: fc.tuple(fc.array(tie("selector"), { minLength: 2, maxLength: 3 }), fc.constantFrom("&&", " || "))
    .map(([operands, word]) => `(${operands.map((operand) => `(${operand})`).join(word)})`),
  negated: tie("selector").map((operand) => `!(${operand})`),
}));
const labels = fc.dictionary(label, value, { maxKeys: 4 });

Deno.test("The canonical text of a selector means the same and settles after one more parse", () => {
  fc.assert(fc.property(selector, labels, (text, given) => {
    const first = parseSelector(text);
    const second = parseSelector(first.canonical);
    assert.equal(second.matches(given), first.matches(given));
    // Calico keeps "!(!a)" as "!!a", which reads as "a": from the second text on nothing changes.
    assert.equal(parseSelector(second.canonical).canonical, second.canonical);
    if (!first.canonical.includes("!!")) assert.equal(second.canonical, first.canonical);
  }));
});

Deno.test("Labels that a selector matches meet its restrictions", () => {
  fc.assert(fc.property(selector, labels, (text, given) => {
    const parsed = parseSelector(text);
    if (!parsed.matches(given)) return;
    for (const [name, restriction] of labelRestrictions(parsed.root)) {
      const actual = Object.hasOwn(given, name) ? given[name] : undefined;
      if (restriction.mustBePresent) assert.notEqual(actual, undefined);
      if (restriction.mustBeAbsent) assert.equal(actual, undefined);
      if (restriction.values) assert.ok(actual !== undefined && restriction.values.includes(actual));
    }
  }));
});

Deno.test("Any text is a selector or a SelectorError whose offset lies in the text", () => {
  const pieces = fc.constantFrom(
    "a",
    " ",
    "==",
    "!",
    "'x'",
    "(",
    ")",
    "{",
    "}",
    ",",
    "&&",
    "||",
    "in",
    "not in",
    "has(",
    "=",
    "'",
  );
  fc.assert(fc.property(fc.oneof(fc.string(), fc.array(pieces).map((list) => list.join(""))), (text) => {
    try {
      assert.equal(parseSelector(text).text, text);
    } catch (error) {
      assert.ok(error instanceof SelectorError);
      assert.ok(error.offset >= 0 && error.offset <= text.length);
    }
  }));
});

Deno.test("Brackets that nest too deep are refused instead of exhausting the stack", () => {
  assert.throws(() => parseSelector("(".repeat(100_000)), SelectorError);
  assert.throws(() => parseSelector("(".repeat(5_000) + "all()" + ")".repeat(5_000)), /nest deeper/);
  assert.equal(parseSelector("!".repeat(100_001) + "all()").canonical, "!all()");
});

Deno.test("Labels that plain objects inherit do not count", () => {
  assert.equal(parseSelector("has(toString)").matches({}), false);
  assert.equal(parseSelector("has(constructor) || __proto__ == ''").matches({}), false);
});
