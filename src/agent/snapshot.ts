/**
 * The store as this node sees it: all resources and this host's block affinities, typed, kept by two watches.
 *
 * In sync means that both first listings are in; until then nothing may be removed from the kernel. A value that cannot
 * be read is left out and reported, so that one bad object stops nothing else. Only what changed is decoded.
 */

import type { Cidr } from "../lib/cidr.ts";
import { affinityPrefix, parseKey, RESOURCES_PREFIX } from "../model/keys/mod.ts";
import { readResource } from "../model/read.ts";
import type { AnyResource, Kind, ResourceOf } from "../model/resources/mod.ts";
import type { Store, StoreEvent } from "../store/store.ts";

/** A stored value that could not be read. */
export interface Unreadable {
  readonly key: string;
  readonly why: string;
}

/** What the agent computes from. */
export interface Snapshot {
  /** Resources of a kind by "name" or "namespace/name". */
  all<K extends Kind>(kind: K): ReadonlyMap<string, ResourceOf<K>>;
  /** This host's blocks whose affinity is confirmed, by their text. */
  readonly blocks: ReadonlyMap<string, Cidr>;
  /** The store revision at which a key was last seen to change; undefined when it is not there. */
  revisionOf(key: string): number | undefined;
  readonly isInSync: boolean;
  /** What the store's connection is missing; undefined while it is up. */
  readonly unavailable: string | undefined;
  /** The highest revision heard of. */
  readonly revision: number;
  readonly unreadable: ReadonlyMap<string, Unreadable>;
}

/** A snapshot that follows its store. */
export interface LiveSnapshot extends Snapshot {
  close(): void;
}

/**
 * What changed: a resource by its kind and id (see `Snapshot.all`), a block by its text, or whether the snapshot is in
 * sync, which has no id.
 */
export interface SnapshotChange {
  readonly what: Kind | "blocks" | "sync";
  readonly id: string;
}

/** Watches the store; `changed` is called after each change was taken in. */
export function watchSnapshot(
  { store, node, changed }: {
    readonly store: Store;
    readonly node: string;
    readonly changed: (change: SnapshotChange, snapshot: Snapshot) => void;
  },
): LiveSnapshot {
  const kinds = new Map<Kind, Map<string, AnyResource>>();
  const blocks = new Map<string, Cidr>();
  const revisions = new Map<string, number>();
  const unreadable = new Map<string, Unreadable>();
  const synced = new Set<string>();
  let revision = 0;
  let unavailable: string | undefined;

  const take = (key: string, value: string | undefined): SnapshotChange | undefined => {
    const named = parseKey(key);
    unreadable.delete(key);
    if (named?.type === "affinity") {
      const text = named.cidr.toString();
      if (value !== undefined && isConfirmed(value)) blocks.set(text, named.cidr);
      else blocks.delete(text);
      return { what: "blocks", id: text };
    }
    if (named?.type !== "resource") return undefined;
    const id = named.namespace ? `${named.namespace}/${named.name}` : named.name;
    const resources = kinds.get(named.kind) ?? new Map<string, AnyResource>();
    kinds.set(named.kind, resources);
    resources.delete(id);
    if (value !== undefined) {
      try {
        const resource = readResource(value);
        if (resource.kind !== named.kind) throw new SyntaxError(`its kind is ${resource.kind}, not ${named.kind}`);
        resources.set(id, resource);
      } catch (error) {
        unreadable.set(key, { key, why: error instanceof Error ? error.message : String(error) });
      }
    }
    return { what: named.kind, id };
  };

  const prefixes = [RESOURCES_PREFIX, affinityPrefix(node)];
  const none = new Map<string, never>();
  const snapshot: Snapshot = {
    all: <K extends Kind>(kind: K) =>
      (kinds.get(kind) ?? none) as ReadonlyMap<string, unknown> as ReadonlyMap<string, ResourceOf<K>>,
    blocks,
    revisionOf: (key) => revisions.get(key),
    get isInSync() {
      return synced.size === prefixes.length;
    },
    get unavailable() {
      return unavailable;
    },
    get revision() {
      return revision;
    },
    unreadable,
  };

  const sinkOf = (prefix: string) => (event: StoreEvent) => {
    switch (event.type) {
      case "put": {
        const { key, value, revision: at } = event.entry;
        revision = Math.max(revision, at);
        if ((revisions.get(key) ?? 0) >= at) return;
        revisions.set(key, at);
        const change = take(key, value);
        if (change) changed(change, snapshot);
        return;
      }
      case "delete": {
        revision = Math.max(revision, event.revision);
        const known = revisions.get(event.key);
        if (known === undefined || known > event.revision) return;
        revisions.delete(event.key);
        const change = take(event.key, undefined);
        if (change) changed(change, snapshot);
        return;
      }
      case "synced":
        revision = Math.max(revision, event.revision);
        synced.add(prefix);
        unavailable = undefined;
        return changed({ what: "sync", id: "" }, snapshot);
      case "unavailable":
        unavailable = event.error;
        return changed({ what: "sync", id: "" }, snapshot);
    }
  };

  const watches = prefixes.map((prefix) => store.watch(prefix, sinkOf(prefix)));
  return Object.assign(snapshot, { close: () => watches.forEach((watch) => watch.close()) });
}

/** An empty value and one without a state are confirmed (old data). */
function isConfirmed(value: string): boolean {
  if (value === "") return true;
  try {
    const stored: unknown = JSON.parse(value);
    const state = typeof stored === "object" && stored !== null && "state" in stored ? stored.state : undefined;
    return state === undefined || state === "" || state === "confirmed";
  } catch {
    return false;
  }
}
