/**
 * The schema check of requests: what each member may be, written by hand because a schema library would be the slowest
 * part of starting. A check returns the value with its type, or throws `ApiError` `invalid` that names the member.
 */

import { ApiError } from "./error.ts";

/** Checks a value found at `path` ("body", "body.labels.role"). */
export type Check<T> = (value: unknown, path: string) => T;

/** The type that a check returns. */
export type Checked<C> = C extends Check<infer T> ? T : never;

/** Longer texts are refused: names, addresses and labels are all shorter. */
const MAX_TEXT = 4096;

/** Text that is not empty and holds no control characters. */
export const text: Check<string> = (value, path) => {
  if (typeof value !== "string") throw wrong(path, "is not a string");
  if (value === "") throw wrong(path, "is empty");
  if (value.length > MAX_TEXT) throw wrong(path, `is longer than ${MAX_TEXT} characters`);
  // deno-lint-ignore no-control-regex
  if (/[\u0000-\u001f\u007f]/.test(value)) throw wrong(path, "holds control characters");
  return value;
};

/** Text that may be empty: a label's value. */
export const anyText: Check<string> = (value, path) => value === "" ? "" : text(value, path);

/** True or false. */
export const flag: Check<boolean> = (value, path) => {
  if (typeof value !== "boolean") throw wrong(path, "is neither true nor false");
  return value;
};

/** A whole number in a range, both ends included. */
export function whole(least: number, most: number): Check<number> {
  return (value, path) => {
    if (typeof value !== "number" || !Number.isInteger(value) || value < least || value > most) {
      throw wrong(path, `is not a whole number from ${least} to ${most}`);
    }
    return value;
  };
}

/** A list of at most 1,000. */
export function list<T>(item: Check<T>): Check<T[]> {
  return (value, path) => {
    if (!Array.isArray(value)) throw wrong(path, "is not a list");
    if (value.length > 1000) throw wrong(path, "has more than 1000 items");
    return value.map((each, i) => item(each, `${path}[${i}]`));
  };
}

/** An object used as a map from text. */
export function map<T>(item: Check<T>): Check<Record<string, T>> {
  return (value, path) =>
    Object.fromEntries(
      Object.entries(object(value, path)).map(([key, each]) => {
        text(key, `a key of ${path}`);
        return [key, item(each, `${path}.${key}`)];
      }),
    );
}

/** A member that may be absent. */
export function optional<T>(check: Check<T>): Check<T | undefined> {
  return (value, path) => value === undefined ? undefined : check(value, path);
}

/** Exactly these members; unknown ones are refused, because a misspelt member would be silently without effect. */
export function members<S extends Record<string, Check<unknown>>>(
  shape: S,
): Check<{ [K in keyof S]: Checked<S[K]> }> {
  return (value, path) => {
    const given = object(value, path);
    for (const key of Object.keys(given)) {
      if (!Object.hasOwn(shape, key)) {
        throw wrong(`${path}.${key}`, `is not known; there are ${Object.keys(shape).join(", ")}`);
      }
    }
    const entries = Object.entries(shape).map(([key, check]) => [key, check(given[key], `${path}.${key}`)]);
    return Object.fromEntries(entries.filter(([, each]) => each !== undefined));
  };
}

/** An object, not a list and not null. */
export function object(value: unknown, path: string): Readonly<Record<string, unknown>> {
  if (value === undefined) throw wrong(path, "is missing");
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(path, "is not an object");
  return value as Readonly<Record<string, unknown>>;
}

/** The refusal of one member. */
export function wrong(path: string, reason: string): ApiError {
  return new ApiError("invalid", `${path} ${reason}`);
}
