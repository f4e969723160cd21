/**
 * Encodes path attributes in ascending order of type, once for each set and kind of peer; never per prefix.
 *
 * NEXT_HOP is written when the next hop is an IPv4 address; another next hop belongs into MP_REACH_NLRI, which
 * `update_encode.ts` puts in front. Unknown transitive attributes keep their value byte for byte.
 */

import { ByteWriter } from "../../lib/bytes.ts";
import { needsAs4Path, writeAsPath } from "./as_path.ts";
import type { PathAttributes } from "./attributes.ts";
import * as c from "./constants.ts";
import type { WireOptions } from "./options.ts";

const WELL_KNOWN = c.ATTR_FLAG_TRANSITIVE;
const OPTIONAL = c.ATTR_FLAG_OPTIONAL;
const OPTIONAL_TRANSITIVE = c.ATTR_FLAG_OPTIONAL | c.ATTR_FLAG_TRANSITIVE;

/** The raw attributes of a set as they go to such a peer, without MP_REACH_NLRI. What is given is written: filter first. */
export function encodeAttributes(
  attributes: PathAttributes,
  options: Pick<WireOptions, "isFourOctetAs">,
): Uint8Array {
  const out = new ByteWriter(128);
  const value = new ByteWriter(64);
  let unknownAt = 0;
  /** Appends the unknown attributes whose type is below `type`. */
  const unknownBelow = (type: number) => {
    for (; unknownAt < attributes.unknown.length; unknownAt++) {
      const next = attributes.unknown[unknownAt];
      if (!next || next.type >= type) return;
      put(out, next.flags, next.type, next.value);
    }
  };
  const write = (flags: number, type: number, fill: (value: ByteWriter) => void) => {
    unknownBelow(type);
    value.clear();
    fill(value);
    put(out, flags, type, value.view());
  };

  write(WELL_KNOWN, c.ATTR_ORIGIN, (v) => v.u8(attributes.origin));
  write(WELL_KNOWN, c.ATTR_AS_PATH, (v) => writeAsPath(v, attributes.asPath, options.isFourOctetAs));
  const { nextHop, med, localPref, aggregator, originatorId, otc } = attributes;
  if (nextHop?.length === 4) write(WELL_KNOWN, c.ATTR_NEXT_HOP, (v) => v.put(nextHop));
  if (med !== undefined) write(OPTIONAL, c.ATTR_MULTI_EXIT_DISC, (v) => v.u32be(med));
  if (localPref !== undefined) write(WELL_KNOWN, c.ATTR_LOCAL_PREF, (v) => v.u32be(localPref));
  if (attributes.atomicAggregate) write(WELL_KNOWN, c.ATTR_ATOMIC_AGGREGATE, () => {});
  const needsAs4Aggregator = aggregator !== undefined && !options.isFourOctetAs && aggregator.as > 0xffff;
  if (aggregator) {
    write(OPTIONAL_TRANSITIVE, c.ATTR_AGGREGATOR, (v) => {
      if (options.isFourOctetAs) v.u32be(aggregator.as);
      else v.u16be(needsAs4Aggregator ? c.AS_TRANS : aggregator.as);
      v.u32be(aggregator.id);
    });
  }
  if (attributes.communities.length > 0) {
    write(OPTIONAL_TRANSITIVE, c.ATTR_COMMUNITIES, (v) => attributes.communities.forEach((x) => v.u32be(x)));
  }
  if (originatorId !== undefined) write(OPTIONAL, c.ATTR_ORIGINATOR_ID, (v) => v.u32be(originatorId));
  if (attributes.clusterList.length > 0) {
    write(OPTIONAL, c.ATTR_CLUSTER_LIST, (v) => attributes.clusterList.forEach((x) => v.u32be(x)));
  }
  if (attributes.extendedCommunities.length > 0) {
    write(
      OPTIONAL_TRANSITIVE,
      c.ATTR_EXTENDED_COMMUNITIES,
      (v) => attributes.extendedCommunities.forEach((x) => v.u64be(x)),
    );
  }
  if (!options.isFourOctetAs && needsAs4Path(attributes.asPath)) {
    const plain = attributes.asPath.filter((segment) => segment.type <= 2);
    write(OPTIONAL_TRANSITIVE, c.ATTR_AS4_PATH, (v) => writeAsPath(v, plain, true));
  }
  if (aggregator && needsAs4Aggregator) {
    write(OPTIONAL_TRANSITIVE, c.ATTR_AS4_AGGREGATOR, (v) => v.u32be(aggregator.as).u32be(aggregator.id));
  }
  if (attributes.largeCommunities.length > 0) {
    write(
      OPTIONAL_TRANSITIVE,
      c.ATTR_LARGE_COMMUNITIES,
      (v) => attributes.largeCommunities.forEach(([a, b, d]) => v.u32be(a).u32be(b).u32be(d)),
    );
  }
  if (otc !== undefined) write(OPTIONAL_TRANSITIVE, c.ATTR_ONLY_TO_CUSTOMER, (v) => v.u32be(otc));
  unknownBelow(256);
  return out.bytes();
}

function put(out: ByteWriter, flags: number, type: number, value: Uint8Array): void {
  const isLong = value.length > 255;
  out.u8((flags & ~c.ATTR_FLAG_EXTENDED) | (isLong ? c.ATTR_FLAG_EXTENDED : 0)).u8(type);
  if (isLong) out.u16be(value.length);
  else out.u8(value.length);
  out.put(value);
}
