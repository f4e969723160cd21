/**
 * BFD at work: the sessions that the configuration asks for, their sockets and their one timer each (RFC 5880, 5881, 5883).
 *
 *   datagram -> decode -> GTSM -> by our discriminator, else by addresses -> step -> packets, "lost" -> the BGP session's end
 *
 * It runs in a thread of its own (`bfd_thread.ts`), so no table holds a packet up. Before a peer is called silent, what waits
 * in the sockets is read: a thread that was late must not take its own lateness for the peer's. A session that is not wanted
 * any more says AdminDown for a while, so that the peer does not take that for a failure.
 */

import {
  type BfdPacket,
  type BfdState,
  decodePacket,
  diagText,
  encodePacket,
  STATE_NAMES,
  UP,
} from "../bgp/bfd/packet.ts";
import {
  type BfdEvent,
  type BfdSession,
  type BfdTimes,
  deadline,
  detectionTime,
  makeBfdSession,
  sendInterval,
  stepBfd,
} from "../bgp/bfd/session.ts";
import type { PeerConfig } from "../bgp/config.ts";
import { Cidr } from "../lib/cidr.ts";
import type { Cancel, Clock } from "../lib/clock.ts";
import { Ip } from "../lib/ip.ts";
import type { Log } from "../lib/log.ts";
import { SyscallError } from "../linux/libc.ts";
import { parseAddress } from "../linux/tcp_address.ts";
import { connectUdp, type Datagram, receiveUdp, type UdpReceiver, type UdpSender } from "../linux/udp_socket.ts";
import type { BfdStatus } from "./messages.ts";

type Hops = "single-hop" | "multihop";

const PORTS = { "single-hop": 3784, "multihop": 4784 } as const;
const MAX_TTL = 255;
const DEFAULT_TIMES: BfdTimes = { interval: 300, multiplier: 3 };
/** RFC 5881 section 4. */
const FIRST_SOURCE_PORT = 49152;
const SOURCE_PORTS = 16384;
const PORT_TRIES = 64;
/** How long AdminDown is said, in milliseconds: at least three packets. */
const LINGER = 2_500;
const FIRST_RETRY = 1_000;
const LAST_RETRY = 30_000;

/** What BFD needs of the speaker around it. */
export interface BfdSurroundings {
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  /** The path to these peers is gone: their BGP sessions are to end at once. */
  lost(peers: readonly string[], reason: string): void;
  statusChanged(): void;
}

/** What BFD has to know of a peer that wants it. */
export type BfdPeer = Pick<PeerConfig, "name" | "address" | "sourceAddress" | "bfdTimes" | "multihop">;

/** What BFD has to know. */
export interface BfdWishes {
  readonly peers: readonly BfdPeer[];
  /** Networks that the node is on: peers in them are one hop away. */
  readonly nodeNetworks: readonly string[];
}

/** BFD beside the peers. */
export interface Bfd {
  /** Takes the peers that want BFD; sessions that stay the same are not touched, new times are negotiated. */
  configure(wishes: BfdWishes): void;
  /** The session beside a peer, null when it has none. */
  status(peer: string): BfdStatus | null;
  /** Why packets cannot be received; empty when all is well. */
  readonly errors: readonly string[];
  close(): void;
}

/** One session with its edge. */
interface Runner {
  readonly address: string;
  readonly bytes: Uint8Array;
  readonly source: string | undefined;
  readonly hops: Hops;
  readonly peers: string[];
  session: BfdSession;
  since: number;
  sender: UdpSender | undefined;
  /** Kept for the life of the session, as RFC 5881 asks. */
  sourcePort: number;
  /** The interface of a link-local address. */
  scopeId: number;
  timer: Cancel | undefined;
  armedFor: number;
}

interface Slot {
  readonly family: 4 | 6;
  readonly hops: Hops;
  receiver: UdpReceiver | undefined;
  error: string | undefined;
  retry: Cancel | undefined;
  wait: number;
}

/** Makes BFD without sessions. */
export function makeBfd({ clock, log, random, lost, statusChanged }: BfdSurroundings): Bfd {
  const runners = new Map<string, Runner>();
  const leaving = new Map<string, Runner>();
  const byDiscriminator = new Map<number, Runner>();
  const byPeer = new Map<string, Runner>();
  const slots = new Map<string, Slot>();

  // --- sockets -------------------------------------------------------------------------------------------------

  const open = (slot: Slot) => {
    slot.retry = undefined;
    try {
      slot.receiver = receiveUdp(slot.family, PORTS[slot.hops], (datagram) => receive(slot, datagram));
      slot.error = undefined;
      slot.wait = FIRST_RETRY;
    } catch (error) {
      slot.error = error instanceof Error ? error.message : String(error);
      log.warn("Cannot receive BFD packets", { port: PORTS[slot.hops], error: slot.error });
      slot.retry = clock.after(slot.wait, () => open(slot));
      slot.wait = Math.min(LAST_RETRY, slot.wait * 2);
    }
    statusChanged();
  };

  const shut = (slot: Slot) => {
    slot.retry?.();
    slot.receiver?.close();
  };

  const openWhatIsNeeded = () => {
    const wanted = new Map<string, Pick<Slot, "family" | "hops">>();
    for (const { bytes, hops } of [...runners.values(), ...leaving.values()]) {
      const family = bytes.length === 4 ? 4 : 6;
      wanted.set(`${family} ${hops}`, { family, hops });
    }
    for (const [key, slot] of slots) {
      if (wanted.has(key)) continue;
      shut(slot);
      slots.delete(key);
    }
    for (const [key, want] of wanted) {
      if (slots.has(key)) continue;
      const slot: Slot = { ...want, receiver: undefined, error: undefined, retry: undefined, wait: FIRST_RETRY };
      slots.set(key, slot);
      open(slot);
    }
  };

  /** The first free port from the session's own on. */
  const connect = (runner: Runner): UdpSender | undefined => {
    const { address, source, hops } = runner;
    for (let i = 0; i < PORT_TRIES; i++) {
      try {
        const sender = connectUdp(address, PORTS[hops], {
          localAddress: source,
          localPort: runner.sourcePort,
          ttl: MAX_TTL,
        });
        runner.scopeId = parseAddress(address).scopeId;
        return sender;
      } catch (error) {
        if (!(error instanceof SyscallError)) throw error;
        if (error.code !== "EADDRINUSE") {
          log.debug("Cannot send BFD packets", { address, error: error.message });
          return undefined;
        }
        runner.sourcePort = FIRST_SOURCE_PORT + (runner.sourcePort + 1 - FIRST_SOURCE_PORT) % SOURCE_PORTS;
      }
    }
    return undefined;
  };

  const send = (runner: Runner, packet: BfdPacket) => {
    runner.sender ??= connect(runner);
    if (!runner.sender || runner.sender.send(encodePacket(packet))) return;
    // The way may have changed, and with it the source address: the next packet gets a new socket.
    runner.sender.close();
    runner.sender = undefined;
  };

  // --- sessions ------------------------------------------------------------------------------------------------

  const step = (runner: Runner, event: BfdEvent) => {
    const { session: before } = runner;
    const { session, effects } = stepBfd(before, event, { now: clock.monotonic(), random: random() });
    runner.session = session;
    if (sendInterval(before) !== sendInterval(session) || detectionTime(before) !== detectionTime(session)) {
      statusChanged();
    }
    for (const effect of effects) {
      if (effect.type === "send") send(runner, effect.packet);
      else if (effect.type === "changed") changed(runner, effect.before, effect.after);
      else lost(runner.peers, effect.reason);
    }
    arm(runner);
  };

  const changed = (runner: Runner, before: BfdState, after: BfdState) => {
    runner.since = clock.wall();
    const fields = {
      address: runner.address,
      from: STATE_NAMES[before],
      to: STATE_NAMES[after],
      reason: runner.session.reason,
    };
    if (before === UP) log.warn("BFD session is down", fields);
    else if (after === UP) log.info("BFD session is up", fields);
    else log.debug("BFD session changes its state", fields);
    statusChanged();
  };

  /** One timer a session; it is set anew only for an earlier deadline, and a later one is found when it fires. */
  const arm = (runner: Runner) => {
    const due = deadline(runner.session);
    if (due >= runner.armedFor) return;
    runner.timer?.();
    runner.armedFor = due;
    runner.timer = clock.after(Math.max(0, due - clock.monotonic()), () => fire(runner));
  };

  const fire = (runner: Runner) => {
    runner.armedFor = Infinity;
    runner.timer = undefined;
    for (const slot of slots.values()) slot.receiver?.drain();
    if (deadline(runner.session) <= clock.monotonic()) step(runner, { type: "tick" });
    else arm(runner);
  };

  const receive = (slot: Slot, { bytes, from, to, ttl, ifindex }: Datagram) => {
    if (slot.hops === "single-hop" && ttl !== MAX_TTL) return;
    const packet = decodePacket(bytes);
    if ("refused" in packet) return;
    const isFor = (runner: Runner) =>
      runner.hops === slot.hops && isEqual(runner.bytes, from.address) &&
      (runner.scopeId === 0 || runner.scopeId === ifindex) &&
      (runner.source === undefined || isEqual(parseAddress(runner.source).bytes, to));
    const known = byDiscriminator.get(packet.yourDiscriminator);
    if (packet.yourDiscriminator !== 0) {
      if (known && isFor(known)) step(known, { type: "packet", packet });
      return;
    }
    for (const runner of runners.values()) {
      if (isFor(runner)) return step(runner, { type: "packet", packet });
    }
  };

  const makeRunner = (wish: Wish): Runner => {
    let discriminator = 0;
    while (discriminator === 0 || byDiscriminator.has(discriminator)) {
      discriminator = Math.floor(random() * 0x100000000);
    }
    return {
      address: wish.address,
      bytes: parseAddress(wish.address).bytes,
      source: wish.source,
      hops: wish.hops,
      peers: [],
      session: makeBfdSession(wish.times, discriminator, clock.monotonic()),
      since: clock.wall(),
      sender: undefined,
      sourcePort: FIRST_SOURCE_PORT + Math.floor(random() * SOURCE_PORTS),
      scopeId: 0,
      timer: undefined,
      armedFor: Infinity,
    };
  };

  const forget = (key: string, runner: Runner) => {
    runner.timer?.();
    runner.sender?.close();
    byDiscriminator.delete(runner.session.localDiscriminator);
    if (leaving.get(key) === runner) leaving.delete(key);
  };

  const leave = (key: string, runner: Runner) => {
    runners.delete(key);
    runner.peers.length = 0;
    const older = leaving.get(key);
    if (older) forget(key, older);
    leaving.set(key, runner);
    step(runner, { type: "stop" });
    clock.after(LINGER, () => {
      forget(key, runner);
      openWhatIsNeeded();
    });
  };

  return {
    configure(wanted) {
      const wishes = wishesOf(wanted);
      for (const [key, runner] of [...runners]) if (!wishes.has(key)) leave(key, runner);
      byPeer.clear();
      for (const [key, wish] of wishes) {
        const last = leaving.get(key);
        if (last) forget(key, last);
        const old = runners.get(key);
        const runner = old ?? makeRunner(wish);
        runner.peers.splice(0, Infinity, ...wish.peers);
        for (const name of wish.peers) byPeer.set(name, runner);
        if (!old) {
          runners.set(key, runner);
          byDiscriminator.set(runner.session.localDiscriminator, runner);
          arm(runner);
        } else if (!isSame(old.session.times, wish.times)) step(old, { type: "times", times: wish.times });
      }
      openWhatIsNeeded();
    },
    status(peer) {
      const runner = byPeer.get(peer);
      if (!runner) return null;
      const { session } = runner;
      const finite = (ms: number) => Number.isFinite(ms) ? Math.round(ms) : null;
      return {
        state: STATE_NAMES[session.state],
        since: new Date(runner.since).toISOString(),
        hops: runner.hops,
        interval: finite(sendInterval(session)),
        detectionTime: session.remoteMultiplier === 0 ? null : finite(detectionTime(session)),
        diagnostic: diagText(session.diag),
        reason: session.reason,
      };
    },
    get errors() {
      return [...slots.values()].flatMap(({ error }) => error === undefined ? [] : [error]);
    },
    close() {
      for (const runner of runners.values()) step(runner, { type: "stop" });
      for (const [key, runner] of [...runners, ...leaving]) forget(key, runner);
      for (const slot of slots.values()) shut(slot);
      runners.clear();
      byPeer.clear();
      slots.clear();
    },
  };
}

/** One session that is wanted, for all peers that it serves. */
interface Wish {
  readonly address: string;
  readonly source: string | undefined;
  readonly hops: Hops;
  readonly times: BfdTimes;
  readonly peers: string[];
}

function wishesOf({ peers, nodeNetworks }: BfdWishes): Map<string, Wish> {
  const wishes = new Map<string, Wish>();
  for (const peer of peers) {
    if (!Ip.tryParse(peer.address.split("%")[0] ?? "")) continue;
    const { address, sourceAddress: source } = peer;
    const hops = hopsOf(peer, nodeNetworks);
    const key = `${address} ${source ?? ""} ${hops}`;
    const { interval, multiplier } = peer.bfdTimes ?? DEFAULT_TIMES;
    const wish = wishes.get(key) ?? { address, source, hops, times: { interval, multiplier }, peers: [] };
    wish.peers.push(peer.name);
    wishes.set(key, wish);
  }
  return wishes;
}

function hopsOf({ bfdTimes, multihop, address }: BfdPeer, nodeNetworks: readonly string[]): Hops {
  if (bfdTimes?.hops) return bfdTimes.hops;
  const ip = Ip.parse(address.split("%")[0] ?? "");
  const isNear = !multihop || ip.isLinkLocal || nodeNetworks.some((text) => Cidr.tryParse(text)?.contains(ip));
  return isNear ? "single-hop" : "multihop";
}

function isSame(a: BfdTimes, b: BfdTimes): boolean {
  return a.interval === b.interval && a.multiplier === b.multiplier;
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((octet, at) => octet === b[at]);
}
