/**
 * UPDATE: finds the parts of a message body without copying or decoding them.
 *
 *   withdrawn length 2 | withdrawn NLRI | attributes length 2 | attributes | NLRI (IPv4 unicast)       RFC 4271 4.3
 *   attribute: flags 1 | type 1 | length 1 or 2 | value
 *   MP_REACH_NLRI (14): AFI 2 | SAFI 1 | next hop length 1 | next hop | reserved 1 | NLRI              RFC 4760
 *   MP_UNREACH_NLRI (15): AFI 2 | SAFI 1 | NLRI
 *
 * The view keeps offsets into the receive buffer: it is valid until the next message is read, and the RIB copies what
 * it keeps. `attributes` leaves MP_REACH and MP_UNREACH out, so equal sets have equal bytes whatever their NLRI.
 */

import { checkAttributes } from "./attributes_decode.ts";
import {
  ATTR_FLAG_EXTENDED,
  ATTR_FLAG_OPTIONAL,
  ATTR_FLAG_TRANSITIVE,
  ATTR_MP_REACH_NLRI,
  ATTR_MP_UNREACH_NLRI,
  familyBit,
  IPV4_UNICAST,
} from "./constants.ts";
import { type Fault, fault, reset } from "./fault.ts";
import { isValidNlri } from "./nlri.ts";
import type { WireOptions } from "./options.ts";

/** A run of NLRI octets of one family in `bytes`. */
export interface Nlri {
  /** Family bit; 0 when nothing is there or the family was not negotiated (its routes are ignored). */
  readonly family: number;
  readonly start: number;
  readonly end: number;
}

/** The parts of one UPDATE; reused from message to message. */
export class UpdateView {
  /** The message body that the NLRI and next hop offsets point into. */
  bytes: Uint8Array = NOTHING;
  withdrawnStart = 0;
  withdrawnEnd = 0;
  /** IPv4 unicast NLRI behind the attributes. */
  nlriStart = 0;
  nlriEnd = 0;
  /** The raw attributes without MP_REACH and MP_UNREACH: `attributes[attributesStart … attributesEnd)`. */
  attributes: Uint8Array = NOTHING;
  attributesStart = 0;
  attributesEnd = 0;
  /** MP_REACH_NLRI: family bit (0: none, or not negotiated), next hop and NLRI offsets in `bytes`. */
  reachFamily = 0;
  nextHopStart = 0;
  nextHopEnd = 0;
  reachStart = 0;
  reachEnd = 0;
  /** MP_UNREACH_NLRI: family bit (0: none, or not negotiated) and NLRI offsets in `bytes`. */
  unreachFamily = 0;
  unreachStart = 0;
  unreachEnd = 0;
  /** MP_REACH_NLRI was there, whatever its family. */
  hasMpReach = false;
  /** The family bit whose End-of-RIB this is (RFC 4724 section 2), or 0. */
  endOfRib = 0;
  /** The attributes cannot be told apart: all routes of the message are withdrawn (RFC 7606 section 4). */
  malformed: Fault | undefined;

  /** The raw attribute octets, as a view on the receive buffer. */
  attributeBytes(): Uint8Array {
    return this.attributes.subarray(this.attributesStart, this.attributesEnd);
  }
  /** The next hop octets of MP_REACH_NLRI (4, 16 or 32), as a view on the receive buffer. */
  nextHopBytes(): Uint8Array {
    return this.bytes.subarray(this.nextHopStart, this.nextHopEnd);
  }
  /** Whether the message announces any route of a negotiated family. */
  get hasReach(): boolean {
    return this.nlriEnd > this.nlriStart || this.reachFamily !== 0 && this.reachEnd > this.reachStart;
  }
}

const NOTHING = new Uint8Array(0);
const UPDATE_ERROR = 3;
const MALFORMED_LIST = 1;
const ATTRIBUTE_FLAGS = 4;
const ATTRIBUTE_LENGTH = 5;
const OPTIONAL_ATTRIBUTE = 9;
const INVALID_NETWORK = 10;

/**
 * Fills `view` from the body of an UPDATE (what follows the header). Returns a fault of kind "reset" when the session
 * cannot go on, else the view; lesser faults are in `view.malformed`. Never throws.
 */
export function parseUpdate(body: Uint8Array, options: WireOptions, view: UpdateView = new UpdateView()):
  | UpdateView
  | Fault {
  const size = body.length;
  view.bytes = body;
  view.reachFamily = view.unreachFamily = view.endOfRib = 0;
  view.reachStart =
    view.reachEnd =
    view.unreachStart =
    view.unreachEnd =
    view.nextHopStart =
    view.nextHopEnd =
      0;
  view.hasMpReach = false;
  view.malformed = undefined;
  if (size < 4) return reset(UPDATE_ERROR, MALFORMED_LIST, `UPDATE of ${size} octets is too short`);
  const withdrawnEnd = 2 + u16(body, 0);
  if (withdrawnEnd + 2 > size) return reset(UPDATE_ERROR, MALFORMED_LIST, "withdrawn routes overrun the UPDATE");
  const attributesStart = withdrawnEnd + 2;
  const attributesEnd = attributesStart + u16(body, withdrawnEnd);
  if (attributesEnd > size) return reset(UPDATE_ERROR, MALFORMED_LIST, "path attributes overrun the UPDATE");
  const hasPathId = (options.addPathReceive & IPV4_UNICAST) !== 0;
  if (!isValidNlri(body, 2, withdrawnEnd, 32, hasPathId)) {
    return reset(UPDATE_ERROR, INVALID_NETWORK, "malformed withdrawn routes");
  }
  if (!isValidNlri(body, attributesEnd, size, 32, hasPathId)) {
    return reset(UPDATE_ERROR, INVALID_NETWORK, "malformed NLRI");
  }
  view.withdrawnStart = 2;
  view.nlriStart = attributesEnd;
  const speaksIpv4 = (options.families & IPV4_UNICAST) !== 0;
  view.withdrawnEnd = speaksIpv4 ? withdrawnEnd : 2;
  view.nlriEnd = speaksIpv4 ? size : attributesEnd;
  view.attributes = body;
  view.attributesStart = attributesStart;
  view.attributesEnd = attributesEnd;
  const refused = walkAttributes(body, attributesStart, attributesEnd, options, view);
  if (refused) return refused;
  if (size === attributesEnd && !view.hasMpReach && (view.malformed || view.attributesEnd > view.attributesStart)) {
    // RFC 7606 5.2: without announced routes there is nothing to withdraw instead, so a fault costs the session.
    const problem = view.malformed ?? checkAttributes(view.attributeBytes(), options);
    if (problem) return { ...problem, kind: "reset" };
  }
  if (size === 4 && speaksIpv4) view.endOfRib = IPV4_UNICAST;
  return view;
}

/** Finds MP_REACH and MP_UNREACH and cuts them out of the raw attributes. */
function walkAttributes(
  body: Uint8Array,
  start: number,
  end: number,
  options: WireOptions,
  view: UpdateView,
): Fault | undefined {
  let at = start;
  let hasUnreach = false;
  // Each MP attribute leaves a hole; one at either end only moves the bounds, which is what senders do.
  let holes: number[] | undefined;
  while (at < end) {
    const flags = body[at]!;
    const isLong = (flags & ATTR_FLAG_EXTENDED) !== 0;
    const valueStart = at + (isLong ? 4 : 3);
    if (valueStart > end) {
      view.malformed ??= fault("treat-as-withdraw", UPDATE_ERROR, MALFORMED_LIST, "truncated attribute header");
      break;
    }
    const type = body[at + 1]!;
    const valueEnd = valueStart + (isLong ? u16(body, at + 2) : body[at + 2]!);
    if (valueEnd > end) {
      const raw = body.slice(at, end);
      if (type === ATTR_MP_REACH_NLRI || type === ATTR_MP_UNREACH_NLRI) {
        return reset(UPDATE_ERROR, ATTRIBUTE_LENGTH, `attribute ${type} overruns the path attributes`, raw);
      }
      view.malformed ??= fault(
        "treat-as-withdraw",
        UPDATE_ERROR,
        ATTRIBUTE_LENGTH,
        `attribute ${type} overruns the path attributes`,
        raw,
      );
      break;
    }
    if (type === ATTR_MP_REACH_NLRI || type === ATTR_MP_UNREACH_NLRI) {
      const isReach = type === ATTR_MP_REACH_NLRI;
      if (isReach ? view.hasMpReach : hasUnreach) {
        return reset(UPDATE_ERROR, MALFORMED_LIST, `attribute ${type} appears twice`);
      }
      // The flags in conflict are an error of the set (RFC 7606 3c), not of these routes' syntax.
      if ((flags & (ATTR_FLAG_OPTIONAL | ATTR_FLAG_TRANSITIVE)) !== ATTR_FLAG_OPTIONAL) {
        view.malformed ??= fault(
          "treat-as-withdraw",
          UPDATE_ERROR,
          ATTRIBUTE_FLAGS,
          `attribute ${type} has flags 0x${flags.toString(16)}`,
          body.slice(at, valueEnd),
        );
      }
      const refused = isReach
        ? parseReach(body, at, valueStart, valueEnd, options, view)
        : parseUnreach(body, at, valueStart, valueEnd, options, view);
      if (refused) return refused;
      if (isReach) view.hasMpReach = true;
      else hasUnreach = true;
      (holes ??= []).push(at, valueEnd);
    }
    at = valueEnd;
  }
  if (holes) cutHoles(body, start, end, holes, view);
  if (hasUnreach && !view.hasMpReach && view.attributesEnd === view.attributesStart && body.length === end) {
    if (view.unreachStart === view.unreachEnd && view.withdrawnEnd === 2) view.endOfRib = view.unreachFamily;
  }
  return undefined;
}

function parseReach(
  body: Uint8Array,
  at: number,
  start: number,
  end: number,
  options: WireOptions,
  view: UpdateView,
): Fault | undefined {
  const bad = (reason: string) =>
    reset(UPDATE_ERROR, OPTIONAL_ATTRIBUTE, `MP_REACH_NLRI: ${reason}`, body.slice(at, end));
  if (end - start < 5) return bad("too short");
  const afi = u16(body, start);
  const family = familyBit(afi, body[start + 2]!) & options.families;
  const nextHopStart = start + 4;
  const nextHopEnd = nextHopStart + body[start + 3]!;
  // One reserved octet follows the next hop.
  if (nextHopEnd + 1 > end) return bad("next hop overruns the attribute");
  if (family === 0) return undefined;
  const nextHopLength = nextHopEnd - nextHopStart;
  const isIpv4 = family === IPV4_UNICAST;
  const isNextHopKnown = nextHopLength === 16 || nextHopLength === 32
    ? !isIpv4 || options.isExtendedNextHop
    : nextHopLength === 4 && isIpv4;
  if (!isNextHopKnown) return bad(`next hop of ${nextHopLength} octets`);
  const hasPathId = (options.addPathReceive & family) !== 0;
  if (!isValidNlri(body, nextHopEnd + 1, end, isIpv4 ? 32 : 128, hasPathId)) return bad("malformed NLRI");
  view.reachFamily = family;
  view.nextHopStart = nextHopStart;
  view.nextHopEnd = nextHopEnd;
  view.reachStart = nextHopEnd + 1;
  view.reachEnd = end;
  return undefined;
}

function parseUnreach(
  body: Uint8Array,
  at: number,
  start: number,
  end: number,
  options: WireOptions,
  view: UpdateView,
): Fault | undefined {
  const bad = (reason: string) =>
    reset(UPDATE_ERROR, OPTIONAL_ATTRIBUTE, `MP_UNREACH_NLRI: ${reason}`, body.slice(at, end));
  if (end - start < 3) return bad("too short");
  const family = familyBit(u16(body, start), body[start + 2]!) & options.families;
  if (family === 0) return undefined;
  const hasPathId = (options.addPathReceive & family) !== 0;
  if (!isValidNlri(body, start + 3, end, family === IPV4_UNICAST ? 32 : 128, hasPathId)) return bad("malformed NLRI");
  view.unreachFamily = family;
  view.unreachStart = start + 3;
  view.unreachEnd = end;
  return undefined;
}

/** Leaves the holes ([start, end) pairs in order) out of the attributes, by moving the bounds or by one copy. */
function cutHoles(body: Uint8Array, start: number, end: number, holes: number[], view: UpdateView): void {
  while (holes.length > 0 && holes[0] === start) {
    start = holes[1]!;
    holes.splice(0, 2);
  }
  while (holes.length > 0 && holes[holes.length - 1] === end) {
    end = holes[holes.length - 2]!;
    holes.splice(holes.length - 2, 2);
  }
  if (holes.length === 0) {
    view.attributesStart = start;
    view.attributesEnd = end;
    return;
  }
  const copy = new Uint8Array(end - start);
  let length = 0;
  for (let i = 0, from = start; i <= holes.length; i += 2) {
    const part = body.subarray(from, i < holes.length ? holes[i] : end);
    copy.set(part, length);
    length += part.length;
    from = holes[i + 1] ?? end;
  }
  view.attributes = copy;
  view.attributesStart = 0;
  view.attributesEnd = length;
}

function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}
