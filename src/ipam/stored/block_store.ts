/** Blocks in the store: read, create, write and delete by compare-and-set. */

import { blockKey } from "../../model/keys/build.ts";
import type { Cidr } from "../../lib/cidr.ts";
import type { Entry, Store } from "../../store/store.ts";
import { type Block, formatBlock, isEmptyBlock, nextVersion, parseBlock } from "./block.ts";
import { AGAIN, orAgain } from "./retry.ts";

/** A block with the entry that it was read from. */
export interface StoredBlock {
  readonly block: Block;
  readonly entry: Entry;
}

/** The block of that CIDR; undefined when it does not exist. */
export async function readBlock(store: Store, cidr: Cidr | string): Promise<StoredBlock | undefined> {
  const entry = await store.get(blockKey(cidr));
  return entry && { block: parseBlock(entry.value, entry.key), entry };
}

/** Creates the block; undefined when it exists. */
export async function createBlock(store: Store, block: Block): Promise<StoredBlock | undefined> {
  const entry = await orAgain(store.create(blockKey(block.cidr), formatBlock(block)), "exists");
  return entry === AGAIN ? undefined : { block, entry };
}

/** Writes `block` in place of what was read, one sequence number on; undefined when somebody else was faster. */
export async function updateBlock(store: Store, read: StoredBlock, block: Block): Promise<StoredBlock | undefined> {
  const next = nextVersion(block);
  const entry = await orAgain(
    store.update(read.entry.key, formatBlock(next), read.entry.revision),
    "conflict",
    "missing",
  );
  return entry === AGAIN ? undefined : { block: next, entry };
}

/** Writes `block` in place of what was read, or deletes it when it is of no use to anybody: empty and without affinity. */
export async function updateOrDeleteBlock(store: Store, read: StoredBlock, block: Block): Promise<boolean> {
  if (block.affinity !== null || !isEmptyBlock(block)) return await updateBlock(store, read, block) !== undefined;
  return await deleteBlock(store, read);
}

/** Deletes the block as it was read; false when somebody else was faster. */
export async function deleteBlock(store: Store, read: StoredBlock): Promise<boolean> {
  return await orAgain(store.delete(read.entry.key, read.entry.revision), "conflict", "missing") !== AGAIN;
}
