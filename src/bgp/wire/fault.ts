/**
 * What is wrong with a peer's message, as a value: RFC 7606 makes us choose between dropping an attribute, treating the
 * routes as withdrawn, and resetting the session with a NOTIFICATION, so a decoder never throws.
 */

/** How much a fault costs, weakest first; the strongest of several wins. */
export type FaultKind = "discard" | "treat-as-withdraw" | "reset";

/** A peer's error: the NOTIFICATION that it would cause, and words for log and status. */
export interface Fault {
  readonly kind: FaultKind;
  /** NOTIFICATION error code. */
  readonly code: number;
  readonly subcode: number;
  /** NOTIFICATION data: the offending attribute, length or version. */
  readonly data: Uint8Array;
  readonly reason: string;
}

const NO_DATA = new Uint8Array(0);

/** A fault of that kind; `data` is empty when left out. */
export function fault(kind: FaultKind, code: number, subcode: number, reason: string, data = NO_DATA): Fault {
  return { kind, code, subcode, data, reason };
}

/** A fault that ends the session. */
export function reset(code: number, subcode: number, reason: string, data = NO_DATA): Fault {
  return { kind: "reset", code, subcode, data, reason };
}
