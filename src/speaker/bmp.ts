/**
 * BMP at work: the connection to the station, and what it is told (RFC 7854, 8671, 9069).
 *
 * Each subject (a peer, or the Loc-RIB) is told by a Peer Up, a dump of its tables, and from then on by what changes. All of
 * it goes through one bounded buffer. A station that does not keep up costs no session anything: when too much waits for it,
 * the subject is left alone, and told anew (Peer Down, Peer Up, dump) once the station has taken the rest. Dumps go on only
 * while little waits. So a stuck station holds MAX_WAITING octets and a list of names, and no clock runs for it.
 */

import {
  type BmpPeer,
  DOWN_LOCAL_NOTIFICATION,
  DOWN_LOCAL_SILENT,
  DOWN_LOCAL_TLV,
  DOWN_NOT_MONITORED,
  DOWN_REMOTE_NOTIFICATION,
  DOWN_REMOTE_SILENT,
  encodeInitiation,
  encodePeerDown,
  encodePeerUp,
  encodeRouteMonitoring,
  encodeStatistics,
  encodeTermination,
  STAT_ADJ_RIB_IN,
  STAT_ADJ_RIB_IN_FAMILY,
  STAT_LOC_RIB,
  STAT_LOC_RIB_FAMILY,
} from "../bgp/bmp/message.ts";
import { dumpPeer, LocRibNews, PostPolicy, type Tell } from "../bgp/bmp/routes.ts";
import type { SpeakerConfig } from "../bgp/config.ts";
import { FAMILY_AFIS } from "../bgp/rib/peer.ts";
import type { RouterCore } from "../bgp/rib/router.ts";
import type { Transport, TransportSink } from "../bgp/transport.ts";
import { NO_CAPABILITIES } from "../bgp/wire/capability.ts";
import { HEADER_LENGTH, IPV4_UNICAST, IPV6_UNICAST, MSG_UPDATE } from "../bgp/wire/constants.ts";
import { putHeader } from "../bgp/wire/frame.ts";
import { encodeOpen } from "../bgp/wire/open.ts";
import { ByteWriter } from "../lib/bytes.ts";
import type { Cancel, Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { connectTcp } from "../linux/tcp_socket.ts";
import { parseRouterId } from "./session_config.ts";
import type { SessionTap, TapDown, TapLink, TapPeer, Taps } from "./tap.ts";

/** Octets that may wait for the station before its subjects are left alone. */
const MAX_WAITING = 1 << 20;
/** A dump goes on while less than this waits. */
const DUMP_WAITING = 256 * 1024;
/** Octets that are collected before they are written, and for how long, in milliseconds. */
const BATCH = 64 * 1024;
const BATCH_DELAY = 5;
/** Slices of a dump before others get their turn. */
const SLICES_PER_TURN = 4;
const STATS_INTERVAL = 60_000;
const FIRST_RETRY = 1_000;
const LAST_RETRY = 60_000;
const LOC_RIB = "";
const NO_EVENT = new Uint8Array(2);
const NOTHING = new Uint8Array(0);
const FAMILIES = [0, 1] as const;

/** What the station needs of the speaker around it. */
export interface BmpSurroundings {
  readonly router: RouterCore;
  readonly taps: Taps;
  readonly clock: Clock;
  readonly log: Log;
  /** All peers as they are now. */
  peers(): Iterable<TapPeer>;
  statusChanged(): void;
}

/** BMP beside the speaker. */
export interface Bmp {
  /** Connects to the configured station, or to another one, or leaves it. */
  configure(config: SpeakerConfig): void;
  /** Why the station cannot be reached; empty when all is well or none is wanted. */
  readonly errors: readonly string[];
  close(): void;
}

/** Makes BMP without a station. */
export function makeBmp(around: BmpSurroundings): Bmp {
  let station: Station | undefined;
  let key = "";
  return {
    configure(config) {
      const { bmp, nodeName, routerId, localAs, families } = config;
      const wanted = bmp ? JSON.stringify([bmp, nodeName, routerId, localAs, families]) : "";
      if (wanted === key) return;
      key = wanted;
      station?.close();
      station = bmp && makeStation(bmp, config, around);
    },
    get errors() {
      return station?.error === undefined ? [] : [station.error];
    },
    close: () => station?.close(),
  };
}

interface Station {
  readonly error: string | undefined;
  close(): void;
}

function makeStation(
  { address, port, adjRibOut = false }: NonNullable<SpeakerConfig["bmp"]>,
  config: SpeakerConfig,
  { router, taps, clock, log: parentLog, peers, statusChanged }: BmpSurroundings,
): Station {
  const log = parentLog.with({ station: address, port });
  const locRib: BmpPeer = { address: NOTHING, as: config.localAs, id: parseRouterId(config.routerId) };
  const postPolicy = new PostPolicy(router);
  const news = new LocRibNews(router);
  const batch = new ByteWriter(BATCH * 2);
  /** Dumps that are under way, the first of them is worked on. */
  const dumps = new Map<string, Generator<void, void>>();
  /** Subjects that wait to be told anew. */
  const behind = new Set<string>();
  let transport: Transport | undefined;
  let isUp = false;
  let isClosed = false;
  let error: string | undefined;
  let wait = FIRST_RETRY;
  let isFlushDue = false;
  let isPumpDue = false;
  let retry: Cancel | undefined;
  let stats: Cancel | undefined;

  // --- the stream ----------------------------------------------------------------------------------------------

  const flush = () => {
    isFlushDue = false;
    if (batch.length === 0) return;
    transport?.write(batch.view());
    batch.clear();
  };
  const put = (message: Uint8Array) => {
    batch.put(message);
    if (batch.length >= BATCH) return flush();
    if (isFlushDue) return;
    isFlushDue = true;
    clock.after(BATCH_DELAY, flush);
  };
  const waiting = () => (transport?.pending ?? 0) + batch.length;

  /** Whether news of a subject may go out; if too much waits the subject is told anew later. */
  const isCurrent = (subject: string): boolean => {
    if (!isUp || behind.has(subject)) return false;
    if (waiting() <= MAX_WAITING) return true;
    behind.add(subject);
    dumps.delete(subject);
    log.debug("The station does not keep up", { subject: subject || "loc-rib" });
    return false;
  };

  // --- subjects ------------------------------------------------------------------------------------------------

  const teller = (peer: BmpPeer): Tell => (view, update) =>
    put(encodeRouteMonitoring(peer, clock.wall(), view, update));

  const begin = (peer: TapPeer, link: TapLink) =>
    put(encodePeerUp(headerOf(peer, link), link.since, {
      localAddress: link.local.address,
      localPort: link.local.port,
      remotePort: link.remote.port,
      openSent: link.openSent,
      openReceived: link.openReceived,
    }));
  /** Of a session that stands already the station has to hear what there is. */
  const beginWithDump = (peer: TapPeer, link: TapLink) => {
    begin(peer, link);
    dumps.set(peer.name, dumpPeer(router, link.id, adjRibOut, teller(headerOf(peer, link))));
    pumpSoon();
  };
  const beginLocRib = () => {
    const open = openOf(config);
    put(encodePeerUp(locRib, clock.wall(), {
      localAddress: NOTHING,
      localPort: 0,
      remotePort: 0,
      openSent: open,
      openReceived: open,
    }));
    news.clear();
    dumps.set(LOC_RIB, news.dump(teller(locRib)));
    pumpSoon();
  };

  const catchUp = (subject: string) => {
    behind.delete(subject);
    if (subject === LOC_RIB) {
      put(encodePeerDown(locRib, clock.wall(), DOWN_LOCAL_TLV, NOTHING));
      return beginLocRib();
    }
    for (const peer of peers()) {
      if (peer.name !== subject || !peer.link) continue;
      put(encodePeerDown(headerOf(peer, peer.link), clock.wall(), DOWN_NOT_MONITORED, NOTHING));
      beginWithDump(peer, peer.link);
    }
  };

  const pumpSoon = () => {
    if (isPumpDue) return;
    isPumpDue = true;
    clock.after(0, pump);
  };
  /** Goes on with the dumps while little waits; the kernel's report goes on with it otherwise. */
  const pump = () => {
    isPumpDue = false;
    if (!isUp) return;
    for (let slices = 0; slices < SLICES_PER_TURN; slices++) {
      if (waiting() > DUMP_WAITING) return flush();
      const [first] = dumps;
      if (!first) {
        const [subject] = behind;
        if (subject === undefined) return;
        catchUp(subject);
        continue;
      }
      const [subject, dump] = first;
      if (!dump.next().done) continue;
      dumps.delete(subject);
      report(subject);
    }
    flush();
    if (waiting() === 0) pumpSoon();
  };

  const report = (subject: string) => {
    const time = clock.wall();
    if (subject === LOC_RIB) {
      const [four, six] = news.counts;
      put(encodeStatistics(locRib, time, [
        { type: STAT_LOC_RIB, value: four + six },
        { type: STAT_LOC_RIB_FAMILY, value: four, afi: FAMILY_AFIS[0] },
        { type: STAT_LOC_RIB_FAMILY, value: six, afi: FAMILY_AFIS[1] },
      ]));
      return;
    }
    for (const peer of peers()) {
      const { link } = peer;
      if (peer.name !== subject || !link) continue;
      const [four, six] = FAMILIES.map((family) => router.ribs[family].paths.countOf(link.id));
      put(encodeStatistics(headerOf(peer, link), time, [
        { type: STAT_ADJ_RIB_IN, value: (four ?? 0) + (six ?? 0) },
        { type: STAT_ADJ_RIB_IN_FAMILY, value: four ?? 0, afi: FAMILY_AFIS[0] },
        { type: STAT_ADJ_RIB_IN_FAMILY, value: six ?? 0, afi: FAMILY_AFIS[1] },
      ]));
    }
  };
  const reportAll = () => {
    stats = clock.after(STATS_INTERVAL, reportAll);
    for (const subject of [LOC_RIB, ...[...peers()].map(({ name }) => name)]) if (isCurrent(subject)) report(subject);
  };

  // --- what the sessions and the router say --------------------------------------------------------------------

  const tap: SessionTap = {
    up(peer, link) {
      if (isCurrent(peer.name)) begin(peer, link);
    },
    down(peer, link, down) {
      dumps.delete(peer.name);
      behind.delete(peer.name);
      // Always told, since it is short and ends the subject: there is one for each Peer Up.
      if (isUp) put(encodePeerDown(headerOf(peer, link), clock.wall(), ...reasonOf(down)));
    },
    update(peer, link, body) {
      if (!isCurrent(peer.name)) return;
      const header = headerOf(peer, link);
      const message = new Uint8Array(HEADER_LENGTH + body.length);
      putHeader(message, 0, message.length, MSG_UPDATE);
      message.set(body, HEADER_LENGTH);
      put(encodeRouteMonitoring(header, clock.wall(), "adj-rib-in-pre", message, !link.wire.isFourOctetAs));
      postPolicy.tell(link.id, body, teller(header));
    },
    sent(peer, link, messages) {
      if (!adjRibOut || !isCurrent(peer.name)) return;
      const header = headerOf(peer, link);
      for (let at = 0; at + HEADER_LENGTH <= messages.length;) {
        const length = (messages[at + 16] ?? 0) << 8 | (messages[at + 17] ?? 0);
        if (length < HEADER_LENGTH) return;
        if (messages[at + 18] === MSG_UPDATE) {
          const update = messages.subarray(at, at + length);
          put(encodeRouteMonitoring(header, clock.wall(), "adj-rib-out-post", update, !link.wire.isFourOctetAs));
        }
        at += length;
      }
    },
  };
  const untap = taps.add(tap);
  const watcher = (family: 0 | 1, prefixes: Int32Array) => {
    if (isCurrent(LOC_RIB)) news.tell(family, prefixes, teller(locRib));
  };
  router.watchers.add(watcher);

  // --- the connection ------------------------------------------------------------------------------------------

  const connect = () => {
    retry = undefined;
    const room = new Uint8Array(1024);
    const sink: TransportSink = {
      connected() {
        // What is decided from now on is news; what was decided before is in the dump.
        router.settle();
        isUp = true;
        wait = FIRST_RETRY;
        error = undefined;
        log.info("Connected to the BMP station", {});
        statusChanged();
        put(encodeInitiation(config.nodeName, "tortie"));
        beginLocRib();
        for (const peer of peers()) if (peer.link) beginWithDump(peer, peer.link);
        stats = clock.after(STATS_INTERVAL, reportAll);
      },
      room: () => room,
      // A station says nothing (RFC 7854 section 3.2).
      received: () => {},
      writable: pumpSoon,
      closed(reason) {
        const text = `Cannot reach the BMP station ${address} port ${port}: ${reason}`;
        if (error !== text) log.warn("The BMP station is not there", { reason });
        error = text;
        lose();
        retry = clock.after(wait, connect);
        wait = Math.min(LAST_RETRY, wait * 2);
        statusChanged();
      },
    };
    transport = connectTcp(address, port, {}, sink);
  };
  const lose = () => {
    isUp = false;
    transport = undefined;
    stats?.();
    batch.clear();
    dumps.clear();
    behind.clear();
  };
  connect();

  return {
    get error() {
      return error;
    },
    close() {
      if (isClosed) return;
      isClosed = true;
      retry?.();
      untap();
      router.watchers.delete(watcher);
      if (isUp) put(encodeTermination());
      flush();
      transport?.close();
      lose();
    },
  };
}

function headerOf(peer: TapPeer, link: TapLink): BmpPeer {
  return { address: link.remote.address, as: peer.as, id: link.routerId };
}

/** The reason of a Peer Down and what it bears. */
function reasonOf({ notification, isLost }: TapDown): [number, Uint8Array] {
  if (notification) {
    return [notification.isSent ? DOWN_LOCAL_NOTIFICATION : DOWN_REMOTE_NOTIFICATION, notification.bytes];
  }
  return isLost ? [DOWN_REMOTE_SILENT, NOTHING] : [DOWN_LOCAL_SILENT, NO_EVENT];
}

/** The OPEN that a session with ourselves would begin with (RFC 9069 section 5.3). */
function openOf({ localAs, routerId }: SpeakerConfig): Uint8Array {
  return encodeOpen({
    as: localAs,
    holdTime: 0,
    id: parseRouterId(routerId),
    capabilities: { ...NO_CAPABILITIES, families: IPV4_UNICAST | IPV6_UNICAST, as4: localAs },
  });
}
