/**
 * What the kernel says of tables, chains, rules, sets and their elements, in dumps and in reports of changes.
 *
 *     struct nfgenmsg { u8 family; u8 version; be16 resource }, then NFTA_TABLE_* | NFTA_CHAIN_* | NFTA_RULE_* | NFTA_SET_*
 *
 * In: the body of a message, without its nlmsghdr. Out: plain values; undefined when the object is of a family or table that
 * is not ours; `MalformedError` when the bytes do not fit.
 */

import { eachAttribute, stringAt, u16At, u32beAt, u8At } from "../attribute.ts";
import { MalformedError } from "../malformed.ts";
import { commentOf } from "./canonical.ts";
import * as c from "./constants.ts";
import { type ActualElement, readElements } from "./elements.ts";
import type { BaseChain, DataType, TableFamily } from "./ruleset.ts";
import { tableName } from "./ruleset.ts";
import { keyTypes } from "./values.ts";

const GENMSG = 4;

/** The family of a message, when tables of ours can be of it. */
export function familyOf(body: Uint8Array): TableFamily | undefined {
  const family = u8At(body, 0);
  return family === c.NFPROTO_INET ? "inet" : family === c.NFPROTO_ARP ? "arp" : undefined;
}

/** The low 16 bits of the generation at which the message was made. */
export function resourceOf(body: Uint8Array): number {
  const swapped = u16At(body, 2);
  return (swapped >> 8) | (swapped & 255) << 8;
}

/** The family of the table of ours that a message is about: every kind of object names its table in attribute 1. */
export function tableOf(body: Uint8Array): TableFamily | undefined {
  const family = familyOf(body);
  let name = "";
  each(body, (type, at, length) => {
    if (type === 1) name = stringAt(body, at, length);
  });
  return name === tableName ? family : undefined;
}

/** A table's flags; undefined when it is not ours. */
export function decodeTable(body: Uint8Array): { family: TableFamily; flags: number } | undefined {
  const family = tableOf(body);
  if (!family) return undefined;
  let flags = 0;
  each(body, (type, at) => {
    if (type === c.NFTA_TABLE_FLAGS) flags = u32beAt(body, at);
  });
  return { family, flags };
}

/** A chain without its rules; undefined when it is not ours. */
export function decodeChain(
  body: Uint8Array,
): { family: TableFamily; name: string; base: BaseChain | undefined } | undefined {
  const family = tableOf(body);
  if (!family) return undefined;
  let name = "", type = "", policy = c.NF_ACCEPT, hook: number | undefined, priority = 0;
  each(body, (attribute, at, length) => {
    if (attribute === c.NFTA_CHAIN_NAME) name = stringAt(body, at, length);
    else if (attribute === c.NFTA_CHAIN_TYPE) type = stringAt(body, at, length);
    else if (attribute === c.NFTA_CHAIN_POLICY) policy = u32beAt(body, at);
    else if (attribute === c.NFTA_CHAIN_HOOK) {
      eachAttribute(body, at, at + length, (inner, innerAt) => {
        if (inner === c.NFTA_HOOK_HOOKNUM) hook = u32beAt(body, innerAt);
        else if (inner === c.NFTA_HOOK_PRIORITY) priority = u32beAt(body, innerAt) | 0;
      });
    }
  });
  if (hook === undefined) return { family, name, base: undefined };
  const hooks = Object.entries(c.hookNumbers[family]) as [BaseChain["hook"], number][];
  // A hook that we never use is still a base chain, and one that is not as it should be.
  const hookName = hooks.find(([, number]) => number === hook)?.[0] ?? "prerouting";
  const base: BaseChain = {
    type: type as BaseChain["type"],
    hook: hookName,
    priority,
    policy: policy === c.NF_DROP ? "drop" : "accept",
  };
  return { family, name, base };
}

/** A rule with its expressions still in bytes; undefined when it is not ours. */
export interface RuleRow {
  readonly family: TableFamily;
  readonly chain: string;
  readonly handle: bigint;
  /** A view on the body. */
  readonly expressions: Uint8Array;
  readonly comment: string | undefined;
}

/** Decodes a rule. */
export function decodeRule(body: Uint8Array): RuleRow | undefined {
  const family = tableOf(body);
  if (!family) return undefined;
  let chain = "", handle = 0n, comment: string | undefined, expressions = new Uint8Array(0);
  each(body, (type, at, length) => {
    if (type === c.NFTA_RULE_CHAIN) chain = stringAt(body, at, length);
    else if (type === c.NFTA_RULE_HANDLE) handle = BigInt(u32beAt(body, at)) << 32n | BigInt(u32beAt(body, at + 4));
    else if (type === c.NFTA_RULE_EXPRESSIONS) expressions = body.subarray(at, at + length) as Uint8Array<ArrayBuffer>;
    else if (type === c.NFTA_RULE_USERDATA) comment = commentOf(body.subarray(at, at + length));
  });
  return { family, chain, handle, expressions, comment };
}

/** A set without its elements; undefined when it is not ours. */
export interface SetRow {
  readonly family: TableFamily;
  readonly name: string;
  readonly flags: number;
  readonly keyType: number;
  readonly keyLength: number;
  /** Undefined when it has a type that we never use. */
  readonly key: readonly DataType[] | undefined;
  readonly value: "verdict" | DataType | undefined;
  /** How many members it has, where the kernel says so. */
  readonly count: number | undefined;
}

/** Decodes a set. */
export function decodeSet(body: Uint8Array): SetRow | undefined {
  const family = tableOf(body);
  if (!family) return undefined;
  let name = "", flags = 0, keyType = 0, keyLength = 0, dataType = 0, count: number | undefined;
  each(body, (type, at, length) => {
    if (type === c.NFTA_SET_NAME) name = stringAt(body, at, length);
    else if (type === c.NFTA_SET_FLAGS) flags = u32beAt(body, at);
    else if (type === c.NFTA_SET_KEY_TYPE) keyType = u32beAt(body, at);
    else if (type === c.NFTA_SET_KEY_LEN) keyLength = u32beAt(body, at);
    else if (type === c.NFTA_SET_DATA_TYPE) dataType = u32beAt(body, at);
    else if (type === c.NFTA_SET_COUNT) count = u32beAt(body, at);
  });
  const value = !(flags & c.NFT_SET_MAP)
    ? undefined
    : dataType === c.NFT_DATA_VERDICT
    ? "verdict"
    : keyTypes(dataType)?.[0];
  const isUnknownMap = (flags & c.NFT_SET_MAP) !== 0 && value === undefined;
  return { family, name, flags, keyType, keyLength, key: isUnknownMap ? undefined : keyTypes(keyType), value, count };
}

/** Visits the elements in one message of a dump. */
export function decodeElements(
  body: Uint8Array,
  value: SetRow["value"],
  visit: (element: ActualElement) => void,
): void {
  each(body, (type, at, length) => {
    if (type === c.NFTA_SET_ELEM_LIST_ELEMENTS) readElements(body, at, at + length, value, visit);
  });
}

/** The generation of the whole ruleset. */
export function decodeGeneration(body: Uint8Array): number {
  let generation: number | undefined;
  each(body, (type, at) => {
    if (type === c.NFTA_GEN_ID) generation = u32beAt(body, at);
  });
  if (generation === undefined) throw new MalformedError("NFTA_GEN_ID", GENMSG);
  return generation;
}

function each(body: Uint8Array, visit: (type: number, at: number, length: number) => void): void {
  eachAttribute(body, GENMSG, body.length, visit);
}
