/**
 * The embedded database: its schema, its prepared statements and its one kind of transaction.
 *
 * Every key has up to two rows: layer 0 is what the configuration file says (read-only, with its place in that file),
 * layer 1 what was written at run time. The lower layer is what readers see, so one range scan over the primary key
 * lists both. WAL with synchronous=FULL: a commit that returned is on the disk. The revision counter is written in the
 * same transaction as the row it numbers. node:sqlite is synchronous; nothing here awaits.
 */

import { DatabaseSync, type StatementSync } from "node:sqlite";
import { StoreError } from "../store.ts";
import { corrupt, storeErrorOf } from "./errors.ts";

const SCHEMA = 1;

/** The layer of the configuration file's entries and the layer of those written at run time. */
export const FIXED = 0, STORED = 1;

const CREATE = `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE entry (
    key TEXT NOT NULL, layer INTEGER NOT NULL, value TEXT NOT NULL, revision INTEGER NOT NULL,
    place TEXT, ttl INTEGER, expires INTEGER, PRIMARY KEY (key, layer)
  ) WITHOUT ROWID;
  CREATE INDEX entry_fixed ON entry (key) WHERE layer = 0;
  CREATE INDEX entry_expires ON entry (expires) WHERE expires IS NOT NULL;
  INSERT INTO meta VALUES ('schema', ${SCHEMA}), ('revision', 0);`;

const PAGE = "SELECT key, layer, value, revision FROM entry WHERE key";

/** A row as SQLite gives it. */
export interface Row {
  readonly key: string;
  readonly layer: number;
  readonly value: string;
  readonly revision: number;
  readonly place: string | null;
  /** Milliseconds to live from the last write, and the wall clock's milliseconds when they are over. */
  readonly ttl: number | null;
  readonly expires: number | null;
}

/** Reads rows of a key range, lowest layer first. */
export interface RangeReader {
  /** Up to `limit` rows from `from` on (or after it) and before `end`; an undefined end means to the last key. */
  page(from: string, isAfter: boolean, end: string | undefined, limit: number): Row[];
  close(): void;
}

/** The open database. */
export class Database {
  readonly #db: DatabaseSync;
  readonly #range: RangeReader;
  readonly #begin: StatementSync;
  readonly #commit: StatementSync;
  readonly #rollback: StatementSync;
  readonly #top: StatementSync;
  readonly #at: StatementSync;
  readonly #write: StatementSync;
  readonly #erase: StatementSync;
  readonly #count: StatementSync;

  /** Opens or makes the file (mode 0600); throws `StoreError`: `corrupt`, or `unavailable` for what the disk refuses. */
  constructor(readonly path: string) {
    try {
      createPrivately(path);
      this.#db = new DatabaseSync(path);
    } catch (error) {
      throw storeErrorOf(error, "", path);
    }
    try {
      this.#db.exec("PRAGMA busy_timeout = 1000");
      const isNew = this.#isEmpty();
      if (!isNew) this.#inspect(); // before anything is written to a file that may not be ours
      this.#db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
      if (isNew) this.#db.exec(`BEGIN IMMEDIATE; ${CREATE} COMMIT`);
      const prepare = (sql: string) => this.#db.prepare(sql);
      this.#range = rangeReader(this.#db);
      this.#begin = prepare("BEGIN IMMEDIATE");
      this.#commit = prepare("COMMIT");
      this.#rollback = prepare("ROLLBACK");
      this.#top = prepare("SELECT * FROM entry WHERE key = ? ORDER BY layer LIMIT 1");
      this.#at = prepare("SELECT * FROM entry WHERE key = ? AND layer = ?");
      this.#write = prepare("INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?, ?, ?, ?)");
      this.#erase = prepare("DELETE FROM entry WHERE key = ? AND layer = ?");
      this.#count = prepare("UPDATE meta SET value = ? WHERE name = 'revision'");
    } catch (error) {
      this.#db.close();
      throw storeErrorOf(error, "", path);
    }
  }

  /** The counter as it was last committed. */
  revision(): number {
    return this.#meta("revision") ?? 0;
  }

  /** The row that readers see. */
  top(key: string): Row | undefined {
    return this.#top.get(key) as unknown as Row | undefined;
  }

  at(key: string, layer: number): Row | undefined {
    return this.#at.get(key, layer) as unknown as Row | undefined;
  }

  /** Every row of the configuration file's layer. */
  fixed(): Row[] {
    return this.#db.prepare("SELECT * FROM entry WHERE layer = 0 ORDER BY key").all() as unknown as Row[];
  }

  /** Every row that expires. */
  expiring(): Row[] {
    return this.#db.prepare("SELECT * FROM entry WHERE expires IS NOT NULL").all() as unknown as Row[];
  }

  /** Reads the state of this very moment; rows change under it when something is written between two pages. */
  get range(): RangeReader {
    return this.#range;
  }

  /** A reader of this very moment's state that later writes do not touch; must be closed. */
  snapshot(): RangeReader {
    const db = new DatabaseSync(this.path, { readOnly: true });
    try {
      db.exec("BEGIN; SELECT 1 FROM meta"); // WAL takes the snapshot at the first read, not at BEGIN
      return rangeReader(db);
    } catch (error) {
      db.close();
      throw error;
    }
  }

  /** Runs `body` and commits what it wrote together with the counter it returns; on any failure nothing was written. */
  transact(body: () => number): void {
    this.#begin.run();
    try {
      this.#count.run(body());
      this.#commit.run();
    } catch (error) {
      try {
        this.#rollback.run();
      } catch {
        // A full disk makes SQLite roll back by itself.
      }
      throw error;
    }
  }

  /** Inside a transaction: writes a row, whatever is there. */
  write(row: Row): void {
    this.#write.run(row.key, row.layer, row.value, row.revision, row.place, row.ttl, row.expires);
  }

  /** Inside a transaction: removes a row. */
  erase(key: string, layer: number): void {
    this.#erase.run(key, layer);
  }

  close(): void {
    this.#db.close();
  }

  #isEmpty(): boolean {
    return this.#db.prepare("SELECT count(*) AS n FROM sqlite_schema").get()?.n === 0;
  }

  #inspect(): void {
    const schema = this.#meta("schema");
    if (schema === undefined) throw corrupt(this.path, "its schema version is missing");
    if (schema > SCHEMA) {
      throw new StoreError(
        "unavailable",
        "",
        `Cannot use ${this.path}: it was written by a newer tortie (schema ${schema}, this one knows ${SCHEMA}); ` +
          `run that version or a newer one`,
      );
    }
    const fault = this.#db.prepare("PRAGMA quick_check(1)").get()?.quick_check;
    if (fault !== "ok") throw corrupt(this.path, String(fault));
  }

  #meta(name: string): number | undefined {
    let value: unknown;
    try {
      value = this.#db.prepare("SELECT value FROM meta WHERE name = ?").get(name)?.value;
    } catch (error) {
      if (error instanceof Error && error.message.includes("no such table")) return undefined;
      throw error;
    }
    return typeof value === "number" ? value : undefined;
  }
}

function rangeReader(db: DatabaseSync): RangeReader {
  const order = "ORDER BY key, layer LIMIT ?";
  const from = db.prepare(`${PAGE} >= ? AND key < ? ${order}`);
  const after = db.prepare(`${PAGE} > ? AND key < ? ${order}`);
  const last = new Uint8Array(0); // every text sorts before every blob
  return {
    page: (key, isAfter, end, limit) => (isAfter ? after : from).all(key, end ?? last, limit) as unknown as Row[],
    close: () => db.close(),
  };
}

/** Makes the file before SQLite does, so that it and its -wal and -shm never have a wider mode. */
function createPrivately(path: string): void {
  try {
    Deno.openSync(path, { write: true, createNew: true, mode: 0o600 }).close();
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
  }
}
