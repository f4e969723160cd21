/**
 * Mending what a crash between two writes left behind. No such leftover can lead to an address being given twice; what
 * each costs until it is mended, and who finds it:
 *
 *   crash after                   leaves                                       mended by
 *   affinity pending              a claim without a block                      next assignment, heal
 *   block created                 our block with an unconfirmed claim          next assignment, heal
 *   handle raised                 a handle that counts too much                release by handle, heal
 *   block written (assignment)    addresses that nobody was told of            release by handle (`checkIpam` lists them)
 *   block written (release)       a handle that counts too much                release by handle, heal
 *   affinity pendingDeletion      our block with a claim on its way out        next assignment, heal
 *   block let go or deleted       a claim without a block of ours              next assignment, heal
 *
 * A node mends its own claims, and handles in blocks that are its own, nobody's or gone; so each leftover has one node
 * that mends it, and a borrower's is mended by the owner of the block.
 */

import { HANDLES_PREFIX } from "../model/keys/build.ts";
import { type Affinity, deleteAffinity, listAffinities } from "./stored/affinity.ts";
import { type Block, countHeld, handleOf, isEmptyBlock } from "./stored/block.ts";
import { deleteBlock, readBlock } from "./stored/block_store.ts";
import { claimBlock, hostAffinity, type IpamContext } from "./claim.ts";
import { IpamError } from "./error.ts";
import { type Handle, parseHandle, settleHandle } from "./stored/handle.ts";
import { listBlocks, readListed } from "./search.ts";

/** What was mended, by CIDR or handle id. */
export interface HealReport {
  readonly claimsConfirmed: readonly string[];
  readonly claimsDeleted: readonly string[];
  readonly blocksDeleted: readonly string[];
  readonly handlesSettled: readonly string[];
}

/** Mends what the node left behind; safe at any time, also while others assign and release. */
export async function healNode(context: IpamContext, host: string): Promise<HealReport> {
  const claims = await healClaims(context, host);
  const blocks = await healBlocks(context, host);
  return {
    claimsConfirmed: [...claims.confirmed, ...blocks.confirmed],
    claimsDeleted: claims.deleted,
    blocksDeleted: blocks.deleted,
    handlesSettled: await healHandles(context, host),
  };
}

async function healClaims(context: IpamContext, host: string) {
  const confirmed: string[] = [];
  const deleted: string[] = [];
  for (const affinity of await listAffinities(context.store, host)) {
    const outcome = await healClaim(context, affinity);
    if (outcome === "confirmed") confirmed.push(affinity.cidr.toString());
    if (outcome === "deleted") deleted.push(affinity.cidr.toString());
  }
  return { confirmed, deleted };
}

async function healClaim(context: IpamContext, affinity: Affinity): Promise<"confirmed" | "deleted" | "right"> {
  const read = await readBlock(context.store, affinity.cidr);
  if (read?.block.affinity !== hostAffinity(affinity.host)) {
    return await deleteAffinity(context.store, affinity) ? "deleted" : "right";
  }
  if (affinity.state === "confirmed") return "right";
  return await claimBlock(context, affinity.host, affinity.cidr) ? "confirmed" : "right";
}

/** Blocks that no claim leads to: ours without a claim, and empty ones that are nobody's. */
async function healBlocks(context: IpamContext, host: string) {
  const claimed = new Set((await listAffinities(context.store, host)).map(({ cidr }) => cidr.toString()));
  const confirmed: string[] = [];
  const deleted: string[] = [];
  for (const listed of await listBlocks(context.store)) {
    const read = readListed(listed);
    if (!read) continue;
    const cidr = listed.cidr.toString();
    if (read.block.affinity === null && isEmptyBlock(read.block)) {
      if (await deleteBlock(context.store, read)) deleted.push(cidr);
    } else if (read.block.affinity === hostAffinity(host) && !claimed.has(cidr)) {
      if (await claimBlock(context, host, listed.cidr)) confirmed.push(cidr);
    }
  }
  return { confirmed, deleted };
}

async function healHandles({ store }: IpamContext, host: string): Promise<string[]> {
  const handles = new Map<string, Handle>();
  for (const entry of (await store.list(HANDLES_PREFIX)).entries) {
    const handle = tryParseHandle(entry.key.slice(HANDLES_PREFIX.length), entry);
    if (handle) handles.set(handle.id, handle);
  }
  const blocks = new Map<string, Block | undefined>();
  for (const listed of await listBlocks(store)) blocks.set(listed.cidr.toString(), readListed(listed)?.block);
  const suspects: { id: string; cidr: string }[] = [];
  for (const handle of handles.values()) {
    for (const [cidr, count] of handle.counts) {
      if (blocks.has(cidr) && !isMendedBy(blocks.get(cidr), host)) continue;
      const block = blocks.get(cidr);
      if ((block ? countHeld(block, handle.id) : 0) !== count) suspects.push({ id: handle.id, cidr });
    }
  }
  for (const [cidr, block] of blocks) {
    if (!block || !isMendedBy(block, host)) continue;
    const ids = new Set(block.attributes.map(handleOf).filter((id) => id !== undefined));
    for (const id of ids) {
      if (!handles.get(id)?.counts.has(cidr) && countHeld(block, id) > 0) suspects.push({ id, cidr });
    }
  }
  const settled = new Set<string>();
  for (const { id, cidr } of suspects) if (await settleHandle(store, id, cidr)) settled.add(id);
  return [...settled];
}

function isMendedBy(block: Block | undefined, host: string): boolean {
  return block !== undefined && (block.affinity === null || block.affinity === hostAffinity(host));
}

function tryParseHandle(id: string, entry: Parameters<typeof parseHandle>[0]): Handle | undefined {
  try {
    return parseHandle(entry, id);
  } catch (error) {
    if (error instanceof IpamError) return undefined;
    throw error;
  }
}
