/**
 * The `file` store: a database embedded in the node, under the keys and values of etcd, and beside it, read-only, the
 * resources of the configuration file.
 *
 * Promise: what was acknowledged survives SIGKILL and a power cut, because a write is acknowledged, and watchers are
 * told, only after its commit is on the disk. One process owns the directory. Where the file and the database give one
 * key, the file's stands and the stored one waits behind it; when the file lets go, the stored one comes back with a
 * new revision, so that revisions only rise. The file's last edition is kept too: a start without one has it again.
 */

import type { Clock } from "../../lib/clock.ts";
import { Expiry, systemClock } from "../expiry.ts";
import { type Entry, type Listing, type Store, StoreError, type StoreEvent, type WriteOptions } from "../store.ts";
import type { Watch } from "../store.ts";
import { Database, FIXED, type Row, STORED } from "./database.ts";
import { storeErrorOf } from "./errors.ts";
import { diffFixed, type FixedEntry } from "./fixed.ts";
import { type Claim, claimDirectory, type Owner } from "./owner.ts";
import { scan } from "./scan.ts";
import { FileWatch } from "./watch.ts";

/** How a file store is opened. */
export interface FileStoreOptions {
  /** The state directory; made with mode 0700 if it is not there. */
  readonly dir: string;
  readonly owner: Owner;
  /** The configuration file's resources; without them, those of the last time stand. */
  readonly fixed?: readonly FixedEntry[];
  readonly clock?: Clock;
}

/** What a new edition of the configuration file did to the store. */
export interface FixedResult {
  /** How many keys changed for readers. */
  readonly changed: number;
  /** One line for each stored key that the file now hides. */
  readonly warnings: readonly string[];
}

/** Opens the store; throws `StoreError`: `unavailable` (another owner, a newer schema, the disk), `corrupt`. */
export function openFileStore(options: FileStoreOptions): FileStore {
  const claim = claimDirectory(options.dir, options.owner);
  let database: Database | undefined;
  try {
    database = new Database(`${options.dir.replace(/\/+$/, "")}/store.db`);
    return new FileStore(database, claim, options);
  } catch (error) {
    database?.close();
    claim.release();
    throw error;
  }
}

/** The open file store. */
export class FileStore implements Store {
  readonly type = "file";
  /** One line for each stored key that the configuration file hid at the last reading. */
  warnings: readonly string[] = [];
  readonly #database: Database;
  readonly #claim: Claim;
  readonly #clock: Clock;
  readonly #expiry: Expiry;
  readonly #watches = new Set<FileWatch>();
  #revision: number;
  #isClosed = false;

  /** Use `openFileStore`. */
  constructor(database: Database, claim: Claim, options: FileStoreOptions) {
    this.#database = database;
    this.#claim = claim;
    this.#clock = options.clock ?? systemClock;
    this.#expiry = new Expiry(this.#clock, (key) => this.#guard(key, () => this.#remove(key)));
    this.#revision = this.#guard("", () => database.revision());
    this.#guard("", () => this.#resumeExpiry());
    if (options.fixed) this.replaceFixed(options.fixed);
  }

  /** The revision of the last write. */
  get revision(): number {
    return this.#revision;
  }

  /** The database's file. */
  get path(): string {
    return this.#database.path;
  }

  get(key: string): Promise<Entry | undefined> {
    return this.#attempt(key, () => {
      const row = this.#database.top(key);
      return row && entryOf(row);
    });
  }

  async list(prefix: string): Promise<Listing> {
    const { first: entries, rest, revision } = await this.#attempt(prefix, () => this.#scan(prefix));
    if (rest) {
      try {
        for await (const page of rest) {
          if (this.#isClosed) throw closed(prefix);
          for (const entry of page) entries.push(entry);
        }
      } catch (error) {
        throw storeErrorOf(error, prefix, this.path);
      }
    }
    return { entries, revision };
  }

  create(key: string, value: string, options?: WriteOptions): Promise<Entry> {
    return this.#attempt(key, () => {
      const row = this.#database.top(key);
      if (row) {
        const where = row.layer === FIXED ? ` in the configuration file (${row.place})` : "";
        throw new StoreError("exists", key, `Cannot create ${key}: it exists${where}`);
      }
      return this.#write(key, value, options);
    });
  }

  update(key: string, value: string, revision: number, options?: WriteOptions): Promise<Entry> {
    return this.#attempt(key, () => {
      this.#expect(key, revision);
      return this.#write(key, value, options);
    });
  }

  put(key: string, value: string, options?: WriteOptions): Promise<Entry> {
    return this.#attempt(key, () => {
      refuseFixed(this.#database.top(key));
      return this.#write(key, value, options);
    });
  }

  delete(key: string, revision?: number): Promise<void> {
    return this.#attempt(key, () => {
      this.#expect(key, revision);
      this.#remove(key);
    });
  }

  watch(prefix: string, sink: (event: StoreEvent) => void): Watch {
    const watch = new FileWatch(prefix, {
      clock: this.#clock,
      scan: () => this.#guard(prefix, () => this.#scan(prefix)),
    }, sink);
    this.#watches.add(watch);
    return {
      close: () => {
        watch.close();
        this.#watches.delete(watch);
      },
    };
  }

  /**
   * Takes a new edition of the configuration file's resources, whole or not at all: only what differs changes its
   * revision and makes an event. Throws `StoreError`.
   */
  replaceFixed(entries: readonly FixedEntry[]): FixedResult {
    return this.#guard("", () => {
      const change = diffFixed(this.#database.fixed(), entries);
      const events: StoreEvent[] = [];
      const write = (row: Row) => {
        this.#database.write(row);
        events.push({ type: "put", entry: entryOf(row) });
      };
      let revision = this.#revision;
      if (change.put.length + change.moved.length + change.gone.length > 0) {
        this.#database.transact(() => {
          for (const entry of change.put) write(fixedRow(entry, ++revision));
          for (const entry of change.moved) {
            this.#database.write(fixedRow(entry, this.#database.at(entry.key, FIXED)?.revision ?? ++revision));
          }
          for (const key of change.gone) {
            this.#database.erase(key, FIXED);
            const stored = this.#database.at(key, STORED);
            if (stored) write({ ...stored, revision: ++revision });
            else events.push({ type: "delete", key, revision: ++revision });
          }
          return revision;
        });
      }
      this.#revision = revision;
      for (const event of events) this.#publish(event);
      this.warnings = entries.filter(({ key }) => this.#database.at(key, STORED))
        .map(({ key, where }) => `${where} hides what is stored at ${key}; delete one of them`);
      return { changed: events.length, warnings: this.warnings };
    });
  }

  /** Ends every watch and timer, brings the write-ahead log home and gives the directory back. */
  close(): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    this.#isClosed = true;
    for (const watch of this.#watches) watch.close();
    this.#watches.clear();
    this.#expiry.close();
    return new Promise((resolve) => {
      try {
        this.#database.close();
      } finally {
        this.#claim.release();
      }
      resolve();
    });
  }

  #scan(prefix: string) {
    return { ...scan(this.#database, prefix), revision: this.#revision };
  }

  #expect(key: string, revision: number | undefined): void {
    const row = this.#database.top(key);
    if (!row) throw new StoreError("missing", key, `Cannot change ${key}: it does not exist`);
    refuseFixed(row);
    if (revision !== undefined && row.revision !== revision) {
      throw new StoreError("conflict", key, `Cannot change ${key}: revision ${revision} has become ${row.revision}`);
    }
  }

  #write(key: string, value: string, options: WriteOptions | undefined): Entry {
    const revision = this.#revision + 1;
    const ttl = options?.ttl === undefined ? null : Math.ceil(options.ttl * 1000);
    const expires = ttl === null ? null : Math.ceil(this.#clock.wall() + ttl);
    this.#database.transact(() => {
      this.#database.write({ key, layer: STORED, value, revision, place: null, ttl, expires });
      return revision;
    });
    this.#revision = revision;
    this.#expiry.set(key, ttl ?? undefined);
    const entry = { key, value, revision };
    this.#publish({ type: "put", entry });
    return entry;
  }

  /** Removes the stored row; readers learn of it unless the configuration file's row hides it. */
  #remove(key: string): void {
    const revision = this.#revision + 1;
    const isHidden = this.#database.at(key, FIXED) !== undefined;
    this.#database.transact(() => {
      this.#database.erase(key, STORED);
      return revision;
    });
    this.#revision = revision;
    this.#expiry.set(key, undefined);
    if (!isHidden) this.#publish({ type: "delete", key, revision });
  }

  /** After a start: what expired meanwhile goes, the rest gets its timer. A clock set back never lengthens a life. */
  #resumeExpiry(): void {
    const now = this.#clock.wall();
    for (const { key, ttl, expires } of this.#database.expiring()) {
      const left = Math.min((expires ?? 0) - now, ttl ?? 0);
      try {
        if (left <= 0) this.#remove(key);
      } catch {
        // The disk is full: the timer tries again.
      }
      if (left > 0 || this.#database.at(key, STORED)) this.#expiry.set(key, Math.max(left, 1));
    }
  }

  #publish(event: StoreEvent): void {
    if (event.type !== "put" && event.type !== "delete") return;
    const key = event.type === "put" ? event.entry.key : event.key;
    for (const watch of this.#watches) if (key.startsWith(watch.prefix)) watch.deliver(event);
  }

  #attempt<T>(key: string, body: () => T): Promise<T> {
    return new Promise((resolve) => resolve(this.#guard(key, body)));
  }

  #guard<T>(key: string, body: () => T): T {
    if (this.#isClosed) throw closed(key);
    try {
      return body();
    } catch (error) {
      throw storeErrorOf(error, key, this.path);
    }
  }
}

function closed(key: string): StoreError {
  return new StoreError("closed", key, "Cannot use the store: it is closed");
}

function entryOf({ key, value, revision }: Row): Entry {
  return { key, value, revision };
}

function fixedRow({ key, value, where }: FixedEntry, revision: number): Row {
  return { key, layer: FIXED, value, revision, place: where, ttl: null, expires: null };
}

function refuseFixed(row: Row | undefined): void {
  if (row?.layer !== FIXED) return;
  throw new StoreError(
    "readonly",
    row.key,
    `Cannot change ${row.key}: it comes from the configuration file; edit ${row.place} instead`,
  );
}
