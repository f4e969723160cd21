/**
 * Decodes a raw set of path attributes to RFC 7606: what can be ignored is ignored, what cannot makes the routes
 * withdrawn, and only what leaves no choice resets the session.
 *
 *   flags 1 | type 1 | length 1 (2 with the Extended Length flag) | value
 *
 * One row of `KNOWN` per attribute says which flags it must have, how to read it, and what a malformed value costs. Runs
 * once for a unique set of octets, of which a table may have one for every ten prefixes: rows read from the set's octets
 * in place, and slices are made for faults only.
 */

import { mergeAs4Path, readAsPath } from "./as_path.ts";
import type { Aggregator, AsSegment, LargeCommunity, PathAttributes, UnknownAttribute } from "./attributes.ts";
import * as c from "./constants.ts";
import { type Fault, fault, type FaultKind, reset } from "./fault.ts";
import type { WireOptions } from "./options.ts";

/** The value, with the reasons of attributes that were discarded; or the fault that costs more than an attribute. */
export type AttributesResult =
  | { readonly ok: true; readonly attributes: PathAttributes; readonly discarded: readonly Fault[] }
  | { readonly ok: false; readonly fault: Fault };

const NO_NUMBERS: readonly number[] = [];
const NO_BIGINTS: readonly bigint[] = [];
const NO_LARGE: readonly LargeCommunity[] = [];
const NO_UNKNOWN: readonly UnknownAttribute[] = [];
const NO_FAULTS: readonly Fault[] = [];

/** What has been read so far; all members are there from the start, so that every draft has one shape. */
class Draft {
  origin: 0 | 1 | 2 | undefined = undefined;
  asPath: readonly AsSegment[] | undefined = undefined;
  nextHop: Uint8Array | undefined = undefined;
  med: number | undefined = undefined;
  localPref: number | undefined = undefined;
  atomicAggregate = false;
  aggregator: Aggregator | undefined = undefined;
  communities = NO_NUMBERS;
  extendedCommunities = NO_BIGINTS;
  largeCommunities = NO_LARGE;
  originatorId: number | undefined = undefined;
  clusterList = NO_NUMBERS;
  otc: number | undefined = undefined;
  unknown = NO_UNKNOWN;
  as4Path: readonly AsSegment[] | undefined = undefined;
  as4Aggregator: Aggregator | undefined = undefined;
}

interface Known {
  readonly flags: number;
  /** What a malformed value costs (RFC 7606 section 7). */
  readonly kind: FaultKind;
  /** What wrong Optional or Transitive bits cost; treat-as-withdraw unless the attribute's RFC says otherwise. */
  readonly flagsKind?: FaultKind;
  /** NOTIFICATION subcode for a malformed value. */
  readonly subcode: number;
  /** Reads the value, raw[at … at + size), into the draft; returns what is wrong with it. */
  readonly read: (raw: Uint8Array, at: number, size: number, draft: Draft, options: WireOptions) => string | undefined;
}

const WELL_KNOWN = c.ATTR_FLAG_TRANSITIVE;
const OPTIONAL = c.ATTR_FLAG_OPTIONAL;
const OPTIONAL_TRANSITIVE = c.ATTR_FLAG_OPTIONAL | c.ATTR_FLAG_TRANSITIVE;
const UPDATE_ERROR = 3;
const NOTHING = new Uint8Array(0);

/** Why an attribute that only iBGP may carry is ignored from an eBGP peer. */
const EXTERNAL = "not allowed from an external peer";

const known: (Known | undefined)[] = new Array(256).fill(undefined);
const KNOWN: readonly (Known | undefined)[] = known;

known[c.ATTR_ORIGIN] = {
  flags: WELL_KNOWN,
  kind: "treat-as-withdraw",
  subcode: 6,
  read(raw, at, size, draft) {
    if (size !== 1) return wrongLength(size);
    const origin = raw[at]!;
    if (origin !== 0 && origin !== 1 && origin !== 2) return `value ${origin}`;
    draft.origin = origin;
  },
};
known[c.ATTR_AS_PATH] = {
  flags: WELL_KNOWN,
  kind: "treat-as-withdraw",
  subcode: 11,
  read(raw, at, size, draft, options) {
    const path = readAsPath(raw, at, at + size, options.isFourOctetAs);
    if (typeof path === "string") return path;
    const first = path[0];
    if (!options.isInternal && !options.isConfederation) {
      for (const { type } of path) if (type > 2) return "confederation segment from an external peer";
      if (options.mustBeginWithPeerAs && (first?.type !== 2 || first.asns[0] !== options.peerAs)) {
        return `does not begin with the peer's AS ${options.peerAs}`;
      }
    } else if (options.isConfederation && first?.type !== 3) {
      return "no confederation sequence from a confederation peer";
    }
    draft.asPath = path;
  },
};
known[c.ATTR_NEXT_HOP] = {
  flags: WELL_KNOWN,
  kind: "treat-as-withdraw",
  subcode: 8,
  read(raw, at, size, draft) {
    if (size !== 4) return wrongLength(size);
    const first = raw[at]!;
    const bytes = raw.slice(at, at + 4);
    if (first === 0 || first === 127 || first >= 224) return `${bytes.join(".")} is no host's address`;
    draft.nextHop = bytes;
  },
};
known[c.ATTR_MULTI_EXIT_DISC] = {
  flags: OPTIONAL,
  kind: "treat-as-withdraw",
  subcode: 5,
  read(raw, at, size, draft) {
    if (size !== 4) return wrongLength(size);
    draft.med = u32(raw, at);
  },
};
known[c.ATTR_LOCAL_PREF] = {
  flags: WELL_KNOWN,
  kind: "treat-as-withdraw",
  subcode: 5,
  read(raw, at, size, draft, options) {
    if (!options.isInternal && !options.isConfederation) return EXTERNAL;
    if (size !== 4) return wrongLength(size);
    draft.localPref = u32(raw, at);
  },
};
known[c.ATTR_ATOMIC_AGGREGATE] = {
  flags: WELL_KNOWN,
  kind: "discard",
  subcode: 5,
  read(_raw, _at, size, draft) {
    if (size !== 0) return wrongLength(size);
    draft.atomicAggregate = true;
  },
};
known[c.ATTR_AGGREGATOR] = {
  flags: OPTIONAL_TRANSITIVE,
  kind: "discard",
  subcode: 5,
  read(raw, at, size, draft, options) {
    const width = options.isFourOctetAs ? 4 : 2;
    if (size !== width + 4) return wrongLength(size);
    const as = width === 4 ? u32(raw, at) : u16(raw, at);
    if (as === 0) return "AS 0";
    draft.aggregator = { as, id: u32(raw, at + width) };
  },
};
known[c.ATTR_COMMUNITIES] = {
  flags: OPTIONAL_TRANSITIVE,
  kind: "treat-as-withdraw",
  subcode: 5,
  read(raw, at, size, draft) {
    if (size === 0 || size % 4 !== 0) return wrongLength(size);
    draft.communities = words(raw, at, size);
  },
};
known[c.ATTR_ORIGINATOR_ID] = {
  flags: OPTIONAL,
  kind: "treat-as-withdraw",
  subcode: 5,
  read(raw, at, size, draft, options) {
    if (!options.isInternal) return EXTERNAL;
    if (size !== 4) return wrongLength(size);
    draft.originatorId = u32(raw, at);
  },
};
known[c.ATTR_CLUSTER_LIST] = {
  flags: OPTIONAL,
  kind: "treat-as-withdraw",
  subcode: 5,
  read(raw, at, size, draft, options) {
    if (!options.isInternal) return EXTERNAL;
    if (size === 0 || size % 4 !== 0) return wrongLength(size);
    draft.clusterList = words(raw, at, size);
  },
};
known[c.ATTR_EXTENDED_COMMUNITIES] = {
  flags: OPTIONAL_TRANSITIVE,
  kind: "treat-as-withdraw",
  subcode: 5,
  read(raw, at, size, draft) {
    if (size === 0 || size % 8 !== 0) return wrongLength(size);
    const communities: bigint[] = [];
    for (let i = at; i < at + size; i += 8) communities.push((BigInt(u32(raw, i)) << 32n) | BigInt(u32(raw, i + 4)));
    draft.extendedCommunities = communities;
  },
};
known[c.ATTR_AS4_PATH] = {
  flags: OPTIONAL_TRANSITIVE,
  kind: "discard",
  flagsKind: "discard",
  subcode: 5,
  read(raw, at, size, draft, options) {
    if (options.isFourOctetAs) return "from a peer that speaks 4-octet AS numbers";
    const path = readAsPath(raw, at, at + size, true);
    if (typeof path === "string") return path;
    // RFC 6793 section 6: confederation segments are dropped, the rest is used.
    draft.as4Path = path.filter((segment) => segment.type <= 2);
  },
};
known[c.ATTR_AS4_AGGREGATOR] = {
  flags: OPTIONAL_TRANSITIVE,
  kind: "discard",
  flagsKind: "discard",
  subcode: 5,
  read(raw, at, size, draft, options) {
    if (options.isFourOctetAs) return "from a peer that speaks 4-octet AS numbers";
    if (size !== 8) return wrongLength(size);
    const as = u32(raw, at);
    if (as === 0) return "AS 0";
    draft.as4Aggregator = { as, id: u32(raw, at + 4) };
  },
};
known[c.ATTR_LARGE_COMMUNITIES] = {
  flags: OPTIONAL_TRANSITIVE,
  kind: "treat-as-withdraw",
  subcode: 5,
  read(raw, at, size, draft) {
    if (size === 0 || size % 12 !== 0) return wrongLength(size);
    const seen = new Set<string>();
    const communities: LargeCommunity[] = [];
    for (let i = at; i < at + size; i += 12) {
      const community: LargeCommunity = [u32(raw, i), u32(raw, i + 4), u32(raw, i + 8)];
      // RFC 8092 section 5: duplicates are removed silently.
      const key = community.join(":");
      if (!seen.has(key)) communities.push(community);
      seen.add(key);
    }
    draft.largeCommunities = communities;
  },
};
known[c.ATTR_ONLY_TO_CUSTOMER] = {
  flags: OPTIONAL_TRANSITIVE,
  kind: "treat-as-withdraw",
  subcode: 5,
  read(raw, at, size, draft) {
    if (size !== 4) return wrongLength(size);
    draft.otc = u32(raw, at);
  },
};

function wrongLength(size: number): string {
  return `length ${size}`;
}

function u16(raw: Uint8Array, at: number): number {
  return (raw[at]! << 8) | raw[at + 1]!;
}

function u32(raw: Uint8Array, at: number): number {
  return ((raw[at]! << 24) | (raw[at + 1]! << 16) | (raw[at + 2]! << 8) | raw[at + 3]!) >>> 0;
}

function words(raw: Uint8Array, at: number, size: number): number[] {
  const numbers: number[] = [];
  for (let i = at; i < at + size; i += 4) numbers.push(u32(raw, i));
  return numbers;
}

/**
 * Decodes the attributes of an announced route. `raw` is `UpdateView.attributeBytes()`; `mpNextHop` is the next hop of
 * MP_REACH_NLRI when the route came in it (copied), else NEXT_HOP must be there. Missing attributes withdraw the routes.
 */
export function decodeAttributes(raw: Uint8Array, options: WireOptions, mpNextHop?: Uint8Array): AttributesResult {
  const walked = walk(raw, options);
  if (!walked.ok) return walked;
  const { draft, discarded } = walked;
  const missing = draft.origin === undefined
    ? c.ATTR_ORIGIN
    : draft.asPath === undefined
    ? c.ATTR_AS_PATH
    : mpNextHop === undefined && draft.nextHop === undefined
    ? c.ATTR_NEXT_HOP
    : options.isInternal && draft.localPref === undefined
    ? c.ATTR_LOCAL_PREF
    : 0;
  if (missing !== 0 || draft.origin === undefined || draft.asPath === undefined) {
    const reason = `${attributeName(missing)} is missing`;
    return { ok: false, fault: fault("treat-as-withdraw", UPDATE_ERROR, 3, reason, Uint8Array.of(missing)) };
  }
  const attributes: PathAttributes = {
    origin: draft.origin,
    asPath: draft.asPath,
    nextHop: mpNextHop ? mpNextHop.slice() : draft.nextHop,
    med: draft.med,
    localPref: draft.localPref,
    atomicAggregate: draft.atomicAggregate,
    aggregator: draft.aggregator,
    communities: draft.communities,
    extendedCommunities: draft.extendedCommunities,
    largeCommunities: draft.largeCommunities,
    originatorId: draft.originatorId,
    clusterList: draft.clusterList,
    otc: draft.otc,
    unknown: draft.unknown,
  };
  return { ok: true, attributes: options.isFourOctetAs ? attributes : mergeAs4(attributes, draft), discarded };
}

/** What is wrong with attributes that no route needs (a message without NLRI); missing ones are no fault. */
export function checkAttributes(raw: Uint8Array, options: WireOptions): Fault | undefined {
  const walked = walk(raw, options);
  return walked.ok ? undefined : walked.fault;
}

type Walked = { ok: true; draft: Draft; discarded: readonly Fault[] } | { ok: false; fault: Fault };

/** Types seen, one bit each; reused by every walk, none of which outlives its call. */
const seen = new Uint32Array(8);

function walk(raw: Uint8Array, options: WireOptions): Walked {
  const draft = new Draft();
  let unknown: UnknownAttribute[] | undefined;
  /** One for all unknown values: a peer may send very many very short ones. */
  let copy: Uint8Array | undefined;
  let discarded: Fault[] | undefined;
  let withdraw: Fault | undefined;
  let hasRepeats = false;
  seen.fill(0);
  const size = raw.length;
  for (let at = 0, end = 0; at < size; at = end) {
    const flags = raw[at]!;
    const isLong = (flags & c.ATTR_FLAG_EXTENDED) !== 0;
    const start = at + (isLong ? 4 : 3);
    end = start <= size ? start + (isLong ? u16(raw, at + 2) : raw[at + 2]!) : size + 1;
    if (end > size) {
      withdraw ??= fault("treat-as-withdraw", UPDATE_ERROR, 1, "truncated attribute");
      break;
    }
    const type = raw[at + 1]!;
    const bit = 1 << (type & 31);
    // RFC 7606 section 3g: of an attribute that appears twice the first counts.
    if ((seen[type >> 5]! & bit) !== 0) {
      // One word for all of them: there may be tens of thousands.
      if (!hasRepeats) {
        (discarded ??= []).push(fault("discard", UPDATE_ERROR, 1, `${attributeName(type)} appears twice`));
      }
      hasRepeats = true;
      continue;
    }
    seen[type >> 5]! |= bit;
    const row = KNOWN[type];
    if (row === undefined) {
      if ((flags & OPTIONAL) === 0) {
        const reason = `unrecognized well-known attribute ${type}`;
        return { ok: false, fault: reset(UPDATE_ERROR, 2, reason, raw.slice(at, end)) };
      }
      if ((flags & c.ATTR_FLAG_TRANSITIVE) !== 0) {
        const passed = (flags | c.ATTR_FLAG_PARTIAL) & ~c.ATTR_FLAG_EXTENDED & 0xff;
        copy ??= raw.slice();
        const value = start === end ? NOTHING : copy.subarray(start, end);
        (unknown ??= []).push({ flags: passed, type, value });
      }
      continue;
    }
    let problem: Fault | undefined;
    if ((flags & OPTIONAL_TRANSITIVE) !== row.flags) {
      const reason = `${attributeName(type)} has flags 0x${flags.toString(16)}`;
      problem = fault(row.flagsKind ?? "treat-as-withdraw", UPDATE_ERROR, 4, reason, raw.slice(at, end));
    } else {
      const words = row.read(raw, start, end - start, draft, options);
      if (words === undefined) continue;
      const kind = words === EXTERNAL ? "discard" : row.kind;
      problem = fault(kind, UPDATE_ERROR, row.subcode, `${attributeName(type)}: ${words}`, raw.slice(at, end));
    }
    if (problem.kind === "discard") (discarded ??= []).push(problem);
    else withdraw ??= problem;
  }
  if (withdraw) return { ok: false, fault: withdraw };
  if (unknown) draft.unknown = unknown.sort((a, b) => a.type - b.type);
  return { ok: true, draft, discarded: discarded ?? NO_FAULTS };
}

/** Puts the 4-octet AS numbers back that a 2-octet peer passed on beside AS_PATH (RFC 6793 section 4.2.3). */
function mergeAs4(attributes: PathAttributes, draft: Draft): PathAttributes {
  const { aggregator } = attributes;
  if (aggregator && aggregator.as !== c.AS_TRANS && draft.as4Aggregator) return attributes;
  return {
    ...attributes,
    asPath: draft.as4Path ? mergeAs4Path(attributes.asPath, draft.as4Path) : attributes.asPath,
    aggregator: aggregator && draft.as4Aggregator ? draft.as4Aggregator : aggregator,
  };
}

const NAMES: Readonly<Record<number, string>> = {
  1: "ORIGIN",
  2: "AS_PATH",
  3: "NEXT_HOP",
  4: "MULTI_EXIT_DISC",
  5: "LOCAL_PREF",
  6: "ATOMIC_AGGREGATE",
  7: "AGGREGATOR",
  8: "COMMUNITIES",
  9: "ORIGINATOR_ID",
  10: "CLUSTER_LIST",
  14: "MP_REACH_NLRI",
  15: "MP_UNREACH_NLRI",
  16: "EXTENDED_COMMUNITIES",
  17: "AS4_PATH",
  18: "AS4_AGGREGATOR",
  32: "LARGE_COMMUNITY",
  35: "OTC",
};

/** The attribute's name in IANA's registry, or "attribute N". */
export function attributeName(type: number): string {
  return NAMES[type] ?? `attribute ${type}`;
}
