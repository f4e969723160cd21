/**
 * Reports of nf_tables: who changed which table (NFNLGRP_NFTABLES). What is in a report is not followed; that a table of
 * ours was touched is enough to have it read again.
 *
 * One transaction is reported as its changes and then one NEWGEN. A burst wakes us once: a few milliseconds are waited, then
 * what has gathered is read. When reports came faster than we read (ENOBUFS), `resync` is delivered.
 */

import type { FirewallEvent } from "../dataplane/firewall_port.ts";
import { NetlinkError } from "../netlink/error.ts";
import { MalformedError } from "../netlink/malformed.ts";
import { NLMSG_OVERRUN, readMessages } from "../netlink/message.ts";
import { NFNL_SUBSYS_NFTABLES, NFNLGRP_NFTABLES, NFT_MSG_NEWGEN } from "../netlink/nft/constants.ts";
import { tableOf } from "../netlink/nft/decode.ts";
import type { TableFamily } from "../netlink/nft/ruleset.ts";
import { setSocketInt } from "./libc.ts";
import type { Namespace } from "./namespace.ts";
import { NETLINK_NETFILTER, type NetlinkSocket, openNetlink } from "./netlink_socket.ts";
import { EPOLLIN, watchDescriptor } from "./poller.ts";

const SOL_NETLINK = 270, NETLINK_ADD_MEMBERSHIP = 1, NETLINK_DROP_MEMBERSHIP = 2;
const GATHER_MS = 3;
/** Datagrams read before others get their turn. */
const MAX_DATAGRAMS = 1000;
/** A flood faster than we can throw away ends here; the rest is reported. */
const MAX_FORGOTTEN = 100_000;

/** A subscription to reports. */
export interface Reports {
  /** Reads what waits: whether all of it was about tables of others. */
  drain(): "others only" | "ours too";
  /** Throws away what waits, because the tables are about to be read. */
  forget(): void;
  /** Leaves the group while we change our tables ourselves, and comes back. */
  deafen(): void;
  listen(): void;
  /** Something happened while nobody listened. */
  missed(): void;
  stop(): void;
}

/** Delivers reports of our tables from now on; throws `SyscallError`. */
export function watchReports(namespace: Namespace, sink: (event: FirewallEvent) => void): Reports {
  const socket = openNetlink({ namespace, protocol: NETLINK_NETFILTER, groups: 1 << (NFNLGRP_NFTABLES - 1) });
  let isStopped = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const deliver = (event: FirewallEvent) => {
    if (!isStopped) sink(event);
  };
  const drain = (): "others only" | "ours too" => {
    const found = readWaiting(socket);
    if (found.isLost) deliver({ type: "resync" });
    for (const family of found.families) deliver({ type: "changed", family });
    return found.isLost || found.families.size > 0 ? "ours too" : "others only";
  };
  const gathered = () => {
    timer = undefined;
    if (isStopped) return;
    drain();
    watched.rearm();
  };
  const watched = watchDescriptor(socket.fd, EPOLLIN, () => timer ??= setTimeout(gathered, GATHER_MS));
  return {
    drain,
    forget: () => void readWaiting(socket, MAX_FORGOTTEN),
    deafen: () => setSocketInt(socket.fd, SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, NFNLGRP_NFTABLES),
    listen: () => setSocketInt(socket.fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES),
    missed: () => queueMicrotask(() => deliver({ type: "resync" })),
    stop() {
      if (isStopped) return;
      isStopped = true;
      clearTimeout(timer);
      watched.stop();
      socket.close();
    },
  };
}

/** The families of our tables that waiting reports are about. */
function readWaiting(socket: NetlinkSocket, most = MAX_DATAGRAMS): { families: Set<TableFamily>; isLost: boolean } {
  const families = new Set<TableFamily>();
  let isLost = false;
  for (let count = 0; count < most; count++) {
    let datagram;
    try {
      datagram = socket.poll();
    } catch (error) {
      if (!(error instanceof NetlinkError)) throw error;
      isLost = true;
      continue;
    }
    if (!datagram) break;
    if (!readReports(datagram, families)) isLost = true;
  }
  return { families, isLost };
}

/** Adds the families of our tables that a datagram is about; false when it cannot be read. */
export function readReports(datagram: Uint8Array, families: Set<TableFamily>): boolean {
  try {
    for (const { type, body } of readMessages(datagram)) {
      if (type === NLMSG_OVERRUN) return false;
      if (type >> 8 !== NFNL_SUBSYS_NFTABLES || type === NFT_MSG_NEWGEN) continue;
      const family = tableOf(body);
      if (family) families.add(family);
    }
    return true;
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    return false;
  }
}
