/**
 * Reads a multi-document YAML text (JSON included) into plain values, and finds the place of any of their members again.
 *
 * Stricter than YAML where people get hurt: anchors, aliases, tags, duplicate keys and tabs are refused, and so are plain
 * scalars that YAML 1.1 and 1.2 readers take for different things (`yes`, `0755`, `1:30`). Never throws.
 */

import {
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node as YamlNode,
  parseAllDocuments,
  type Scalar,
  type YAMLError,
} from "yaml";

/** A place in the text; both count from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** Something wrong with the YAML itself or with a scalar in it. */
export interface YamlProblem extends Place {
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly hint?: string;
}

/** One document of the text. */
export interface YamlDocument {
  /** Plain value: maps as objects; undefined for an empty document. */
  readonly value: unknown;
  readonly start: Place;
  /** What makes the document unreadable or unsafe to read. */
  readonly errors: readonly YamlProblem[];
  /** Scalars that not every reader takes for the same; an error unless their field is wrong anyway. */
  readonly ambiguous: readonly YamlProblem[];
  /** The place of a member, or of the nearest one above it that exists. */
  place(path: readonly PropertyKey[], options?: { readonly atKey?: boolean; readonly offset?: number }): Place;
  /** How a scalar was written; undefined for maps, lists and what is not there. */
  sourceOf(path: readonly PropertyKey[]): string | undefined;
}

/** Deeper than any resource; keeps hostile input from exhausting the stack. */
const MAX_DEPTH = 64;

/** Reads all documents; an empty text has none. */
export function readYaml(text: string): YamlDocument[] {
  const lines = new LineCounter();
  const placeOf = (offset: number): Place => {
    const { line, col } = lines.linePos(Math.min(Math.max(offset, 0), text.length));
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  let documents: readonly Document.Parsed[];
  try {
    const parsed = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, stringKeys: false });
    documents = "empty" in parsed ? [] : parsed;
  } catch {
    const start = { line: 1, column: 1 };
    const error = { ...start, path: [], message: "cannot be read as YAML", hint: "it is nested too deep" };
    return [{ value: undefined, start, errors: [error], ambiguous: [], place: () => start, sourceOf: () => undefined }];
  }
  return documents.map((document) => readDocument(document, text, placeOf));
}

function readDocument(document: Document.Parsed, text: string, placeOf: (offset: number) => Place): YamlDocument {
  const errors: YamlProblem[] = [];
  const ambiguous: YamlProblem[] = [];
  for (const error of [...document.errors, ...document.warnings]) errors.push(syntaxProblem(error, text, placeOf));
  const root = document.contents as YamlNode | null;
  const value = errors.length === 0 ? valueOf(root, []) : undefined;
  const offset = root?.range?.[0] ?? document.range[0];
  return {
    value,
    start: placeOf(offset),
    errors,
    ambiguous,
    place: (path, options = {}) => placeOf(findOffset(root, path, text, options) ?? offset),
    sourceOf: (path) => {
      const node = findNode(root, path);
      return isScalar(node) ? sourceOfScalar(node, text) : undefined;
    },
  };

  function report(node: YamlNode, path: readonly PropertyKey[], message: string, hint: string): void {
    errors.push({ ...placeOf(node.range?.[0] ?? offset), path, message, hint });
  }

  function valueOf(node: YamlNode | null, path: readonly PropertyKey[]): unknown {
    if (node === null) return undefined;
    if (path.length > MAX_DEPTH) {
      if (errors.length === 0) report(node, [], `nests deeper than ${MAX_DEPTH} levels`, "write it flatter");
      return undefined;
    }
    if (isAlias(node)) {
      report(node, path, "YAML aliases are not allowed", "write the value out");
      return undefined;
    }
    if ("anchor" in node && node.anchor) {
      report(node, path, "YAML anchors are not allowed", "remove it and write values out");
    }
    if (node.tag && text.slice((node.range?.[0] ?? 1) - 200, node.range?.[0]).match(/![^\s]*\s*$/)) {
      report(node, path, "YAML tags are not allowed", "write the value plainly or in quotes");
    }
    if (isScalar(node)) return scalarValue(node, path);
    if (isSeq(node)) return node.items.map((item, i) => valueOf(item as YamlNode | null, [...path, i]) ?? null);
    if (isMap(node)) return mapValue(node.items, path);
    return undefined;
  }

  function mapValue(items: readonly unknown[], path: readonly PropertyKey[]): Record<string, unknown> {
    const members: Record<string, unknown> = {};
    for (const pair of items) {
      if (!isPair(pair)) continue;
      const key = pair.key as YamlNode | null;
      if (!isScalar(key) || key.value === null) {
        if (key) report(key, path, "a key must be text", "write key: value");
        continue;
      }
      const name = typeof key.value === "string" ? key.value : sourceOfScalar(key, text) ?? String(key.value);
      if (typeof key.value !== "string") {
        report(key, [...path, name], "a key must be text", `put it in quotes: "${name}"`);
      } else if (name === "__proto__") report(key, [...path, name], "is not a known key", "remove it");
      else {
        flagOtherMeaning(key, [...path, name]);
        members[name] = valueOf(pair.value as YamlNode | null, [...path, name]) ?? null;
      }
    }
    return members;
  }

  function scalarValue(node: Scalar, path: readonly PropertyKey[]): unknown {
    flagOtherMeaning(node, path);
    return typeof node.value === "bigint" ? Number(node.value) : node.value;
  }

  function flagOtherMeaning(node: Scalar, path: readonly PropertyKey[]): void {
    const source = sourceOfScalar(node, text);
    const other = node.type === "PLAIN" && source !== undefined ? otherMeaning(node.value, source) : undefined;
    if (!other) return;
    const hint = typeof node.value === "number"
      ? `write ${node.value}, or "${source}" if text is meant`
      : `put it in quotes: "${source}"`;
    ambiguous.push({ ...placeOf(node.range?.[0] ?? offset), path, message: `${source} is ${other}`, hint });
  }
}

/** What readers of YAML 1.1 take a plain scalar for, if that is something else than here. */
function otherMeaning(value: unknown, source: string): string | undefined {
  if (typeof value === "number") {
    return /^[-+]?0[0-9]+$/.test(source) ? "octal to some YAML readers and decimal to others" : undefined;
  }
  if (typeof value !== "string") return undefined;
  const [first, second] = ["text here, but", "to other YAML readers"];
  if (/^(y|n|yes|no|on|off)$/i.test(source)) return `${first} true or false ${second}`;
  if (/^[-+]?[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?$/.test(source)) return `${first} a number to base 60 ${second}`;
  if (/^[-+]?(0b[01_]+|[0-9][0-9_]*_[0-9_]*)$/.test(source)) return `${first} a number ${second}`;
  return undefined;
}

function syntaxProblem(error: YAMLError, text: string, placeOf: (offset: number) => Place): YamlProblem {
  const offset = error.pos[0];
  const at = { ...placeOf(offset), path: [] };
  switch (error.code) {
    case "DUPLICATE_KEY": {
      const key = /^[^\s:]+/.exec(text.slice(offset, offset + 200))?.[0] ?? "";
      return { ...at, message: `the key ${key} is there twice`, hint: "remove one of the two" };
    }
    case "TAB_AS_INDENT":
      return { ...at, message: "a tab is used to indent", hint: "indent with spaces" };
    case "TAG_RESOLVE_FAILED":
      return { ...at, message: "YAML tags are not allowed", hint: "write the value plainly or in quotes" };
    default:
      return { ...at, message: `not YAML: ${error.message.split("\n")[0]?.replace(/ at line .*$/, "") ?? error.code}` };
  }
}

function sourceOfScalar(node: Scalar, text: string): string | undefined {
  if (node.source !== undefined) return node.source;
  return node.range ? text.slice(node.range[0], node.range[1]) : undefined;
}

/** The node at a path; undefined where the path leaves the document. */
function findNode(root: YamlNode | null, path: readonly PropertyKey[]): YamlNode | null | undefined {
  let node: YamlNode | null | undefined = root;
  for (const part of path) node = childOf(node, part)?.value;
  return node;
}

function childOf(
  node: YamlNode | null | undefined,
  part: PropertyKey,
): { key?: YamlNode; value: YamlNode | null } | undefined {
  if (isSeq(node) && typeof part === "number") {
    const item = node.items[part] as YamlNode | null | undefined;
    return item === undefined ? undefined : { value: item };
  }
  if (!isMap(node)) return undefined;
  const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(part));
  return pair && { key: pair.key as YamlNode, value: pair.value as YamlNode | null };
}

function findOffset(
  root: YamlNode | null,
  path: readonly PropertyKey[],
  text: string,
  options: { readonly atKey?: boolean; readonly offset?: number },
): number | undefined {
  let node: YamlNode | null | undefined = root;
  let offset = root?.range?.[0];
  for (const [i, part] of path.entries()) {
    const child = childOf(node, part);
    if (!child) return offset;
    const isLast = i === path.length - 1;
    const keyOffset = child.key?.range?.[0];
    const valueOffset = child.value?.range?.[0];
    // A missing member is blamed on the key above it; a wrong one on its value.
    offset = isLast && !options.atKey ? valueOffset ?? keyOffset : keyOffset ?? valueOffset;
    if (offset === undefined) return undefined;
    node = child.value;
  }
  return isScalar(node) && options.offset !== undefined ? offsetInScalar(node, text, options.offset) : offset;
}

/** The place of a character of a scalar's value; the scalar's start when quoting or folding makes it hard to tell. */
function offsetInScalar(node: Scalar, text: string, offset: number): number | undefined {
  const [start, end] = node.range ?? [];
  if (start === undefined || end === undefined) return undefined;
  const value = String(node.value);
  if (node.type === "PLAIN" && text.startsWith(value, start)) return start + offset;
  if (node.type === "QUOTE_DOUBLE" && text.startsWith(value, start + 1)) return start + 1 + offset;
  if (node.type === "QUOTE_SINGLE" && !text.slice(start, end).includes("\n")) {
    return start + 1 + offset + (value.slice(0, offset).match(/'/g)?.length ?? 0);
  }
  return start;
}
