/**
 * JSON text with integers of any size.
 *
 * A block's sequence numbers are nanoseconds since 1970 and do not fit into a double. Reading turns every integer of 16 or
 * more digits into a marked string, and writing turns it back, so a value is kept digit for digit, also in members that
 * are not known here; `toBigInt` and `fromBigInt` are for the members that are. (A reviver with the source text does the
 * same, six times slower, and reading a block is most of what assigning an address costs.)
 */

/** What JSON text becomes; integers of 16 or more digits are opaque values for `toBigInt` and `formatJson`. */
export type JsonObject = Readonly<Record<string, unknown>>;

const MARK = "\u0001int:";
const MARK_IN_TEXT = "\\u0001int:";

/** Strings, which are stepped over, and long integers that are not part of a decimal or an exponent. */
const STRING_OR_LONG_INTEGER = /"(?:[^"\\]|\\.)*"|(?<![0-9.eE+-])-?[0-9]{16,}(?![0-9.eE])/g;

/** Reads a JSON object; throws SyntaxError when the text is anything else. */
export function parseJsonObject(text: string): JsonObject {
  if (text.includes(MARK_IN_TEXT)) throw new SyntaxError("Cannot read the value: it holds a control character");
  const value: unknown = JSON.parse(/[0-9]{16}/.test(text) ? text.replace(STRING_OR_LONG_INTEGER, markInteger) : text);
  if (!isJsonObject(value)) throw new SyntaxError("Cannot read the value: not a JSON object");
  return value;
}

function markInteger(token: string): string {
  return token.startsWith('"') ? token : `"${MARK_IN_TEXT}${token}"`;
}

/** Whether the value is an object and not an array. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The integer that a member holds; undefined when it holds none. */
export function toBigInt(value: unknown): bigint | undefined {
  if (typeof value === "string" && value.startsWith(MARK)) return BigInt(value.slice(MARK.length));
  return Number.isSafeInteger(value) ? BigInt(value as number) : undefined;
}

/** The integer as a member that `formatJson` writes as a plain number. */
export function fromBigInt(value: bigint): unknown {
  return MARK + value.toString();
}

/** Writes the object as JSON text. */
export function formatJson(value: JsonObject): string {
  return JSON.stringify(value).replace(/"\\u0001int:(-?[0-9]+)"/g, "$1");
}
