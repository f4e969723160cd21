/**
 * Turns what zod found wrong into sentences: what was expected and found, and how to mend it.
 *
 * Checks of our own report with `problem`; its `offset` points into a string, `atKey` at the key instead of the value.
 */

import type { z } from "zod";
import { nearest } from "../nearest.ts";

/** What is wrong at a path of a value. */
export interface FieldProblem {
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly hint?: string;
  /** Offset into the string at the path, if a place inside it is meant. */
  readonly offset?: number;
  /** The key itself is wrong, not its value. */
  readonly atKey?: boolean;
}

/** What a check of our own knows beyond its message. */
export interface ProblemDetails {
  readonly hint?: string;
  readonly offset?: number;
  readonly atKey?: boolean;
  /** Path below the checked value. */
  readonly path?: readonly PropertyKey[];
}

/** Reports a problem from within a zod check; after one in a scalar the checks of what holds it do not run. */
export function problem(
  context: { readonly value: unknown; readonly issues: unknown[] },
  message: string,
  details: ProblemDetails = {},
): void {
  const { path = [], ...params } = details;
  // What holds between members leaves their types right, so checks further out can still run.
  const goesOn = typeof context.value === "object";
  context.issues.push({ code: "custom", input: context.value, message, path: [...path], params, continue: goesOn });
}

type Issue = z.core.$ZodIssue;

/** Explains an issue; `found` is the value at its path and `source` how it was written, if known. */
export function explainIssue(issue: Issue, found: unknown, source?: string): FieldProblem[] {
  const { path } = issue;
  switch (issue.code) {
    case "invalid_type":
      return [typeProblem(path, issue.expected, found, source)];
    case "invalid_union":
      return [typeProblem(path, "numberOrString", found, source)];
    case "unrecognized_keys":
      // The message of a strict object lists its known keys: see `strict` in fields.ts.
      return issue.keys.map((key) => unknownKey([...path, key], key, issue.message.split(" ")));
    case "invalid_value":
      return [notAllowed(path, found, issue.values.map(String))];
    case "too_small":
    case "too_big":
      return [sizeProblem(path, issue, found)];
    case "custom": {
      const { hint, offset, atKey } = (issue.params ?? {}) as ProblemDetails;
      return [{
        path,
        message: issue.message,
        ...hint && { hint },
        ...offset !== undefined && { offset },
        ...atKey && { atKey },
      }];
    }
    default:
      return [{ path, message: issue.message }];
  }
}

const NOUNS: Readonly<Record<string, string>> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "a map",
  record: "a map",
  numberOrString: "a number or text",
};

/** Describes a value for a message. */
export function describeValue(value: unknown, source?: string): string {
  if (value === undefined || value === null) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a map";
  if (typeof value === "string") return `the text ${JSON.stringify(shorten(value))}`;
  return typeof value === "boolean" ? String(value) : `the number ${shorten(source ?? String(value))}`;
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function typeProblem(path: readonly PropertyKey[], expected: string, found: unknown, source?: string): FieldProblem {
  if (found === undefined) return { path, message: "is missing" };
  const noun = NOUNS[expected] ?? expected;
  const hint = typeHint(path, expected, found, source);
  return { path, message: `expected ${noun}, found ${describeValue(found, source)}`, ...hint && { hint } };
}

/** Fields that hold a duration end like this. */
const DURATION = /(Time|Timeout|Interval|TTL|Delay|KeepAlive|After)$/;

function typeHint(
  path: readonly PropertyKey[],
  expected: string,
  found: unknown,
  source: string | undefined,
): string | undefined {
  const isScalar = typeof found === "number" || typeof found === "boolean";
  if (expected === "string" && typeof found === "number" && DURATION.test(String(path.at(-1)))) {
    return `write ${found}s`;
  }
  if (expected === "string" && isScalar) return `put it in quotes: "${source ?? found}"`;
  if (expected === "boolean" && typeof found === "string") {
    const meant = /^(y|yes|on|true)$/i.test(found) ? "true" : /^(n|no|off|false)$/i.test(found) ? "false" : undefined;
    return meant && `write ${meant} without quotes`;
  }
  if ((expected === "number" || expected === "int") && typeof found === "string" && /^[0-9]+$/.test(found)) {
    return "remove the quotes";
  }
  if (expected === "array" && (isScalar || typeof found === "string")) return `write a list: [${source ?? found}]`;
  return undefined;
}

function unknownKey(path: readonly PropertyKey[], key: string, known: readonly string[]): FieldProblem {
  const near = nearest(key, known);
  const hint = near ? `did you mean ${near}?` : `known here: ${known.join(", ")}`;
  return { path, message: "is not a known key", hint, atKey: true };
}

function notAllowed(path: readonly PropertyKey[], found: unknown, all: readonly string[]): FieldProblem {
  const allowed = all.filter((value) => value !== "");
  if (found === undefined) return { path, message: "is missing", hint: `one of ${allowed.join(", ")}` };
  const near = typeof found === "string" ? nearest(found, allowed) : undefined;
  const list = `allowed: ${allowed.join(", ")}`;
  const message = `${describeValue(found)} is not allowed`;
  return { path, message, hint: near ? `did you mean ${near}? ${list}` : list };
}

function sizeProblem(
  path: readonly PropertyKey[],
  issue: z.core.$ZodIssueTooSmall | z.core.$ZodIssueTooBig,
  found: unknown,
): FieldProblem {
  const isSmall = issue.code === "too_small";
  const limit = issue.code === "too_small" ? issue.minimum : issue.maximum;
  const hint = `${isSmall ? "at least" : "at most"} ${limit}`;
  if (Array.isArray(found)) {
    return { path, message: `has ${found.length} ${found.length === 1 ? "entry" : "entries"}`, hint };
  }
  if (typeof found === "string") return { path, message: `has ${found.length} characters`, hint };
  return { path, message: `${found} is too ${isSmall ? "small" : "large"}`, hint };
}
