/** Tables and JSON for the terminal: known texts, and for any rows the alignment. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { formatJson, formatTable } from "../../../src/cli/table.ts";

Deno.test("columns are aligned under capital headings, without trailing space, and empty cells are dashes", () => {
  const rows = [{ name: "a", size: 10 as number | null, note: "" }, { name: "longer", size: null, note: "x y" }];
  assert.equal(
    formatTable(rows, [
      { title: "name", cell: (row) => row.name },
      { title: "size", cell: (row) => row.size },
      { title: "note", cell: (row) => row.note },
    ]),
    "NAME    SIZE  NOTE\na       10    -\nlonger  -     x y\n",
  );
});

Deno.test("no row shows the headings alone", () => {
  assert.equal(formatTable([], [{ title: "name", cell: () => "x" }]), "NAME\n");
});

Deno.test("what a cell says begins where its heading begins, whatever the rows hold", () => {
  const word = fc.stringMatching(/^[a-z0-9.:/]{1,20}$/);
  fc.assert(fc.property(fc.array(fc.tuple(word, word), { minLength: 1, maxLength: 8 }), (rows) => {
    const [head = "", ...lines] = formatTable(rows, [
      { title: "first", cell: ([first]) => first },
      { title: "second", cell: ([, second]) => second },
    ]).trimEnd().split("\n");
    const at = head.indexOf("SECOND");
    assert.deepEqual(lines.map((line) => line.slice(at)), rows.map(([, second]) => second));
    assert.ok(lines.every((line) => line.slice(at - 2, at) === "  "));
  }));
});

Deno.test("JSON is indented and ends its line", () => {
  assert.equal(formatJson({ a: [1] }), '{\n  "a": [\n    1\n  ]\n}\n');
});
