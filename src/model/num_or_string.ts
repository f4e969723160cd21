/**
 * The values that Calico writes as a number or a string: AS numbers, ports, protocols and DSCP. They are kept as the JSON
 * has them; these functions read them. Each returns undefined for what is no such value.
 */

/** Reads an AS number: 0 to 4294967295, as a number or as text, asplain or asdot ("1.10" is 65546). */
export function parseAsNumber(value: unknown): number | undefined {
  if (typeof value === "number") {
    return Number.isInteger(value) && value >= 0 && value <= 0xffffffff ? value : undefined;
  }
  if (typeof value !== "string") return undefined;
  if (/^[0-9]{1,20}$/.test(value)) return parseAsNumber(Number(value));
  const [, high, low] = /^([0-9]{1,10})\.([0-9]{1,10})$/.exec(value) ?? [];
  if (high === undefined || Number(high) > 65535 || Number(low) > 65535) return undefined;
  return Number(high) * 65536 + Number(low);
}

/** A port, a range of ports (both ends included), or the name of one. */
export type Port =
  | { readonly min: number; readonly max: number }
  | { readonly name: string };

/** Reads a port: 0 to 65535 as a number or text, "lo:hi", or a name of up to 128 letters, digits and _ . - */
export function parsePort(value: unknown): Port | undefined {
  if (typeof value === "number") return isPortNumber(value) ? { min: value, max: value } : undefined;
  if (typeof value !== "string") return undefined;
  if (/^[0-9]+$/.test(value)) return parsePort(Number(value));
  const [, lo, hi] = /^([0-9]+):([0-9]+)$/.exec(value) ?? [];
  if (lo !== undefined) {
    const [min, max] = [Number(lo), Number(hi)];
    return isPortNumber(min) && isPortNumber(max) && min <= max ? { min, max } : undefined;
  }
  return /^[a-zA-Z0-9_.-]{1,128}$/.test(value) ? { name: value } : undefined;
}

function isPortNumber(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 65535;
}

/** Writes a port as JSON holds it: a number, "lo:hi" or a name. */
export function portValue(port: Port): number | string {
  if ("name" in port) return port.name;
  return port.min === port.max ? port.min : `${port.min}:${port.max}`;
}

/** Reads a protocol or another value of 8 bits with names: a number 0 to 255 (as text too), else the name as it is. */
export function parseUint8OrName(value: unknown): number | string | undefined {
  if (typeof value === "number") return Number.isInteger(value) && value >= 0 && value <= 255 ? value : undefined;
  if (typeof value !== "string") return undefined;
  return /^[0-9]{1,20}$/.test(value) && Number(value) <= 255 ? Number(value) : value;
}

/** IP protocol numbers of the names that rules may use. */
export const PROTOCOL_NUMBERS: Readonly<Record<string, number>> = {
  TCP: 6,
  UDP: 17,
  ICMP: 1,
  ICMPv6: 58,
  SCTP: 132,
  UDPLite: 136,
};

/** Reads a protocol: a known name in any case, or a number; undefined for anything else. Gives the IP protocol number. */
export function parseProtocol(value: unknown): number | undefined {
  const read = parseUint8OrName(value);
  if (typeof read !== "string") return read;
  const name = Object.keys(PROTOCOL_NUMBERS).find((known) => known.toLowerCase() === read.toLowerCase());
  return name === undefined ? undefined : PROTOCOL_NUMBERS[name];
}

/** Whether packets of the protocol have ports that rules can match (TCP, UDP and SCTP). */
export function protocolHasPorts(value: unknown): boolean {
  const number = parseProtocol(value);
  return number === 6 || number === 17 || number === 132;
}

const DSCP_NAMES: Readonly<Record<string, number>> = {
  DF: 0,
  EF: 46,
  ...Object.fromEntries([0, 1, 2, 3, 4, 5, 6].map((value) => [`CS${value}`, value * 8])),
  ...Object.fromEntries(
    [1, 2, 3, 4].flatMap((value) => [1, 2, 3].map((drop) => [`AF${value}${drop}`, value * 8 + drop * 2])),
  ),
};

/** Reads a DSCP value: 0 to 63 or one of its names (RFC 2474, 2597, 3246). */
export function parseDscp(value: unknown): number | undefined {
  const read = parseUint8OrName(value);
  if (typeof read === "number") return read <= 63 ? read : undefined;
  const name = read?.trim().toUpperCase();
  return name !== undefined && Object.hasOwn(DSCP_NAMES, name) ? DSCP_NAMES[name] : undefined;
}
