/**
 * Rules in one form, whoever wrote them: what we would send and what the kernel gives back become the same text when they
 * mean the same. The kernel adds defaults and numbers (a counter's packets, a log's level, the number of an anonymous set)
 * and leaves out zeros; here they are taken out or put in on both sides. An anonymous set stands as what is in it.
 *
 *     meta(1=00000001,2=00000006)cmp(1=00000001,2=00000000,3=63616c69) comment
 *
 * The text is for comparing, not for reading; `print.ts` is for reading. Throws `MalformedError` on bytes that do not fit.
 */

import { ByteWriter } from "../../lib/bytes.ts";
import { eachAttribute, stringAt, u8At } from "../attribute.ts";
import {
  NFTA_DATA_VALUE,
  NFTA_DATA_VERDICT,
  NFTA_EXPR_DATA,
  NFTA_EXPR_NAME,
  NFTNL_UDATA_RULE_COMMENT,
} from "./constants.ts";
import { readVerdict } from "./elements.ts";
import { type AnonymousSet, putExpressions } from "./encode.ts";
import { disjoint, type Interval } from "./intervals.ts";
import { printBase } from "./print.ts";
import type { BaseChain, Chain, Rule, TableFamily } from "./ruleset.ts";
import { typeId } from "./values.ts";

const hexBytes = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

function hex(bytes: Uint8Array, from = 0, to = bytes.length): string {
  let text = "";
  for (let i = from; i < to; i++) text += hexBytes[bytes[i]!];
  return text;
}

/** Attributes that hold a value or a verdict, by expression. */
const dataAttributes: Readonly<Record<string, readonly number[]>> = {
  cmp: [3],
  range: [3, 4],
  bitwise: [4, 5],
  immediate: [2],
};
/** Attributes that mean nothing when they are zero. */
const zeroAttributes: Readonly<Record<string, readonly number[]>> = {
  lookup: [5],
  payload: [8],
  log: [3, 4, 6],
  limit: [4, 5],
  connlimit: [2],
  bitwise: [6],
};

/** What a rule's expressions hold besides what they mean. */
export interface Expressions {
  readonly text: string;
  /** Of the first counter. */
  readonly packets: bigint | undefined;
  readonly bytes: bigint | undefined;
}

/**
 * The canonical text of expressions between two offsets. `anonymous` gives the content of an anonymous set by the name that
 * a lookup has for it, or by its number in our own batch.
 */
export function readExpressions(
  bytes: Uint8Array,
  from: number,
  to: number,
  anonymous: (name: string, id: number) => string,
): Expressions {
  let text = "", packets: bigint | undefined, octets: bigint | undefined;
  eachAttribute(bytes, from, to, (_type, at, length) => {
    const kind = kindAt(bytes, at, length);
    if (kind === COUNTER) {
      text += "counter";
      eachAttribute(bytes, at, at + length, (type, inner, size) => {
        if (type !== NFTA_EXPR_DATA) return;
        eachAttribute(bytes, inner, inner + size, (number, numberStart, numberSize) => {
          if (number === 1) octets ??= numberAt(bytes, numberStart, numberSize);
          else if (number === 2) packets ??= numberAt(bytes, numberStart, numberSize);
        });
      });
    } else text += kind === LOOKUP ? describe(bytes, at, length, anonymous) : remembered(bytes, at, length);
  });
  return { text, packets, bytes: octets };
}

const COUNTER = 1, LOOKUP = 2, OTHER = 0;

/** Tells the two expressions whose bytes do not say all from the others, by the start of their name. */
function kindAt(bytes: Uint8Array, at: number, length: number): number {
  if (length < 12 || bytes[at + 2] !== NFTA_EXPR_NAME) return OTHER;
  const [a, b, c] = [bytes[at + 4], bytes[at + 5], bytes[at + 6]];
  if (a === 0x63 && b === 0x6f && c === 0x75) return COUNTER;
  return a === 0x6c && b === 0x6f && c === 0x6f ? LOOKUP : OTHER;
}

/** Texts of expressions by their bytes: a ruleset of thousands of rules has a few hundred different ones. */
const memory = new Map<string, string>();
const MEMORY = 20_000;
const latin1 = new TextDecoder("latin1");

function remembered(bytes: Uint8Array, at: number, length: number): string {
  const key = latin1.decode(bytes.subarray(at, at + length));
  let text = memory.get(key);
  if (text === undefined) {
    text = describe(bytes, at, length, () => "");
    if (memory.size >= MEMORY) memory.clear();
    memory.set(key, text);
  }
  return text;
}

function describe(
  bytes: Uint8Array,
  from: number,
  length: number,
  anonymous: (name: string, id: number) => string,
): string {
  let name = "", dataAt = from, dataLength = 0;
  eachAttribute(bytes, from, from + length, (type, at, size) => {
    if (type === NFTA_EXPR_NAME) name = stringAt(bytes, at, size);
    else if (type === NFTA_EXPR_DATA) [dataAt, dataLength] = [at, size];
  });
  return name === "counter" ? name : expressionText(name, bytes, dataAt, dataLength, anonymous);
}

function numberAt(bytes: Uint8Array, at: number, length: number): bigint {
  let number = 0n;
  for (let i = 0; i < length; i++) number = number << 8n | BigInt(u8At(bytes, at + i));
  return number;
}

function expressionText(
  name: string,
  bytes: Uint8Array,
  from: number,
  length: number,
  anonymous: (name: string, id: number) => string,
): string {
  const attributes: (string | undefined)[] = [];
  const isData = dataAttributes[name];
  let setName = "", setId = 0;
  eachAttribute(bytes, from, from + length, (type, at, size) => {
    if (name === "lookup" && type === 1) setName = stringAt(bytes, at, size);
    else if (name === "lookup" && type === 4) setId = Number(numberAt(bytes, at, size));
    else if (isData?.includes(type)) attributes[type] = dataText(bytes, at, size);
    else if (type < 64) attributes[type] = hex(bytes, at, at + size);
  });
  for (const type of zeroAttributes[name] ?? []) if (/^0+$/.test(attributes[type] ?? "")) attributes[type] = undefined;
  if (name === "lookup") attributes[1] = /^__(set|map)/.test(setName) ? anonymous(setName, setId) : setName;
  else defaults(name, attributes);
  let text = "";
  for (let type = 0; type < attributes.length; type++) {
    if (attributes[type] !== undefined) text += `${text === "" ? "" : ","}${type}=${attributes[type]}`;
  }
  return `${name}(${text})`;
}

/** Takes out what the kernel fills in by itself. */
function defaults(name: string, attributes: (string | undefined)[]): void {
  switch (name) {
    case "log":
      if (attributes[1] === undefined) attributes[5] ??= "00000004";
      break;
    case "reject":
      if (attributes[1] === "00000001") attributes[2] = undefined;
      break;
    case "nat":
      if (attributes[4] === attributes[3]) attributes[4] = undefined;
      if (attributes[6] === attributes[5]) attributes[6] = undefined;
      attributes[7] = withoutRangeBits(attributes[7]);
      break;
    case "masq":
      if (attributes[3] === attributes[2]) attributes[3] = undefined;
      attributes[1] = withoutRangeBits(attributes[1]);
      break;
  }
}

/** The flags without "has an address" and "has a port", which the kernel works out. */
function withoutRangeBits(flags: string | undefined): string | undefined {
  const rest = parseInt(flags ?? "0", 16) & ~3;
  return rest === 0 ? undefined : rest.toString(16);
}

function dataText(bytes: Uint8Array, from: number, length: number): string {
  let text = "";
  eachAttribute(bytes, from, from + length, (type, at, size) => {
    if (type === NFTA_DATA_VALUE) text = hex(bytes, at, at + size);
    else if (type === NFTA_DATA_VERDICT) text = readVerdict(bytes, at, size);
  });
  return text;
}

/** The content of an anonymous set by its type's number and its members as intervals. */
export function anonymousText(type: number, members: readonly Interval[]): string {
  const pieces = disjoint(members, { joinTouching: true })
    .map(({ from, to }) => from === to ? hex(from) : `${hex(from)}-${hex(to)}`.replace(/^(.+)-\1$/, "$1"));
  return `{${type}:${pieces.join(" ")}}`;
}

const scratch = new ByteWriter(1024);

/** The canonical text of a rule of ours; throws RangeError when it cannot be encoded. */
export function canonicalRule(
  family: TableFamily,
  rule: Rule,
  isIntervalSet: (set: string) => boolean = () => false,
): string {
  const sets: AnonymousSet[] = [];
  scratch.clear();
  putExpressions(scratch, rule, { family, anonymous: (set) => sets.push(set), isIntervalSet });
  const bytes = scratch.view();
  const { text } = readExpressions(bytes, 0, bytes.length, (_name, id) => {
    const set = sets[id - 1];
    return set ? anonymousText(typeId(set.type), set.members) : "";
  });
  return withComment(text, rule.comment);
}

/** The text of a rule from that of its expressions and its comment. */
export function withComment(text: string, comment: string | undefined): string {
  return comment === undefined ? text : `${text} ${comment}`;
}

/** The canonical text of a base chain's properties; empty for other chains. */
export function canonicalBase(base: BaseChain | undefined): string {
  return base ? printBase(base) : "";
}

/** The canonical texts of a chain's rules, in order. */
export function canonicalRules(
  family: TableFamily,
  { rules }: Chain,
  isIntervalSet: (set: string) => boolean,
): string[] {
  return rules.map((rule) => canonicalRule(family, rule, isIntervalSet));
}

/** The comment in a rule's user data; undefined when there is none. Damaged user data holds none. */
export function commentOf(userdata: Uint8Array): string | undefined {
  for (let at = 0; at + 2 <= userdata.length;) {
    const type = userdata[at]!, length = userdata[at + 1]!;
    if (at + 2 + length > userdata.length) return undefined;
    if (type === NFTNL_UDATA_RULE_COMMENT) return stringAt(userdata, at + 2, length);
    at += 2 + length;
  }
  return undefined;
}
