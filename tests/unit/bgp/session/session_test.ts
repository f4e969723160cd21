/**
 * Sessions over streams in memory, cut into any pieces, with the clock turned by hand: two of ours against each other,
 * and one against octets and silences of the test's choice.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { DEFAULT_TIMES, type TimerName } from "../../../../src/bgp/fsm/state.ts";
import type { Negotiated } from "../../../../src/bgp/fsm/negotiate.ts";
import { makeMemoryPair, type MemoryTransport } from "../../../../src/bgp/memory_transport.ts";
import { Session } from "../../../../src/bgp/session/session.ts";
import type { Transport } from "../../../../src/bgp/transport.ts";
import { NO_CAPABILITIES } from "../../../../src/bgp/wire/capability.ts";
import { HEADER_LENGTH } from "../../../../src/bgp/wire/constants.ts";
import { type Fault, reset } from "../../../../src/bgp/wire/fault.ts";
import { encodeKeepalive } from "../../../../src/bgp/wire/frame.ts";
import { encodeEndOfRib } from "../../../../src/bgp/wire/update_encode.ts";
import type { Cancel } from "../../../../src/lib/clock.ts";
import { FakeClock } from "../../../../src/lib/fake_clock.ts";

/** A speaker with one session; connections are handed over by the test. */
function makeSpeaker(
  clock: FakeClock,
  options: { as: number; peerAs: number; id: number; isPassive?: boolean; holdTime?: number },
) {
  const timers = new Map<TimerName, Cancel>();
  const seen = {
    up: undefined as Negotiated | undefined,
    downs: [] as string[],
    updates: [] as number[],
    states: [] as string[],
    broken: [] as unknown[],
    connects: 0,
  };
  const wire = {
    connect: undefined as MemoryTransport | undefined,
    fault: undefined as Fault | undefined,
    throws: false,
  };
  const session: Session = new Session({
    ...DEFAULT_TIMES,
    isPassive: options.isPassive ?? false,
    local: {
      as: options.as,
      id: options.id,
      holdTime: options.holdTime ?? 90,
      peerAs: options.peerAs,
      isConfederation: false,
      mustBeginWithPeerAs: false,
      capabilities: { ...NO_CAPABILITIES, families: 3, as4: options.as, routeRefresh: true },
    },
  }, {
    now: () => clock.monotonic(),
    random: () => 0.5,
    connect(sink) {
      seen.connects++;
      const transport = wire.connect;
      if (transport) {
        transport.sink = sink;
        clock.after(1, () => sink.connected());
        return transport;
      }
      clock.after(1, () => sink.closed("connection refused"));
      return makeMemoryPair().a;
    },
    setTimer(timer, ms) {
      timers.get(timer)?.();
      timers.set(timer, clock.after(ms, () => session.fire(timer)));
    },
    cancelTimer: (timer) => timers.get(timer)?.(),
    up: (negotiated) => void (seen.up = negotiated),
    down: (reason, how) => void seen.downs.push(`${how}: ${reason}`),
    update(body) {
      if (wire.throws) throw new Error("an error of ours");
      seen.updates.push(body.length);
      return wire.fault;
    },
    refresh() {},
    writable() {},
    changed: (_before, after) => void seen.states.push(after.name),
    broke: (error) => void seen.broken.push(error),
  });
  return { session, seen, wire };
}

const ACTIVE = { as: 64512, peerAs: 65001, id: 1 };
const PASSIVE = { as: 65001, peerAs: 64512, id: 2, isPassive: true };

/** Two sessions, connected and Established. */
function establish(clock = new FakeClock(), piece = 65536, theirs = clock) {
  const pair = makeMemoryPair();
  const a = makeSpeaker(clock, ACTIVE);
  const b = makeSpeaker(theirs, PASSIVE);
  a.wire.connect = pair.a;
  b.session.start();
  a.session.start();
  b.session.accept((sink): Transport => {
    pair.b.sink = sink;
    return pair.b;
  });
  clock.advance(1);
  const run = () => {
    for (let i = 0; i < 100 && pair.deliver(piece); i++);
  };
  run();
  return { a, b, pair, run, clock };
}

Deno.test("two sessions become Established over a stream cut into any pieces", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 60 }), (piece) => {
    const { a, b } = establish(new FakeClock(), piece);
    assert.equal(a.session.fsm.name, "Established");
    assert.equal(b.session.fsm.name, "Established");
    assert.equal(a.seen.up?.wire.isInternal, false);
    assert.equal(b.seen.up?.wire.families, 3);
  }));
});

Deno.test("UPDATEs go to the edge and count, and time passes with keepalives only", () => {
  const { a, b, run, clock } = establish();
  a.session.write(encodeEndOfRib(1));
  run();
  assert.deepEqual(b.seen.updates, [encodeEndOfRib(1).length - HEADER_LENGTH]);
  for (let second = 0; second < 600; second++) {
    clock.advance(1000);
    run();
  }
  assert.equal(a.session.fsm.name, "Established");
  assert.deepEqual(b.seen.downs, []);
  assert.ok((b.session.counts.received[4] ?? 0) > 20);
});

Deno.test("a silent peer is given up when the hold time is over, and not before", () => {
  const { a, b, pair, run, clock } = establish(new FakeClock(), 65536, new FakeClock());
  pair.b.isStuck = true;
  clock.advance(89_000);
  assert.equal(a.session.fsm.name, "Established");
  clock.advance(1_200);
  assert.equal(a.session.fsm.name, "Idle");
  assert.match(a.seen.downs[0] ?? "", /Hold Timer Expired \(4\/0\) sent/);
  run();
  assert.match(b.seen.downs[0] ?? "", /Hold Timer Expired \(4\/0\) received/);
});

/** A clock whose time can jump while its timers stand, as in a thread that was held up. */
class HeldUpClock extends FakeClock {
  jump = 0;
  override monotonic(): number {
    return super.monotonic() + this.jump;
  }
}

Deno.test("a hold timer that fires late, because we were held up, leaves time to read what waits", () => {
  for (const isPeerAlive of [true, false]) {
    const clock = new HeldUpClock();
    const { a, b, run } = establish(clock, 65536, new FakeClock());
    clock.advance(89_000);
    if (isPeerAlive) b.session.send(4, encodeKeepalive());
    clock.jump = 5_000;
    clock.advance(1_100);
    assert.equal(a.session.fsm.name, "Established");
    run();
    clock.advance(700);
    assert.equal(a.session.fsm.name === "Established", isPeerAlive);
  }
});

Deno.test("a session that failed starts again by itself", () => {
  const { a, run, clock } = establish();
  a.session.reset(6, 4, "asked for");
  assert.equal(a.session.fsm.name, "Idle");
  run();
  const fresh = makeMemoryPair();
  const b = makeSpeaker(clock, PASSIVE);
  b.session.start();
  a.wire.connect = fresh.a;
  b.session.accept((sink) => {
    fresh.b.sink = sink;
    return fresh.b;
  });
  clock.advance(1_100);
  for (let i = 0; i < 100 && fresh.deliver(); i++);
  assert.equal(a.session.fsm.name, "Established");
});

Deno.test("a fault in an UPDATE ends the session with its NOTIFICATION, and nothing behind it is read", () => {
  const { a, b, run } = establish();
  b.wire.fault = reset(3, 1, "malformed");
  a.session.write(encodeEndOfRib(1));
  a.session.write(encodeEndOfRib(1));
  run();
  assert.equal(b.seen.updates.length, 1);
  assert.match(a.seen.downs[0] ?? "", /UPDATE Message Error\/Malformed Attribute List \(3\/1\) received/);
});

Deno.test("an exception of ours ends the session that it happened in, and no more", () => {
  const { a, b, run } = establish();
  b.wire.throws = true;
  a.session.write(encodeEndOfRib(1));
  run();
  assert.equal(b.seen.broken.length, 1);
  assert.equal(b.session.fsm.name, "Idle");
  assert.match(a.seen.downs[0] ?? "", /Cease\/Out of Resources \(6\/8\) received/);
});

Deno.test("a peer that takes nothing is given up after the SendHoldTimer (RFC 9687)", () => {
  // The peer's own time stands still, so it does not give up first.
  const { a, b, pair, run, clock } = establish(new FakeClock(), 65536, new FakeClock());
  pair.a.isStuck = true;
  a.session.write(encodeEndOfRib(1));
  let seconds = 0;
  for (; a.session.fsm.name === "Established" && seconds < 1000; seconds++) {
    clock.advance(1000);
    // The peer speaks on, so only our own side notices.
    if (seconds % 20 === 0) b.session.send(4, encodeEndOfRib(1));
    run();
  }
  assert.ok(seconds >= 480 && seconds < 1000, `${seconds} s`);
  assert.match(a.seen.downs[0] ?? "", /Send Hold Timer Expired \(8\/0\)/);
});

Deno.test("stopping says Cease/Administrative Shutdown with its words, and no timer brings the session back", () => {
  const { a, b, run, clock } = establish();
  a.session.stop(2, "maintenance");
  run();
  assert.match(b.seen.downs[0] ?? "", /Administrative Shutdown \(6\/2\): "maintenance" received/);
  const { connects } = a.seen;
  clock.advance(3_600_000);
  assert.equal(a.seen.connects, connects);
  assert.equal(a.session.fsm.name, "Idle");
});

Deno.test("no octets on a connection make a session throw or leave it without a way on", () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 60 }), { maxLength: 10 }),
      fc.boolean(),
      (chunks, hasMarker) => {
        const { b, pair, clock } = establish();
        for (const chunk of chunks) {
          const bytes = new Uint8Array(19 + chunk.length);
          bytes.fill(0xff, 0, 16);
          bytes.set([0, bytes.length, chunk[0]! % 6], 16);
          bytes.set(chunk, 19);
          pair.a.write(hasMarker ? bytes : chunk);
        }
        for (let i = 0; i < 100 && pair.deliver(); i++);
        assert.deepEqual(b.seen.broken, []);
        if (b.session.fsm.name === "Established") return;
        clock.advance(61_000);
        assert.equal(b.session.fsm.name, "Active");
      },
    ),
    { numRuns: 300 },
  );
});
