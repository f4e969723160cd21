/**
 * Has the kernel leave out the echoes of our own routes before they are queued on a monitoring socket: a full table written
 * through another socket would else fill this one's buffer, lose reports, and cost a listing of all of it.
 *
 *   nlmsghdr: length 4 | type 2 (at 4) | flags 2 | sequence 4 | port 4 (at 12)     struct rtmsg: … protocol 1 (at 16 + 5)
 *
 * A classic BPF program on the socket (linux/filter.h, socket(7) SO_ATTACH_FILTER). BPF reads numbers in network order and
 * netlink has them in the host's, so constants are turned. A kernel that refuses it costs speed and nothing else.
 */

import { RTM_DELROUTE, RTM_NEWROUTE } from "../netlink/route.ts";
import { libc } from "./libc.ts";

const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
const TYPE_AT = 4;
const PORT_AT = 12;
const PROTOCOL_AT = 16 + 5;
/** BPF_LD with BPF_ABS: a half word, a byte, a word; BPF_JMP | BPF_JEQ with a constant; BPF_RET with a constant. */
const LDH = 0x28, LDB = 0x30, LDW = 0x20, JEQ = 0x15, RET = 0x06;
const INSTRUCTION_BYTES = 8;
const ALL = 0xffffffff;

/** Drops reports of routes of that RTPROT_* which the socket of that port id asked for; false when the kernel will not. */
export function dropEchoes(fd: number, { protocol, port }: { protocol: number; port: number }): boolean {
  // [operation, constant, instructions to skip if equal, if not]
  const program: [number, number, number, number][] = [
    [LDH, TYPE_AT, 0, 0],
    [JEQ, swap16(RTM_NEWROUTE), 1, 0],
    [JEQ, swap16(RTM_DELROUTE), 0, 5],
    [LDB, PROTOCOL_AT, 0, 0],
    [JEQ, protocol, 0, 3],
    [LDW, PORT_AT, 0, 0],
    [JEQ, swap32(port), 0, 1],
    [RET, 0, 0, 0],
    [RET, ALL, 0, 0],
  ];
  const code = new DataView(new ArrayBuffer(program.length * INSTRUCTION_BYTES));
  program.forEach(([operation, constant, ifEqual, ifNot], i) => {
    code.setUint16(i * INSTRUCTION_BYTES, operation, true);
    code.setUint8(i * INSTRUCTION_BYTES + 2, ifEqual);
    code.setUint8(i * INSTRUCTION_BYTES + 3, ifNot);
    code.setUint32(i * INSTRUCTION_BYTES + 4, constant, true);
  });
  // struct sock_fprog: count 2, padding, pointer.
  const fprog = new DataView(new ArrayBuffer(16));
  fprog.setUint16(0, program.length, true);
  fprog.setBigUint64(8, Deno.UnsafePointer.value(Deno.UnsafePointer.of(new Uint8Array(code.buffer))), true);
  return libc().setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, new Uint8Array(fprog.buffer), 16) === 0;
}

function swap16(value: number): number {
  return (value & 0xff) << 8 | value >>> 8;
}

function swap32(value: number): number {
  return (swap16(value & 0xffff) << 16 | swap16(value >>> 16)) >>> 0;
}
