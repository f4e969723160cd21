/**
 * Decides whether labels satisfy a selector. A label that is not there fails ==, in, contains, starts with and ends with,
 * and satisfies != and not in.
 */

import type { SelectorNode } from "./ast.ts";

/** Labels of an object. */
export type Labels = ReadonlyMap<string, string> | Readonly<Record<string, string>>;

/** Looks up the value of a label; undefined when the object does not have it. */
export type LabelLookup = (label: string) => string | undefined;

/** The lookup function of a map or plain object (only its own members count). */
export function lookupIn(labels: Labels): LabelLookup {
  if (isMap(labels)) return (label) => labels.get(label);
  return (label) => Object.hasOwn(labels, label) ? labels[label] : undefined;
}

function isMap(labels: Labels): labels is ReadonlyMap<string, string> {
  return labels instanceof Map;
}

/** Whether the labels satisfy the selector's tree. */
export function evaluate(node: SelectorNode, lookup: LabelLookup): boolean {
  switch (node.op) {
    case "all":
    case "global":
      return true;
    case "has":
      return lookup(node.label) !== undefined;
    case "not":
      return !evaluate(node.operand, lookup);
    case "and":
      return node.operands.every((operand) => evaluate(operand, lookup));
    case "or":
      return node.operands.some((operand) => evaluate(operand, lookup));
  }
  const value = lookup(node.label);
  if (value === undefined) return node.op === "!=" || node.op === "not in";
  switch (node.op) {
    case "==":
      return value === node.value;
    case "!=":
      return value !== node.value;
    case "contains":
      return value.includes(node.value);
    case "starts with":
      return value.startsWith(node.value);
    case "ends with":
      return value.endsWith(node.value);
    case "in":
      return node.values.includes(value);
    case "not in":
      return !node.values.includes(value);
  }
}
