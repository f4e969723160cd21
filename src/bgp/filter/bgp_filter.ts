/**
 * BGPFilter rules as closures: the first rule whose matches all hold decides; none leaves the decision to what follows.
 *
 * Prefix matches are conditions of `PrefixClasses`. `setPriority` and the `priority` match work on the metric and on the
 * local preference at once, which Calico ties together: preference = 2147483647 - metric.
 */

import { type FilterConfig, type FilterOperation, type FilterRule, MAX_PREFERENCE } from "../config.ts";
import { type LargeCommunity, prependAs } from "../wire/attributes.ts";
import type { RouteDraft } from "./draft.ts";
import { matchesInterface } from "./interface_pattern.ts";
import type { PrefixClasses } from "./prefix_classes.ts";

/** What a filter says; undefined when no rule matched. */
export type Verdict = "accept" | "reject" | undefined;

/** One direction of one filter, or several in a row; `isInternal` says whether the peer counts as iBGP. */
export type RouteFilter = (route: RouteDraft, isInternal: boolean) => Verdict;

/** The named filters one after the other; names without a filter are skipped. */
export function compileFilters(
  names: readonly string[],
  filters: readonly FilterConfig[],
  direction: "import" | "export",
  classes: PrefixClasses,
): RouteFilter | undefined {
  const compiled: RouteFilter[] = [];
  for (const name of names) {
    const filter = filters.find((candidate) => candidate.name === name);
    const rules = filter?.[`${direction}V${classes.family}`] ?? [];
    if (rules.length > 0) compiled.push(compileRules(rules, classes));
  }
  if (compiled.length <= 1) return compiled[0];
  return (route, isInternal) => {
    for (const filter of compiled) {
      const verdict = filter(route, isInternal);
      if (verdict) return verdict;
    }
    return undefined;
  };
}

/** The rules of one direction and family, in order. */
export function compileRules(rules: readonly FilterRule[], classes: PrefixClasses): RouteFilter {
  const compiled = rules.map((rule) => ({
    matches: compileMatches(rule, classes),
    operate: (rule.operations ?? []).map(compileOperation),
    verdict: rule.action === "Accept" ? "accept" as const : "reject" as const,
  }));
  return (route, isInternal) => {
    for (const { matches, operate, verdict } of compiled) {
      if (!matches.every((match) => match(route, isInternal))) continue;
      if (verdict === "accept") { for (const operation of operate) operation(route); }
      return verdict;
    }
    return undefined;
  };
}

type Match = (route: RouteDraft, isInternal: boolean) => boolean;

function compileMatches(rule: FilterRule, classes: PrefixClasses): Match[] {
  const matches: Match[] = [];
  if (rule.cidr !== undefined) {
    const operator = rule.matchOperator ?? "Equal";
    const condition = operator === "In" || operator === "NotIn" ? classes.inside(rule.cidr) : classes.equal(rule.cidr);
    const wanted = operator === "In" || operator === "Equal";
    matches.push((route) => classes.holds(route.class, condition) === wanted);
  }
  if (rule.prefixLength) {
    const widest = classes.family === 4 ? 32 : 128;
    const condition = classes.lengthBetween(rule.prefixLength.min ?? 0, rule.prefixLength.max ?? widest);
    matches.push((route) => classes.holds(route.class, condition));
  }
  if (rule.source === "RemotePeers") matches.push((route) => route.source === "peer");
  const { interface: pattern, peerType, communities, asPathPrefix, priority } = rule;
  if (pattern !== undefined) {
    matches.push(({ interfaceName }) => interfaceName !== undefined && matchesInterface(pattern, interfaceName));
  }
  if (peerType) matches.push((_route, isInternal) => isInternal === (peerType === "iBGP"));
  if (communities?.length) {
    const wanted = communities.map(parseCommunity).filter((community) => community !== undefined);
    matches.push((route) => wanted.some((community) => hasCommunity(route, community)));
  }
  if (asPathPrefix?.length) {
    matches.push((route) => {
      const path = route.attributes.asPath.flatMap((segment) => segment.type === 2 ? segment.asns : [-1]);
      return asPathPrefix.every((as, i) => path[i] === as);
    });
  }
  if (priority !== undefined) matches.push((route) => route.localPref === MAX_PREFERENCE - priority);
  return matches;
}

function compileOperation(operation: FilterOperation): (route: RouteDraft) => void {
  const { addCommunity, prependAsPath, setPriority } = operation;
  const community = addCommunity === undefined ? undefined : parseCommunity(addCommunity);
  return (route) => {
    if (community) addCommunityTo(route, community);
    if (prependAsPath?.length) {
      const { attributes } = route;
      route.attributes = { ...attributes, asPath: prependAs(attributes.asPath, prependAsPath) };
    }
    if (setPriority !== undefined) {
      route.metric = setPriority;
      route.localPref = MAX_PREFERENCE - setPriority;
    }
  };
}

/** A standard community as one number, or a large one as three. */
export type CommunityValue = number | LargeCommunity;

/** Reads "aa:nn" or "aa:nn:mm"; undefined when it is neither. */
export function parseCommunity(text: string): CommunityValue | undefined {
  const parts = text.split(":").map((part) => /^[0-9]{1,10}$/.test(part) ? Number(part) : NaN);
  const [a = NaN, b = NaN, c] = parts;
  const isWithin = (limit: number) => parts.every((part) => part <= limit);
  if (parts.length === 2 && isWithin(0xffff)) return a * 65536 + b;
  if (parts.length === 3 && c !== undefined && isWithin(0xffffffff)) return [a, b, c];
  return undefined;
}

/** Puts a community on the route, once. */
export function addCommunityTo(route: RouteDraft, community: CommunityValue): void {
  if (hasCommunity(route, community)) return;
  const { attributes } = route;
  route.attributes = typeof community === "number"
    ? { ...attributes, communities: [...attributes.communities, community] }
    : { ...attributes, largeCommunities: [...attributes.largeCommunities, community] };
}

function hasCommunity(route: RouteDraft, community: CommunityValue): boolean {
  if (typeof community === "number") return route.attributes.communities.includes(community);
  return route.attributes.largeCommunities.some((other) => other.every((part, i) => part === community[i]));
}
