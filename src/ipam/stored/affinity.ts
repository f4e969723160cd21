/**
 * Affinities: a host's claims to blocks.
 *
 *   (absent) --claim--> pending --block is ours--> confirmed --release--> pendingDeletion --block let go--> (absent)
 *
 * The affinity is written before its block is created and deleted after the block is let go, so a block that is ours has
 * an affinity by which we find it. The affinity alone proves nothing: only the block's own `affinity` member says whose
 * it is.
 */

import { affinityKey, affinityPrefix } from "../../model/keys/build.ts";
import { Cidr } from "../../lib/cidr.ts";
import type { Family } from "../../lib/ip.ts";
import type { Entry, Store } from "../../store/store.ts";
import { formatJson, type JsonObject, parseJsonObject } from "./json64.ts";
import { AGAIN, orAgain } from "./retry.ts";

/** How far a claim has come. */
export type AffinityState = "pending" | "confirmed" | "pendingDeletion";

/** A host's claim to a block, as stored. */
export interface Affinity {
  readonly host: string;
  readonly cidr: Cidr;
  readonly state: AffinityState;
  readonly entry: Entry;
}

/** Reads an affinity's value; an empty value, an empty state and one that cannot be read count as confirmed (old data). */
export function parseAffinityState(value: string): AffinityState {
  const { state } = parseStored(value);
  return state === "pending" || state === "pendingDeletion" ? state : "confirmed";
}

function parseStored(value: string): JsonObject {
  try {
    return value === "" ? {} : parseJsonObject(value);
  } catch {
    return {};
  }
}

function formatAffinity(state: AffinityState, stored: JsonObject = {}): string {
  return formatJson({ ...stored, state, deleted: stored.deleted ?? false });
}

/** The host's claim to the block; undefined when there is none. */
export async function readAffinity(store: Store, host: string, cidr: Cidr): Promise<Affinity | undefined> {
  const entry = await store.get(affinityKey(host, cidr));
  return entry && { host, cidr, state: parseAffinityState(entry.value), entry };
}

/** The host's claims, in the order of their keys; of one family if given. Keys that name no prefix are left out. */
export async function listAffinities(store: Store, host: string, family?: Family): Promise<Affinity[]> {
  const prefix = affinityPrefix(host);
  const listing = await store.list(family ? `${prefix}ipv${family}/block/` : prefix);
  return listing.entries.flatMap((entry) => {
    const cidr = Cidr.tryParse(entry.key.slice(entry.key.lastIndexOf("/") + 1).replace("-", "/"));
    return cidr ? [{ host, cidr, state: parseAffinityState(entry.value), entry }] : [];
  });
}

/** Makes a pending claim; undefined when there is a claim already. */
export async function createAffinity(store: Store, host: string, cidr: Cidr): Promise<Affinity | undefined> {
  const entry = await orAgain(store.create(affinityKey(host, cidr), formatAffinity("pending")), "exists");
  return entry === AGAIN ? undefined : { host, cidr, state: "pending", entry };
}

/** Writes the claim's state; undefined when somebody else was faster. */
export async function writeAffinity(
  store: Store,
  affinity: Affinity,
  state: AffinityState,
): Promise<Affinity | undefined> {
  const { key, value, revision } = affinity.entry;
  const entry = await orAgain(
    store.update(key, formatAffinity(state, parseStored(value)), revision),
    "conflict",
    "missing",
  );
  return entry === AGAIN ? undefined : { ...affinity, state, entry };
}

/** Deletes the claim as it was read; false when somebody else was faster. */
export async function deleteAffinity(store: Store, affinity: Affinity): Promise<boolean> {
  return await orAgain(store.delete(affinity.entry.key, affinity.entry.revision), "conflict", "missing") !== AGAIN;
}
