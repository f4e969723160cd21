/**
 * Splits TypeScript source into code and the rest, just well enough to find imports and names in it.
 *
 * `mask` blanks comments, string contents and regular expressions, keeping every offset and line break, so that a
 * search finds names in code only. `${…}` inside a template stays code. A slash opens a regular expression where an
 * operand may begin (after an operator, an opening bracket, or a keyword such as `return`). JSX is not understood.
 */

/** Source with all but code blanked, and where each string literal stands (offsets of its quotes). */
export interface MaskedSource {
  code: string;
  strings: { start: number; end: number }[];
}

const BEFORE_REGEX = /(?:^|[(,=:[!&|?{};+\-*%<>~^]|\b(?:return|typeof|case|in|of|void|delete|do|else|yield|await))\s*$/;

/** Blanks comments, string contents and regular expressions of `source`. */
export function mask(source: string): MaskedSource {
  const code = source.split("");
  const strings: { start: number; end: number }[] = [];
  const templateDepths: number[] = [];
  let depth = 0;
  const blank = (from: number, to: number) => {
    for (let i = from; i < to; i++) if (code[i] !== "\n") code[i] = " ";
  };
  const endOfQuoted = (from: number, quote: string) => {
    let i = from;
    while (i < source.length && source[i] !== quote && source[i] !== "\n") i += source[i] === "\\" ? 2 : 1;
    return i;
  };
  const endOfRegex = (from: number) => {
    let isInClass = false;
    for (let i = from; i < source.length && source[i] !== "\n"; i++) {
      if (source[i] === "\\") i++;
      else if (source[i] === "[") isInClass = true;
      else if (source[i] === "]") isInClass = false;
      else if (source[i] === "/" && !isInClass) return i;
    }
    return undefined;
  };
  // Blanks a template's text from `from` to its end or to its next `${`; returns where code goes on.
  const template = (from: number) => {
    let i = from;
    while (i < source.length && source[i] !== "`" && !source.startsWith("${", i)) i += source[i] === "\\" ? 2 : 1;
    blank(from, Math.min(i, source.length));
    if (source[i] !== "$") return i + 1;
    templateDepths.push(depth);
    return i + 2;
  };

  let i = 0;
  while (i < source.length) {
    const char = source[i];
    if (source.startsWith("//", i)) {
      const end = source.indexOf("\n", i);
      blank(i, end < 0 ? source.length : end);
      i = end < 0 ? source.length : end;
    } else if (source.startsWith("/*", i)) {
      const end = source.indexOf("*/", i + 2);
      blank(i, end < 0 ? source.length : end + 2);
      i = end < 0 ? source.length : end + 2;
    } else if (char === '"' || char === "'") {
      const end = endOfQuoted(i + 1, char);
      strings.push({ start: i, end });
      blank(i + 1, end);
      i = end + 1;
    } else if (char === "`") {
      i = template(i + 1);
    } else if (char === "/" && BEFORE_REGEX.test(code.slice(Math.max(0, i - 40), i).join(""))) {
      const end = endOfRegex(i + 1);
      if (end !== undefined) blank(i, end + 1);
      i = (end ?? i) + 1;
    } else {
      if (char === "{") depth++;
      else if (char === "}") {
        if (templateDepths.at(-1) === depth) {
          templateDepths.pop();
          i = template(i + 1);
          continue;
        }
        depth--;
      }
      i++;
    }
  }
  return { code: code.join(""), strings };
}
