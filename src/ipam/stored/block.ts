/**
 * A block: the addresses that one host takes from a pool at a time, and the unit of compare-and-swap.
 *
 * A block is an immutable value; `assign…` and `release…` return the changed block and what came of it. `unallocated` is
 * a queue: addresses are taken from its front and returned to its end, so the one that was free longest is reused first.
 * `attributes` holds each distinct owner once and `allocations` refers to it by index.
 *
 *   text -> parseBlock -> Block -> assignNext | assignOrdinal | releaseOrdinals -> formatBlock (sequence number + 1)
 *
 * Layout: Calico's AllocationBlock. Members that are not known here are kept as they are.
 */

import { Cidr } from "../../lib/cidr.ts";
import { Ip } from "../../lib/ip.ts";
import { IpamError } from "../error.ts";
import { formatJson, fromBigInt, isJsonObject, type JsonObject, parseJsonObject, toBigInt } from "./json64.ts";

/** Who holds an address: the handle by which it is released, and what is noted about the owner. */
export interface Owner {
  readonly handle?: string | undefined;
  readonly attributes?: Readonly<Record<string, string>> | undefined;
}

/** Refuses, with `IpamError` (`config`), a handle or attribute that could not be read back from the store. */
export function checkOwner({ handle, attributes }: Owner): void {
  // A handle is the last part of a key.
  const fault = handle?.includes("/") ? "a slash" : undefined;
  const texts = [handle ?? "", ...Object.entries(attributes ?? {}).flat()];
  // deno-lint-ignore no-control-regex
  const control = texts.some((text) => /[\u0000-\u001f]/.test(text)) ? "a control character" : undefined;
  if (!fault && !control) return;
  const what = fault ? `the handle ${JSON.stringify(handle)}` : "the handle or an attribute";
  throw new IpamError("config", `Cannot assign an address: ${what} holds ${fault ?? control}; choose another name`);
}

/** A block of addresses; ordinals count from the first address of `cidr`. */
export interface Block {
  readonly cidr: Cidr;
  /** `host:<node>`, `virtual:<name>`, or null when nobody may take addresses without borrowing. */
  readonly affinity: string | null;
  /** When the affinity was claimed, RFC 3339; absent in blocks of older nodes. */
  readonly claimedAt: string | undefined;
  /** By ordinal: an index into `attributes`, or null when the address is free. */
  readonly allocations: readonly (number | null)[];
  /** Free ordinals, the next one to be given first. */
  readonly unallocated: readonly number[];
  /** The members of each distinct owner as stored (`handle_id`, `secondary` and others). */
  readonly attributes: readonly JsonObject[];
  /** Raised by every write. */
  readonly sequence: bigint;
  /** By ordinal: the block's sequence number when the address was given. */
  readonly sequences: ReadonlyMap<number, bigint>;
  /** All members as stored, unknown ones included. */
  readonly stored: JsonObject;
}

/** The largest block that is read: /16 in IPv4, /112 in IPv6 (Calico allows up to 4096 addresses). */
const MAX_BLOCK_SIZE = 65_536;

/** How many addresses the block holds. */
export function blockSize(block: Block): number {
  return block.allocations.length;
}

/** A block with all addresses free, claimed now; `sequence` must never have been used for these addresses before. */
export function makeBlock(cidr: Cidr, options: { affinity: string; claimedAt: string; sequence: bigint }): Block {
  const size = Number(cidr.size);
  return {
    cidr,
    affinity: options.affinity,
    claimedAt: options.claimedAt,
    allocations: new Array<null>(size).fill(null),
    unallocated: Array.from({ length: size }, (_, ordinal) => ordinal),
    attributes: [],
    sequence: options.sequence,
    sequences: new Map(),
    stored: {},
  };
}

/** Reads a block's JSON text; throws `IpamError` (`corrupt`) naming the member that is wrong. */
export function parseBlock(text: string, key: string): Block {
  const fail = (what: string): never => {
    throw new IpamError("corrupt", `Cannot read the block at ${key}: ${what}; repair or delete the key`);
  };
  let stored: JsonObject;
  try {
    stored = parseJsonObject(text);
  } catch (error) {
    return fail((error as Error).message);
  }
  const cidr = typeof stored.cidr === "string" ? Cidr.tryParse(stored.cidr) : undefined;
  if (!cidr || cidr.size > MAX_BLOCK_SIZE) return fail(`cidr is ${JSON.stringify(stored.cidr)}`);
  const size = Number(cidr.size);
  const attributes = stored.attributes ?? [];
  if (!Array.isArray(attributes) || !attributes.every(isJsonObject)) return fail("attributes is not a list of objects");
  const { allocations, unallocated } = stored;
  const isIndex = (value: unknown, end: number): value is number =>
    Number.isInteger(value) && (value as number) >= 0 && (value as number) < end;
  if (
    !Array.isArray(allocations) || allocations.length !== size ||
    !allocations.every((index) => index === null || isIndex(index, attributes.length))
  ) return fail(`allocations is not a list of ${size} indexes or nulls`);
  if (!Array.isArray(unallocated) || !unallocated.every((ordinal) => isIndex(ordinal, size))) {
    return fail("unallocated is not a list of ordinals");
  }
  const sequences = new Map<number, bigint>();
  if (isJsonObject(stored.sequenceNumberForAllocation)) {
    for (const [ordinal, value] of Object.entries(stored.sequenceNumberForAllocation)) {
      sequences.set(Number(ordinal), toBigInt(value) ?? 0n);
    }
  }
  return {
    cidr,
    affinity: typeof stored.affinity === "string" && stored.affinity !== "" ? stored.affinity : null,
    claimedAt: typeof stored.affinity_claim_time === "string" ? stored.affinity_claim_time : undefined,
    allocations: allocations as (number | null)[],
    unallocated: unallocated as number[],
    attributes: attributes as JsonObject[],
    sequence: toBigInt(stored.sequenceNumber) ?? 0n,
    sequences,
    stored,
  };
}

/** Writes the block as JSON text, with the members in Calico's order. */
export function formatBlock(block: Block): string {
  const sequences: Record<string, unknown> = {};
  for (const [ordinal, sequence] of block.sequences) sequences[ordinal] = fromBigInt(sequence);
  const { affinity_claim_time: _old, ...rest } = block.stored;
  return formatJson({
    cidr: block.cidr.toString(),
    affinity: block.affinity,
    ...(block.claimedAt === undefined ? {} : { affinity_claim_time: block.claimedAt }),
    allocations: block.allocations,
    unallocated: block.unallocated,
    attributes: block.attributes,
    sequenceNumber: fromBigInt(block.sequence),
    sequenceNumberForAllocation: sequences,
    ...without(rest, KNOWN_MEMBERS),
    deleted: block.stored.deleted ?? false,
  });
}

const KNOWN_MEMBERS = new Set([
  "cidr",
  "affinity",
  "allocations",
  "unallocated",
  "attributes",
  "sequenceNumber",
  "sequenceNumberForAllocation",
  "deleted",
]);

function without(object: JsonObject, names: ReadonlySet<string>): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([name]) => !names.has(name)));
}

/** The block as its next write must have it: the same content with a raised sequence number. */
export function nextVersion(block: Block): Block {
  return { ...block, sequence: block.sequence + 1n };
}

/** The block without its affinity. */
export function withoutAffinity(block: Block): Block {
  return { ...block, affinity: null, claimedAt: undefined };
}

/** The address of the ordinal. */
export function addressOf(block: Block, ordinal: number): Ip {
  const { ip } = block.cidr;
  return ip.family === 4 ? Ip.fromNumber(ip.toNumber() + ordinal) : ip.plus(ordinal);
}

/** The ordinal of an address; undefined when the block does not hold it. */
export function ordinalOf(block: Block, ip: Ip): number | undefined {
  return block.cidr.contains(ip) ? Number(ip.toBigInt() - block.cidr.ip.toBigInt()) : undefined;
}

/** Who holds the address at the ordinal; undefined when it is free. */
export function ownerOf(block: Block, ordinal: number): Owner | undefined {
  const index = block.allocations[ordinal];
  const attribute = index === null || index === undefined ? undefined : block.attributes[index];
  return attribute && { handle: handleOf(attribute), attributes: secondaryOf(attribute) };
}

/** The handle in an attribute, cut at the first carriage return (some migrated data has one); undefined without one. */
export function handleOf(attribute: JsonObject): string | undefined {
  return typeof attribute.handle_id === "string" ? attribute.handle_id.split("\r")[0] : undefined;
}

function secondaryOf(attribute: JsonObject): Readonly<Record<string, string>> {
  return isJsonObject(attribute.secondary) ? attribute.secondary as Record<string, string> : {};
}

/** The host in an affinity of the form `host:<node>`; undefined otherwise. */
export function hostOfAffinity(affinity: string | null): string | undefined {
  return affinity?.startsWith("host:") ? affinity.slice(5) : undefined;
}

/** Whether no address of the block is held (those that Windows nodes set aside do not count). */
export function isEmptyBlock(block: Block): boolean {
  return block.allocations.every((index) => {
    const attribute = index === null ? undefined : block.attributes[index];
    return !attribute || handleOf(attribute)?.toLowerCase() === "windows-reserved-ipam-handle";
  });
}

/** How many addresses of the block the handle holds. */
export function countHeld(block: Block, handle: string): number {
  const indexes = new Set<number | null>();
  block.attributes.forEach((attribute, index) => handleOf(attribute) === handle && indexes.add(index));
  return indexes.size === 0 ? 0 : block.allocations.reduce<number>((n, index) => n + (indexes.has(index) ? 1 : 0), 0);
}

/** Takes up to `count` addresses from the front of the queue, leaving out reserved ones where they are. */
export function assignNext(
  block: Block,
  count: number,
  owner: Owner,
  isReserved: (ip: Ip) => boolean = () => false,
): { readonly block: Block; readonly ips: readonly Ip[] } {
  const taken: number[] = [];
  const ips: Ip[] = [];
  let index = 0;
  const skipped: number[] = [];
  for (; index < block.unallocated.length && taken.length < count; index++) {
    const ordinal = block.unallocated[index] ?? 0;
    const ip = addressOf(block, ordinal);
    if (isReserved(ip)) {
      skipped.push(ordinal);
      continue;
    }
    taken.push(ordinal);
    ips.push(ip);
  }
  if (taken.length === 0) return { block, ips };
  const unallocated = [...skipped, ...block.unallocated.slice(index)];
  return { block: { ...withAllocated(block, taken, owner), unallocated }, ips };
}

/** Takes the address at the ordinal; undefined when it is held already. */
export function assignOrdinal(block: Block, ordinal: number, owner: Owner): Block | undefined {
  if (block.allocations[ordinal] !== null) return undefined;
  const unallocated = block.unallocated.filter((free) => free !== ordinal);
  return { ...withAllocated(block, [ordinal], owner), unallocated };
}

function withAllocated(block: Block, ordinals: readonly number[], owner: Owner): Block {
  const found = block.attributes.findIndex((attribute) => isOwnedBy(attribute, owner));
  const index = found < 0 ? block.attributes.length : found;
  const attributes = found < 0 ? [...block.attributes, toAttribute(owner)] : block.attributes;
  const allocations = [...block.allocations];
  const sequences = new Map(block.sequences);
  for (const ordinal of ordinals) {
    allocations[ordinal] = index;
    sequences.set(ordinal, block.sequence);
  }
  return { ...block, attributes, allocations, sequences };
}

function toAttribute(owner: Owner): JsonObject {
  return {
    ...(owner.handle ? { handle_id: owner.handle } : {}),
    ...(owner.attributes ? { secondary: owner.attributes } : {}),
  };
}

/** Whether an attribute says exactly this owner and nothing else. */
function isOwnedBy(attribute: JsonObject, owner: Owner): boolean {
  for (const name in attribute) {
    if (name !== "handle_id" && name !== "secondary" && attribute[name] !== null) return false;
  }
  if ((attribute.handle_id ?? undefined) !== (owner.handle || undefined)) return false;
  const [stored, wanted] = [attribute.secondary ?? undefined, owner.attributes];
  if (!isJsonObject(stored) || !wanted) return stored === undefined && wanted === undefined;
  const names = Object.keys(wanted);
  return names.length === Object.keys(stored).length && names.every((name) => stored[name] === wanted[name]);
}

/** Returns addresses to the end of the queue, in the given order, and drops owners that hold nothing any more. */
export function releaseOrdinals(
  block: Block,
  ordinals: readonly number[],
): { readonly block: Block; readonly released: readonly number[]; readonly byHandle: ReadonlyMap<string, number> } {
  const allocations = [...block.allocations];
  const sequences = new Map(block.sequences);
  const byHandle = new Map<string, number>();
  const released: number[] = [];
  for (const ordinal of ordinals) {
    const index = allocations[ordinal];
    if (index === null || index === undefined) continue;
    const handle = handleOf(block.attributes[index] ?? {});
    if (handle) byHandle.set(handle, (byHandle.get(handle) ?? 0) + 1);
    allocations[ordinal] = null;
    sequences.delete(ordinal);
    released.push(ordinal);
  }
  const unallocated = [...block.unallocated, ...released];
  return { block: { ...block, ...compactAttributes(block, allocations), unallocated, sequences }, released, byHandle };
}

/** The longest that a released address may be kept back before it is given again, in milliseconds (Calico's bound). */
const MAX_COOLDOWN = 1_200_000;

/** Frees addresses that a newer Calico released long ago and kept back (`releasedAt`); `now` is in ms since 1970. */
export function releaseCooled(block: Block, now: number): Block {
  const isCooled = block.attributes.map(({ releasedAt }) =>
    typeof releasedAt === "string" && now - Date.parse(releasedAt) > MAX_COOLDOWN
  );
  if (!isCooled.includes(true)) return block;
  const ordinals = block.allocations.flatMap((index, ordinal) => index !== null && isCooled[index] ? [ordinal] : []);
  return releaseOrdinals(block, ordinals).block;
}

/** The ordinals that the handle holds, in order. */
export function ordinalsHeld(block: Block, handle: string): number[] {
  const held: number[] = [];
  block.allocations.forEach((index, ordinal) => {
    if (index !== null && handleOf(block.attributes[index] ?? {}) === handle) held.push(ordinal);
  });
  return held;
}

function compactAttributes(block: Block, allocations: (number | null)[]): Pick<Block, "attributes" | "allocations"> {
  const used = new Set(allocations);
  const attributes = block.attributes.filter((_, index) => used.has(index));
  if (attributes.length === block.attributes.length) return { attributes, allocations };
  const renumbered = new Map<number, number>();
  block.attributes.forEach((_, index) => used.has(index) && renumbered.set(index, renumbered.size));
  return { attributes, allocations: allocations.map((index) => index === null ? null : renumbered.get(index) ?? null) };
}
