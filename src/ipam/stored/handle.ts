/**
 * Handles: which blocks hold addresses for one owner, so that the owner can be released without searching.
 *
 * A handle is raised before the block is written and lowered afterwards, so at every moment, crashes included, its count
 * for a block is at least what the block holds for it: nothing that is held can be forgotten. A count may only be lowered
 * to what a block holds if a write of that block lies between reading the handle and lowering it: such a write makes
 * every assignment fail that has raised the handle but not yet written the block (`settleHandle`).
 */

import type { Entry, Store } from "../../store/store.ts";
import { handleKey } from "../../model/keys/build.ts";
import { type Block, countHeld } from "./block.ts";
import { readBlock, updateBlock } from "./block_store.ts";
import { IpamError } from "../error.ts";
import { formatJson, isJsonObject, type JsonObject, parseJsonObject } from "./json64.ts";
import { AGAIN, orAgain, retry } from "./retry.ts";

/** A handle as stored, with how many addresses each block (by its CIDR's text) holds for it. */
export interface Handle {
  readonly id: string;
  readonly counts: ReadonlyMap<string, number>;
  readonly entry: Entry;
  readonly stored: JsonObject;
}

/** Reads the stored value of a handle; throws `IpamError` (`corrupt`). */
export function parseHandle(entry: Entry, id: string): Handle {
  try {
    const stored = parseJsonObject(entry.value);
    const counts = new Map<string, number>();
    for (const [cidr, count] of Object.entries(isJsonObject(stored.block) ? stored.block : {})) {
      if (Number.isInteger(count)) counts.set(cidr, count as number);
    }
    return { id, counts, entry, stored };
  } catch (error) {
    const reason = (error as Error).message;
    throw new IpamError("corrupt", `Cannot read the handle at ${entry.key}: ${reason}; delete the key`, {
      cause: error,
    });
  }
}

/** The handle of that id; undefined when nothing is held under it. */
export async function readHandle(store: Store, id: string): Promise<Handle | undefined> {
  const entry = await store.get(handleKey(id));
  return entry && parseHandle(entry, id);
}

function formatHandle(counts: ReadonlyMap<string, number>, stored: JsonObject = {}): string {
  return formatJson({ ...stored, block: Object.fromEntries(counts), deleted: stored.deleted ?? false });
}

/** What `raiseHandle` did, so that exactly that can be taken back. */
export interface Raised {
  readonly id: string;
  readonly cidr: string;
  readonly before: Handle | undefined;
  readonly entry: Entry;
}

/** Adds to the count of a block. The block must have been read before. */
export function raiseHandle(store: Store, id: string, cidr: string, count: number): Promise<Raised> {
  return retry(`raise the handle ${id}`, async () => {
    const before = await readHandle(store, id);
    const counts = new Map(before?.counts).set(cidr, (before?.counts.get(cidr) ?? 0) + count);
    const value = formatHandle(counts, before?.stored);
    const write = before
      ? store.update(before.entry.key, value, before.entry.revision)
      : store.create(handleKey(id), value);
    const entry = await orAgain(write, "exists", "missing", "conflict");
    return entry === AGAIN ? AGAIN : { id, cidr, before, entry };
  });
}

/** Takes a raise back after the block's write was refused. */
export async function takeBackRaise(store: Store, raised: Raised): Promise<void> {
  const { key, revision } = raised.entry;
  const undo = raised.before ? store.update(key, raised.before.entry.value, revision) : store.delete(key, revision);
  if (await orAgain<unknown>(undo, "missing", "conflict") === AGAIN) {
    await settleHandle(store, raised.id, raised.cidr);
  }
}

/**
 * Sets the count of a block in a handle that was read before the block was last written (or found missing); a count of
 * zero removes the entry, and an empty handle is deleted. Returns false when the handle has changed since it was read.
 */
export async function setCount(store: Store, handle: Handle, cidr: string, count: number): Promise<boolean> {
  if ((handle.counts.get(cidr) ?? 0) === count) return true;
  const counts = new Map(handle.counts);
  if (count > 0) counts.set(cidr, count);
  else counts.delete(cidr);
  const { key, revision } = handle.entry;
  const write = counts.size > 0
    ? store.update(key, formatHandle(counts, handle.stored), revision)
    : store.delete(key, revision);
  return await orAgain<unknown>(write, "missing", "conflict") !== AGAIN;
}

/** Makes a handle's count for a block what the block holds, fencing off assignments under way; whether it was wrong. */
export async function settleHandle(store: Store, id: string, cidr: string): Promise<boolean> {
  let wasWrong = false;
  await retry(`settle the handle ${id}`, async () => {
    const handle = await readHandle(store, id);
    const found = await readBlock(store, cidr);
    const held = found ? countHeld(found.block, id) : 0;
    const counted = handle?.counts.get(cidr) ?? 0;
    if (held === counted) return true;
    wasWrong = true;
    if (held > counted) {
      // A release may lower the count while this raises it, so look again afterwards.
      await raiseHandle(store, id, cidr, held - counted);
      return AGAIN;
    }
    if (!handle) return true;
    if (found && !await updateBlock(store, found, found.block)) return AGAIN;
    return await setCount(store, handle, cidr, held) || AGAIN;
  });
  return wasWrong;
}

/** Reads the handles that hold addresses in the block at these ordinals, before the block is written. */
export async function readHandles(store: Store, ids: Iterable<string>): Promise<Handle[]> {
  const handles: Handle[] = [];
  for (const id of [...ids].sort()) {
    const handle = await readHandle(store, id);
    if (handle) handles.push(handle);
  }
  return handles;
}

/** Lowers handles, read before the block was written, to what the block holds now. */
export async function lowerHandles(store: Store, handles: readonly Handle[], block: Block): Promise<void> {
  const cidr = block.cidr.toString();
  for (const handle of handles) {
    if (!await setCount(store, handle, cidr, countHeld(block, handle.id))) await settleHandle(store, handle.id, cidr);
  }
}
