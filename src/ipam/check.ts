/**
 * `ipam check`: reads all that is stored about addresses and lists what does not fit together.
 *
 * A finding is either a danger (an address could be, or is, used twice), a leak (something is held that nobody uses) or a
 * note. While others assign and release, a check can see things half done; what two checks both find is real.
 */

import { Cidr } from "../lib/cidr.ts";
import { HANDLES_PREFIX, HOST_AFFINITIES_PREFIX } from "../model/keys/build.ts";
import type { Entry, Store } from "../store/store.ts";
import { parseAffinityState } from "./stored/affinity.ts";
import { addressOf, type Block, blockSize, countHeld, handleOf, isEmptyBlock, ownerOf } from "./stored/block.ts";
import { IpamError } from "./error.ts";
import { parseHandle } from "./stored/handle.ts";
import type { Pool } from "./pools.ts";
import { listBlocks, readListed } from "./search.ts";

/** What kind of fault a finding is. */
export type FindingKind =
  | "corrupt"
  | "overlapping-blocks"
  | "broken-block"
  | "two-endpoints"
  | "endpoint-without-address"
  | "address-without-endpoint"
  | "address-without-handle"
  | "handle-count"
  | "block-without-affinity"
  | "block-without-claim"
  | "claim-without-block"
  | "claim-unfinished"
  | "outside-pools";

/** One thing that does not fit; `subject` is an address, CIDR, handle id or key. */
export interface Finding {
  readonly level: "danger" | "leak" | "note";
  readonly kind: FindingKind;
  readonly subject: string;
  readonly message: string;
}

/** What the check compares the store with. */
export interface CheckOptions {
  readonly pools: readonly Pool[];
  /** Every address that an endpoint uses, with the endpoint's name; left out, endpoints are not compared. */
  readonly endpoints?: readonly { readonly ip: string; readonly endpoint: string }[];
}

interface Snapshot {
  readonly blocks: ReadonlyMap<string, Block>;
  readonly handles: ReadonlyMap<string, ReadonlyMap<string, number>>;
  readonly claims: readonly { readonly host: string; readonly cidr: string; readonly state: string }[];
}

/** Compares blocks, handles, claims, pools and endpoints; an empty list means that all fits. */
export async function checkIpam(store: Store, options: CheckOptions): Promise<Finding[]> {
  const findings: Finding[] = [];
  const snapshot = await takeSnapshot(store, findings);
  return [
    ...findings,
    ...checkBlocks(snapshot, options.pools),
    ...checkClaims(snapshot),
    ...checkHandles(snapshot),
    ...options.endpoints ? checkEndpoints(snapshot, options.pools, options.endpoints) : [],
  ];
}

async function takeSnapshot(store: Store, findings: Finding[]): Promise<Snapshot> {
  const blocks = new Map<string, Block>();
  for (const listed of await listBlocks(store)) {
    const read = readListed(listed);
    if (read) blocks.set(listed.cidr.toString(), read.block);
    else findings.push(corrupt(listed.entry, "a block"));
  }
  const handles = new Map<string, ReadonlyMap<string, number>>();
  for (const entry of (await store.list(HANDLES_PREFIX)).entries) {
    const id = entry.key.slice(HANDLES_PREFIX.length);
    try {
      handles.set(id, parseHandle(entry, id).counts);
    } catch (error) {
      if (!(error instanceof IpamError)) throw error;
      findings.push(corrupt(entry, "a handle"));
    }
  }
  const claims = (await store.list(HOST_AFFINITIES_PREFIX)).entries.flatMap((entry) => {
    const [host, , , cidr] = entry.key.slice(HOST_AFFINITIES_PREFIX.length).split("/");
    if (!host || !cidr) return [];
    return [{ host, cidr: cidr.replace("-", "/"), state: parseAffinityState(entry.value) }];
  });
  return { blocks, handles, claims };
}

function corrupt(entry: Entry, what: string): Finding {
  const message = `${entry.key} cannot be read as ${what}; repair it or delete it`;
  return { level: "danger", kind: "corrupt", subject: entry.key, message };
}

function* checkBlocks({ blocks }: Snapshot, pools: readonly Pool[]): Generator<Finding> {
  const sorted = [...blocks.values()].sort((a, b) => a.cidr.compare(b.cidr));
  let widest: Cidr | undefined;
  for (const block of sorted) {
    const subject = block.cidr.toString();
    if (widest?.contains(block.cidr)) {
      const message = `the blocks ${widest} and ${subject} overlap: an address can be given by both`;
      yield { level: "danger", kind: "overlapping-blocks", subject, message };
    } else widest = block.cidr;
    const fault = blockFault(block);
    if (fault) yield { level: "danger", kind: "broken-block", subject, message: `block ${subject}: ${fault}` };
    if (!pools.some((pool) => pool.cidr.contains(block.cidr))) {
      const message = isEmptyBlock(block)
        ? `block ${subject} is in no pool and empty; it can be deleted`
        : `block ${subject} is in no pool, but addresses of it are in use`;
      yield { level: "note", kind: "outside-pools", subject, message };
    }
  }
}

/** Why the block's own lists contradict each other; undefined when they do not. */
export function blockFault(block: Block): string | undefined {
  const free = new Set(block.unallocated);
  if (free.size !== block.unallocated.length) return "an address is listed as free twice";
  for (let ordinal = 0; ordinal < blockSize(block); ordinal++) {
    const isHeld = block.allocations[ordinal] !== null;
    if (isHeld && free.has(ordinal)) return `${addressOf(block, ordinal)} is held and listed as free`;
    if (!isHeld && !free.has(ordinal)) return `${addressOf(block, ordinal)} is neither held nor listed as free`;
  }
  return undefined;
}

function* checkClaims({ blocks, claims }: Snapshot): Generator<Finding> {
  const claimed = new Set<string>();
  for (const { host, cidr, state } of claims) {
    const owner = blocks.get(cidr)?.affinity;
    if (owner !== `host:${host}`) {
      const message = `${host} claims ${cidr}, which ${
        owner ? `is ${owner}'s` : "is nobody's"
      }; ${host} drops it at start`;
      yield { level: "note", kind: "claim-without-block", subject: cidr, message };
      continue;
    }
    claimed.add(cidr);
    if (state === "confirmed") continue;
    const message = `the claim of ${host} to ${cidr} is ${state}; ${host} confirms it at start`;
    yield { level: "note", kind: "claim-unfinished", subject: cidr, message };
  }
  for (const [cidr, block] of blocks) {
    if (block.affinity === null) {
      const message =
        `block ${cidr} is nobody's; its ${blockSize(block) - block.unallocated.length} addresses can be ` +
        "released, then it goes away";
      yield { level: "note", kind: "block-without-affinity", subject: cidr, message };
    } else if (block.affinity.startsWith("host:") && !claimed.has(cidr)) {
      const message = `block ${cidr} is ${block.affinity}'s, but no claim leads to it; its host claims it at start`;
      yield { level: "leak", kind: "block-without-claim", subject: cidr, message };
    }
  }
}

function* checkHandles({ blocks, handles }: Snapshot): Generator<Finding> {
  for (const [id, counts] of handles) {
    if (counts.size === 0) {
      yield { level: "leak", kind: "handle-count", subject: id, message: `handle ${id} counts nothing` };
    }
    for (const [cidr, count] of counts) {
      const block = blocks.get(cidr);
      const held = block ? countHeld(block, id) : 0;
      if (held === count) continue;
      const message = `handle ${id} counts ${count} in ${cidr}, which holds ${held} for it; release the handle, or ` +
        "restart the node that owns the block";
      yield { level: "leak", kind: "handle-count", subject: id, message };
    }
  }
  for (const [cidr, block] of blocks) {
    for (const attribute of block.attributes) {
      const id = handleOf(attribute);
      if (id === undefined || handles.get(id)?.has(cidr) || countHeld(block, id) === 0) continue;
      const message = `${cidr} holds ${countHeld(block, id)} addresses for handle ${id}, which does not say so`;
      yield { level: "leak", kind: "address-without-handle", subject: id, message };
    }
  }
}

const TUNNEL_TYPE = /Tunnel(Address|Addr)$/;

function* checkEndpoints(
  { blocks }: Snapshot,
  pools: readonly Pool[],
  endpoints: NonNullable<CheckOptions["endpoints"]>,
): Generator<Finding> {
  const users = new Map<string, string[]>();
  for (const { ip, endpoint } of endpoints) users.set(ip, [...users.get(ip) ?? [], endpoint]);
  const held = new Set<string>();
  for (const block of blocks.values()) {
    for (let ordinal = 0; ordinal < blockSize(block); ordinal++) {
      const owner = ownerOf(block, ordinal);
      if (!owner) continue;
      const ip = addressOf(block, ordinal).toString();
      held.add(ip);
      if (users.has(ip) || TUNNEL_TYPE.test(owner.attributes?.type ?? "")) continue;
      const who = owner.handle ? `held under ${owner.handle}` : "held without a handle";
      const message = `${ip} is ${who}, but no endpoint uses it; if that stays so: ipam release --ip ${ip}`;
      yield { level: "leak", kind: "address-without-endpoint", subject: ip, message };
    }
  }
  for (const [ip, names] of users) {
    if (names.length > 1) {
      const message = `${ip} is used by ${names.join(" and ")}; detach all but one`;
      yield { level: "danger", kind: "two-endpoints", subject: ip, message };
    }
    const host = Cidr.tryParse(`${ip}/${ip.includes(":") ? 128 : 32}`);
    if (held.has(ip) || !host || !pools.some((pool) => pool.cidr.contains(host))) continue;
    const message = `${ip} of ${names.join(", ")} is not held: it can be given to another; attach the workload anew`;
    yield { level: "danger", kind: "endpoint-without-address", subject: ip, message };
  }
}
