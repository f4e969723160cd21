/**
 * Claiming a block for a host and letting it go: the only places where a block's `affinity` changes.
 *
 *   claim     affinity pending -> block created with affinity host:<node> -> affinity confirmed
 *   let go    affinity pendingDeletion -> block deleted (empty) or its affinity nulled (in use) -> affinity deleted
 *
 * A crash between two writes leaves an affinity that is not confirmed. Whoever claims next finishes or undoes it: no
 * block, so it is created; our block, so it is written once (which makes a let-go under way fail) and the affinity is
 * confirmed; somebody else's block, so our affinity is deleted and another block is looked for.
 */

import type { Cidr } from "../lib/cidr.ts";
import type { Store } from "../store/store.ts";
import {
  type Affinity,
  createAffinity,
  deleteAffinity,
  listAffinities,
  readAffinity,
  writeAffinity,
} from "./stored/affinity.ts";
import { isEmptyBlock, makeBlock, withoutAffinity } from "./stored/block.ts";
import { createBlock, readBlock, type StoredBlock, updateBlock, updateOrDeleteBlock } from "./stored/block_store.ts";
import { IpamError } from "./error.ts";
import { AGAIN, retry } from "./stored/retry.ts";

/** The store, the time and the dice of address management. */
export interface IpamContext {
  readonly store: Store;
  /** Milliseconds since 1970. */
  now(): number;
  /** From 0 up to, not including, 1. */
  random(): number;
}

/** The affinity of a block that belongs to a host. */
export function hostAffinity(host: string): string {
  return `host:${host}`;
}

/**
 * Claims the block for the host and returns it, or undefined when it belongs to somebody else. A block that was found by
 * searching has its claim written twice before it is created, as Calico does it.
 */
export function claimBlock(
  context: IpamContext,
  host: string,
  cidr: Cidr,
  options: { readonly isFound?: boolean } = {},
): Promise<StoredBlock | undefined> {
  const { store } = context;
  let isFirst = true;
  return retry(`claim the block ${cidr} for ${host}`, async () => {
    const before = await readAffinity(store, host, cidr);
    let affinity = before ?? await createAffinity(store, host, cidr);
    // A pending claim is written again only at first, or two processes of one host could undo each other's for ever.
    const mustMark = before?.state === "pendingDeletion" || before?.state === "pending" && isFirst;
    if (before && mustMark) affinity = await writeAffinity(store, before, "pending");
    isFirst = false;
    if (!affinity) return AGAIN;
    const read = await readBlock(store, cidr);
    if (!read) {
      if (affinity.state === "confirmed" || options.isFound && !before) {
        affinity = await writeAffinity(store, affinity, "pending");
      }
      if (!affinity) return AGAIN;
      const created = await createBlock(store, newBlock(context, host, cidr));
      return created && await confirm(store, affinity) ? created : AGAIN;
    }
    if (read.block.affinity !== hostAffinity(host)) {
      await deleteAffinity(store, affinity);
      return undefined;
    }
    if (affinity.state === "confirmed") return read;
    const written = await updateBlock(store, read, read.block);
    return written && await confirm(store, affinity) ? written : AGAIN;
  });
}

function newBlock(context: IpamContext, host: string, cidr: Cidr) {
  const now = Math.floor(context.now());
  return makeBlock(cidr, {
    affinity: hostAffinity(host),
    claimedAt: new Date(now).toISOString().replace(/\.[0-9]+Z$/, "Z"),
    // The dice stand in for the nanoseconds: a block that is deleted and made anew must not count from the same number.
    sequence: BigInt(now) * 1_000_000n + BigInt(Math.floor(context.random() * 1_000_000)),
  });
}

async function confirm(store: Store, affinity: Affinity): Promise<boolean> {
  if (await writeAffinity(store, affinity, "confirmed")) return true;
  return (await readAffinity(store, affinity.host, affinity.cidr))?.state === "confirmed";
}

/** What a let-go may insist on. */
export interface LetGoOptions {
  /** Leaves a block alone that holds addresses. */
  readonly mustBeEmpty?: boolean;
  /** Leaves a block alone whose sequence number is another one. */
  readonly sequence?: bigint;
}

/** `released`: the block was the host's and no longer is; `gone`: it was not; `kept`: a condition did not hold. */
export type LetGoResult = "released" | "gone" | "kept";

/** Ends the host's claim to the block: an empty block is deleted, one in use stays without affinity. */
export function letGoBlock(store: Store, host: string, cidr: Cidr, options: LetGoOptions = {}): Promise<LetGoResult> {
  let isMarkedByUs = false;
  return retry<LetGoResult>(`release the affinity of ${host} to ${cidr}`, async () => {
    let affinity = await readAffinity(store, host, cidr);
    const read = await readBlock(store, cidr);
    if (read?.block.affinity !== hostAffinity(host)) {
      return !affinity || await deleteAffinity(store, affinity) ? "gone" : AGAIN;
    }
    if (
      options.mustBeEmpty && !isEmptyBlock(read.block) ||
      options.sequence !== undefined && options.sequence !== read.block.sequence
    ) {
      if (affinity?.state === "pendingDeletion" && isMarkedByUs) await writeAffinity(store, affinity, "confirmed");
      return "kept";
    }
    if (affinity && affinity.state !== "pendingDeletion") {
      affinity = await writeAffinity(store, affinity, "pendingDeletion");
      if (!affinity) return AGAIN;
      isMarkedByUs = true;
    }
    if (!await updateOrDeleteBlock(store, read, withoutAffinity(read.block))) return AGAIN;
    // A claim that came in between has changed the affinity, which is then no longer ours to delete.
    if (affinity) await deleteAffinity(store, affinity);
    return "released";
  });
}

/** Ends all claims of a host; throws `IpamError` (`not-empty`) for blocks in use that had to be empty. */
export async function releaseHostAffinities(
  store: Store,
  host: string,
  options: { readonly mustBeEmpty?: boolean } = {},
): Promise<void> {
  const kept: Cidr[] = [];
  for (const { cidr } of await listAffinities(store, host)) {
    if (await letGoBlock(store, host, cidr, options) === "kept") kept.push(cidr);
  }
  if (kept.length > 0) {
    throw new IpamError(
      "not-empty",
      `Cannot release the blocks ${kept.join(", ")} of ${host}: addresses are in use; release them first`,
    );
  }
}
