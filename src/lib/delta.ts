/**
 * Desired against actual: what has to change in a table so that it becomes what it should be.
 *
 * Every kernel table is kept by the same loop: read actual, compute desired, apply the difference. Keys are strings
 * (canonical text), so two spellings of one route are one key.
 */

/** What to put (new or different) and what to remove, in the order of the maps. */
export interface Delta<D, A = D> {
  readonly put: readonly { readonly key: string; readonly desired: D; readonly actual: A | undefined }[];
  readonly remove: readonly { readonly key: string; readonly actual: A }[];
}

/** Compares the maps; entries of `actual` that are not in `desired` are all removals, so pass only what is ours. */
export function computeDelta<D, A = D>(
  desired: ReadonlyMap<string, D>,
  actual: ReadonlyMap<string, A>,
  isSame: (desired: D, actual: A) => boolean,
): Delta<D, A> {
  const put: { key: string; desired: D; actual: A | undefined }[] = [];
  const remove: { key: string; actual: A }[] = [];
  for (const [key, want] of desired) {
    const have = actual.get(key);
    if (have === undefined || !isSame(want, have)) put.push({ key, desired: want, actual: have });
  }
  for (const [key, have] of actual) if (!desired.has(key)) remove.push({ key, actual: have });
  return { put, remove };
}
