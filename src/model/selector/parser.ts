/**
 * Reads a selector: `||` binds least, then `&&`, then `!`. The grammar:
 *
 *   or   := and { "||" and }        and  := op { "&&" op }        op := { "!" } primary
 *   primary := has(L) | all() | global() | "(" or ")" | L ("==" | "!=" | "contains" | "starts with" | "ends with") S
 *            | L ("in" | "not in") "{" [ S { "," S } [","] ] "}"
 *
 * The empty text is `all()`. What is parsed is kept as a tree, evaluated by walking it.
 */

import { compareText, type SelectorNode } from "./ast.ts";
import { canonicalText } from "./canonical.ts";
import { evaluate, type LabelLookup, type Labels, lookupIn } from "./evaluate.ts";
import { SelectorError, type Token, tokenize, type TokenKind } from "./tokenizer.ts";

/** Brackets may nest this deep, so that a hostile selector cannot exhaust the stack. */
const MAX_DEPTH = 256;

/** A parsed selector. Two selectors that mean the same by their text have equal `canonical`. */
export interface Selector {
  /** The text as it was given. */
  readonly text: string;
  readonly canonical: string;
  readonly root: SelectorNode;
  /** Whether an object with these labels is selected. */
  matches(labels: Labels): boolean;
  /** The same with a function that looks a label up (undefined: the label is not there). */
  evaluate(lookup: LabelLookup): boolean;
}

/** Reads a selector; throws SelectorError with the offset of what is wrong. */
export function parseSelector(text: string): Selector {
  const root = parseTokens(tokenize(text));
  return {
    text,
    canonical: canonicalText(root),
    root,
    matches: (labels) => evaluate(root, lookupIn(labels)),
    evaluate: (lookup) => evaluate(root, lookup),
  };
}

const COMPARE = {
  Eq: "==",
  Ne: "!=",
  Contains: "contains",
  StartsWith: "starts with",
  EndsWith: "ends with",
} as const;

function parseTokens(tokens: readonly Token[]): SelectorNode {
  let at = 0;
  let depth = 0;
  const end: Token = { kind: "EOF", value: "", offset: tokens.at(-1)?.offset ?? 0 };
  const peek = (): Token => tokens[at] ?? end;
  const take = (): Token => tokens[at++] ?? end;
  const takeIf = (kind: TokenKind): boolean => peek().kind === kind && take() !== undefined;

  if (peek().kind === "EOF") return { op: "all" };
  const root = parseList("or");
  if (peek().kind !== "EOF") {
    throw new SelectorError(
      `expected && or || or the end, found ${describe(peek())}`,
      peek().offset,
      peek().kind === "RParen" ? "there is one ) too many" : "join conditions with && or ||",
    );
  }
  return root;

  function parseList(op: "or" | "and"): SelectorNode {
    const next = () => op === "or" ? parseList("and") : parseOperation();
    const first = next();
    const operands = [first];
    while (takeIf(op === "or" ? "Or" : "And")) operands.push(next());
    return operands.length === 1 ? first : { op, operands };
  }

  function parseOperation(): SelectorNode {
    let isNegated = false;
    while (takeIf("Not")) isNegated = !isNegated;
    const operand = parsePrimary();
    return isNegated ? { op: "not", operand } : operand;
  }

  function parsePrimary(): SelectorNode {
    const token = take();
    switch (token.kind) {
      case "Has":
        return { op: "has", label: token.value };
      case "All":
        return { op: "all" };
      case "Global":
        return { op: "global" };
      case "Label":
        return parseComparison(token.value);
      case "LParen": {
        if (++depth > MAX_DEPTH) {
          throw new SelectorError(`brackets nest deeper than ${MAX_DEPTH}`, token.offset, "write a flatter selector");
        }
        const inner = parseList("or");
        if (!takeIf("RParen")) {
          throw new SelectorError(`expected ), found ${describe(peek())}`, peek().offset, "close the bracket");
        }
        depth--;
        return inner;
      }
      default:
        throw new SelectorError(
          `expected a condition, found ${describe(token)}`,
          token.offset,
          "a condition is like role == 'web', has(role) or all()",
        );
    }
  }

  function parseComparison(label: string): SelectorNode {
    const operator = take();
    switch (operator.kind) {
      case "Eq":
      case "Ne":
      case "Contains":
      case "StartsWith":
      case "EndsWith":
        return { op: COMPARE[operator.kind], label, value: takeString() };
      case "In":
      case "NotIn":
        return { op: operator.kind === "In" ? "in" : "not in", label, values: takeSet() };
      default:
        throw new SelectorError(
          `expected an operator after the label ${label}, found ${describe(operator)}`,
          operator.offset,
          `write has(${label}) or ${label} == "value"`,
        );
    }
  }

  function takeString(): string {
    const token = take();
    if (token.kind === "StringLiteral") return token.value;
    throw new SelectorError(
      `expected a string in quotes, found ${describe(token)}`,
      token.offset,
      token.kind === "Label" ? `write "${token.value}"` : undefined,
    );
  }

  function takeSet(): string[] {
    if (!takeIf("LBrace")) {
      const token = peek();
      const hint = token.kind === "StringLiteral" ? `write {"${token.value}"}` : 'write {"a", "b"}';
      throw new SelectorError(`expected { after in, found ${describe(token)}`, token.offset, hint);
    }
    const values = new Set<string>();
    while (peek().kind !== "RBrace") {
      values.add(takeString());
      if (!takeIf("Comma")) break;
    }
    if (!takeIf("RBrace")) {
      throw new SelectorError(`expected , or }, found ${describe(peek())}`, peek().offset, "close the set with }");
    }
    return [...values].sort(compareText);
  }
}

const TEXT: Partial<Record<TokenKind, string>> = {
  LBrace: "{",
  RBrace: "}",
  Comma: ",",
  LParen: "(",
  RParen: ")",
  And: "&&",
  Or: "||",
  Not: "!",
  Eq: "==",
  Ne: "!=",
  In: "in",
  NotIn: "not in",
  Contains: "contains",
  StartsWith: "starts with",
  EndsWith: "ends with",
  All: "all()",
  Global: "global()",
};

function describe(token: Token): string {
  if (token.kind === "EOF") return "the end";
  if (token.kind === "StringLiteral") return `the string ${JSON.stringify(token.value)}`;
  if (token.kind === "Label") return `the label ${token.value}`;
  return token.kind === "Has" ? `has(${token.value})` : TEXT[token.kind] ?? token.kind;
}
