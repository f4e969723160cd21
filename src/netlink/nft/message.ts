/**
 * A transaction as one datagram: the commands between the marks of a batch, each a message of its own (nfnetlink.h).
 *
 *     BATCH_BEGIN {GENID}; NEWTABLE, NEWSET, NEWSETELEM, NEWCHAIN, NEWRULE, DEL... ; BATCH_END
 *
 * A command may take several messages: anonymous sets before their rule, elements in pieces of less than 64 KB. `commandAt`
 * tells which command a refused message was of. In: commands. Out: bytes; RangeError with the command that cannot be encoded.
 */

import { ByteWriter } from "../../lib/bytes.ts";
import { NLA_F_NESTED, putBytes, putNest, putU32be, putU64be } from "../attribute.ts";
import { NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, putMessage } from "../message.ts";
import type { Command, SetDeclaration } from "./command.ts";
import * as c from "./constants.ts";
import { keySize, putElement, putRaw } from "./elements.ts";
import { type AnonymousSet, putExpressions } from "./encode.ts";
import { putName } from "./expression.ts";
import { disjoint, successor } from "./intervals.ts";
import type { BaseChain, TableFamily } from "./ruleset.ts";
import { tableName } from "./ruleset.ts";
import { isOrdered, keyTypeId, sizeOf, typeId, type ValueType } from "./values.ts";

/** An encoded transaction. */
export interface Batch {
  readonly bytes: Uint8Array;
  /** The sequence number of the first message. */
  readonly first: number;
  /** Messages in it, the two marks included; they are numbered from `first`. */
  readonly count: number;
  /** The command that the message of this number (counted from 0, the begin mark) belongs to; undefined for a mark. */
  commandAt(message: number): number | undefined;
}

/** A command that cannot be encoded. */
export class CommandError extends RangeError {
  override readonly name = "CommandError";
  constructor(readonly index: number, message: string) {
    super(message);
  }
}

/** The family's number. */
export function familyNumber(family: TableFamily): number {
  return family === "inet" ? c.NFPROTO_INET : c.NFPROTO_ARP;
}

/** Writes struct nfgenmsg: family, version 0, and a big-endian number that depends on the message. */
export function putGenmsg(writer: ByteWriter, family: number, resource = 0): void {
  writer.u8(family).u8(0).u16be(resource);
}

/** Elements of one message: an element takes up to about 200 bytes. */
const MESSAGE_BYTES = 60_000;

/**
 * Encodes commands as one batch whose messages are numbered from `first`; the last command's message asks for an ack.
 * `isIntervalSet` says it of sets that the commands do not declare themselves. Throws `CommandError`.
 */
export function encodeBatch(
  commands: readonly Command[],
  { first, generation, isIntervalSet = () => false }: {
    first: number;
    generation?: number | undefined;
    isIntervalSet?: (family: TableFamily, set: string) => boolean;
  },
): Batch {
  const writer = new ByteWriter(64 * 1024);
  const owners: (number | undefined)[] = [];
  const declared = new Map<string, boolean>();
  for (const command of commands) {
    if (command.op === "add set") {
      declared.set(`${command.family} ${command.set.name}`, command.set.isInterval ?? false);
    }
  }
  let owner: number | undefined, nextSetId = 1, lastAt = 0;
  const message = (type: number, flags: number, family: number, body: (writer: ByteWriter) => void, resource = 0) => {
    lastAt = writer.length;
    putMessage(writer, { type, flags: NLM_F_REQUEST | flags, sequence: (first + owners.length) >>> 0 }, (w) => {
      putGenmsg(w, family, resource);
      body(w);
    });
    owners.push(owner);
  };
  message(c.NFNL_MSG_BATCH_BEGIN, 0, 0, (w) => {
    if (generation !== undefined) putU32be(w, c.NFNL_BATCH_GENID, generation);
  }, c.NFNL_SUBSYS_NFTABLES);
  const context: Context = {
    message,
    newSetId: () => nextSetId++,
    isIntervalSet: (family, set) => declared.get(`${family} ${set}`) ?? isIntervalSet(family, set),
    scratch: new ByteWriter(4096),
  };
  for (const [index, command] of commands.entries()) {
    owner = index;
    try {
      putCommand(context, command);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new CommandError(index, error.message);
    }
  }
  if (owner !== undefined) writer.patchU16le(lastAt + 6, ackedFlags(writer, lastAt));
  owner = undefined;
  message(c.NFNL_MSG_BATCH_END, 0, 0, () => {}, c.NFNL_SUBSYS_NFTABLES);
  return { bytes: writer.view(), first, count: owners.length, commandAt: (at) => owners[at] };
}

function ackedFlags(writer: ByteWriter, at: number): number {
  const bytes = writer.view();
  return bytes[at + 6]! | bytes[at + 7]! << 8 | NLM_F_ACK;
}

interface Context {
  message(type: number, flags: number, family: number, body: (writer: ByteWriter) => void): void;
  newSetId(): number;
  isIntervalSet(family: TableFamily, set: string): boolean;
  /** Where a rule is encoded until its anonymous sets are sent. */
  readonly scratch: ByteWriter;
}

function putCommand(context: Context, command: Command): void {
  const family = familyNumber(command.family);
  const { message } = context;
  switch (command.op) {
    case "add table":
      return message(c.NFT_MSG_NEWTABLE, NLM_F_CREATE, family, (w) => {
        putName(w, c.NFTA_TABLE_NAME, tableName);
        putU32be(w, c.NFTA_TABLE_FLAGS, 0);
      });
    case "delete table":
      return message(c.NFT_MSG_DELTABLE, 0, family, (w) => putName(w, c.NFTA_TABLE_NAME, tableName));
    case "add chain":
      return message(c.NFT_MSG_NEWCHAIN, NLM_F_CREATE, family, (w) => {
        putName(w, c.NFTA_CHAIN_TABLE, tableName);
        putName(w, c.NFTA_CHAIN_NAME, checkedName(command.chain));
        if (command.base) putBase(w, command.family, command.base);
      });
    case "delete chain":
      return message(c.NFT_MSG_DELCHAIN, 0, family, (w) => {
        putName(w, c.NFTA_CHAIN_TABLE, tableName);
        putName(w, c.NFTA_CHAIN_NAME, command.chain);
      });
    case "flush chain":
    case "delete rule":
      return message(c.NFT_MSG_DELRULE, 0, family, (w) => {
        putName(w, c.NFTA_RULE_TABLE, tableName);
        putName(w, c.NFTA_RULE_CHAIN, command.chain);
        if (command.op === "delete rule") putU64be(w, c.NFTA_RULE_HANDLE, command.handle);
      });
    case "add rule":
      return putRule(context, command);
    case "add set":
      return putSet(context, command.family, command.set);
    case "delete set":
      return message(c.NFT_MSG_DELSET, 0, family, (w) => {
        putName(w, c.NFTA_SET_TABLE, tableName);
        putName(w, c.NFTA_SET_NAME, command.set);
      });
    case "flush set":
      return message(c.NFT_MSG_DELSETELEM, 0, family, (w) => {
        putName(w, c.NFTA_SET_ELEM_LIST_TABLE, tableName);
        putName(w, c.NFTA_SET_ELEM_LIST_SET, command.set);
      });
    case "add elements":
    case "delete elements":
      return putElements(context, command);
  }
}

/** Names that nft can read back: letters, digits and /\_.- after a letter, up to 255 bytes. */
function checkedName(name: string): string {
  if (!/^[A-Za-z][A-Za-z0-9/\\_.-]{0,254}$/.test(name)) {
    throw new RangeError(`Cannot encode the name ${JSON.stringify(name)}: nft could not read it back`);
  }
  return name;
}

function putBase(writer: ByteWriter, family: TableFamily, { type, hook, priority, policy }: BaseChain): void {
  const hooks: Readonly<Record<string, number>> = c.hookNumbers[family];
  const number = hooks[hook];
  if (number === undefined) throw new RangeError(`Cannot encode a chain at the hook ${hook}: ${family} has none`);
  putName(writer, c.NFTA_CHAIN_TYPE, type);
  putU32be(writer, c.NFTA_CHAIN_POLICY, policy === "accept" ? c.NF_ACCEPT : c.NF_DROP);
  putNest(writer, c.NFTA_CHAIN_HOOK | NLA_F_NESTED, (w) => {
    putU32be(w, c.NFTA_HOOK_HOOKNUM, number);
    putU32be(w, c.NFTA_HOOK_PRIORITY, priority >>> 0);
  });
}

function putRule(context: Context, { family, chain, rule }: Extract<Command, { op: "add rule" }>): void {
  const { scratch } = context;
  scratch.clear();
  putExpressions(scratch, rule, {
    family,
    anonymous: (set) => putAnonymousSet(context, family, set),
    isIntervalSet: (set) => context.isIntervalSet(family, set),
  });
  const expressions = scratch.view();
  if (expressions.length > 0xfff0) throw new RangeError("Cannot encode a rule: longer than 64 KB");
  context.message(c.NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, familyNumber(family), (w) => {
    putName(w, c.NFTA_RULE_TABLE, tableName);
    putName(w, c.NFTA_RULE_CHAIN, chain);
    putBytes(w, c.NFTA_RULE_EXPRESSIONS | NLA_F_NESTED, expressions);
    if (rule.comment !== undefined) putBytes(w, c.NFTA_RULE_USERDATA, commentUserdata(rule.comment));
  });
}

/** A comment as nft's user data: type, length, text with NUL; throws RangeError on what nft cannot print back. */
export function commentUserdata(comment: string): Uint8Array {
  const text = encoder.encode(comment);
  // deno-lint-ignore no-control-regex
  if (text.length > 127 || /["\0-\x1f]/.test(comment)) {
    throw new RangeError(
      `Cannot encode the comment ${JSON.stringify(comment)}: at most 127 bytes, no quotes or controls`,
    );
  }
  const userdata = new Uint8Array(text.length + 3);
  userdata[0] = c.NFTNL_UDATA_RULE_COMMENT;
  userdata[1] = text.length + 1;
  userdata.set(text, 2);
  return userdata;
}

const encoder = new TextEncoder();

/** Declares the set of a rule's braces and fills it; returns its number in the batch. */
function putAnonymousSet(context: Context, family: TableFamily, { type, isInterval, members }: AnonymousSet): number {
  const id = context.newSetId();
  const intervals = isInterval ? disjoint(members, { joinTouching: true }) : members;
  const ends = isInterval ? 1 : 0;
  context.message(c.NFT_MSG_NEWSET, NLM_F_CREATE, familyNumber(family), (w) => {
    putName(w, c.NFTA_SET_TABLE, tableName);
    putName(w, c.NFTA_SET_NAME, "__set%d");
    putU32be(w, c.NFTA_SET_FLAGS, c.NFT_SET_ANONYMOUS | c.NFT_SET_CONSTANT | (isInterval ? c.NFT_SET_INTERVAL : 0));
    putU32be(w, c.NFTA_SET_KEY_TYPE, typeId(type));
    putU32be(w, c.NFTA_SET_KEY_LEN, sizeOf(type));
    putU32be(w, c.NFTA_SET_ID, id);
    putNest(
      w,
      c.NFTA_SET_DESC | NLA_F_NESTED,
      (d) => putU32be(d, c.NFTA_SET_DESC_SIZE, intervals.length * (1 + ends) + ends),
    );
    putBytes(w, c.NFTA_SET_USERDATA, byteOrderUserdata(0, type));
  });
  context.message(c.NFT_MSG_NEWSETELEM, NLM_F_CREATE, familyNumber(family), (w) => {
    putName(w, c.NFTA_SET_ELEM_LIST_TABLE, tableName);
    putName(w, c.NFTA_SET_ELEM_LIST_SET, "__set%d");
    putU32be(w, c.NFTA_SET_ELEM_LIST_SET_ID, id);
    putNest(w, c.NFTA_SET_ELEM_LIST_ELEMENTS | NLA_F_NESTED, (list) => {
      const first = intervals[0]?.from;
      if (isInterval && first && first.some((byte) => byte !== 0)) {
        putRaw(list, { key: new Uint8Array(first.length), flags: c.NFT_SET_ELEM_INTERVAL_END });
      }
      for (const { from, to } of intervals) {
        putRaw(list, { key: from });
        const end = isInterval ? successor(to) : undefined;
        if (end) putRaw(list, { key: end, flags: c.NFT_SET_ELEM_INTERVAL_END });
      }
    });
  });
  return id;
}

/** BYTEORDER_* of nft for a type, as a piece of a set's user data. */
function byteOrderUserdata(kind: number, type: ValueType | "verdict"): Uint8Array {
  const order = type === "verdict" ? 0 : isOrdered(type) ? 2 : 1;
  return Uint8Array.of(kind, 4, order, 0, 0, 0);
}

/** What nft wants to be told of a concatenation: that its key is an expression of several parts. */
const CONCATENATION = Uint8Array.of(0, 4, 0, 0, 0, 0, 3, 8, 0, 4, 13, 0, 0, 0, 1, 0);
const DATA_IS_NO_INTERVAL = Uint8Array.of(6, 4, 0, 0, 0, 0);

function putSet(context: Context, family: TableFamily, set: SetDeclaration): void {
  const { key, value } = set;
  const isConcatenation = key.length > 1;
  const flags = (set.isInterval ? c.NFT_SET_INTERVAL : 0) | (value ? c.NFT_SET_MAP : 0) |
    (set.hasTimeout ? c.NFT_SET_TIMEOUT : 0) | (set.isInterval && isConcatenation ? c.NFT_SET_CONCAT : 0);
  context.message(c.NFT_MSG_NEWSET, NLM_F_CREATE, familyNumber(family), (w) => {
    putName(w, c.NFTA_SET_TABLE, tableName);
    putName(w, c.NFTA_SET_NAME, checkedName(set.name));
    putU32be(w, c.NFTA_SET_FLAGS, flags);
    putU32be(w, c.NFTA_SET_KEY_TYPE, keyTypeId(key));
    putU32be(w, c.NFTA_SET_KEY_LEN, keySize(key));
    if (value) {
      putU32be(w, c.NFTA_SET_DATA_TYPE, value === "verdict" ? c.NFT_DATA_VERDICT : typeId(value));
      putU32be(w, c.NFTA_SET_DATA_LEN, value === "verdict" ? 0 : sizeOf(value));
    }
    putU32be(w, c.NFTA_SET_ID, context.newSetId());
    if (set.isInterval && isConcatenation) {
      putNest(w, c.NFTA_SET_DESC | NLA_F_NESTED, (d) =>
        putNest(d, c.NFTA_SET_DESC_CONCAT | NLA_F_NESTED, (fields) => {
          for (const type of key) {
            putNest(fields, c.NFTA_LIST_ELEM | NLA_F_NESTED, (field) =>
              putU32be(field, c.NFTA_SET_FIELD_LEN, sizeOf(type)));
          }
        }));
    }
    const [first] = key;
    if (!first) throw new RangeError(`Cannot encode the set ${set.name}: it has no key`);
    const pieces = [
      isConcatenation ? CONCATENATION : byteOrderUserdata(0, first),
      ...value ? [byteOrderUserdata(1, value), DATA_IS_NO_INTERVAL] : [],
    ];
    putBytes(w, c.NFTA_SET_USERDATA, Uint8Array.from(pieces.flatMap((piece) => [...piece])));
  });
}

function putElements(
  context: Context,
  { op, family, set, elements }: Extract<Command, { op: "add elements" | "delete elements" }>,
): void {
  const { scratch } = context;
  const type = op === "add elements" ? c.NFT_MSG_NEWSETELEM : c.NFT_MSG_DELSETELEM;
  const flags = op === "add elements" ? NLM_F_CREATE : 0;
  const flush = () => {
    if (scratch.length === 0) return;
    const list = scratch.view();
    context.message(type, flags, familyNumber(family), (w) => {
      putName(w, c.NFTA_SET_ELEM_LIST_TABLE, tableName);
      putName(w, c.NFTA_SET_ELEM_LIST_SET, set.name);
      putBytes(w, c.NFTA_SET_ELEM_LIST_ELEMENTS | NLA_F_NESTED, list);
    });
    scratch.clear();
  };
  scratch.clear();
  for (const [member, value] of elements) {
    putElement(scratch, set, member, value);
    if (scratch.length > MESSAGE_BYTES) flush();
  }
  flush();
}
