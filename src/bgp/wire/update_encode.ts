/**
 * Builds whole UPDATE messages, header included, from encoded attributes and encoded NLRI.
 *
 * IPv4 routes with an IPv4 next hop go into the classic fields; everything else goes into MP_REACH_NLRI as the first
 * attribute (RFC 7606 5.1). The caller keeps each message within the session's size: `nlriRoom` says how many octets of
 * NLRI fit.
 */

import {
  afiOf,
  ATTR_FLAG_EXTENDED,
  ATTR_FLAG_OPTIONAL,
  ATTR_MP_REACH_NLRI,
  ATTR_MP_UNREACH_NLRI,
  HEADER_LENGTH,
  IPV4_UNICAST,
  MSG_UPDATE,
  SAFI_UNICAST,
} from "./constants.ts";
import { putHeader } from "./frame.ts";

/** Octets left for NLRI in an announcement of `maxMessage` octets; negative when the attributes alone are too long. */
export function nlriRoom(attributesLength: number, maxMessage: number, mpNextHopLength?: number): number {
  const mp = mpNextHopLength === undefined ? 0 : 4 + 5 + mpNextHopLength;
  return maxMessage - HEADER_LENGTH - 4 - attributesLength - mp;
}

/** Octets left for NLRI in a withdrawal of `maxMessage` octets. */
export function withdrawRoom(family: number, maxMessage: number): number {
  return maxMessage - HEADER_LENGTH - 4 - (family === IPV4_UNICAST ? 0 : 7);
}

/** An UPDATE that announces IPv4 prefixes; `attributes` hold NEXT_HOP. */
export function encodeAnnounceIpv4(attributes: Uint8Array, nlri: Uint8Array): Uint8Array {
  const out = message(4 + attributes.length + nlri.length);
  putU16(out, HEADER_LENGTH + 2, attributes.length);
  out.set(attributes, HEADER_LENGTH + 4);
  out.set(nlri, HEADER_LENGTH + 4 + attributes.length);
  return out;
}

/** An UPDATE that announces prefixes in MP_REACH_NLRI; `nextHop` of 16 or 32 octets (RFC 2545, 8950). */
export function encodeAnnounceMp(
  family: number,
  attributes: Uint8Array,
  nextHop: Uint8Array,
  nlri: Uint8Array,
): Uint8Array {
  const value = 5 + nextHop.length + nlri.length;
  const out = message(4 + 4 + value + attributes.length);
  let at = HEADER_LENGTH + 2;
  putU16(out, at, 4 + value + attributes.length);
  at = putMpHeader(out, at + 2, ATTR_MP_REACH_NLRI, value, family);
  out[at++] = nextHop.length;
  out.set(nextHop, at);
  at += nextHop.length;
  out[at++] = 0;
  out.set(nlri, at);
  out.set(attributes, at + nlri.length);
  return out;
}

/** An UPDATE that withdraws prefixes of the family. */
export function encodeWithdraw(family: number, nlri: Uint8Array): Uint8Array {
  if (family === IPV4_UNICAST) {
    const out = message(4 + nlri.length);
    putU16(out, HEADER_LENGTH, nlri.length);
    out.set(nlri, HEADER_LENGTH + 2);
    return out;
  }
  const out = message(4 + 7 + nlri.length);
  putU16(out, HEADER_LENGTH + 2, 7 + nlri.length);
  const at = putMpHeader(out, HEADER_LENGTH + 4, ATTR_MP_UNREACH_NLRI, 3 + nlri.length, family);
  out.set(nlri, at);
  return out;
}

/** The End-of-RIB marker of a family (RFC 4724 section 2). */
export function encodeEndOfRib(family: number): Uint8Array {
  return encodeWithdraw(family, new Uint8Array(0));
}

function message(bodyLength: number): Uint8Array {
  const out = new Uint8Array(HEADER_LENGTH + bodyLength);
  putHeader(out, 0, out.length, MSG_UPDATE);
  return out;
}

/** Always with extended length, so that the header is 4 octets whatever the size. */
function putMpHeader(out: Uint8Array, at: number, type: number, length: number, family: number): number {
  out[at] = ATTR_FLAG_OPTIONAL | ATTR_FLAG_EXTENDED;
  out[at + 1] = type;
  putU16(out, at + 2, length);
  putU16(out, at + 4, afiOf(family));
  out[at + 6] = SAFI_UNICAST;
  return at + 7;
}

function putU16(out: Uint8Array, at: number, value: number): void {
  out[at] = value >>> 8;
  out[at + 1] = value;
}
