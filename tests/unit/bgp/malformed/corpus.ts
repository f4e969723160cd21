/**
 * The cases as data: octets, the RFC's clause, and the reaction that it requires. Octets are hex with "marker" for the 16
 * octets of ones and "N*xx" for a run; message lengths and all else are written out, so nothing of ours makes them.
 */

import { join } from "node:path";

/** One case. */
export interface MalformedCase {
  readonly file: string;
  readonly name: string;
  readonly clause: string;
  readonly session: "ibgp" | "ebgp" | "ebgp2" | "ebgpx" | "ebgprole";
  /** Sent instead of the OPEN, between OPEN and KEEPALIVE, or in Established (when left out). */
  readonly phase?: "open" | "confirm";
  readonly send: string;
  readonly expect: Expectation;
}

/** The required reaction. */
export interface Expectation {
  /** The NOTIFICATION that ends this session, and its data as hex. */
  readonly notification?: string;
  readonly data?: string;
  /** The connection is closed without a NOTIFICATION. */
  readonly closed?: boolean;
  /** In the phase "open": with a KEEPALIVE the session is Established. */
  readonly up?: boolean;
  /**
   * Routes as another peer sees them: null (none), "base" (as before the case), "new" (as in the case), "untold" (accepted,
   * and not told to that peer), or the attributes that matter.
   */
  readonly routes?: Readonly<Record<string, null | "base" | "new" | "untold" | Readonly<Record<string, unknown>>>>;
  /** The peer is told everything again. */
  readonly isTold?: boolean;
  /** The route that nobody confirmed is gone, too. */
  readonly hasLostAll?: boolean;
}

const FILES = ["header", "open", "states", "refresh", "update", "attributes", "multiprotocol", "found"] as const;

/** All cases in the order of the files. */
export function readCorpus(): MalformedCase[] {
  const folder = import.meta.dirname ?? ".";
  return FILES.flatMap((file) =>
    (JSON.parse(Deno.readTextFileSync(join(folder, `${file}.json`))) as Omit<MalformedCase, "file">[])
      .map((one) => ({ ...one, file }))
  );
}

/** The octets of a case. */
export function octetsOf(text: string): Uint8Array<ArrayBuffer> {
  let digits = "";
  for (const word of text.split(/\s+/)) {
    const run = /^(\d+)\*([0-9a-f]+)$/.exec(word);
    if (word === "marker") digits += "ff".repeat(16);
    else if (run) digits += (run[2] ?? "").repeat(Number(run[1]));
    else if (/^([0-9a-f]{2})*$/.test(word)) digits += word;
    else throw new Error(`Cannot read ${JSON.stringify(word)} as octets`);
  }
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}
