/**
 * The BFD session (RFC 5880 section 6.8) as a table of states, by its intervals and detection times, and as two ends
 * that talk to each other over a link that is cut.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { type BfdPacket, DOWN, STATE_NAMES, UP } from "../../../../src/bgp/bfd/packet.ts";
import {
  type BfdEffect,
  type BfdEvent,
  type BfdSession,
  type BfdTimes,
  deadline,
  detectionTime,
  makeBfdSession,
  sendInterval,
  stepBfd,
} from "../../../../src/bgp/bfd/session.ts";

const FAST: BfdTimes = { interval: 300, multiplier: 3 };

/** A session, its clock, and what it has sent. */
class End {
  session: BfdSession;
  sent: { at: number; packet: BfdPacket }[] = [];
  lost: string[] = [];
  random = 1;
  deliver: (packet: BfdPacket) => void = () => {};

  constructor(times: BfdTimes, discriminator: number, public now = 0) {
    this.session = makeBfdSession(times, discriminator, now);
  }
  step(event: BfdEvent): readonly BfdEffect[] {
    const { session, effects } = stepBfd(this.session, event, { now: this.now, random: this.random });
    this.session = session;
    for (const effect of effects) {
      if (effect.type === "lost") this.lost.push(effect.reason);
      if (effect.type !== "send") continue;
      this.sent.push({ at: this.now, packet: effect.packet });
      this.deliver(effect.packet);
    }
    return effects;
  }
  hear(change: Partial<BfdPacket>) {
    return this.step({ type: "packet", packet: { ...PEER, ...change } });
  }
  get state() {
    return STATE_NAMES[this.session.state];
  }
}

const PEER: BfdPacket = {
  diag: 0,
  state: DOWN,
  isPoll: false,
  isFinal: false,
  isDemand: false,
  multiplier: 3,
  myDiscriminator: 77,
  yourDiscriminator: 1,
  desiredMinTx: 300_000,
  requiredMinRx: 300_000,
  requiredMinEchoRx: 0,
};

/** Two ends joined by a wire that may be cut, run on one clock. */
function pair(times: [BfdTimes, BfdTimes], random: () => number) {
  const ends = [new End(times[0], 1), new End(times[1], 2)] as const;
  const wire = { isCut: [false, false], queue: [] as { at: number; to: 0 | 1; packet: BfdPacket }[] };
  let now = 0;
  ends.forEach((end, index) => {
    const to = index === 0 ? 1 : 0;
    end.deliver = (packet) => {
      if (!wire.isCut[index]) wire.queue.push({ at: now + 1, to, packet });
    };
  });
  const runUntil = (end: number, isDone: () => boolean = () => false) => {
    for (let steps = 0; steps < 100_000; steps++) {
      wire.queue.sort((a, b) => a.at - b.at);
      const due = Math.min(deadline(ends[0].session), deadline(ends[1].session), wire.queue[0]?.at ?? Infinity);
      if (due > end || isDone()) return;
      now = Math.max(now, due);
      for (const one of ends) {
        one.now = now;
        one.random = random();
      }
      const packet = wire.queue[0]?.at === due ? wire.queue.shift() : undefined;
      if (packet) ends[packet.to].step({ type: "packet", packet: packet.packet });
      else for (const one of ends) if (deadline(one.session) <= now) one.step({ type: "tick" });
    }
    assert.fail("the session does not come to rest");
  };
  return { ends, wire, runUntil, now: () => now };
}

function upEnd(times = FAST): End {
  const end = new End(times, 1);
  end.hear({});
  end.hear({ state: 2 });
  assert.equal(end.state, "Up");
  return end;
}

const moves: readonly [from: string, heard: string, to: string][] = [
  ["Down", "AdminDown", "Down"],
  ["Down", "Down", "Init"],
  ["Down", "Init", "Up"],
  ["Down", "Up", "Down"],
  ["Init", "AdminDown", "Down"],
  ["Init", "Down", "Init"],
  ["Init", "Init", "Up"],
  ["Init", "Up", "Up"],
  ["Up", "AdminDown", "Down"],
  ["Up", "Down", "Down"],
  ["Up", "Init", "Up"],
  ["Up", "Up", "Up"],
  ["AdminDown", "Down", "AdminDown"],
  ["AdminDown", "Init", "AdminDown"],
  ["AdminDown", "Up", "AdminDown"],
];
for (const [from, heard, to] of moves) {
  Deno.test(`a session in ${from} that hears ${heard} is in ${to}`, () => {
    const end = new End(FAST, 1);
    if (from === "AdminDown") end.step({ type: "stop" });
    if (from === "Init" || from === "Up") end.hear({});
    if (from === "Up") end.hear({ state: 2 });
    assert.equal(end.state, from);
    end.hear({ state: STATE_NAMES.findIndex((name) => name === heard) as 0 });
    assert.equal(end.state, to);
    assert.deepEqual(end.lost.length, from === "Up" && heard === "Down" ? 1 : 0);
  });
}

Deno.test("a new state is told at once, with our discriminator and the peer's", () => {
  const end = new End(FAST, 41);
  end.hear({ state: DOWN, yourDiscriminator: 0 });
  const [{ packet } = { packet: PEER }] = end.sent;
  assert.deepEqual([packet.state, packet.myDiscriminator, packet.yourDiscriminator], [2, 41, 77]);
});

Deno.test("until it is Up a session sends once a second at most, however fast the peer would take packets", () => {
  const end = new End({ interval: 50, multiplier: 3 }, 1);
  end.random = 0;
  for (end.now = 0; end.now < 10_000; end.now++) if (deadline(end.session) <= end.now) end.step({ type: "tick" });
  assert.ok(end.sent.length >= 10 && end.sent.length <= 14, `${end.sent.length} packets in 10 s`);
  assert.ok(end.sent.every(({ packet }) => packet.desiredMinTx === 1_000_000 && packet.requiredMinRx === 50_000));
});

Deno.test("packets go out after 75 to 100 % of the interval, and to 90 % when one may not be missed", () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1, noNaN: true }), fc.integer({ min: 1, max: 5 }), (luck, multiplier) => {
      const end = upEnd({ interval: 300, multiplier });
      end.random = luck;
      end.now = deadline(end.session);
      end.hear({ state: UP });
      end.step({ type: "tick" });
      const wait = end.session.nextSend - end.now;
      assert.ok(wait >= 225 - 1e-9 && wait <= (multiplier === 1 ? 270 : 300) + 1e-9, `${wait} ms`);
    }),
  );
});

Deno.test("the slower of our wish to send and the peer's wish to receive is the interval", () => {
  const end = upEnd();
  end.hear({ state: UP, requiredMinRx: 900_000 });
  assert.equal(sendInterval(end.session), 900);
  end.hear({ state: UP, requiredMinRx: 10_000 });
  assert.equal(sendInterval(end.session), 300);
  end.hear({ state: UP, requiredMinRx: 0 });
  assert.equal(sendInterval(end.session), Infinity);
});

Deno.test("the detection time is the peer's multiplier times the slower of its sending and our receiving", () => {
  const end = upEnd();
  end.hear({ state: UP, multiplier: 5, desiredMinTx: 400_000 });
  assert.equal(detectionTime(end.session), 2_000);
  end.hear({ state: UP, multiplier: 4, desiredMinTx: 10_000 });
  assert.equal(detectionTime(end.session), 1_200);
});

Deno.test("a peer that is silent for the detection time is lost, not a moment earlier", () => {
  const end = upEnd();
  const heard = end.now = 5_000;
  end.hear({ state: UP });
  for (end.now = heard; end.now < heard + 900; end.now++) {
    if (deadline(end.session) <= end.now) end.step({ type: "tick" });
    assert.equal(end.state, "Up");
  }
  assert.equal(deadline(end.session), heard + 900);
  end.step({ type: "tick" });
  assert.equal(end.state, "Down");
  assert.deepEqual(end.lost, ["nothing heard for 900 ms"]);
  assert.deepEqual([end.session.diag, end.session.remoteDiscriminator], [1, 0]);
});

Deno.test("a poll is answered at once with the final bit, even between two packets", () => {
  const end = upEnd();
  end.sent = [];
  end.hear({ state: UP, isPoll: true });
  const answers = end.sent.filter(({ packet }) => packet.isFinal);
  assert.equal(answers.length, 1);
  assert.equal(answers[0]?.packet.isPoll, false);
});

Deno.test("a session that comes up polls with its fast interval until the peer has answered", () => {
  const end = upEnd();
  assert.deepEqual([end.sent.at(-1)?.packet.isPoll, end.sent.at(-1)?.packet.desiredMinTx], [true, 300_000]);
  end.hear({ state: UP });
  assert.ok(end.session.isPolling);
  end.hear({ state: UP, isFinal: true });
  assert.ok(!end.session.isPolling);
});

Deno.test("slower sending waits for the peer's answer, and so does faster detection", () => {
  const slower = upEnd();
  slower.hear({ state: UP, isFinal: true });
  slower.step({ type: "times", times: { interval: 800, multiplier: 3 } });
  assert.deepEqual([sendInterval(slower.session), detectionTime(slower.session)], [300, 2_400]);
  slower.hear({ state: UP, isFinal: true });
  assert.equal(sendInterval(slower.session), 800);

  const faster = upEnd();
  faster.hear({ state: UP, isFinal: true });
  faster.step({ type: "times", times: { interval: 50, multiplier: 3 } });
  faster.hear({ state: UP, desiredMinTx: 50_000, requiredMinRx: 50_000 });
  assert.deepEqual([sendInterval(faster.session), detectionTime(faster.session)], [50, 900]);
  faster.hear({ state: UP, desiredMinTx: 50_000, requiredMinRx: 50_000, isFinal: true });
  assert.equal(detectionTime(faster.session), 150);
});

Deno.test("a peer in demand mode gets no periodic packets while both are Up, except to poll", () => {
  const end = upEnd();
  end.hear({ state: UP, isDemand: true });
  assert.equal(sendInterval(end.session), 300);
  end.hear({ state: UP, isDemand: true, isFinal: true });
  assert.equal(sendInterval(end.session), Infinity);
  end.hear({ state: UP, isDemand: false });
  assert.ok(end.session.nextSend < Infinity);
});

const anyTimes = fc.record({
  interval: fc.integer({ min: 10, max: 2_000 }),
  multiplier: fc.integer({ min: 2, max: 20 }),
});

Deno.test("two ends of any times come up, stay up, and each finds a cut of its receiving side in time", () => {
  fc.assert(
    fc.property(
      anyTimes,
      anyTimes,
      fc.constantFrom(0, 1),
      fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })),
      (a, b, side, luck) => {
        const world = pair([a, b], () => luck.next().value ?? 0.5);
        const [left, right] = world.ends;
        world.runUntil(60_000, () => left.state === "Up" && right.state === "Up");
        assert.deepEqual([left.state, right.state], ["Up", "Up"]);
        world.runUntil(world.now() + 10_000);
        assert.deepEqual([left.lost, right.lost], [[], []]);
        assert.ok(!left.session.isPolling && !right.session.isPolling);
        const cut = world.now();
        world.wire.isCut[side] = true;
        const deaf = world.ends[side === 0 ? 1 : 0];
        const limit = detectionTime(deaf.session) + 2;
        world.runUntil(cut + limit, () => deaf.state === "Down");
        assert.equal(deaf.state, "Down");
        assert.equal(deaf.lost.length, 1);
        world.runUntil(world.now() + 10);
        assert.notEqual(world.ends[side].state, "Up", "the other side is told");
        world.wire.isCut[side] = false;
        world.runUntil(world.now() + 60_000, () => left.state === "Up" && right.state === "Up");
        assert.deepEqual([left.state, right.state], ["Up", "Up"]);
      },
    ),
    { numRuns: 60 },
  );
});

Deno.test("whatever packets come, the next tick is due in time to come and no packet asks and answers at once", () => {
  const packet = fc.record({
    diag: fc.nat({ max: 31 }),
    state: fc.constantFrom<0 | 1 | 2 | 3>(0, 1, 2, 3),
    isPoll: fc.boolean(),
    isFinal: fc.boolean(),
    isDemand: fc.boolean(),
    multiplier: fc.integer({ min: 1, max: 255 }),
    myDiscriminator: fc.integer({ min: 1, max: 9 }),
    yourDiscriminator: fc.constant(1),
    desiredMinTx: fc.integer({ min: 0, max: 0xffffffff }),
    requiredMinRx: fc.integer({ min: 0, max: 0xffffffff }),
    requiredMinEchoRx: fc.constant(0),
  });
  const event: fc.Arbitrary<BfdEvent> = fc.oneof(
    { weight: 6, arbitrary: packet.map((packet) => ({ type: "packet", packet }) as const) },
    { weight: 4, arbitrary: fc.constant({ type: "tick" } as const) },
    { weight: 1, arbitrary: anyTimes.map((times) => ({ type: "times", times }) as const) },
    { weight: 1, arbitrary: fc.constant({ type: "stop" } as const) },
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(event, fc.nat({ max: 3_000 })), { maxLength: 60 }), (events) => {
      const end = new End(FAST, 1);
      for (const [one, wait] of events) {
        end.now += wait;
        end.step(one);
        for (let ticks = 0; deadline(end.session) <= end.now; ticks++) {
          assert.ok(ticks < 4, "ticks without end");
          end.step({ type: "tick" });
        }
        assert.ok(!Number.isNaN(end.session.nextSend));
      }
      for (const { packet } of end.sent) {
        assert.ok(!(packet.isPoll && packet.isFinal));
        assert.ok(packet.desiredMinTx > 0 && packet.multiplier > 0 && packet.myDiscriminator === 1);
      }
    }),
    { numRuns: 2_000 },
  );
});
