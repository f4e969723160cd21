/**
 * Netlink messages: a 16-byte header and a body padded to four bytes, several to a datagram (linux/netlink.h, RFC 3549).
 * Numbers are little-endian, the host's order on every machine tortie runs on.
 *
 *     struct nlmsghdr { u32 len (with header, without padding); u16 type; u16 flags; u32 seq; u32 pid }
 *     NLMSG_ERROR body: i32 -errno (0: an ack); the request's nlmsghdr; [the request's body unless NLM_F_CAPPED];
 *                       [attributes NLMSGERR_ATTR_* if NLM_F_ACK_TLVS]
 *
 * In: bytes from a socket, which may be cut or wrong. Out: views on the same memory, or `MalformedError`.
 */

import type { ByteWriter } from "../lib/bytes.ts";
import { eachAttribute, stringAt, u32At } from "./attribute.ts";
import { MalformedError } from "./malformed.ts";

export const NLMSG_NOOP = 1;
export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const NLMSG_OVERRUN = 4;

export const NLM_F_REQUEST = 0x1;
export const NLM_F_MULTI = 0x2;
export const NLM_F_ACK = 0x4;
export const NLM_F_ECHO = 0x8;
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_DUMP_FILTERED = 0x20;
export const NLM_F_DUMP = 0x300;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_APPEND = 0x800;
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;

const NLMSGERR_ATTR_MSG = 1;
const NLMSGERR_ATTR_OFFS = 2;

/** Bytes of a message's header. */
export const NLMSG_HEADER = 16;

/** One message of a datagram; `body` is a view that lives as long as the datagram's buffer holds it. */
export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** The port id of the socket that asked; 0 in a multicast report nobody asked for. */
  readonly port: number;
  readonly body: Uint8Array;
}

/** The kernel's verdict on one request: `errno` is positive, 0 for an ack. */
export interface Ack {
  readonly errno: number;
  /** The kernel's own words, when it says any (an ack may carry a warning). */
  readonly text?: string;
  /** Byte offset into the request, from its header, of the attribute that is objected to. */
  readonly offset?: number;
}

/** Writes one whole message; `body` appends its fixed part and attributes. The length is filled in and padded. */
export function putMessage(
  writer: ByteWriter,
  header: { type: number; flags: number; sequence: number },
  body: (writer: ByteWriter) => void,
): void {
  const at = writer.reserve(4);
  writer.u16le(header.type).u16le(header.flags).u32le(header.sequence).u32le(0);
  body(writer);
  writer.patchU32le(at, writer.length - at);
  writer.align(4);
}

/** Walks the messages of one datagram in order; throws `MalformedError` at a length that does not fit. */
export function* readMessages(datagram: Uint8Array): Generator<Message> {
  for (let at = 0; at < datagram.length;) {
    if (datagram.length - at < NLMSG_HEADER) throw new MalformedError("message header", at);
    const length = u32At(datagram, at);
    if (length < NLMSG_HEADER || length > datagram.length - at) throw new MalformedError("message length", at);
    const typeAndFlags = u32At(datagram, at + 4);
    yield {
      type: typeAndFlags & 0xffff,
      flags: typeAndFlags >>> 16,
      sequence: u32At(datagram, at + 8),
      port: u32At(datagram, at + 12),
      body: datagram.subarray(at + NLMSG_HEADER, at + length),
    };
    at += (length + 3) & ~3;
  }
}

/** Decodes the body of an NLMSG_ERROR message; throws `MalformedError`. */
export function decodeAck(message: Message): Ack {
  const { body, flags } = message;
  if (body.length < 4) throw new MalformedError("error message", 0);
  const errno = 0 - (u32At(body, 0) | 0);
  if (errno < 0) throw new MalformedError("error number", 0);
  if (!(flags & NLM_F_ACK_TLVS) || body.length < 20) return { errno };
  const requestLength = u32At(body, 4);
  const echoed = errno === 0 || flags & NLM_F_CAPPED ? NLMSG_HEADER : (requestLength + 3) & ~3;
  if (echoed < NLMSG_HEADER || 4 + echoed > body.length) throw new MalformedError("echoed request", 4);
  return { errno, ...decodeExtendedAck(body, 4 + echoed) };
}

/** Decodes the body of NLMSG_DONE: an errno when the dump failed, 0 when it ended well; throws `MalformedError`. */
export function decodeDone(message: Message): Ack {
  if (message.body.length < 4) return { errno: 0 };
  const status = u32At(message.body, 0) | 0;
  // A few dumps report how much they sent as a positive number.
  if (status >= 0) return { errno: 0 };
  return { errno: -status, ...(message.flags & NLM_F_ACK_TLVS ? decodeExtendedAck(message.body, 4) : {}) };
}

function decodeExtendedAck(body: Uint8Array, from: number): { text?: string; offset?: number } {
  const words: { text?: string; offset?: number } = {};
  eachAttribute(body, from, body.length, (type, at, length) => {
    if (type === NLMSGERR_ATTR_MSG) words.text = stringAt(body, at, length);
    if (type === NLMSGERR_ATTR_OFFS && length >= 4) words.offset = u32At(body, at);
  });
  return words;
}
