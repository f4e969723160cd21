/**
 * The path attributes of a route as a value, decoded once for each unique set of raw bytes.
 *
 * The RIB interns sets by their raw bytes (`UpdateView.attributes`), calls `decodeAttributes` for a new set only, and
 * shares the value between all routes of that set; so it must never be changed in place. RFC 4271 section 5, 4456, 1997,
 * 4360, 8092, 9234. Decoding is in `attributes_decode.ts`, encoding in `attributes_encode.ts`.
 */

/** A segment of an AS_PATH: type 1 set, 2 sequence, 3 confederation sequence, 4 confederation set. */
export interface AsSegment {
  readonly type: 1 | 2 | 3 | 4;
  readonly asns: readonly number[];
}

/** AGGREGATOR: who formed the aggregate; `id` is an IPv4 address as an unsigned number. */
export interface Aggregator {
  readonly as: number;
  readonly id: number;
}

/** A large community (RFC 8092): global administrator and two local parts, each unsigned 32 bits. */
export type LargeCommunity = readonly [number, number, number];

/** An attribute that we do not know and pass on byte for byte, with the Partial bit set (RFC 4271 section 5). */
export interface UnknownAttribute {
  readonly flags: number;
  readonly type: number;
  readonly value: Uint8Array;
}

/** A decoded, immutable set of path attributes. Numbers are unsigned; ids are IPv4 addresses as numbers. */
export interface PathAttributes {
  /** 0 IGP, 1 EGP, 2 incomplete. */
  readonly origin: 0 | 1 | 2;
  readonly asPath: readonly AsSegment[];
  /** 4 bytes (IPv4), 16 (IPv6 global) or 32 (IPv6 global and link-local); absent in a set not tied to a route. */
  readonly nextHop?: Uint8Array;
  readonly med?: number;
  readonly localPref?: number;
  readonly atomicAggregate: boolean;
  readonly aggregator?: Aggregator;
  readonly communities: readonly number[];
  /** Each an unsigned 64-bit number, type in the highest octet. */
  readonly extendedCommunities: readonly bigint[];
  readonly largeCommunities: readonly LargeCommunity[];
  readonly originatorId?: number;
  readonly clusterList: readonly number[];
  /** Only-to-Customer (RFC 9234): the AS that set it. */
  readonly otc?: number;
  /** Transitive ones only, in order of their type. */
  readonly unknown: readonly UnknownAttribute[];
}

/** The least a locally originated route has: origin IGP and an empty path. */
export const EMPTY_ATTRIBUTES: PathAttributes = {
  origin: 0,
  asPath: [],
  atomicAggregate: false,
  communities: [],
  extendedCommunities: [],
  largeCommunities: [],
  clusterList: [],
  unknown: [],
};

/** The AS_PATH length of the decision process: a set counts 1, confederation segments 0 (RFC 4271 9.1.2.2, 5065). */
export function asPathLength(path: readonly AsSegment[]): number {
  let length = 0;
  for (const segment of path) {
    if (segment.type === 2) length += segment.asns.length;
    else if (segment.type === 1) length += 1;
  }
  return length;
}

/** The path with the AS numbers put before it, as one sequence where the first segment has room for them. */
export function prependAs(path: readonly AsSegment[], asns: readonly number[], type: 2 | 3 = 2): readonly AsSegment[] {
  const first = path[0];
  if (first?.type === type && first.asns.length + asns.length <= 255) {
    return [{ type, asns: [...asns, ...first.asns] }, ...path.slice(1)];
  }
  return [{ type, asns }, ...path];
}

/** "65001 65002 {65003 65004}", as BIRD and FRR show a path; confederation segments in parentheses and brackets. */
export function formatAsPath(path: readonly AsSegment[]): string {
  return path.map(({ type, asns }) => {
    const text = asns.join(" ");
    return type === 2 ? text : type === 1 ? `{${text}}` : type === 3 ? `(${text})` : `[${text}]`;
  }).join(" ");
}

export { type AttributesResult, decodeAttributes } from "./attributes_decode.ts";
export { encodeAttributes } from "./attributes_encode.ts";
export { type Nlri, parseUpdate, UpdateView } from "./update.ts";
