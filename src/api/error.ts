/**
 * Refusals of the API: one code for programs, one sentence for people, and the HTTP status that goes with the code.
 * On the wire: `{"error": {"code": …, "message": …, "hint": …}}`.
 */

/** Why a call was refused, and its HTTP status. */
export const STATUS_OF = {
  /** The request itself is wrong: not HTTP, not JSON, a wrong member, an invalid resource. */
  invalid: 400,
  /** The configuration file's, or built in. */
  readonly: 403,
  missing: 404,
  /** No such path or method. */
  unknown: 404,
  method: 405,
  /** The client was too slow. */
  slow: 408,
  exists: 409,
  /** The resource has changed since it was read. */
  conflict: 409,
  /** A body needs a Content-Length. */
  length: 411,
  "too-large": 413,
  /** Right in form, but against a rule: the message says which. */
  refused: 422,
  internal: 500,
  corrupt: 500,
  /** The store, or a part of the node, does not answer. */
  unavailable: 503,
  /** Too many calls at once: nothing was done, try again. */
  busy: 503,
  timeout: 504,
  /** On the client's side: nothing listens on the socket. */
  unreachable: 0,
  /** On the client's side: the socket may not be used. */
  permission: 0,
} as const;

/** The code of a refusal. */
export type ApiErrorCode = keyof typeof STATUS_OF;

/** A refused call of the node's API. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  /** What to do about it, if there is something. */
  readonly hint: string | undefined;

  constructor(readonly code: ApiErrorCode, message: string, options: ErrorOptions & { readonly hint?: string } = {}) {
    super(message, options);
    this.hint = options.hint;
  }
}

/** Whether a text is a code of `ApiError`. */
export function isApiErrorCode(text: unknown): text is ApiErrorCode {
  return typeof text === "string" && Object.hasOwn(STATUS_OF, text);
}

/** The JSON of a refusal. */
export function errorBody(error: ApiError): string {
  const { code, message, hint } = error;
  return JSON.stringify({ error: hint === undefined ? { code, message } : { code, message, hint } });
}
