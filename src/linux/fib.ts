/**
 * The `Fib` port: routing tables, over rtnetlink, and beside it the raw way for full tables (`RawRoutes`).
 *
 * Changes go out in datagrams of up to 64 KB whose last message asks for an ack; the kernel reports refusals one by one,
 * told apart by sequence number. Between datagrams others may run. Deleting a route that is not there succeeds.
 */

import type { Fib, Route, RouteChange } from "../dataplane/ports.ts";
import { ByteWriter } from "../lib/bytes.ts";
import { EINVAL, ENOENT, errnoCode, ESRCH } from "../netlink/errno.ts";
import { NetlinkError } from "../netlink/error.ts";
import type { Exchange } from "../netlink/exchange.ts";
import { type Ack, NLM_F_ACK, NLM_F_REQUEST, putMessage } from "../netlink/message.ts";
import { askBatch, type Pause, refusal, type Request } from "../netlink/request.ts";
import { addRoute, deleteRoute, describeRoute, getRoutes, replaceRoute } from "../netlink/route.ts";
import { readRoute, routeOf, RouteRow } from "../netlink/route_row.ts";
import type { RouteBatch } from "../netlink/route_batch.ts";
import { makePause } from "./pause.ts";

/** A datagram is sent once it holds this much; 16 to 64 KB is fastest. */
const BATCH_BYTES = 60 * 1024;
const BATCH_CHANGES = 2048;

/** The kernel's routes without an object for each: how the speaker reads and writes full tables. */
export interface RawRoutes {
  /** A batch to fill: call `begin` on it with this, then `put4` or `put6`. Takes sequence numbers for `count` routes. */
  sequence(count: number): number;
  /**
   * Sends a batch and reports each refusal by its index in the batch. Deleting what is gone is reported as ESRCH. Throws
   * `NetlinkError` when the outcome is unknown; then the table must be read again.
   */
  send(batch: RouteBatch, refused: (index: number, ack: Ack) => void): void;
  /** Dumps a family; the one row is filled again for each route. `restart` is called when it has to begin again. */
  dump(
    filter: { family: 4 | 6; table?: number; protocol?: number },
    sink: { restart(): void; visit(row: RouteRow): void },
  ): Promise<void>;
}

/** What the FIB needs of its namespace. */
export interface FibRequests {
  readonly exchange: Exchange;
  dump(
    request: Request,
    sink: { restart(): void; visit(type: number, bytes: Uint8Array, from: number, to: number): void },
  ): Promise<void>;
}

/** Makes the raw routes of a namespace. */
export function makeRawRoutes({ exchange, dump }: FibRequests): RawRoutes {
  return {
    sequence: (count) => exchange.sequence(count),
    send(batch, refused) {
      if (batch.count > 0) askBatch(exchange, "change routes", batch, refused);
    },
    async dump({ family, table, protocol }, { restart, visit }) {
      const request = getRoutes(family, { table, protocol });
      const row = new RouteRow();
      try {
        await dump(request, {
          restart,
          visit: (_type, bytes, from, to) => {
            if (!readRoute(bytes, from, to, row) || row.family !== (family === 4 ? 2 : 10)) return;
            if (table !== undefined && row.table !== table) return;
            if (protocol !== undefined && row.protocol !== protocol) return;
            visit(row);
          },
        });
      } catch (error) {
        // The kernel has no such table: it is made with its first route.
        if (!(error instanceof NetlinkError) || error.errno !== ENOENT) throw error;
      }
    },
  };
}

/** Makes the `Fib` port of a namespace. */
export function makeFib(requests: FibRequests, raw: RawRoutes): Fib {
  return {
    async list(filter = {}) {
      const { family, ...rest } = filter;
      const routes: Route[][] = [];
      for (const one of family ? [family] : [4, 6] as const) {
        let found: Route[] = [];
        await raw.dump({ family: one, ...rest }, {
          restart: () => void (found = []),
          visit: (row) => void found.push(routeOf(row)),
        });
        routes.push(found);
      }
      return routes.flat();
    },
    async apply(changes) {
      const results = new Array<NetlinkError | undefined>(changes.length).fill(undefined);
      const pause: Pause = makePause();
      for (let at = 0; at < changes.length;) {
        at = applyBatch(requests.exchange, changes, at, results);
        await pause();
      }
      return results;
    },
  };
}

/** Applies as many changes as fit a datagram, from `start`; returns where the next begins. */
function applyBatch(
  exchange: Exchange,
  changes: readonly RouteChange[],
  start: number,
  results: (NetlinkError | undefined)[],
): number {
  const writer = new ByteWriter(BATCH_BYTES + 4096);
  const sent: number[] = [];
  const first = exchange.sequence(Math.min(changes.length - start, BATCH_CHANGES));
  let at = start, last = 0, lastFlags = 0;
  for (; at < changes.length && sent.length < BATCH_CHANGES && writer.length < BATCH_BYTES; at++) {
    const request = requestFor(changes[at]!, (error) => results[at] = error);
    if (!request) continue;
    last = writer.length;
    lastFlags = NLM_F_REQUEST | (request.flags ?? 0);
    putMessage(writer, { type: request.type, flags: lastFlags, sequence: first + sent.length }, request.body);
    sent.push(at);
  }
  if (sent.length === 0) return at;
  writer.patchU16le(last + 6, lastFlags | NLM_F_ACK);
  try {
    askBatch(exchange, "change routes", { bytes: writer.view(), first, count: sent.length }, (index, ack) => {
      const changeAt = sent[index]!;
      const change = changes[changeAt]!;
      if (change.action === "delete" && ack.errno === ESRCH) return;
      results[changeAt] = refusal(describeChange(change), ack);
    });
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
    for (const changeAt of sent) results[changeAt] ??= error;
  }
  return at;
}

/** The change as a request; a route that no message can hold is refused here. */
function requestFor(change: RouteChange, refuse: (error: NetlinkError) => void): Request | undefined {
  const { action, route, isExclusive } = change;
  try {
    if (action === "delete") return deleteRoute(route);
    return isExclusive ? addRoute(route) : replaceRoute(route);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    refuse(new NetlinkError(describeChange(change), EINVAL, errnoCode(EINVAL), error.message));
    return undefined;
  }
}

function describeChange({ action, route, isExclusive }: RouteChange): string {
  return describeRoute(action === "delete" ? "del" : isExclusive ? "add" : "replace", route);
}
