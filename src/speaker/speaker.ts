/**
 * The speaker: sessions, router and FIB wired together; one owner, one thread, everything to completion.
 *
 *   sockets -> session -> router.receiveUpdate      (as messages come)
 *   once a round: router.settle -> each peer's nextBytes -> sockets, and drainFib -> the kernel
 *
 * A round is what the poller reported at once, so a burst of messages from many peers is decided once. Work that does not
 * come from a socket (a timer, a FIB report, a new configuration) asks for a round by `touch`.
 */

import { EMPTY_CONFIG, type SpeakerConfig } from "../bgp/config.ts";
import type { Router } from "../bgp/rib/interface.ts";
import type { RouterCore } from "../bgp/rib/router.ts";
import { CEASE_BFD_DOWN, CEASE_RESET, CEASE_SHUTDOWN, ERR_CEASE } from "../bgp/wire/notification.ts";
import type { Clock } from "../lib/clock.ts";
import { Ip } from "../lib/ip.ts";
import type { Log } from "../lib/log.ts";
import type { LinuxKernel } from "../linux/kernel.ts";
import { onRound } from "../linux/poller.ts";
import { lingeringConnections } from "../linux/tcp_socket.ts";
import { makeBfdThread } from "./bfd_thread.ts";
import { makeBmp } from "./bmp.ts";
import { type FibReader, makeFibReader } from "./fib_reader.ts";
import { makeFibWriter } from "./fib_writer.ts";
import { makeFoundPeers } from "./found_peers.ts";
import { waitingRow } from "./peer.ts";
import { makeListeners } from "./listeners.ts";
import type { Answers, Query, SpeakerStatus } from "./messages.ts";
import { makeMonitor, type MonitorEvent } from "./monitor.ts";
import { makeMrt } from "./mrt.ts";
import { makePeers } from "./peers.ts";
import { makeRestart } from "./restart.ts";
import { makeTaps } from "./tap.ts";

/** Status changes are told at most so often, in milliseconds. */
const STATUS_INTERVAL = 50;

/** Routes written to the kernel before the event loop gets its turn. */
const ROUTES_AT_ONCE = 4096;

/** How often a stopping speaker looks whether its last messages are out. */
const LINGER_LOOK = 20;

/** What the speaker runs on. */
export interface SpeakerParts {
  readonly router: Router;
  /** The same router, for those who read its tables (MRT, BMP). */
  readonly tables: RouterCore;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  /** The kernel of the namespace whose FIB is learnt and written. */
  readonly kernel: LinuxKernel;
  readonly onStatus: (status: SpeakerStatus) => void;
  /** Hears what `monitor` asks for. */
  readonly onEvents?: (events: MonitorEvent[]) => void;
}

/** A running speaker. */
export interface Speaker {
  /** Takes a configuration; only what changed is touched. */
  configure(config: SpeakerConfig): Promise<void>;
  /** Answers at once, except where files are written; throws or rejects with what went wrong. */
  query<Q extends Query>(query: Q): Answers[Q["kind"]] | Promise<Answers[Q["kind"]]>;
  status(): SpeakerStatus;
  /** Begins or ends telling `onEvents` of sessions and best paths that change. */
  monitor(isOn: boolean): void;
  /** Closes all sessions and sockets; routes in the kernel stay. `graceful` lets peers keep ours, where they can. */
  stop(graceful: boolean): Promise<void>;
}

/** Makes a speaker without a configuration. */
export function makeSpeaker({ router, tables, clock, log, random, kernel, onStatus, onEvents }: SpeakerParts): Speaker {
  let configured: SpeakerConfig = EMPTY_CONFIG;
  /** With the peers found in place of their templates. */
  let config: SpeakerConfig = EMPTY_CONFIG;
  let isReady = false;
  let isFoundDue = false;
  let isDirty = false;
  let isScheduled = false;
  let isStopped = false;
  let isStatusDue = false;
  let reader: FibReader | undefined;
  const writer = makeFibWriter(kernel, { clock, log });

  const touch = () => {
    isDirty = true;
    if (isScheduled || isStopped) return;
    isScheduled = true;
    setImmediate(() => {
      isScheduled = false;
      round();
    });
  };

  /** Decides what changed and sends it. */
  const round = () => {
    if (!isDirty || isStopped) return;
    isDirty = false;
    router.settle();
    if (restart.isDeferring) return;
    for (const peer of peers.all) if (peer.id !== undefined && router.hasBytes(peer.id)) peer.flush();
    if (router.drainFib(writer, ROUTES_AT_ONCE)) touch();
    writer.flush();
  };

  const statusChanged = () => {
    if (isStatusDue || isStopped) return;
    isStatusDue = true;
    clock.after(STATUS_INTERVAL, () => {
      isStatusDue = false;
      if (!isStopped) onStatus(status());
    });
  };

  const restart = makeRestart({
    clock,
    peers: () => [...peers.all].map((peer) => peer.restartState),
    spoke: () => touch(),
    ended(reason) {
      log.info("The restart is over", { reason });
      router.sweepFib();
      touch();
    },
  });
  const taps = makeTaps();
  const monitor = makeMonitor({ tables, taps, clock, tell: (events) => onEvents?.(events) });
  const mrt = makeMrt({ router: tables, taps, clock, log });
  const found = makeFoundPeers({
    clock,
    log,
    isEstablished: (name) => peers.byName(name)?.isEstablished ?? false,
    changed() {
      isFoundDue = true;
      if (isReady && !isStopped) applyFound();
    },
  });
  const applyFound = () => {
    isFoundDue = false;
    config = found.expand(configured);
    peers.prepare(config);
    router.configure(config);
    applyPeers();
  };
  const applyPeers = () => {
    listeners.configure(config);
    peers.apply(config);
    bfd.configure(config);
    bmp.configure(config);
    touch();
    statusChanged();
  };
  const peers = makePeers({
    welcome: found.welcome,
    tap: taps,
    restart,
    router,
    clock,
    log,
    random,
    touch,
    statusChanged,
    localAddresses(address) {
      const { linkLocal, other } = reader?.beside(address) ?? {};
      const configured = address.length === 4 ? config.nodeAddress6 : config.nodeAddress4;
      return {
        localAddressOther: configured === undefined ? other : Ip.parse(configured).bytes,
        localLinkLocal: linkLocal,
      };
    },
  });
  const bfd = makeBfdThread({
    clock,
    log,
    statusChanged,
    lost(names, reason) {
      for (const name of names) {
        const peer = peers.byName(name);
        if (peer?.isEstablished) peer.session.reset(ERR_CEASE, CEASE_BFD_DOWN, `BFD: ${reason}`);
      }
    },
  });
  const bmp = makeBmp({
    router: tables,
    taps,
    clock,
    log,
    peers: () => [...peers.all].map((peer) => peer.tapped),
    statusChanged,
  });
  const peerRows = () => [
    ...[...peers.all].map((peer) => ({ ...peer.status(), bfd: bfd.status(peer.config.name) })),
    ...found.waiting.map(({ peer, reason }) => waitingRow(peer, reason)),
  ];
  const listeners = makeListeners((accepted) => peers.accept(accepted), { clock, log, changed: statusChanged });
  const stopRounds = onRound(round);

  const status = (): SpeakerStatus => ({
    peers: peerRows(),
    listening: listeners.open,
    errors: [...listeners.errors, ...writer.errors, ...bfd.errors, ...bmp.errors],
  });

  return {
    async configure(next) {
      const isUsingFib = next.fib.isLearning || next.fib.isInstalling;
      configured = withPasswords(next, log);
      isReady = false;
      config = found.expand(configured);
      peers.prepare(config);
      router.configure(config);
      if (isUsingFib || next.peers.length > 0) {
        reader ??= makeFibReader(kernel, { router, clock, log, touch });
        // Next hops are resolved over links, addresses and connected routes, so these come before any session.
        writer.table = next.fib.table;
        await reader.start(next.fib.table);
        if (next.fib.isInstalling) restart.begin(reader.hasFoundOwn, next.fib.sweepDelay);
      }
      if (isStopped) return;
      isReady = true;
      // A neighbour may have been found meanwhile.
      if (isFoundDue) applyFound();
      else applyPeers();
    },
    query<Q extends Query>(query: Q) {
      return answer(query) as Answers[Q["kind"]] | Promise<Answers[Q["kind"]]>;
    },
    status,
    monitor: (isOn) => monitor.watch(isOn),
    async stop(graceful) {
      if (isStopped) return;
      round();
      isStopped = true;
      stopRounds();
      monitor.watch(false);
      found.close();
      listeners.close();
      restart.close();
      // AdminDown first: a peer whose BFD hears nothing more would take that for a failure of the path.
      await bfd.close();
      peers.close(CEASE_SHUTDOWN, graceful ? "restarting" : undefined, graceful);
      bmp.close();
      reader?.close();
      writer.close();
      kernel.close();
      await mrt.close();
      // NOTIFICATIONs behind routes that a peer is still taking.
      while (lingeringConnections() > 0) await new Promise<void>((resolve) => void clock.after(LINGER_LOOK, resolve));
    },
  };

  function answer(query: Query): Answers[Query["kind"]] | Promise<Answers[Query["kind"]]> {
    switch (query.kind) {
      case "dump":
        return mrt.dump(query.path);
      case "record":
        return mrt.record(query.path);
      case "peers":
        return peerRows();
      case "routes":
        router.settle();
        return router.routes(query);
      case "refresh": {
        const peer = peers.byName(query.peer);
        if (!peer?.isEstablished || peer.id === undefined) return { done: false };
        if (query.direction === "in") return { done: peer.askRefresh() };
        router.refresh(peer.id, 3);
        touch();
        return { done: true };
      }
      case "reset": {
        const peer = peers.byName(query.peer);
        peer?.session.reset(ERR_CEASE, CEASE_RESET, "asked for by the administrator", query.words);
        return { done: peer !== undefined };
      }
    }
  }
}

/** Reads the keys of peers that have them in a file; a peer whose file cannot be read is left out, and said so. */
function withPasswords(config: SpeakerConfig, log: Log): SpeakerConfig {
  const peers = config.peers.flatMap((peer) => {
    if (peer.passwordFile === undefined) return [peer];
    try {
      return [{ ...peer, password: Deno.readTextFileSync(peer.passwordFile).replace(/\r?\n$/, "") }];
    } catch (error) {
      log.error("Cannot read the password file of a peer", { peer: peer.name, file: peer.passwordFile, error });
      return [];
    }
  });
  return { ...config, peers };
}
