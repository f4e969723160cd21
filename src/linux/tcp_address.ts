/**
 * Socket addresses (struct sockaddr_in, sockaddr_in6 of <netinet/in.h>): family in the host's order, port and address in
 * network order. An IPv6 link-local address needs its interface: "fe80::1%eth0" in text, the scope id in the struct.
 */

import { Ip } from "../lib/ip.ts";
import type { Endpoint } from "../bgp/transport.ts";
import { cstring, libc } from "./libc.ts";

export const AF_INET = 2;
export const AF_INET6 = 10;
/** Room for either kind. */
export const SOCKADDR_BYTES = 28;

/** An address in text, "192.0.2.1" or "fe80::1%eth0", taken apart. */
export interface ParsedAddress {
  readonly bytes: Uint8Array;
  readonly scopeId: number;
}

/** Reads an address with an optional interface; throws SyntaxError when it is none. */
export function parseAddress(text: string): ParsedAddress {
  const [address = "", zone] = text.split("%");
  const bytes = Ip.parse(address).bytes;
  return { bytes, scopeId: zone === undefined ? 0 : libc().if_nametoindex(cstring(zone)) };
}

/** The struct for an address of 4 or 16 octets. */
export function encodeSockaddr(address: Uint8Array, port: number, scopeId = 0): Uint8Array<ArrayBuffer> {
  const isV6 = address.length === 16;
  const out = new Uint8Array(isV6 ? SOCKADDR_BYTES : 16);
  const view = new DataView(out.buffer);
  view.setUint16(0, isV6 ? AF_INET6 : AF_INET, true);
  view.setUint16(2, port);
  out.set(address, isV6 ? 8 : 4);
  if (isV6) view.setUint32(24, scopeId, true);
  return out;
}

/** The endpoint in a struct that the kernel filled; an IPv4-mapped address reads as IPv4. */
export function decodeSockaddr(struct: Uint8Array): Endpoint {
  const view = new DataView(struct.buffer, struct.byteOffset);
  const port = view.getUint16(2);
  if (view.getUint16(0, true) === AF_INET) return { address: struct.slice(4, 8), port };
  const address = struct.slice(8, 24);
  const isMapped = address.subarray(0, 10).every((octet) => octet === 0) && address[10] === 0xff &&
    address[11] === 0xff;
  if (isMapped) return { address: address.slice(12), port };
  const isLinkLocal = address[0] === 0xfe && (address[1]! & 0xc0) === 0x80;
  return isLinkLocal ? { address, port, scopeId: view.getUint32(24, true) } : { address, port };
}

/** "192.0.2.1" or "2001:db8::1". */
export function formatAddress(address: Uint8Array): string {
  return address.length === 0 ? "?" : Ip.fromBytes(address).toString();
}
