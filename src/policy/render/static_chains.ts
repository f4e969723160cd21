/**
 * The chains at the hooks and right behind them (rules/static.go): what every packet of the host passes, whatever endpoints
 * there are. A packet's way:
 *
 *   raw PREROUTING (spoofing, untracked) -> mangle PREROUTING (preDNAT) -> nat PREROUTING (floating IPs)
 *     -> filter INPUT (workload to host, host endpoints)
 *     -> filter FORWARD (host endpoints in, from workload, to workload, host endpoints out)
 *   -> mangle POSTROUTING (host endpoints, of translated packets) -> nat POSTROUTING (outgoing NAT)
 *
 * Base chains bear the names of Calico's for nft (`filter-FORWARD`); each jumps to the chain that Calico inserts there.
 * `accept` ends a base chain only, so what stands in other tables still sees the packet; `drop` is final.
 */

import type { Family } from "../../lib/ip.ts";
import type { BaseChain, Chain, Field, Hook, Match, Rule, Statement } from "../../netlink/nft/ruleset.ts";
import {
  accept,
  among,
  clearBits,
  counter,
  drop,
  goto,
  has,
  hasNot,
  inSet,
  is,
  jump,
  leave,
  masked,
  notMasked,
  rule,
  setBits,
} from "../../netlink/nft/rule.ts";
import type { Settings } from "../compile/settings.ts";
import { allMarks, marks, setPrefix } from "./names.ts";
import { IPIP } from "../compile/rule.ts";

/** What the chains at the hooks depend on. */
export interface StaticInput {
  readonly settings: Settings;
  /** How packets from and to workload interfaces are known. */
  readonly fromWorkload: readonly Match[];
  readonly toWorkload: readonly Match[];
  readonly hasIpip: boolean;
  readonly hasVxlan: boolean;
  readonly hasDscp: boolean;
  /** Families with connections that a policy has ended. */
  readonly ended: readonly Family[];
}

const isAccepted = notMasked("meta mark", marks.accept, 0), isNotAccepted = masked("meta mark", marks.accept, 0);
const isFromWorkload = notMasked("meta mark", marks.scratch0, 0), isFromHost = masked("meta mark", marks.scratch0, 0);

/** Types of ICMPv6 that a workload may send to its host: MLD, router and neighbour solicitation, advertisement of itself. */
const icmpv6ToHost = [130, 131, 132, 133, 135, 136];
/** Neighbour discovery is for one link only (RFC 4861 section 11.2): a forwarded one is a forged one. */
const neighbourDiscovery = [133, 134, 135, 136, 137];

/** Renders the base chains and those that they jump to. */
export function renderStaticChains(input: StaticInput): Chain[] {
  const { settings } = input;
  const allow: Statement = settings.allowAction === "accept" ? accept : leave;
  return [
    ...baseChains(allow),
    { name: "cali-raw-PREROUTING", rules: rawPrerouting(input) },
    { name: "cali-raw-OUTPUT", rules: rawOutput(input) },
    { name: "cali-mangle-PREROUTING", rules: manglePrerouting() },
    { name: "cali-mangle-POSTROUTING", rules: manglePostrouting(input) },
    { name: "cali-INPUT", rules: filterInput(input, allow) },
    { name: "cali-wl-to-host", rules: workloadToHost(settings) },
    { name: "cali-FORWARD", rules: filterForward(input) },
    { name: "cali-cidr-block", rules: [] },
    { name: "cali-OUTPUT", rules: filterOutput(input, allow) },
  ];
}

function base(name: string, type: BaseChain["type"], hook: Hook, priority: number, rules: readonly Rule[]): Chain {
  return { name, base: { type, hook, priority, policy: "accept" }, rules };
}

function baseChains(allow: Statement): Chain[] {
  const to = (chain: string) => [rule([], [counter, jump(chain)])];
  return [
    base("raw-PREROUTING", "filter", "prerouting", -300, to("cali-raw-PREROUTING")),
    base("raw-OUTPUT", "filter", "output", -300, to("cali-raw-OUTPUT")),
    base("mangle-PREROUTING", "filter", "prerouting", -150, to("cali-mangle-PREROUTING")),
    base("mangle-POSTROUTING", "filter", "postrouting", -150, to("cali-mangle-POSTROUTING")),
    base("nat-PREROUTING", "nat", "prerouting", -100, to("cali-nat-PREROUTING")),
    base("nat-OUTPUT", "nat", "output", -100, to("cali-nat-OUTPUT")),
    base("nat-POSTROUTING", "nat", "postrouting", 110, to("cali-nat-POSTROUTING")),
    base("filter-INPUT", "filter", "input", 0, to("cali-INPUT")),
    base("filter-FORWARD", "filter", "forward", 0, [
      ...to("cali-FORWARD"),
      rule([isAccepted], [counter, allow], "policy accepted it"),
      rule([], [setBits(marks.accept)], "forwarded: past the host's own policies"),
    ]),
    base("filter-OUTPUT", "filter", "output", 0, to("cali-OUTPUT")),
  ];
}

const isSourceMissing = is("fib saddr . mark . iif oif", "missing");

function rawPrerouting({ settings, fromWorkload, hasVxlan, ended }: StaticInput): Rule[] {
  return [
    rule([], [clearBits(allMarks)]),
    ...ended.map((family) =>
      rule([inSet(tupleFields(family), endedSet(family))], [counter, drop], "a policy ended it")
    ),
    ...hasVxlan ? [rule([is("udp dport", settings.vxlanPort)], [counter, { kind: "notrack" }])] : [],
    ...fromWorkload.map((match) => rule([match], [setBits(marks.scratch0)], "from a workload")),
    rule([isFromWorkload], [counter, jump("cali-rpf-skip")]),
    rule([isFromWorkload, isSourceMissing], [counter, drop], "spoofed source"),
    rule([isFromHost], [counter, jump("cali-raw-from-host-endpoint")]),
    rule([isAccepted], [counter, accept]),
  ];
}

function rawOutput({ settings, hasVxlan }: StaticInput): Rule[] {
  return [
    rule([], [clearBits(allMarks)]),
    rule([], [counter, jump("cali-raw-to-host-endpoint")]),
    ...hasVxlan ? [rule([is("udp dport", settings.vxlanPort)], [counter, { kind: "notrack" }])] : [],
    rule([isAccepted], [counter, accept]),
  ];
}

function manglePrerouting(): Rule[] {
  return [
    rule([has("ct state", "established", "related")], [counter, accept]),
    rule([isAccepted], [counter, accept]),
    rule([], [counter, jump("cali-mangle-from-host-endpoint")]),
    rule([isAccepted], [counter, accept]),
  ];
}

function manglePostrouting({ hasDscp }: StaticInput): Rule[] {
  const dscp = hasDscp ? [rule([], [counter, jump("cali-egress-dscp")])] : [];
  return [
    ...dscp,
    rule([isAccepted], [counter, leave]),
    rule([], [clearBits(allMarks)]),
    rule([has("ct status", "dnat")], [counter, jump("cali-to-host-endpoint")]),
    rule([isAccepted], [counter, leave]),
  ];
}

function filterInput({ settings, fromWorkload, hasIpip, hasVxlan }: StaticInput, allow: Statement): Rule[] {
  const isLocal = is("fib daddr type", "local");
  const families: Family[] = [4, 6];
  return [
    ...hasIpip
      ? [
        rule(
          [is("ip protocol", IPIP), inSet("ip saddr", "cali40all-hosts-net"), isLocal],
          [counter, accept],
          "IP-in-IP of a node",
        ),
        rule([is("ip protocol", IPIP)], [counter, drop], "IP-in-IP of no node"),
      ]
      : [],
    ...hasVxlan
      ? [
        ...families.map((family) =>
          rule(
            [
              is("udp dport", settings.vxlanPort),
              inSet(family === 4 ? "ip saddr" : "ip6 saddr", `${setPrefix(family)}all-vxlan-net`),
              isLocal,
            ],
            [counter, accept],
            "VXLAN of a node",
          )
        ),
        rule([is("udp dport", settings.vxlanPort), isLocal], [counter, drop], "VXLAN of no node"),
      ]
      : [],
    ...fromWorkload.map((match) => rule([match], [counter, goto("cali-wl-to-host")])),
    rule([isAccepted], [counter, allow]),
    rule([], [clearBits(allMarks)]),
    rule([], [counter, jump("cali-from-host-endpoint")]),
    rule([isAccepted], [counter, allow]),
  ];
}

function workloadToHost({ endpointToHost }: Settings): Rule[] {
  const action: Statement = { accept, drop, return: leave }[endpointToHost];
  return [
    rule([among("icmpv6 type", icmpv6ToHost)], [counter, accept]),
    rule([], [counter, jump("cali-from-wl-dispatch")]),
    rule([], [counter, action], "default endpoint to host action"),
  ];
}

function filterForward({ fromWorkload, toWorkload }: StaticInput): Rule[] {
  return [
    rule([], [clearBits(allMarks & ~marks.accept)]),
    rule([isNotAccepted], [counter, jump("cali-from-hep-forward")]),
    ...fromWorkload.flatMap((match) => [
      rule([match, among("icmpv6 type", neighbourDiscovery)], [counter, drop], "neighbour discovery is not forwarded"),
      rule([match], [counter, jump("cali-from-wl-dispatch")]),
    ]),
    ...toWorkload.map((match) => rule([match], [counter, jump("cali-to-wl-dispatch")])),
    rule([], [counter, jump("cali-to-hep-forward")]),
    rule([], [counter, jump("cali-cidr-block")]),
  ];
}

function filterOutput({ settings, toWorkload, hasIpip, hasVxlan }: StaticInput, allow: Statement): Rule[] {
  const families: Family[] = [4, 6];
  return [
    rule([isAccepted], [counter, allow]),
    ...toWorkload.map((match) => rule([match], [counter, leave], "the host reaches its workloads")),
    ...hasIpip
      ? [
        rule(
          [is("ip protocol", IPIP), inSet("ip daddr", "cali40all-hosts-net")],
          [counter, accept],
          "IP-in-IP to a node",
        ),
      ]
      : [],
    ...hasVxlan
      ? families.map((family) =>
        rule(
          [
            is("udp dport", settings.vxlanPort),
            inSet(family === 4 ? "ip daddr" : "ip6 daddr", `${setPrefix(family)}all-vxlan-net`),
          ],
          [counter, accept],
          "VXLAN to a node",
        )
      )
      : [],
    rule([], [clearBits(allMarks)]),
    rule([hasNot("ct status", "dnat")], [counter, jump("cali-to-host-endpoint")]),
    rule([isAccepted], [counter, allow]),
  ];
}

function tupleFields(family: Family): Field[] {
  const ip = family === 4 ? "ip" : "ip6";
  return [`${ip} saddr`, `${ip} daddr`, "meta l4proto", "th sport", "th dport"];
}

/** The set of connections that a policy has ended, each way of each as "source . destination . protocol . port . port". */
export function endedSet(family: Family): string {
  return `${setPrefix(family)}ended`;
}

/** The chain that sets the DSCP of what leaves the pools, by endpoint. */
export function renderDscp(
  endpoints: readonly { readonly address: string; readonly family: Family; readonly dscp: number }[],
): Chain {
  const families: Family[] = [4, 6];
  const away = families.flatMap((family) => {
    const field = family === 4 ? "ip daddr" : "ip6 daddr";
    const prefix = setPrefix(family);
    return [
      rule([inSet(field, `${prefix}network-ip-pools`)], [counter, leave]),
      rule([inSet(field, `${prefix}this-host`)], [counter, leave]),
    ];
  });
  const set = endpoints.map(({ address, family, dscp }) =>
    family === 4
      ? rule([is("ip saddr", address)], [counter, { kind: "set", field: "ip dscp", value: dscp }])
      : rule([is("ip6 saddr", address)], [counter, { kind: "set", field: "ip6 dscp", value: dscp }])
  );
  return { name: "cali-egress-dscp", rules: [...away, ...set] };
}

/** Sources that workloads may use although no route leads back: what is accepted here skips the check that follows. */
export function renderRpfSkip(
  allowed: readonly { readonly interfaceName: string; readonly prefix: string; readonly family: Family }[],
): Chain {
  return {
    name: "cali-rpf-skip",
    rules: allowed.map(({ interfaceName, prefix, family }) =>
      rule([is("iifname", interfaceName), is(family === 4 ? "ip saddr" : "ip6 saddr", prefix)], [counter, accept])
    ),
  };
}
