/** ROUTE-REFRESH: AFI 2 | subtype 1 | SAFI 1 (RFC 2918); the subtype marks begin and end of a refresh (RFC 7313). */

import { afiOf, familyBit, HEADER_LENGTH, MSG_ROUTE_REFRESH, SAFI_UNICAST } from "./constants.ts";
import { type Fault, reset } from "./fault.ts";
import { putHeader } from "./frame.ts";

export const REFRESH_REQUEST = 0;
/** Begin of Route Refresh. */
export const REFRESH_BEGIN = 1;
/** End of Route Refresh. */
export const REFRESH_END = 2;

/** A decoded ROUTE-REFRESH; `family` is 0 for one that we do not speak, which is to be ignored. */
export interface RouteRefresh {
  readonly family: number;
  readonly subtype: number;
}

/**
 * Decodes the body. Begin and end of a refresh have 4 octets, or are an error of RFC 7313 that sends the whole message back;
 * a request with an outbound filter (RFC 5291), which we never announce, is taken as a plain one. Never throws.
 */
export function decodeRouteRefresh(body: Uint8Array): RouteRefresh | Fault {
  const subtype = body[2] ?? 0;
  const isMarker = subtype === REFRESH_BEGIN || subtype === REFRESH_END;
  if (isMarker && body.length !== 4) {
    const whole = new Uint8Array(HEADER_LENGTH + body.length);
    putHeader(whole, 0, whole.length, MSG_ROUTE_REFRESH);
    whole.set(body, HEADER_LENGTH);
    return reset(7, 1, `ROUTE-REFRESH of ${body.length} octets`, whole);
  }
  if (body.length < 4) {
    const length = HEADER_LENGTH + body.length;
    return reset(1, 2, `message of ${length} octets`, Uint8Array.of(length >> 8, length));
  }
  return { family: familyBit(((body[0] ?? 0) << 8) | (body[1] ?? 0), body[3] ?? 0), subtype };
}

/** A ROUTE-REFRESH message for one family. */
export function encodeRouteRefresh(family: number, subtype: number): Uint8Array {
  const out = new Uint8Array(HEADER_LENGTH + 4);
  putHeader(out, 0, out.length, MSG_ROUTE_REFRESH);
  out[HEADER_LENGTH + 1] = afiOf(family);
  out[HEADER_LENGTH + 2] = subtype;
  out[HEADER_LENGTH + 3] = SAFI_UNICAST;
  return out;
}
