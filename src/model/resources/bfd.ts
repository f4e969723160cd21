/**
 * The text of the `tortie/bfd` annotation: whether a session has BFD beside it (RFC 5882), and with which times.
 *
 *   "true"   "false"   "300x3"   "300x3 single-hop"   "50x5 multihop"       milliseconds x packets that may be missing
 */

/** What the annotation says; what is absent is the speaker's to choose. */
export interface BfdWish {
  readonly isWanted: boolean;
  /** Milliseconds, 10 to 60,000. */
  readonly interval?: number;
  /** 2 to 50. */
  readonly multiplier?: number;
  /** RFC 5881 or RFC 5883, whatever the addresses look like. */
  readonly hops?: "single-hop" | "multihop";
}

/** How the annotation is written, for error messages. */
export const BFD_HINT =
  '"true", "false", or milliseconds x packets such as "300x3" (10 to 60000, 2 to 50), with "single-hop" or "multihop" behind it if need be';

/** Reads the annotation; undefined when it is not well written. */
export function parseBfd(text: string): BfdWish | undefined {
  if (text === "true" || text === "false") return { isWanted: text === "true" };
  const match = /^([1-9][0-9]{1,4})x([1-9][0-9]?)(?: (single-hop|multihop))?$/.exec(text);
  if (!match) return undefined;
  const interval = Number(match[1]), multiplier = Number(match[2]);
  if (interval < 10 || interval > 60_000 || multiplier < 2 || multiplier > 50) return undefined;
  const hops = match[3] === "single-hop" || match[3] === "multihop" ? match[3] : undefined;
  return { isWanted: true, interval, multiplier, ...(hops ? { hops } : {}) };
}
