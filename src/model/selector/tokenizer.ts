/**
 * Splits a selector's text into tokens with their offsets.
 *
 * Operators that are words (`in`, `contains`, …) are recognised only right after a label, so that labels may bear those
 * names. `has(`, `all(` and `global(` need their bracket right behind. White space is space and tab, nothing else.
 */

/** A selector that cannot be read: what is wrong, where (offset in UTF-16 units), and how to mend it. */
export class SelectorError extends SyntaxError {
  override readonly name = "SelectorError";
  constructor(message: string, readonly offset: number, readonly hint?: string) {
    super(message);
  }
}

/** The kinds of tokens. `Has` holds the label in brackets. */
export type TokenKind =
  | "Label"
  | "StringLiteral"
  | "LBrace"
  | "RBrace"
  | "Comma"
  | "Eq"
  | "Ne"
  | "In"
  | "NotIn"
  | "Contains"
  | "StartsWith"
  | "EndsWith"
  | "All"
  | "Has"
  | "LParen"
  | "RParen"
  | "And"
  | "Or"
  | "Not"
  | "Global"
  | "EOF";

/** A token; `value` is the label or the string of those kinds that have one, else "". */
export interface Token {
  readonly kind: TokenKind;
  readonly value: string;
  readonly offset: number;
}

/** The longest label in characters. */
export const MAX_LABEL_LENGTH = 512;

const LABEL = /[A-Za-z0-9_./-]*/y;
const SPACE = /[ \t]*/y;
const WORD_OPERATORS: readonly (readonly [TokenKind, RegExp])[] = [
  ["Contains", /contains(?![A-Za-z0-9_./-])/y],
  ["StartsWith", /starts[ \t]*with[ \t]*(?![A-Za-z0-9_./ \t-])/y],
  ["EndsWith", /ends[ \t]*with[ \t]*(?![A-Za-z0-9_./ \t-])/y],
  ["NotIn", /not[ \t]*in[ \t]*(?![A-Za-z0-9_./ \t-])/y],
  ["In", /in(?![A-Za-z0-9_./-])/y],
];
const SYMBOLS: Readonly<Record<string, TokenKind>> = {
  "(": "LParen",
  ")": "RParen",
  "{": "LBrace",
  "}": "RBrace",
  ",": "Comma",
  "==": "Eq",
  "!=": "Ne",
  "!": "Not",
  "&&": "And",
  "||": "Or",
};

/** The words that may follow a label, for hints. */
export const OPERATORS = ["==", "!=", "in", "not in", "contains", "starts with", "ends with"] as const;

/** Splits the text; the last token is `EOF`. Throws SelectorError. */
export function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    return pattern.exec(text)?.[0];
  };
  const skipSpace = () => {
    at += match(SPACE)?.length ?? 0;
  };
  const add = (kind: TokenKind, offset: number, end: number, value = "") => {
    tokens.push({ kind, value, offset });
    at = end;
  };

  for (skipSpace(); at < text.length; skipSpace()) {
    const start = at;
    const character = text.charAt(at);
    const symbol = SYMBOLS[text.slice(at, at + 2)] ? text.slice(at, at + 2) : character;
    const kind = SYMBOLS[symbol];
    if (kind) {
      add(kind, start, start + symbol.length);
    } else if (character === '"' || character === "'") {
      const end = text.indexOf(character, start + 1);
      if (end < 0) throw new SelectorError("the string is not closed", start, `add the closing ${character}`);
      add("StringLiteral", start, end + 1, text.slice(start + 1, end));
    } else if (character === "=" || character === "&" || character === "|") {
      throw new SelectorError(`a single ${character} is no operator`, start, `write ${character}${character}`);
    } else if (tokens.at(-1)?.kind === "Label") {
      const found = WORD_OPERATORS.map(([kind, pattern]) => [kind, match(pattern)] as const).find(([, word]) => word);
      if (!found?.[1]) throw operatorMissing(text, start, tokens.at(-1)?.value ?? "");
      add(found[0], start, start + found[1].length);
    } else {
      readPrimary(start);
    }
  }
  tokens.push({ kind: "EOF", value: "", offset: text.length });
  return tokens;

  /** A label, or one of the calls has(…), all() and global(). */
  function readPrimary(start: number): void {
    const call = (["has(", "all(", "global("] as const).find((word) => text.startsWith(word, start));
    if (!call) return add("Label", start, start + readLabel(start).length, readLabel(start));
    at = start + call.length;
    skipSpace();
    const label = call === "has(" ? readLabel(at) : "";
    at += label.length;
    skipSpace();
    if (text.charAt(at) !== ")") {
      throw new SelectorError(
        `${call} is not closed`,
        at,
        call === "has(" ? `write has(${label})` : `write ${call})`,
      );
    }
    add(call === "has(" ? "Has" : call === "all(" ? "All" : "Global", start, at + 1, label);
  }

  function readLabel(start: number): string {
    LABEL.lastIndex = start;
    const label = LABEL.exec(text)?.[0] ?? "";
    if (label === "") {
      const found = start < text.length ? JSON.stringify(text.charAt(start)) : "the end";
      throw new SelectorError(
        `expected a label, found ${found}`,
        start,
        "labels consist of letters, digits and _ . / -",
      );
    }
    if (label.length > MAX_LABEL_LENGTH) {
      throw new SelectorError(
        `the label has ${label.length} characters`,
        start,
        `at most ${MAX_LABEL_LENGTH} are allowed`,
      );
    }
    return label;
  }
}

function operatorMissing(text: string, offset: number, label: string): SelectorError {
  const found = /[^ \t"'{(]+/y;
  found.lastIndex = offset;
  const word = found.exec(text)?.[0] ?? text.charAt(offset);
  return new SelectorError(
    `expected an operator after the label ${label}, found ${JSON.stringify(word)}`,
    offset,
    `operators are ${OPERATORS.join(", ")}`,
  );
}
