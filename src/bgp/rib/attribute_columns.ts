/**
 * What the decision process and the policies look at all the time, one typed array per attribute and one row per set.
 *
 * `scanPlain` fills a row straight from the octets when they are plain: only attributes that everybody sends, with the
 * flags and lengths that their RFCs ask for. Anything else goes through the full decoder (RFC 7606), which has the last
 * word; the scan is only a short cut to the same row.
 */

import { asPathLength, type PathAttributes } from "../wire/attributes.ts";
import * as c from "../wire/constants.ts";
import type { WireOptions } from "../wire/options.ts";

/** Bits of `flags`. */
export const HAS_LOCAL_PREF = 1;
export const HAS_MED = 2;
export const HAS_NO_EXPORT = 4;
export const HAS_NO_ADVERTISE = 8;
export const HAS_NO_EXPORT_SUBCONFED = 16;
export const HAS_GRACEFUL_SHUTDOWN = 32;
export const HAS_ORIGINATOR_ID = 64;
/** Kept although its speaker is gone: the least preferred, and not for everybody (RFC 9494). */
export const HAS_LLGR_STALE = 256;
/** Nothing but attributes that `scanPlain` knows: the octets can be spliced instead of decoded. */
export const IS_PLAIN = 128;

/** Local preference of a set without one (RFC 4271 leaves it to policy; BIRD and others use 100). */
export const DEFAULT_LOCAL_PREF = 100;

/** One row before it has a number. */
export interface AttributeRow {
  flags: number;
  origin: number;
  localPref: number;
  med: number;
  pathLength: number;
  /** The first AS of the path when it is a sequence, else 0. */
  neighbourAs: number;
  originatorId: number;
  clusterLength: number;
  /** The NEXT_HOP attribute, -1 when there is none. */
  nextHop4: number;
}

/** The rows of all sets. */
export class AttributeColumns {
  flags = new Uint16Array(1024);
  origin = new Uint8Array(1024);
  localPref = new Uint32Array(1024);
  med = new Uint32Array(1024);
  pathLength = new Uint32Array(1024);
  neighbourAs = new Uint32Array(1024);
  originatorId = new Uint32Array(1024);
  clusterLength = new Uint16Array(1024);
  /** The NEXT_HOP attribute as a number, 0 when there is none. */
  nextHop4 = new Uint32Array(1024);

  set(id: number, row: AttributeRow): void {
    this.flags[id] = row.flags;
    this.origin[id] = row.origin;
    this.localPref[id] = row.localPref;
    this.med[id] = row.med;
    this.pathLength[id] = row.pathLength;
    this.neighbourAs[id] = row.neighbourAs;
    this.originatorId[id] = row.originatorId;
    this.clusterLength[id] = row.clusterLength;
    this.nextHop4[id] = row.nextHop4 < 0 ? 0 : row.nextHop4;
  }

  grow(size: number): void {
    this.flags = resize(this.flags, new Uint16Array(size));
    this.origin = resize(this.origin, new Uint8Array(size));
    this.localPref = resize(this.localPref, new Uint32Array(size));
    this.med = resize(this.med, new Uint32Array(size));
    this.pathLength = resize(this.pathLength, new Uint32Array(size));
    this.neighbourAs = resize(this.neighbourAs, new Uint32Array(size));
    this.originatorId = resize(this.originatorId, new Uint32Array(size));
    this.clusterLength = resize(this.clusterLength, new Uint16Array(size));
    this.nextHop4 = resize(this.nextHop4, new Uint32Array(size));
  }
}

/**
 * How much longer columns become at a time: fourfold, since what is not used yet costs address space and no memory, and
 * copying a column of a large table costs time.
 */
export const GROWTH = 4;

/** Copies a column into a longer one. */
export function resize<T extends Uint8Array | Uint16Array | Uint32Array | Int32Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

/** An empty row, to be filled by `scanPlain` or `fillRow`. */
export function makeRow(): AttributeRow {
  return {
    flags: 0,
    origin: 0,
    localPref: DEFAULT_LOCAL_PREF,
    med: 0,
    pathLength: 0,
    neighbourAs: 0,
    originatorId: 0,
    clusterLength: 0,
    nextHop4: -1,
  };
}

/** Fills the row from a decoded set. */
export function fillRow(row: AttributeRow, attributes: PathAttributes): void {
  const { localPref, med, originatorId, asPath, nextHop } = attributes;
  let flags = 0;
  if (localPref !== undefined) flags |= HAS_LOCAL_PREF;
  if (med !== undefined) flags |= HAS_MED;
  if (originatorId !== undefined) flags |= HAS_ORIGINATOR_ID;
  for (const community of attributes.communities) flags |= communityFlag(community);
  row.flags = flags;
  row.origin = attributes.origin;
  row.localPref = localPref ?? DEFAULT_LOCAL_PREF;
  row.med = med ?? 0;
  row.pathLength = asPathLength(asPath);
  const first = asPath.find((segment) => segment.type === 2 || segment.type === 1);
  row.neighbourAs = first?.type === 2 ? first.asns[0] ?? 0 : 0;
  row.originatorId = originatorId ?? 0;
  row.clusterLength = attributes.clusterList.length;
  row.nextHop4 = nextHop?.length === 4 ? word(nextHop, 0) : -1;
}

function communityFlag(community: number): number {
  switch (community) {
    case c.COMMUNITY_NO_EXPORT:
      return HAS_NO_EXPORT;
    case c.COMMUNITY_NO_ADVERTISE:
      return HAS_NO_ADVERTISE;
    case c.COMMUNITY_NO_EXPORT_SUBCONFED:
      return HAS_NO_EXPORT_SUBCONFED;
    case c.COMMUNITY_GRACEFUL_SHUTDOWN:
      return HAS_GRACEFUL_SHUTDOWN;
    case c.COMMUNITY_LLGR_STALE:
      return HAS_LLGR_STALE;
    default:
      return 0;
  }
}

const WELL_KNOWN = c.ATTR_FLAG_TRANSITIVE;
const OPTIONAL = c.ATTR_FLAG_OPTIONAL;
const OPTIONAL_TRANSITIVE = OPTIONAL | WELL_KNOWN;
const MANDATORY = 1 << c.ATTR_ORIGIN | 1 << c.ATTR_AS_PATH;

/**
 * Fills the row when the octets are plain, in ascending order of type, and valid beyond doubt; false leaves the decision to
 * the full decoder. `hasMpNextHop` says that NEXT_HOP is not needed.
 */
export function scanPlain(
  raw: Uint8Array,
  start: number,
  end: number,
  options: WireOptions,
  hasMpNextHop: boolean,
  row: AttributeRow,
): boolean {
  if (!options.isFourOctetAs || options.isConfederation) return false;
  const isInternal = options.isInternal;
  row.localPref = DEFAULT_LOCAL_PREF;
  row.med =
    row.pathLength =
    row.neighbourAs =
    row.originatorId =
    row.clusterLength =
      0;
  row.nextHop4 = -1;
  let seen = 0, last = 0, flagBits = IS_PLAIN;
  let at = start;
  while (at < end) {
    if (at + 3 > end) return false;
    const flags = raw[at]!, type = raw[at + 1]!, size = raw[at + 2]!;
    const value = at + 3;
    // A long or an unordered attribute is not worth a short cut.
    if (type <= last || type > 10 && type !== 16 && type !== 32 || value + size > end) return false;
    last = type;
    seen |= 1 << (type & 31);
    switch (type) {
      case c.ATTR_ORIGIN:
        if (flags !== WELL_KNOWN || size !== 1 || raw[value]! > 2) return false;
        row.origin = raw[value]!;
        break;
      case c.ATTR_AS_PATH:
        if (flags !== WELL_KNOWN || !scanPath(raw, value, size, options, row)) return false;
        break;
      case c.ATTR_NEXT_HOP: {
        if (flags !== WELL_KNOWN || size !== 4) return false;
        const first = raw[value]!;
        if (first === 0 || first === 127 || first >= 224) return false;
        row.nextHop4 = word(raw, value);
        break;
      }
      case c.ATTR_MULTI_EXIT_DISC:
        if (flags !== OPTIONAL || size !== 4) return false;
        row.med = word(raw, value);
        flagBits |= HAS_MED;
        break;
      case c.ATTR_LOCAL_PREF:
        if (flags !== WELL_KNOWN || size !== 4 || !isInternal) return false;
        row.localPref = word(raw, value);
        flagBits |= HAS_LOCAL_PREF;
        break;
      case c.ATTR_COMMUNITIES:
        if (flags !== OPTIONAL_TRANSITIVE || size === 0 || size & 3) return false;
        for (let i = value; i < value + size; i += 4) if (raw[i] === 0xff) flagBits |= communityFlag(word(raw, i));
        break;
      case c.ATTR_ORIGINATOR_ID:
        if (flags !== OPTIONAL || size !== 4 || !isInternal) return false;
        row.originatorId = word(raw, value);
        flagBits |= HAS_ORIGINATOR_ID;
        break;
      case c.ATTR_CLUSTER_LIST:
        if (flags !== OPTIONAL || size === 0 || size & 3 || !isInternal) return false;
        row.clusterLength = size >> 2;
        break;
      case c.ATTR_EXTENDED_COMMUNITIES:
        if (flags !== OPTIONAL_TRANSITIVE || size === 0 || size & 7) return false;
        break;
      case c.ATTR_LARGE_COMMUNITIES:
        if (flags !== OPTIONAL_TRANSITIVE || size === 0 || size % 12 !== 0 || hasEqualLarge(raw, value, size)) {
          return false;
        }
        break;
      default:
        return false;
    }
    at = value + size;
  }
  row.flags = flagBits;
  return (seen & MANDATORY) === MANDATORY && (hasMpNextHop || row.nextHop4 !== -1) &&
    (!isInternal || (flagBits & HAS_LOCAL_PREF) !== 0);
}

/** Whether a large community is there twice, which the full decoder mends (RFC 8092 section 5); many are left to it, too. */
function hasEqualLarge(raw: Uint8Array, start: number, size: number): boolean {
  if (size > 8 * 12) return true;
  for (let a = start + 12; a < start + size; a += 12) {
    for (let b = start; b < a; b += 12) {
      let i = 0;
      while (i < 12 && raw[a + i] === raw[b + i]) i++;
      if (i === 12) return true;
    }
  }
  return false;
}

/** Sequences only (what nearly every path is), without AS 0. */
function scanPath(raw: Uint8Array, start: number, size: number, options: WireOptions, row: AttributeRow): boolean {
  const end = start + size;
  let length = 0;
  for (let at = start; at < end;) {
    const count = raw[at + 1]!;
    if (raw[at] !== c.AS_SEQUENCE || count === 0 || at + 2 + count * 4 > end) return false;
    at += 2;
    if (length === 0) row.neighbourAs = word(raw, at);
    length += count;
    for (let i = 0; i < count; i++, at += 4) {
      if ((raw[at]! | raw[at + 1]! | raw[at + 2]! | raw[at + 3]!) === 0) return false;
    }
  }
  row.pathLength = length;
  if (options.isInternal) return true;
  return !options.mustBeginWithPeerAs || row.neighbourAs === options.peerAs && length > 0;
}

function word(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24 | bytes[at + 1]! << 16 | bytes[at + 2]! << 8 | bytes[at + 3]!) >>> 0;
}
