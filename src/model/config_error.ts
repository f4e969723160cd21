/** What is wrong with something that an operator wrote: where, in which field, why, and how to mend it. */

/** One error. Lines and columns count from 1; 0 says that the place is not known (a value that came without a text). */
export interface ConfigError {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** Path of the field ("spec.cidr", "spec.ingress[0].source.nets[1]"); empty for the document as a whole. */
  readonly field: string;
  readonly message: string;
  readonly hint?: string;
}

/** Writes an error on one line: `file:line:column: field: what is wrong; hint`. */
export function formatConfigError(error: ConfigError): string {
  const place = error.line > 0 ? `${error.file}:${error.line}:${error.column}` : error.file;
  const parts = [place, error.field, error.message].filter((part) => part !== "");
  return oneLine(parts.join(": ") + (error.hint ? `; ${error.hint}` : ""));
}

/** Puts errors in the order of their places. */
export function sortConfigErrors(errors: readonly ConfigError[]): ConfigError[] {
  return errors.toSorted((a, b) => a.line - b.line || a.column - b.column);
}

/** The text of a path as users write it: names joined by dots, indexes and unusual names in brackets. */
export function fieldText(path: readonly PropertyKey[]): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(String(part))) text += text === "" ? String(part) : `.${String(part)}`;
    else text += `[${JSON.stringify(String(part))}]`;
  }
  return text;
}

function oneLine(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/[\u0000-\u001f\u007f]+/g, " ");
}
