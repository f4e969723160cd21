/**
 * What a selector demands of single labels at least, so that an index can look at few objects only. The demands are
 * necessary, not sufficient: an object that meets them may still not be selected.
 */

import type { SelectorNode } from "./ast.ts";

/** The demands on one label. */
export interface LabelRestriction {
  readonly mustBePresent: boolean;
  readonly mustBeAbsent: boolean;
  /** The label has one of these; absent: any value; empty: nothing can be selected. */
  readonly values?: readonly string[];
}

/** The demands of a selector by label; labels that are not in the map may be anything. */
export type LabelRestrictions = ReadonlyMap<string, LabelRestriction>;

const NONE: LabelRestriction = { mustBePresent: false, mustBeAbsent: false };

/** Derives the demands of a selector's tree. */
export function labelRestrictions(node: SelectorNode): LabelRestrictions {
  switch (node.op) {
    case "==":
      return new Map([[node.label, { ...NONE, mustBePresent: true, values: [node.value] }]]);
    case "in":
      return new Map([[node.label, { ...NONE, mustBePresent: true, values: node.values }]]);
    case "has":
    case "contains":
    case "starts with":
    case "ends with":
      return new Map([[node.label, { ...NONE, mustBePresent: true }]]);
    case "not":
      // Only !has() can be inverted: !(a == 'b') is also true where `a` is something else.
      return node.operand.op === "has" ? new Map([[node.operand.label, { ...NONE, mustBeAbsent: true }]]) : new Map();
    case "and":
      return node.operands.map(labelRestrictions).reduce(both);
    case "or":
      return node.operands.map(labelRestrictions).reduce(either);
    default:
      return new Map();
  }
}

/** Whether an object can meet the demand at all. */
export function isSatisfiable(restriction: LabelRestriction): boolean {
  return !(restriction.mustBePresent && restriction.mustBeAbsent) && restriction.values?.length !== 0;
}

function both(left: LabelRestrictions, right: LabelRestrictions): LabelRestrictions {
  const result = new Map(left);
  for (const [label, b] of right) {
    const a = left.get(label) ?? NONE;
    const values = a.values && b.values ? a.values.filter((value) => b.values?.includes(value)) : a.values ?? b.values;
    result.set(label, {
      mustBePresent: a.mustBePresent || b.mustBePresent,
      mustBeAbsent: a.mustBeAbsent || b.mustBeAbsent,
      ...values && { values },
    });
  }
  return result;
}

function either(left: LabelRestrictions, right: LabelRestrictions): LabelRestrictions {
  const result = new Map<string, LabelRestriction>();
  for (const [label, a] of left) {
    const b = right.get(label) ?? NONE;
    const mustBePresent = a.mustBePresent && b.mustBePresent;
    const mustBeAbsent = a.mustBeAbsent && b.mustBeAbsent;
    if (!mustBePresent && !mustBeAbsent) continue;
    const values = mustBePresent && a.values && b.values ? [...new Set([...a.values, ...b.values])] : undefined;
    result.set(label, { mustBePresent, mustBeAbsent, ...values && { values } });
  }
  return result;
}
