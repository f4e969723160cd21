/** The small parts of the model, and that its light half stays light. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { fieldText, formatConfigError } from "../../../src/model/config_error.ts";
import { parseDuration } from "../../../src/model/duration.ts";
import { kindEntry, kindOfPlural, kindOfWord, KINDS, kindWords } from "../../../src/model/kinds.ts";
import { nearest } from "../../../src/model/nearest.ts";

Deno.test("A kind is found by its name, plural and short names, and no word stands for two", () => {
  assert.equal(kindOfWord("WEP")?.kind, "WorkloadEndpoint");
  assert.equal(kindOfWord("gnp")?.kind, "GlobalNetworkPolicy");
  assert.equal(kindOfWord("ippool")?.kind, "IPPool");
  assert.equal(kindOfWord("frob"), undefined);
  for (const entry of KINDS) {
    assert.equal(kindEntry(entry.kind), entry);
    assert.equal(kindOfPlural(entry.plural), entry);
    for (const word of [entry.kind, entry.plural, ...entry.shortNames]) assert.equal(kindOfWord(word), entry, word);
  }
  const words = KINDS.flatMap((entry) => [...new Set([entry.kind.toLowerCase(), entry.plural, ...entry.shortNames])]);
  assert.equal(kindWords().length, words.length);
});

Deno.test("The nearest word forgives slips of the finger and nothing more", () => {
  const words = ["cidr", "blockSize", "nodeSelector", "natOutgoing"];
  assert.equal(nearest("CIDR", words), "cidr");
  assert.equal(nearest("blocksize", words), "blockSize");
  assert.equal(nearest("nodeSelctor", words), "nodeSelector");
  assert.equal(nearest("natoutgiong", words), "natOutgoing");
  assert.equal(nearest("frobnicate", words), undefined);
  assert.equal(nearest("", words), undefined);
  fc.assert(fc.property(fc.array(fc.string(), { minLength: 1 }), (list) => {
    const [word = ""] = list;
    assert.equal(nearest(word, list)?.toLowerCase(), word.toLowerCase());
  }));
});

Deno.test("Durations are read in Go's form", () => {
  const cases: [string, number | undefined][] = [
    ["0", 0],
    ["0s", 0],
    ["90s", 90],
    ["2m0s", 120],
    ["1h30m", 5400],
    ["1.5h", 5400],
    ["300ms", 0.3],
    ["-2s", -2],
    ["", undefined],
    ["5", undefined],
    ["s", undefined],
    ["1x", undefined],
    ["1h 2m", undefined],
    [".", undefined],
  ];
  for (const [text, seconds] of cases) assert.equal(parseDuration(text), seconds, text);
});

Deno.test("An error is one line, whatever is in it", () => {
  const error = { file: "f.yaml", line: 3, column: 5, field: "spec.cidr", message: "a\nb", hint: "c" };
  assert.equal(formatConfigError(error), "f.yaml:3:5: spec.cidr: a b; c");
  assert.equal(formatConfigError({ file: "stdin", line: 0, column: 0, field: "", message: "m" }), "stdin: m");
  assert.equal(fieldText(["spec", "ingress", 0, "labels", "a/b"]), 'spec.ingress[0].labels["a/b"]');
});

/** Every file that a file imports for its values, itself included. */
function reach(url: URL, seen = new Set<string>()): Set<string> {
  if (seen.has(url.href)) return seen;
  seen.add(url.href);
  for (
    const [statement, specifier = ""] of Deno.readTextFileSync(url).matchAll(
      /^(?:import|export)[^;]*?from "([^"]+)";/gm,
    )
  ) {
    if (/^(import|export) type\b/.test(statement)) continue;
    if (specifier.startsWith(".")) reach(new URL(specifier, url), seen);
    else seen.add(specifier);
  }
  return seen;
}

for (
  const file of [
    "read.ts",
    "selector/mod.ts",
    "keys/mod.ts",
    "kinds.ts",
    "wep_name.ts",
    "config.ts",
    "num_or_string.ts",
  ]
) {
  Deno.test(`${file} loads no package, so that attaching a workload starts fast`, () => {
    const reached = [...reach(new URL(`../../../src/model/${file}`, import.meta.url))];
    assert.deepEqual(reached.filter((specifier) => !specifier.startsWith("file:")), []);
    assert.deepEqual(reached.filter((specifier) => /\/model\/(schema|yaml)\//.test(specifier)), []);
  });
}
