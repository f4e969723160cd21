/**
 * JSON text with integers of any size.
 *
 * A block's sequence numbers are nanoseconds since 1970 and do not fit into a double. Reading keeps every integer that a
 * double cannot hold as a raw JSON number, so a value is written back digit for digit, also in members that are not
 * known here; `toBigInt` and `fromBigInt` are for the members that are.
 */

/** What JSON text becomes; integers beyond 2^53 are opaque values that only `toBigInt` and `formatJson` understand. */
export type JsonObject = Readonly<Record<string, unknown>>;

interface RawNumber {
  readonly rawJSON: string;
}
const json = JSON as unknown as { rawJSON(text: string): RawNumber; isRawJSON(value: unknown): value is RawNumber };

/** Reads a JSON object; throws SyntaxError when the text is anything else. */
export function parseJsonObject(text: string): JsonObject {
  // The reviver is slow, and only values with a run of 16 digits need it.
  const value: unknown = /[0-9]{16}/.test(text) ? JSON.parse(text, keepBig) : JSON.parse(text);
  if (!isJsonObject(value)) throw new SyntaxError("Cannot read the value: not a JSON object");
  return value;
}

function keepBig(_key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
  return /^-?[0-9]+$/.test(context?.source ?? "") ? json.rawJSON(context!.source!) : value;
}

/** Whether the value is an object that is neither an array nor a raw number. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !json.isRawJSON(value);
}

/** The integer that a member holds; undefined when it holds none. */
export function toBigInt(value: unknown): bigint | undefined {
  if (json.isRawJSON(value)) return BigInt(value.rawJSON);
  return Number.isSafeInteger(value) ? BigInt(value as number) : undefined;
}

/** The integer as a member that `formatJson` writes as a plain number. */
export function fromBigInt(value: bigint): unknown {
  return json.rawJSON(value.toString());
}

/** Writes the object as JSON text. */
export function formatJson(value: JsonObject): string {
  return JSON.stringify(value);
}
