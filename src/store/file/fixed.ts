/**
 * The configuration file's resources beside the stored ones: what a new edition of the file changes.
 *
 * Pure: from the rows of the file's layer and the new entries to the rows to write and to drop. An entry whose text is
 * the same keeps its revision even when it has moved to another line, so an edit elsewhere in the file makes no event.
 */

import { StoreError } from "../store.ts";

/** A key and value that the configuration file gives. */
export interface FixedEntry {
  readonly key: string;
  /** JSON text; the same resource must give the same text every time the file is read. */
  readonly value: string;
  /** Where it stands, for messages: "tortie.yaml:12". */
  readonly where: string;
}

/** What an edition of the file changes. */
export interface FixedChange {
  /** New or different. */
  readonly put: readonly FixedEntry[];
  /** The same value in another place: no event. */
  readonly moved: readonly FixedEntry[];
  /** Keys no longer in the file. */
  readonly gone: readonly string[];
}

/** Compares the file's layer with the entries; throws `StoreError` `exists` when two entries have one key. */
export function diffFixed(
  rows: readonly { readonly key: string; readonly value: string; readonly place: string | null }[],
  entries: readonly FixedEntry[],
): FixedChange {
  const wanted = new Map<string, FixedEntry>();
  for (const entry of entries) {
    const first = wanted.get(entry.key);
    if (first) {
      throw new StoreError(
        "exists",
        entry.key,
        `Cannot take ${entry.key} from ${entry.where}: it is already given by ${first.where}; remove one of them`,
      );
    }
    wanted.set(entry.key, entry);
  }
  const put: FixedEntry[] = [], moved: FixedEntry[] = [], gone: string[] = [];
  const known = new Map(rows.map((row) => [row.key, row]));
  for (const entry of wanted.values()) {
    const row = known.get(entry.key);
    if (!row || row.value !== entry.value) put.push(entry);
    else if (row.place !== entry.where) moved.push(entry);
  }
  for (const key of known.keys()) if (!wanted.has(key)) gone.push(key);
  return { put, moved, gone };
}
