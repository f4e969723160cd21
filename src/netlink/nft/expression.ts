/**
 * The expressions of a rule, one writer for each, in the shape that `nft` emits (linux/netfilter/nf_tables.h).
 *
 *     NFTA_LIST_ELEM { NFTA_EXPR_NAME "meta"; NFTA_EXPR_DATA { NFTA_META_DREG; NFTA_META_KEY } }
 *
 * An expression loads into a register, tests a register and ends the rule when it fails, or acts. Register numbers are
 * counted in slots of four bytes from the start of the first register of 16. Numbers of the protocol are big-endian; what
 * lies in a register is as the packet or the host has it.
 */

import type { ByteWriter } from "../../lib/bytes.ts";
import { NLA_F_NESTED, putBytes, putNest, putString, putU16be, putU32be, putU64be, putU8 } from "../attribute.ts";
import {
  NFT_CMP_EQ,
  NFT_CMP_NEQ,
  NFT_REG_1,
  NFT_REG_VERDICT,
  NFTA_DATA_VALUE,
  NFTA_DATA_VERDICT,
  NFTA_EXPR_DATA,
  NFTA_EXPR_NAME,
  NFTA_LIST_ELEM,
  NFTA_VERDICT_CHAIN,
  NFTA_VERDICT_CODE,
} from "./constants.ts";
import type { Source } from "./fields.ts";

const names = new Map<string, Uint8Array>();

/** Writes one expression; `body` appends its attributes. */
export function expression(writer: ByteWriter, name: string, body: (writer: ByteWriter) => void): void {
  let nameBytes = names.get(name);
  if (!nameBytes) names.set(name, nameBytes = new TextEncoder().encode(`${name}\0`));
  const at = writer.reserve(2);
  writer.u16le(NFTA_LIST_ELEM | NLA_F_NESTED);
  putBytes(writer, NFTA_EXPR_NAME, nameBytes);
  putNest(writer, NFTA_EXPR_DATA | NLA_F_NESTED, body);
  writer.patchU16le(at, writer.length - at);
}

/** Writes a name with its terminating NUL; as `putString`, and faster for ASCII, which names are. */
export function putName(writer: ByteWriter, type: number, name: string): void {
  const at = writer.length;
  writer.u16le(5 + name.length).u16le(type);
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (code > 127) throw new RangeError(`Cannot encode the name ${JSON.stringify(name)}: not ASCII`);
    writer.u8(code);
  }
  writer.zeros(1 + (4 - (writer.length + 1 - at) % 4) % 4);
}

/** The number of the register that starts at a slot: the large ones have numbers of their own. */
export function registerAt(slot: number): number {
  if (slot < 0 || slot > 15) throw new RangeError("Cannot encode a rule: its concatenation is longer than 64 bytes");
  return slot % 4 === 0 ? NFT_REG_1 + slot / 4 : 8 + slot;
}

/** Writes a value as NFTA_DATA_VALUE. */
export function putData(writer: ByteWriter, type: number, value: Uint8Array): void {
  const size = (value.length + 3) & ~3;
  writer.u16le(8 + size).u16le(type | NLA_F_NESTED);
  putBytes(writer, NFTA_DATA_VALUE, value);
}

/** Writes a verdict with the chain it goes to. */
export function putVerdict(writer: ByteWriter, type: number, code: number, chain?: string): void {
  putNest(writer, type | NLA_F_NESTED, (w) =>
    putNest(w, NFTA_DATA_VERDICT | NLA_F_NESTED, (inner) => {
      putU32be(inner, NFTA_VERDICT_CODE, code >>> 0);
      if (chain !== undefined) putName(inner, NFTA_VERDICT_CHAIN, chain);
    }));
}

/** Loads a field; `length` reads only that many bytes of a header. */
export function putLoad(writer: ByteWriter, source: Source, slot = 0, length?: number): void {
  const register = registerAt(slot);
  switch (source.from) {
    case "meta":
      return expression(writer, "meta", (w) => {
        putU32be(w, 2, source.key);
        putU32be(w, 1, register);
      });
    case "ct":
      return expression(writer, "ct", (w) => {
        putU32be(w, 2, source.key);
        putU32be(w, 1, register);
        if (source.direction !== undefined) putU8(w, 3, source.direction);
      });
    case "fib":
      return expression(writer, "fib", (w) => {
        putU32be(w, 1, register);
        putU32be(w, 2, source.result);
        putU32be(w, 3, source.flags);
      });
    case "payload":
      return expression(writer, "payload", (w) => {
        putU32be(w, 1, register);
        putU32be(w, 2, source.base);
        putU32be(w, 3, source.offset);
        putU32be(w, 4, length ?? source.length);
      });
  }
}

/** Compares the first register: NFT_CMP_*. */
export function putCmp(writer: ByteWriter, op: number, value: Uint8Array): void {
  expression(writer, "cmp", (w) => {
    putU32be(w, 1, NFT_REG_1);
    putU32be(w, 2, op);
    putData(w, 3, value);
  });
}

/** Compares for being equal, or for not being. */
export function putEquals(writer: ByteWriter, value: Uint8Array, isNot = false): void {
  putCmp(writer, isNot ? NFT_CMP_NEQ : NFT_CMP_EQ, value);
}

/** The first register lies outside the range. */
export function putOutside(writer: ByteWriter, from: Uint8Array, to: Uint8Array): void {
  expression(writer, "range", (w) => {
    putU32be(w, 1, NFT_REG_1);
    putU32be(w, 2, 1);
    putData(w, 3, from);
    putData(w, 4, to);
  });
}

/** The first register becomes (itself & mask) ^ xor. */
export function putBitwise(writer: ByteWriter, mask: Uint8Array, xor: Uint8Array): void {
  expression(writer, "bitwise", (w) => {
    putU32be(w, 1, NFT_REG_1);
    putU32be(w, 2, NFT_REG_1);
    putU32be(w, 3, mask.length);
    putData(w, 4, mask);
    putData(w, 5, xor);
  });
}

/** Turns a register into network order; `length` is that of the value in bytes. */
export function putHton(writer: ByteWriter, slot: number, length: number): void {
  expression(writer, "byteorder", (w) => {
    putU32be(w, 1, registerAt(slot));
    putU32be(w, 2, registerAt(slot));
    putU32be(w, 3, 1);
    putU32be(w, 4, length);
    putU32be(w, 5, 2);
  });
}

/** Where a lookup puts what it finds: in the verdict, in the first register, or nowhere. */
export type LookupTarget = "verdict" | "register" | undefined;

/** Looks the register up in a set or map; `id` names one that is made in the same batch. */
export function putLookup(
  writer: ByteWriter,
  set: string,
  { isNot = false, id, target }: { isNot?: boolean | undefined; id?: number | undefined; target?: LookupTarget },
): void {
  expression(writer, "lookup", (w) => {
    putU32be(w, 2, NFT_REG_1);
    if (target) putU32be(w, 3, target === "verdict" ? NFT_REG_VERDICT : NFT_REG_1);
    putName(w, 1, set);
    if (id !== undefined) putU32be(w, 4, id);
    if (isNot) putU32be(w, 5, 1);
  });
}

/** Puts a value into the register at a slot. */
export function putImmediate(writer: ByteWriter, value: Uint8Array, slot = 0): void {
  expression(writer, "immediate", (w) => {
    putU32be(w, 1, registerAt(slot));
    putData(w, 2, value);
  });
}

/** Ends the rule with a verdict. */
export function putImmediateVerdict(writer: ByteWriter, code: number, chain?: string): void {
  expression(writer, "immediate", (w) => {
    putU32be(w, 1, NFT_REG_VERDICT);
    putVerdict(w, 2, code, chain);
  });
}

/** Stores the first register in the packet's (`meta`) or the connection's (`ct`) mark. */
export function putStore(writer: ByteWriter, name: "meta" | "ct", key: number): void {
  expression(writer, name, (w) => {
    putU32be(w, 2, key);
    putU32be(w, name === "meta" ? 3 : 4, NFT_REG_1);
  });
}

/** Writes the first register into a header; `checksumAt` is the offset of the Internet checksum that covers it. */
export function putPayloadWrite(
  writer: ByteWriter,
  { base, offset, length, checksumAt }: {
    base: number;
    offset: number;
    length: number;
    checksumAt?: number | undefined;
  },
): void {
  expression(writer, "payload", (w) => {
    putU32be(w, 5, NFT_REG_1);
    putU32be(w, 2, base);
    putU32be(w, 3, offset);
    putU32be(w, 4, length);
    putU32be(w, 6, checksumAt === undefined ? 0 : 1);
    putU32be(w, 7, checksumAt ?? 0);
  });
}

/** Counts packets and bytes, from zero. */
export function putCounter(writer: ByteWriter): void {
  expression(writer, "counter", (w) => {
    putU64be(w, 1, 0n);
    putU64be(w, 2, 0n);
  });
}

/** Lets `rate` packets in `unit` seconds on, or with `isOver` those above. */
export function putLimit(
  writer: ByteWriter,
  { rate, unit, burst, isOver }: { rate: number; unit: number; burst: number; isOver: boolean },
): void {
  expression(writer, "limit", (w) => {
    putU64be(w, 1, BigInt(rate));
    putU64be(w, 2, BigInt(unit));
    putU32be(w, 4, 0);
    putU32be(w, 3, burst);
    putU32be(w, 5, isOver ? 1 : 0);
  });
}

/** Lets up to `count` connections on, or with `isOver` those above. */
export function putConnlimit(writer: ByteWriter, count: number, isOver: boolean): void {
  expression(writer, "connlimit", (w) => {
    putU32be(w, 1, count);
    putU32be(w, 2, isOver ? 1 : 0);
  });
}

/** Logs the packet. */
export function putLog(
  writer: ByteWriter,
  { prefix, group, level }: { prefix?: string | undefined; group?: number | undefined; level?: number | undefined },
): void {
  expression(writer, "log", (w) => {
    if (prefix !== undefined) putString(w, 2, prefix);
    if (group !== undefined) putU16be(w, 1, group);
    if (level !== undefined) putU32be(w, 5, level);
  });
}

/** Answers and drops: `type` is NFT_REJECT_*. */
export function putReject(writer: ByteWriter, type: number, code: number): void {
  expression(writer, "reject", (w) => {
    putU32be(w, 1, type);
    putU8(w, 2, code);
  });
}

/** Leaves the packet out of connection tracking. */
export function putNotrack(writer: ByteWriter): void {
  expression(writer, "notrack", () => {});
}

/** Slots of the registers that hold the ends of address and port ranges for `nat` and `masq`. */
export interface NatSlots {
  readonly address?: number | undefined;
  readonly lastAddress?: number | undefined;
  readonly port?: number | undefined;
  readonly lastPort?: number | undefined;
}

/** Rewrites source (`type` 0) or destination (1) of the connection. */
export function putNat(writer: ByteWriter, type: 0 | 1, family: number, slots: NatSlots, flags: number): void {
  expression(writer, "nat", (w) => {
    putU32be(w, 1, type);
    putU32be(w, 2, family);
    putSlot(w, 3, slots.address);
    putSlot(w, 4, slots.lastAddress);
    putSlot(w, 5, slots.port);
    putSlot(w, 6, slots.lastPort);
    if (flags !== 0) putU32be(w, 7, flags);
  });
}

/** Rewrites the source to the address of the interface that the packet leaves by. */
export function putMasquerade(writer: ByteWriter, slots: NatSlots, flags: number): void {
  expression(writer, "masq", (w) => {
    if (flags !== 0) putU32be(w, 1, flags);
    putSlot(w, 2, slots.port);
    putSlot(w, 3, slots.lastPort);
  });
}

function putSlot(writer: ByteWriter, type: number, slot: number | undefined): void {
  if (slot !== undefined) putU32be(writer, type, registerAt(slot));
}
