/**
 * Random worlds: a few workloads, host endpoints, network sets, profiles, tiers and policies over a small vocabulary, so
 * that rules, labels and addresses meet often; and packets between the addresses that occur.
 */

import * as fc from "fast-check";
import type { AnyResource, EntityRule, Rule } from "../../../src/model/resources/mod.ts";
import type { TestPacket, Trip } from "./evaluator.ts";
import { host, networkSet, policy, profile, settings, tier, workload } from "./scene.ts";

/** A world, and packets to send in it. */
export interface Scenario {
  readonly resources: readonly AnyResource[];
  readonly flights: readonly { readonly packet: TestPacket; readonly trip: Trip }[];
}

const namespaces = ["prod", "test"], labelNames = ["role", "zone"], labelValues = ["a", "b", "c"];
/** Workloads of this host, one of another, and addresses outside. */
export const addresses = {
  v4: ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.1.1", "192.0.2.1", "198.51.100.7"],
  v6: ["fd00::1", "fd00::2", "fd00::3", "fd00::1:1", "2001:db8::1", "2001:db8:1::7"],
} as const;

const labels = fc.dictionary(fc.constantFrom(...labelNames), fc.constantFrom(...labelValues), { maxKeys: 2 });

const selector = fc.oneof(
  { weight: 2, arbitrary: fc.constant("all()") },
  {
    weight: 5,
    arbitrary: fc.tuple(fc.constantFrom(...labelNames), fc.constantFrom("==", "!="), fc.constantFrom(...labelValues))
      .map(([label, op, value]) => `${label} ${op} "${value}"`),
  },
  { weight: 2, arbitrary: fc.constantFrom(...labelNames).map((label) => `has(${label})`) },
  { weight: 1, arbitrary: fc.constantFrom(...labelNames).map((label) => `!has(${label})`) },
  { weight: 1, arbitrary: fc.constant('role in {"a", "c"} && zone not in {"b"}') },
  { weight: 1, arbitrary: fc.constant('role == "a" || zone starts with "b"') },
  { weight: 1, arbitrary: fc.constant('projectcalico.org/namespace == "prod"') },
);

const net4 = fc.constantFrom(
  "10.0.0.1/32",
  "10.0.0.2",
  "10.0.0.0/31",
  "10.0.0.0/16",
  "10.0.1.0/24",
  "0.0.0.0/0",
  "192.0.2.0/24",
);
const net6 = fc.constantFrom("fd00::1/128", "fd00::2", "fd00::/64", "fd00::1:0/112", "::/0", "2001:db8::/48");
const nets = fc.oneof(
  { weight: 3, arbitrary: fc.array(net4, { minLength: 1, maxLength: 3 }) },
  { weight: 2, arbitrary: fc.array(net6, { minLength: 1, maxLength: 3 }) },
  { weight: 1, arbitrary: fc.array(fc.oneof(net4, net6), { minLength: 1, maxLength: 3 }) },
);
const ports = fc.array(fc.constantFrom<string | number>(80, 443, "80:90", "1000:2000", "http", "dns", 53), {
  minLength: 1,
  maxLength: 4,
});
const namedPorts = fc.array(fc.constantFrom<string | number>("http", "dns"), { minLength: 1, maxLength: 2 });

/** Present `weight` times for once that it is not. */
const maybe = <T>(arbitrary: fc.Arbitrary<T>, weight: number) =>
  fc.option(arbitrary, { nil: undefined, freq: weight + 1 });

function entity(hasPorts: boolean, mayName: boolean): fc.Arbitrary<EntityRule> {
  const some = hasPorts ? ports : namedPorts;
  const portsOrNot = maybe(hasPorts || mayName ? some : fc.constant<(string | number)[]>([]), 2);
  return fc.record({
    nets: maybe(nets, 1),
    notNets: maybe(nets, 1),
    selector: maybe(selector, 1),
    notSelector: maybe(selector, 1),
    namespaceSelector: maybe(
      fc.constantFrom("all()", "global()", 'projectcalico.org/name == "prod"', 'projectcalico.org/name != "test"'),
      1,
    ),
    ports: portsOrNot,
    notPorts: maybe(hasPorts || mayName ? some : fc.constant<(string | number)[]>([]), 1),
  }).chain((full) =>
    // Most rules name one or two things, else hardly any matches.
    fc.shuffledSubarray(Object.entries(full).filter(([, value]) => value !== undefined))
      .map((chosen) => Object.fromEntries(chosen.slice(0, 2)) as EntityRule)
  );
}

const icmp = fc.record({ type: fc.constantFrom(0, 3, 8, 128, 135), code: maybe(fc.constantFrom(0, 1), 1) });

const rule: fc.Arbitrary<Rule> = fc.record({
  action: fc.constantFrom("Allow", "Deny", "Pass", "Log", "Allow", "Deny"),
  protocol: maybe(fc.constantFrom<string | number>("TCP", "UDP", "ICMP", "ICMPv6", "SCTP", 6, 99), 2),
  ipVersion: maybe(fc.constantFrom(4, 6), 1),
}).chain(({ action, protocol, ipVersion }) => {
  const hasPorts = protocol === "TCP" || protocol === "UDP" || protocol === "SCTP" || protocol === 6;
  const isIcmp = protocol === "ICMP" || protocol === "ICMPv6";
  return fc.record({
    source: maybe(entity(hasPorts, protocol === undefined), 1),
    destination: maybe(entity(hasPorts, protocol === undefined), 1),
    icmp: maybe(isIcmp ? icmp : fc.constant(undefined), 2),
    notICMP: maybe(isIcmp || protocol === undefined ? icmp : fc.constant(undefined), protocol === undefined ? 1 : 2),
    notProtocol: maybe(fc.constantFrom<string | number>("UDP", "ICMP", 6), 1),
  }).map((rest) =>
    Object.fromEntries(
      Object.entries({ action, protocol, ipVersion, ...rest }).filter(([, value]) => value !== undefined),
    ) as unknown as Rule
  );
});

const rules = fc.array(rule, { maxLength: 4 });
const order = fc.constantFrom(1, 2, 2, undefined);
const types = fc.constantFrom(undefined, ["Ingress"] as const, ["Egress"] as const, ["Ingress", "Egress"] as const);
const tierName = fc.constantFrom("default", "default", "first", "second", "gone");

const policies = fc.array(
  fc.record({
    tier: tierName,
    order,
    selector,
    ingress: rules,
    egress: rules,
    types,
    namespace: maybe(fc.constantFrom(...namespaces), 1),
    namespaceSelector: maybe(fc.constantFrom('projectcalico.org/name == "prod"', "all()"), 1),
    hostStage: fc.constantFrom("", "", "", "forward", "untracked", "preDNAT"),
  }),
  { maxLength: 6 },
).map((list) =>
  list.map(({ namespace, namespaceSelector, hostStage, types, order, ...rest }, i) => {
    const isPreDnat = namespace === undefined && hostStage === "preDNAT";
    return policy(`p${i}`, {
      ...rest,
      ...order === undefined ? {} : { order },
      ...types && !isPreDnat ? { types } : {},
      ...isPreDnat ? { egress: [], preDNAT: true, types: ["Ingress"] } : {},
      ...namespace === undefined && hostStage === "untracked" ? { doNotTrack: true } : {},
      ...namespace === undefined && hostStage ? { applyOnForward: true } : {},
      ...namespace === undefined ? namespaceSelector ? { namespaceSelector } : {} : { namespace },
    });
  })
);

const endpointPorts = fc.subarray([
  { name: "http", protocol: "TCP", port: 80 },
  { name: "http", protocol: "UDP", port: 80 },
  { name: "dns", protocol: "UDP", port: 53 },
  { name: "http", protocol: "TCP", port: 1500 },
]);

const profileNames = fc.subarray(["pro", "pro2", "missing", "projectcalico-default-allow"], { maxLength: 2 });

const workloads = fc.tuple(
  ...[0, 1, 2, 3].map((i) =>
    fc.record({ labels, ports: endpointPorts, profiles: profileNames, namespace: fc.constantFrom(...namespaces) })
      .map((spec) =>
        workload(`w${i}`, {
          ...spec,
          node: i === 3 ? "b" : "a",
          ipNetworks: [`${addresses.v4[i]}/32`, `${addresses.v6[i]}/128`],
        })
      )
  ),
);

const hosts = fc.tuple(
  maybe(
    fc.record({ labels, profiles: profileNames }).map((spec) =>
      host("eth0", { ...spec, interfaceName: "eth0", expectedIPs: ["192.0.2.1", "2001:db8::1"] })
    ),
    1,
  ),
  maybe(fc.record({ labels, profiles: profileNames }).map((spec) => host("any", { ...spec, interfaceName: "*" })), 1),
).map((found) => found.filter((one) => one !== undefined));

const sets = fc.array(
  fc.record({
    nets: fc.array(fc.oneof(net4, net6), { maxLength: 3 }),
    labels,
    namespace: maybe(fc.constantFrom(...namespaces), 1),
  }),
  { maxLength: 2 },
).map((list) => list.map(({ nets, labels, namespace }, i) => networkSet(`set${i}`, nets, labels, namespace)));

const base = fc.record({
  profile: fc.record({ labelsToApply: labels, ingress: rules, egress: rules }).map((spec) => profile("pro", spec)),
  profile2: fc.record({ labelsToApply: labels, ingress: rules }).map((spec) => profile("pro2", spec)),
  tiers: fc.tuple(
    fc.record({ order: fc.constantFrom(1, 2, 2_000_000), defaultAction: fc.constantFrom("Deny", "Pass") }),
    fc.record({ order: fc.constantFrom(1, 2), defaultAction: fc.constantFrom("Deny", "Pass") }),
  ).map(([first, second]) => [tier("first", first), tier("second", second)]),
  felix: fc.record({ defaultEndpointToHostAction: fc.constantFrom("Drop", "Accept", "Return") }).map((spec) =>
    settings(spec)
  ),
});

/** A world of resources. */
export const world: fc.Arbitrary<readonly AnyResource[]> = fc.tuple(base, workloads, hosts, sets, policies).map((
  [{ profile, profile2, tiers, felix }, workloads, hosts, sets, policies],
) => [profile, profile2, ...tiers, felix, ...workloads, ...hosts, ...sets, ...policies]);

const flight = fc.record({
  isV6: fc.boolean(),
  from: fc.nat(5),
  to: fc.nat(5),
  protocol: fc.constantFrom(6, 6, 17, 1, 132, 99),
  sourcePort: fc.constantFrom(53, 1024, 49152, 80),
  destinationPort: fc.constantFrom(22, 53, 80, 85, 443, 1500, 8080),
  icmpType: fc.constantFrom(0, 3, 8, 128, 135),
  icmpCode: fc.constantFrom(0, 1),
  isToHost: fc.boolean(),
  isFromHost: fc.boolean(),
}).map(({ isV6, from, to, protocol, sourcePort, destinationPort, icmpType, icmpCode, isToHost, isFromHost }) => {
  const list = isV6 ? addresses.v6 : addresses.v4;
  const interfaceOf = (i: number) => i < 3 ? `caliw${i}` : "eth0";
  const number = protocol === 1 && isV6 ? 58 : protocol;
  const packet: TestPacket = {
    source: list[from] ?? "",
    destination: list[to] ?? "",
    protocol: number,
    ...[6, 17, 132].includes(number) ? { sourcePort, destinationPort } : {},
    ...number === 1 || number === 58 ? { icmpType, icmpCode } : {},
  };
  // Addresses 0 to 2 are workloads here, 4 is the host's own.
  const trip: Trip = {
    ...from === 4 || isFromHost && from > 2 ? {} : { in: interfaceOf(from) },
    ...to === 4 || isToHost && to > 2 ? {} : { out: interfaceOf(to) },
  };
  return { packet, trip };
}).filter(({ trip }) => trip.in !== undefined || trip.out !== undefined);

/** A world with packets. */
export const scenario: fc.Arbitrary<Scenario> = fc.record({
  resources: world,
  flights: fc.array(flight, { minLength: 20, maxLength: 20 }),
});
