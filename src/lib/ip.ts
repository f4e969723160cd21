/**
 * IP addresses as immutable values, IPv4 and IPv6, with strict text forms.
 *
 * Parsing accepts only what cannot be misread: four decimal octets without leading zeros for IPv4, RFC 4291 section 2.2
 * for IPv6 (no zone). Text comes out in the canonical form (RFC 5952), so equal addresses have equal text and the text
 * can be used as a map key. Bytes are in network order. Hot tables (RIB, FIB) hold numbers instead of these objects.
 */

/** The address family as IP writes its version: 4 or 6. */
export type Family = 4 | 6;

/** An IP address; compare with `equals` or by `toString()`, never by identity. */
export class Ip {
  #text: string | undefined;

  private constructor(
    readonly family: Family,
    /** 4 or 16 bytes in network order; treat as read-only. */
    readonly bytes: Uint8Array,
  ) {}

  /** Makes an address from 4 or 16 bytes in network order, which are copied; throws RangeError on another length. */
  static fromBytes(bytes: Uint8Array): Ip {
    if (bytes.length !== 4 && bytes.length !== 16) {
      throw new RangeError(`Cannot make an IP address of ${bytes.length} bytes: 4 or 16 are needed`);
    }
    return new Ip(bytes.length === 4 ? 4 : 6, bytes.slice());
  }

  /** Makes an IPv4 address from its value as an unsigned 32-bit number. */
  static fromNumber(value: number): Ip {
    return new Ip(4, Uint8Array.of(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255));
  }

  /** Makes an address of the family from its value as an integer; throws RangeError when it does not fit. */
  static fromBigInt(family: Family, value: bigint): Ip {
    const size = family === 4 ? 4 : 16;
    if (value < 0n || value >> BigInt(size * 8) !== 0n) {
      throw new RangeError(`Cannot make an IPv${family} address of ${value}: out of range`);
    }
    const bytes = new Uint8Array(size);
    for (let i = size - 1, rest = value; i >= 0; i--, rest >>= 8n) bytes[i] = Number(rest & 255n);
    return new Ip(family, bytes);
  }

  /** Reads the text form; returns undefined when it is not exactly one address. */
  static tryParse(text: string): Ip | undefined {
    const bytes = text.includes(":") ? parseV6(text) : parseV4(text);
    return bytes && new Ip(bytes.length === 4 ? 4 : 6, bytes);
  }

  /** Reads the text form; throws SyntaxError naming the text when it is not exactly one address. */
  static parse(text: string): Ip {
    const ip = Ip.tryParse(text);
    if (!ip) throw new SyntaxError(`Cannot parse ${JSON.stringify(text)}: not an IP address`);
    return ip;
  }

  /** The number of bits: 32 or 128. */
  get bits(): 32 | 128 {
    return this.family === 4 ? 32 : 128;
  }

  /** The IPv4 value as an unsigned 32-bit number; for IPv6 the first 32 bits. */
  toNumber(): number {
    const b = this.bytes;
    return ((b[0]! << 24) | (b[1]! << 16) | (b[2]! << 8) | b[3]!) >>> 0;
  }

  /** The value as an integer. */
  toBigInt(): bigint {
    let value = 0n;
    for (const byte of this.bytes) value = (value << 8n) | BigInt(byte);
    return value;
  }

  /** The address `offset` further on; throws RangeError past either end of the family. */
  plus(offset: bigint | number): Ip {
    return Ip.fromBigInt(this.family, this.toBigInt() + BigInt(offset));
  }

  /** Whether family and value are the same. */
  equals(other: Ip): boolean {
    return this.family === other.family && this.bytes.every((byte, i) => byte === other.bytes[i]);
  }

  /** IPv4 before IPv6, then by value: negative, zero or positive, for sorting. */
  compare(other: Ip): number {
    if (this.family !== other.family) return this.family - other.family;
    for (let i = 0; i < this.bytes.length; i++) {
      const difference = this.bytes[i]! - other.bytes[i]!;
      if (difference !== 0) return difference;
    }
    return 0;
  }

  /** Whether the address is all zeros (0.0.0.0 or ::). */
  get isUnspecified(): boolean {
    return this.bytes.every((byte) => byte === 0);
  }

  /** Whether the address is a loopback one (127.0.0.0/8 or ::1). */
  get isLoopback(): boolean {
    return this.family === 4 ? this.bytes[0] === 127 : this.bytes.every((byte, i) => byte === (i === 15 ? 1 : 0));
  }

  /** Whether the address is link-local (169.254.0.0/16 or fe80::/10). */
  get isLinkLocal(): boolean {
    return this.family === 4
      ? this.bytes[0] === 169 && this.bytes[1] === 254
      : this.bytes[0] === 0xfe && (this.bytes[1]! & 0xc0) === 0x80;
  }

  /** Whether the address is a multicast one (224.0.0.0/4 or ff00::/8). */
  get isMulticast(): boolean {
    return this.family === 4 ? this.bytes[0]! >> 4 === 14 : this.bytes[0] === 0xff;
  }

  /** The canonical text (RFC 5952 for IPv6). */
  toString(): string {
    return this.#text ??= this.family === 4 ? this.bytes.join(".") : formatV6(this.bytes);
  }

  toJSON(): string {
    return this.toString();
  }
}

function parseV4(text: string): Uint8Array | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  const bytes = new Uint8Array(4);
  for (const [i, part] of parts.entries()) {
    if (!/^(0|[1-9][0-9]{0,2})$/.test(part) || Number(part) > 255) return undefined;
    bytes[i] = Number(part);
  }
  return bytes;
}

function parseV6(text: string): Uint8Array | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0]!, halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1]!, true) : [];
  if (!head || !tail) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  const bytes = new Uint8Array(16);
  [...head, ...new Array<number>(missing).fill(0), ...tail].forEach((group, i) => {
    bytes[2 * i] = group >> 8;
    bytes[2 * i + 1] = group & 255;
  });
  return bytes;
}

function parseGroups(text: string, mayEndInV4: boolean): number[] | undefined {
  if (text === "") return [];
  const groups: number[] = [];
  const parts = text.split(":");
  for (const [i, part] of parts.entries()) {
    if (/^[0-9a-fA-F]{1,4}$/.test(part)) {
      groups.push(parseInt(part, 16));
      continue;
    }
    const v4 = mayEndInV4 && i === parts.length - 1 ? parseV4(part) : undefined;
    if (!v4) return undefined;
    groups.push((v4[0]! << 8) | v4[1]!, (v4[2]! << 8) | v4[3]!);
  }
  return groups;
}

function formatV6(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => (bytes[2 * i]! << 8) | bytes[2 * i + 1]!);
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return `::ffff:${bytes.slice(12).join(".")}`;
  }
  let bestStart = -1, bestLength = 1;
  for (let i = 0; i < 8;) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > bestLength) [bestStart, bestLength] = [i, end - i];
    i = Math.max(end, i + 1);
  }
  const text = (from: number, to: number) => groups.slice(from, to).map((group) => group.toString(16)).join(":");
  return bestStart < 0 ? text(0, 8) : `${text(0, bestStart)}::${text(bestStart + bestLength, 8)}`;
}
