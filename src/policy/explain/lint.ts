/**
 * What is probably not meant: rules that can never match, rules and policies behind one that decides everything, selectors
 * that pick nothing, names of what does not exist. Everything said here is certain of the resources as they are now.
 */

import type { Kind } from "../../model/resources/mod.ts";
import { isSatisfiable, labelRestrictions, type Selector } from "../../model/selector/mod.ts";
import type { CompiledPolicy, CompiledProfile, Direction } from "../compile/policy.ts";
import type { CompiledRule, Side } from "../compile/rule.ts";
import { compareTiers, orderPolicies, type TierOrder } from "../order.ts";
import { fullName } from "./match.ts";
import { labelsOf, peersOf, policiesOf, profileOf, type Resources, tiersOf, workloadLabels } from "./model.ts";

/** Something that is probably not meant. */
export interface Finding {
  readonly kind: Kind;
  /** "name" or "namespace/name". */
  readonly name: string;
  /** The member it is about: "spec.ingress[2]". */
  readonly field: string;
  readonly message: string;
}

/** Looks at all policies, profiles and endpoints. */
export function lint(resources: Resources): Finding[] {
  const policies = [...policiesOf(resources)], tiers = tiersOf(resources);
  const isEmpty = emptiness(resources);
  return [
    ...policies.flatMap((policy) => lintPolicy(policy, tiers, isEmpty.endpoints)),
    ...policies.flatMap((policy) => lintRules(policy, { kind: policy.kind, name: fullName(policy) }, isEmpty.peers)),
    ...[...resources.all("Profile").keys()].flatMap((name) => {
      const profile = profileOf(resources, name);
      return profile ? lintRules(profile, { kind: "Profile", name }, isEmpty.peers) : [];
    }),
    ...lintShadows(policies, tiers),
    ...lintProfiles(resources),
  ];
}

interface Emptiness {
  readonly endpoints: (selector: Selector) => boolean;
  readonly peers: (selector: Selector) => boolean;
}

/** Whether a selector picks no endpoint, or nothing that a rule can pick; equal selectors are asked once. */
function emptiness(resources: Resources): Emptiness {
  const peers = [...peersOf(resources)].map(({ labels, profiles }) => labelsOf(resources, labels, profiles));
  const endpoints = [
    ...[...resources.all("WorkloadEndpoint").values()].map((one) =>
      labelsOf(resources, workloadLabels(one), one.spec.profiles ?? [])
    ),
    ...[...resources.all("HostEndpoint").values()].map(({ metadata, spec }) =>
      labelsOf(resources, metadata.labels ?? {}, spec.profiles ?? [])
    ),
  ];
  const asking = (lookups: typeof peers) => {
    const known = new Map<string, boolean>();
    return (selector: Selector) => {
      let answer = known.get(selector.canonical);
      if (answer === undefined) {
        answer = !lookups.some((lookup) => selector.evaluate(lookup));
        known.set(selector.canonical, answer);
      }
      return answer;
    };
  };
  return { endpoints: asking(endpoints), peers: asking(peers) };
}

const directions: readonly Direction[] = ["ingress", "egress"];

function lintPolicy(
  policy: CompiledPolicy,
  tiers: ReadonlyMap<string, TierOrder>,
  isEmpty: Emptiness["endpoints"],
): Finding[] {
  const at = { kind: policy.kind, name: fullName(policy) };
  const findings: Finding[] = [];
  if (!tiers.has(policy.tier)) {
    findings.push({
      ...at,
      field: "spec.tier",
      message: `there is no tier ${policy.tier}; the policy comes after all others`,
    });
  }
  const contradiction = contradictionOf(policy.selector);
  if (contradiction) findings.push({ ...at, field: "spec.selector", message: contradiction });
  else if (isEmpty(policy.selector)) {
    findings.push({
      ...at,
      field: "spec.selector",
      message: "selects no endpoint, so that the policy applies to nothing",
    });
  }
  for (const direction of directions) {
    const applies = direction === "ingress" ? policy.hasIngress : policy.hasEgress;
    if (applies || policy[direction].length === 0) continue;
    const type = direction === "ingress" ? "Ingress" : "Egress";
    findings.push({ ...at, field: `spec.${direction}`, message: `is never applied, because spec.types lacks ${type}` });
  }
  return findings;
}

function lintRules(
  rules: CompiledPolicy | CompiledProfile,
  at: Pick<Finding, "kind" | "name">,
  isEmpty: Emptiness["peers"],
): Finding[] {
  return directions.flatMap((direction) => {
    const findings: Finding[] = [];
    let last: CompiledRule | undefined;
    for (const rule of rules[direction]) {
      const field = `spec.${direction}[${rule.index}]`;
      if (last) {
        findings.push({ ...at, field, message: `never matches: rule ${last.index} before it decides everything` });
        continue;
      }
      if (rule.never !== undefined) findings.push({ ...at, field, message: `never matches: ${rule.never}` });
      for (const place of ["source", "destination"] as const) {
        findings.push(...lintSide(rule[place], { ...at, field: `${field}.${place}` }, isEmpty));
      }
      if (rule.action !== "Log" && matchesAll(rule)) last = rule;
    }
    return findings;
  });
}

function lintSide(side: Side, at: Omit<Finding, "message">, isEmpty: Emptiness["peers"]): Finding[] {
  const findings: Finding[] = [];
  const { selector, notSelector, ports } = side;
  if (selector) {
    const message = contradictionOf(selector) ??
      (isEmpty(selector) ? "selects nothing now, so that the rule matches nothing" : undefined);
    if (message) findings.push({ ...at, field: `${at.field}.selector`, message });
  }
  if (notSelector && isEmpty(notSelector)) {
    findings.push({
      ...at,
      field: `${at.field}.notSelector`,
      message: "selects nothing now, so that it excludes nothing",
    });
  }
  const outside = (side.nets ?? []).find((net) => side.notNets?.some((excluded) => excluded.contains(net)));
  if (outside) findings.push({ ...at, field: `${at.field}.nets`, message: `${outside} is excluded by notNets` });
  const closed = ports?.ranges.find((range) =>
    side.notPorts?.ranges.some(({ min, max }) => min <= range.min && range.max <= max)
  );
  if (closed) {
    findings.push({
      ...at,
      field: `${at.field}.ports`,
      message: `${closed.min}:${closed.max} is excluded by notPorts`,
    });
  }
  return findings;
}

function contradictionOf(selector: Selector): string | undefined {
  for (const [label, restriction] of labelRestrictions(selector.root)) {
    if (!isSatisfiable(restriction)) {
      return `selects nothing, whatever there is: its conditions on ${label} contradict each other`;
    }
  }
  return undefined;
}

/** Whether a rule has no condition at all. */
function matchesAll(rule: CompiledRule): boolean {
  return rule.never === undefined && rule.families.length === 2 && rule.protocol === undefined &&
    rule.notProtocol === undefined && !rule.icmp && !rule.notIcmp && Object.keys(rule.source).length === 0 &&
    Object.keys(rule.destination).length === 0;
}

/** Policies behind one that decides everything for all endpoints that they select. */
function lintShadows(policies: readonly CompiledPolicy[], tiers: ReadonlyMap<string, TierOrder>): Finding[] {
  const findings: Finding[] = [];
  for (const use of ["workload", "untracked", "preDNAT"] as const) {
    const covered = new Map<CompiledPolicy, { readonly by: CompiledPolicy; readonly directions: Direction[] }>();
    for (const direction of directions) {
      const ended: { readonly policy: CompiledPolicy; readonly isFinal: boolean }[] = [];
      const ordered = orderPolicies(policies, tiers, { use, direction }).sort((a, b) =>
        compareTiers(tiers, a.name, b.name)
      );
      for (const tier of ordered) {
        let mayPass = false;
        for (const policy of tier.policies) {
          const shadow = ended.find((earlier) =>
            (earlier.isFinal || earlier.policy.tier === policy.tier) && isWider(earlier.policy, policy)
          );
          if (shadow) {
            const known = covered.get(policy);
            covered.set(policy, { by: shadow.policy, directions: [...known?.directions ?? [], direction] });
            continue;
          }
          // What was passed before it comes to later tiers all the same.
          mayPass ||= policy[direction].some(({ action }) => action === "Pass");
          const last = policy[direction].find((rule) => rule.action !== "Log" && matchesAll(rule));
          if (last) ended.push({ policy, isFinal: !mayPass });
        }
      }
    }
    for (const [policy, { by, directions }] of covered) {
      const asked = directionsOf(policy);
      if (asked.length !== directions.length) continue;
      findings.push({
        kind: policy.kind,
        name: fullName(policy),
        field: "spec.order",
        message: `never decides: ${
          fullName(by)
        } in the tier ${by.tier} comes first and decides everything for the same endpoints`,
      });
    }
  }
  return findings;
}

function directionsOf({ hasIngress, hasEgress }: CompiledPolicy): Direction[] {
  return directions.filter((direction) => direction === "ingress" ? hasIngress : hasEgress);
}

/** Whether whatever the second selects is selected by the first, as far as their texts show. */
function isWider(first: CompiledPolicy, second: CompiledPolicy): boolean {
  const { root, canonical } = first.selector;
  if (first.appliesOnForward !== second.appliesOnForward && second.appliesOnForward) return false;
  if (root.op === "all" || canonical === second.selector.canonical) return true;
  return second.selector.root.op === "and" &&
    second.selector.root.operands.some((operand) => JSON.stringify(operand) === JSON.stringify(root));
}

function lintProfiles(resources: Resources): Finding[] {
  const findings: Finding[] = [];
  for (const kind of ["WorkloadEndpoint", "HostEndpoint"] as const) {
    for (const [name, { spec }] of resources.all(kind)) {
      for (const [i, profile] of (spec.profiles ?? []).entries()) {
        if (profileOf(resources, profile)) continue;
        findings.push({
          kind,
          name,
          field: `spec.profiles[${i}]`,
          message: `there is no profile ${profile}; traffic that comes to it is dropped`,
        });
      }
    }
  }
  return findings;
}
