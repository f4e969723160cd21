/**
 * The kernel's FIB on the speaker's side: what the host can reach goes into the router, what the router decides goes into
 * the kernel in batches of raw netlink messages.
 *
 * Subscribe, then list, then replay: links and addresses before routes, since a route needs its interface's name. Reports
 * that were lost (`resync`) make us list again and forget what is gone. Our own routes (protocol bird) are read once, at the
 * start, as those of an earlier run. A route that the kernel refuses stays dirty and is tried again with back-off.
 */

import type { FibNexthop, FibRoute, FibSink, Router } from "../bgp/rib/interface.ts";
import type { Route, RouteChange } from "../dataplane/ports.ts";
import { Cidr } from "../lib/cidr.ts";
import type { Cancel, Clock } from "../lib/clock.ts";
import { Ip } from "../lib/ip.ts";
import type { Log } from "../lib/log.ts";
import type { LinuxKernel } from "../linux/kernel.ts";
import type { Ack } from "../netlink/message.ts";
import { type BatchAction, RouteBatch } from "../netlink/route_batch.ts";

const RTPROT_BIRD = 12;
const ROUTE_TYPES = [
  "",
  "unicast",
  "local",
  "broadcast",
  "anycast",
  "multicast",
  "blackhole",
  "unreachable",
  "prohibit",
];
/** Routes written before the event loop gets its turn. */
const DRAIN_AT_ONCE = 2048;
const ESRCH = 3;
const FIRST_RETRY = 1_000;
const LAST_RETRY = 60_000;

/** One change that went to the kernel, kept until the kernel has taken it. */
interface Change {
  readonly family: 4 | 6;
  readonly address: Uint8Array;
  readonly length: number;
  readonly metric: number;
  /** Absent for a removal. */
  readonly nexthops: readonly FibNexthop[] | undefined;
}

/** The FIB's side of the speaker. */
export interface FibSync {
  /** Reads the kernel and begins to follow it; resolves when the first listing is in. */
  start(table: number): Promise<void>;
  /** Writes what the router wants written; true when more is waiting. */
  drain(): boolean;
  /** Our IPv6 link-local address on the interface that has the address, and the interface's global one of a family. */
  beside(address: Uint8Array): { linkLocal?: Uint8Array; other?: Uint8Array };
  /** Why routes cannot be written; empty when all is well. */
  readonly errors: readonly string[];
  close(): void;
}

/** Makes the FIB's side over a kernel. */
export function makeFibSync(
  kernel: LinuxKernel,
  { router, clock, log, touch }: { router: Router; clock: Clock; log: Log; touch: () => void },
): FibSync {
  const learnt = new Map<string, FibRoute>();
  const links = new Map<number, string>();
  const addresses = new Map<string, { bytes: Uint8Array; index: number }>();
  const failed = new Map<string, Change & { error: string }>();
  const inBatch: Change[] = [];
  const batch = new RouteBatch();
  let table = 254;
  let isClosed = false;
  let unwatch: (() => void) | undefined;
  let reading: Promise<void> | undefined;
  let isReadAgain = false;
  let retry: Cancel | undefined;
  let wait = FIRST_RETRY;
  /** Events that came while the listing ran, replayed after it. */
  let waiting: (() => void)[] | undefined;

  const learn = (route: Route, isFirst: boolean) => {
    if (route.table !== table || route.protocol === RTPROT_BIRD && !isFirst) return;
    const fib = fibRoute(route);
    if (!fib) return;
    if (route.protocol !== RTPROT_BIRD) learnt.set(keyOf(route), fib);
    router.learn(fib);
  };
  const forget = (route: Route) => {
    if (route.table !== table || route.protocol === RTPROT_BIRD) return;
    const key = keyOf(route);
    const known = learnt.get(key);
    if (!known) return;
    // A report of an older route of that identity must not take a newer one away.
    const gone = fibRoute(route);
    if (gone && gone.protocol !== known.protocol) return;
    learnt.delete(key);
    router.forget(known);
  };
  const setLink = (index: number, name: string | undefined, isUp: boolean) => {
    if (name === undefined) links.delete(index);
    else links.set(index, name);
    router.setLink(index, name, isUp);
  };
  const setAddress = (ip: Ip, index: number, isGone: boolean) => {
    const key = `${index} ${ip}`;
    if (isGone) addresses.delete(key);
    else addresses.set(key, { bytes: ip.bytes, index });
    router.setAddress(ip.bytes, index, isGone);
  };

  /** Lists everything; what we had learnt and is not there any more is forgotten. */
  const read = async (isFirst: boolean) => {
    waiting = [];
    const [allLinks, allAddresses] = [await kernel.links.list(), await kernel.links.addresses()];
    const routes = await kernel.fib.list({ table });
    if (isClosed) return;
    for (const link of allLinks) setLink(link.index, link.name, link.isUp);
    const present = new Set(allLinks.map((link) => link.index));
    for (const index of [...links.keys()]) if (!present.has(index)) setLink(index, undefined, false);
    const here = new Set(allAddresses.map(({ net, index }) => `${index} ${net.ip}`));
    for (const [key, { bytes, index }] of [...addresses]) {
      if (!here.has(key)) setAddress(Ip.fromBytes(bytes), index, true);
    }
    for (const { net, index } of allAddresses) setAddress(net.ip, index, false);
    const seen = new Set<string>();
    for (const route of routes) {
      seen.add(keyOf(route));
      learn(route, isFirst);
    }
    for (const [key, route] of [...learnt]) {
      if (seen.has(key)) continue;
      learnt.delete(key);
      router.forget(route);
    }
    const replay = waiting;
    waiting = undefined;
    for (const event of replay) event();
    touch();
  };

  const readAgain = (isFirst = false): Promise<void> => {
    if (reading) {
      isReadAgain = true;
      return reading;
    }
    reading = read(isFirst).catch((error) => {
      waiting = undefined;
      log.error("Cannot read the kernel's routes", { error });
      if (!isClosed) clock.after(LAST_RETRY / 10, () => void readAgain(isFirst));
    }).finally(() => {
      reading = undefined;
      if (isReadAgain && !isClosed) {
        isReadAgain = false;
        void readAgain();
      }
    });
    return reading;
  };

  const follow = () => {
    unwatch = kernel.watch((event) => {
      if (event.type === "resync") return void readAgain();
      // Echoes of our own writes are most of what comes while a full table is installed.
      if (event.type === "neighbour" || event.type === "route" && event.route.protocol === RTPROT_BIRD) return;
      const apply = () => {
        if (event.type === "link") {
          setLink(event.link.index, event.isGone ? undefined : event.link.name, event.link.isUp);
        } else if (event.type === "address") setAddress(event.address.net.ip, event.address.index, event.isGone);
        else if (event.isGone) forget(event.route);
        else learn(event.route, false);
        touch();
      };
      if (waiting) waiting.push(apply);
      else apply();
    });
  };

  const refuse = (change: Change, ack: Ack) => {
    if (!change.nexthops && ack.errno === ESRCH) return;
    const error = `${ack.text || `errno ${ack.errno}`}`;
    const key = changeKey(change);
    if (!failed.has(key)) {
      log.warn("The kernel refused a route", { route: key, error });
    }
    failed.set(key, { ...change, error });
    schedule();
  };

  const schedule = () => {
    retry ??= clock.after(wait, () => {
      retry = undefined;
      wait = Math.min(LAST_RETRY, wait * 2);
      const again = [...failed.values()];
      failed.clear();
      for (const change of again) write(change);
      send();
      if (failed.size === 0) wait = FIRST_RETRY;
    });
  };

  const send = () => {
    if (inBatch.length === 0) return;
    const changes = inBatch.splice(0);
    try {
      kernel.routes.send(batch, (index, ack) => {
        const change = changes[index];
        if (change) refuse(change, ack);
      });
    } catch (error) {
      // The outcome is unknown; each is idempotent, so all are tried again.
      log.error("Cannot write routes to the kernel", { error });
      const text = error instanceof Error ? error.message : String(error);
      for (const change of changes) failed.set(changeKey(change), { ...change, error: text });
      schedule();
    }
    batch.begin(0);
  };

  /** Puts a change into the batch; ECMP and device routes go the way of the port, after what is in the batch. */
  const write = (change: Change) => {
    const [first, ...others] = change.nexthops ?? [];
    if (others.length > 0) {
      send();
      return void writeMany(change);
    }
    const action: BatchAction = change.nexthops ? "replace" : "delete";
    if (!put(action, change, first)) {
      send();
      put(action, change, first);
    }
  };

  const put = (action: BatchAction, change: Change, nexthop: FibNexthop | undefined): boolean => {
    if (inBatch.length === 0) batch.begin(kernel.routes.sequence(DRAIN_AT_ONCE));
    if (inBatch.length >= DRAIN_AT_ONCE) return false;
    batch.table = table;
    batch.protocol = RTPROT_BIRD;
    batch.metric = change.metric;
    batch.isOnlink = nexthop?.isOnlink ?? false;
    const gateway = nexthop?.gateway;
    const ifindex = nexthop?.ifindex ?? 0;
    // The kernel wants scope link of an IPv4 route without a gateway; RT_SCOPE_NOWHERE deletes whatever the scope is.
    batch.scope = change.family === 6 ? 0 : action === "delete" ? 255 : gateway ? 0 : 253;
    const isIn = change.family === 4
      ? batch.put4(action, u32(change.address), change.length, gateway ? u32(gateway) : 0, ifindex)
      : batch.put6(action, change.address, change.length, gateway, ifindex);
    if (isIn) inBatch.push(change);
    return isIn;
  };

  const writeMany = async (change: Change) => {
    const route: Route = {
      destination: Cidr.of(Ip.fromBytes(change.address), change.length),
      type: "unicast",
      table,
      protocol: RTPROT_BIRD,
      scope: 0,
      metric: change.metric,
      nexthops: (change.nexthops ?? []).map(({ gateway, ifindex, isOnlink }) => ({
        gateway: gateway && Ip.fromBytes(gateway),
        ifindex,
        isOnlink,
      })),
    };
    const changes: RouteChange[] = [{ action: "replace", route }];
    const [error] = await kernel.fib.apply(changes);
    if (error) refuse(change, { errno: error.errno, text: error.kernelMessage });
  };

  const sink: FibSink = {
    install(family, address, length, metric, nexthops) {
      const change: Change = {
        family,
        address: address.slice(),
        length,
        metric,
        nexthops: nexthops.map((nexthop) => ({ ...nexthop, gateway: nexthop.gateway?.slice() })),
      };
      if (failed.size > 0) failed.delete(changeKey(change));
      write(change);
    },
    uninstall(family, address, length, metric) {
      const change: Change = { family, address: address.slice(), length, metric, nexthops: undefined };
      if (failed.size > 0) failed.delete(changeKey(change));
      write(change);
    },
  };

  return {
    async start(wanted) {
      if (unwatch && wanted === table) return;
      table = wanted;
      if (!unwatch) follow();
      await readAgain(true);
    },
    drain() {
      const isMore = router.drainFib(sink, DRAIN_AT_ONCE);
      send();
      return isMore;
    },
    beside(address) {
      let index = -1;
      for (const entry of addresses.values()) if (isEqual(entry.bytes, address)) index = entry.index;
      let linkLocal: Uint8Array | undefined;
      let other: Uint8Array | undefined;
      for (const entry of addresses.values()) {
        if (entry.index !== index) continue;
        const isLinkLocal = entry.bytes.length === 16 && entry.bytes[0] === 0xfe && entry.bytes[1] === 0x80;
        if (isLinkLocal) linkLocal = entry.bytes;
        else if (entry.bytes.length !== address.length) other ??= entry.bytes;
      }
      return { linkLocal, other };
    },
    get errors() {
      const [first] = failed.entries();
      return first ? [`${failed.size} routes not in the kernel: ${first[0]}: ${first[1].error}`] : [];
    },
    close() {
      isClosed = true;
      unwatch?.();
      retry?.();
    },
  };
}

function fibRoute(route: Route): FibRoute | undefined {
  const type = ROUTE_TYPES.indexOf(route.type);
  if (type < 1) return undefined;
  return {
    family: route.destination.family,
    address: route.destination.ip.bytes,
    length: route.destination.length,
    type,
    protocol: route.protocol,
    scope: route.scope,
    metric: route.metric,
    nexthops: route.nexthops.map(({ gateway, ifindex, isOnlink }) => ({
      gateway: gateway?.bytes,
      ifindex: ifindex ?? 0,
      isOnlink,
    })),
  };
}

function keyOf(route: Route): string {
  return `${route.destination} metric ${route.metric}`;
}

function changeKey({ address, length, metric }: Change): string {
  return `${Ip.fromBytes(address)}/${length} metric ${metric}`;
}

function u32(bytes: Uint8Array): number {
  return (((bytes[0] ?? 0) << 24) | ((bytes[1] ?? 0) << 16) | ((bytes[2] ?? 0) << 8) | (bytes[3] ?? 0)) >>> 0;
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((octet, at) => octet === b[at]);
}
