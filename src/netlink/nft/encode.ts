/**
 * A rule as expressions, byte for byte what `nft` makes of the rule's text (see `print.ts`), so that it lists back.
 *
 *     match     -> [checks of family and protocol, once a rule] load field; [bitwise]; cmp | range | lookup
 *     statement -> counter, log, immediate verdict, ...
 *
 * Shapes that surprise: a prefix of whole bytes loads only those bytes; ports, and ICMP type and code, that are compared one
 * after the other are loaded together; a source set of an interval concatenation wants host-order values turned round.
 * Values in braces become an anonymous set, which the caller sends before the rule. In: a rule. Out: bytes, or RangeError.
 */

import type { ByteWriter } from "../../lib/bytes.ts";
import {
  NF_ACCEPT,
  NF_DROP,
  NF_NAT_RANGE_PERSISTENT,
  NF_NAT_RANGE_PROTO_RANDOM,
  NF_NAT_RANGE_PROTO_RANDOM_FULLY,
  NF_NAT_RANGE_PROTO_SPECIFIED,
  NFPROTO_IPV4,
  NFPROTO_IPV6,
  NFT_CMP_GTE,
  NFT_CMP_LTE,
  NFT_CT_MARK,
  NFT_GOTO,
  NFT_JUMP,
  NFT_META_IIFTYPE,
  NFT_META_L4PROTO,
  NFT_META_MARK,
  NFT_META_NFPROTO,
  NFT_RETURN,
} from "./constants.ts";
import * as put from "./expression.ts";
import { type FieldShape, fieldShape } from "./fields.ts";
import { type Interval, parseInterval, prefixLength } from "./intervals.ts";
import type { Field, Match, NatFlags, Rule, Statement, TableFamily } from "./ruleset.ts";
import { bad, numberOf, sizeOf, valueBytes, type ValueType } from "./values.ts";

/** The values in braces of a rule. */
export interface AnonymousSet {
  readonly type: ValueType;
  /** Members may be ranges; then they are disjoint and sorted. */
  readonly isInterval: boolean;
  readonly members: readonly Interval[];
}

/** What encoding a rule needs to know of its surroundings. */
export interface RuleScope {
  readonly family: TableFamily;
  /** Gives the anonymous set a number in the batch. */
  readonly anonymous: (set: AnonymousSet) => number;
  /** Whether the named set holds intervals of concatenations. */
  readonly isIntervalSet: (set: string) => boolean;
}

/** What the rule has made sure of so far. */
interface Known {
  family?: number | undefined;
  protocol?: number | undefined;
  isEther?: boolean;
}

interface Encoding {
  readonly writer: ByteWriter;
  readonly scope: RuleScope;
  readonly known: Known;
}

/** Appends the rule's expressions (the value of NFTA_RULE_EXPRESSIONS); throws RangeError naming what cannot be encoded. */
export function putExpressions(writer: ByteWriter, rule: Rule, scope: RuleScope): void {
  const encoding: Encoding = { writer, scope, known: {} };
  if (wantsTcpFirst(rule)) {
    put.putLoad(writer, { from: "meta", key: NFT_META_L4PROTO });
    put.putEquals(writer, Uint8Array.of(6));
    encoding.known.protocol = 6;
  }
  for (let i = 0; i < rule.matches.length; i++) {
    const match = rule.matches[i]!, next = rule.matches[i + 1];
    if (next && putMerged(encoding, match, next)) i++;
    else putMatch(encoding, match);
  }
  for (const statement of rule.statements) putStatement(encoding, statement);
}

/**
 * Whether the rule resets TCP connections and none of its matches makes sure that the packet is TCP: then `nft` puts that
 * check in front of everything else.
 */
export function wantsTcpFirst({ matches, statements }: Rule): boolean {
  if (!statements.some((statement) => statement.kind === "reject" && statement.reply === "tcp reset")) return false;
  return !matches.some((match) => {
    if (match.kind !== "is" && match.kind !== "among" && match.kind !== "in") return false;
    const fields = match.kind === "in" ? match.fields : [match.field];
    if (fields.some((field) => fieldShape(field).protocol === 6)) return true;
    if (match.kind !== "is" || match.isNot || !/^(meta l4proto|ip protocol|ip6 nexthdr)$/.test(match.field)) {
      return false;
    }
    return match.value === "tcp" || match.value === 6 || match.value === "6";
  });
}

function putMatch(encoding: Encoding, match: Match): void {
  const { writer, scope } = encoding;
  switch (match.kind) {
    case "is":
      return putIs(encoding, match);
    case "among":
      return putAmong(encoding, match);
    case "in":
      putConcatenation(encoding, match.fields, scope.isIntervalSet(match.set));
      return put.putLookup(writer, match.set, { isNot: match.isNot });
    case "has": {
      const shape = establish(encoding, match.field);
      let bits = 0;
      for (const flag of match.flags) bits |= numberOf(shape.type, flag);
      if (bits === 0) throw new RangeError(`Cannot encode a match on ${match.field} without flags`);
      put.putLoad(writer, shape.source);
      put.putBitwise(writer, hostBytes(bits), zeros(4));
      return put.putEquals(writer, zeros(4), !match.isNot);
    }
    case "limit": {
      const unit = { second: 1, minute: 60, hour: 3600, day: 86400 }[match.per];
      if (!isCount(match.rate)) {
        throw new RangeError(`Cannot encode a limit of ${match.rate}: not a positive whole number`);
      }
      const burst = match.burst ?? 5;
      if (burst !== 0 && !isCount(burst)) throw new RangeError(`Cannot encode a burst of ${burst}: not a whole number`);
      return put.putLimit(writer, { rate: match.rate, unit, burst, isOver: match.isOver ?? false });
    }
    case "ct count":
      if (match.count !== 0 && !isCount(match.count)) {
        throw new RangeError(`Cannot encode a connection count of ${match.count}: not a whole number`);
      }
      return put.putConnlimit(writer, match.count, match.isOver ?? false);
  }
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value > 0 && value <= 0xffffffff;
}

/** Checks what the field needs and the rule has not checked yet, as `nft` does; returns the field's shape. */
function establish({ writer, scope, known }: Encoding, field: Field): FieldShape {
  const shape = fieldShape(field);
  if (
    field.startsWith("arp ") !== (scope.family === "arp") &&
    /^(arp|ip|ip6|icmp|icmpv6|th|tcp|udp|sctp|udplite) /.test(field)
  ) {
    throw new RangeError(`Cannot encode a match on ${field} in the table of the family ${scope.family}`);
  }
  if (shape.isEther && scope.family !== "arp" && !known.isEther) {
    put.putLoad(writer, { from: "meta", key: NFT_META_IIFTYPE });
    put.putEquals(writer, Uint8Array.of(1, 0));
    known.isEther = true;
  }
  if (shape.family !== undefined && known.family !== shape.family) {
    put.putLoad(writer, { from: "meta", key: NFT_META_NFPROTO });
    put.putEquals(writer, Uint8Array.of(shape.family));
    known.family = shape.family;
  }
  if (shape.protocol !== undefined && known.protocol !== shape.protocol) {
    put.putLoad(writer, { from: "meta", key: NFT_META_L4PROTO });
    put.putEquals(writer, Uint8Array.of(shape.protocol));
    known.protocol = shape.protocol;
  }
  return shape;
}

/** Remembers what a comparison for equality says of the packet. */
function learn(known: Known, field: Field, value: Uint8Array): void {
  if (field === "meta nfproto") known.family = value[0];
  if (field === "meta l4proto" || field === "ip protocol" || field === "ip6 nexthdr") known.protocol = value[0];
}

function putIs(encoding: Encoding, match: Extract<Match, { kind: "is" }>): void {
  const { writer, known } = encoding;
  const { field, value, mask, isNot = false } = match;
  const shape = establish(encoding, field);
  const { type, source } = shape;
  const text = `${value}`;
  if (mask !== undefined) return putMasked(encoding, shape, match, mask);
  if (type === "ifname" && text.endsWith("*")) return putWildcard(writer, shape, text, isNot);
  if (type === "dscp") return putPartOfBytes(writer, shape, numberOf(type, value), isNot);
  const slash = text.indexOf("/");
  if (slash >= 0 && type !== "ifname") {
    const length = prefixLength(type, text, slash);
    if (length < 8 * sizeOf(type)) return putPrefix(writer, shape, parseInterval(type, text), length, isNot);
  }
  const { from, to } = type === "ifname" ? same(valueBytes(type, value)) : parseInterval(type, text);
  put.putLoad(writer, source);
  if (from === to) {
    put.putEquals(writer, from, isNot);
    if (!isNot) learn(known, field, from);
  } else if (isNot) put.putOutside(writer, from, to);
  else {
    put.putCmp(writer, NFT_CMP_GTE, from);
    put.putCmp(writer, NFT_CMP_LTE, to);
  }
}

function same(bytes: Uint8Array): Interval {
  return { from: bytes, to: bytes };
}

function putMasked(
  { writer }: Encoding,
  { type, source }: FieldShape,
  { value, isNot, field }: Extract<Match, { kind: "is" }>,
  mask: number,
): void {
  if (type !== "mark") throw new RangeError(`Cannot encode a mask on ${field}: only marks have one`);
  put.putLoad(writer, source);
  put.putBitwise(writer, valueBytes(type, mask), zeros(4));
  put.putEquals(writer, valueBytes(type, value), isNot);
}

function putWildcard(writer: ByteWriter, { source }: FieldShape, text: string, isNot: boolean): void {
  const name = text.slice(0, -1);
  // "*" alone would match any name, which nft has no expression for.
  const padded = valueBytes("ifname", name);
  put.putLoad(writer, source);
  put.putEquals(writer, padded.subarray(0, new TextEncoder().encode(name).length), isNot);
}

function putPartOfBytes(writer: ByteWriter, { source }: FieldShape, value: number, isNot: boolean): void {
  if (source.from !== "payload" || !source.mask) {
    throw new RangeError("Cannot encode a part of a field that has no parts");
  }
  put.putLoad(writer, source);
  put.putBitwise(writer, source.mask, zeros(source.length));
  put.putEquals(writer, networkBytes(value << (source.shift ?? 0), source.length), isNot);
}

function putPrefix(
  writer: ByteWriter,
  { source }: FieldShape,
  { from }: Interval,
  length: number,
  isNot: boolean,
): void {
  if (length % 8 === 0 && length > 0) {
    put.putLoad(writer, source, 0, length / 8);
    return put.putEquals(writer, from.subarray(0, length / 8), isNot);
  }
  const mask = from.map((_, i) => (0xff00 >> Math.min(8, Math.max(0, length - 8 * i))) & 255);
  put.putLoad(writer, source);
  put.putBitwise(writer, mask, zeros(from.length));
  put.putEquals(writer, from, isNot);
}

function putAmong(encoding: Encoding, { field, values, isNot }: Extract<Match, { kind: "among" }>): void {
  const { writer, scope } = encoding;
  const shape = establish(encoding, field);
  const { type } = shape;
  if (values.length === 0) throw new RangeError(`Cannot encode an empty list of values for ${field}`);
  if (type === "dscp" || type === "presence") throw bad(type, `${values[0]}`);
  const members = values.map((value) =>
    type === "ifname" ? same(valueBytes(type, value)) : parseInterval(type, `${value}`)
  );
  const isInterval = members.some(({ from, to }) => from !== to);
  put.putLoad(writer, shape.source);
  const id = scope.anonymous({ type, isInterval, members });
  put.putLookup(writer, "__set%d", { isNot, id });
}

/** Loads several fields side by side, each at a multiple of four bytes. */
function putConcatenation(encoding: Encoding, fields: readonly Field[], isIntervalSet: boolean): void {
  const { writer } = encoding;
  if (fields.length === 0) throw new RangeError("Cannot encode a lookup without a field");
  const shapes = fields.map((field) => establish(encoding, field));
  let slot = 0;
  for (const { type, source } of shapes) {
    put.putLoad(writer, source, slot);
    const size = sizeOf(type);
    if (fields.length > 1 && isIntervalSet && isTurnedRound(type)) put.putHton(writer, slot, size);
    slot += (size + 3) >> 2;
  }
}

/** Whether an interval concatenation wants the value in network order, which the kernel loads in the host's. */
function isTurnedRound(type: ValueType): boolean {
  return type === "inet_proto" || type === "mark";
}

/** Ports, and ICMP type and code, compared side by side are loaded as one. */
function putMerged(encoding: Encoding, first: Match, second: Match): boolean {
  if (first.kind !== "is" || second.kind !== "is" || first.isNot || second.isNot) return false;
  const pair = `${first.field}, ${second.field}`;
  if (!/^(\w+) (sport, \1 dport|type, \1 code)$/.test(pair)) return false;
  const { type, source } = fieldShape(first.field);
  if (source.from !== "payload") return false;
  const other = fieldShape(second.field).type;
  const a = parseInterval(type, `${first.value}`), b = parseInterval(other, `${second.value}`);
  if (a.from !== a.to || b.from !== b.to) return false;
  establish(encoding, first.field);
  put.putLoad(encoding.writer, source, 0, 2 * source.length);
  put.putEquals(encoding.writer, Uint8Array.of(...a.from, ...b.from));
  return true;
}

function putStatement(encoding: Encoding, statement: Statement): void {
  const { writer, scope } = encoding;
  switch (statement.kind) {
    case "accept":
      return put.putImmediateVerdict(writer, NF_ACCEPT);
    case "drop":
      return put.putImmediateVerdict(writer, NF_DROP);
    case "return":
      return put.putImmediateVerdict(writer, NFT_RETURN);
    case "jump":
      return put.putImmediateVerdict(writer, NFT_JUMP, statement.chain);
    case "goto":
      return put.putImmediateVerdict(writer, NFT_GOTO, statement.chain);
    case "counter":
      return put.putCounter(writer);
    case "log": {
      const { prefix, level, group } = statement;
      if (prefix !== undefined && new TextEncoder().encode(prefix).length > 127) {
        throw new RangeError(`Cannot encode the log prefix ${JSON.stringify(prefix)}: longer than 127 bytes`);
      }
      if (level !== undefined && group !== undefined) throw new RangeError("Cannot encode a log with level and group");
      return put.putLog(writer, { prefix, group, level: level && logLevels.indexOf(level) });
    }
    case "set":
      return putSet(encoding, statement);
    case "change mark":
      put.putLoad(writer, { from: "meta", key: NFT_META_MARK });
      put.putBitwise(
        writer,
        hostBytes((statement.and ?? 0xffffffff) & ~(statement.or ?? 0)),
        hostBytes(statement.or ?? 0),
      );
      return put.putStore(writer, "meta", NFT_META_MARK);
    case "copy mark":
      put.putLoad(
        writer,
        statement.to === "ct mark" ? { from: "meta", key: NFT_META_MARK } : { from: "ct", key: NFT_CT_MARK },
      );
      return statement.to === "ct mark"
        ? put.putStore(writer, "ct", NFT_CT_MARK)
        : put.putStore(writer, "meta", NFT_META_MARK);
    case "vmap":
      putConcatenation(encoding, statement.fields, scope.isIntervalSet(statement.map));
      return put.putLookup(writer, statement.map, { target: "verdict" });
    case "reject":
      if (statement.reply !== "tcp reset") {
        return put.putReject(writer, 2, statement.reply === "port-unreachable" ? 1 : 3);
      }
      return put.putReject(writer, 1, 0);
    case "notrack":
      return put.putNotrack(writer);
    case "masquerade": {
      const slots = statement.ports === undefined ? {} : putPorts(writer, statement.ports, 0);
      return put.putMasquerade(writer, slots, natFlags(statement.flags, slots));
    }
    case "snat":
    case "dnat":
      return putNat(encoding, statement);
  }
}

/** LOG_* of syslog in order. */
export const logLevels = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"] as const;

function putSet(encoding: Encoding, { field, value }: Extract<Statement, { kind: "set" }>): void {
  const { writer } = encoding;
  if (field === "meta mark" || field === "ct mark") {
    put.putImmediate(writer, valueBytes("mark", value));
    return field === "meta mark"
      ? put.putStore(writer, "meta", NFT_META_MARK)
      : put.putStore(writer, "ct", NFT_CT_MARK);
  }
  establish(encoding, field);
  const number = numberOf("dscp", value);
  // Two bytes at once in both families: the checksum of IPv4 is corrected by words.
  const [mask, xor] = field === "ip dscp"
    ? [Uint8Array.of(0xff, 0x03), Uint8Array.of(0, number << 2)]
    : [Uint8Array.of(0xf0, 0x3f), networkBytes(number << 6, 2)];
  put.putLoad(writer, { from: "payload", base: 1, offset: 0, length: 2 });
  put.putBitwise(writer, mask, xor);
  put.putPayloadWrite(writer, { base: 1, offset: 0, length: 2, checksumAt: field === "ip dscp" ? 10 : undefined });
}

function putNat(encoding: Encoding, statement: Extract<Statement, { kind: "snat" | "dnat" }>): void {
  const { writer } = encoding;
  const { to, ports, flags } = statement;
  const type = statement.family === "ip" ? "ipv4_addr" : "ipv6_addr";
  let slots: put.NatSlots = { address: 0 };
  if (typeof to === "string") {
    const { from, to: last } = parseInterval(type, to);
    put.putImmediate(writer, from);
    if (from !== last) {
      put.putImmediate(writer, last, 4);
      slots = { address: 0, lastAddress: 4 };
    }
  } else {
    putConcatenation(encoding, [to.field], false);
    put.putLookup(writer, to.map, { target: "register" });
  }
  if (ports !== undefined) slots = { ...slots, ...putPorts(writer, ports, slots.lastAddress === undefined ? 4 : 8) };
  const family = statement.family === "ip" ? NFPROTO_IPV4 : NFPROTO_IPV6;
  put.putNat(writer, statement.kind === "snat" ? 0 : 1, family, slots, natFlags(flags, slots));
}

function putPorts(writer: ByteWriter, ports: string, slot: number): put.NatSlots {
  const { from, to } = parseInterval("inet_service", ports);
  put.putImmediate(writer, from, slot);
  if (from === to) return { port: slot };
  put.putImmediate(writer, to, slot + 4);
  return { port: slot, lastPort: slot + 4 };
}

function natFlags(flags: NatFlags = {}, slots: put.NatSlots): number {
  return (flags.isRandom ? NF_NAT_RANGE_PROTO_RANDOM : 0) | (flags.isPersistent ? NF_NAT_RANGE_PERSISTENT : 0) |
    (flags.isFullyRandom ? NF_NAT_RANGE_PROTO_RANDOM_FULLY : 0) |
    (slots.port === undefined ? 0 : NF_NAT_RANGE_PROTO_SPECIFIED);
}

function zeros(length: number): Uint8Array {
  return new Uint8Array(length);
}

function hostBytes(value: number): Uint8Array {
  return Uint8Array.of(value & 255, (value >>> 8) & 255, (value >>> 16) & 255, (value >>> 24) & 255);
}

function networkBytes(value: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (value >>> (8 * (length - 1 - i))) & 255);
}
