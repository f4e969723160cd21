/** Selectors: the language in which policies, pools and peers pick objects by their labels. */

export type { CompareNode, ConstantNode, HasNode, ListNode, NotNode, SelectorNode, SetNode } from "./ast.ts";
export { canonicalText } from "./canonical.ts";
export { evaluate, type LabelLookup, type Labels, lookupIn } from "./evaluate.ts";
export { parseSelector, type Selector } from "./parser.ts";
export { isSatisfiable, type LabelRestriction, type LabelRestrictions, labelRestrictions } from "./restrictions.ts";
export { SelectorError } from "./tokenizer.ts";
