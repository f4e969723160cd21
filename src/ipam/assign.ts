/**
 * Giving addresses.
 *
 *   own blocks -> a new block -> (unless affinity is strict) other hosts' blocks
 *
 * One address is given by: read the block, raise the handle, write the block by compare-and-set. The block's write is the
 * moment at which the address is given; everything before it can be lost without harm. The host's own blocks are
 * remembered in the order of their keys, so the next address usually costs two reads and two writes, however many blocks
 * the store holds. A remembered block proves nothing: it is used only if the block itself says that it is ours.
 */

import { Cidr, type IpNet } from "../lib/cidr.ts";
import type { Family, Ip } from "../lib/ip.ts";
import { blockKey } from "../model/keys/build.ts";
import type { AllowedUse } from "../model/resources/ip_pool.ts";
import { type AffinityState, listAffinities } from "./stored/affinity.ts";
import {
  assignNext,
  assignOrdinal,
  type Block,
  checkOwner,
  isEmptyBlock,
  ordinalOf,
  type Owner,
  ownerOf,
  releaseCooled,
} from "./stored/block.ts";
import { readBlock, type StoredBlock, updateBlock } from "./stored/block_store.ts";
import { claimBlock, hostAffinity, type IpamContext, letGoBlock } from "./claim.ts";
import { DEFAULT_MAX_BLOCKS, type IpamConfig, readIpamConfig } from "./stored/config.ts";
import { IpamError } from "./error.ts";
import { raiseHandle, takeBackRaise } from "./stored/handle.ts";
import { blockCount, startIndex } from "./order.ts";
import { choosePools, type Pool, poolHolding, type PoolNode, poolText, selectsNode } from "./pools.ts";
import { AGAIN, retry } from "./stored/retry.ts";
import {
  type BlockSearch,
  blocksToBorrow,
  claimNewBlock,
  fillReport,
  findBlockHolding,
  overlapsOtherBlock,
} from "./search.ts";
import { type IpamSources, reservedIn } from "./sources.ts";

/** Addresses wanted by themselves. */
export interface AssignRequest extends Owner {
  /** How many of each family. */
  readonly v4?: number;
  readonly v6?: number;
  readonly use?: AllowedUse;
  /** Names or CIDRs of the pools to use, whatever they select; a family of which none is named is not restricted. */
  readonly pools?: readonly string[];
  readonly namespaceLabels?: Readonly<Record<string, string>>;
  /** The most blocks of a family for this host; the configured limit still holds. */
  readonly maxBlocks?: number;
}

/** Addresses with their block's prefix length, and for each family that fell short the reason. */
export interface AssignResult {
  readonly v4: readonly IpNet[];
  readonly v6: readonly IpNet[];
  readonly shortfalls: readonly IpamError[];
}

/** What the assigning functions of one host share. */
export interface AssignContext extends IpamContext {
  readonly node: PoolNode;
  readonly sources: IpamSources;
  readonly affine: AffineMemory;
  /** Where the host's walk through a pool's blocks begins; any place is right. */
  startIn(pool: Pool): bigint;
}

/** The host's blocks of each family as last listed; `first` is the first that may have addresses. */
export type AffineMemory = Map<Family, { readonly blocks: readonly Cidr[]; first: number }>;

/** Where the host's walk begins: by its name, or anywhere for blocks of a single address. */
export function defaultStart(host: string, pool: Pool, random: () => number): bigint {
  const count = blockCount(pool);
  if (pool.blockLength < pool.cidr.ip.bits) return startIndex(host, count);
  return BigInt(Math.floor(random() * 2 ** 32)) * count >> 32n;
}

/** Gives addresses of one family, as many as there are; a refusal on the way is the shortfall, store errors are thrown. */
export async function assignFamily(
  context: AssignContext,
  family: Family,
  count: number,
  request: AssignRequest,
): Promise<{ readonly ips: readonly IpNet[]; readonly shortfall?: IpamError }> {
  const taking = new Taking(context, request, count, await context.sources.reservations());
  try {
    await take(context, family, taking, request);
    return { ips: taking.ips };
  } catch (error) {
    if (!(error instanceof IpamError)) throw error;
    return { ips: taking.ips, shortfall: error };
  }
}

/** Takes from one kind of block after the other; throws `IpamError` when the request cannot be met. */
async function take(context: AssignContext, family: Family, taking: Taking, request: AssignRequest): Promise<void> {
  const { node, sources } = context;
  const allPools = await sources.pools();
  const { pools, reasons } = choosePools(allPools, {
    family,
    node,
    use: request.use ?? "Workload",
    requested: request.pools?.length ? requestedOf(allPools, request.pools, family) : undefined,
    namespaceLabels: request.namespaceLabels,
  });
  if (pools.length === 0) throw noPool(family, node.name, request, reasons);
  const search: BlockSearch = {
    host: node.name,
    pools,
    reservations: taking.reservations,
    startIn: (pool) => context.startIn(pool),
  };
  await takeFromRemembered(context, family, taking, pools);
  if (taking.isDone) return;
  const owned = await takeFromListed(context, family, taking, pools, allPools);
  if (taking.isDone) return;
  const config = await readIpamConfig(context.store);
  if (config.autoAllocateBlocks) await takeFromNew(context, taking, search, owned, blockLimit(config, request));
  if (!taking.isDone && !config.strictAffinity) await takeFromOthers(context, taking, search);
  if (!taking.isDone) throw await exhausted(context, taking, search, config);
}

/** Of the requested pools those of the family; pools that do not exist stay, to be refused by name. */
function requestedOf(pools: readonly Pool[], requested: readonly string[], family: Family): string[] {
  return requested.filter((wanted) => {
    const pool = pools.find((pool) => pool.name === wanted || pool.cidr.toString() === wanted);
    return !pool || pool.cidr.family === family;
  });
}

function noPool(family: Family, host: string, request: AssignRequest, reasons: readonly string[]): IpamError {
  const why = reasons.length > 0 ? reasons.join("; ") : `there is no IPv${family} pool`;
  const wish = `an IPv${family} address for ${request.use ?? "Workload"} use on node ${host}`;
  return new IpamError("no-pool", `Cannot assign ${wish}: ${why}; add a pool, or change one so that it may be used`);
}

/** What has been taken so far for one request. */
class Taking {
  readonly ips: IpNet[] = [];
  constructor(
    readonly context: AssignContext,
    readonly owner: Owner,
    readonly count: number,
    readonly reservations: readonly Cidr[],
  ) {}

  get isDone(): boolean {
    return this.ips.length >= this.count;
  }

  /** Takes from a block as it was read; `AGAIN` when somebody else was faster. */
  async from(read: StoredBlock): Promise<typeof AGAIN | undefined> {
    const { cidr } = read.block;
    const wanted = this.count - this.ips.length;
    const cooled = releaseCooled(read.block, this.context.now());
    const { block, ips } = assignNext(cooled, wanted, this.owner, reservedIn(cidr, this.reservations));
    if (ips.length === 0) return undefined;
    if (!await writeAssigned(this.context, read, block, this.owner, ips.length)) return AGAIN;
    for (const ip of ips) this.ips.push({ ip, length: cidr.length });
    return undefined;
  }

  /** Takes from a block that must still be as `mayUse` says; whether it was. */
  fromBlock(cidr: Cidr, mayUse: (block: Block) => boolean): Promise<boolean> {
    return retry(`take an address of ${cidr}`, async () => {
      const read = await readBlock(this.context.store, cidr);
      if (!read || !mayUse(read.block)) return false;
      return await this.from(read) ?? true;
    });
  }
}

/** Raises the handle, then writes the block; false, with the handle as before, when the block has changed. */
async function writeAssigned(
  { store }: IpamContext,
  read: StoredBlock,
  block: Block,
  owner: Owner,
  count: number,
): Promise<boolean> {
  const raised = owner.handle ? await raiseHandle(store, owner.handle, block.cidr.toString(), count) : undefined;
  if (await updateBlock(store, read, block)) return true;
  if (raised) await takeBackRaise(store, raised);
  return false;
}

async function takeFromRemembered(
  context: AssignContext,
  family: Family,
  taking: Taking,
  pools: readonly Pool[],
): Promise<void> {
  const memory = context.affine.get(family);
  if (!memory) return;
  const isOurs = (block: Block) => block.affinity === hostAffinity(context.node.name);
  for (let i = memory.first; i < memory.blocks.length && !taking.isDone; i++) {
    const cidr = memory.blocks[i];
    if (!cidr || !isIn(pools, cidr)) continue;
    if (!await taking.fromBlock(cidr, isOurs)) {
      context.affine.delete(family);
      return;
    }
    if (!taking.isDone && i === memory.first) memory.first++;
  }
}

function isIn(pools: readonly Pool[], cidr: Cidr): boolean {
  return pools.some((pool) => pool.cidr.contains(cidr));
}

/** Takes from the blocks that the host has claimed; returns how many there are. */
async function takeFromListed(
  context: AssignContext,
  family: Family,
  taking: Taking,
  pools: readonly Pool[],
  allPools: readonly Pool[],
): Promise<number> {
  const { store, node } = context;
  const affinities = await listAffinities(store, node.name, family);
  const blocks: Cidr[] = [];
  let lost = 0;
  for (const { cidr, state } of affinities) {
    if (!isIn(pools, cidr)) {
      if (await isUnselected(context, cidr, allPools)) lost++;
      else blocks.push(cidr);
      continue;
    }
    if (state !== "confirmed" || !taking.isDone) {
      const read = await ownBlock(context, cidr, state);
      if (!read) {
        lost++;
        continue;
      }
      if (!taking.isDone && await taking.from(read) === AGAIN) {
        await taking.fromBlock(cidr, (block) => block.affinity === hostAffinity(node.name));
      }
    }
    blocks.push(cidr);
  }
  context.affine.set(family, { blocks, first: 0 });
  return affinities.length - lost;
}

/** The block of an affinity if it is ours, finishing a claim that was left half done. */
async function ownBlock(context: AssignContext, cidr: Cidr, state: AffinityState): Promise<StoredBlock | undefined> {
  const { store, node } = context;
  const read = state === "confirmed" ? await readBlock(store, cidr) : undefined;
  return read?.block.affinity === hostAffinity(node.name) ? read : await claimBlock(context, node.name, cidr);
}

/** Lets go of an empty block whose pool no longer selects the node; whether it was let go. */
async function isUnselected(context: AssignContext, cidr: Cidr, allPools: readonly Pool[]): Promise<boolean> {
  const { store, node } = context;
  const pool = allPools.find((pool) => pool.cidr.contains(cidr));
  if (!pool || selectsNode(pool, node)) return false;
  const read = await readBlock(store, cidr);
  if (read && !isEmptyBlock(read.block)) return false;
  return await letGoBlock(store, node.name, cidr, { mustBeEmpty: true }) !== "kept";
}

/** Puts a newly claimed block where a listing would have it. */
function remember(context: AssignContext, cidr: Cidr): void {
  const memory = context.affine.get(cidr.family);
  if (!memory) return;
  const others = memory.blocks.filter((block) => !block.equals(cidr));
  const before = others.filter((block) => blockKey(block) < blockKey(cidr));
  const blocks = [...before, cidr, ...others.slice(before.length)];
  context.affine.set(cidr.family, { blocks, first: Math.min(memory.first, before.length) });
}

/** Takes from newly claimed blocks until the request is met or no block is left; throws `IpamError` at the limit. */
async function takeFromNew(
  context: AssignContext,
  taking: Taking,
  search: BlockSearch,
  ownedBefore: number,
  limit: number,
): Promise<void> {
  const { host } = search;
  for (let owned = ownedBefore; !taking.isDone; owned++) {
    if (owned >= limit) {
      throw new IpamError(
        "limit",
        `Cannot claim another block for ${host}: it has ${owned} and the limit is ${limit}; ` +
          "release addresses, raise maxBlocksPerHost or use a pool with larger blocks",
      );
    }
    const claimed = await claimNewBlock(context, search);
    if (!claimed) return;
    remember(context, claimed.block.cidr);
    if (await taking.from(claimed) === AGAIN) {
      await taking.fromBlock(claimed.block.cidr, (block) => block.affinity === hostAffinity(host));
    }
  }
}

/** The most blocks of a family: the smaller of what the settings and the request say, else the default. */
function blockLimit(config: IpamConfig, request: AssignRequest): number {
  const limits = [config.maxBlocksPerHost, request.maxBlocks ?? 0].filter((limit) => limit > 0);
  return limits.length > 0 ? Math.min(...limits) : DEFAULT_MAX_BLOCKS;
}

async function takeFromOthers(context: AssignContext, taking: Taking, search: BlockSearch): Promise<void> {
  for (const cidr of await blocksToBorrow(context.store, search)) {
    if (taking.isDone) return;
    await taking.fromBlock(cidr, () => true);
  }
}

async function exhausted(
  context: AssignContext,
  taking: Taking,
  search: BlockSearch,
  config: IpamConfig,
): Promise<IpamError> {
  const report = await fillReport(context.store, search);
  const what = `Cannot assign ${taking.count} addresses on ${search.host}, only ${taking.ips.length}`;
  if (!config.strictAffinity) {
    return new IpamError("full", `${what}: ${report}; release addresses or add a pool`);
  }
  const why = config.autoAllocateBlocks ? "no block is left to claim" : "automatic blocks are off";
  return new IpamError(
    "strict",
    `${what}: its own blocks are full, ${why} and strict affinity forbids borrowing; ${report}; ` +
      "release addresses, add a pool or turn strict affinity off",
  );
}

/** Gives one address that was asked for; throws `IpamError` (`taken`, `not-in-pool`, `strict`, …). */
export async function assignAddress(context: AssignContext, ip: Ip, owner: Owner): Promise<IpNet> {
  const { store, node, sources } = context;
  checkOwner(owner);
  const pools = await sources.pools();
  const pool = poolHolding(pools, ip);
  if (!pool) throw notInPool(ip, pools);
  const config = await readIpamConfig(store);
  const cidr = Cidr.of(ip, pool.blockLength);
  return retry(`assign ${ip}`, async () => {
    const read = await readBlock(store, cidr) ?? await blockForAddress(context, ip, cidr);
    if (!read) return AGAIN;
    if (config.strictAffinity && read.block.affinity !== hostAffinity(node.name)) {
      throw new IpamError(
        "strict",
        `Cannot assign ${ip} on ${node.name}: its block ${read.block.cidr} belongs to ${
          read.block.affinity ?? "nobody"
        } ` +
          "and strict affinity forbids borrowing; use an address of an own block or turn strict affinity off",
      );
    }
    const ordinal = ordinalOf(read.block, ip) ?? 0;
    const block = assignOrdinal(read.block, ordinal, owner);
    if (!block) throw taken(ip, ownerOf(read.block, ordinal));
    if (!await writeAssigned(context, read, block, owner, 1)) return AGAIN;
    return { ip, length: read.block.cidr.length };
  });
}

/** Claims the block of an address that is in none yet; an existing block of another size is used as it is. */
async function blockForAddress(context: AssignContext, ip: Ip, cidr: Cidr): Promise<StoredBlock | undefined> {
  const { store, node } = context;
  const holding = await findBlockHolding(store, ip);
  if (holding) return await readBlock(store, holding);
  const other = await overlapsOtherBlock(store, cidr);
  if (other) {
    throw new IpamError(
      "not-in-pool",
      `Cannot assign ${ip}: the block ${cidr} would overlap ${other}, which is of another size; ` +
        "release the addresses of the older block first",
    );
  }
  const claimed = await claimBlock(context, node.name, cidr);
  if (claimed) remember(context, claimed.block.cidr);
  return claimed;
}

function notInPool(ip: Ip, pools: readonly Pool[]): IpamError {
  const closed = poolHolding(pools, ip, true);
  const why = closed ? `its pool ${poolText(closed)} cannot be used: ${closed.closed}` : "no pool holds it";
  const open = pools.filter((pool) => !pool.closed && pool.cidr.family === ip.family).map(poolText);
  return new IpamError(
    "not-in-pool",
    `Cannot assign ${ip}: ${why}; the open IPv${ip.family} pools are ${open.join(", ") || "none"}`,
  );
}

function taken(ip: Ip, owner: Owner | undefined): IpamError {
  const attributes = Object.entries(owner?.attributes ?? {}).map(([name, value]) => `${name} ${value}`);
  const who = [owner?.handle ? `handle ${owner.handle}` : "no handle", ...attributes].join(", ");
  return new IpamError("taken", `Cannot assign ${ip}: it is in use (${who}); release it first or ask for another`);
}
