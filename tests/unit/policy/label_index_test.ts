/** The index of labels agrees with evaluating every selector for every object, and evaluates only what it must. */

import assert from "node:assert/strict";
import * as fc from "fast-check";
import { parseSelector } from "../../../src/model/selector/mod.ts";
import { LabelIndex, type Labelled } from "../../../src/policy/labels/label_index.ts";

interface Thing extends Labelled {
  readonly name: string;
}

const thing = (name: string): Thing => ({ name, labels: {}, parents: [] });

const labels = fc.dictionary(fc.constantFrom("a", "b", "c"), fc.constantFrom("1", "2", "3"), { maxKeys: 3 });
const selectors = [
  'a == "1"',
  'a in {"1", "2"}',
  "has(b)",
  "!has(b)",
  'a != "1"',
  "all()",
  'a == "1" && b == "2"',
  'a == "1" || c == "3"',
  'b contains "2"',
  'a == "1" && a == "2"',
  'c not in {"1"}',
  '(a == "1" || a == "2") && has(c)',
];

const step = fc.oneof(
  fc.record({
    op: fc.constant("object" as const),
    name: fc.constantFrom("x", "y", "z"),
    labels,
    parents: fc.subarray(["p", "q"]),
  }),
  fc.record({ op: fc.constant("delete" as const), name: fc.constantFrom("x", "y", "z") }),
  fc.record({
    op: fc.constant("parent" as const),
    name: fc.constantFrom("p", "q"),
    labels: fc.option(labels, { nil: undefined }),
  }),
  fc.record({ op: fc.constant("select" as const), selector: fc.constantFrom(...selectors) }),
  fc.record({ op: fc.constant("unselect" as const), selector: fc.constantFrom(...selectors) }),
);

Deno.test("after any steps a selector's matches are those that evaluating it everywhere gives, and each change was told once", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const told = new Map<string, Set<string>>();
      const index = new LabelIndex<Thing>((selector, { name }, isMatch) => {
        const names = told.get(selector) ?? new Set();
        told.set(selector, names);
        assert.equal(names.has(name), !isMatch, `${selector} ${name} was told twice`);
        if (isMatch) names.add(name);
        else names.delete(name);
      });
      const things = new Map<string, Thing>(), parents = new Map<string, Record<string, string>>();
      const present = new Map<string, { labels: Record<string, string>; parents: string[] }>();
      const active = new Set<string>();
      for (const one of steps) {
        switch (one.op) {
          case "object": {
            const object = things.get(one.name) ?? thing(one.name);
            things.set(one.name, object);
            index.setObject(object, one.labels, one.parents);
            present.set(one.name, one);
            break;
          }
          case "delete": {
            const object = things.get(one.name);
            if (object) index.deleteObject(object);
            things.delete(one.name);
            present.delete(one.name);
            break;
          }
          case "parent":
            index.setParent(one.name, one.labels);
            if (one.labels) parents.set(one.name, one.labels);
            else parents.delete(one.name);
            break;
          case "select":
            index.addSelector(parseSelector(one.selector));
            active.add(one.selector);
            break;
          case "unselect":
            index.deleteSelector(parseSelector(one.selector).canonical);
            told.delete(parseSelector(one.selector).canonical);
            active.delete(one.selector);
        }
        for (const text of active) {
          const selector = parseSelector(text);
          const expected = [...present].filter(([, { labels, parents: own }]) => {
            const all = Object.assign({}, ...own.toReversed().map((name) => parents.get(name)), labels);
            return selector.matches(all);
          }).map(([name]) => name).sort();
          const matched = [...index.selected(selector.canonical)?.matched ?? []].map(({ name }) => name).sort();
          assert.deepEqual(matched, expected, text);
          assert.deepEqual([...told.get(selector.canonical) ?? []].sort(), expected, text);
        }
      }
    }),
    { numRuns: 500 },
  );
});

Deno.test("a change evaluates the selectors that demand one of the object's labels, not all of them", () => {
  const index = new LabelIndex<Thing>();
  for (let i = 0; i < 1000; i++) index.addSelector(parseSelector(`app == "app${i}" && has(zone)`));
  for (let i = 0; i < 1000; i++) index.setObject(thing(`t${i}`), { app: `app${i}`, zone: "z" });
  assert.ok(index.evaluations <= 1000, `${index.evaluations} evaluations for 1000 objects among 1000 selectors`);
  const before = index.evaluations;
  index.addSelector(parseSelector('app == "app7" && zone == "z"'));
  assert.equal(
    index.evaluations - before,
    1,
    "a new selector looks at the objects that have the rarest label it demands",
  );
  index.setObject(thing("new"), { zone: "z", app: "other" });
  assert.equal(index.evaluations - before, 1);
});
