/**
 * Netlink attributes: type, length, value, padded to four bytes; a value may be attributes again (linux/netlink.h).
 *
 *     struct nlattr { u16 len (with these 4 bytes, without padding); u16 type (bit 15 nested, bit 14 network order) }
 *
 * Reading walks the bytes in place: a visitor gets offset and length, and nothing is allocated. Values are in the host's
 * order (little-endian) unless the name says `be`. In: bytes that may be wrong. Out: numbers, views, or `MalformedError`.
 */

import type { ByteWriter } from "../lib/bytes.ts";
import { MalformedError } from "./malformed.ts";

export const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;
const NLA_HEADER = 4;

/** Writes an attribute holding these bytes. */
export function putBytes(writer: ByteWriter, type: number, value: Uint8Array): void {
  writer.u16le(NLA_HEADER + value.length).u16le(type).put(value).align(4);
}

/** Writes an 8-bit attribute. */
export function putU8(writer: ByteWriter, type: number, value: number): void {
  writer.u16le(5).u16le(type).u8(value).zeros(3);
}

/** Writes a 16-bit attribute in the host's order. */
export function putU16(writer: ByteWriter, type: number, value: number): void {
  writer.u16le(6).u16le(type).u16le(value).zeros(2);
}

/** Writes a 16-bit attribute in network order. */
export function putU16be(writer: ByteWriter, type: number, value: number): void {
  writer.u16le(6).u16le(type).u16be(value).zeros(2);
}

/** Writes a 32-bit attribute in the host's order. */
export function putU32(writer: ByteWriter, type: number, value: number): void {
  writer.u16le(8).u16le(type).u32le(value);
}

/** Writes a 32-bit attribute in network order. */
export function putU32be(writer: ByteWriter, type: number, value: number): void {
  writer.u16le(8).u16le(type).u32be(value);
}

/** Writes a 64-bit attribute in network order. */
export function putU64be(writer: ByteWriter, type: number, value: bigint): void {
  writer.u16le(12).u16le(type).u64be(value);
}

/** Writes an attribute without a value, whose presence is its meaning. */
export function putFlag(writer: ByteWriter, type: number): void {
  writer.u16le(NLA_HEADER).u16le(type);
}

/** Writes text with its terminating NUL. */
export function putString(writer: ByteWriter, type: number, text: string): void {
  const value = new TextEncoder().encode(text);
  writer.u16le(NLA_HEADER + value.length + 1).u16le(type).put(value).u8(0).align(4);
}

/** Writes an attribute whose value `body` appends; pass `type | NLA_F_NESTED` where the kernel asks for the flag. */
export function putNest(writer: ByteWriter, type: number, body: (writer: ByteWriter) => void): void {
  const at = writer.reserve(2);
  writer.u16le(type);
  body(writer);
  if (writer.length - at > 0xffff) throw new RangeError(`Cannot encode attribute ${type}: longer than 65535 bytes`);
  writer.patchU16le(at, writer.length - at);
  writer.align(4);
}

/**
 * Visits the attributes between two offsets: type without its flag bits, where the value starts, and its length in bytes.
 * Throws `MalformedError` when an attribute does not fit; one to three stray bytes at the end are padding.
 */
export function eachAttribute(
  bytes: Uint8Array,
  from: number,
  to: number,
  visit: (type: number, at: number, length: number) => void,
): void {
  if (from > to || to > bytes.length) throw new MalformedError("attributes", from);
  for (let at = from; to - at >= NLA_HEADER;) {
    const length = u16At(bytes, at);
    if (length < NLA_HEADER || length > to - at) throw new MalformedError("attribute length", at);
    visit(u16At(bytes, at + 2) & NLA_TYPE_MASK, at + NLA_HEADER, length - NLA_HEADER);
    at += (length + 3) & ~3;
  }
}

/** The attributes of a block by type, as views on the same memory; the last of a type wins. Throws `MalformedError`. */
export function readAttributes(bytes: Uint8Array, from = 0): Map<number, Uint8Array> {
  const attributes = new Map<number, Uint8Array>();
  eachAttribute(bytes, from, bytes.length, (type, at, length) => attributes.set(type, bytes.subarray(at, at + length)));
  return attributes;
}

/** The 8-bit number at an offset; throws `MalformedError` past the end, as the next three do. */
export function u8At(bytes: Uint8Array, at: number): number {
  if (at + 1 > bytes.length) throw new MalformedError("8-bit number", at);
  return bytes[at]!;
}

/** The 16-bit number in the host's order at an offset. */
export function u16At(bytes: Uint8Array, at: number): number {
  if (at + 2 > bytes.length) throw new MalformedError("16-bit number", at);
  return bytes[at]! | (bytes[at + 1]! << 8);
}

/** The unsigned 32-bit number in the host's order at an offset. */
export function u32At(bytes: Uint8Array, at: number): number {
  if (at + 4 > bytes.length) throw new MalformedError("32-bit number", at);
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

/** The unsigned 32-bit number in network order at an offset. */
export function u32beAt(bytes: Uint8Array, at: number): number {
  if (at + 4 > bytes.length) throw new MalformedError("32-bit number", at);
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

/** Text up to its NUL or the value's end; bytes that are no UTF-8 become U+FFFD. */
export function stringAt(bytes: Uint8Array, at: number, length: number): string {
  if (at + length > bytes.length) throw new MalformedError("text", at);
  const value = bytes.subarray(at, at + length);
  const nul = value.indexOf(0);
  return new TextDecoder().decode(nul < 0 ? value : value.subarray(0, nul));
}
