/**
 * Values as nft writes them, and as they lie in a register: the types of keys and fields with their length, byte order,
 * number in nft's own type list (which the kernel keeps for it), parser and formatter.
 *
 * Text is canonical: what `format` gives is what `nft list` prints. In: text or numbers. Out: bytes; `RangeError` naming the
 * text that is no value of the type.
 */

import { Ip } from "../../lib/ip.ts";
import type { DataType, Value } from "./ruleset.ts";

/** Types of values: those of sets, and those that only fields have. */
export type ValueType =
  | DataType
  | "nf_proto"
  | "ether_type"
  | "arp_op"
  | "pkt_type"
  | "icmp_type"
  | "icmp_code"
  | "icmpv6_type"
  | "icmpv6_code"
  | "dscp"
  | "hoplimit"
  | "ct_state"
  | "ct_status"
  | "ct_dir"
  | "fib_addrtype"
  | "presence"
  | "raw128";

interface TypeShape {
  /** The number of the type in nft's datatype.h. */
  readonly id: number;
  readonly size: number;
  /** Bytes lie in network order, so that they can be compared and made into ranges. */
  readonly isOrdered: boolean;
  readonly names?: Readonly<Record<string, number>>;
}

const icmpTypes = {
  "echo-reply": 0,
  "destination-unreachable": 3,
  "source-quench": 4,
  redirect: 5,
  "echo-request": 8,
  "router-advertisement": 9,
  "router-solicitation": 10,
  "time-exceeded": 11,
  "parameter-problem": 12,
  "timestamp-request": 13,
  "timestamp-reply": 14,
  "info-request": 15,
  "info-reply": 16,
  "address-mask-request": 17,
  "address-mask-reply": 18,
};
const icmpCodes = {
  "net-unreachable": 0,
  "host-unreachable": 1,
  "prot-unreachable": 2,
  "port-unreachable": 3,
  "frag-needed": 4,
  "net-prohibited": 9,
  "host-prohibited": 10,
  "admin-prohibited": 13,
};
const icmpv6Types = {
  "destination-unreachable": 1,
  "packet-too-big": 2,
  "time-exceeded": 3,
  "parameter-problem": 4,
  "echo-request": 128,
  "echo-reply": 129,
  "mld-listener-query": 130,
  "mld-listener-report": 131,
  "mld-listener-done": 132,
  "nd-router-solicit": 133,
  "nd-router-advert": 134,
  "nd-neighbor-solicit": 135,
  "nd-neighbor-advert": 136,
  "nd-redirect": 137,
  "router-renumbering": 138,
  "ind-neighbor-solicit": 141,
  "ind-neighbor-advert": 142,
  "mld2-listener-report": 143,
};
const icmpv6Codes = {
  "no-route": 0,
  "admin-prohibited": 1,
  "addr-unreachable": 3,
  "port-unreachable": 4,
  "policy-fail": 5,
  "reject-route": 6,
};
const dscps = {
  lephb: 1,
  cs0: 0,
  cs1: 8,
  cs2: 16,
  cs3: 24,
  cs4: 32,
  cs5: 40,
  cs6: 48,
  cs7: 56,
  af11: 10,
  af12: 12,
  af13: 14,
  af21: 18,
  af22: 20,
  af23: 22,
  af31: 26,
  af32: 28,
  af33: 30,
  af41: 34,
  af42: 36,
  af43: 38,
  ef: 46,
};
const protocols = { icmp: 1, igmp: 2, ipencap: 4, tcp: 6, udp: 17, gre: 47, "ipv6-icmp": 58, sctp: 132, udplite: 136 };

const types: Readonly<Record<ValueType, TypeShape>> = {
  nf_proto: { id: 2, size: 1, isOrdered: false, names: { ipv4: 2, ipv6: 10 } },
  ipv4_addr: { id: 7, size: 4, isOrdered: true },
  ipv6_addr: { id: 8, size: 16, isOrdered: true },
  ether_addr: { id: 9, size: 6, isOrdered: true },
  ether_type: { id: 10, size: 2, isOrdered: true, names: { ip: 0x800, arp: 0x806, ip6: 0x86dd } },
  arp_op: { id: 11, size: 2, isOrdered: true, names: { request: 1, reply: 2 } },
  inet_proto: { id: 12, size: 1, isOrdered: true, names: protocols },
  inet_service: { id: 13, size: 2, isOrdered: true },
  icmp_type: { id: 14, size: 1, isOrdered: true, names: icmpTypes },
  mark: { id: 19, size: 4, isOrdered: false },
  ct_state: {
    id: 26,
    size: 4,
    isOrdered: false,
    names: { invalid: 1, established: 2, related: 4, new: 8, untracked: 64 },
  },
  ct_dir: { id: 27, size: 1, isOrdered: false, names: { original: 0, reply: 1 } },
  ct_status: {
    id: 28,
    size: 4,
    isOrdered: false,
    names: { expected: 1, "seen-reply": 2, assured: 4, confirmed: 8, snat: 16, dnat: 32, dying: 512 },
  },
  icmpv6_type: { id: 29, size: 1, isOrdered: true, names: icmpv6Types },
  pkt_type: { id: 31, size: 1, isOrdered: false, names: { host: 0, unicast: 0, broadcast: 1, multicast: 2, other: 3 } },
  icmp_code: { id: 32, size: 1, isOrdered: true, names: icmpCodes },
  icmpv6_code: { id: 33, size: 1, isOrdered: true, names: icmpv6Codes },
  dscp: { id: 36, size: 1, isOrdered: true, names: dscps },
  hoplimit: { id: 4, size: 1, isOrdered: true },
  fib_addrtype: {
    id: 38,
    size: 4,
    isOrdered: false,
    names: {
      unspec: 0,
      unicast: 1,
      local: 2,
      broadcast: 3,
      anycast: 4,
      multicast: 5,
      blackhole: 6,
      unreachable: 7,
      prohibit: 8,
    },
  },
  presence: { id: 39, size: 4, isOrdered: false, names: { missing: 0, exists: 1 } },
  ifname: { id: 41, size: 16, isOrdered: false },
  raw128: { id: 4, size: 16, isOrdered: true },
};

const nameOf = new Map<ValueType, Map<number, string>>();
for (const [type, { names }] of Object.entries(types) as [ValueType, TypeShape][]) {
  if (names) nameOf.set(type, new Map(Object.entries(names).map(([name, number]) => [number, name])));
}

/** The type of a number in nft's list, among those that sets may have. */
const setTypes = new Map<number, DataType>(
  (["ipv4_addr", "ipv6_addr", "ether_addr", "inet_proto", "inet_service", "mark", "ifname"] as const)
    .map((type) => [types[type].id, type]),
);

/** Bytes that a value of the type takes. */
export function sizeOf(type: ValueType): number {
  return types[type].size;
}

/** Whether values of the type lie in network order and can be ranges. */
export function isOrdered(type: ValueType): boolean {
  return types[type].isOrdered;
}

/** The type's number in nft's list. */
export function typeId(type: ValueType): number {
  return types[type].id;
}

/** The number that stands for a key in the kernel: six bits for each type of a concatenation. */
export function keyTypeId(key: readonly DataType[]): number {
  return key.reduce((id, type) => id << 6 | types[type].id, 0) >>> 0;
}

/** The types of a key by its number; undefined when it has one that we never use. */
export function keyTypes(id: number): DataType[] | undefined {
  const found: DataType[] = [];
  for (let rest = id; rest !== 0; rest >>>= 6) {
    const type = setTypes.get(rest & 63);
    if (!type) return undefined;
    found.unshift(type);
  }
  return found.length === 0 ? undefined : found;
}

/** Puts one value into bytes at an offset; throws RangeError. An `ifname` must be whole (see `prefixOf` for "cali*"). */
export function writeValue(type: ValueType, value: Value, into: Uint8Array, at: number): void {
  switch (type) {
    case "ipv4_addr":
      return writeIpv4(`${value}`, into, at);
    case "ipv6_addr":
    case "raw128": {
      const ip = Ip.tryParse(`${value}`);
      if (ip?.family !== 6) throw bad(type, value);
      into.set(ip.bytes, at);
      return;
    }
    case "ether_addr": {
      const text = `${value}`;
      if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text)) throw bad(type, value);
      text.split(":").forEach((byte, i) => into[at + i] = parseInt(byte, 16));
      return;
    }
    case "ifname": {
      const text = `${value}`;
      if (!/^[^\s"/\0]{1,15}$/.test(text)) throw bad(type, value);
      if (encoder.encodeInto(text, into.subarray(at, at + 15)).read !== text.length) throw bad(type, value);
      return;
    }
    default:
      writeNumber(type, numberOf(type, value), into, at);
  }
}

const encoder = new TextEncoder();

/** The value as bytes of its own. */
export function valueBytes(type: ValueType, value: Value): Uint8Array {
  const bytes = new Uint8Array(types[type].size);
  writeValue(type, value, bytes, 0);
  return bytes;
}

/** The number of a value of a numeric type, by name or digits; throws RangeError. */
export function numberOf(type: ValueType, value: Value): number {
  const { size, names } = types[type];
  const named = typeof value === "string" && names && Object.hasOwn(names, value) ? names[value] : undefined;
  const number = named ??
    (typeof value === "number" ? value : /^(0x[0-9a-f]+|[0-9]+)$/i.test(value) ? Number(value) : NaN);
  const limit = type === "dscp" ? 63 : 2 ** (8 * size) - 1;
  if (!Number.isInteger(number) || number < 0 || number > limit) throw bad(type, value);
  return number;
}

function writeNumber(type: ValueType, number: number, into: Uint8Array, at: number): void {
  const { size, isOrdered } = types[type];
  for (let i = 0; i < size; i++) into[at + i] = (number / 2 ** (8 * (isOrdered ? size - 1 - i : i))) & 255;
}

/** Four decimal octets, without an object in between: sets may have a million of them. */
function writeIpv4(text: string, into: Uint8Array, at: number): void {
  let octet = 0, digits = 0, count = 0;
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : 46;
    if (code === 46) {
      if (digits === 0 || octet > 255 || count === 4) throw bad("ipv4_addr", text);
      into[at + count++] = octet;
      octet = digits = 0;
    } else if (code >= 48 && code <= 57 && digits < 3 && !(digits > 0 && octet === 0)) {
      octet = octet * 10 + code - 48;
      digits++;
    } else throw bad("ipv4_addr", text);
  }
  if (count !== 4) throw bad("ipv4_addr", text);
}

/** The text of the value whose bytes start at the offset, as `nft list` prints it. */
export function formatBytes(type: ValueType, bytes: Uint8Array, at = 0): string {
  const { size, isOrdered } = types[type];
  switch (type) {
    case "ipv4_addr":
      return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
    case "ipv6_addr":
      return Ip.fromBytes(bytes.subarray(at, at + 16)).toString();
    case "raw128":
      return `0x${[...bytes.subarray(at, at + 16)].map(hex2).join("").replace(/^0+(?=.)/, "")}`;
    case "ether_addr":
      return [...bytes.subarray(at, at + 6)].map(hex2).join(":");
    case "ifname": {
      const value = bytes.subarray(at, at + 16);
      const end = value.indexOf(0);
      return new TextDecoder().decode(end < 0 ? value : value.subarray(0, end));
    }
  }
  let number = 0;
  for (let i = 0; i < size; i++) number = number * 256 + (bytes[at + (isOrdered ? i : size - 1 - i)] ?? 0);
  return formatNumber(type, number);
}

/** The text of a number of a numeric type. */
export function formatNumber(type: ValueType, number: number): string {
  if (type === "mark") return `0x${number.toString(16).padStart(8, "0")}`;
  const name = nameOf.get(type)?.get(number);
  if (name !== undefined) return name;
  return type === "dscp" ? `0x${number.toString(16).padStart(2, "0")}` : `${number}`;
}

function hex2(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}

/** The refusal of a text that is no value of the type. */
export function bad(type: string, value: Value): RangeError {
  return new RangeError(`Cannot encode ${JSON.stringify(value)}: not a value of the type ${type}`);
}
