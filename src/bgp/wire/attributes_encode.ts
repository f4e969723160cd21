/**
 * Encodes path attributes in ascending order of type, once for each set and kind of peer; never per prefix.
 *
 * NEXT_HOP is written when the next hop is an IPv4 address; another next hop belongs into MP_REACH_NLRI, which
 * `update_encode.ts` puts in front. Unknown transitive attributes keep their value byte for byte. Everything is written
 * into one scratch buffer and copied out once, since a full table has tens of thousands of sets.
 */

import { asPathSize, needsAs4Path, putAsPath } from "./as_path.ts";
import type { PathAttributes } from "./attributes.ts";
import * as c from "./constants.ts";
import type { WireOptions } from "./options.ts";

const WELL_KNOWN = c.ATTR_FLAG_TRANSITIVE;
const OPTIONAL = c.ATTR_FLAG_OPTIONAL;
const OPTIONAL_TRANSITIVE = c.ATTR_FLAG_OPTIONAL | c.ATTR_FLAG_TRANSITIVE;

/** Room for any set that fits a message; grown for what a filter may add beyond. Used within one call only. */
let scratch = new Uint8Array(c.MAX_EXTENDED_MESSAGE);

/** The raw attributes of a set as they go to such a peer, without MP_REACH_NLRI. What is given is written: filter first. */
export function encodeAttributes(attributes: PathAttributes, options: Pick<WireOptions, "isFourOctetAs">): Uint8Array {
  const { asPath, nextHop, med, localPref, aggregator, originatorId, otc, communities, clusterList, unknown } =
    attributes;
  const { isFourOctetAs } = options;
  const pathSize = asPathSize(asPath, isFourOctetAs);
  const needed = 256 + 3 * pathSize + 4 * (communities.length + clusterList.length) +
    8 * attributes.extendedCommunities.length + 12 * attributes.largeCommunities.length +
    unknown.reduce((sum, { value }) => sum + 4 + value.length, 0);
  if (needed > scratch.length) scratch = new Uint8Array(needed * 2);
  const out = scratch;

  let at = putHead(out, 0, WELL_KNOWN, c.ATTR_ORIGIN, 1);
  out[at++] = attributes.origin;
  at = putAsPath(out, putHead(out, at, WELL_KNOWN, c.ATTR_AS_PATH, pathSize), asPath, isFourOctetAs);
  if (nextHop?.length === 4) {
    at = putHead(out, at, WELL_KNOWN, c.ATTR_NEXT_HOP, 4);
    for (let i = 0; i < 4; i++) out[at++] = nextHop[i]!;
  }
  if (med !== undefined) at = putU32(out, putHead(out, at, OPTIONAL, c.ATTR_MULTI_EXIT_DISC, 4), med);
  if (localPref !== undefined) at = putU32(out, putHead(out, at, WELL_KNOWN, c.ATTR_LOCAL_PREF, 4), localPref);
  if (attributes.atomicAggregate) at = putHead(out, at, WELL_KNOWN, c.ATTR_ATOMIC_AGGREGATE, 0);
  const needsAs4Aggregator = aggregator !== undefined && !isFourOctetAs && aggregator.as > 0xffff;
  if (aggregator) {
    at = putHead(out, at, OPTIONAL_TRANSITIVE, c.ATTR_AGGREGATOR, isFourOctetAs ? 8 : 6);
    at = isFourOctetAs
      ? putU32(out, at, aggregator.as)
      : putU16(out, at, needsAs4Aggregator ? c.AS_TRANS : aggregator.as);
    at = putU32(out, at, aggregator.id);
  }
  if (communities.length > 0) at = putWords(out, at, OPTIONAL_TRANSITIVE, c.ATTR_COMMUNITIES, communities);
  if (originatorId !== undefined) at = putU32(out, putHead(out, at, OPTIONAL, c.ATTR_ORIGINATOR_ID, 4), originatorId);
  if (clusterList.length > 0) at = putWords(out, at, OPTIONAL, c.ATTR_CLUSTER_LIST, clusterList);
  let next = 0;
  if (unknown.length > 0) [at, next] = putUnknown(out, at, attributes, next, c.ATTR_EXTENDED_COMMUNITIES);
  if (attributes.extendedCommunities.length > 0) {
    const size = 8 * attributes.extendedCommunities.length;
    at = putHead(out, at, OPTIONAL_TRANSITIVE, c.ATTR_EXTENDED_COMMUNITIES, size);
    for (const community of attributes.extendedCommunities) {
      at = putU32(out, at, Number(community >> 32n));
      at = putU32(out, at, Number(community & 0xffffffffn));
    }
  }
  if (!isFourOctetAs && needsAs4Path(asPath)) {
    const plain = asPath.filter((segment) => segment.type <= 2);
    at = putHead(out, at, OPTIONAL_TRANSITIVE, c.ATTR_AS4_PATH, asPathSize(plain, true));
    at = putAsPath(out, at, plain, true);
  }
  if (aggregator && needsAs4Aggregator) {
    at = putHead(out, at, OPTIONAL_TRANSITIVE, c.ATTR_AS4_AGGREGATOR, 8);
    at = putU32(out, putU32(out, at, aggregator.as), aggregator.id);
  }
  if (unknown.length > 0) [at, next] = putUnknown(out, at, attributes, next, c.ATTR_LARGE_COMMUNITIES);
  if (attributes.largeCommunities.length > 0) {
    at = putHead(out, at, OPTIONAL_TRANSITIVE, c.ATTR_LARGE_COMMUNITIES, 12 * attributes.largeCommunities.length);
    for (const [a, b, d] of attributes.largeCommunities) at = putU32(out, putU32(out, putU32(out, at, a), b), d);
  }
  if (unknown.length > 0) [at, next] = putUnknown(out, at, attributes, next, c.ATTR_ONLY_TO_CUSTOMER);
  if (otc !== undefined) at = putU32(out, putHead(out, at, OPTIONAL_TRANSITIVE, c.ATTR_ONLY_TO_CUSTOMER, 4), otc);
  if (unknown.length > 0) [at] = putUnknown(out, at, attributes, next, 256);
  return out.slice(0, at);
}

/** Writes the unknown attributes from `next` on whose type is below `type`; returns both positions behind them. */
function putUnknown(
  out: Uint8Array,
  at: number,
  { unknown }: PathAttributes,
  next: number,
  type: number,
): [number, number] {
  for (let one = unknown[next]; one && one.type < type; one = unknown[++next]) {
    at = putHead(out, at, one.flags & ~c.ATTR_FLAG_EXTENDED, one.type, one.value.length);
    out.set(one.value, at);
    at += one.value.length;
  }
  return [at, next];
}

function putHead(out: Uint8Array, at: number, flags: number, type: number, length: number): number {
  out[at + 1] = type;
  if (length <= 255) {
    out[at] = flags;
    out[at + 2] = length;
    return at + 3;
  }
  out[at] = flags | c.ATTR_FLAG_EXTENDED;
  return putU16(out, at + 2, length);
}

function putU16(out: Uint8Array, at: number, value: number): number {
  out[at] = value >>> 8;
  out[at + 1] = value;
  return at + 2;
}

function putU32(out: Uint8Array, at: number, value: number): number {
  out[at] = value >>> 24;
  out[at + 1] = value >>> 16;
  out[at + 2] = value >>> 8;
  out[at + 3] = value;
  return at + 4;
}

function putWords(out: Uint8Array, at: number, flags: number, type: number, words: readonly number[]): number {
  at = putHead(out, at, flags, type, 4 * words.length);
  for (let i = 0; i < words.length; i++) at = putU32(out, at, words[i]!);
  return at;
}
