/**
 * The `Store` seam: keys and JSON text values with revisions, compare-and-set and watch. etcd's model, and nothing that
 * an embedded database could not do as well.
 *
 * Keys and values are those of `src/model/keys` (Calico's layout). Each key is independent: no transaction spans two.
 * A revision is etcd's mod_revision: one counter for the whole store, raised by every write, so it orders all changes.
 */

/** One key with its value (JSON text) and the revision of its last write. */
export interface Entry {
  readonly key: string;
  readonly value: string;
  readonly revision: number;
}

/** The entries under a prefix in key order, and the store's revision at that moment. */
export interface Listing {
  readonly entries: readonly Entry[];
  readonly revision: number;
}

/**
 * What a watch reports. First a `put` for everything that is there, then `synced`, then each change in revision order.
 * After a break in the connection the store itself brings the watcher up to date (deletes included) and says `synced`
 * again; `unavailable` says that nothing newer is known meanwhile. The same change may be reported twice.
 */
export type StoreEvent =
  | { readonly type: "put"; readonly entry: Entry }
  | { readonly type: "delete"; readonly key: string; readonly revision: number }
  | { readonly type: "synced"; readonly revision: number }
  | { readonly type: "unavailable"; readonly error: string };

/** Why a store call was refused. `conflict`: the revision has moved on; `readonly`: the key comes from the configuration file. */
export type StoreErrorKind = "exists" | "missing" | "conflict" | "readonly" | "unavailable" | "corrupt" | "closed";

/** A store call that was refused or could not be carried out. */
export class StoreError extends Error {
  override readonly name = "StoreError";
  constructor(readonly kind: StoreErrorKind, readonly key: string, message: string, options?: ErrorOptions) {
    super(message, options);
  }
}

/** A running watch. */
export interface Watch {
  close(): void;
}

/** Options of a write: after `ttl` seconds without another write the key is deleted. */
export interface WriteOptions {
  readonly ttl?: number;
}

/** A store; every method but `watch` and `close` throws `StoreError`. */
export interface Store {
  readonly type: "memory" | "file" | "etcd";
  get(key: string): Promise<Entry | undefined>;
  /** Lists every key that starts with `prefix`. */
  list(prefix: string): Promise<Listing>;
  /** Writes a key that must not exist (`exists`). */
  create(key: string, value: string, options?: WriteOptions): Promise<Entry>;
  /** Writes a key whose last write must be `revision` (`conflict`, `missing`). */
  update(key: string, value: string, revision: number, options?: WriteOptions): Promise<Entry>;
  /** Writes a key whatever is there. */
  put(key: string, value: string, options?: WriteOptions): Promise<Entry>;
  /** Deletes a key (`missing`), with a revision only if that was its last write (`conflict`). */
  delete(key: string, revision?: number): Promise<void>;
  /** Lists, then watches a prefix; `sink` is called in order and must not throw. */
  watch(prefix: string, sink: (event: StoreEvent) => void): Watch;
  close(): Promise<void>;
}
