/**
 * Policy routing rules: which packets ask which table (linux/fib_rules.h, ip-rule(8)).
 *
 *     RTM_NEWRULE   struct fib_rule_hdr { u8 family, dst_len, src_len, tos, table, res1, res2, action; u32 flags }
 *       FRA_PRIORITY  FRA_TABLE (u32)  FRA_SRC  FRA_DST  FRA_IIFNAME  FRA_OIFNAME  FRA_FWMARK  FRA_FWMASK  FRA_PROTOCOL
 *
 * In and out: plain values. Decoders throw `MalformedError`.
 */

import type { ByteWriter } from "../lib/bytes.ts";
import { Cidr } from "../lib/cidr.ts";
import { AF_INET, AF_INET6, ipAt } from "./address.ts";
import { eachAttribute, putBytes, putString, putU32, putU8, stringAt, u32At, u8At } from "./attribute.ts";
import { MalformedError } from "./malformed.ts";
import { NLM_F_CREATE, NLM_F_EXCL } from "./message.ts";
import type { Request } from "./request.ts";

const RTM_NEWRULE = 32;
const RTM_DELRULE = 33;
const RTM_GETRULE = 34;

const FRA_DST = 1;
const FRA_SRC = 2;
const FRA_IIFNAME = 3;
const FRA_PRIORITY = 6;
const FRA_FWMARK = 10;
const FRA_TABLE = 15;
const FRA_FWMASK = 16;
const FRA_OIFNAME = 17;
const FRA_PROTOCOL = 21;
const FIB_RULE_INVERT = 2;
const FIB_RULE_HDR = 12;

const ACTIONS = { lookup: 1, blackhole: 6, unreachable: 7, prohibit: 8 } as const;

/** A rule as RTM_NEWRULE tells it. */
export interface RuleMessage {
  readonly family: 4 | 6;
  /** FRA_PRIORITY: lower is asked first. */
  readonly priority: number;
  readonly action: keyof typeof ACTIONS;
  /** RT_TABLE_* that "lookup" asks; 0 for the other actions. */
  readonly table: number;
  /** FIB_RULE_INVERT: the rule holds for packets that do not match. */
  readonly isInverted?: boolean;
  readonly from?: Cidr;
  readonly to?: Cidr;
  readonly mark?: { readonly value: number; readonly mask: number };
  readonly incoming?: string;
  readonly outgoing?: string;
  /** RTPROT_*: whose rule it is. */
  readonly protocol: number;
}

/** Decodes the body of RTM_NEWRULE or RTM_DELRULE; undefined for another family or an action not named here. */
export function decodeRule(body: Uint8Array): RuleMessage | undefined {
  if (body.length < FIB_RULE_HDR) throw new MalformedError("struct fib_rule_hdr", 0);
  const family = body[0]!;
  const action = (Object.keys(ACTIONS) as (keyof typeof ACTIONS)[]).find((name) => ACTIONS[name] === body[7]);
  if ((family !== AF_INET && family !== AF_INET6) || !action) return undefined;
  const rule = { priority: 0, table: body[4]!, protocol: 0 };
  const optional: { from?: Cidr; to?: Cidr; incoming?: string; outgoing?: string } = {};
  let mark: number | undefined, mask = 0xffffffff;
  eachAttribute(body, FIB_RULE_HDR, body.length, (type, at, length) => {
    if (type === FRA_PRIORITY) rule.priority = u32At(body, at);
    else if (type === FRA_TABLE) rule.table = u32At(body, at);
    else if (type === FRA_PROTOCOL) rule.protocol = u8At(body, at);
    else if (type === FRA_FWMARK) mark = u32At(body, at);
    else if (type === FRA_FWMASK) mask = u32At(body, at);
    else if (type === FRA_SRC) optional.from = cidrAt(body, at, length, family, body[2]!);
    else if (type === FRA_DST) optional.to = cidrAt(body, at, length, family, body[1]!);
    else if (type === FRA_IIFNAME) optional.incoming = stringAt(body, at, length);
    else if (type === FRA_OIFNAME) optional.outgoing = stringAt(body, at, length);
  });
  return {
    family: family === AF_INET ? 4 : 6,
    action,
    ...rule,
    ...optional,
    ...(mark !== undefined && { mark: { value: mark, mask } }),
    ...(u32At(body, 8) & FIB_RULE_INVERT && { isInverted: true }),
  };
}

/** Asks for the rules of a family (a dump). */
export function getRules(family: 4 | 6): Request {
  return {
    operation: family === 4 ? "rule show" : "-6 rule show",
    type: RTM_GETRULE,
    body: (writer) => writer.u8(family === 4 ? AF_INET : AF_INET6).zeros(FIB_RULE_HDR - 1),
  };
}

/** Adds a rule; refused with EEXIST when the very same is there. */
export function newRule(rule: RuleMessage): Request {
  return {
    operation: `rule add ${describe(rule)}`,
    type: RTM_NEWRULE,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    body: (writer) => putRule(writer, rule),
  };
}

/** Removes the first rule that agrees in everything given. */
export function delRule(rule: RuleMessage): Request {
  return { operation: `rule del ${describe(rule)}`, type: RTM_DELRULE, body: (writer) => putRule(writer, rule) };
}

function describe({ priority, from, action, table }: RuleMessage): string {
  return `priority ${priority} from ${from ?? "all"} ${action === "lookup" ? `lookup ${table}` : action}`;
}

function putRule(writer: ByteWriter, rule: RuleMessage): void {
  const { family, table, from, to, mark } = rule;
  writer.u8(family === 4 ? AF_INET : AF_INET6).u8(to?.length ?? 0).u8(from?.length ?? 0).u8(0);
  writer.u8(table < 256 ? table : 0).u8(0).u8(0).u8(ACTIONS[rule.action]).u32le(rule.isInverted ? FIB_RULE_INVERT : 0);
  putU32(writer, FRA_PRIORITY, rule.priority);
  putU8(writer, FRA_PROTOCOL, rule.protocol);
  if (rule.action === "lookup") putU32(writer, FRA_TABLE, table);
  if (from) putBytes(writer, FRA_SRC, from.ip.bytes);
  if (to) putBytes(writer, FRA_DST, to.ip.bytes);
  if (mark) {
    putU32(writer, FRA_FWMARK, mark.value);
    putU32(writer, FRA_FWMASK, mark.mask);
  }
  if (rule.incoming !== undefined) putString(writer, FRA_IIFNAME, rule.incoming);
  if (rule.outgoing !== undefined) putString(writer, FRA_OIFNAME, rule.outgoing);
}

function cidrAt(body: Uint8Array, at: number, length: number, family: number, bits: number): Cidr {
  const ip = ipAt(body, at, length, family);
  if (bits > ip.bits) throw new MalformedError("prefix length of a rule", at);
  return Cidr.of(ip, bits);
}
