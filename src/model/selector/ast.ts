/** The syntax tree of a selector. Leaves name a label; `values` of a set are sorted and without repetition. */

/** Compares a label with a string. */
export interface CompareNode {
  readonly op: "==" | "!=" | "contains" | "starts with" | "ends with";
  readonly label: string;
  readonly value: string;
}

/** Looks a label up in a set. */
export interface SetNode {
  readonly op: "in" | "not in";
  readonly label: string;
  readonly values: readonly string[];
}

/** Whether a label is there. */
export interface HasNode {
  readonly op: "has";
  readonly label: string;
}

/** Always true: `all()` everything, `global()` what is in no namespace (a rule's namespaceSelector only). */
export interface ConstantNode {
  readonly op: "all" | "global";
}

/** The contrary of a node. */
export interface NotNode {
  readonly op: "not";
  readonly operand: SelectorNode;
}

/** All of, or one of, two and more nodes. */
export interface ListNode {
  readonly op: "and" | "or";
  readonly operands: readonly SelectorNode[];
}

/** A node of a selector. */
export type SelectorNode = CompareNode | SetNode | HasNode | ConstantNode | NotNode | ListNode;

/** Orders strings by their code points, as Calico orders the bytes of their UTF-8 text. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  const left = Array.from(a), right = Array.from(b);
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const difference = (left[i]?.codePointAt(0) ?? 0) - (right[i]?.codePointAt(0) ?? 0);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}
