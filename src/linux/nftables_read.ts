/**
 * Reading our tables out of the kernel: dumps of tables, chains, sets, their elements, and rules, all at one generation.
 *
 * A dump on its own is consistent; several are when the generation before and after is the same, else they are made again.
 * Elements are asked for set by set. Anonymous sets belong to their rule and are folded into its canonical text.
 */

import type { ActualChain, ActualRule, ActualRuleset, ActualSet, ActualTable } from "../dataplane/firewall_port.ts";
import { putString } from "../netlink/attribute.ts";
import { EINTR, ENOENT, errnoCode } from "../netlink/errno.ts";
import { NetlinkError } from "../netlink/error.ts";
import type { Exchange } from "../netlink/exchange.ts";
import { anonymousText, readExpressions, withComment } from "../netlink/nft/canonical.ts";
import * as c from "../netlink/nft/constants.ts";
import {
  decodeChain,
  decodeElements,
  decodeGeneration,
  decodeRule,
  decodeSet,
  decodeTable,
  type SetRow,
} from "../netlink/nft/decode.ts";
import { type ActualElement, intervalsOf, membersOf } from "../netlink/nft/elements.ts";
import { familyNumber, putGenmsg } from "../netlink/nft/message.ts";
import { type TableFamily, tableName } from "../netlink/nft/ruleset.ts";
import { ask, dump, type Pause, type Request } from "../netlink/request.ts";

const ATTEMPTS = 10;
const SETTLE_MS = 10;

/** The generation of the ruleset of the exchange's namespace; throws `NetlinkError`. */
export function readGeneration(exchange: Exchange): number {
  let generation = 0;
  ask(exchange, {
    operation: "list the generation",
    type: c.NFT_MSG_GETGEN,
    body: (w) => putGenmsg(w, c.NFPROTO_UNSPEC),
  }, (_type, bytes, from, to) => generation = decodeGeneration(bytes.subarray(from, to)));
  return generation;
}

/** Our tables at one generation; throws `NetlinkError` (EINTR when the ruleset never stood still). */
export async function readRuleset(exchange: Exchange, pause?: Pause): Promise<ActualRuleset> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const generation = readGeneration(exchange);
    const tables = await readTables(exchange, pause);
    if (tables && readGeneration(exchange) === generation) return { generation, tables };
    await pause?.();
  }
  throw new NetlinkError("list our tables", EINTR, errnoCode(EINTR), `interrupted by changes ${ATTEMPTS} times`);
}

/** Undefined when a table went while it was read. */
async function readTables(exchange: Exchange, pause?: Pause): Promise<Map<TableFamily, ActualTable> | undefined> {
  const tables = new Map<TableFamily, ActualTable>();
  const rows = await list(exchange, { what: "tables", type: c.NFT_MSG_GETTABLE }, decodeTable, pause);
  try {
    for (const { family, flags } of rows) {
      tables.set(family, { family, flags, ...await readTable(exchange, family, pause) });
    }
  } catch (error) {
    if (error instanceof NetlinkError && error.errno === ENOENT) return undefined;
    throw error;
  }
  return tables;
}

async function readTable(
  exchange: Exchange,
  family: TableFamily,
  pause?: Pause,
): Promise<{ chains: Map<string, ActualChain>; sets: Map<string, ActualSet> }> {
  const chainRows = await list(exchange, { what: "chains", type: c.NFT_MSG_GETCHAIN, family }, decodeChain, pause);
  const setRows = await list(
    exchange,
    { what: "sets", type: c.NFT_MSG_GETSET, family, table: c.NFTA_SET_TABLE },
    decodeSet,
    pause,
  );
  const sets = new Map<string, ActualSet>();
  const anonymous = new Map<string, string>();
  for (const row of setRows) {
    const elements = await readElements(exchange, row, pause);
    if (row.flags & c.NFT_SET_ANONYMOUS) anonymous.set(row.name, describeAnonymous(row, elements));
    else sets.set(row.name, actualSet(row, elements));
  }
  const rules = new Map<string, ActualRule[]>();
  await each(exchange, { what: "rules", type: c.NFT_MSG_GETRULE, family, table: c.NFTA_RULE_TABLE }, {
    restart: () => rules.clear(),
    visit: (body) => {
      const row = decodeRule(body);
      if (!row) return;
      const { text, packets, bytes } = readExpressions(
        row.expressions,
        0,
        row.expressions.length,
        (name) => anonymous.get(name) ?? `{gone ${name}}`,
      );
      const rule: ActualRule = {
        handle: row.handle,
        content: withComment(text, row.comment),
        comment: row.comment,
        ...packets === undefined ? {} : { packets },
        ...bytes === undefined ? {} : { bytes },
      };
      const inChain = rules.get(row.chain);
      if (inChain) inChain.push(rule);
      else rules.set(row.chain, [rule]);
    },
  }, pause);
  const chains = new Map<string, ActualChain>();
  for (const row of chainRows) {
    if (row.family === family) {
      chains.set(row.name, { name: row.name, base: row.base, rules: rules.get(row.name) ?? [] });
    }
  }
  return { chains, sets };
}

function actualSet(row: SetRow, elements: readonly ActualElement[]): ActualSet {
  const { name, key, value, flags } = row;
  const isInterval = (flags & c.NFT_SET_INTERVAL) !== 0;
  const shape = { name, value, isInterval, hasTimeout: (flags & c.NFT_SET_TIMEOUT) !== 0 };
  if (!key) return { ...shape, key, elements: new Map() };
  const declaration = { key, isInterval, ...value ? { value } : {} };
  return { ...shape, key, elements: membersOf(declaration, elements) };
}

/** What stands for an anonymous set in a rule's text; a map has its values in it, which no rule of ours has. */
function describeAnonymous(row: SetRow, elements: readonly ActualElement[]): string {
  const members = row.flags & c.NFT_SET_INTERVAL
    ? intervalsOf(row.keyLength, elements)
    : elements.map(({ key, keyEnd }) => ({ from: key, to: keyEnd ?? key }));
  const values = row.flags & c.NFT_SET_MAP ? elements.map(({ value }) => value).join(" ") : "";
  return anonymousText(row.keyType, members) + values;
}

/**
 * The elements of a set. A hash table that is growing shows a dump some of its members twice and others not at all: then it
 * is dumped again until it has shown as many as it says it has. (What stays unseen would be added once more, which changes
 * nothing.)
 */
async function readElements(exchange: Exchange, row: SetRow, pause?: Pause): Promise<readonly ActualElement[]> {
  const first = await dumpElements(exchange, row, pause);
  if (row.flags & c.NFT_SET_INTERVAL || row.count === undefined) return first;
  const seen = new Map<string, ActualElement>();
  const see = (elements: readonly ActualElement[]) => {
    for (const element of elements) seen.set(String.fromCharCode(...element.key), element);
  };
  see(first);
  for (let again = 0; seen.size < row.count && again < ATTEMPTS; again++) {
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    see(await dumpElements(exchange, row, pause));
  }
  return [...seen.values()];
}

async function dumpElements(
  exchange: Exchange,
  { family, name, value }: SetRow,
  pause?: Pause,
): Promise<ActualElement[]> {
  let elements: ActualElement[] = [];
  const request: Request = {
    operation: `list set ${family} ${tableName} ${name}`,
    type: c.NFT_MSG_GETSETELEM,
    body: (w) => {
      putGenmsg(w, familyNumber(family));
      putString(w, c.NFTA_SET_ELEM_LIST_TABLE, tableName);
      putString(w, c.NFTA_SET_ELEM_LIST_SET, name);
    },
  };
  await dump(exchange, request, {
    restart: () => elements = [],
    visit: (_type, bytes, from, to) =>
      decodeElements(bytes.subarray(from, to), value, (element) => void elements.push(element)),
  }, pause);
  return elements;
}

interface Listing {
  readonly what: string;
  readonly type: number;
  readonly family?: TableFamily;
  /** The attribute that names the table, where the kernel filters by it. */
  readonly table?: number;
}

async function each(
  exchange: Exchange,
  { what, type, family, table }: Listing,
  sink: { restart(): void; visit(body: Uint8Array): void },
  pause?: Pause,
): Promise<void> {
  const request: Request = {
    operation: `list ${what}${family ? ` of ${family} ${tableName}` : ""}`,
    type,
    body: (w) => {
      putGenmsg(w, family ? familyNumber(family) : c.NFPROTO_UNSPEC);
      if (table !== undefined) putString(w, table, tableName);
    },
  };
  await dump(exchange, request, {
    restart: sink.restart,
    visit: (_type, bytes, from, to) => sink.visit(bytes.subarray(from, to)),
  }, pause);
}

async function list<T>(
  exchange: Exchange,
  listing: Listing,
  decode: (body: Uint8Array) => T | undefined,
  pause?: Pause,
): Promise<T[]> {
  let rows: T[] = [];
  await each(exchange, listing, {
    restart: () => rows = [],
    visit: (body) => {
      const row = decode(body);
      if (row !== undefined) rows.push(row);
    },
  }, pause);
  return rows;
}
