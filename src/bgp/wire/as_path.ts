/**
 * AS_PATH on the wire: segments of type 1, count 1, and AS numbers of 2 or 4 octets (RFC 4271 4.3b, 6793, 5065).
 *
 * AS 0 is malformed (RFC 7607), as are an empty segment and an unknown segment type (RFC 7606 7.2). A sequence longer
 * than 255 is split on writing.
 */

import type { AsSegment } from "./attributes.ts";
import { AS_TRANS } from "./constants.ts";

/** Reads a whole AS_PATH or AS4_PATH value, raw[at … end); text says what makes it malformed. */
export function readAsPath(raw: Uint8Array, at: number, end: number, isFourOctet: boolean): AsSegment[] | string {
  const path: AsSegment[] = [];
  const width = isFourOctet ? 4 : 2;
  while (at < end) {
    const type = raw[at]!;
    const count = at + 1 < end ? raw[at + 1]! : 0;
    at += 2;
    if (type !== 1 && type !== 2 && type !== 3 && type !== 4) return `segment type ${type}`;
    if (count === 0) return "empty segment";
    if (at + count * width > end) return "segment overruns the attribute";
    const asns: number[] = [];
    for (let i = 0; i < count; i++, at += width) {
      const low = (raw[at]! << 8) | raw[at + 1]!;
      const as = isFourOctet ? ((low << 16) | (raw[at + 2]! << 8) | raw[at + 3]!) >>> 0 : low;
      if (as === 0) return "AS 0";
      asns.push(as);
    }
    path.push({ type, asns });
  }
  return path;
}

/** Octets that the segments take. */
export function asPathSize(path: readonly AsSegment[], isFourOctet: boolean): number {
  let size = 0;
  for (const { asns } of path) size += 2 * Math.ceil(asns.length / 255) + asns.length * (isFourOctet ? 4 : 2);
  return size;
}

/** Writes the segments at `at`, AS numbers of 4 octets, or of 2 with AS_TRANS for what does not fit; returns the end. */
export function putAsPath(out: Uint8Array, at: number, path: readonly AsSegment[], isFourOctet: boolean): number {
  for (const { type, asns } of path) {
    for (let from = 0; from < asns.length; from += 255) {
      const count = Math.min(255, asns.length - from);
      out[at++] = type;
      out[at++] = count;
      for (let i = from; i < from + count; i++) {
        let as = asns[i]!;
        if (isFourOctet) {
          out[at++] = as >>> 24;
          out[at++] = as >>> 16;
        } else if (as > 0xffff) as = AS_TRANS;
        out[at++] = as >>> 8;
        out[at++] = as;
      }
    }
  }
  return at;
}

/** Whether a number of the path does not fit into 2 octets, so that AS4_PATH must go along. */
export function needsAs4Path(path: readonly AsSegment[]): boolean {
  return path.some((segment) => segment.asns.some((as) => as > 0xffff));
}

/**
 * The true path of a route that came through 2-octet speakers: the head of AS_PATH that AS4_PATH does not cover, then
 * AS4_PATH. A longer AS4_PATH than AS_PATH is ignored (RFC 6793 section 4.2.3).
 */
export function mergeAs4Path(path: readonly AsSegment[], as4Path: readonly AsSegment[]): readonly AsSegment[] {
  let head = hops(path) - hops(as4Path);
  if (head < 0) return path;
  const merged: AsSegment[] = [];
  for (const segment of path) {
    if (segment.type > 2) {
      // Confederation segments lead the path and are never in AS4_PATH.
      merged.push(segment);
      continue;
    }
    if (head === 0) break;
    const taken = segment.type === 1 ? segment.asns : segment.asns.slice(0, head);
    head -= segment.type === 1 ? 1 : taken.length;
    merged.push({ type: segment.type, asns: taken });
  }
  for (const segment of as4Path) {
    const last = merged[merged.length - 1];
    if (last?.type === 2 && segment.type === 2 && last.asns.length + segment.asns.length <= 255) {
      merged[merged.length - 1] = { type: 2, asns: [...last.asns, ...segment.asns] };
    } else merged.push(segment);
  }
  return merged;
}

function hops(path: readonly AsSegment[]): number {
  let count = 0;
  for (const segment of path) count += segment.type === 2 ? segment.asns.length : segment.type === 1 ? 1 : 0;
  return count;
}
