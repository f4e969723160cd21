/**
 * Which pools a node may take addresses from, and why the others not.
 *
 * Named pools are taken as named, whatever they select; otherwise a pool must give addresses by itself, select the node
 * (a nodeSelector sees the node's labels and always `name`) and the workload's namespace. Both ways it must be enabled,
 * of the right family and allow the use. Every pool that is passed over leaves a reason.
 */

import { Cidr } from "../lib/cidr.ts";
import type { Family, Ip } from "../lib/ip.ts";
import type { AllowedUse, IPPool } from "../model/resources/ip_pool.ts";
import { withIPPoolDefaults } from "../model/resources/ip_pool.ts";
import { parseSelector, type Selector } from "../model/selector/mod.ts";
import { IpamError } from "./error.ts";

/** A node as pools see it. */
export interface PoolNode {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** A pool, ready for assigning addresses. */
export interface Pool {
  readonly name: string;
  readonly cidr: Cidr;
  /** Prefix length of the pool's blocks. */
  readonly blockLength: number;
  /** Why nothing may be taken from the pool at all; undefined when it is open. */
  readonly closed: string | undefined;
  readonly isManual: boolean;
  /** Undefined when the text is not a selector: such a pool selects nothing. */
  readonly nodeSelector: Selector | undefined;
  readonly nodeSelectorText: string;
  readonly namespaceSelector: Selector | undefined;
  readonly namespaceSelectorText: string;
  readonly uses: readonly AllowedUse[];
}

/** Prepares a pool resource; throws `IpamError` (`corrupt`) when its CIDR or block size make no sense. */
export function poolOf(resource: Pick<IPPool, "metadata" | "spec"> & { readonly status?: unknown }): Pool {
  const { name } = resource.metadata;
  const spec = withIPPoolDefaults(resource.spec);
  const cidr = Cidr.tryParse(spec.cidr);
  if (!cidr || spec.blockSize < cidr.length || spec.blockSize > cidr.ip.bits) {
    throw new IpamError("corrupt", `Cannot use pool ${name}: cidr ${spec.cidr}, blockSize ${spec.blockSize}`);
  }
  return {
    name,
    cidr,
    blockLength: spec.blockSize,
    closed: closedReason(resource),
    isManual: spec.assignmentMode === "Manual",
    nodeSelector: tryParseSelector(spec.nodeSelector),
    nodeSelectorText: spec.nodeSelector,
    namespaceSelector: tryParseSelector(spec.namespaceSelector ?? ""),
    namespaceSelectorText: spec.namespaceSelector ?? "",
    uses: spec.allowedUses,
  };
}

interface Condition {
  readonly type?: string;
  readonly status?: string;
}

function closedReason(resource: Pick<IPPool, "metadata" | "spec"> & { readonly status?: unknown }): string | undefined {
  if (resource.spec.disabled) return "it is disabled";
  if ("deletionTimestamp" in resource.metadata && resource.metadata.deletionTimestamp) return "it is being deleted";
  const conditions = (resource.status as { conditions?: readonly Condition[] } | undefined)?.conditions;
  const isShut = Array.isArray(conditions) &&
    conditions.some((condition: Condition) => condition?.type === "Allocatable" && condition.status === "False");
  return isShut ? "its condition Allocatable is False" : undefined;
}

function tryParseSelector(text: string): Selector | undefined {
  try {
    return parseSelector(text);
  } catch {
    return undefined;
  }
}

/** Whether the pool's nodeSelector picks the node; the node's own label `name` is hidden by its name. */
export function selectsNode(pool: Pool, node: PoolNode): boolean {
  return pool.nodeSelector?.matches({ ...node.labels, name: node.name }) ?? false;
}

/** What addresses are wanted for. */
export interface PoolWish {
  readonly family: Family;
  readonly node: PoolNode;
  readonly use: AllowedUse;
  /** Names or CIDRs of the pools to use, whatever they select. */
  readonly requested?: readonly string[] | undefined;
  readonly namespaceLabels?: Readonly<Record<string, string>> | undefined;
}

/** The pools to use, in order, and one reason for each pool of the family that is passed over. */
export interface PoolChoice {
  readonly pools: readonly Pool[];
  readonly reasons: readonly string[];
}

/** Chooses pools; throws `IpamError` (`no-pool`) when a requested pool does not exist or is closed. */
export function choosePools(pools: readonly Pool[], wish: PoolWish): PoolChoice {
  const reasons: string[] = [];
  const candidates = wish.requested?.length
    ? requestedPools(pools, wish.requested).filter((pool) => pool.cidr.family === wish.family)
    : pools.filter((pool) => pool.cidr.family === wish.family);
  const chosen = candidates.filter((pool) => {
    const reason = refusal(pool, wish);
    if (reason) reasons.push(`pool ${pool.name} (${pool.cidr}): ${reason}`);
    return !reason;
  });
  return { pools: chosen, reasons };
}

function requestedPools(pools: readonly Pool[], requested: readonly string[]): Pool[] {
  return requested.map((wanted) => {
    const pool = pools.find((pool) => pool.name === wanted || pool.cidr.toString() === wanted);
    const reason = pool
      ? pool.closed
      : `it does not exist; the pools are ${pools.map((p) => p.name).join(", ") || "none"}`;
    if (!pool || reason) throw new IpamError("no-pool", `Cannot use the requested pool ${wanted}: ${reason}`);
    return pool;
  });
}

function refusal(pool: Pool, wish: PoolWish): string | undefined {
  if (pool.closed) return pool.closed;
  if (!pool.uses.includes(wish.use)) return `allowedUses is ${pool.uses.join(", ")}, not ${wish.use}`;
  if (wish.requested?.length) return undefined;
  if (pool.isManual) return "assignmentMode is Manual, so it must be asked for by name";
  if (!selectsNode(pool, wish.node)) {
    return `nodeSelector ${JSON.stringify(pool.nodeSelectorText)} does not select the node`;
  }
  if (!pool.namespaceSelector?.matches(wish.namespaceLabels ?? {})) {
    return `namespaceSelector ${JSON.stringify(pool.namespaceSelectorText)} does not select the namespace`;
  }
  return undefined;
}

/** The pool that holds the address; closed pools only when asked for. */
export function poolHolding(pools: readonly Pool[], ip: Ip, mayBeClosed = false): Pool | undefined {
  return pools.find((pool) => (mayBeClosed || !pool.closed) && pool.cidr.contains(ip));
}

/** Says of which pool an explanation speaks: "rack1 (10.0.0.0/24)". */
export function poolText(pool: Pool): string {
  return `${pool.name} (${pool.cidr})`;
}
