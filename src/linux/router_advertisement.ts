/**
 * Router advertisements of one interface (RFC 4861): we send them so that the router on the link learns our link-local
 * address, and hear its own to learn who it is (unnumbered BGP sessions). A lifetime of 0 says that we are nobody's default.
 *
 *   type 134 | code 0 | checksum 2 (the kernel's) | hop limit | flags | lifetime 2 | reachable 4 | retransmit 4 | options
 *
 * A packet must have come with hop limit 255: it was not forwarded. icmpv6(7), RFC 3542.
 */

import { checked, cstring, errno, libc, setSocketInt, SyscallError } from "./libc.ts";
import { EPOLLIN, watchDescriptor } from "./poller.ts";
import { encodeSockaddr } from "./tcp_address.ts";
import { Message } from "./udp_socket.ts";

const AF_INET6 = 10;
const SOCK_RAW = 3;
const SOCK_FLAGS = 0o4000 | 0o2000000;
const SOL_SOCKET = 1;
const SO_BINDTODEVICE = 25;
const IPPROTO_IPV6 = 41;
const IPPROTO_ICMPV6 = 58;
const IPV6_MULTICAST_IF = 17;
const IPV6_MULTICAST_HOPS = 18;
const IPV6_MULTICAST_LOOP = 19;
const IPV6_ADD_MEMBERSHIP = 20;
const IPV6_RECVHOPLIMIT = 51;
const ICMPV6_FILTER = 1;
const ND_ROUTER_SOLICIT = 133;
const ND_ROUTER_ADVERT = 134;
const ADVERT_BYTES = 16;
const MAX_HOPS = 255;
const MAX_AT_ONCE = 64;
const ALL_NODES = Uint8Array.of(0xff, 2, ...new Uint8Array(13), 1);
const ALL_ROUTERS = Uint8Array.of(0xff, 2, ...new Uint8Array(13), 2);

/** An interface whose routers are heard. */
export interface RouterDiscovery {
  readonly ifindex: number;
  /** Sends an advertisement; false when the kernel refused it. */
  advertise(): boolean;
  close(): void;
}

/**
 * Begins to listen on an interface. `heard` gets the link-local address of a router that advertises; `solicited` is called
 * when somebody asks for advertisements. Throws `SyscallError`, ENODEV when there is no such interface.
 */
export function discoverRouters(
  name: string,
  heard: (address: Uint8Array) => void,
  solicited: () => void,
): RouterDiscovery {
  const text = cstring(name);
  const ifindex = libc().if_nametoindex(text);
  if (ifindex === 0) throw new SyscallError(`find the interface ${name}`, errno());
  const fd = checked("make an ICMPv6 socket", libc().socket(AF_INET6, SOCK_RAW | SOCK_FLAGS, IPPROTO_ICMPV6));
  try {
    checked(`bind to ${name}`, libc().setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, text, text.length));
    // A set bit blocks the type: all but the two.
    const filter = new Uint32Array(8).fill(0xffffffff);
    for (const type of [ND_ROUTER_SOLICIT, ND_ROUTER_ADVERT]) filter[type >> 5]! &= ~(1 << (type & 31));
    checked("filter ICMPv6", libc().setsockopt(fd, IPPROTO_ICMPV6, ICMPV6_FILTER, filter, 32));
    setSocketInt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, ifindex);
    setSocketInt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, MAX_HOPS);
    setSocketInt(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0);
    setSocketInt(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
    const group = new Uint8Array(20);
    group.set(ALL_ROUTERS);
    new DataView(group.buffer).setInt32(16, ifindex, true);
    checked("join all routers", libc().setsockopt(fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, group, group.length));
  } catch (error) {
    libc().close(fd);
    throw error;
  }
  const message = new Message();
  const to = encodeSockaddr(ALL_NODES, 0, ifindex);
  const advert = new Uint8Array(ADVERT_BYTES);
  advert[0] = ND_ROUTER_ADVERT;
  let isClosed = false;
  const watched = watchDescriptor(fd, EPOLLIN, () => {
    for (let i = 0; i < MAX_AT_ONCE && !isClosed; i++) {
      const packet = message.receive(fd);
      if (packet === undefined) return;
      if (packet === "cut" || packet.ttl !== MAX_HOPS || packet.bytes[1] !== 0) continue;
      const { address } = packet.from;
      if (packet.bytes[0] === ND_ROUTER_SOLICIT) solicited();
      else if (packet.bytes.length >= ADVERT_BYTES && isLinkLocal(address)) heard(address);
    }
  }, { isLevel: true });
  return {
    ifindex,
    advertise: () => libc().sendto(fd, advert, advert.length, 0, to, to.length) === advert.length,
    close() {
      if (isClosed) return;
      isClosed = true;
      watched.stop();
      libc().close(fd);
    },
  };
}

function isLinkLocal(address: Uint8Array): boolean {
  return address.length === 16 && address[0] === 0xfe && (address[1]! & 0xc0) === 0x80;
}
