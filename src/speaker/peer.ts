/**
 * One peer at work: its session with real timers and sockets on one side and the router on the other.
 *
 * The session decides; this file only carries out: it opens connections, sets timers, hands UPDATEs to the router and the
 * router's messages to the connection, as much as the kernel takes. A peer that takes nothing is left alone until its
 * socket is writable again, so it costs the others nothing.
 */

import type { PeerConfig, SpeakerConfig } from "../bgp/config.ts";
import { DEFAULT_TIMES, type TimerName } from "../bgp/fsm/state.ts";
import type { Negotiated } from "../bgp/fsm/negotiate.ts";
import type { PeerId, Router, SessionFacts } from "../bgp/rib/interface.ts";
import { confirmedFamilies, keptFamilies, longKept, restartCapabilities } from "../bgp/session/graceful_restart.ts";
import { Session } from "../bgp/session/session.ts";
import { capabilityTable } from "../bgp/show/capabilities.ts";
import type { Endpoint, Transport, TransportSink } from "../bgp/transport.ts";
import {
  HEADER_LENGTH,
  IPV4_UNICAST,
  IPV6_UNICAST,
  MSG_NOTIFICATION,
  MSG_OPEN,
  MSG_ROUTE_REFRESH,
} from "../bgp/wire/constants.ts";
import { putHeader } from "../bgp/wire/frame.ts";
import type { Fault } from "../bgp/wire/fault.ts";
import { encodeRouteRefresh, REFRESH_BEGIN, REFRESH_END, REFRESH_REQUEST } from "../bgp/wire/route_refresh.ts";
import type { Cancel, Clock } from "../lib/clock.ts";
import { Ip } from "../lib/ip.ts";
import type { Log } from "../lib/log.ts";
import { formatRouterId, fsmConfigFor } from "./session_config.ts";
import type { SessionTap, TapLink, TapPeer } from "./tap.ts";
import type { PeerStatus } from "./messages.ts";
import type { PeerRestartState, Restart } from "./restart.ts";

/** Octets asked of the router at a time. */
const CHUNK = 64 * 1024;
/** Chunks written in one go before others get their turn. */
const MAX_CHUNKS = 16;
/** No more is asked of the router while so much waits for the kernel. */
const MAX_WAITING = 256 * 1024;
const NOTHING: Uint8Array = new Uint8Array(0);
const ALL_FAMILIES = IPV4_UNICAST | IPV6_UNICAST;
const FAULT_LOG_INTERVAL = 60_000;
const CEASE = 6;
const MAX_PREFIXES = 1;
const WARN_PERCENT = 75;

/** What a peer needs of the speaker around it. */
export interface PeerSurroundings {
  readonly router: Router;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  /** Begins a connection to the peer. */
  connect(sink: TransportSink): Transport;
  /** Our addresses for next hop self of the other family, and the link-local one beside a given address. */
  localAddresses(address: Uint8Array): Pick<SessionFacts, "localAddressOther" | "localLinkLocal">;
  /** Where we are in a restart of our own. */
  readonly restart: Restart;
  /** Who listens in. */
  readonly tap: Required<SessionTap>;
  /** Routes may have changed: settle and send soon. */
  touch(): void;
  /** The status changed. */
  statusChanged(): void;
}

/** A peer with a session. */
export interface Peer {
  readonly config: PeerConfig;
  readonly session: Session;
  readonly id: PeerId | undefined;
  readonly isEstablished: boolean;
  /** Takes a new policy; the transport part must be the same. */
  reconfigure(config: PeerConfig): void;
  /** Writes what the router has for the peer, as far as the kernel takes it. */
  flush(): void;
  /** What a restart of our own has to wait for. */
  readonly restartState: PeerRestartState;
  /** Asks the peer for its routes again; false when it cannot be asked. */
  askRefresh(): boolean;
  status(): PeerStatus;
  /** The peer as listeners see it. */
  readonly tapped: TapPeer;
  /** Ends the session for good. */
  close(subcode: number, words?: string, isSilent?: boolean): void;
}

/** Makes a peer and starts its session. */
export function makePeer(initial: PeerConfig, speaker: SpeakerConfig, around: PeerSurroundings): Peer {
  const { router, clock } = around;
  const log = around.log.with({ peer: initial.name, address: initial.address });
  const timers = new Map<TimerName, Cancel>();
  let config = initial;
  let since = clock.wall();
  let negotiated: Negotiated | undefined;
  let id: PeerId | undefined;
  let faults = 0;
  let faultsSaid = -Infinity;
  /** Families whose paths of an earlier session are still waiting for the peer to confirm them. */
  let stale = 0;
  let isClosed = false;
  let isWarned = false;
  let sessions = 0;
  let sweepTimer: Cancel | undefined;
  let heardEndOfRib = 0;
  let upSince = 0;
  let link: TapLink | undefined;
  const opens = { sent: NOTHING, received: NOTHING };
  let notification: { readonly isSent: boolean; readonly bytes: Uint8Array } | undefined;
  const tapped: TapPeer = {
    get name() {
      return config.name;
    },
    get address() {
      return config.address;
    },
    get as() {
      return config.as;
    },
    get localAs() {
      return config.localAs;
    },
    get link() {
      return link;
    },
  };

  const sweepStale = () => {
    sweepTimer?.();
    const known = router.peerId(config.name);
    if (stale !== 0 && known !== undefined) router.sweepStale(known, stale);
    stale = 0;
  };
  const sweepAfter = (seconds: number) => {
    sweepTimer?.();
    sweepTimer = clock.after(seconds * 1000, () => {
      log.info("The peer's kept routes have not been confirmed in time", {});
      sweepStale();
      around.touch();
    });
  };
  /** The restart time is over: what may stay for long does, as the last choice; the rest goes (RFC 9494). */
  const keepLongAfter = (seconds: number, long: { readonly families: number; readonly time: number }) => {
    sweepTimer?.();
    sweepTimer = clock.after(seconds * 1000, () => {
      const known = router.peerId(config.name);
      if (known === undefined) return;
      log.info("The peer's routes stay as long-lived stale ones", { seconds: long.time });
      router.sweepStale(known, stale & ~long.families);
      stale &= long.families;
      router.keepLong(known, stale);
      sweepAfter(long.time);
      around.touch();
    });
  };

  /** A peer that sends nothing but errors must not fill the log. */
  const sayFault = ({ kind, reason }: Fault) => {
    faults++;
    if (clock.monotonic() - faultsSaid < FAULT_LOG_INTERVAL) return;
    faultsSaid = clock.monotonic();
    log.warn("An UPDATE has errors", { kind, reason, faults });
  };

  /** The prefix limit: a warning on the way there, the end of the session beyond it. */
  const watchLimit = (prefixes: number, isOver: boolean) => {
    const { maxPrefixes: limit = 0, maxPrefixesWarning: percent = WARN_PERCENT, maxPrefixesRestart: restart } = config;
    const isNear = prefixes * 100 >= limit * percent;
    if (isNear && !isWarned) log.warn("The peer is near its limit of prefixes", { prefixes, limit });
    isWarned = isNear;
    if (!isOver) return;
    const wait = restart === undefined ? undefined : restart === 0 ? Infinity : restart * 1000;
    queueMicrotask(() => session.reset(CEASE, MAX_PREFIXES, `more than ${limit} prefixes`, undefined, wait));
  };

  const session: Session = new Session(fsmConfigFor(initial, speaker), {
    now: () => clock.monotonic(),
    random: around.random,
    connect: around.connect,
    setTimer(timer, ms) {
      timers.get(timer)?.();
      timers.set(
        timer,
        clock.after(ms, () => {
          timers.delete(timer);
          session.fire(timer);
        }),
      );
    },
    cancelTimer(timer) {
      timers.get(timer)?.();
      timers.delete(timer);
    },
    announced: (capabilities) => restartCapabilities(capabilities, around.restart),
    up(agreed: Negotiated, transport: Transport) {
      negotiated = agreed;
      id = router.peerId(config.name);
      upSince = clock.monotonic();
      heardEndOfRib = 0;
      if (id === undefined) return;
      stale = confirmedFamilies(stale, agreed);
      router.sweepStale(id, ALL_FAMILIES & ~stale);
      // From here on the time is that of the table's transfer: End-of-RIB ends it earlier.
      if (stale !== 0) sweepAfter(agreed.peer.gracefulRestart?.time ?? 0);
      else sweepTimer?.();
      router.peerUp(id, {
        wire: agreed.wire,
        routerId: agreed.peerId,
        localAddress: transport.local.address,
        ...around.localAddresses(transport.local.address),
        peerAddress: transport.remote.address,
        ...(transport.remote.scopeId === undefined ? {} : { ifindex: transport.remote.scopeId }),
        localAs: config.localAs,
        hasLongLived: agreed.peer.knowsLongLived === true,
        keepsStale: stale,
      });
      notification = undefined;
      isWarned = false;
      sessions++;
      link = {
        id,
        local: transport.local,
        remote: transport.remote,
        wire: agreed.wire,
        routerId: agreed.peerId,
        openSent: opens.sent,
        openReceived: opens.received,
        since: clock.wall(),
      };
      around.tap.up(tapped, link);
      around.touch();
    },
    down(reason, how) {
      const kept = negotiated && !isClosed && keptFamilies(session.fsm.config.local.capabilities, negotiated, how);
      if (id !== undefined) {
        // What an earlier restart left and this session did not confirm goes (RFC 4724 4.2).
        router.sweepStale(id);
        router.peerDown(id, reason, kept ? kept.families : 0);
        stale = kept ? kept.families : 0;
        if (kept && stale !== 0) {
          const long = negotiated && longKept(session.fsm.config.local.capabilities, negotiated, stale);
          if (long && long.families !== 0) keepLongAfter(kept.time, long);
          else sweepAfter(kept.time);
          log.info("Keeping the peer's routes while it restarts", { seconds: kept.time });
        } else sweepTimer?.();
      }
      id = undefined;
      negotiated = undefined;
      const old = link;
      link = undefined;
      if (old) around.tap.down(tapped, old, { notification, isLost: how === "lost" });
      around.touch();
    },
    update(body) {
      if (id === undefined) return undefined;
      const result = router.receiveUpdate(id, body);
      if (link) around.tap.update(tapped, link, body);
      around.touch();
      if (result.fault && result.fault.kind !== "reset") sayFault(result.fault);
      if (result.endOfRib !== 0) {
        heardEndOfRib |= result.endOfRib;
        stale &= ~result.endOfRib;
        if (stale === 0) sweepTimer?.();
        around.restart.heard();
      }
      if (result.prefixes !== undefined) watchLimit(result.prefixes, result.isOverLimit === true);
      return result.fault?.kind === "reset" ? result.fault : undefined;
    },
    refresh({ family, subtype }) {
      if (id === undefined) return;
      if (subtype === REFRESH_BEGIN) router.markStale(id, family);
      else if (subtype === REFRESH_END) router.sweepStale(id, family);
      else if (subtype === REFRESH_REQUEST) router.refresh(id, family, negotiated?.hasEnhancedRouteRefresh ?? false);
      around.touch();
    },
    passed(isSent, type, bytes) {
      const message = isSent ? bytes.slice() : withHeader(type, bytes);
      if (type === MSG_OPEN) opens[isSent ? "sent" : "received"] = message;
      else if (type === MSG_NOTIFICATION) notification = { isSent, bytes: message };
      around.tap.message(tapped, isSent, message);
    },
    writable: () => peer.flush(),
    changed(before, after) {
      if (before.name !== after.name) {
        since = clock.wall();
        around.tap.state(tapped, before.name, after.name);
        const isLoud = before.name === "Established" || after.name === "Established";
        const fields = { from: before.name, to: after.name, reason: after.reason };
        if (isLoud) log.info(after.name === "Established" ? "Session is established" : "Session is down", fields);
        else log.debug("Session changes its state", fields);
      }
      if (after.lastError !== undefined && after.lastError !== before.lastError) {
        log.warn("Session has an error", { reason: after.lastError });
      }
      around.statusChanged();
    },
    broke(error) {
      log.error("An error of ours ended the session", { error });
    },
  });

  const peer: Peer = {
    get config() {
      return config;
    },
    session,
    tapped,
    get id() {
      return id;
    },
    get isEstablished() {
      return negotiated !== undefined;
    },
    reconfigure(changed) {
      config = changed;
    },
    flush() {
      // A restarted speaker says nothing before it knows what it knew (RFC 4724 4.1).
      if (around.restart.isDeferring) return;
      for (let chunks = 0; id !== undefined; chunks++) {
        const transport = session.transport;
        if (!transport || transport.pending > MAX_WAITING) return;
        if (chunks === MAX_CHUNKS) return around.touch();
        const bytes = router.nextBytes(id, CHUNK);
        if (!bytes) return;
        session.write(bytes);
        if (link) around.tap.sent(tapped, link, bytes);
      }
    },
    askRefresh() {
      if (!negotiated?.hasRouteRefresh) return false;
      for (const family of [IPV4_UNICAST, IPV6_UNICAST]) {
        if ((negotiated.wire.families & family) !== 0) {
          session.send(MSG_ROUTE_REFRESH, encodeRouteRefresh(family, REFRESH_REQUEST));
        }
      }
      return true;
    },
    status() {
      const { fsm } = session;
      const counts = id === undefined ? undefined : router.counts(id);
      return {
        peer: config.address,
        name: config.name,
        as: config.as,
        localAs: config.localAs,
        state: fsm.name,
        since: new Date(since).toISOString(),
        received: counts?.received ?? 0,
        accepted: counts?.accepted ?? 0,
        advertised: counts?.advertised ?? 0,
        lastError: fsm.lastError ?? null,
        rrClient: config.rrClient,
        reason: initial.shutdown === undefined ? fsm.reason : shutdownText(initial.shutdown),
        routerId: negotiated ? formatRouterId(negotiated.peerId) : null,
        holdTime: negotiated ? negotiated.holdTime : null,
        families: negotiated ? familyNumbers(negotiated.wire.families) : [],
        messages: { received: session.counts.received.slice(1), sent: session.counts.sent.slice(1) },
        sessions,
        timers: timersNow(),
        prefixLimit: config.maxPrefixes === undefined ? null : { limit: config.maxPrefixes, isNear: isWarned },
        capabilities: negotiated ? capabilityTable(session.fsm.config.local.capabilities, negotiated.peer) : [],
        local: link ? endpointText(link.local) : null,
        remote: link ? endpointText(link.remote) : null,
      };
    },
    get restartState() {
      if (!negotiated) return { upFor: undefined, isTold: false, mustTell: false };
      const { peer: theirs, wire } = negotiated;
      return {
        upFor: clock.monotonic() - upSince,
        isTold: (wire.families & ~heardEndOfRib) === 0,
        mustTell: theirs.gracefulRestart?.isRestarting === false,
      };
    },
    close(subcode, words, isSilent) {
      isClosed = true;
      session.stop(subcode, words, isSilent);
      sweepStale();
      for (const cancel of timers.values()) cancel();
      timers.clear();
    },
  };
  const timersNow = () => ({
    hold: negotiated?.holdTime ?? null,
    keepalive: negotiated?.keepaliveTime ?? null,
    heardAgo: session.heard === undefined ? null : Math.round(clock.monotonic() - session.heard) / 1000,
    connectRetry: DEFAULT_TIMES.connectRetryMax / 1000,
    idleHold: session.fsm.config.idleHold / 1000,
  });

  if (initial.shutdown === undefined) session.start();
  return peer;
}

/** The whole message of a body. */
function withHeader(type: number, body: Uint8Array): Uint8Array {
  const message = new Uint8Array(HEADER_LENGTH + body.length);
  putHeader(message, 0, message.length, type);
  message.set(body, HEADER_LENGTH);
  return message;
}

/** The row of an unnumbered peer whose neighbour has not been found. */
export function waitingRow(config: PeerConfig, reason: string): PeerStatus {
  return {
    peer: config.interface ?? "",
    name: config.name,
    as: config.as,
    localAs: config.localAs,
    state: "Idle",
    since: new Date(0).toISOString(),
    received: 0,
    accepted: 0,
    advertised: 0,
    lastError: null,
    rrClient: config.rrClient,
    reason,
    routerId: null,
    holdTime: null,
    families: [],
    messages: { received: [], sent: [] },
  };
}

function shutdownText(words: string): string {
  return words === "" ? "shut down by the administrator" : `shut down by the administrator: "${words}"`;
}

function endpointText({ address, port }: Endpoint): string {
  return address.length === 4 ? `${addressText(address)}:${port}` : `[${addressText(address)}]:${port}`;
}

function familyNumbers(mask: number): number[] {
  return [...(mask & IPV4_UNICAST ? [4] : []), ...(mask & IPV6_UNICAST ? [6] : [])];
}

/** Canonical text of an address of 4 or 16 octets. */
export function addressText(address: Uint8Array): string {
  return Ip.fromBytes(address).toString();
}
