/**
 * Intervals as the kernel keeps them: disjoint, and each end where the next value would begin.
 *
 * A set of prefixes may not overlap, but people's network sets do: `disjoint` leaves out what lies inside another and joins
 * what overlaps. Neighbours that only touch stay apart, so that a member that comes or goes never changes another. Values are
 * bytes in network order; text is nft's ("10.0.0.0/8", "10.0.0.1-10.0.0.9", "80-90").
 */

import { bad, formatBytes, isOrdered, sizeOf, type ValueType, writeValue } from "./values.ts";

/** First and last value, both inside; one and the same array when it is a single value. */
export interface Interval {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
}

/** Reads a value, a prefix or a range; host bits of a prefix are cleared. Throws RangeError. */
export function parseInterval(type: ValueType, text: string): Interval {
  const size = sizeOf(type);
  const from = new Uint8Array(size), to = new Uint8Array(size);
  const slash = text.indexOf("/");
  if (slash >= 0) {
    const length = prefixLength(type, text, slash);
    writeValue(type, text.slice(0, slash), from, 0);
    for (let i = 0; i < size; i++) {
      const kept = Math.min(8, Math.max(0, length - 8 * i));
      const mask = (0xff00 >> kept) & 255;
      from[i]! &= mask;
      to[i] = from[i]! | (~mask & 255);
    }
    return length === 8 * size ? { from, to: from } : { from, to };
  }
  const dash = type === "ifname" ? -1 : text.indexOf("-");
  const isRange = dash > 0 && isOrdered(type) && /^[0-9a-f]/i.test(text) && !/[g-z]/i.test(text);
  if (!isRange) {
    writeValue(type, text, from, 0);
    return { from, to: from };
  }
  writeValue(type, text.slice(0, dash), from, 0);
  writeValue(type, text.slice(dash + 1), to, 0);
  const order = compareBytes(from, to);
  if (order > 0) throw bad(type, text);
  return order === 0 ? { from, to: from } : { from, to };
}

/** The length of the prefix that the text ends in; throws RangeError. */
export function prefixLength(type: ValueType, text: string, slash: number): number {
  const digits = text.slice(slash + 1);
  const length = Number(digits);
  const isAddress = type === "ipv4_addr" || type === "ipv6_addr";
  if (!isAddress || !/^(0|[1-9][0-9]{0,2})$/.test(digits) || length > 8 * sizeOf(type)) throw bad(type, text);
  return length;
}

/** The interval as text: a value, a prefix where it is one, else a range. */
export function formatInterval(type: ValueType, { from, to }: Interval): string {
  const first = formatBytes(type, from);
  if (compareBytes(from, to) === 0) return first;
  if (type === "ipv4_addr" || type === "ipv6_addr") {
    const length = lengthOfPrefix(from, to);
    if (length !== undefined) return `${first}/${length}`;
  }
  return `${first}-${formatBytes(type, to)}`;
}

/** The length of the prefix that begins and ends so; undefined when the interval is none. */
function lengthOfPrefix(from: Uint8Array, to: Uint8Array): number | undefined {
  let length = 0;
  while (length < 8 * from.length && bitAt(from, length) === bitAt(to, length)) length++;
  for (let i = length; i < 8 * from.length; i++) if (bitAt(from, i) !== 0 || bitAt(to, i) !== 1) return undefined;
  return length;
}

function bitAt(bytes: Uint8Array, index: number): number {
  return (bytes[index >> 3]! >> (7 - (index & 7))) & 1;
}

/** Orders values of the same length. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length; i++) {
    const difference = a[i]! - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** The next value; undefined past the last. */
export function successor(bytes: Uint8Array): Uint8Array | undefined {
  const next = bytes.slice();
  for (let i = next.length - 1; i >= 0; i--) {
    if (next[i] !== 255) {
      next[i]!++;
      return next;
    }
    next[i] = 0;
  }
  return undefined;
}

/** The value before; undefined before the first. */
export function predecessor(bytes: Uint8Array): Uint8Array | undefined {
  const next = bytes.slice();
  for (let i = next.length - 1; i >= 0; i--) {
    if (next[i] !== 0) {
      next[i]!--;
      return next;
    }
    next[i] = 255;
  }
  return undefined;
}

/** Sorted intervals that do not overlap and cover the same values; with `joinTouching` neighbours become one. */
export function disjoint(intervals: readonly Interval[], { joinTouching = false } = {}): Interval[] {
  const sorted = [...intervals].sort((a, b) => compareBytes(a.from, b.from) || compareBytes(b.to, a.to));
  const merged: { from: Uint8Array; to: Uint8Array }[] = [];
  for (const { from, to } of sorted) {
    const last = merged.at(-1);
    const reach = last && joinTouching ? successor(last.to) ?? last.to : last?.to;
    if (last && reach && compareBytes(from, reach) <= 0) {
      if (compareBytes(to, last.to) > 0) last.to = to;
    } else merged.push({ from, to });
  }
  return merged;
}

/**
 * The members of an interval set of one type in canonical text, without overlap: what `nft list` would show. Members that
 * overlap nobody keep their text; the order and the values mean nothing. Throws RangeError on what is no value, prefix or range of the type.
 */
export function disjointMembers(type: ValueType, members: Iterable<string>): Map<string, ""> {
  if (type === "ipv4_addr") return disjointIpv4(members);
  const intervals: Interval[] = [];
  for (const member of members) intervals.push(parseInterval(type, member));
  return new Map(disjoint(intervals).map((interval) => [formatInterval(type, interval), ""]));
}

/**
 * The same for IPv4, whose sets are large: single addresses cannot overlap one another, so only the prefixes and ranges are
 * sorted and joined, and each address is looked up among them.
 */
function disjointIpv4(members: Iterable<string>): Map<string, ""> {
  const found = new Map<string, "">();
  const ranges: { from: number; to: number }[] = [];
  for (const member of members) {
    if (isPlain(member)) {
      writeValue("ipv4_addr", member, scratch, 0);
      found.set(member, "");
    } else {
      const { from, to } = parseInterval("ipv4_addr", member);
      if (from === to) found.set(dotted(numberAt(from)), "");
      else ranges.push({ from: numberAt(from), to: numberAt(to) });
    }
  }
  if (ranges.length === 0) return found;
  const joined: { from: number; to: number }[] = [];
  for (const range of ranges.sort((a, b) => a.from - b.from)) {
    const last = joined.at(-1);
    if (last && range.from <= last.to) last.to = Math.max(last.to, range.to);
    else joined.push(range);
  }
  for (const member of found.keys()) {
    writeValue("ipv4_addr", member, scratch, 0);
    if (isInside(joined, numberAt(scratch))) found.delete(member);
  }
  for (const { from, to } of joined) found.set(formatIpv4(from, to), "");
  return found;
}

const scratch = new Uint8Array(4);

function isPlain(member: string): boolean {
  return !member.includes("/") && !member.includes("-");
}

/** Whether the value lies in one of the sorted, disjoint ranges. */
function isInside(ranges: readonly { readonly from: number; readonly to: number }[], value: number): boolean {
  let low = 0, high = ranges.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ranges[middle]!.from <= value) low = middle + 1;
    else high = middle;
  }
  return low > 0 && ranges[low - 1]!.to >= value;
}

function numberAt(bytes: Uint8Array): number {
  return ((bytes[0]! << 24) | (bytes[1]! << 16) | (bytes[2]! << 8) | bytes[3]!) >>> 0;
}

function formatIpv4(from: number, to: number): string {
  if (from === to) return dotted(from);
  const size = to - from + 1;
  const bits = Math.log2(size);
  return Number.isInteger(bits) && from % size === 0 ? `${dotted(from)}/${32 - bits}` : `${dotted(from)}-${dotted(to)}`;
}

function dotted(value: number): string {
  return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;
}
