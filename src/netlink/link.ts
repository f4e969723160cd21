/**
 * Links: interfaces as rtnetlink tells them, and the requests that make, change, move and remove them (linux/if_link.h,
 * linux/rtnetlink.h, linux/veth.h).
 *
 *     RTM_NEWLINK   struct ifinfomsg { u8 family; u8 pad; u16 type; i32 index; u32 flags; u32 change }
 *       IFLA_ADDRESS (mac)  IFLA_IFNAME  IFLA_MTU  IFLA_LINK (peer)  IFLA_MASTER  IFLA_OPERSTATE  IFLA_IFALIAS
 *       IFLA_NET_NS_FD | IFLA_NET_NS_PID     where to move it, or where a new one is born
 *       IFLA_LINKINFO
 *         IFLA_INFO_KIND "veth"
 *         IFLA_INFO_DATA
 *           VETH_INFO_PEER   struct ifinfomsg, then IFLA_* of the other end
 *
 * In and out: plain values; a MAC is lower-case text. Decoders throw `MalformedError`.
 */

import type { ByteWriter } from "../lib/bytes.ts";
import { formatMac, parseMac } from "../lib/mac.ts";
import { eachAttribute, putBytes, putNest, putString, putU32, stringAt, u32At, u8At } from "./attribute.ts";
import { MalformedError } from "./malformed.ts";
import { NLM_F_CREATE, NLM_F_EXCL } from "./message.ts";
import type { Request } from "./request.ts";

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const RTM_SETLINK = 19;

const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_LINK = 5;
const IFLA_MASTER = 10;
const IFLA_OPERSTATE = 16;
const IFLA_LINKINFO = 18;
const IFLA_NET_NS_PID = 19;
const IFLA_IFALIAS = 20;
const IFLA_NET_NS_FD = 28;
const IFLA_EXT_MASK = 29;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const VETH_INFO_PEER = 1;

const IFF_UP = 0x1;
const IFF_RUNNING = 0x40;
const IF_OPER_UNKNOWN = 0;
const IF_OPER_UP = 6;
const RTEXT_FILTER_SKIP_STATS = 8;
const IFINFOMSG = 16;

/** An interface as RTM_NEWLINK tells it. */
export interface LinkMessage {
  readonly index: number;
  readonly name: string;
  /** Lower-case text; empty when the device has none. */
  readonly mac: string;
  readonly mtu: number;
  readonly isUp: boolean;
  readonly isRunning: boolean;
  /** IFLA_INFO_KIND; empty for a physical device and loopback. */
  readonly kind: string;
  readonly alias: string;
  readonly master?: number;
  readonly peerIndex?: number;
}

/** A namespace by an open file descriptor of it, or by a process that lives in it. */
export type NamespaceReference = { readonly fd: number } | { readonly pid: number };

/** What can be said of a link when it is made or changed; what is left out stays as it is. */
export interface LinkSettings {
  readonly isUp?: boolean;
  readonly mac?: string;
  /** Bytes. */
  readonly mtu?: number;
  readonly name?: string;
  readonly alias?: string;
  /** The index of the device to enslave it to; 0 frees it. */
  readonly master?: number;
  readonly namespace?: NamespaceReference;
}

/**
 * Decodes the body of RTM_NEWLINK or RTM_DELLINK; throws `MalformedError`. Undefined for a message that speaks of a link
 * for another family (a bridge reports its ports that way): it says nothing of the link itself.
 */
export function decodeLink(body: Uint8Array): LinkMessage | undefined {
  if (body.length < IFINFOMSG) throw new MalformedError("struct ifinfomsg", 0);
  if (body[0] !== 0) return undefined;
  const flags = u32At(body, 8);
  const link = { name: "", mac: "", mtu: 0, kind: "", alias: "" };
  const optional: { master?: number; peerIndex?: number } = {};
  let operState = IF_OPER_UNKNOWN;
  eachAttribute(body, IFINFOMSG, body.length, (type, at, length) => {
    if (type === IFLA_IFNAME) link.name = stringAt(body, at, length);
    else if (type === IFLA_ADDRESS) link.mac = formatMac(body.subarray(at, at + length));
    else if (type === IFLA_MTU) link.mtu = u32At(body, at);
    else if (type === IFLA_LINK) optional.peerIndex = u32At(body, at);
    else if (type === IFLA_MASTER) optional.master = u32At(body, at);
    else if (type === IFLA_OPERSTATE) operState = u8At(body, at);
    else if (type === IFLA_IFALIAS) link.alias = stringAt(body, at, length);
    else if (type === IFLA_LINKINFO) link.kind = decodeKind(body, at, at + length);
  });
  if (optional.peerIndex === 0) delete optional.peerIndex;
  return {
    index: u32At(body, 4),
    ...link,
    isUp: (flags & IFF_UP) !== 0,
    isRunning: (flags & IFF_RUNNING) !== 0 && (operState === IF_OPER_UP || operState === IF_OPER_UNKNOWN),
    ...optional,
  };
}

function decodeKind(body: Uint8Array, from: number, to: number): string {
  let kind = "";
  eachAttribute(body, from, to, (type, at, length) => {
    if (type === IFLA_INFO_KIND) kind = stringAt(body, at, length);
  });
  return kind;
}

/** Asks for all links (a dump) or for one by index or name, without statistics. */
export function getLink(which?: string | number): Request {
  return {
    operation: which === undefined ? "link show" : `link show ${which}`,
    type: RTM_GETLINK,
    body: (writer) => {
      putIfinfomsg(writer, typeof which === "number" ? which : 0);
      putU32(writer, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
      if (typeof which === "string") putString(writer, IFLA_IFNAME, which);
    },
  };
}

/** Makes a veth pair; the peer may be born in another namespace. A MAC that is none throws SyntaxError. */
export function newVeth(near: LinkSettings, peer: LinkSettings): Request {
  return {
    operation: `link add ${near.name ?? ""} type veth peer ${peer.name ?? ""}`,
    type: RTM_NEWLINK,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    body: (writer) => {
      putLink(writer, 0, near);
      putNest(writer, IFLA_LINKINFO, () => {
        putString(writer, IFLA_INFO_KIND, "veth");
        putNest(writer, IFLA_INFO_DATA, () => putNest(writer, VETH_INFO_PEER, () => putLink(writer, 0, peer)));
      });
    },
  };
}

/** Changes, renames or moves the link of that index. A MAC that is none throws SyntaxError. */
export function setLink(index: number, settings: LinkSettings): Request {
  return {
    operation: `link set ${index} ${describe(settings)}`,
    type: RTM_SETLINK,
    body: (writer) => putLink(writer, index, settings),
  };
}

/** Removes the link of that index (and, of a veth, its peer). */
export function delLink(index: number): Request {
  return { operation: `link del ${index}`, type: RTM_DELLINK, body: (writer) => putIfinfomsg(writer, index) };
}

function describe(settings: LinkSettings): string {
  const words: string[] = [];
  if (settings.name !== undefined) words.push(`name ${settings.name}`);
  if (settings.mac !== undefined) words.push(`address ${settings.mac}`);
  if (settings.mtu !== undefined) words.push(`mtu ${settings.mtu}`);
  if (settings.alias !== undefined) words.push(`alias ${JSON.stringify(settings.alias)}`);
  if (settings.master !== undefined) words.push(settings.master === 0 ? "nomaster" : `master ${settings.master}`);
  if (settings.namespace !== undefined) words.push("netns");
  if (settings.isUp !== undefined) words.push(settings.isUp ? "up" : "down");
  return words.join(" ");
}

function putIfinfomsg(writer: ByteWriter, index: number, isUp?: boolean): void {
  writer.u8(0).u8(0).u16le(0).u32le(index).u32le(isUp ? IFF_UP : 0).u32le(isUp === undefined ? 0 : IFF_UP);
}

function putLink(writer: ByteWriter, index: number, settings: LinkSettings): void {
  putIfinfomsg(writer, index, settings.isUp);
  if (settings.name !== undefined) putString(writer, IFLA_IFNAME, settings.name);
  if (settings.mac !== undefined) putBytes(writer, IFLA_ADDRESS, macBytes(settings.mac));
  if (settings.mtu !== undefined) putU32(writer, IFLA_MTU, settings.mtu);
  if (settings.alias !== undefined) putString(writer, IFLA_IFALIAS, settings.alias);
  if (settings.master !== undefined) putU32(writer, IFLA_MASTER, settings.master);
  const { namespace } = settings;
  if (namespace && "fd" in namespace) putU32(writer, IFLA_NET_NS_FD, namespace.fd);
  if (namespace && "pid" in namespace) putU32(writer, IFLA_NET_NS_PID, namespace.pid);
}

function macBytes(text: string): Uint8Array {
  const bytes = parseMac(text);
  if (!bytes) throw new SyntaxError(`Cannot set the MAC ${JSON.stringify(text)}: not six octets joined by colons`);
  return bytes;
}
