/**
 * Where each field lies and what must hold for it to be there: the load expression and the checks that `nft` puts before it
 * (a header is looked into only once family and protocol are known to be right).
 */

import {
  NFT_CT_DIRECTION,
  NFT_CT_DST_IP,
  NFT_CT_DST_IP6,
  NFT_CT_MARK,
  NFT_CT_PROTO_DST,
  NFT_CT_PROTO_SRC,
  NFT_CT_SRC_IP,
  NFT_CT_SRC_IP6,
  NFT_CT_STATE,
  NFT_CT_STATUS,
  NFT_FIB_RESULT_ADDRTYPE,
  NFT_FIB_RESULT_OIF,
  NFT_META_IIFNAME,
  NFT_META_L4PROTO,
  NFT_META_MARK,
  NFT_META_NFPROTO,
  NFT_META_OIFNAME,
  NFT_META_PKTTYPE,
  NFT_META_PROTOCOL,
  NFT_PAYLOAD_LL_HEADER,
  NFT_PAYLOAD_NETWORK_HEADER,
  NFT_PAYLOAD_TRANSPORT_HEADER,
  NFTA_FIB_F_DADDR,
  NFTA_FIB_F_IIF,
  NFTA_FIB_F_MARK,
  NFTA_FIB_F_PRESENT,
  NFTA_FIB_F_SADDR,
} from "./constants.ts";
import type { Field } from "./ruleset.ts";
import type { ValueType } from "./values.ts";

/** How the field gets into a register. */
export type Source =
  | { readonly from: "meta"; readonly key: number }
  | { readonly from: "ct"; readonly key: number; readonly direction?: 0 | 1 }
  | { readonly from: "fib"; readonly flags: number; readonly result: number }
  | {
    readonly from: "payload";
    readonly base: number;
    readonly offset: number;
    readonly length: number;
    /** Where the field is a part of the bytes: its bits, and how far they are from the right. */
    readonly mask?: Uint8Array;
    readonly shift?: number;
  };

/** A field's shape. */
export interface FieldShape {
  readonly type: ValueType;
  readonly source: Source;
  /** The NFPROTO_* and the IP protocol that the packet must have; checked first, in this order. */
  readonly family?: number;
  readonly protocol?: number;
  /** The frame must be Ethernet's. */
  readonly isEther?: boolean;
}

function meta(key: number, type: ValueType): FieldShape {
  return { type, source: { from: "meta", key } };
}

function network(offset: number, length: number, type: ValueType, family?: number): FieldShape {
  const source: Source = { from: "payload", base: NFT_PAYLOAD_NETWORK_HEADER, offset, length };
  return family === undefined ? { type, source } : { type, source, family };
}

function transport(
  offset: number,
  length: number,
  type: ValueType,
  needs: { family?: number; protocol?: number } = {},
): FieldShape {
  return { type, source: { from: "payload", base: NFT_PAYLOAD_TRANSPORT_HEADER, offset, length }, ...needs };
}

function ports(name: string, protocol?: number): [string, FieldShape][] {
  const needs = protocol === undefined ? {} : { protocol };
  return [
    [`${name} sport`, transport(0, 2, "inet_service", needs)],
    [`${name} dport`, transport(2, 2, "inet_service", needs)],
  ];
}

function ct(key: number, type: ValueType, direction?: 0 | 1): FieldShape {
  return { type, source: direction === undefined ? { from: "ct", key } : { from: "ct", key, direction } };
}

function tuple(name: string, direction: 0 | 1): [string, FieldShape][] {
  return [
    [`ct ${name} ip saddr`, ct(NFT_CT_SRC_IP, "ipv4_addr", direction)],
    [`ct ${name} ip daddr`, ct(NFT_CT_DST_IP, "ipv4_addr", direction)],
    [`ct ${name} ip6 saddr`, ct(NFT_CT_SRC_IP6, "ipv6_addr", direction)],
    [`ct ${name} ip6 daddr`, ct(NFT_CT_DST_IP6, "ipv6_addr", direction)],
    [`ct ${name} proto-src`, ct(NFT_CT_PROTO_SRC, "inet_service", direction)],
    [`ct ${name} proto-dst`, ct(NFT_CT_PROTO_DST, "inet_service", direction)],
  ];
}

function ether(offset: number): FieldShape {
  return {
    type: "ether_addr",
    source: { from: "payload", base: NFT_PAYLOAD_LL_HEADER, offset, length: 6 },
    isEther: true,
  };
}

function dscp(offset: number, length: number, mask: number[], shift: number, family: number): FieldShape {
  const shape = network(offset, length, "dscp", family);
  return { ...shape, source: { ...shape.source, mask: Uint8Array.from(mask), shift } as Source };
}

function fib(flags: number, result: number, type: ValueType): FieldShape {
  return { type, source: { from: "fib", flags, result } };
}

const shapes: ReadonlyMap<string, FieldShape> = new Map<string, FieldShape>([
  ["iifname", meta(NFT_META_IIFNAME, "ifname")],
  ["oifname", meta(NFT_META_OIFNAME, "ifname")],
  ["meta mark", meta(NFT_META_MARK, "mark")],
  ["meta l4proto", meta(NFT_META_L4PROTO, "inet_proto")],
  ["meta nfproto", meta(NFT_META_NFPROTO, "nf_proto")],
  ["meta protocol", meta(NFT_META_PROTOCOL, "ether_type")],
  ["meta pkttype", meta(NFT_META_PKTTYPE, "pkt_type")],
  ["ether saddr", ether(6)],
  ["ether daddr", ether(0)],
  ["ip saddr", network(12, 4, "ipv4_addr", 2)],
  ["ip daddr", network(16, 4, "ipv4_addr", 2)],
  ["ip protocol", network(9, 1, "inet_proto", 2)],
  ["ip dscp", dscp(1, 1, [0xfc], 2, 2)],
  ["ip6 saddr", network(8, 16, "ipv6_addr", 10)],
  ["ip6 daddr", network(24, 16, "ipv6_addr", 10)],
  ["ip6 nexthdr", network(6, 1, "inet_proto", 10)],
  ["ip6 hoplimit", network(7, 1, "hoplimit", 10)],
  ["ip6 dscp", dscp(0, 2, [0x0f, 0xc0], 6, 10)],
  ...ports("tcp", 6),
  ...ports("udp", 17),
  ...ports("udplite", 136),
  ...ports("sctp", 132),
  ...ports("th"),
  ["icmp type", transport(0, 1, "icmp_type", { family: 2, protocol: 1 })],
  ["icmp code", transport(1, 1, "icmp_code", { family: 2, protocol: 1 })],
  ["icmpv6 type", transport(0, 1, "icmpv6_type", { family: 10, protocol: 58 })],
  ["icmpv6 code", transport(1, 1, "icmpv6_code", { family: 10, protocol: 58 })],
  ["@th,64,128", transport(8, 16, "raw128")],
  // An ARP header for Ethernet and IPv4 (RFC 826): 8 bytes, then the two pairs of addresses.
  ["arp operation", network(6, 2, "arp_op")],
  ["arp saddr ether", network(8, 6, "ether_addr")],
  ["arp saddr ip", network(14, 4, "ipv4_addr")],
  ["arp daddr ether", network(18, 6, "ether_addr")],
  ["arp daddr ip", network(24, 4, "ipv4_addr")],
  ["ct state", ct(NFT_CT_STATE, "ct_state")],
  ["ct status", ct(NFT_CT_STATUS, "ct_status")],
  ["ct mark", ct(NFT_CT_MARK, "mark")],
  ["ct direction", ct(NFT_CT_DIRECTION, "ct_dir")],
  ...tuple("original", 0),
  ...tuple("reply", 1),
  ["fib saddr type", fib(NFTA_FIB_F_SADDR, NFT_FIB_RESULT_ADDRTYPE, "fib_addrtype")],
  ["fib daddr type", fib(NFTA_FIB_F_DADDR, NFT_FIB_RESULT_ADDRTYPE, "fib_addrtype")],
  ["fib saddr . iif oif", fib(NFTA_FIB_F_SADDR | NFTA_FIB_F_IIF | NFTA_FIB_F_PRESENT, NFT_FIB_RESULT_OIF, "presence")],
  [
    "fib saddr . mark . iif oif",
    fib(NFTA_FIB_F_SADDR | NFTA_FIB_F_MARK | NFTA_FIB_F_IIF | NFTA_FIB_F_PRESENT, NFT_FIB_RESULT_OIF, "presence"),
  ],
]);

/** The shape of a field; throws RangeError when there is none of that name. */
export function fieldShape(field: Field): FieldShape {
  const shape = shapes.get(field);
  if (!shape) throw new RangeError(`Cannot encode a match on ${JSON.stringify(field)}: no such field`);
  return shape;
}

/** All fields, for tests that go through every one. */
export function fieldNames(): Field[] {
  return [...shapes.keys()] as Field[];
}
