/**
 * Neighbours: ARP and ND entries, and the addresses that a link answers for as a proxy (linux/neighbour.h).
 *
 *     RTM_NEWNEIGH   struct ndmsg { u8 family; u8 pad; u16 pad; i32 ifindex; u16 state; u8 flags; u8 type }
 *       NDA_DST (address)  NDA_LLADDR (mac)
 *
 * A dump with NTF_PROXY in its header gives the proxy entries, one without gives the others. Decoders throw `MalformedError`.
 */

import type { ByteWriter } from "../lib/bytes.ts";
import type { Ip } from "../lib/ip.ts";
import { formatMac, parseMac } from "../lib/mac.ts";
import { AF_INET, AF_INET6, familyOf, ipAt } from "./address.ts";
import { eachAttribute, putBytes, u16At, u32At } from "./attribute.ts";
import { MalformedError } from "./malformed.ts";
import { NLM_F_CREATE, NLM_F_REPLACE } from "./message.ts";
import type { Request } from "./request.ts";

export const RTM_NEWNEIGH = 28;
export const RTM_DELNEIGH = 29;
const RTM_GETNEIGH = 30;

export const NTF_PROXY = 0x08;
const NDA_DST = 1;
const NDA_LLADDR = 2;
const NDMSG = 12;

/** A neighbour as RTM_NEWNEIGH tells it. */
export interface NeighbourMessage {
  readonly index: number;
  readonly ip: Ip;
  /** Lower-case text; absent for a proxy entry or an incomplete one. */
  readonly mac?: string;
  /** NUD_*. */
  readonly state: number;
  /** NTF_*. */
  readonly flags: number;
}

/** Decodes the body of RTM_NEWNEIGH or RTM_DELNEIGH; undefined for another family (a bridge's forwarding entries). */
export function decodeNeighbour(body: Uint8Array): NeighbourMessage | undefined {
  if (body.length < NDMSG) throw new MalformedError("struct ndmsg", 0);
  const family = body[0]!;
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  let ip: Ip | undefined, mac: string | undefined;
  eachAttribute(body, NDMSG, body.length, (type, at, length) => {
    if (type === NDA_DST) ip = ipAt(body, at, length, family);
    else if (type === NDA_LLADDR && length > 0) mac = formatMac(body.subarray(at, at + length));
  });
  if (!ip) throw new MalformedError("NDA_DST", 0);
  return { index: u32At(body, 4), ip, ...(mac && { mac }), state: u16At(body, 8), flags: body[10]! };
}

/** Asks for the neighbours of both families, or for the proxy entries (a dump). */
export function getNeighbours(which: "entries" | "proxies"): Request {
  return {
    operation: which === "proxies" ? "neighbour show proxy" : "neighbour show",
    type: RTM_GETNEIGH,
    body: (writer) => writer.zeros(10).u8(which === "proxies" ? NTF_PROXY : 0).u8(0),
  };
}

/** Adds or overwrites a neighbour. A MAC that is none throws SyntaxError. */
export function newNeighbour(neighbour: NeighbourMessage): Request {
  return {
    operation: `neighbour replace ${format(neighbour)}`,
    type: RTM_NEWNEIGH,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    body: (writer) => putNeighbour(writer, neighbour),
  };
}

/** Removes a neighbour, or the proxy entry when its flags say so. */
export function delNeighbour(neighbour: NeighbourMessage): Request {
  return {
    operation: `neighbour del ${format(neighbour)}`,
    type: RTM_DELNEIGH,
    body: (writer) => putNeighbour(writer, neighbour),
  };
}

function format({ ip, index, mac, flags }: NeighbourMessage): string {
  return `${flags & NTF_PROXY ? "proxy " : ""}${ip} dev ${index}${mac ? ` lladdr ${mac}` : ""}`;
}

function putNeighbour(writer: ByteWriter, { index, ip, mac, state, flags }: NeighbourMessage): void {
  writer.u8(familyOf(ip)).u8(0).u16le(0).u32le(index).u16le(state).u8(flags).u8(0);
  putBytes(writer, NDA_DST, ip.bytes);
  if (mac === undefined) return;
  const bytes = parseMac(mac);
  if (!bytes) throw new SyntaxError(`Cannot set the MAC ${JSON.stringify(mac)}: not six octets joined by colons`);
  putBytes(writer, NDA_LLADDR, bytes);
}
