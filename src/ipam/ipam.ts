/**
 * Address management of one node: the functions that the agent and the command line call.
 *
 * Calls that write take turns, so that a node never races with itself; against other nodes every write is a
 * compare-and-set. Nothing is kept but the list of the node's own blocks, and that is checked before use.
 */

import type { Cidr, IpNet } from "../lib/cidr.ts";
import type { Ip } from "../lib/ip.ts";
import type { Store } from "../store/store.ts";
import { checkOwner, type Owner } from "./stored/block.ts";
import {
  assignAddress,
  type AssignContext,
  assignFamily,
  type AssignRequest,
  type AssignResult,
  defaultStart,
} from "./assign.ts";
import { claimBlock, letGoBlock, type LetGoOptions, type LetGoResult, releaseHostAffinities } from "./claim.ts";
import { healNode, type HealReport } from "./heal.ts";
import type { Pool, PoolNode } from "./pools.ts";
import {
  releaseAddresses,
  releaseByHandle,
  type ReleaseOption,
  releasePoolAffinities,
  type ReleaseResult,
} from "./release.ts";
import { type IpamSources, storeSources } from "./sources.ts";

/** What address management needs. */
export interface IpamOptions {
  readonly store: Store;
  /** Wall time in milliseconds since 1970. */
  readonly clock: { now(): number };
  /** From 0 up to, not including, 1. */
  readonly random: () => number;
  /** The node; its labels are read anew at each call. */
  readonly node: PoolNode;
  /** Pools and reservations; read from the store at every call unless given (`watchSources` keeps them). */
  readonly sources?: IpamSources;
  /** Where the walk through a pool's blocks begins; by the node's name unless given. */
  readonly startIn?: (pool: Pool) => bigint;
}

/** Address management of one node; every function throws `IpamError` for a refusal and `StoreError` for the store's. */
export interface Ipam {
  /** Gives as many addresses as there are, and says why when they are fewer than wanted. */
  autoAssign(request: AssignRequest): Promise<AssignResult>;
  /** Gives all that is wanted, or gives nothing and throws the reason. */
  assign(request: AssignRequest): Promise<readonly IpNet[]>;
  /** Gives this very address. */
  assignIp(ip: Ip, owner: Owner): Promise<IpNet>;
  releaseIps(options: readonly ReleaseOption[]): Promise<ReleaseResult>;
  /** Releases what the handle holds and returns the addresses. */
  releaseByHandle(handle: string): Promise<readonly Ip[]>;
  /** Claims a block for this node; false when it belongs to another. */
  claimAffinity(block: Cidr): Promise<boolean>;
  releaseAffinity(block: Cidr, options?: LetGoOptions): Promise<LetGoResult>;
  releaseHostAffinities(host: string, options?: { readonly mustBeEmpty?: boolean }): Promise<void>;
  releasePoolAffinities(pool: Cidr): Promise<void>;
  /** Mends what a crash of this node left behind; run it at start, and when an own affinity is seen unconfirmed. */
  heal(): Promise<HealReport>;
}

/** Address management for a node. */
export function makeIpam(options: IpamOptions): Ipam {
  const { store, node } = options;
  const context: AssignContext = {
    store,
    node,
    now: () => options.clock.now(),
    random: options.random,
    sources: options.sources ?? storeSources(store),
    affine: new Map(),
    startIn: options.startIn ?? ((pool) => defaultStart(node.name, pool, options.random)),
  };
  const inTurn = makeTurns();
  const release = async (given: readonly ReleaseOption[]) => {
    const result = await releaseAddresses(store, await context.sources.pools(), given);
    result.released.forEach((ip) => recall(context, ip));
    return result;
  };
  return {
    autoAssign: (request) => inTurn(() => assignBoth(context, request)),
    assign: (request) =>
      inTurn(async () => {
        const { v4, v6, shortfalls: [shortfall] } = await assignBoth(context, request);
        const ips = [...v4, ...v6];
        if (!shortfall) return ips;
        await release(ips.map(({ ip }) => request.handle ? { ip, handle: request.handle } : { ip }));
        throw shortfall;
      }),
    assignIp: (ip, owner) => inTurn(() => assignAddress(context, ip, owner)),
    releaseIps: (given) => inTurn(() => release(given)),
    releaseByHandle: (handle) =>
      inTurn(async () => {
        const ips = await releaseByHandle(store, handle, node.name);
        ips.forEach((ip) => recall(context, ip));
        return ips;
      }),
    claimAffinity: (block) => inTurn(async () => await claimBlock(context, node.name, block) !== undefined),
    releaseAffinity: (block, given) => inTurn(() => letGoBlock(store, node.name, block, given)),
    releaseHostAffinities: (host, given) => inTurn(() => releaseHostAffinities(store, host, given)),
    releasePoolAffinities: (pool) => inTurn(() => releasePoolAffinities(store, pool)),
    heal: () => inTurn(() => healNode(context, node.name)),
  };
}

async function assignBoth(context: AssignContext, request: AssignRequest): Promise<AssignResult> {
  checkOwner(request);
  const none = { ips: [], shortfall: undefined };
  const v4 = request.v4 ? await assignFamily(context, 4, request.v4, request) : none;
  const v6 = request.v6 ? await assignFamily(context, 6, request.v6, request) : none;
  const shortfalls = [v4.shortfall, v6.shortfall].filter((shortfall) => shortfall !== undefined);
  return { v4: v4.ips, v6: v6.ips, shortfalls };
}

/** Looks again, next time, into the block to which an address has returned. */
function recall(context: AssignContext, ip: Ip): void {
  const memory = context.affine.get(ip.family);
  const index = memory?.blocks.findIndex((cidr) => cidr.contains(ip)) ?? -1;
  if (memory && index >= 0) memory.first = Math.min(memory.first, index);
}

/** Runs calls one after another, each when the one before has ended in whatever way. */
function makeTurns(): <T>(call: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (call) => {
    const turn = last.then(call, call);
    last = turn.catch(() => {});
    return turn;
  };
}
