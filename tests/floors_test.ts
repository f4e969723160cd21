/**
 * Holds the source to the floors: reads every file of src/ and main.ts, and proves on small bad samples that the
 * check would see each kind of breach.
 */
import assert from "node:assert/strict";
import { join, relative } from "node:path";
import config from "../deno.json" with { type: "json" };
import { checkFile, formatFinding } from "./floors.ts";
import { mask } from "./source_text.ts";

const root = join(import.meta.dirname ?? ".", "..");
const packages = new Set(Object.keys(config.imports));

function sources(folder: string): string[] {
  return [...Deno.readDirSync(folder)].flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory) return sources(path);
    return /\.[cm]?[jt]sx?$/.test(entry.name) ? [relative(root, path)] : [];
  });
}

Deno.test("every import of the source goes down the floors and the pure rooms stay pure", () => {
  const files = ["main.ts", ...sources(join(root, "src"))];
  assert.ok(files.length > 10, `only ${files.length} files were found`);
  const findings = files.flatMap((file) => checkFile(file, Deno.readTextFileSync(join(root, file)), packages));
  assert.deepEqual(findings.map(formatFinding), []);
});

/** [what, file, source, the finding's line, a part of its rule] */
const bad: [string, string, string, number, RegExp][] = [
  [
    "an import that goes up",
    "src/lib/a.ts",
    '\nimport { b } from "../bgp/b.ts";',
    2,
    /up: lib .floor 0. .*src\/bgp\/b\.ts/,
  ],
  ["a type import that goes up", "src/bgp/a.ts", 'import type { B } from "../agent/b.ts";', 1, /up/],
  ["an import that goes sideways", "src/bgp/a.ts", 'import { b } from "../policy/b.ts";', 1, /sideways/],
  ["an import over several lines", "src/cli/a.ts", 'import {\n  b,\n} from "../cni/b.ts";', 3, /sideways/],
  ["a re-export that goes up", "src/model/a.ts", 'export * from "../store/b.ts";', 1, /up/],
  ["a named type re-export that goes up", "src/model/a.ts", 'export type { B } from "../store/b.ts";', 1, /up/],
  ["an import for its effect", "src/linux/a.ts", 'import "../cli/b.ts";', 1, /up/],
  ["a dynamic import that goes up", "src/agent/a.ts", 'const b = await import("../cli/b.ts");', 1, /up/],
  ["a type of a dynamic import", "src/agent/a.ts", 'type B = typeof import("../cli/b.ts");', 1, /up/],
  ["a worker's URL that goes up", "src/linux/a.ts", 'new URL("../speaker/w.ts", import.meta.url)', 1, /up/],
  ["an import of the entry", "src/cli/a.ts", 'import { main } from "../../main.ts";', 1, /up/],
  ["an import of a test", "src/cli/a.ts", 'import { b } from "../../tests/b.ts";', 1, /no floor/],
  ["an import inside a template", "src/lib/a.ts", 'const t = `${await import("../bgp/b.ts")}`;', 1, /up/],
  ["a computed import", "src/cli/a.ts", "const b = await import(name);", 1, /computed/],
  ["a template import", "src/cli/a.ts", "const b = await import(`./${name}.ts`);", 1, /computed/],
  ["an import without .ts", "src/cli/a.ts", 'import { b } from "./b";', 1, /\.ts/],
  ["a package that is not in the import map", "src/cli/a.ts", 'import x from "lodash";', 1, /import map/],
  ["a package with its registry", "src/cli/a.ts", 'import x from "npm:zod@4";', 1, /import map/],
  ["a package from the web", "src/cli/a.ts", 'import x from "https://example.com/x.ts";', 1, /import map/],
  ["a built-in module in a pure room", "src/lib/a.ts", 'import fs from "node:fs";', 1, /pure room lib/],
  ["Deno in a pure room", "src/netlink/a.ts", "// ok\nconst a = Deno.env;", 2, /uses Deno/],
  ["Deno in a template's code", "src/netlink/a.ts", "const a = `x ${Deno.pid} y`;", 1, /uses Deno/],
  ["Deno after a regular expression", "src/netlink/a.ts", "const a = /[\"'`/]/; const b = Deno.pid;", 1, /uses Deno/],
  ["Date.now in a pure room", "src/ipam/a.ts", "const a = Date.now();", 1, /Date\.now/],
  ["new Date() in a pure room", "src/model/a.ts", "const a = new Date();", 1, /new Date/],
  ["new Date without brackets", "src/model/a.ts", "const a = new Date;", 1, /new Date/],
  ["Math.random in a pure room", "src/policy/a.ts", "const a = Math.random();", 1, /Math\.random/],
  ["performance.now in a pure room", "src/routing/a.ts", "const a = performance.now();", 1, /performance\.now/],
  ["setTimeout in a pure room", "src/dataplane/a.ts", "setTimeout(f, 1);", 1, /setTimeout/],
  ["a random value in a pure room", "src/bgp/a.ts", "crypto.getRandomValues(a);", 1, /randomness/],
  ["a library opened elsewhere", "src/linux/socket.ts", "Deno.dlopen(name, {});", 1, /only src\/linux\/libc\.ts/],
  ["a library opened by another spelling", "src/cli/a.ts", "const { dlopen } = Deno;", 1, /only src\/linux\/libc\.ts/],
  ["a room without a floor", "src/attic/a.ts", "export {};", 1, /on no floor/],
  ["a file beside the rooms", "src/a.ts", "export {};", 1, /on no floor/],
];

for (const [what, file, source, line, rule] of bad) {
  Deno.test(`the floors refuse ${what}`, () => {
    const findings = checkFile(file, source, packages);
    assert.ok(findings.length > 0, "nothing was found");
    assert.equal(findings[0]?.file, file);
    assert.equal(findings[0]?.line, line);
    assert.match(findings[0]?.rule ?? "", rule);
  });
}

const good: [string, string, string][] = [
  ["an import that goes down", "src/agent/a.ts", 'import { b } from "../lib/b.ts";'],
  ["an import within a room", "src/bgp/wire/a.ts", 'import { b } from "../fsm/b.ts";'],
  ["bfd beside bgp", "src/bfd/a.ts", 'import { b } from "../bgp/b.ts";'],
  ["the store under ipam", "src/ipam/a.ts", 'import type { Store } from "../store/store.ts";'],
  ["every room under the entry", "main.ts", 'await import("./src/cli/verbs/run.ts"); import("./src/cni/a.ts");'],
  ["a worker beside its starter", "src/speaker/a.ts", 'new Worker(new URL("./worker.ts", import.meta.url), {});'],
  ["a package and its part", "src/cli/a.ts", 'import { parse } from "yaml"; import { z } from "zod/v4";'],
  ["the project's own version", "src/cli/a.ts", 'import c from "../../deno.json" with { type: "json" };'],
  ["a hash in a pure room", "src/policy/a.ts", 'import { createHash } from "node:crypto";'],
  ["words in comments and strings", "src/lib/a.ts", "/* Deno.x */ const a = 'Date.now()'; // setTimeout()"],
  ["words in a template's text", "src/lib/a.ts", "const a = `Deno.x ${1 + `}`.length} Math.random()`;"],
  ["words in a regular expression", "src/lib/a.ts", "const a = /Deno|Math.random/.test(b);"],
  ["a date from a given time", "src/model/a.ts", "const a = new Date(1000).toISOString();"],
  ["a division, which opens no expression", "src/lib/a.ts", "const a = b / c; const d = 'x' / e;"],
  ["libc opened in its own file", "src/linux/libc.ts", 'Deno.dlopen("libc.so.6", {});'],
  ["the names of other things", "src/lib/a.ts", "const a = clock.setTimeouts; const DenoLike = 1; array.from('x');"],
];

for (const [what, file, source] of good) {
  Deno.test(`the floors allow ${what}`, () => {
    assert.deepEqual(checkFile(file, source, packages), []);
  });
}

Deno.test("masking keeps every offset and line break", () => {
  const source = "a = \"x\\\"y\"; // é…\n/* \n */ `t ${b('c')} u`; /r[/]/g; 'open\nnext";
  const { code, strings } = mask(source);
  assert.equal(code.length, source.length);
  assert.equal(code.split("\n").length, source.split("\n").length);
  assert.deepEqual(strings.map(({ start, end }) => source.slice(start + 1, end)), ['x\\"y', "c", "open"]);
});
