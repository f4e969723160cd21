/**
 * What moved in a set since the edition before, noted beside the set by who knows it, so that a change of a few members in a
 * large set costs the few: nobody has to compare the rest.
 *
 * An edition is named by what it is an edition of and a number; it holds no earlier one, so old ones can be forgotten. The
 * note is no part of the set: a set with it and one without mean the same.
 */

import type { NamedSet } from "./ruleset.ts";

/** How an edition of a set differs from the one before. */
export interface Moves {
  /** What both are editions of. */
  readonly of: object;
  /** Numbers of the edition before and of this one. */
  readonly from: number;
  readonly to: number;
  /** Members, in the set's text. */
  readonly coming: ReadonlySet<string>;
  readonly going: ReadonlySet<string>;
}

const noted = new WeakMap<NamedSet, Moves>();

/** Notes what moved in a set. */
export function noteMoves(set: NamedSet, moves: Moves): void {
  noted.set(set, moves);
}

/** What moved from one edition to the next; undefined where they are not known to follow each other. */
export function movesBetween(before: NamedSet, after: NamedSet): Moves | undefined {
  const first = noted.get(before), second = noted.get(after);
  return first && second && first.of === second.of && first.to === second.from ? second : undefined;
}
