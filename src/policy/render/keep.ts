/**
 * Keeps what was rendered before where rendering anew gave the same: the reconciler passes over a chain or a set that is the
 * same object.
 */

import type { Chain, NamedSet } from "../../netlink/nft/ruleset.ts";

/** The new chains, each as the old object where it is the same. */
export function keepSameChains(old: readonly Chain[], made: readonly Chain[]): readonly Chain[] {
  return keepSame(old, made, (a, b) => JSON.stringify(a) === JSON.stringify(b));
}

/** The new sets, each as the old object where it is the same. */
export function keepSameSets(old: readonly NamedSet[], made: readonly NamedSet[]): readonly NamedSet[] {
  return keepSame(old, made, isSameSet);
}

function keepSame<T extends { readonly name: string }>(
  old: readonly T[],
  made: readonly T[],
  isSame: (a: T, b: T) => boolean,
): readonly T[] {
  const before = new Map(old.map((item) => [item.name, item]));
  return made.map((item) => {
    const was = before.get(item.name);
    return was && isSame(was, item) ? was : item;
  });
}

function isSameSet(a: NamedSet, b: NamedSet): boolean {
  const { elements: left, ...rest } = a, { elements: right, ...others } = b;
  if (left.size !== right.size || JSON.stringify(rest) !== JSON.stringify(others)) return false;
  for (const member of left.keys()) {
    if (!right.has(member)) return false;
    if (left instanceof Map && right instanceof Map && left.get(member) !== right.get(member)) return false;
  }
  return true;
}
