/**
 * Netlink sockets: the `Exchange` over which requests are made, and the sockets on which reports arrive (netlink(7)).
 *
 * The kernel answers a request inside the send, so a blocking receive returns at once; a timeout guards against an answer
 * that never comes. Extended acks are on, echoed requests off, and dumps are filtered strictly. Only the kernel's own
 * datagrams are taken. In: encoded messages. Out: datagrams, or `NetlinkError`.
 */

import { EAGAIN, EINTR, EMSGSIZE, errnoCode, errnoText, ETIMEDOUT } from "../netlink/errno.ts";
import { NetlinkError } from "../netlink/error.ts";
import type { Exchange } from "../netlink/exchange.ts";
import { checked, errno, libc, setSocketInt, SyscallError } from "./libc.ts";
import { type Namespace, withinNamespace } from "./namespace.ts";

export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_RCVTIMEO = 20;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
const SOCKADDR_NL = 12;

const ANSWER_TIMEOUT_S = 5;
/** Larger than any datagram that the kernel makes of a dump (32 KB) or of one link with all its functions. */
const DATAGRAM_BYTES = 256 * 1024;

/** How to open a netlink socket. */
export interface NetlinkOptions {
  /** NETLINK_*; NETLINK_ROUTE when left out. */
  readonly protocol?: number;
  /** The namespace to look into; the calling thread's when left out. */
  readonly namespace?: Namespace;
  /** Bit g-1 for each multicast group g (RTNLGRP_*). */
  readonly groups?: number;
  /** Bytes that may wait to be read; 8 MB when left out. */
  readonly receiveBuffer?: number;
}

/** An open netlink socket. */
export interface NetlinkSocket extends Exchange {
  readonly fd: number;
  /** The next waiting datagram, or undefined when none waits; throws `NetlinkError` as `receive` does. */
  poll(): Uint8Array | undefined;
  close(): void;
}

/** Opens a netlink socket; throws `SyscallError`. */
export function openNetlink(options: NetlinkOptions = {}): NetlinkSocket {
  const { protocol = NETLINK_ROUTE, namespace } = options;
  const make = () => checked("open a netlink socket", libc().socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  const fd = namespace ? withinNamespace(namespace, make) : make();
  try {
    return netlinkSocket(fd, prepare(fd, options));
  } catch (error) {
    libc().close(fd);
    throw error;
  }
}

/** Sets the options and binds; returns the port id. */
function prepare(fd: number, { groups = 0, receiveBuffer = 8 << 20 }: NetlinkOptions): number {
  setBuffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, receiveBuffer);
  setBuffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, 4 << 20);
  for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK]) {
    setSocketInt(fd, SOL_NETLINK, option, 1);
  }
  const timeout = BigInt64Array.of(BigInt(ANSWER_TIMEOUT_S), 0n);
  checked("set the receive timeout", libc().setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, timeout, 16));
  const address = new Uint32Array(SOCKADDR_NL / 4);
  address[0] = AF_NETLINK;
  address[2] = groups;
  checked("bind a netlink socket", libc().bind(fd, address, SOCKADDR_NL));
  checked("read a netlink port id", libc().getsockname(fd, address, Uint32Array.of(SOCKADDR_NL)));
  return address[1]!;
}

/** Sets a buffer's size past the system's limit where we may, up to it where we may not. */
function setBuffer(fd: number, force: number, plain: number, bytes: number): void {
  try {
    setSocketInt(fd, SOL_SOCKET, force, bytes);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    setSocketInt(fd, SOL_SOCKET, plain, bytes);
  }
}

function netlinkSocket(fd: number, port: number): NetlinkSocket {
  const c = libc();
  const buffer = new Uint8Array(DATAGRAM_BYTES);
  const sender = new Uint32Array(SOCKADDR_NL / 4);
  const senderLength = new Uint32Array(1);
  let lastSequence = 0;
  let isOpen = true;

  const receive = (flags: number): Uint8Array | undefined => {
    for (;;) {
      senderLength[0] = SOCKADDR_NL;
      const length = c.recvfrom(fd, buffer, DATAGRAM_BYTES, flags | MSG_TRUNC, sender, senderLength);
      if (length === -1) {
        const error = errno();
        if (error === EINTR) continue;
        if (error === EAGAIN) return undefined;
        throw failure("receive from netlink", error);
      }
      if (sender[1] !== 0) continue;
      if (length > DATAGRAM_BYTES) throw failure("receive from netlink", EMSGSIZE);
      return buffer.subarray(0, length);
    }
  };

  return {
    fd,
    port,
    send(request) {
      for (;;) {
        if (c.send(fd, request as Uint8Array<ArrayBuffer>, request.length, 0) !== -1) return;
        const error = errno();
        if (error !== EINTR) throw failure("send to netlink", error);
      }
    },
    receive() {
      const datagram = receive(0);
      if (!datagram) throw failure("receive from netlink", ETIMEDOUT);
      return datagram;
    },
    poll: () => receive(MSG_DONTWAIT),
    sequence(count = 1) {
      // Never 0, which reports that nobody asked for carry.
      const first = lastSequence + count > 0xffffffff ? 1 : lastSequence + 1;
      lastSequence = first + count - 1;
      return first;
    },
    close() {
      if (isOpen) c.close(fd);
      isOpen = false;
    },
  };
}

function failure(operation: string, error: number): NetlinkError {
  return new NetlinkError(operation, error, errnoCode(error), errnoText(error));
}
