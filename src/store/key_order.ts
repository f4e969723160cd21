/**
 * The order of keys and the end of a prefix, as etcd and SQLite see them: by the bytes of their UTF-8 text.
 *
 * JavaScript compares UTF-16 units, which puts characters past U+FFFF before those from U+E000 on. Every store lists in
 * the same order, so the order is defined once, here.
 */

/** Compares two keys by their UTF-8 bytes: negative, zero or positive, for sorting. */
export function compareKeys(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i), y = b.charCodeAt(i);
    if (x !== y) return rank(x) - rank(y);
  }
  return a.length - b.length;
}

/** The smallest key after every key that starts with `prefix`; undefined when there is none (an empty prefix). */
export function prefixEnd(prefix: string): string | undefined {
  const points = Array.from(prefix, (character) => character.codePointAt(0) ?? 0);
  while (points.length > 0) {
    const last = points.pop() ?? 0;
    if (last === 0x10ffff) continue;
    return String.fromCodePoint(...points, last === 0xd7ff ? 0xe000 : last + 1);
  }
  return undefined;
}

/** Surrogates stand for characters past U+FFFF and so sort after every other unit. */
function rank(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}
