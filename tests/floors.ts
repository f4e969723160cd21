/**
 * The rules of the floors, checked on the text of one file at a time.
 *
 * Imports go strictly down the floors or stay within a room; type imports, re-exports, dynamic imports and
 * `new URL("./x.ts", import.meta.url)` count alike. A pure room names no `Deno`, no clock and no randomness. libc is
 * opened in one file only. A package is imported by a bare name of the import map. In: a path below the root and its
 * text. Out: what breaks a rule, with the line.
 */
import { posix } from "node:path";
import { mask } from "./source_text.ts";

const FLOORS: Record<string, number> = {
  lib: 0,
  model: 1,
  netlink: 1,
  bgp: 2,
  policy: 2,
  routing: 2,
  store: 2,
  ipam: 3,
  dataplane: 3,
  linux: 4,
  speaker: 5,
  agent: 5,
  api: 5,
  lab: 6,
  cni: 7,
  cli: 7,
  "main.ts": 8,
};
const PURE = new Set(["lib", "model", "netlink", "bgp", "policy", "routing", "ipam", "dataplane"]);
const LIBC = "src/linux/libc.ts";

// What computes only; every other built-in module reaches outside or reads a clock.
const PURE_BUILTINS = new Set(["node:assert/strict", "node:buffer", "node:crypto"]);

const IMPURE: readonly [RegExp, string][] = [
  [/\bDeno\b/g, "Deno"],
  [/\bDate\s*\.\s*now\b/g, "Date.now"],
  [/\bnew\s+Date\s*(?:\(\s*\)|(?![\s(]))/g, "new Date()"],
  [/\bMath\s*\.\s*random\b/g, "Math.random"],
  [/\bperformance\s*\.\s*now\b/g, "performance.now"],
  [/\bset(?:Timeout|Interval)\b/g, "setTimeout"],
  [/\bcrypto\s*\.\s*(?:getRandomValues|randomUUID)\b/g, "crypto randomness"],
  [/\brandom(?:Bytes|Int|UUID|FillSync)\s*\(/g, "crypto randomness"],
];

/** A broken rule. */
export interface Finding {
  file: string;
  line: number;
  rule: string;
}

/** Formats a finding as `file:line: rule`. */
export function formatFinding({ file, line, rule }: Finding): string {
  return `${file}:${line}: ${rule}`;
}

/** An import of whatever kind; `specifier` is undefined where the name is computed. */
interface Import {
  offset: number;
  specifier: string | undefined;
}

function importsOf(source: string): { code: string; imports: Import[] } {
  const { code, strings } = mask(source);
  const imports: Import[] = [];
  for (const { start, end } of strings) {
    const before = code.slice(Math.max(0, start - 200), start);
    const isUrl = /\bnew\s+URL\s*\(\s*$/.test(before) && /^\s*,\s*import\s*\.\s*meta\b/.test(code.slice(end + 1));
    if (isUrl || /(?:\bfrom|(?<!\.\s*)\bimport(?:\s*\()?)\s*$/.test(before)) {
      imports.push({ offset: start, specifier: source.slice(start + 1, end) });
    }
  }
  for (const match of code.matchAll(/(?<!\.\s*)\bimport\s*\(\s*(?!["'\s])/g)) {
    imports.push({ offset: match.index, specifier: undefined });
  }
  return { code, imports: imports.sort((a, b) => a.offset - b.offset) };
}

/** The room of a path below the root; a folder named `bfd` beside `bgp` belongs to it. */
function roomOf(path: string): string | undefined {
  if (path === "main.ts") return path;
  const room = /^src\/([^/]+)\/./.exec(path)?.[1];
  return room === "bfd" ? "bgp" : room;
}

function ruleOfPackage(specifier: string, room: string, packages: ReadonlySet<string>): string | undefined {
  if (specifier.startsWith("node:")) {
    const isRefused = PURE.has(room) && !PURE_BUILTINS.has(specifier);
    return isRefused ? `the pure room ${room} imports ${specifier}` : undefined;
  }
  const parts = specifier.split("/");
  const name = specifier.startsWith("@") ? parts.slice(0, 2).join("/") : parts[0] ?? "";
  return packages.has(name) ? undefined : `${specifier} is not a bare name of the import map in deno.json`;
}

function ruleOfImport(file: string, specifier: string, packages: ReadonlySet<string>): string | undefined {
  const room = roomOf(file) ?? "";
  if (!/^\.{0,2}\//.test(specifier)) return ruleOfPackage(specifier, room, packages);
  const target = posix.normalize(posix.join(posix.dirname(file), specifier));
  if (target === "deno.json") return undefined;
  if (!target.endsWith(".ts")) return `${specifier} does not end in .ts`;
  const targetRoom = roomOf(target);
  const own = FLOORS[room];
  const other = FLOORS[targetRoom ?? ""];
  if (own === undefined) return undefined;
  if (targetRoom === undefined || other === undefined) return `imports ${target}, which is on no floor`;
  if (targetRoom === room || other < own) return undefined;
  const way = other > own ? "up" : "sideways";
  return `imports ${way}: ${room} (floor ${own}) imports ${target} (${targetRoom}, floor ${other})`;
}

/** Checks the file at `file` (relative to the root) with text `source`; `packages` are the import map's names. */
export function checkFile(file: string, source: string, packages: ReadonlySet<string>): Finding[] {
  const found: { offset: number; rule: string }[] = [];
  const room = roomOf(file);
  if (room === undefined || FLOORS[room] === undefined) {
    return [{ file, line: 1, rule: `is on no floor: the rooms are ${Object.keys(FLOORS).join(", ")}` }];
  }
  const { code, imports } = importsOf(source);
  for (const { offset, specifier } of imports) {
    const rule = specifier === undefined
      ? "imports a computed name, which neither the bundler nor this check can follow"
      : ruleOfImport(file, specifier, packages);
    if (rule !== undefined) found.push({ offset, rule });
  }
  if (PURE.has(room)) {
    for (const [pattern, name] of IMPURE) {
      for (const match of code.matchAll(pattern)) {
        found.push({ offset: match.index, rule: `the pure room ${room} uses ${name}` });
      }
    }
  }
  if (file !== LIBC) {
    for (const match of code.matchAll(/\bdlopen\b/g)) {
      found.push({ offset: match.index, rule: `opens a library: only ${LIBC} may` });
    }
  }
  found.sort((a, b) => a.offset - b.offset);
  return found.map(({ offset, rule }) => ({ file, line: source.slice(0, offset).split("\n").length, rule }));
}
