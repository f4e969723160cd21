/**
 * Writes what the router decides into the kernel's FIB, as protocol bird.
 *
 * Routes with one next hop go as raw netlink messages in batches, kept beside in columns (no object for a route) so that a
 * refusal can be named; ECMP routes go through the `Fib` port, after what is in the batch. A route that the kernel refuses
 * stays dirty and is tried again with back-off, unless the router has decided anew meanwhile.
 */

import type { AddressFamily } from "../bgp/config.ts";
import type { FibNexthop, FibSink } from "../bgp/rib/interface.ts";
import type { Route } from "../dataplane/ports.ts";
import { Cidr } from "../lib/cidr.ts";
import type { Cancel, Clock } from "../lib/clock.ts";
import { Ip } from "../lib/ip.ts";
import type { Log } from "../lib/log.ts";
import type { LinuxKernel } from "../linux/kernel.ts";
import { type BatchAction, RouteBatch } from "../netlink/route_batch.ts";

/** RTPROT_BIRD: the mark of routes from BGP. */
export const RTPROT_BIRD = 12;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const RT_SCOPE_NOWHERE = 255;
const ESRCH = 3;
const BATCH_ROUTES = 2048;
const FIRST_RETRY = 1_000;
const LAST_RETRY = 60_000;
const NO_NEXTHOP: FibNexthop = { ifindex: 0 };

/** A change that the kernel did not take; without next hops it is a removal. */
interface Change {
  readonly family: AddressFamily;
  readonly address: Uint8Array;
  readonly length: number;
  readonly metric: number;
  readonly nexthops: readonly FibNexthop[] | undefined;
}

/** The way into the FIB. */
export interface FibWriter extends FibSink {
  /** Sends what is in the batch; call it after a run of changes. */
  flush(): void;
  /** RT_TABLE_* for what comes from now on. */
  table: number;
  /** Why routes are not in the kernel; empty when all are. */
  readonly errors: readonly string[];
  close(): void;
}

/** Makes the writer of a namespace. */
export function makeFibWriter(kernel: LinuxKernel, { clock, log }: { clock: Clock; log: Log }): FibWriter {
  const batch = new RouteBatch();
  const columns = makeColumns();
  const failed = new Map<string, Change & { readonly error: string }>();
  let count = 0;
  let retry: Cancel | undefined;
  let wait = FIRST_RETRY;
  let isClosed = false;

  const flush = () => {
    if (count === 0) return;
    const sent = count;
    count = 0;
    try {
      kernel.routes.send(batch, (index, ack) => {
        const change = columns.read(index);
        if (change.nexthops || ack.errno !== ESRCH) refuse(change, ack.text || `errno ${ack.errno}`);
      });
    } catch (error) {
      // The outcome is unknown; every change may be repeated.
      const text = error instanceof Error ? error.message : String(error);
      log.error("Cannot write routes to the kernel", { error });
      for (let i = 0; i < sent; i++) refuse(columns.read(i), text);
    }
  };

  const refuse = (change: Change, error: string) => {
    if (failed.size === 0) log.warn("The kernel refused a route", { route: keyOf(change), error });
    failed.set(keyOf(change), { ...change, error });
    if (isClosed) return;
    retry ??= clock.after(wait, () => {
      retry = undefined;
      wait = Math.min(LAST_RETRY, wait * 2);
      const again = [...failed.values()];
      failed.clear();
      for (const { family, address, length, metric, nexthops } of again) {
        if (nexthops) writer.install(family, address, length, metric, nexthops);
        else writer.uninstall(family, address, length, metric);
      }
      flush();
      if (failed.size === 0) wait = FIRST_RETRY;
    });
  };

  const put = (action: BatchAction, change: Omit<Change, "nexthops">, nexthop: FibNexthop): void => {
    if (count === BATCH_ROUTES) flush();
    for (let attempts = 0; attempts < 2; attempts++) {
      if (count === 0) batch.begin(kernel.routes.sequence(BATCH_ROUTES));
      if (append(action, change, nexthop)) {
        columns.write(count++, action === "replace", change, nexthop);
        return;
      }
      flush();
    }
  };

  const append = (action: BatchAction, change: Omit<Change, "nexthops">, nexthop: FibNexthop): boolean => {
    const { family, address, length } = change;
    const { gateway, ifindex, isOnlink = false } = nexthop;
    batch.table = writer.table;
    batch.protocol = RTPROT_BIRD;
    batch.metric = change.metric;
    batch.isOnlink = isOnlink;
    // IPv4 wants scope link of a route without a gateway; a removal by scope nowhere matches any.
    const isPlain = family === 6 || gateway !== undefined;
    batch.scope = action === "delete" && family === 4 ? RT_SCOPE_NOWHERE : isPlain ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
    return family === 4
      ? batch.put4(action, u32(address), length, gateway ? u32(gateway) : 0, ifindex)
      : batch.put6(action, address, length, gateway, ifindex);
  };

  /** ECMP: the port encodes RTA_MULTIPATH. */
  const applyMany = async (change: Change) => {
    const route: Route = {
      destination: Cidr.of(Ip.fromBytes(change.address), change.length),
      type: "unicast",
      table: writer.table,
      protocol: RTPROT_BIRD,
      scope: RT_SCOPE_UNIVERSE,
      metric: change.metric,
      nexthops: (change.nexthops ?? []).map(({ gateway, ifindex, isOnlink }) => ({
        gateway: gateway && Ip.fromBytes(gateway),
        ifindex,
        isOnlink,
      })),
    };
    try {
      const [error] = await kernel.fib.apply([{ action: "replace", route }]);
      if (error) refuse(change, error.message);
    } catch (error) {
      refuse(change, error instanceof Error ? error.message : String(error));
    }
  };

  const writer: FibWriter = {
    table: 254,
    install(family, address, length, metric, nexthops) {
      const change = { family, address, length, metric };
      if (failed.size > 0) failed.delete(keyOf(change));
      const [first = NO_NEXTHOP, ...others] = nexthops;
      // An IPv4 route by an IPv6 gateway needs RTA_VIA, which the batch does not write.
      const isVia = family === 4 && first.gateway?.length === 16;
      if (others.length === 0 && !isVia) return put("replace", change, first);
      flush();
      const kept = nexthops.map((nexthop) => ({ ...nexthop, gateway: nexthop.gateway?.slice() }));
      void applyMany({ ...change, address: address.slice(), nexthops: kept });
    },
    uninstall(family, address, length, metric) {
      const change = { family, address, length, metric };
      if (failed.size > 0) failed.delete(keyOf(change));
      put("delete", change, NO_NEXTHOP);
    },
    flush,
    get errors() {
      const [first] = failed;
      return first ? [`${failed.size} routes are not in the kernel, one of them ${first[0]}: ${first[1].error}`] : [];
    },
    close() {
      isClosed = true;
      retry?.();
    },
  };
  return writer;
}

/** What is in the batch, in columns. */
function makeColumns() {
  const addresses = new Uint8Array(16 * BATCH_ROUTES);
  const gateways = new Uint8Array(16 * BATCH_ROUTES);
  const numbers = new Uint32Array(3 * BATCH_ROUTES);
  const kinds = new Uint8Array(BATCH_ROUTES);
  const IS_V6 = 1, IS_INSTALL = 2, HAS_GATEWAY = 4, IS_ONLINK = 8;
  return {
    write(at: number, isInstall: boolean, change: Omit<Change, "nexthops">, nexthop: FibNexthop): void {
      addresses.set(change.address, 16 * at);
      if (nexthop.gateway) gateways.set(nexthop.gateway, 16 * at);
      numbers[3 * at] = change.length;
      numbers[3 * at + 1] = change.metric;
      numbers[3 * at + 2] = nexthop.ifindex;
      kinds[at] = (change.family === 6 ? IS_V6 : 0) | (isInstall ? IS_INSTALL : 0) |
        (nexthop.gateway ? HAS_GATEWAY : 0) | (nexthop.isOnlink ? IS_ONLINK : 0);
    },
    read(at: number): Change {
      const kind = kinds[at] ?? 0;
      const size = (kind & IS_V6) !== 0 ? 16 : 4;
      const gateway = (kind & HAS_GATEWAY) !== 0 ? gateways.slice(16 * at, 16 * at + size) : undefined;
      return {
        family: size === 16 ? 6 : 4,
        address: addresses.slice(16 * at, 16 * at + size),
        length: numbers[3 * at] ?? 0,
        metric: numbers[3 * at + 1] ?? 0,
        nexthops: (kind & IS_INSTALL) === 0
          ? undefined
          : [{ gateway, ifindex: numbers[3 * at + 2] ?? 0, isOnlink: (kind & IS_ONLINK) !== 0 }],
      };
    },
  };
}

function keyOf({ address, length, metric }: Omit<Change, "nexthops">): string {
  return `${Ip.fromBytes(address)}/${length} metric ${metric}`;
}

function u32(bytes: Uint8Array): number {
  return ((bytes[0]! << 24) | (bytes[1]! << 16) | (bytes[2]! << 8) | bytes[3]!) >>> 0;
}
