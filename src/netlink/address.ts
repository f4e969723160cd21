/**
 * Addresses of interfaces (linux/if_addr.h).
 *
 *     RTM_NEWADDR   struct ifaddrmsg { u8 family; u8 prefixlen; u8 flags; u8 scope; u32 index }
 *       IFA_LOCAL (our address)  IFA_ADDRESS (the same, or the other end's on a point-to-point link)
 *
 * IPv6 sends IFA_ADDRESS alone, IPv4 both; the prefix length belongs to IFA_ADDRESS. Decoders throw `MalformedError`.
 */

import type { ByteWriter } from "../lib/bytes.ts";
import type { IpNet } from "../lib/cidr.ts";
import { Ip } from "../lib/ip.ts";
import { eachAttribute, putBytes, u32At } from "./attribute.ts";
import { MalformedError } from "./malformed.ts";
import { NLM_F_CREATE, NLM_F_REPLACE } from "./message.ts";
import type { Request } from "./request.ts";

export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
const RTM_GETADDR = 22;

export const AF_INET = 2;
export const AF_INET6 = 10;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFADDRMSG = 8;

/** An address as RTM_NEWADDR tells it. */
export interface AddressMessage {
  readonly index: number;
  readonly net: IpNet;
  /** RT_SCOPE_*. */
  readonly scope: number;
}

/** Decodes the body of RTM_NEWADDR or RTM_DELADDR; undefined for another family than IPv4 and IPv6. */
export function decodeAddress(body: Uint8Array): AddressMessage | undefined {
  if (body.length < IFADDRMSG) throw new MalformedError("struct ifaddrmsg", 0);
  const [family, length, , scope] = body as unknown as [number, number, number, number];
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  let local: Ip | undefined, address: Ip | undefined;
  eachAttribute(body, IFADDRMSG, body.length, (type, at, size) => {
    if (type === IFA_LOCAL) local = ipAt(body, at, size, family);
    else if (type === IFA_ADDRESS) address = ipAt(body, at, size, family);
  });
  const ip = local ?? address;
  if (!ip || length > ip.bits) throw new MalformedError("IFA_ADDRESS", 0);
  return { index: u32At(body, 4), net: { ip, length }, scope };
}

/** Asks for all addresses (a dump). */
export function getAddresses(): Request {
  return { operation: "address show", type: RTM_GETADDR, body: (writer) => writer.zeros(IFADDRMSG) };
}

/** Adds an address; the same address there already is no error. */
export function newAddress(address: AddressMessage): Request {
  return {
    operation: `address add ${format(address)}`,
    type: RTM_NEWADDR,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    body: (writer) => putAddress(writer, address),
  };
}

/** Removes an address. */
export function delAddress(address: AddressMessage): Request {
  return {
    operation: `address del ${format(address)}`,
    type: RTM_DELADDR,
    body: (writer) => putAddress(writer, address),
  };
}

/** The address of the family in an attribute's value; throws `MalformedError` when the size is another family's. */
export function ipAt(bytes: Uint8Array, at: number, size: number, family: number): Ip {
  if (size !== (family === AF_INET ? 4 : 16)) throw new MalformedError("IP address", at);
  return Ip.fromBytes(bytes.subarray(at, at + size));
}

/** AF_INET or AF_INET6. */
export function familyOf(ip: Ip): number {
  return ip.family === 4 ? AF_INET : AF_INET6;
}

function format(address: AddressMessage): string {
  return `${address.net.ip}/${address.net.length} dev ${address.index}`;
}

function putAddress(writer: ByteWriter, { index, net, scope }: AddressMessage): void {
  writer.u8(familyOf(net.ip)).u8(net.length).u8(0).u8(scope).u32le(index);
  putBytes(writer, IFA_LOCAL, net.ip.bytes);
  putBytes(writer, IFA_ADDRESS, net.ip.bytes);
}
