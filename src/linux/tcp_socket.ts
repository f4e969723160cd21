/**
 * TCP connections and listeners by FFI, as `Transport`s: sockets of our own making can have what Deno's cannot, a source
 * address and port, TTL and GTSM (RFC 5082), TCP MD5 (RFC 2385), an interface.
 *
 * All descriptors of the thread share one parked `epoll_wait` (`poller.ts`); reading and writing are plain calls that never
 * block. One read a report, up to the sink's room, so that a peer who sends without end delays the others by one read at
 * most. What the kernel does not take at once is copied and sent when it can be; a peer that takes nothing costs others
 * nothing, and at MAX_PENDING the connection ends. tcp(7), ip(7), ipv6(7), linux/tcp.h.
 */

import type { Endpoint, Transport, TransportSink } from "../bgp/transport.ts";
import { EAGAIN, EINPROGRESS, EINTR, errnoCode, errnoText } from "../netlink/errno.ts";
import { checked, cstring, errno, getSocketInt, libc, setSocketInt, SyscallError } from "./libc.ts";
import { EPOLLIN, EPOLLOUT, watchDescriptor, type Watched } from "./poller.ts";
import {
  AF_INET,
  AF_INET6,
  decodeSockaddr,
  encodeSockaddr,
  formatAddress,
  parseAddress,
  SOCKADDR_BYTES,
} from "./tcp_address.ts";

const SOCK_STREAM = 1;
const SOCK_FLAGS = 0o4000 | 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_ERROR = 4;
const SO_LINGER = 13;
const SO_BINDTODEVICE = 25;
const IPPROTO_IP = 0;
const IP_TOS = 1;
const IP_TTL = 2;
const IP_MINTTL = 21;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const TCP_MD5SIG = 14;
const IPPROTO_IPV6 = 41;
const IPV6_UNICAST_HOPS = 16;
const IPV6_V6ONLY = 26;
const IPV6_TCLASS = 67;
const IPV6_MINHOPCOUNT = 73;
const MSG_NOSIGNAL = 0x4000;
/** Class selector 6, as routing protocols use. */
const TOS_CS6 = 0xc0;
const TCP_MD5SIG_MAXKEYLEN = 80;
const TCP_MD5SIG_BYTES = 216;
const MAX_PENDING = 4 << 20;
const BACKLOG = 1024;
const MAX_TTL = 255;
/** How long a closed connection may take for what waits to be sent. */
const LINGER_MS = 1_000;
const MAX_UNREAD = 64;
const WASTE = new Uint8Array(65536);
const EPOLLERR = 0x8;
const EPOLLHUP = 0x10;
const NOWHERE: Endpoint = { address: new Uint8Array(0), port: 0 };

let lingering = 0;

/** How many closed connections still have octets for their peers; 0 after a second at most. */
export function lingeringConnections(): number {
  return lingering;
}

/** What a socket is made with. */
export interface TcpOptions {
  /** Address to bind to; the kernel chooses when left out. */
  readonly localAddress?: string;
  readonly localPort?: number;
  /** TTL or hop limit of what we send. */
  readonly ttl?: number;
  /** Segments with a lower TTL are dropped (GTSM). */
  readonly minTtl?: number;
  /** TCP MD5 key towards the remote address. */
  readonly md5Key?: string;
  /** The interface to stay on. */
  readonly device?: string;
}

/** Begins a connection; what fails, now or later, is told to `sink.closed` in a later turn. Never throws. */
export function connectTcp(remote: string, port: number, options: TcpOptions, sink: TransportSink): Transport {
  let fd = -1;
  try {
    const { bytes, scopeId } = parseAddress(remote);
    fd = makeSocket(bytes.length === 16, options);
    if (options.md5Key !== undefined) setMd5(fd, bytes, options.md5Key);
    if (options.localAddress !== undefined || options.localPort !== undefined) bindTo(fd, bytes.length, options);
    const to = encodeSockaddr(bytes, port, scopeId);
    if (libc().connect(fd, to, to.length) === -1) {
      const error = errno();
      if (error !== EINPROGRESS) throw new SyscallError(`connect to ${remote} port ${port}`, error);
    }
    return new Tcp(fd, sink, true);
  } catch (error) {
    if (fd !== -1) libc().close(fd);
    const dead = new DeadTransport(sink);
    queueMicrotask(() => dead.tell(error instanceof Error ? error.message : String(error)));
    return dead;
  }
}

/** Makes a transport of an accepted connection. */
export function adoptTcp(accepted: Accepted, sink: TransportSink): Transport {
  return new Tcp(accepted.fd, sink, false);
}

/** A connection that came in; whoever gets it adopts or closes it. */
export interface Accepted {
  readonly fd: number;
  readonly local: Endpoint;
  readonly remote: Endpoint;
}

/** A listening socket. */
export interface TcpListener {
  readonly local: Endpoint;
  /** Sets the MD5 key of a peer, or takes it away; connections that stand keep theirs. Throws `SyscallError`. */
  setMd5(remote: string, key: string | undefined): void;
  close(): void;
}

/** Listens on an address ("0.0.0.0" and "::" for all) and hands each connection over. Throws `SyscallError`. */
export function listenTcp(address: string, port: number, accept: (accepted: Accepted) => void): TcpListener {
  const { bytes, scopeId } = parseAddress(address);
  const isV6 = bytes.length === 16;
  // The handshake's answer comes from this socket: a peer that uses GTSM hears nothing below 255.
  const fd = makeSocket(isV6, { ttl: MAX_TTL });
  try {
    const at = encodeSockaddr(bytes, port, scopeId);
    checked(`bind ${address} port ${port}`, libc().bind(fd, at, at.length));
    checked(`listen on ${address} port ${port}`, libc().listen(fd, BACKLOG));
  } catch (error) {
    libc().close(fd);
    throw error;
  }
  let isClosed = false;
  const watched = watchDescriptor(fd, EPOLLIN, () => {
    for (let i = 0; i < BACKLOG && !isClosed; i++) {
      const one = acceptOne(fd);
      if (!one) return;
      accept(one);
    }
  }, { isLevel: true });
  return {
    local: endpoint(fd, "getsockname"),
    setMd5: (remote, key) => setMd5(fd, parseAddress(remote).bytes, key ?? ""),
    close() {
      if (isClosed) return;
      isClosed = true;
      watched.stop();
      libc().close(fd);
    },
  };
}

/** Refuses a connection with a RST, at once. */
export function refuseTcp({ fd }: Accepted): void {
  libc().setsockopt(fd, SOL_SOCKET, SO_LINGER, Int32Array.of(1, 0), 8);
  libc().close(fd);
}

/** Sets TTL and GTSM of an accepted connection; throws `SyscallError`. */
export function setHops(fd: number, isV6: boolean, { ttl, minTtl }: Pick<TcpOptions, "ttl" | "minTtl">): void {
  const level = isV6 ? IPPROTO_IPV6 : IPPROTO_IP;
  if (ttl !== undefined) setSocketInt(fd, level, isV6 ? IPV6_UNICAST_HOPS : IP_TTL, ttl);
  if (minTtl !== undefined) setSocketInt(fd, level, isV6 ? IPV6_MINHOPCOUNT : IP_MINTTL, minTtl);
}

function makeSocket(isV6: boolean, options: TcpOptions): number {
  const fd = checked("make a TCP socket", libc().socket(isV6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_FLAGS, 0));
  try {
    setSocketInt(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    setSocketInt(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (isV6) setSocketInt(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    setSocketInt(fd, isV6 ? IPPROTO_IPV6 : IPPROTO_IP, isV6 ? IPV6_TCLASS : IP_TOS, TOS_CS6);
    setHops(fd, isV6, options);
    if (options.device !== undefined) {
      const name = cstring(options.device);
      checked(`bind to ${options.device}`, libc().setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, name.length));
    }
    return fd;
  } catch (error) {
    libc().close(fd);
    throw error;
  }
}

function bindTo(fd: number, length: number, { localAddress, localPort = 0 }: TcpOptions): void {
  const { bytes, scopeId } = localAddress === undefined
    ? { bytes: new Uint8Array(length), scopeId: 0 }
    : parseAddress(localAddress);
  const from = encodeSockaddr(bytes, localPort, scopeId);
  checked(`bind ${localAddress ?? "a port"}`, libc().bind(fd, from, from.length));
}

/** struct tcp_md5sig: sockaddr_storage 128, flags 1, prefix length 1, key length 2, ifindex 4, key 80. */
function setMd5(fd: number, remote: Uint8Array, key: string): void {
  const bytes = new TextEncoder().encode(key);
  if (bytes.length > TCP_MD5SIG_MAXKEYLEN) {
    throw new RangeError(`Cannot use a TCP MD5 key of ${bytes.length} octets: 80 is the most`);
  }
  const struct = new Uint8Array(TCP_MD5SIG_BYTES);
  struct.set(encodeSockaddr(remote, 0));
  new DataView(struct.buffer).setUint16(130, bytes.length, true);
  struct.set(bytes, 136);
  const result = libc().setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG, struct, struct.length);
  // Taking away a key that is not there is no error.
  if (result === -1 && key !== "") throw new SyscallError(`set the TCP MD5 key for ${formatAddress(remote)}`, errno());
}

function acceptOne(listener: number): Accepted | undefined {
  const struct = new Uint8Array(SOCKADDR_BYTES);
  const fd = libc().accept4(listener, struct, Uint32Array.of(SOCKADDR_BYTES), SOCK_FLAGS);
  if (fd === -1) return undefined;
  libc().setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, Int32Array.of(1), 4);
  return { fd, local: endpoint(fd, "getsockname"), remote: decodeSockaddr(struct) };
}

function endpoint(fd: number, which: "getsockname" | "getpeername"): Endpoint {
  const struct = new Uint8Array(SOCKADDR_BYTES);
  return libc()[which](fd, struct, Uint32Array.of(SOCKADDR_BYTES)) === -1 ? NOWHERE : decodeSockaddr(struct);
}

/** A connection that never was. */
class DeadTransport implements Transport {
  readonly local = NOWHERE;
  readonly remote = NOWHERE;
  readonly pending = 0;
  #isClosed = false;

  constructor(readonly sink: TransportSink) {}

  tell(reason: string): void {
    if (!this.#isClosed) this.sink.closed(reason);
  }
  write(): void {}
  close(): void {
    this.#isClosed = true;
  }
}

class Tcp implements Transport {
  readonly #fd: number;
  readonly #sink: TransportSink;
  readonly #watched: Watched;
  #isConnecting: boolean;
  #isClosed = false;
  #queue: Uint8Array[] = [];
  #pending = 0;
  #stopLingering: (() => void) | undefined;
  local: Endpoint = NOWHERE;
  remote: Endpoint = NOWHERE;

  constructor(fd: number, sink: TransportSink, isConnecting: boolean) {
    this.#fd = fd;
    this.#sink = sink;
    this.#isConnecting = isConnecting;
    if (!isConnecting) this.#learnEnds();
    this.#watched = watchDescriptor(fd, isConnecting ? EPOLLOUT : EPOLLIN, (events) => this.#ready(events), {
      isLevel: true,
    });
  }

  get pending(): number {
    return this.#pending;
  }

  write(bytes: Uint8Array): void {
    if (this.#isClosed || bytes.length === 0) return;
    let sent = 0;
    if (this.#pending === 0 && !this.#isConnecting) {
      sent = this.#send(bytes);
      if (sent < 0) return;
    }
    if (sent === bytes.length) return;
    if (this.#pending === 0) this.#watched.rearm(EPOLLIN | EPOLLOUT);
    this.#pending += bytes.length - sent;
    this.#queue.push(bytes.slice(sent));
    if (this.#pending > MAX_PENDING) this.#fail("the peer takes nothing and too much waits for it");
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#pending > 0 && !this.#isConnecting) return this.#linger();
    this.#end();
  }

  /** Lets the kernel take what waits, a NOTIFICATION at its end for instance, for a short time. */
  #linger(): void {
    lingering++;
    const timer = setTimeout(() => this.#endLingering(), LINGER_MS);
    this.#stopLingering = () => clearTimeout(timer);
    this.#watched.rearm(EPOLLOUT);
  }

  #endLingering(): void {
    if (!this.#stopLingering) return;
    this.#stopLingering();
    this.#stopLingering = undefined;
    lingering--;
    this.#end();
  }

  #end(): void {
    this.#queue = [];
    this.#pending = 0;
    this.#watched.stop();
    // Octets left unread would make the kernel drop what it still has to send, and send a reset instead.
    if (!this.#isConnecting) {
      for (
        let i = 0;
        i < MAX_UNREAD && libc().recv(this.#fd, WASTE, WASTE.length, 0) > 0;
        i++
      );
    }
    libc().close(this.#fd);
  }

  /** How many octets the kernel took; -1 when the connection is broken (told later). */
  #send(bytes: Uint8Array): number {
    const count = libc().send(this.#fd, bytes as Uint8Array<ArrayBuffer>, bytes.length, MSG_NOSIGNAL);
    if (count >= 0) return count;
    const error = errno();
    if (error === EAGAIN || error === EINTR) return 0;
    this.#fail(`${errnoText(error)} (${errnoCode(error)})`);
    return -1;
  }

  /** Told in a later turn, because the owner may be in the middle of a step. */
  #fail(reason: string): void {
    if (this.#isClosed) return this.#endLingering();
    this.#isClosed = true;
    this.#end();
    queueMicrotask(() => this.#sink.closed(reason));
  }

  #ready(events: number): void {
    if (this.#stopLingering) {
      // A report from before the close may say EPOLLIN, which is nothing to us any more.
      if ((events & (EPOLLERR | EPOLLHUP)) !== 0) this.#endLingering();
      else if ((events & EPOLLOUT) !== 0) this.#drain();
      return;
    }
    if (this.#isConnecting) return this.#connected();
    if ((events & EPOLLOUT) !== 0) this.#drain();
    // Errors and hang-ups are reported without EPOLLIN; the read tells what it was.
    if ((events & ~EPOLLOUT) !== 0 && !this.#isClosed) this.#read();
  }

  #connected(): void {
    const error = getSocketInt(this.#fd, SOL_SOCKET, SO_ERROR);
    if (error !== 0) {
      this.close();
      this.#sink.closed(`${errnoText(error)} (${errnoCode(error)})`);
      return;
    }
    this.#isConnecting = false;
    this.#learnEnds();
    this.#watched.rearm(this.#pending > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
    this.#sink.connected();
  }

  #learnEnds(): void {
    this.local = endpoint(this.#fd, "getsockname");
    this.remote = endpoint(this.#fd, "getpeername");
  }

  #read(): void {
    const room = this.#sink.room() as Uint8Array<ArrayBuffer>;
    const count = libc().recv(this.#fd, room, room.length, 0);
    if (count > 0) return this.#sink.received(count);
    if (count === -1) {
      const error = errno();
      if (error === EAGAIN || error === EINTR) return;
      this.close();
      return this.#sink.closed(`${errnoText(error)} (${errnoCode(error)})`);
    }
    this.close();
    this.#sink.closed("the peer closed the connection");
  }

  #drain(): void {
    for (let bytes = this.#queue[0]; bytes; bytes = this.#queue[0]) {
      const sent = this.#send(bytes);
      if (sent < 0) return;
      this.#pending -= sent;
      if (sent < bytes.length) {
        this.#queue[0] = bytes.subarray(sent);
        return;
      }
      this.#queue.shift();
    }
    if (this.#isClosed) return this.#endLingering();
    this.#watched.rearm(EPOLLIN);
    this.#sink.writable();
  }
}
