/**
 * Decodes a raw set of path attributes to RFC 7606: what can be ignored is ignored, what cannot makes the routes
 * withdrawn, and only what leaves no choice resets the session.
 *
 *   flags 1 | type 1 | length 1 (2 with the Extended Length flag) | value
 *
 * One row of `KNOWN` per attribute says which flags it must have, how to read it, and what a malformed value costs.
 * Runs once for a unique set of octets, so it may allocate.
 */

import { ByteReader, TruncatedError } from "../../lib/bytes.ts";
import { type AsPathProblem, mergeAs4Path, readAsPath } from "./as_path.ts";
import type { Aggregator, AsSegment, LargeCommunity, PathAttributes, UnknownAttribute } from "./attributes.ts";
import * as c from "./constants.ts";
import { type Fault, fault, type FaultKind, reset } from "./fault.ts";
import type { WireOptions } from "./options.ts";

/** The value, with the reasons of attributes that were discarded; or the fault that costs more than an attribute. */
export type AttributesResult =
  | { readonly ok: true; readonly attributes: PathAttributes; readonly discarded: readonly Fault[] }
  | { readonly ok: false; readonly fault: Fault };

type Draft = { -readonly [K in keyof PathAttributes]?: PathAttributes[K] } & {
  as4Path?: readonly AsSegment[];
  as4Aggregator?: Aggregator;
};

interface Known {
  readonly flags: number;
  /** What a malformed value costs (RFC 7606 section 7). */
  readonly kind: FaultKind;
  /** What wrong Optional or Transitive bits cost; treat-as-withdraw unless the attribute's RFC says otherwise. */
  readonly flagsKind?: FaultKind;
  /** NOTIFICATION subcode for a malformed value. */
  readonly subcode: number;
  /** Reads the value into the draft; returns what is wrong with it. */
  readonly read: (value: ByteReader, draft: Draft, options: WireOptions) => string | undefined;
}

const WELL_KNOWN = c.ATTR_FLAG_TRANSITIVE;
const OPTIONAL = c.ATTR_FLAG_OPTIONAL;
const OPTIONAL_TRANSITIVE = c.ATTR_FLAG_OPTIONAL | c.ATTR_FLAG_TRANSITIVE;
const UPDATE_ERROR = 3;

/** Why an attribute that only iBGP may carry is ignored from an eBGP peer. */
const EXTERNAL = "not allowed from an external peer";

const KNOWN: readonly (Known | undefined)[] = [];
const known = KNOWN as (Known | undefined)[];

known[c.ATTR_ORIGIN] = {
  flags: WELL_KNOWN,
  kind: "treat-as-withdraw",
  subcode: 6,
  read(value, draft) {
    if (value.left !== 1) return wrongLength(value);
    const origin = value.u8();
    if (origin > 2) return `value ${origin}`;
    draft.origin = origin as 0 | 1 | 2;
  },
};
known[c.ATTR_AS_PATH] = {
  flags: WELL_KNOWN,
  kind: "treat-as-withdraw",
  subcode: 11,
  read(value, draft, options) {
    const path = readAsPath(value, options.isFourOctetAs);
    if (!Array.isArray(path)) return (path as AsPathProblem).problem;
    const first = path[0] as AsSegment | undefined;
    const isExternal = !options.isInternal && !options.isConfederation;
    if (isExternal && path.some((segment: AsSegment) => segment.type > 2)) {
      return "confederation segment from an external peer";
    }
    if (options.isConfederation && first?.type !== 3) return "no confederation sequence from a confederation peer";
    if (isExternal && options.mustBeginWithPeerAs && (first?.type !== 2 || first.asns[0] !== options.peerAs)) {
      return `does not begin with the peer's AS ${options.peerAs}`;
    }
    draft.asPath = path;
  },
};
known[c.ATTR_NEXT_HOP] = {
  flags: WELL_KNOWN,
  kind: "treat-as-withdraw",
  subcode: 8,
  read(value, draft) {
    if (value.left !== 4) return wrongLength(value);
    const bytes = value.take(4).slice();
    const first = bytes[0] ?? 0;
    if (first === 0 || first === 127 || first >= 224) return `${bytes.join(".")} is no host's address`;
    draft.nextHop = bytes;
  },
};
known[c.ATTR_MULTI_EXIT_DISC] = {
  flags: OPTIONAL,
  kind: "treat-as-withdraw",
  subcode: 5,
  read(value, draft) {
    if (value.left !== 4) return wrongLength(value);
    draft.med = value.u32be();
  },
};
known[c.ATTR_LOCAL_PREF] = {
  flags: WELL_KNOWN,
  kind: "treat-as-withdraw",
  subcode: 5,
  read(value, draft, options) {
    if (!options.isInternal && !options.isConfederation) return EXTERNAL;
    if (value.left !== 4) return wrongLength(value);
    draft.localPref = value.u32be();
  },
};
known[c.ATTR_ATOMIC_AGGREGATE] = {
  flags: WELL_KNOWN,
  kind: "discard",
  subcode: 5,
  read(value, draft) {
    if (value.left !== 0) return wrongLength(value);
    draft.atomicAggregate = true;
  },
};
known[c.ATTR_AGGREGATOR] = {
  flags: OPTIONAL_TRANSITIVE,
  kind: "discard",
  subcode: 5,
  read(value, draft, options) {
    if (value.left !== (options.isFourOctetAs ? 8 : 6)) return wrongLength(value);
    const as = options.isFourOctetAs ? value.u32be() : value.u16be();
    if (as === 0) return "AS 0";
    draft.aggregator = { as, id: value.u32be() };
  },
};
known[c.ATTR_COMMUNITIES] = {
  flags: OPTIONAL_TRANSITIVE,
  kind: "treat-as-withdraw",
  subcode: 5,
  read(value, draft) {
    if (value.left === 0 || value.left % 4 !== 0) return wrongLength(value);
    const communities: number[] = [];
    while (value.left > 0) communities.push(value.u32be());
    draft.communities = communities;
  },
};
known[c.ATTR_ORIGINATOR_ID] = {
  flags: OPTIONAL,
  kind: "treat-as-withdraw",
  subcode: 5,
  read(value, draft, options) {
    if (!options.isInternal) return EXTERNAL;
    if (value.left !== 4) return wrongLength(value);
    draft.originatorId = value.u32be();
  },
};
known[c.ATTR_CLUSTER_LIST] = {
  flags: OPTIONAL,
  kind: "treat-as-withdraw",
  subcode: 5,
  read(value, draft, options) {
    if (!options.isInternal) return EXTERNAL;
    if (value.left === 0 || value.left % 4 !== 0) return wrongLength(value);
    const clusterList: number[] = [];
    while (value.left > 0) clusterList.push(value.u32be());
    draft.clusterList = clusterList;
  },
};
known[c.ATTR_EXTENDED_COMMUNITIES] = {
  flags: OPTIONAL_TRANSITIVE,
  kind: "treat-as-withdraw",
  subcode: 5,
  read(value, draft) {
    if (value.left === 0 || value.left % 8 !== 0) return wrongLength(value);
    const communities: bigint[] = [];
    while (value.left > 0) communities.push(value.u64be());
    draft.extendedCommunities = communities;
  },
};
known[c.ATTR_AS4_PATH] = {
  flags: OPTIONAL_TRANSITIVE,
  kind: "discard",
  flagsKind: "discard",
  subcode: 5,
  read(value, draft, options) {
    if (options.isFourOctetAs) return "from a peer that speaks 4-octet AS numbers";
    const path = readAsPath(value, true);
    if (!Array.isArray(path)) return (path as AsPathProblem).problem;
    // RFC 6793 section 6: confederation segments are dropped, the rest is used.
    draft.as4Path = path.filter((segment: AsSegment) => segment.type <= 2);
  },
};
known[c.ATTR_AS4_AGGREGATOR] = {
  flags: OPTIONAL_TRANSITIVE,
  kind: "discard",
  flagsKind: "discard",
  subcode: 5,
  read(value, draft, options) {
    if (options.isFourOctetAs) return "from a peer that speaks 4-octet AS numbers";
    if (value.left !== 8) return wrongLength(value);
    const as = value.u32be();
    if (as === 0) return "AS 0";
    draft.as4Aggregator = { as, id: value.u32be() };
  },
};
known[c.ATTR_LARGE_COMMUNITIES] = {
  flags: OPTIONAL_TRANSITIVE,
  kind: "treat-as-withdraw",
  subcode: 5,
  read(value, draft) {
    if (value.left === 0 || value.left % 12 !== 0) return wrongLength(value);
    const seen = new Set<string>();
    const communities: LargeCommunity[] = [];
    while (value.left > 0) {
      const community: LargeCommunity = [value.u32be(), value.u32be(), value.u32be()];
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
  read(value, draft) {
    if (value.left !== 4) return wrongLength(value);
    draft.otc = value.u32be();
  },
};

function wrongLength(value: ByteReader): string {
  return `length ${value.left}`;
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
    atomicAggregate: draft.atomicAggregate ?? false,
    aggregator: draft.aggregator,
    communities: draft.communities ?? [],
    extendedCommunities: draft.extendedCommunities ?? [],
    largeCommunities: draft.largeCommunities ?? [],
    originatorId: draft.originatorId,
    clusterList: draft.clusterList ?? [],
    otc: draft.otc,
    unknown: draft.unknown ?? [],
  };
  return { ok: true, attributes: options.isFourOctetAs ? attributes : mergeAs4(attributes, draft), discarded };
}

/** What is wrong with attributes that no route needs (a message without NLRI); missing ones are no fault. */
export function checkAttributes(raw: Uint8Array, options: WireOptions): Fault | undefined {
  const walked = walk(raw, options);
  return walked.ok ? undefined : walked.fault;
}

type Walked = { ok: true; draft: Draft; discarded: Fault[] } | { ok: false; fault: Fault };

function walk(raw: Uint8Array, options: WireOptions): Walked {
  const draft: Draft = {};
  const unknown: UnknownAttribute[] = [];
  const discarded: Fault[] = [];
  const seen = new Set<number>();
  let withdraw: Fault | undefined;
  let at = 0;
  while (at < raw.length) {
    const flags = raw[at] ?? 0;
    const type = raw[at + 1] ?? 0;
    const isLong = (flags & c.ATTR_FLAG_EXTENDED) !== 0;
    const start = at + (isLong ? 4 : 3);
    const length = isLong ? ((raw[at + 2] ?? 0) << 8) | (raw[at + 3] ?? 0) : raw[at + 2] ?? 0;
    const end = start + length;
    if (start > raw.length || end > raw.length) {
      withdraw ??= fault("treat-as-withdraw", UPDATE_ERROR, 1, "truncated attribute");
      break;
    }
    const whole = raw.subarray(at, end);
    const value = raw.subarray(start, end);
    at = end;
    // RFC 7606 section 3g: of an attribute that appears twice the first counts.
    if (seen.has(type)) {
      discarded.push(fault("discard", UPDATE_ERROR, 1, `${attributeName(type)} appears twice`));
      continue;
    }
    seen.add(type);
    const row = KNOWN[type];
    if (!row) {
      if ((flags & OPTIONAL) === 0) {
        return { ok: false, fault: reset(UPDATE_ERROR, 2, `unrecognized well-known attribute ${type}`, whole.slice()) };
      }
      if ((flags & c.ATTR_FLAG_TRANSITIVE) !== 0) {
        const passed = (flags | c.ATTR_FLAG_PARTIAL) & ~c.ATTR_FLAG_EXTENDED & 0xff;
        unknown.push({ flags: passed, type, value: value.slice() });
      }
      continue;
    }
    const problem = readKnown(row, type, flags, whole, value, draft, options);
    if (problem?.kind === "discard") discarded.push(problem);
    else if (problem) withdraw ??= problem;
  }
  if (withdraw) return { ok: false, fault: withdraw };
  unknown.sort((a, b) => a.type - b.type);
  draft.unknown = unknown;
  return { ok: true, draft, discarded };
}

function readKnown(
  row: Known,
  type: number,
  flags: number,
  whole: Uint8Array,
  value: Uint8Array,
  draft: Draft,
  options: WireOptions,
): Fault | undefined {
  const name = attributeName(type);
  if ((flags & OPTIONAL_TRANSITIVE) !== row.flags) {
    const words = `${name} has flags 0x${flags.toString(16)}`;
    return fault(row.flagsKind ?? "treat-as-withdraw", UPDATE_ERROR, 4, words, whole.slice());
  }
  let problem: string | undefined;
  try {
    problem = row.read(new ByteReader(value), draft, options);
  } catch (error) {
    if (!(error instanceof TruncatedError)) throw error;
    problem = "truncated";
  }
  if (problem === undefined) return undefined;
  const kind = problem === EXTERNAL ? "discard" : row.kind;
  return fault(kind, UPDATE_ERROR, row.subcode, `${name}: ${problem}`, whole.slice());
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
