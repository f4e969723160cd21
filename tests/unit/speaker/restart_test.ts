/** A restart of our own: how long decisions wait, for whom, and what the OPEN says meanwhile. */

import assert from "node:assert/strict";
import { NO_CAPABILITIES } from "../../../src/bgp/wire/capability.ts";
import type { Negotiated } from "../../../src/bgp/fsm/negotiate.ts";
import {
  announcedRestart,
  confirmedFamilies,
  keptFamilies,
  restartCapabilities,
} from "../../../src/bgp/session/graceful_restart.ts";
import { PLAIN_INTERNAL } from "../../../src/bgp/wire/options.ts";
import { FakeClock } from "../../../src/lib/fake_clock.ts";
import { makeRestart, type PeerRestartState } from "../../../src/speaker/restart.ts";

function begin(peers: () => PeerRestartState[], { hasFoundOwn = true, delay = 120 } = {}) {
  const clock = new FakeClock();
  const ended: string[] = [];
  const restart = makeRestart({ clock, peers, spoke: () => {}, ended: (reason) => void ended.push(reason) });
  restart.begin(hasFoundOwn, delay);
  return { clock, restart, ended };
}

const ABSENT: PeerRestartState = { upFor: undefined, isTold: false, mustTell: false };
const told = (upFor: number): PeerRestartState => ({ upFor, isTold: true, mustTell: true });

Deno.test("decisions wait until the last peer has sent End-of-RIB, and not longer", () => {
  const peers = [told(1000), { upFor: 1000, isTold: false, mustTell: true }];
  const { clock, restart, ended } = begin(() => peers);
  clock.advance(20_000);
  assert.ok(restart.isDeferring && restart.isRestarting && restart.isForwarding);
  peers[1] = told(20_000);
  restart.heard();
  clock.advance(1);
  assert.deepEqual([restart.isDeferring, restart.isRestarting, restart.isForwarding], [false, false, true]);
  assert.deepEqual(ended, ["every peer has told us its routes"]);
});

Deno.test("an absent peer is waited for 30 seconds; one that need not send End-of-RIB holds up the sweep for 5, and no word", () => {
  const absent = begin(() => [ABSENT, told(1)]);
  absent.clock.advance(29_400);
  assert.ok(absent.restart.isDeferring);
  absent.clock.advance(1_200);
  assert.equal(absent.restart.isDeferring, false);
  const plain: ReturnType<typeof begin> = begin(() => [
    { upFor: plain.clock.monotonic(), isTold: false, mustTell: false },
  ]);
  plain.clock.advance(600);
  assert.deepEqual([plain.restart.isDeferring, plain.ended], [false, []]);
  plain.clock.advance(3_800);
  assert.deepEqual(plain.ended, []);
  plain.clock.advance(1_200);
  assert.equal(plain.ended.length, 1);
});

Deno.test("nobody is waited for longer than the delay, and a configuration without peers is not believed at once", () => {
  const late = begin(() => [{ upFor: 1, isTold: false, mustTell: true }], { delay: 10 });
  late.clock.advance(10_600);
  assert.deepEqual(late.ended, ["its time is over"]);
  const empty = begin(() => []);
  empty.clock.advance(20_000);
  assert.ok(empty.restart.isDeferring);
  empty.clock.advance(10_600);
  assert.equal(empty.ended.length, 1);
});

Deno.test("a host without routes of an earlier run waits for nobody, and claims no forwarding state at first", () => {
  const { clock, restart, ended } = begin(() => [ABSENT], { hasFoundOwn: false });
  assert.deepEqual([restart.isDeferring, restart.isRestarting, restart.isForwarding], [false, false, false]);
  clock.advance(120_001);
  assert.deepEqual([restart.isForwarding, ended], [true, []]);
});

const OURS = { ...NO_CAPABILITIES, families: 3, gracefulRestart: announcedRestart(120, 3) };
const agreed = (change: Partial<NonNullable<typeof OURS.gracefulRestart>> | undefined): Negotiated => ({
  wire: PLAIN_INTERNAL,
  holdTime: 90,
  keepaliveTime: 30,
  peerId: 1,
  hasRouteRefresh: true,
  hasEnhancedRouteRefresh: true,
  isOurIdHigher: true,
  peer: {
    ...NO_CAPABILITIES,
    ...(change
      ? {
        gracefulRestart: {
          isRestarting: false,
          isNotification: false,
          time: 60,
          families: 3,
          forwarding: 1,
          ...change,
        },
      }
      : {}),
  },
});

Deno.test("what outlives a session depends on how it ended and on what both sides announced", () => {
  const kept = (change: Parameters<typeof agreed>[0], how: "lost" | "notification" | "hard") =>
    keptFamilies(OURS, agreed(change), how).families;
  assert.deepEqual([kept({}, "lost"), kept({}, "notification"), kept({}, "hard")], [3, 0, 0]);
  assert.deepEqual([kept({ isNotification: true }, "notification"), kept({ isNotification: true }, "hard")], [3, 0]);
  assert.deepEqual([kept(undefined, "lost"), kept({ families: 2 }, "lost"), kept({ time: 0 }, "lost")], [0, 2, 0]);
  assert.equal(keptFamilies(NO_CAPABILITIES, agreed({}), "lost").families, 0);
  assert.deepEqual([confirmedFamilies(3, agreed({})), confirmedFamilies(3, agreed(undefined))], [1, 0]);
});

Deno.test("an OPEN says R while we restart, and F unless the host was not forwarding", () => {
  const said = (isRestarting: boolean, isForwarding: boolean) => {
    const { gracefulRestart } = restartCapabilities(OURS, { isRestarting, isForwarding });
    return [gracefulRestart?.isRestarting, gracefulRestart?.forwarding, gracefulRestart?.time];
  };
  assert.deepEqual([said(true, true), said(false, false)], [[true, 3, 120], [false, 0, 120]]);
  assert.equal(announcedRestart(0, 3), undefined);
  assert.equal(announcedRestart(9999, 3)?.time, 4095);
});
