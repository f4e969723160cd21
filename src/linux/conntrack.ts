/**
 * The `Conntrack` port over ctnetlink, in one network namespace.
 *
 * Dumps come in datagrams of 32 KB that are looked through and forgotten, and between them others may run. Deletions go out
 * many in a datagram whose last asks for an ack; the kernel tells which it refused. ENOENT means that it has gone already.
 */

import type { Conntrack } from "../dataplane/firewall_conntrack.ts";
import { ByteWriter } from "../lib/bytes.ts";
import {
  compileFilter,
  type Connection,
  decodeConnection,
  deleteConnection,
  describeTuple,
  getConnections,
} from "../netlink/conntrack.ts";
import { ENOENT } from "../netlink/errno.ts";
import { NetlinkError } from "../netlink/error.ts";
import { NLM_F_ACK, NLM_F_REQUEST, putMessage } from "../netlink/message.ts";
import { askBatch, dump, refusal } from "../netlink/request.ts";
import { type Namespace, openNamespace } from "./namespace.ts";
import { NETLINK_NETFILTER, type NetlinkSocket, openNetlink } from "./netlink_socket.ts";
import { makePause } from "./pause.ts";

/** Deletions in one datagram: each takes about 100 bytes, and each refusal as much again. */
const BATCH = 512;

/**
 * Opens the connection tracking of a namespace (named as for `openNamespace`; the calling thread's own when left out).
 * Throws `NamespaceError` or `SyscallError`.
 */
export function openConntrack(namespace: string | Namespace = ""): Conntrack {
  const opened = typeof namespace === "string" ? openNamespace(namespace) : undefined;
  const target = opened ?? namespace as Namespace;
  let socket: NetlinkSocket;
  try {
    socket = openNetlink({ namespace: target, protocol: NETLINK_NETFILTER });
  } catch (error) {
    opened?.close();
    throw error;
  }
  // A dump steps aside while it runs, so dumps take turns on a socket of their own.
  let dumps: NetlinkSocket | undefined;
  let previous: Promise<unknown> = Promise.resolve();
  let isOpen = true;
  return {
    visit(filter, visitor) {
      const isWanted = compileFilter(filter);
      const turn = previous.then(async () => {
        for (const family of filter.family ? [filter.family] : [4, 6] as const) {
          if (!isOpen) throw new Error("Cannot list the connections: the connection tracking was closed");
          dumps ??= openNetlink({ namespace: target, protocol: NETLINK_NETFILTER });
          await dump(dumps, getConnections(family, filter), {
            restart: () => {},
            visit: (_type, bytes, from, to) => {
              if (!isWanted(bytes, from, to)) return;
              const connection = decodeConnection(bytes.subarray(from, to));
              if (connection) visitor(connection);
            },
          }, makePause());
        }
      });
      previous = turn.catch(() => undefined);
      return turn;
    },
    async delete(connections) {
      const results = new Array<NetlinkError | undefined>(connections.length).fill(undefined);
      const pause = makePause();
      for (let at = 0; at < connections.length; at += BATCH) {
        deleteSome(socket, connections.slice(at, at + BATCH), (index, error) => results[at + index] = error);
        await pause();
      }
      return results;
    },
    close() {
      if (!isOpen) return;
      isOpen = false;
      socket.close();
      void previous.then(() => dumps?.close()).finally(() => opened?.close());
    },
  };
}

function deleteSome(
  socket: NetlinkSocket,
  connections: readonly Connection[],
  refused: (index: number, error: NetlinkError) => void,
): void {
  const writer = new ByteWriter(connections.length * 128 + 64);
  const first = socket.sequence(connections.length);
  for (const [i, connection] of connections.entries()) {
    const { type, body } = deleteConnection(connection);
    const flags = NLM_F_REQUEST | (i === connections.length - 1 ? NLM_F_ACK : 0);
    putMessage(writer, { type, flags, sequence: first + i }, body);
  }
  const operation = "delete connections";
  try {
    askBatch(socket, operation, { bytes: writer.view(), first, count: connections.length }, (index, ack) => {
      const connection = connections[index];
      if (ack.errno === ENOENT || !connection) return;
      refused(index, refusal(`delete the connection ${describeTuple(connection.original)}`, ack));
    });
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
    connections.forEach((_, index) => refused(index, error));
  }
}
