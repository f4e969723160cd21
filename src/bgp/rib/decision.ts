/**
 * The decision process: which path of a prefix is best, and why each of the others is not (RFC 4271 9.1, RFC 4456 9).
 *
 * Candidates are eliminated step by step, and each step keeps all that are equal in it. That makes the result the same in
 * whatever order paths arrived, also with MED, which only compares paths of one neighbouring AS. Paths that are left
 * before the router ids are compared are equal enough to share the traffic (ECMP).
 *
 *   source's preference > local preference > AS path length > origin > MED > eBGP > cost to the next hop
 *     > router id (or ORIGINATOR_ID) > cluster list length > peer address > path identifier
 */

/** Why a path is not the best; the number is what the path table keeps. */
export enum Reason {
  Best,
  Refused,
  Loop,
  Leak,
  NextHop,
  Preference,
  LocalPref,
  PathLength,
  Origin,
  Med,
  External,
  Cost,
  RouterId,
  ClusterList,
  PeerAddress,
  PathId,
}

/** What a losing path is told, by `Reason`. */
export const LOSS: readonly string[] = [
  "best",
  "refused by the import filter",
  "loop",
  "route leak: only for customers of the AS that said so",
  "next hop unreachable",
  "less preferred source",
  "lower local preference",
  "longer AS path",
  "worse origin",
  "higher MED",
  "internal path, an external one is there",
  "higher cost to the next hop",
  "higher router id",
  "longer cluster list",
  "higher peer address",
  "higher path identifier",
];

/** What the best path is told when the runner-up lost by this reason. */
export const WIN: readonly string[] = [
  "only path",
  "only path that the filters let pass",
  "only path without a loop",
  "only path that is no route leak",
  "only path with a reachable next hop",
  "more preferred source",
  "higher local preference",
  "shorter AS path",
  "better origin",
  "lower MED",
  "external path over internal ones",
  "lower cost to the next hop",
  "lower router id",
  "shorter cluster list",
  "lower peer address",
  "lower path identifier",
];

/** A path as the decision sees it. */
export interface Candidate {
  path: number;
  /** By source: 240 connected networks, 200 own blocks and urgent routes, 100 peers, 10 other kernel routes. */
  preference: number;
  localPref: number;
  pathLength: number;
  origin: number;
  med: number;
  neighbourAs: number;
  isExternal: boolean;
  cost: number;
  routerId: number;
  clusterLength: number;
  /** Peers in the order of their addresses. */
  peerOrder: number;
  pathId: number;
}

/** The steps after MED, each a number that is better when it is lower. */
const LATE_STEPS: readonly (readonly [Reason, (candidate: Candidate) => number])[] = [
  [Reason.External, (c) => c.isExternal ? 0 : 1],
  [Reason.Cost, (c) => c.cost],
];
const EARLY_STEPS: readonly (readonly [Reason, (candidate: Candidate) => number])[] = [
  [Reason.Preference, (c) => -c.preference],
  [Reason.LocalPref, (c) => -c.localPref],
  [Reason.PathLength, (c) => c.pathLength],
  [Reason.Origin, (c) => c.origin],
];
const TIE_STEPS: readonly (readonly [Reason, (candidate: Candidate) => number])[] = [
  [Reason.RouterId, (c) => c.routerId],
  [Reason.ClusterList, (c) => c.clusterLength],
  [Reason.PeerAddress, (c) => c.peerOrder],
  [Reason.PathId, (c) => c.pathId],
];

/** The outcome: candidates are reordered, `multipath` of them (the best included) are left before the tie is broken. */
export interface Decision {
  readonly best: Candidate;
  readonly multipath: readonly Candidate[];
}

/** Decides among at least one candidate; `lose` is told of every loser with its reason. */
export function decide(candidates: Candidate[], lose: (candidate: Candidate, reason: Reason) => void): Decision {
  let left = candidates;
  for (const [reason, rank] of EARLY_STEPS) left = keepLowest(left, rank, reason, lose);
  left = keepLowestMed(left, lose);
  for (const [reason, rank] of LATE_STEPS) left = keepLowest(left, rank, reason, lose);
  const multipath = left;
  for (const [reason, rank] of TIE_STEPS) left = keepLowest(left, rank, reason, lose);
  return { best: left[0]!, multipath };
}

function keepLowest(
  candidates: Candidate[],
  rank: (candidate: Candidate) => number,
  reason: Reason,
  lose: (candidate: Candidate, reason: Reason) => void,
): Candidate[] {
  if (candidates.length === 1) return candidates;
  let lowest = Infinity;
  let isMixed = false;
  for (const candidate of candidates) {
    const value = rank(candidate);
    if (value !== lowest && lowest !== Infinity) isMixed = true;
    if (value < lowest) lowest = value;
  }
  if (!isMixed) return candidates;
  const kept: Candidate[] = [];
  for (const candidate of candidates) {
    if (rank(candidate) === lowest) kept.push(candidate);
    else lose(candidate, reason);
  }
  return kept;
}

/** MED: the lowest of each neighbouring AS stays. */
function keepLowestMed(
  candidates: Candidate[],
  lose: (candidate: Candidate, reason: Reason) => void,
): Candidate[] {
  if (candidates.length === 1) return candidates;
  const first = candidates[0]!.med;
  if (candidates.every((candidate) => candidate.med === first)) return candidates;
  const lowest = new Map<number, number>();
  for (const { neighbourAs, med } of candidates) {
    if (med < (lowest.get(neighbourAs) ?? Infinity)) lowest.set(neighbourAs, med);
  }
  const kept: Candidate[] = [];
  for (const candidate of candidates) {
    if (candidate.med === lowest.get(candidate.neighbourAs)) kept.push(candidate);
    else lose(candidate, Reason.Med);
  }
  return kept;
}
