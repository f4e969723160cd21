/**
 * Members of sets as netlink elements, in both directions.
 *
 *     hash set:        key [data]                         one element a member
 *     interval set:    key; key flagged as an end         two elements: first value, and the first past the last (none there is: no end)
 *     concatenation:   key [key_end]                      fields side by side, each padded to four bytes
 *     map:             ... with NFTA_SET_ELEM_DATA        a verdict with its chain, or a value
 *
 * A message holds less than 64 KB of elements, because an attribute's length has 16 bits. In: text. Out: bytes and back.
 */

import type { ByteWriter } from "../../lib/bytes.ts";
import { eachAttribute, NLA_F_NESTED, putU32be, stringAt, u32beAt } from "../attribute.ts";
import type { SetDeclaration } from "./command.ts";
import {
  NF_ACCEPT,
  NF_DROP,
  NFT_GOTO,
  NFT_JUMP,
  NFT_RETURN,
  NFT_SET_ELEM_CATCHALL,
  NFT_SET_ELEM_INTERVAL_END,
  NFTA_DATA_VALUE,
  NFTA_DATA_VERDICT,
  NFTA_LIST_ELEM,
  NFTA_SET_ELEM_DATA,
  NFTA_SET_ELEM_FLAGS,
  NFTA_SET_ELEM_KEY,
  NFTA_SET_ELEM_KEY_END,
  NFTA_VERDICT_CHAIN,
  NFTA_VERDICT_CODE,
} from "./constants.ts";
import { putData, putVerdict } from "./expression.ts";
import {
  compareBytes,
  disjointMembers,
  formatInterval,
  type Interval,
  parseInterval,
  predecessor,
  successor,
} from "./intervals.ts";
import type { DataType, NamedSet } from "./ruleset.ts";
import { bad, formatBytes, sizeOf, valueBytes, writeValue } from "./values.ts";

const verdicts: Readonly<Record<string, number>> = { accept: NF_ACCEPT, drop: NF_DROP, return: NFT_RETURN };
const verdictNames = new Map([[NF_ACCEPT, "accept"], [NF_DROP, "drop"], [NFT_RETURN, "return"]]);

/** Bytes of a key: each part padded to four bytes when there are several. */
export function keySize(key: readonly DataType[]): number {
  const [only] = key;
  return key.length === 1 && only ? sizeOf(only) : key.reduce((size, type) => size + (sizeOf(type) + 3 & ~3), 0);
}

/** Appends one member; throws RangeError when the text is no member of the set. */
export function putElement(writer: ByteWriter, set: SetDeclaration, member: string, value: string): void {
  const isPlain = set.key.length === 1 && set.key[0] === "ipv4_addr" && !set.value;
  if (isPlain && !member.includes("/") && !member.includes("-")) return putAddress(writer, set, member);
  const interval = parseMember(set, member);
  if (set.isInterval && set.key.length === 1) {
    putRaw(writer, { key: interval.from, set, value });
    const end = successor(interval.to);
    if (end) putRaw(writer, { key: end, flags: NFT_SET_ELEM_INTERVAL_END });
    return;
  }
  if (!set.isInterval && interval.from !== interval.to) throw bad(set.key.join(" . "), member);
  putRaw(writer, { key: interval.from, keyEnd: set.isInterval ? interval.to : undefined, set, value });
}

/** A single IPv4 address, of which sets may have a million: the same bytes without an object on the way. */
function putAddress(writer: ByteWriter, { isInterval }: SetDeclaration, member: string): void {
  writeValue("ipv4_addr", member, scratch, 0);
  const address = (scratch[0]! << 24 | scratch[1]! << 16 | scratch[2]! << 8 | scratch[3]!) >>> 0;
  writer.u16le(16).u16le(NFTA_LIST_ELEM | NLA_F_NESTED);
  writer.u16le(12).u16le(NFTA_SET_ELEM_KEY | NLA_F_NESTED).u16le(8).u16le(NFTA_DATA_VALUE).u32be(address);
  if (!isInterval || address === 0xffffffff) return;
  writer.u16le(24).u16le(NFTA_LIST_ELEM | NLA_F_NESTED);
  writer.u16le(8).u16le(NFTA_SET_ELEM_FLAGS).u32be(NFT_SET_ELEM_INTERVAL_END);
  writer.u16le(12).u16le(NFTA_SET_ELEM_KEY | NLA_F_NESTED).u16le(8).u16le(NFTA_DATA_VALUE).u32be(address + 1);
}

interface RawElement {
  readonly key: Uint8Array;
  readonly keyEnd?: Uint8Array | undefined;
  readonly flags?: number;
  readonly set?: SetDeclaration;
  readonly value?: string;
}

/** Appends one element with a key given in bytes. */
export function putRaw(writer: ByteWriter, { key, keyEnd, flags = 0, set, value = "" }: RawElement): void {
  const at = writer.reserve(2);
  writer.u16le(NFTA_LIST_ELEM | NLA_F_NESTED);
  if (flags !== 0) putU32be(writer, NFTA_SET_ELEM_FLAGS, flags);
  putData(writer, NFTA_SET_ELEM_KEY, key);
  if (keyEnd) putData(writer, NFTA_SET_ELEM_KEY_END, keyEnd);
  if (set?.value === "verdict") {
    const [word = "", chain] = value.split(" ");
    const code = chain === undefined ? verdicts[word] : { jump: NFT_JUMP, goto: NFT_GOTO }[word];
    if (code === undefined) throw bad("verdict", value);
    putVerdict(writer, NFTA_SET_ELEM_DATA, code, chain);
  } else if (set?.value) putData(writer, NFTA_SET_ELEM_DATA, valueBytes(set.value, value));
  writer.patchU16le(at, writer.length - at);
}

/** The key of a member in bytes, first and last; throws RangeError when the text is no member of the set. */
export function parseMember({ key }: Pick<SetDeclaration, "key">, member: string): Interval {
  const [only] = key;
  if (key.length === 1 && only) return parseInterval(only, member);
  const parts = member.split(" . ");
  if (parts.length !== key.length) throw bad(key.join(" . "), member);
  const from = new Uint8Array(keySize(key)), to = new Uint8Array(from.length);
  let at = 0, isRange = false;
  for (const [i, type] of key.entries()) {
    const interval = parseInterval(type, parts[i] ?? "");
    from.set(interval.from, at);
    to.set(interval.to, at);
    if (interval.from !== interval.to) isRange = true;
    at += sizeOf(type) + 3 & ~3;
  }
  return isRange ? { from, to } : { from, to: from };
}

/**
 * The members of a set of ours in canonical text with their values, as `membersOf` gives them for the kernel's: addresses in
 * their shortest form, prefixes without host bits, intervals of one type without overlap. Throws RangeError.
 */
export function canonicalMembers(set: NamedSet): Map<string, string> {
  const { key, elements, isInterval } = set;
  const [only] = key;
  if (isInterval && key.length === 1 && only && !(elements instanceof Map)) {
    return disjointMembers(only, elements.keys());
  }
  const members = new Map<string, string>();
  const add = (member: string, value: string) => members.set(canonicalMember(set, member), value);
  if (elements instanceof Map) {
    for (const [member, value] of elements as ReadonlyMap<string, string>) {
      add(member, set.value && set.value !== "verdict" ? formatBytes(set.value, valueBytes(set.value, value)) : value);
    }
  } else for (const member of elements.keys()) add(member, "");
  return members;
}

/** A member in canonical text; most are in it already, and sets are large. */
function canonicalMember(set: NamedSet, member: string): string {
  const [only] = set.key;
  if (set.key.length === 1 && (only === "ifname" || only === "ipv4_addr" && !/[/-]/.test(member))) {
    writeValue(only, member, scratch, 0);
    return member;
  }
  const { from, to } = parseMember(set, member);
  return formatMember(set.key, from, to);
}

const scratch = new Uint8Array(16);

/** An element as the kernel has it. */
export interface ActualElement {
  readonly key: Uint8Array;
  readonly keyEnd: Uint8Array | undefined;
  readonly isEnd: boolean;
  readonly value: string;
}

/** Reads the elements between two offsets (the value of NFTA_SET_ELEM_LIST_ELEMENTS); throws `MalformedError`. */
export function readElements(
  bytes: Uint8Array,
  from: number,
  to: number,
  value: SetDeclaration["value"],
  visit: (element: ActualElement) => void,
): void {
  eachAttribute(bytes, from, to, (_type, at, length) => {
    let key: Uint8Array | undefined, keyEnd: Uint8Array | undefined, flags = 0, data = "";
    eachAttribute(bytes, at, at + length, (type, inner, size) => {
      if (type === NFTA_SET_ELEM_KEY) key = dataValue(bytes, inner, size);
      else if (type === NFTA_SET_ELEM_KEY_END) keyEnd = dataValue(bytes, inner, size);
      else if (type === NFTA_SET_ELEM_FLAGS) flags = u32beAt(bytes, inner);
      else if (type === NFTA_SET_ELEM_DATA) data = readData(bytes, inner, size, value);
    });
    if (flags & NFT_SET_ELEM_CATCHALL) {
      return visit({ key: new Uint8Array(0), keyEnd: undefined, isEnd: false, value: data });
    }
    if (key) visit({ key, keyEnd, isEnd: (flags & NFT_SET_ELEM_INTERVAL_END) !== 0, value: data });
  });
}

function dataValue(bytes: Uint8Array, from: number, length: number): Uint8Array | undefined {
  let found: Uint8Array | undefined;
  eachAttribute(bytes, from, from + length, (type, at, size) => {
    if (type === NFTA_DATA_VALUE) found = bytes.slice(at, at + size);
  });
  return found;
}

function readData(bytes: Uint8Array, from: number, length: number, value: SetDeclaration["value"]): string {
  let text = "";
  eachAttribute(bytes, from, from + length, (type, at, size) => {
    if (type === NFTA_DATA_VALUE && value && value !== "verdict" && size >= sizeOf(value)) {
      text = formatBytes(value, bytes, at);
    } else if (type === NFTA_DATA_VERDICT) text = readVerdict(bytes, at, size);
  });
  return text;
}

/** The text of a verdict ("goto cali-fw-cali1"). */
export function readVerdict(bytes: Uint8Array, from: number, length: number): string {
  let code = 0, chain = "";
  eachAttribute(bytes, from, from + length, (type, at, size) => {
    if (type === NFTA_VERDICT_CODE) code = u32beAt(bytes, at) | 0;
    else if (type === NFTA_VERDICT_CHAIN) chain = stringAt(bytes, at, size);
  });
  if (code === NFT_JUMP) return `jump ${chain}`;
  if (code === NFT_GOTO) return `goto ${chain}`;
  return verdictNames.get(code) ?? `verdict ${code}`;
}

/**
 * The members of a set in canonical text with their values, from its elements in any order. What is no member of ours (an
 * end without a start, a key of another size) comes back as text that no member has, so that it is seen as a difference.
 */
export function membersOf(set: Omit<SetDeclaration, "name">, elements: readonly ActualElement[]): Map<string, string> {
  const members = new Map<string, string>();
  const [only] = set.key;
  if (set.isInterval && set.key.length === 1 && only) {
    const size = sizeOf(only);
    if (elements.some(({ key }) => key.length !== size)) members.set("unknown", "");
    for (const interval of intervalsOf(size, elements)) members.set(formatInterval(only, interval), interval.value);
    return members;
  }
  for (const { key, keyEnd, value } of elements) members.set(formatMember(set.key, key, keyEnd), value);
  return members;
}

function formatMember(key: readonly DataType[], bytes: Uint8Array, end: Uint8Array | undefined): string {
  if (bytes.length !== keySize(key)) return `unknown ${bytes.join(".")}`;
  let at = 0;
  return key.map((type) => {
    const size = sizeOf(type);
    const text = end && end.length === bytes.length
      ? formatInterval(type, { from: bytes.subarray(at, at + size), to: end.subarray(at, at + size) })
      : formatBytes(type, bytes, at);
    at += size + 3 & ~3;
    return text;
  }).join(" . ");
}

/**
 * The intervals that elements of an interval set of one type make, with their values; keys of another size are passed over.
 * An end at zero is how nft marks that the values before the first start are outside.
 */
export function intervalsOf(
  size: number,
  elements: readonly ActualElement[],
): (Interval & { readonly value: string })[] {
  const sorted = elements.filter(({ key }) => key.length === size)
    .sort((a, b) => compareBytes(a.key, b.key) || Number(b.isEnd) - Number(a.isEnd));
  const intervals: (Interval & { readonly value: string })[] = [];
  let open: ActualElement | undefined;
  const close = (to: Uint8Array) => {
    if (open) intervals.push({ from: open.key, to, value: open.value });
    open = undefined;
  };
  for (const element of sorted) {
    const before = predecessor(element.key);
    if (before) close(before);
    if (!element.isEnd) open = element;
  }
  close(new Uint8Array(size).fill(255));
  return intervals;
}
