/** Stores for tests of address management: one that records every write, and pools put into a store. */

import { MemoryStore } from "../../../src/store/memory.ts";
import type { Entry, Store, WriteOptions } from "../../../src/store/store.ts";
import { resourceKey } from "../../../src/model/keys/build.ts";

/** One write as the store saw it. */
export interface Write {
  readonly type: "create" | "update" | "delete";
  readonly key: string;
  readonly value: string | undefined;
}

/** A store that hands everything on to `inner` and lists the writes that succeeded. */
export function recordWrites(inner: Store = new MemoryStore()): { store: Store; writes: Write[] } {
  const writes: Write[] = [];
  const noting = async (type: Write["type"], key: string, value: string | undefined, call: Promise<Entry | void>) => {
    const entry = await call;
    writes.push({ type, key, value });
    return entry as Entry;
  };
  const store: Store = {
    type: inner.type,
    get: (key) => inner.get(key),
    list: (prefix) => inner.list(prefix),
    create: (key: string, value: string, options?: WriteOptions) =>
      noting("create", key, value, inner.create(key, value, options)),
    update: (key, value, revision, options) =>
      noting("update", key, value, inner.update(key, value, revision, options)),
    put: (key, value, options) => noting("update", key, value, inner.put(key, value, options)),
    delete: async (key, revision) => {
      await noting("delete", key, undefined, inner.delete(key, revision));
    },
    watch: (prefix, sink) => inner.watch(prefix, sink),
    close: () => inner.close(),
  };
  return { store, writes };
}

/** Puts a pool into the store. */
export async function putPool(store: Store, name: string, spec: Readonly<Record<string, unknown>>): Promise<void> {
  const pool = { kind: "IPPool", apiVersion: "projectcalico.org/v3", metadata: { name }, spec };
  await store.put(resourceKey("IPPool", name), JSON.stringify(pool));
}

/** Puts a reservation into the store. */
export async function putReservation(store: Store, name: string, reservedCIDRs: readonly string[]): Promise<void> {
  const reservation = {
    kind: "IPReservation",
    apiVersion: "projectcalico.org/v3",
    metadata: { name },
    spec: { reservedCIDRs },
  };
  await store.put(resourceKey("IPReservation", name), JSON.stringify(reservation));
}

/** A random number generator with a seed (mulberry32), so that a failing run can be repeated. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
