/**
 * The canonical text of a selector, which is Calico's: lists in brackets, one space around operators, sets sorted, strings
 * in double quotes unless they hold one. Calico's identifiers of selectors are made of it.
 */

import type { SelectorNode } from "./ast.ts";

/** Writes the tree in canonical form. */
export function canonicalText(node: SelectorNode): string {
  switch (node.op) {
    case "all":
    case "global":
      return `${node.op}()`;
    case "has":
      return `has(${node.label})`;
    case "not":
      return `!${canonicalText(node.operand)}`;
    case "and":
    case "or":
      return `(${node.operands.map(canonicalText).join(node.op === "and" ? " && " : " || ")})`;
    case "in":
    case "not in":
      return `${node.label} ${node.op} {${node.values.map(quote).join(", ")}}`;
    default:
      return `${node.label} ${node.op} ${quote(node.value)}`;
  }
}

function quote(text: string): string {
  const mark = text.includes('"') ? "'" : '"';
  return mark + text + mark;
}
