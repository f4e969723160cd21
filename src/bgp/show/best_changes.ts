/**
 * Which best paths change, for `bgp monitor`: looks at the prefixes that a decision has just gone through, and tells those
 * whose best path is another one than before. Nobody watching costs one look at an empty list for a batch.
 */

import type { RouteRow } from "../rib/interface.ts";
import type { RouterCore } from "../rib/router.ts";
import { bestRow, prefixText } from "./routes.ts";

/** The best path of a prefix, or that there is none any more. */
export type BestChange =
  | { readonly action: "best"; readonly route: RouteRow }
  | { readonly action: "none"; readonly prefix: string };

/** What of the best path is compared: numbers that are never used twice together. */
interface Known {
  serial: Uint32Array;
  peer: Uint16Array;
}

/** Tells of changes from now on, at most `most` rows a batch, then how many were left out; returns how to stop. */
export function watchBest(
  router: RouterCore,
  most: number,
  tell: (changes: BestChange[], leftOut: number) => void,
): () => void {
  const known = [0, 1].map((): Known => ({ serial: new Uint32Array(0), peer: new Uint16Array(0) }));
  const update = (family: 0 | 1, prefix: number): boolean => {
    const { prefixes, paths, context: { store } } = router.ribs[family];
    const columns = known[family]!;
    if (prefix >= columns.serial.length) grow(columns, prefixes.capacity);
    const best = prefixes.isLive(prefix) ? prefixes.best[prefix]! : -1;
    // The host's own routes share one set: the number of their facts tells them apart.
    const serial = best < 0
      ? 0
      : paths.peer[best] === 0
      ? paths.pathId[best]! + 1
      : store.serial(paths.attributes[best]!) + 1;
    const peer = best < 0 ? 0 : paths.peer[best]!;
    if (columns.serial[prefix] === serial && columns.peer[prefix] === peer) return false;
    columns.serial[prefix] = serial;
    columns.peer[prefix] = peer;
    return true;
  };
  router.settle();
  for (const family of [0, 1] as const) {
    for (let prefix = 0; prefix < router.ribs[family].prefixes.limit; prefix++) update(family, prefix);
  }
  const watcher = (family: 0 | 1, dirty: Int32Array) => {
    const changes: BestChange[] = [];
    let leftOut = 0;
    for (const prefix of dirty) {
      if (!update(family, prefix)) continue;
      if (changes.length === most) leftOut++;
      else {
        const route = bestRow(router, family, prefix);
        changes.push(
          route ? { action: "best", route } : { action: "none", prefix: prefixText(router, family, prefix) },
        );
      }
    }
    if (changes.length > 0) tell(changes, leftOut);
  };
  router.watchers.add(watcher);
  return () => void router.watchers.delete(watcher);
}

function grow(columns: Known, size: number): void {
  const serial = new Uint32Array(size), peer = new Uint16Array(size);
  serial.set(columns.serial);
  peer.set(columns.peer);
  columns.serial = serial;
  columns.peer = peer;
}
