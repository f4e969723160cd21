/**
 * Reports of the kernel: links, addresses, routes and neighbours as they change (rtnetlink(7), RTNLGRP_*).
 *
 * A burst wakes us once: we wait 3 ms, then read what has gathered, a few milliseconds at a time. When reports came faster
 * than we read, the kernel drops some and says ENOBUFS: what still waits is then thrown away too, because an old "added"
 * without its lost "removed" would lie, and one `resync` is delivered instead.
 */

import type { KernelEvent } from "../dataplane/ports.ts";
import { decodeAddress, RTM_DELADDR, RTM_NEWADDR } from "../netlink/address.ts";
import { NetlinkError } from "../netlink/error.ts";
import { decodeLink, RTM_DELLINK, RTM_NEWLINK } from "../netlink/link.ts";
import { MalformedError } from "../netlink/malformed.ts";
import { type Message, NLMSG_OVERRUN, readMessages } from "../netlink/message.ts";
import { decodeNeighbour, RTM_DELNEIGH, RTM_NEWNEIGH } from "../netlink/neighbour.ts";
import { RTM_DELROUTE, RTM_NEWROUTE } from "../netlink/route.ts";
import { decodeRoute } from "../netlink/route_row.ts";
import { dropEchoes } from "./echo_filter.ts";
import type { Namespace } from "./namespace.ts";
import { type NetlinkSocket, openNetlink } from "./netlink_socket.ts";
import { nextTurn } from "./pause.ts";
import { EPOLLIN, watchDescriptor } from "./poller.ts";

/** RTNLGRP_LINK 1, NEIGH 3, IPV4_IFADDR 5, IPV4_ROUTE 7, IPV6_IFADDR 9, IPV6_ROUTE 11: bit g-1 for each. */
const GROUPS = {
  link: 1 << 0,
  neighbour: 1 << 2,
  address: (1 << 4) | (1 << 8),
  route: (1 << 6) | (1 << 10),
} as const;
/** Where struct rtmsg has its protocol. */
const RTM_PROTOCOL_AT = 5;
const GATHER_MS = 3;
const DRAIN_MS = 5;
/** A flood faster than we can throw away ends here for this turn. */
const MAX_DISCARDED = 100_000;

/** Which reports of routes are echoes: those of an RTPROT_* that the socket of that port id asked for. */
export interface Echoes {
  readonly protocol: number;
  readonly port: number;
}

/** What to report, and how much may wait. */
export interface WatchOptions {
  /** All kinds when left out. */
  readonly types?: readonly (keyof typeof GROUPS)[];
  /** Routes of a protocol that one socket wrote are passed over undecoded: the echoes of one's own full table. */
  readonly echoes?: Echoes;
  /** Bytes; 8 MB when left out. */
  readonly receiveBuffer?: number;
}

/** Delivers reports from now on; returns how to stop. Throws `SyscallError`. */
export function watchKernel(
  namespace: Namespace,
  sink: (event: KernelEvent) => void,
  { types = ["link", "address", "route", "neighbour"], echoes, receiveBuffer }: WatchOptions = {},
): () => void {
  const groups = types.reduce((mask, type) => mask | GROUPS[type], 0);
  const socket = openNetlink({ namespace, groups, receiveBuffer });
  if (echoes) dropEchoes(socket.fd, echoes);
  let isStopped = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const deliver = (event: KernelEvent) => {
    if (!isStopped) sink(event);
  };
  const drain = async () => {
    timer = undefined;
    while (!isStopped && !drainFor(DRAIN_MS, socket, deliver, echoes)) await nextTurn();
    if (!isStopped) watched.rearm();
  };
  const watched = watchDescriptor(socket.fd, EPOLLIN, () => timer ??= setTimeout(drain, GATHER_MS));
  return () => {
    if (isStopped) return;
    isStopped = true;
    clearTimeout(timer);
    watched.stop();
    socket.close();
  };
}

/** Reads for up to `ms` milliseconds; true when nothing waits any more. */
function drainFor(
  ms: number,
  socket: NetlinkSocket,
  deliver: (event: KernelEvent) => void,
  echoes: Echoes | undefined,
): boolean {
  const until = performance.now() + ms;
  do {
    const waiting = take(socket);
    if (waiting === "empty") return true;
    if (waiting === "lost") {
      for (let i = 0; i < MAX_DISCARDED && take(socket) !== "empty"; i++);
      deliver({ type: "resync" });
      continue;
    }
    for (const event of eventsOf(waiting, echoes)) deliver(event);
  } while (performance.now() < until);
  return false;
}

function take(socket: NetlinkSocket): Uint8Array | "empty" | "lost" {
  try {
    return socket.poll() ?? "empty";
  } catch (error) {
    if (error instanceof NetlinkError) return "lost";
    throw error;
  }
}

/** The events in one datagram, without echoes; what cannot be decoded counts as lost. */
export function eventsOf(datagram: Uint8Array, echoes?: Echoes): KernelEvent[] {
  const events: KernelEvent[] = [];
  try {
    for (const message of readMessages(datagram)) {
      const event = eventOf(message, echoes);
      if (event) events.push(event);
    }
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    events.push({ type: "resync" });
  }
  return events;
}

function eventOf({ type, port, body }: Message, echoes: Echoes | undefined): KernelEvent | undefined {
  switch (type) {
    case RTM_NEWLINK:
    case RTM_DELLINK: {
      const link = decodeLink(body);
      return link && { type: "link", isGone: type === RTM_DELLINK, link };
    }
    case RTM_NEWADDR:
    case RTM_DELADDR: {
      const address = decodeAddress(body);
      return address && { type: "address", isGone: type === RTM_DELADDR, address };
    }
    case RTM_NEWROUTE:
    case RTM_DELROUTE: {
      if (echoes?.port === port && body[RTM_PROTOCOL_AT] === echoes.protocol) return undefined;
      const route = decodeRoute(body);
      return route && { type: "route", isGone: type === RTM_DELROUTE, route };
    }
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH: {
      const neighbour = decodeNeighbour(body);
      return neighbour && { type: "neighbour", isGone: type === RTM_DELNEIGH, neighbour };
    }
    case NLMSG_OVERRUN:
      return { type: "resync" };
    default:
      return undefined;
  }
}
