/**
 * NOTIFICATION: error code 1 | subcode 1 | data, and the names of all codes (RFC 4271 4.5, 4486, 6608, 7313, 8538,
 * 9003, 9234, 9384, 9687). Administrative shutdown and reset may carry words for people (RFC 9003).
 */

import { HEADER_LENGTH, MAX_MESSAGE, MSG_NOTIFICATION } from "./constants.ts";
import { putHeader } from "./frame.ts";

/** A decoded NOTIFICATION; `data` in memory of its own. */
export interface Notification {
  readonly code: number;
  readonly subcode: number;
  readonly data: Uint8Array;
}

export const ERR_HEADER = 1;
export const ERR_OPEN = 2;
export const ERR_UPDATE = 3;
export const ERR_HOLD_TIMER = 4;
export const ERR_FSM = 5;
export const ERR_CEASE = 6;
export const ERR_ROUTE_REFRESH = 7;
export const ERR_SEND_HOLD_TIMER = 8;

export const CEASE_MAX_PREFIXES = 1;
export const CEASE_SHUTDOWN = 2;
export const CEASE_DECONFIGURED = 3;
export const CEASE_RESET = 4;
export const CEASE_REJECTED = 5;
export const CEASE_CONFIG_CHANGE = 6;
export const CEASE_COLLISION = 7;
export const CEASE_OUT_OF_RESOURCES = 8;
export const CEASE_HARD_RESET = 9;
export const CEASE_BFD_DOWN = 10;

const CODES: readonly (readonly [string, readonly string[]])[] = [
  ["", []],
  ["Message Header Error", ["", "Connection Not Synchronized", "Bad Message Length", "Bad Message Type"]],
  ["OPEN Message Error", [
    "",
    "Unsupported Version Number",
    "Bad Peer AS",
    "Bad BGP Identifier",
    "Unsupported Optional Parameter",
    "Authentication Failure",
    "Unacceptable Hold Time",
    "Unsupported Capability",
    "",
    "",
    "",
    "Role Mismatch",
  ]],
  ["UPDATE Message Error", [
    "",
    "Malformed Attribute List",
    "Unrecognized Well-known Attribute",
    "Missing Well-known Attribute",
    "Attribute Flags Error",
    "Attribute Length Error",
    "Invalid ORIGIN Attribute",
    "AS Routing Loop",
    "Invalid NEXT_HOP Attribute",
    "Optional Attribute Error",
    "Invalid Network Field",
    "Malformed AS_PATH",
  ]],
  ["Hold Timer Expired", []],
  ["Finite State Machine Error", [
    "",
    "Receive Unexpected Message in OpenSent State",
    "Receive Unexpected Message in OpenConfirm State",
    "Receive Unexpected Message in Established State",
  ]],
  ["Cease", [
    "",
    "Maximum Number of Prefixes Reached",
    "Administrative Shutdown",
    "Peer De-configured",
    "Administrative Reset",
    "Connection Rejected",
    "Other Configuration Change",
    "Connection Collision Resolution",
    "Out of Resources",
    "Hard Reset",
    "BFD Down",
  ]],
  ["ROUTE-REFRESH Message Error", ["", "Invalid Message Length"]],
  ["Send Hold Timer Expired", []],
];

/** Decodes the body of a NOTIFICATION; a body that is too short reads as code 0. Never throws. */
export function decodeNotification(body: Uint8Array): Notification {
  return { code: body[0] ?? 0, subcode: body[1] ?? 0, data: body.slice(2) };
}

/** A NOTIFICATION message; data that does not fit is cut off. */
export function encodeNotification({ code, subcode, data }: Notification): Uint8Array {
  const kept = data.subarray(0, MAX_MESSAGE - HEADER_LENGTH - 2);
  const out = new Uint8Array(HEADER_LENGTH + 2 + kept.length);
  putHeader(out, 0, out.length, MSG_NOTIFICATION);
  out[HEADER_LENGTH] = code;
  out[HEADER_LENGTH + 1] = subcode;
  out.set(kept, HEADER_LENGTH + 2);
  return out;
}

/** Data of an administrative shutdown or reset: length 1, then at most 255 octets of whole UTF-8 characters. */
export function encodeShutdownMessage(text: string): Uint8Array {
  const out = new Uint8Array(256);
  const { written } = new TextEncoder().encodeInto(text, out.subarray(1));
  out[0] = written;
  return out.slice(0, 1 + written);
}

/** The words of an administrative shutdown or reset, cleaned of control characters; undefined when there are none. */
export function shutdownMessage({ code, subcode, data }: Notification): string | undefined {
  if (code !== ERR_CEASE || subcode !== CEASE_SHUTDOWN && subcode !== CEASE_RESET) return undefined;
  const length = data[0] ?? 0;
  if (length === 0 || length + 1 > data.length) return undefined;
  // deno-lint-ignore no-control-regex
  return new TextDecoder().decode(data.subarray(1, 1 + length)).replace(/[\x00-\x1f\x7f-\x9f]/g, " ");
}

/** The NOTIFICATION inside of a hard reset (RFC 8538 section 3); undefined when it is none. */
export function hardResetInner({ code, subcode, data }: Notification): Notification | undefined {
  if (code !== ERR_CEASE || subcode !== CEASE_HARD_RESET || data.length < 2) return undefined;
  return decodeNotification(data);
}

/** "OPEN Message Error/Bad Peer AS (2/2)", with the words that came along, and what is inside of a hard reset. */
export function describeNotification(notification: Notification): string {
  // A hard reset inside of a hard reset is nobody's: a peer could nest them without end.
  const inner = hardResetInner(notification);
  return inner ? `${describe(notification)}: ${describe(inner)}` : describe(notification);
}

function describe(notification: Notification): string {
  const { code, subcode } = notification;
  const [name, subnames] = CODES[code] ?? ["", []];
  const detail = subnames[subcode];
  const words = shutdownMessage(notification);
  const text = `${name || "Unknown Error"}${detail ? `/${detail}` : ""} (${code}/${subcode})`;
  return words === undefined ? text : `${text}: ${JSON.stringify(words)}`;
}
