/**
 * What SQLite's refusals mean to the operator: one place turns its result codes into `StoreError`s that name the file
 * and the way to mend it. A failing disk is `unavailable` (the store goes on and the next write may succeed); a file
 * that SQLite cannot make sense of is `corrupt` and is left as it is, never emptied, because an empty store would read
 * as "no workloads here". Result codes: https://www.sqlite.org/rescode.html
 */

import { StoreError } from "../store.ts";

const BUSY = 5, READONLY = 8, IOERR = 10, CORRUPT = 11, FULL = 13, CANTOPEN = 14, NOTADB = 26;

/** The result codes by message, for the calls of node:sqlite that give no code. */
const CODES: readonly (readonly [RegExp, number])[] = [
  [/database is locked/, BUSY],
  [/readonly database/, READONLY],
  [/disk I\/O error/, IOERR],
  [/malformed/, CORRUPT],
  [/is full/, FULL],
  [/unable to open/, CANTOPEN],
  [/not a database/, NOTADB],
];

/** The `StoreError` for what was thrown while the database at `path` was used for `key` ("" for no single key). */
export function storeErrorOf(error: unknown, key: string, path: string): StoreError {
  if (error instanceof StoreError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const what = key === "" ? `use ${path}` : `use ${path} for ${key}`;
  const fail = (reason: string) =>
    new StoreError("unavailable", key, `Cannot ${what}: ${reason} (${message})`, { cause: error });
  switch (resultCode(error, message)) {
    case FULL:
      return fail("the disk is full; free some space: nothing stored is lost and writing goes on by itself");
    case READONLY:
      return fail("it cannot be written; is the file system mounted read-only, or the file another user's?");
    case IOERR:
      return fail("the disk failed or is full; see the kernel's log (dmesg)");
    case BUSY:
      return fail("another program holds a lock on it; end that program");
    case CANTOPEN:
      return fail("it cannot be opened; check that the directory exists and belongs to this user");
    case CORRUPT:
    case NOTADB:
      return corrupt(path, message, error);
    default:
      return fail("SQLite refused");
  }
}

/** The error for a database that cannot be made sense of. */
export function corrupt(path: string, reason: string, cause?: unknown): StoreError {
  return new StoreError(
    "corrupt",
    "",
    `Cannot use ${path}: it is damaged or not a tortie store (${reason}). It was left as it is. To mend: restore it ` +
      `from a backup, or save what can be read with "sqlite3 ${path} .recover", or start afresh after moving it ` +
      `aside with its -wal and -shm files (workloads must then be attached again)`,
    { cause },
  );
}

function resultCode(error: unknown, message: string): number {
  if (error instanceof Error && "errcode" in error && typeof error.errcode === "number") return error.errcode & 255;
  return CODES.find(([pattern]) => pattern.test(message))?.[1] ?? 0;
}
