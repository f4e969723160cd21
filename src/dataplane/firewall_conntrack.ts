/**
 * The `Conntrack` port: the connections that the kernel tracks, and the same in memory with a fault switch.
 *
 * A host may have hundreds of thousands of connections: they are visited one by one and none is kept, and a filter keeps the
 * unwanted from becoming objects at all. Deleting a connection makes its next packet be judged by the rules that stand then.
 */

import { ENOBUFS, errnoCode, errnoText } from "../netlink/errno.ts";
import { NetlinkError } from "../netlink/error.ts";
import { type Connection, type ConnectionFilter, describeTuple } from "../netlink/conntrack.ts";

/** The kernel's connection tracking. */
export interface Conntrack {
  /**
   * Visits the connections that the filter lets through; one that comes or goes meanwhile may be visited or not, or twice.
   * Throws `NetlinkError`.
   */
  visit(filter: ConnectionFilter, visitor: (connection: Connection) => void): Promise<void>;
  /** Deletes connections; the result has an error, or undefined, for each. Deleting what has gone succeeds. */
  delete(connections: readonly Connection[]): Promise<(NetlinkError | undefined)[]>;
  close(): void;
}

/** Connection tracking in memory. */
export class MemoryConntrack implements Conntrack {
  readonly #connections = new Map<number, Connection>();
  /** The errno that the next calls fail with, while it is set: for a whole visit, or for each deletion that matches. */
  fault: { readonly errno?: number; readonly matching: RegExp } | undefined;

  /** Tracks a connection, in place of the one with the same id. */
  add(connection: Connection): void {
    this.#connections.set(connection.id, connection);
  }

  /** What is tracked. */
  get connections(): readonly Connection[] {
    return [...this.#connections.values()];
  }

  visit(filter: ConnectionFilter, visitor: (connection: Connection) => void): Promise<void> {
    return Promise.try(() => {
      const error = this.#faultFor("list the connections");
      if (error) throw error;
      for (const connection of [...this.#connections.values()]) if (isWanted(connection, filter)) visitor(connection);
    });
  }

  delete(connections: readonly Connection[]): Promise<(NetlinkError | undefined)[]> {
    return Promise.resolve(connections.map((connection) => {
      const error = this.#faultFor(`delete the connection ${describeTuple(connection.original)}`);
      if (error) return error;
      this.#connections.delete(connection.id);
      return undefined;
    }));
  }

  close(): void {}

  #faultFor(operation: string): NetlinkError | undefined {
    if (!this.fault?.matching.test(operation)) return undefined;
    const errno = this.fault.errno ?? ENOBUFS;
    return new NetlinkError(operation, errno, errnoCode(errno), errnoText(errno));
  }
}

/** Whether all that the filter asks for holds. */
export function isWanted(connection: Connection, { family, protocol, mark, addresses }: ConnectionFilter): boolean {
  const { original, reply } = connection;
  if (family !== undefined && family !== connection.family) return false;
  if (protocol !== undefined && protocol !== original.protocol) return false;
  if (mark && ((connection.mark & mark.mask) >>> 0) !== ((mark.value & mark.mask) >>> 0)) return false;
  return !addresses ||
    addresses.some((ip) =>
      [original.source, original.destination, reply.source, reply.destination].some((end) => end.equals(ip))
    );
}
