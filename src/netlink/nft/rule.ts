/**
 * Short ways to write matches and statements, so that code that makes chains reads like `nft`:
 *
 *     rule([is("iifname", "cali*"), masked("meta mark", 0x10000, 0)], [counter, jump("cali-from-wl-dispatch")], "to policy")
 *
 * Pure values; nothing is checked here (see `encode.ts`).
 */

import type { Field, Match, Rule, Statement, Value, Verdict } from "./ruleset.ts";

/** A rule of matches, statements and an optional comment. */
export function rule(matches: readonly Match[], statements: readonly Statement[], comment?: string): Rule {
  return comment === undefined ? { matches, statements } : { matches, statements, comment };
}

/** The field is the value, or lies in the prefix or range. */
export function is(field: Field, value: Value): Match {
  return { kind: "is", field, value };
}

/** The field is not the value, or lies outside the prefix or range. */
export function isNot(field: Field, value: Value): Match {
  return { kind: "is", field, value, isNot: true };
}

/** The bits of the field under the mask are the value. */
export function masked(field: "meta mark" | "ct mark", mask: number, value: number): Match {
  return { kind: "is", field, mask, value };
}

/** The bits of the field under the mask are not the value. */
export function notMasked(field: "meta mark" | "ct mark", mask: number, value: number): Match {
  return { kind: "is", field, mask, value, isNot: true };
}

/** The field is one of the values. */
export function among(field: Field, values: readonly Value[]): Match {
  return { kind: "among", field, values };
}

/** The field is none of the values. */
export function notAmong(field: Field, values: readonly Value[]): Match {
  return { kind: "among", field, values, isNot: true };
}

/** The fields (concatenated when several) are in the named set. */
export function inSet(fields: Field | readonly Field[], set: string): Match {
  return { kind: "in", fields: typeof fields === "string" ? [fields] : fields, set };
}

/** The fields are not in the named set. */
export function notInSet(fields: Field | readonly Field[], set: string): Match {
  return { kind: "in", fields: typeof fields === "string" ? [fields] : fields, set, isNot: true };
}

/** Any of the connection's flags ("established", "dnat", …) is set. */
export function has(field: "ct state" | "ct status", ...flags: string[]): Match {
  return { kind: "has", field, flags };
}

/** None of the connection's flags is set. */
export function hasNot(field: "ct state" | "ct status", ...flags: string[]): Match {
  return { kind: "has", field, flags, isNot: true };
}

/** Goes to a chain and comes back at its end or return. */
export function jump(chain: string): Verdict {
  return { kind: "jump", chain };
}

/** Goes to a chain and does not come back here. */
export function goto(chain: string): Verdict {
  return { kind: "goto", chain };
}

/** Looks the field up in a verdict map. */
export function vmap(field: Field, map: string): Statement {
  return { kind: "vmap", fields: [field], map };
}

/** Sets bits of the packet's mark. */
export function setBits(bits: number): Statement {
  return { kind: "change mark", or: bits };
}

/** Clears bits of the packet's mark. */
export function clearBits(bits: number): Statement {
  return { kind: "change mark", and: ~bits >>> 0 };
}

export const accept: Verdict = { kind: "accept" };
export const drop: Verdict = { kind: "drop" };
/** The verdict `return`. */
export const leave: Verdict = { kind: "return" };
export const counter: Statement = { kind: "counter" };
