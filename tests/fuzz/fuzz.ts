/**
 * Mutated messages through the decoders and through a whole session with its router and other peers, in process.
 *
 * What must hold: no exception, none of ours caught on the way either; the other sessions stand; all that they are told is
 * well formed (their side decodes it); when the session is down nothing of it is left; the decoders allocate at most 64
 * octets for each octet of input. A run is made of rounds; a round's seed makes its messages again.
 */

import { decodeAttributes } from "../../src/bgp/wire/attributes.ts";
import { encodeKeepalive } from "../../src/bgp/wire/frame.ts";
import { decodeNotification, describeNotification } from "../../src/bgp/wire/notification.ts";
import { decodeOpen } from "../../src/bgp/wire/open.ts";
import type { WireOptions } from "../../src/bgp/wire/options.ts";
import { decodeRouteRefresh } from "../../src/bgp/wire/route_refresh.ts";
import { parseUpdate, UpdateView } from "../../src/bgp/wire/update.ts";
import { octetsOf, readCorpus } from "../unit/bgp/malformed/corpus.ts";
import {
  BASE_PREFIX,
  type Kind,
  KINDS,
  makeWorld,
  openOf,
  OTHER_PREFIX,
  updateFrom,
} from "../unit/bgp/malformed/world.ts";
import { Chance, messagesOf, mutate } from "./mutate.ts";

/** Messages of a round. */
export const ROUND = 2_000;
/** Octets allocated for each octet of input, and what any call may cost beside. */
const MOST_FACTOR = 64;
const MOST_CONSTANT = 16 * 1024;

/** The sum of a run. */
export interface FuzzSum {
  messages: number;
  octets: number;
  /** Sessions that fell and were made anew. */
  resets: number;
  /** The largest factor of allocation to input that was measured in the decoders. */
  worstFactor: number;
}

const seeds = readCorpus().filter((one) => one.send.length < 20_000)
  .flatMap((one) => messagesOf(octetsOf(one.send)))
  .concat(
    (Object.keys(KINDS) as Kind[]).flatMap((
      kind,
    ) => [openOf(kind, "10.0.0.2"), updateFrom("bad", kind, ["10.2.0.0/16", "10.3.4.0/22"])]),
  );
/** Seeds that no session falls for, so that the mutations of many meet in one session. */
const harmless = readCorpus().filter((one) => one.expect.routes !== undefined && one.send.length < 20_000)
  .flatMap((one) => messagesOf(octetsOf(one.send)));
const kinds = Object.keys(KINDS) as Kind[];
const KEEPALIVE = encodeKeepalive();

/** Plays one round through a whole session; throws with the messages in question when anything does not hold. */
export function fuzzSession(seed: number, messages: number, sum: FuzzSum): void {
  const chance = new Chance(seed);
  const kind = kinds[(seed >> 2) % kinds.length] ?? "ebgp";
  const world = makeWorld(kind);
  const { bad, watcher, other, errors, router } = world;
  const most = kind === "ebgpx" ? 65_535 : 4_096;
  let sent: Uint8Array[] = [];

  const begin = () => {
    sent = [];
    if (chance.below(8) === 0) return;
    bad.send(openOf(kind, "10.0.0.2"));
    if (chance.below(10) === 0) return;
    bad.send(KEEPALIVE);
    bad.send(updateFrom("bad", kind, [BASE_PREFIX]));
  };

  const check = (isTrue: boolean, what: string) => {
    if (isTrue) return;
    const octets = sent.slice(-8).map(hex).join("\n  ");
    throw new Error(`${what} (seed ${seed}, session ${kind}, the last messages):\n  ${octets}`);
  };

  begin();
  for (let i = 0; i < messages; i++) {
    const message = mutate(chance.below(8) === 0 ? seeds : harmless, chance, most);
    sent.push(message);
    sum.messages++;
    sum.octets += message.length;
    try {
      bad.send(message, chance.below(20) === 0 ? 1 + chance.below(9) : 65_536);
    } catch (error) {
      check(false, `an exception: ${error instanceof Error ? error.stack : error}`);
    }
    check(errors.length === 0, `an error of ours: ${errors[0]}`);
    if (!bad.isClosed && (i % 64 !== 0 || chance.below(4) > 0)) continue;
    if (!bad.isClosed) bad.peer.session.reset(6, 4, "enough");
    world.settle();
    sum.resets++;
    check(watcher.peer.isEstablished && other.peer.isEstablished, "another session fell");
    check(watcher.view.routes.size === 1 && watcher.view.routes.has(OTHER_PREFIX), "something is left of a session");
    check(router.routes({}).length === 1, "something is left in the table");
    bad.received.length = watcher.received.length = other.received.length = 0;
    bad.reconnect();
    begin();
  }
}

const OPTIONS: readonly WireOptions[] = [0, 1, 2, 3, 4, 5, 6, 7].map((bits) => ({
  isInternal: (bits & 1) !== 0,
  isConfederation: (bits & 1) === 0 && (bits & 4) !== 0,
  isFourOctetAs: (bits & 2) !== 0,
  isExtendedMessage: true,
  peerAs: 65001,
  families: 3,
  addPathReceive: (bits & 4) !== 0 ? 3 : 0,
  addPathSend: 0,
  isExtendedNextHop: (bits & 4) !== 0,
  mustBeginWithPeerAs: (bits & 1) === 0 && (bits & 2) !== 0,
}));

/** Decodes a message as what it says it is. */
export function decodeAny(message: Uint8Array, options: WireOptions, view: UpdateView): void {
  const body = message.subarray(19);
  switch (message[18]) {
    case 1:
      decodeOpen(body);
      return;
    case 3:
      describeNotification(decodeNotification(body));
      return;
    case 5:
      decodeRouteRefresh(body);
      return;
    default: {
      const result = parseUpdate(body, options, view);
      if (result !== view) return;
      decodeAttributes(view.attributeBytes(), options, view.reachFamily ? view.nextHopBytes() : undefined);
    }
  }
}

/** Octets that `work` allocates; negative when the collector ran meanwhile. */
export function allocated(work: () => void): number {
  const before = Deno.memoryUsage();
  work();
  const after = Deno.memoryUsage();
  return after.heapUsed - before.heapUsed + after.external - before.external;
}

/** Plays one round through the decoders alone, measuring every sixteenth message by itself. */
export function fuzzDecoders(seed: number, messages: number, sum: FuzzSum): void {
  const chance = new Chance(seed);
  const view = new UpdateView();
  for (let i = 0; i < messages; i++) {
    const message = mutate(seeds, chance, 65_535);
    if (message.length < 19) continue;
    const options = chance.pick(OPTIONS);
    sum.messages++;
    sum.octets += message.length;
    try {
      if (i % 16 !== 0) {
        decodeAny(message, options, view);
        continue;
      }
      const cost = allocated(() => decodeAny(message, options, view));
      if ((cost - MOST_CONSTANT) / message.length <= sum.worstFactor) continue;
      sum.worstFactor = Math.max(sum.worstFactor, factorOf(message, options, view));
      if (sum.worstFactor > MOST_FACTOR) throw new Error(`${cost} octets allocated for ${message.length}`);
    } catch (error) {
      throw new Error(
        `Cannot decode (seed ${seed}): ${error instanceof Error ? error.stack : error}\n  ${hex(message)}`,
      );
    }
  }
}

/** Octets that decoding allocates for each octet, when code is compiled and nobody collects; the least of some times. */
export function factorOf(message: Uint8Array, options: WireOptions, view: UpdateView): number {
  const costs = [0, 1, 2, 3, 4, 5, 6].map(() => allocated(() => decodeAny(message, options, view)))
    .filter((cost) => cost >= 0);
  return costs.length === 0 ? 0 : Math.max(0, Math.min(...costs) - MOST_CONSTANT) / message.length;
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (octet) => octet.toString(16).padStart(2, "0")).join("");
}
