/**
 * CIDR prefixes as immutable values: a masked network address and a length.
 *
 * `Cidr` always has its host bits cleared, so equal prefixes have equal text. An interface address ("192.0.2.11/24"),
 * whose host bits matter, is an `Ip` with a length: see `parseIpNet`.
 */

import { type Family, Ip } from "./ip.ts";

/** An address together with the length of the prefix that it lives in ("192.0.2.11/24"). */
export interface IpNet {
  readonly ip: Ip;
  readonly length: number;
}

/** A network prefix; compare with `equals` or by `toString()`. */
export class Cidr {
  #text: string | undefined;

  private constructor(
    /** The first address of the prefix. */
    readonly ip: Ip,
    readonly length: number,
  ) {}

  /** The prefix of that length around the address (host bits are cleared); throws RangeError on a bad length. */
  static of(ip: Ip, length: number): Cidr {
    if (!Number.isInteger(length) || length < 0 || length > ip.bits) {
      throw new RangeError(`Cannot make a /${length} prefix of the IPv${ip.family} address ${ip}`);
    }
    return new Cidr(maskIp(ip, length), length);
  }

  /** The prefix of full length that holds just this address. */
  static host(ip: Ip): Cidr {
    return new Cidr(ip, ip.bits);
  }

  /** Reads "address/length", clearing host bits; returns undefined when it is anything else. */
  static tryParse(text: string): Cidr | undefined {
    const net = tryParseIpNet(text);
    return net && Cidr.of(net.ip, net.length);
  }

  /** Reads "address/length", clearing host bits; throws SyntaxError naming the text. */
  static parse(text: string): Cidr {
    const cidr = Cidr.tryParse(text);
    if (!cidr) throw new SyntaxError(`Cannot parse ${JSON.stringify(text)}: not a CIDR prefix`);
    return cidr;
  }

  get family(): Family {
    return this.ip.family;
  }

  /** How many addresses the prefix holds. */
  get size(): bigint {
    return 1n << BigInt(this.ip.bits - this.length);
  }

  /** The last address of the prefix. */
  get last(): Ip {
    return this.ip.plus(this.size - 1n);
  }

  /** Whether the address, or every address of the prefix, lies inside. */
  contains(other: Ip | Cidr): boolean {
    const [ip, length] = other instanceof Cidr ? [other.ip, other.length] : [other, other.bits];
    return ip.family === this.family && length >= this.length && maskIp(ip, this.length).equals(this.ip);
  }

  /** Whether the two prefixes share an address. */
  overlaps(other: Cidr): boolean {
    return this.contains(other) || other.contains(this);
  }

  equals(other: Cidr): boolean {
    return this.length === other.length && this.ip.equals(other.ip);
  }

  /** By address, then shorter before longer, for sorting. */
  compare(other: Cidr): number {
    return this.ip.compare(other.ip) || this.length - other.length;
  }

  toString(): string {
    return this.#text ??= `${this.ip}/${this.length}`;
  }

  toJSON(): string {
    return this.toString();
  }
}

/** Reads "address/length" and keeps the host bits; returns undefined when it is anything else. */
export function tryParseIpNet(text: string): IpNet | undefined {
  const slash = text.indexOf("/");
  if (slash < 0) return undefined;
  const ip = Ip.tryParse(text.slice(0, slash));
  const lengthText = text.slice(slash + 1);
  if (!ip || !/^(0|[1-9][0-9]{0,2})$/.test(lengthText) || Number(lengthText) > ip.bits) return undefined;
  return { ip, length: Number(lengthText) };
}

/** Whether no bit past `length` is set. */
function isMasked({ bytes }: Ip, length: number): boolean {
  const whole = length >> 3;
  if (bytes[whole]! & (0xff >> (length & 7))) return false;
  for (let i = whole + 1; i < bytes.length; i++) if (bytes[i] !== 0) return false;
  return true;
}

/** Clears the bits of the address past `length`. */
function maskIp(ip: Ip, length: number): Ip {
  if (length === ip.bits || isMasked(ip, length)) return ip;
  const bytes = ip.bytes.slice();
  for (let i = 0; i < bytes.length; i++) {
    const kept = Math.min(8, Math.max(0, length - 8 * i));
    bytes[i]! &= (0xff00 >> kept) & 255;
  }
  return Ip.fromBytes(bytes);
}
