/**
 * UDP sockets by FFI that see what Deno's do not: the TTL that a datagram came with (GTSM, RFC 5082), the address that it was
 * sent to, and the interface. Receivers share the thread's parked `epoll_wait` (`poller.ts`); senders are connected, so that
 * the kernel's choice of source address holds, and are never read. udp(7), ip(7), ipv6(7), cmsg(3).
 *
 *   struct msghdr  (56): name 8 | name length 4 + 4 | iov 8 | iov count 8 | control 8 | control length 8 | flags 4 + 4
 *   struct cmsghdr (16): length 8 | level 4 | type 4, then data, each aligned to 8
 */

import type { Endpoint } from "../bgp/transport.ts";
import { EINTR } from "../netlink/errno.ts";
import { checked, cstring, errno, libc, setSocketInt } from "./libc.ts";
import { EPOLLIN, watchDescriptor } from "./poller.ts";
import { AF_INET, AF_INET6, decodeSockaddr, encodeSockaddr, parseAddress, SOCKADDR_BYTES } from "./tcp_address.ts";

const SOCK_DGRAM = 2;
const SOCK_FLAGS = 0o4000 | 0o2000000;
const SOL_SOCKET = 1;
const SO_BINDTODEVICE = 25;
const IPPROTO_IP = 0;
const IP_TOS = 1;
const IP_TTL = 2;
const IP_PKTINFO = 8;
const IP_RECVTTL = 12;
const IPPROTO_IPV6 = 41;
const IPV6_UNICAST_HOPS = 16;
const IPV6_V6ONLY = 26;
const IPV6_RECVPKTINFO = 49;
const IPV6_PKTINFO = 50;
const IPV6_RECVHOPLIMIT = 51;
const IPV6_HOPLIMIT = 52;
const IPV6_TCLASS = 67;
const MSG_NOSIGNAL = 0x4000;
const MSG_TRUNC = 0x20;
/** Class selector 6, as routing protocols use. */
const TOS_CS6 = 0xc0;
const MSGHDR_BYTES = 56;
const CMSGHDR_BYTES = 16;
const CONTROL_BYTES = 128;
/** Longer datagrams are cut and refused. */
const MAX_DATAGRAM = 1500;
/** Datagrams read before others get their turn. */
const MAX_AT_ONCE = 256;

/** A datagram; the octets are valid during the call only. */
export interface Datagram {
  readonly bytes: Uint8Array;
  readonly from: Endpoint;
  /** The address that it was sent to: 4 or 16 octets, none when the kernel did not say. */
  readonly to: Uint8Array;
  readonly ifindex: number;
  /** TTL or hop limit that it came with; -1 when the kernel did not say. */
  readonly ttl: number;
}

/** A socket that receives. */
export interface UdpReceiver {
  /** Hands over what has come, without waiting for the event loop to notice. */
  drain(): void;
  close(): void;
}

/** Receives what is sent to a port on any address of the family. Throws `SyscallError`. */
export function receiveUdp(family: 4 | 6, port: number, receive: (datagram: Datagram) => void): UdpReceiver {
  const fd = makeSocket(family === 6);
  try {
    if (family === 6) {
      setSocketInt(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
      setSocketInt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    } else {
      setSocketInt(fd, IPPROTO_IP, IP_RECVTTL, 1);
      setSocketInt(fd, IPPROTO_IP, IP_PKTINFO, 1);
    }
    const at = encodeSockaddr(new Uint8Array(family === 6 ? 16 : 4), port);
    checked(`bind UDP port ${port}`, libc().bind(fd, at, at.length));
  } catch (error) {
    libc().close(fd);
    throw error;
  }
  const message = new Message();
  let isClosed = false;
  const drain = () => {
    for (let i = 0; i < MAX_AT_ONCE && !isClosed; i++) {
      const datagram = message.receive(fd);
      if (datagram === undefined) return;
      if (datagram !== "cut") receive(datagram);
    }
  };
  const watched = watchDescriptor(fd, EPOLLIN, drain, { isLevel: true });
  return {
    drain,
    close() {
      if (isClosed) return;
      isClosed = true;
      watched.stop();
      libc().close(fd);
    },
  };
}

/** A socket that sends to one place. */
export interface UdpSender {
  /** Sends; false when the kernel refused it, which the next one may not be. */
  send(bytes: Uint8Array): boolean;
  /** Our end: the address that the kernel chose where none was given. */
  readonly local: Endpoint;
  close(): void;
}

/** How a sender is made. */
export interface UdpSenderOptions {
  readonly localAddress?: string;
  readonly localPort?: number;
  readonly ttl?: number;
}

/** Connects to an address ("fe80::1%eth0" too) and port. Throws `SyscallError`: EADDRINUSE when the local port is taken. */
export function connectUdp(
  remote: string,
  port: number,
  { localAddress, localPort = 0, ttl }: UdpSenderOptions,
): UdpSender {
  const { bytes, scopeId } = parseAddress(remote);
  const isV6 = bytes.length === 16;
  const fd = makeSocket(isV6);
  try {
    if (ttl !== undefined) {
      setSocketInt(fd, isV6 ? IPPROTO_IPV6 : IPPROTO_IP, isV6 ? IPV6_UNICAST_HOPS : IP_TTL, ttl);
    }
    const zone = remote.split("%")[1];
    if (zone !== undefined) {
      const name = cstring(zone);
      checked(`bind to ${zone}`, libc().setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, name.length));
    }
    const own = localAddress === undefined
      ? { bytes: new Uint8Array(bytes.length), scopeId: 0 }
      : parseAddress(localAddress);
    const from = encodeSockaddr(own.bytes, localPort, own.scopeId);
    checked(`bind ${localAddress ?? "UDP"} port ${localPort}`, libc().bind(fd, from, from.length));
    const to = encodeSockaddr(bytes, port, scopeId);
    checked(`connect to ${remote} UDP port ${port}`, libc().connect(fd, to, to.length));
  } catch (error) {
    libc().close(fd);
    throw error;
  }
  const struct = new Uint8Array(SOCKADDR_BYTES);
  checked("read a UDP socket's address", libc().getsockname(fd, struct, Uint32Array.of(SOCKADDR_BYTES)));
  let isClosed = false;
  return {
    local: decodeSockaddr(struct),
    send(packet) {
      if (isClosed) return false;
      // An ICMP error of an earlier packet is told once in place of the sending; the second try is the packet's own.
      for (let i = 0; i < 2; i++) {
        const count = libc().send(fd, packet as Uint8Array<ArrayBuffer>, packet.length, MSG_NOSIGNAL);
        if (count === packet.length) return true;
      }
      return false;
    },
    close() {
      if (isClosed) return;
      isClosed = true;
      libc().close(fd);
    },
  };
}

function makeSocket(isV6: boolean): number {
  const fd = checked("make a UDP socket", libc().socket(isV6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_FLAGS, 0));
  try {
    if (isV6) setSocketInt(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    setSocketInt(fd, isV6 ? IPPROTO_IPV6 : IPPROTO_IP, isV6 ? IPV6_TCLASS : IP_TOS, TOS_CS6);
    return fd;
  } catch (error) {
    libc().close(fd);
    throw error;
  }
}

/** A msghdr with its buffers, made once and filled by each recvmsg. */
export class Message {
  // Buffers of their own, which V8 never moves: the struct holds their addresses.
  readonly #header = new Uint8Array(new ArrayBuffer(MSGHDR_BYTES + 64));
  readonly #name = new Uint8Array(new ArrayBuffer(128));
  readonly #iov = new Uint8Array(new ArrayBuffer(128));
  readonly #control = new Uint8Array(new ArrayBuffer(CONTROL_BYTES));
  readonly #data = new Uint8Array(new ArrayBuffer(MAX_DATAGRAM));
  readonly #view = new DataView(this.#header.buffer);

  constructor() {
    const address = (bytes: Uint8Array<ArrayBuffer>) => Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes));
    const iov = new DataView(this.#iov.buffer);
    iov.setBigUint64(0, BigInt(address(this.#data)), true);
    iov.setBigUint64(8, BigInt(MAX_DATAGRAM), true);
    this.#view.setBigUint64(0, BigInt(address(this.#name)), true);
    this.#view.setBigUint64(16, BigInt(address(this.#iov)), true);
    this.#view.setBigUint64(24, 1n, true);
    this.#view.setBigUint64(32, BigInt(address(this.#control)), true);
  }

  /** The next datagram; undefined when there is none, "cut" when it was too long. */
  receive(fd: number): Datagram | "cut" | undefined {
    for (;;) {
      this.#view.setUint32(8, this.#name.length, true);
      this.#view.setBigUint64(40, BigInt(CONTROL_BYTES), true);
      this.#view.setUint32(48, 0, true);
      const count = libc().recvmsg(fd, this.#header, 0);
      if (count === -1) {
        if (errno() === EINTR) continue;
        return undefined;
      }
      if (this.#view.getUint32(48, true) & MSG_TRUNC) return "cut";
      return {
        bytes: this.#data.subarray(0, count),
        from: decodeSockaddr(this.#name),
        ...this.#readControl(Number(this.#view.getBigUint64(40, true))),
      };
    }
  }

  #readControl(length: number): Pick<Datagram, "to" | "ifindex" | "ttl"> {
    const view = new DataView(this.#control.buffer);
    let to = new Uint8Array(0), ifindex = 0, ttl = -1;
    for (let at = 0; at + CMSGHDR_BYTES <= length;) {
      const size = Number(view.getBigUint64(at, true));
      if (size < CMSGHDR_BYTES) break;
      const level = view.getInt32(at + 8, true), type = view.getInt32(at + 12, true);
      const data = at + CMSGHDR_BYTES;
      if (level === IPPROTO_IP && type === IP_TTL || level === IPPROTO_IPV6 && type === IPV6_HOPLIMIT) {
        ttl = view.getInt32(data, true);
      } else if (level === IPPROTO_IP && type === IP_PKTINFO) {
        ifindex = view.getInt32(data, true);
        to = this.#control.slice(data + 8, data + 12);
      } else if (level === IPPROTO_IPV6 && type === IPV6_PKTINFO) {
        to = this.#control.slice(data, data + 16);
        ifindex = view.getInt32(data + 16, true);
      }
      at += size + 7 & ~7;
    }
    return { to, ifindex, ttl };
  }
}
