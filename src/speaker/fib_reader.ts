/**
 * Reads what the host can reach out of the kernel and keeps the router told.
 *
 * Subscribe, then list, then replay: links and addresses before routes, since a route needs its interface's name. Reports
 * that were lost (`resync`) make us list again and forget what is gone. Our own routes (protocol bird) are read at the
 * start as those of an earlier run; later the router is told what others did to them, and the echoes of our own writing
 * are passed over undecoded.
 *
 * The kernel drops the IPv4 routes of a link that goes down (and those whose source address goes) without a report, ours
 * among them. So such an event makes us list again after a moment. Where the link itself is gone by then, as a workload's
 * is, nothing leads through it any more: a full table is not read for that.
 */

import type { FibRoute, Router } from "../bgp/rib/interface.ts";
import type { KernelEvent, Route } from "../dataplane/ports.ts";
import type { Cancel, Clock } from "../lib/clock.ts";
import { Ip } from "../lib/ip.ts";
import type { Log } from "../lib/log.ts";
import type { LinuxKernel } from "../linux/kernel.ts";
import { ROUTE_TYPES } from "../netlink/route.ts";
import { RTPROT_BIRD } from "./fib_writer.ts";

/** The protocol number of the agent's routes for blocks. */
const RTPROT_BLOCK = 80;
const READ_RETRY = 5_000;
const ANY_LINK = 0;

/** Reports are gathered so long after a link went down, in case it is to be deleted. */
const SETTLE_DELAY = 20;

/** The kernel as the router sees it. */
export interface FibReader {
  /** Begins to follow the kernel; resolves when the first listing is in. Later calls only change the table. */
  start(table: number): Promise<void>;
  /** The first listing had routes of ours or of the agent's: the host was forwarding before we started. */
  readonly hasFoundOwn: boolean;
  /** Our IPv6 link-local address on the interface that has the address, and one of the other family there. */
  beside(address: Uint8Array): { linkLocal?: Uint8Array; other?: Uint8Array };
  close(): void;
}

/** Makes the reader of a namespace; `touch` is called after each change. */
export function makeFibReader(
  kernel: LinuxKernel,
  { router, clock, log, touch }: { router: Router; clock: Clock; log: Log; touch: () => void },
): FibReader {
  const learnt = new Map<string, FibRoute>();
  const links = new Set<number>();
  const addresses = new Map<string, { readonly bytes: Uint8Array; readonly index: number }>();
  let table = 254;
  let isClosed = false;
  let isFirst = true;
  let hasFoundOwn = false;
  let unwatch: (() => void) | undefined;
  let reading: Promise<void> | undefined;
  let isReadAgain = false;
  let retry: Cancel | undefined;
  /** Reports that came while the listing ran, replayed after it. */
  let waiting: KernelEvent[] | undefined;
  /** Links that went down and `ANY_LINK` for an address that went, since the last listing began. */
  const losses = new Set<number>();
  /** Links that were up when they were last heard of. */
  const upLinks = new Set<number>();

  const learn = (route: Route) => {
    if (route.table !== table) return;
    if (isFirst && (route.protocol === RTPROT_BIRD || route.protocol === RTPROT_BLOCK)) hasFoundOwn = true;
    const fib = fibRoute(route);
    if (!fib) return;
    if (route.protocol === RTPROT_BIRD && !isFirst) return router.inspectFib([fib], false);
    if (route.protocol !== RTPROT_BIRD) learnt.set(keyOf(route), fib);
    router.learn(fib);
  };

  const forget = (route: Route) => {
    if (route.table !== table) return;
    if (route.protocol === RTPROT_BIRD) {
      const own = fibRoute(route);
      if (own) router.forget(own);
      return;
    }
    const known = learnt.get(keyOf(route));
    // A report about another owner's route of that identity must not take this one away.
    if (!known || known.protocol !== route.protocol) return;
    learnt.delete(keyOf(route));
    router.forget(known);
  };

  const setLink = (index: number, name: string | undefined, isUp: boolean) => {
    if (name === undefined) links.delete(index);
    else links.add(index);
    router.setLink(index, name, isUp);
  };

  const setAddress = (ip: Ip, index: number, isGone: boolean) => {
    if (isGone) addresses.delete(`${index} ${ip}`);
    else addresses.set(`${index} ${ip}`, { bytes: ip.bytes, index });
    router.setAddress(ip.bytes, index, isGone);
  };

  /** What leads through the link is gone until the listing says otherwise; next hops on it resolve no more. */
  const dropThrough = (index: number) => {
    for (const [key, route] of [...learnt]) {
      if (route.nexthops.length === 0 || route.nexthops.some((nexthop) => nexthop.ifindex !== index)) continue;
      learnt.delete(key);
      router.forget(route);
    }
  };

  const apply = (event: KernelEvent) => {
    if (event.type === "link" && (event.isGone || !event.link.isUp)) dropThrough(event.link.index);
    if (event.type === "link") setLink(event.link.index, event.isGone ? undefined : event.link.name, event.link.isUp);
    else if (event.type === "address") setAddress(event.address.net.ip, event.address.index, event.isGone);
    else if (event.type === "route") event.isGone ? forget(event.route) : learn(event.route);
  };

  /** Notes what the kernel drops without a word at such an event. */
  const note = (event: KernelEvent) => {
    if (event.type === "address" && event.isGone && event.address.net.ip.family === 4) losses.add(ANY_LINK);
    if (event.type !== "link") return;
    const { index, isUp } = event.link;
    if (event.isGone) losses.delete(index);
    // A link that is made is down at first, and has lost nothing.
    else if (!isUp && upLinks.has(index)) losses.add(index);
    if (isUp && !event.isGone) upLinks.add(index);
    else upLinks.delete(index);
  };

  const replay = () => {
    const events = waiting ?? [];
    waiting = undefined;
    events.forEach(apply);
    touch();
  };

  /** Gathers reports for a moment, then lists again, unless nothing can have been lost. */
  const readIfLost = async () => {
    waiting = [];
    await new Promise<void>((resolve) => void clock.after(SETTLE_DELAY, resolve));
    if (isClosed) return;
    if (losses.size > 0 || isReadAgain) await read();
    else replay();
  };

  /** Lists everything; what was known and is not there any more is forgotten. */
  const read = async () => {
    waiting ??= [];
    losses.clear();
    isReadAgain = false;
    const allLinks = await kernel.links.list();
    const allAddresses = await kernel.links.addresses();
    const routes = await kernel.fib.list({ table });
    if (isClosed) return;
    const present = new Set(allLinks.map((link) => link.index));
    for (const index of [...links]) if (!present.has(index)) setLink(index, undefined, false);
    for (const link of allLinks) {
      setLink(link.index, link.name, link.isUp);
      // One that is down here may be up by now.
      if (link.isUp) upLinks.add(link.index);
    }
    const here = new Set(allAddresses.map(({ net, index }) => `${index} ${net.ip}`));
    for (const [key, { bytes, index }] of [...addresses]) {
      if (!here.has(key)) setAddress(Ip.fromBytes(bytes), index, true);
    }
    for (const { net, index } of allAddresses) setAddress(net.ip, index, false);
    const seen = new Set(routes.map(keyOf));
    for (const [key, route] of [...learnt]) {
      if (seen.has(key)) continue;
      learnt.delete(key);
      router.forget(route);
    }
    for (const route of routes) if (isFirst || route.protocol !== RTPROT_BIRD) learn(route);
    if (!isFirst) {
      const own = routes.filter(({ protocol }) => protocol === RTPROT_BIRD).map(fibRoute);
      router.inspectFib(own.filter((route) => route !== undefined), true);
    }
    isFirst = false;
    replay();
  };

  /** One listing at a time; a wish for another while one runs is met after it. */
  const readAgain = (how = read): Promise<void> => {
    if (reading) {
      isReadAgain ||= how === read;
      return reading;
    }
    reading = how().catch((error) => {
      waiting = undefined;
      if (isClosed) return;
      log.error("Cannot read the kernel's routes", { error });
      retry = clock.after(READ_RETRY, () => void readAgain());
    }).finally(() => {
      reading = undefined;
      if (!isClosed && (isReadAgain || losses.size > 0)) void readAgain(readIfLost);
    });
    return reading;
  };

  return {
    get hasFoundOwn() {
      return hasFoundOwn;
    },
    async start(wanted) {
      if (unwatch && wanted === table) return;
      table = wanted;
      unwatch ??= kernel.watch((event) => {
        if (event.type === "resync") return void readAgain();
        note(event);
        if (waiting) return void waiting.push(event);
        apply(event);
        touch();
        if (losses.size > 0) void readAgain(readIfLost);
      }, { types: ["link", "address", "route"], unechoed: RTPROT_BIRD });
      await readAgain();
    },
    beside(address) {
      let index = -1;
      for (const entry of addresses.values()) if (isEqual(entry.bytes, address)) index = entry.index;
      let linkLocal: Uint8Array | undefined;
      let other: Uint8Array | undefined;
      for (const { bytes, index: on } of addresses.values()) {
        if (on !== index) continue;
        if (bytes.length === 16 && bytes[0] === 0xfe && bytes[1] === 0x80) linkLocal = bytes;
        else if (bytes.length !== address.length) other ??= bytes;
      }
      return { linkLocal, other };
    },
    close() {
      isClosed = true;
      unwatch?.();
      retry?.();
    },
  };
}

function fibRoute(route: Route): FibRoute | undefined {
  // It sends the lookup on to the next table, so it says nothing of what the host can reach.
  if (route.type === "throw") return undefined;
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

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((octet, at) => octet === b[at]);
}
