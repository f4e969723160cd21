/**
 * The table of the arp family: a workload says no other address than its own to be there, and the host's proxy ARP never
 * answers a workload that asks for its own address (duplicate address detection would take that for a conflict).
 */

import type { Chain, Match, NamedSet } from "../../netlink/nft/ruleset.ts";
import { accept, counter, drop, inSet, is, jump, rule } from "../../netlink/nft/rule.ts";
import type { Piece } from "./dispatch.ts";

const owners = "cali40wl-addresses";

/** What the table depends on. */
export interface ArpInput {
  readonly fromWorkload: readonly Match[];
  /** The IPv4 addresses of local workloads. */
  readonly addresses: readonly { readonly interfaceName: string; readonly address: string }[];
  /** Other sources that a workload may use. */
  readonly allowed: readonly { readonly interfaceName: string; readonly prefix: string }[];
}

/** Renders the table's chains and sets. */
export function renderArp({ fromWorkload, addresses, allowed }: ArpInput): Piece {
  const elements = new Set(addresses.map(({ interfaceName, address }) => `${interfaceName} . ${address}`));
  const set: NamedSet = { name: owners, key: ["ifname", "ipv4_addr"], elements };
  const chains: Chain[] = [
    {
      name: "arp-INPUT",
      base: { type: "filter", hook: "input", priority: 0, policy: "accept" },
      rules: fromWorkload.map((match) => rule([match], [counter, jump("cali-arp-from-wl")])),
    },
    {
      name: "arp-OUTPUT",
      base: { type: "filter", hook: "output", priority: 0, policy: "accept" },
      rules: [
        rule(
          [is("arp operation", "reply"), inSet(["oifname", "arp saddr ip"], owners)],
          [counter, drop],
          "a workload's own address is the workload's",
        ),
      ],
    },
    {
      name: "cali-arp-from-wl",
      rules: [
        rule([is("arp saddr ip", "0.0.0.0")], [counter, accept], "probe"),
        rule([inSet(["iifname", "arp saddr ip"], owners)], [counter, accept]),
        ...allowed.map(({ interfaceName, prefix }) =>
          rule([is("iifname", interfaceName), is("arp saddr ip", prefix)], [counter, accept])
        ),
        rule([], [counter, drop], "spoofed ARP"),
      ],
    },
  ];
  return { chains, sets: [set] };
}
