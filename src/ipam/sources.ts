/**
 * Where the allocator's surroundings come from: pools and reservations, read from the store each time or kept by a watch.
 *
 * The answer may be a moment old: a pool that has just been closed can still give an address, as in Calico. Resources
 * that cannot be understood are left out; validation has reported them.
 */

import { Cidr } from "../lib/cidr.ts";
import { Ip } from "../lib/ip.ts";
import { resourcePrefix } from "../model/keys/build.ts";
import type { IPPool } from "../model/resources/ip_pool.ts";
import type { Entry, Store } from "../store/store.ts";
import { type Pool, poolOf } from "./pools.ts";

/** Pools in key order, and the prefixes that are never given by themselves. */
export interface IpamSources {
  pools(): Promise<readonly Pool[]>;
  reservations(): Promise<readonly Cidr[]>;
}

const POOLS = resourcePrefix("IPPool");
const RESERVATIONS = resourcePrefix("IPReservation");

/** Reads pools and reservations from the store at every call. */
export function storeSources(store: Store): IpamSources {
  return {
    pools: async () => readPools((await store.list(POOLS)).entries),
    reservations: async () => readReservations((await store.list(RESERVATIONS)).entries),
  };
}

/** Keeps pools and reservations up to date by watching the store; the first answers wait for the first full listing. */
export function watchSources(store: Store): IpamSources & { close(): void } {
  const pools = watchUnder(store, POOLS, readPools);
  const reservations = watchUnder(store, RESERVATIONS, readReservations);
  return {
    pools: pools.current,
    reservations: reservations.current,
    close: () => {
      pools.close();
      reservations.close();
    },
  };
}

function watchUnder<T>(store: Store, prefix: string, read: (entries: readonly Entry[]) => T) {
  const entries = new Map<string, Entry>();
  let answer: T | undefined;
  const synced = Promise.withResolvers<void>();
  const watch = store.watch(prefix, (event) => {
    if (event.type === "put") entries.set(event.entry.key, event.entry);
    else if (event.type === "delete") entries.delete(event.key);
    else if (event.type === "synced") synced.resolve();
    answer = undefined;
  });
  const inOrder = () => [...entries.values()].sort((a, b) => a.key < b.key ? -1 : 1);
  const current = async () => {
    await synced.promise;
    return answer ??= read(inOrder());
  };
  return { current, close: () => watch.close() };
}

function parse(entry: Entry): unknown {
  try {
    return JSON.parse(entry.value);
  } catch {
    return undefined;
  }
}

function readPools(entries: readonly Entry[]): Pool[] {
  return entries.flatMap((entry) => {
    try {
      return [poolOf(parse(entry) as IPPool)];
    } catch {
      return [];
    }
  });
}

function readReservations(entries: readonly Entry[]): Cidr[] {
  return entries.flatMap((entry) => {
    const prefixes = (parse(entry) as { spec?: { reservedCIDRs?: unknown } } | undefined)?.spec?.reservedCIDRs;
    if (!Array.isArray(prefixes)) return [];
    return prefixes.flatMap((text: unknown) => {
      const ip = typeof text === "string" ? Ip.tryParse(text) : undefined;
      const cidr = ip ? Cidr.host(ip) : typeof text === "string" ? Cidr.tryParse(text) : undefined;
      return cidr ? [cidr] : [];
    });
  });
}

/** Says whether an address of the block is reserved; undefined when none is. */
export function reservedIn(block: Cidr, reservations: readonly Cidr[]): ((ip: Ip) => boolean) | undefined {
  const near = reservations.filter((reservation) => reservation.overlaps(block));
  return near.length === 0 ? undefined : (ip) => near.some((reservation) => reservation.contains(ip));
}
