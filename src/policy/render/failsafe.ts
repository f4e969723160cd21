/**
 * Failsafe ports: what a host endpoint's policies can never close, so that nobody locks himself out. In the raw table, where
 * nothing is tracked yet, the answers to what the other direction's failsafes allow pass too.
 */

import type { Chain, Field, Match, Rule } from "../../netlink/nft/ruleset.ts";
import { accept, among, counter, is, rule } from "../../netlink/nft/rule.ts";
import { SCTP, TCP, UDP } from "../compile/rule.ts";
import type { Failsafe, Settings } from "../compile/settings.ts";
import { netText } from "./rule.ts";

/** The chains of failsafe ports of the raw table and of the others. */
export function renderFailsafes({ failsafeInbound, failsafeOutbound }: Settings): Chain[] {
  const inbound = renderPorts(failsafeInbound, "dport", "saddr");
  const outbound = renderPorts(failsafeOutbound, "dport", "daddr");
  return [
    { name: "cali-failsafe-in", rules: inbound },
    { name: "cali-failsafe-out", rules: outbound },
    { name: "cali-raw-failsafe-in", rules: [...inbound, ...renderPorts(failsafeOutbound, "sport", "saddr")] },
    { name: "cali-raw-failsafe-out", rules: [...outbound, ...renderPorts(failsafeInbound, "sport", "daddr")] },
  ];
}

/** One rule for the ports of a protocol and a prefix, in the order of their first ones. */
function renderPorts(failsafes: readonly Failsafe[], port: "sport" | "dport", address: "saddr" | "daddr"): Rule[] {
  const groups = new Map<string, Failsafe[]>();
  for (const failsafe of failsafes) {
    const key = `${failsafe.protocol} ${failsafe.net ?? ""}`;
    groups.set(key, [...groups.get(key) ?? [], failsafe]);
  }
  return [...groups.values()].map((group) => rule(matchesOf(group, port, address), [counter, accept]));
}

function matchesOf(group: readonly Failsafe[], end: "sport" | "dport", address: "saddr" | "daddr"): Match[] {
  const [first] = group;
  if (!first) return [];
  const { protocol, net } = first;
  const matches: Match[] = [];
  if (net) {
    const family = net.family === 4 ? "ip" : "ip6";
    matches.push(
      net.length === 0
        ? is("meta nfproto", net.family === 4 ? "ipv4" : "ipv6")
        : is(`${family} ${address}`, netText(net)),
    );
  }
  const header = { [TCP]: "tcp", [UDP]: "udp", [SCTP]: "sctp" }[protocol];
  // A protocol without ports passes whole.
  if (header === undefined) return [...matches, is("meta l4proto", protocol)];
  const field = `${header} ${end}` as Field;
  const ports = [...new Set(group.map(({ port }) => port))].sort((a, b) => a - b);
  return [...matches, ports.length === 1 ? is(field, ports[0] ?? 0) : among(field, ports)];
}
