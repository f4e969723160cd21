/**
 * Listing a prefix in pages, so that a large listing never holds the event loop for longer than one page takes.
 *
 * The first page is read from the live database at once; most listings end there. When there is more, the rest comes
 * from a snapshot taken in the same breath, so the pages together are the state of one revision whatever is written
 * while the loop turns between them.
 */

import { prefixEnd } from "../key_order.ts";
import type { Entry } from "../store.ts";
import type { Database, RangeReader, Row } from "./database.ts";

/** Rows read at once: 2 to 4 ms. */
const PAGE_ROWS = 2000;

/** The entries under `prefix` at the moment of the call, page by page; closing the iterator ends the snapshot. */
export function scan(
  database: Database,
  prefix: string,
): { first: Entry[]; rest: AsyncGenerator<Entry[]> | undefined } {
  const end = prefixEnd(prefix);
  const rows = database.range.page(prefix, false, end, PAGE_ROWS);
  const last = rows.at(-1);
  const first = visible(rows);
  if (rows.length < PAGE_ROWS || !last) return { first, rest: undefined };
  return { first, rest: pages(database.snapshot(), last.key, end) };
}

async function* pages(reader: RangeReader, after: string, end: string | undefined): AsyncGenerator<Entry[]> {
  try {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      const rows = reader.page(after, true, end, PAGE_ROWS);
      yield visible(rows);
      const last = rows.at(-1);
      if (rows.length < PAGE_ROWS || !last) return;
      after = last.key;
    }
  } finally {
    reader.close();
  }
}

/** The rows that readers see: the lowest layer of each key, which comes first. */
function visible(rows: readonly Row[]): Entry[] {
  const entries: Entry[] = [];
  let previous: string | undefined;
  for (const { key, value, revision } of rows) {
    if (key !== previous) entries.push({ key, value, revision });
    previous = key;
  }
  return entries;
}
