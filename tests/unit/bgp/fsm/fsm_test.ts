/**
 * The state machine of RFC 4271 section 8: a table of every event in every state, then collisions, back-off and
 * graceful restart, and any sequence of events.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import type { LocalSide } from "../../../../src/bgp/fsm/negotiate.ts";
import {
  DEFAULT_TIMES,
  type Effect,
  type Event,
  type Fsm,
  type FsmConfig,
  makeFsm,
  type StateName,
} from "../../../../src/bgp/fsm/state.ts";
import { step } from "../../../../src/bgp/fsm/step.ts";
import { NO_CAPABILITIES } from "../../../../src/bgp/wire/capability.ts";
import { reset } from "../../../../src/bgp/wire/fault.ts";
import type { OpenMessage } from "../../../../src/bgp/wire/open.ts";

const capabilities = { ...NO_CAPABILITIES, families: 1, as4: 64512, routeRefresh: true };
const local: LocalSide = {
  as: 64512,
  id: 0x0a000001,
  holdTime: 90,
  peerAs: 64512,
  isConfederation: false,
  capabilities,
  mustBeginWithPeerAs: false,
};
const config: FsmConfig = { ...DEFAULT_TIMES, local, isPassive: false };
const open = (id = 0x0a000002): OpenMessage => ({ as: 64512, holdTime: 30, id, capabilities });
const none = new Uint8Array(0);

/** Runs the events from a fresh machine. */
function run(events: Event[], given: Partial<FsmConfig> = {}): { fsm: Fsm; effects: Effect[] } {
  let fsm = makeFsm({ ...config, ...given });
  let effects: Effect[] = [];
  for (const event of events) {
    const next = step(fsm, event);
    fsm = next.fsm;
    effects = [...next.effects];
  }
  return { fsm, effects };
}

const START: Event = { type: "start" };
const WAY: Readonly<Record<StateName, Event[]>> = {
  Idle: [],
  Connect: [START],
  Active: [START, { type: "closed", id: 1, reason: "connection refused" }],
  OpenSent: [START, { type: "connected", id: 1 }],
  OpenConfirm: [START, { type: "connected", id: 1 }, { type: "open", id: 1, message: open() }],
  Established: [
    START,
    { type: "connected", id: 1 },
    { type: "open", id: 1, message: open() },
    { type: "keepalive", id: 1 },
  ],
};

const EVENTS: Readonly<Record<string, Event>> = {
  start: START,
  stop: { type: "stop", subcode: 2 },
  reset: { type: "reset", code: 6, subcode: 4, reason: "asked for" },
  connectRetry: { type: "timer", timer: "connectRetry" },
  hold: { type: "timer", timer: "hold" },
  keepaliveTimer: { type: "timer", timer: "keepalive" },
  delayOpen: { type: "timer", timer: "delayOpen" },
  idleHold: { type: "timer", timer: "idleHold" },
  sendHold: { type: "timer", timer: "sendHold" },
  connected: { type: "connected", id: 1 },
  accepted: { type: "accepted", id: 2 },
  closed: { type: "closed", id: 1, reason: "reset by peer" },
  open: { type: "open", id: 1, message: open() },
  keepalive: { type: "keepalive", id: 1 },
  update: { type: "unexpected", id: 1, what: "UPDATE" },
  notification: { type: "notification", id: 1, message: { code: 6, subcode: 2, data: none } },
  fault: { type: "fault", id: 1, fault: reset(1, 2, "message of 5 octets") },
};

/** State after the event, then "code/subcode" when a NOTIFICATION goes out. */
const TABLE: Readonly<Record<StateName, Readonly<Record<string, string>>>> = {
  Idle: Object.fromEntries(Object.keys(EVENTS).map((name) => [name, name === "start" ? "Connect" : "Idle"])),
  Connect: {
    start: "Connect",
    stop: "Idle",
    reset: "Idle",
    connectRetry: "Connect",
    hold: "Connect",
    keepaliveTimer: "Connect",
    delayOpen: "Connect",
    idleHold: "Connect",
    sendHold: "Connect",
    connected: "OpenSent",
    accepted: "OpenSent",
    closed: "Active",
    open: "OpenConfirm",
    keepalive: "Idle",
    update: "Idle",
    notification: "Idle",
    fault: "Idle",
  },
  Active: {
    ...Object.fromEntries(Object.keys(EVENTS).map((name) => [name, "Active"])),
    stop: "Idle",
    reset: "Idle",
    connectRetry: "Connect",
    accepted: "OpenSent",
  },
  OpenSent: {
    ...Object.fromEntries(Object.keys(EVENTS).map((name) => [name, "OpenSent"])),
    stop: "Idle 6/2",
    reset: "Idle 6/4",
    hold: "Idle 4/0",
    closed: "Active",
    open: "OpenConfirm",
    keepalive: "Idle 5/1",
    update: "Idle 5/1",
    notification: "Idle",
    fault: "Idle 1/2",
  },
  OpenConfirm: {
    ...Object.fromEntries(Object.keys(EVENTS).map((name) => [name, "OpenConfirm"])),
    stop: "Idle 6/2",
    reset: "Idle 6/4",
    hold: "Idle 4/0",
    closed: "Idle",
    open: "Idle 5/2",
    keepalive: "Established",
    update: "Idle 5/2",
    notification: "Idle",
    fault: "Idle 1/2",
  },
  Established: {
    ...Object.fromEntries(Object.keys(EVENTS).map((name) => [name, "Established"])),
    stop: "Idle 6/2",
    reset: "Idle 6/4",
    hold: "Idle 4/0",
    sendHold: "Idle 8/0",
    closed: "Idle",
    open: "Idle 5/3",
    update: "Idle 5/3",
    notification: "Idle",
    fault: "Idle 1/2",
  },
};

for (const state of Object.keys(WAY) as StateName[]) {
  Deno.test(`every event in ${state} leads where the table says`, () => {
    for (const [name, event] of Object.entries(EVENTS)) {
      assert.equal(run(WAY[state]).fsm.name, state);
      const { fsm, effects } = run([...WAY[state], event]);
      const sent = effects.find((effect) => effect.type === "send-notification");
      const text = sent?.type === "send-notification" ? ` ${sent.message.code}/${sent.message.subcode}` : "";
      assert.equal(fsm.name + text, TABLE[state][name], `${name} in ${state}`);
      assert.notEqual(fsm.reason, "");
      const wasUp = state === "Established";
      assert.equal(effects.some((effect) => effect.type === "down"), wasUp && fsm.name !== "Established");
    }
  });
}

Deno.test("the negotiated hold time is the lesser one, and keepalive a third of it", () => {
  const { effects } = run(WAY.OpenConfirm);
  assert.deepEqual(effects.filter((effect) => effect.type === "timer"), [
    { type: "timer", timer: "hold", ms: 30_000, isJittered: false },
    { type: "timer", timer: "keepalive", ms: 10_000, isJittered: true },
  ]);
});

Deno.test("the wrong AS is refused with OPEN error 2 and both numbers in the reason", () => {
  const message = { ...open(), as: 65001 };
  const { fsm, effects } = run([...WAY.OpenSent, { type: "open", id: 1, message }]);
  assert.equal(fsm.name, "Idle");
  assert.match(fsm.reason, /Bad Peer AS \(2\/2\) sent: peer has AS 65001, AS 64512 is configured/);
  assert.ok(effects.some((effect) => effect.type === "send-notification" && effect.message.subcode === 2));
});

Deno.test("a passive peer never connects", () => {
  const { fsm, effects } = run([START, { type: "timer", timer: "connectRetry" }], { isPassive: true });
  assert.equal(fsm.name, "Active");
  assert.equal(effects.some((effect) => effect.type === "connect"), false);
});

Deno.test("with DelayOpen our OPEN waits for the timer or for the peer's OPEN", () => {
  const waiting = run([START, { type: "connected", id: 1 }], { delayOpen: 2000 });
  assert.equal(waiting.fsm.name, "Connect");
  assert.equal(waiting.effects.some((effect) => effect.type === "send-open"), false);
  assert.equal(step(waiting.fsm, { type: "timer", timer: "delayOpen" }).fsm.name, "OpenSent");
  const early = step(waiting.fsm, { type: "open", id: 1, message: open() });
  assert.equal(early.fsm.name, "OpenConfirm");
  assert.deepEqual(early.effects.map((effect) => effect.type).filter((type) => type.startsWith("send")), [
    "send-open",
    "send-keepalive",
  ]);
});

Deno.test("failures back off: connecting by doubling up to the maximum, and Idle likewise", () => {
  const waits: number[] = [];
  let fsm = run([START]).fsm;
  for (let i = 0; i < 8; i++) {
    const failed = step(fsm, { type: "closed", id: fsm.primary!.id, reason: "refused" });
    const retry = failed.effects.find((effect) => effect.type === "timer" && effect.timer === "connectRetry");
    if (retry?.type === "timer") waits.push(retry.ms);
    fsm = step(failed.fsm, { type: "timer", timer: "connectRetry" }).fsm;
  }
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);

  const rests: number[] = [];
  fsm = run([START]).fsm;
  for (let i = 0; i < 8; i++) {
    fsm = step(fsm, { type: "connected", id: fsm.primary!.id }).fsm;
    const failed = step(fsm, { type: "fault", id: fsm.primary!.id, fault: reset(1, 1, "bad") });
    const rest = failed.effects.find((effect) => effect.type === "timer" && effect.timer === "idleHold");
    if (rest?.type === "timer") rests.push(rest.ms);
    fsm = step(failed.fsm, { type: "timer", timer: "idleHold" }).fsm;
  }
  assert.deepEqual(rests, [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]);
});

Deno.test("in a collision the connection that the higher identifier opened stays", () => {
  for (const [peer, survivor] of [[0x0a000002, 2], [0x09000002, 1]] as const) {
    // Ours (1) is up and so is theirs (2); both OPENs come in, in either order.
    for (const order of [[1, 2], [2, 1]] as const) {
      const { fsm, effects } = run([
        ...WAY.OpenSent,
        { type: "accepted", id: 2 },
        { type: "open", id: order[0], message: open(peer) },
        { type: "open", id: order[1], message: open(peer) },
      ]);
      assert.equal(fsm.name, "OpenConfirm");
      assert.equal(fsm.primary?.id, survivor);
      assert.equal(fsm.rival, undefined);
      const loser = survivor === 1 ? 2 : 1;
      assert.ok(effects.some((effect) => effect.type === "close" && effect.id === loser));
      const sent = effects.find((effect) => effect.type === "send-notification");
      assert.ok(sent?.type === "send-notification" && sent.message.code === 6 && sent.message.subcode === 7);
    }
  }
});

Deno.test("an equal identifier of another AS loses or wins by the AS number (RFC 6286)", () => {
  const external: LocalSide = { ...local, peerAs: 65001 };
  const message: OpenMessage = { as: 65001, holdTime: 30, id: local.id, capabilities: { ...capabilities, as4: 65001 } };
  const { fsm } = run([
    ...WAY.OpenSent,
    { type: "accepted", id: 2 },
    { type: "open", id: 1, message },
    { type: "open", id: 2, message },
  ], { local: external });
  assert.equal(fsm.primary?.id, 2);
});

Deno.test("a connection beside an established session must send OPEN and then loses", () => {
  const { fsm } = run([...WAY.Established, { type: "accepted", id: 2 }]);
  assert.equal(fsm.name, "Established");
  const lost = step(fsm, { type: "open", id: 2, message: open() });
  assert.equal(lost.fsm.rival, undefined);
  assert.equal(lost.fsm.name, "Established");
  assert.equal(lost.fsm.primary?.id, 1);
});

Deno.test("with graceful restart a new connection ends the old session without a NOTIFICATION", () => {
  const graceful = { isRestarting: false, isNotification: false, time: 120, families: 1, forwarding: 1 };
  const able = { ...capabilities, gracefulRestart: graceful };
  const events: Event[] = WAY.Established.map((event) =>
    event.type === "open" ? { ...event, message: { ...event.message, capabilities: able } } : event
  );
  const settled: Event[] = [...events, { type: "timer", timer: "stable" }, { type: "accepted", id: 2 }];
  const { fsm, effects } = run(settled, { local: { ...local, capabilities: able } });
  assert.equal(fsm.name, "OpenSent");
  assert.equal(effects.some((effect) => effect.type === "send-notification"), false);
  assert.deepEqual(effects.find((effect) => effect.type === "down")?.type, "down");

  // Both sides connected at once: the session that is up stays, or the peer would take its end for a restart of ours.
  const opened = events.find((event) => event.type === "open");
  assert.ok(opened?.type === "open");
  const second = (isRestarting: boolean): Event[] => [...events, { type: "accepted", id: 2 }, {
    type: "open",
    id: 2,
    message: { ...opened.message, capabilities: { ...able, gracefulRestart: { ...graceful, isRestarting } } },
  }];
  const young = run(second(false), { local: { ...local, capabilities: able } });
  assert.deepEqual([young.fsm.name, young.fsm.rival], ["Established", undefined]);
  assert.equal(young.effects.some((effect) => effect.type === "down"), false);
  const restarted = run(second(true), { local: { ...local, capabilities: able } });
  assert.equal(restarted.fsm.name, "OpenConfirm");
  assert.equal(restarted.effects.filter((effect) => effect.type === "down").length, 1);
});

Deno.test("no sequence of events throws, leaks a connection, or leaves two behind", () => {
  const picks = fc.array(
    fc.record({
      event: fc.constantFrom(...Object.keys(EVENTS), "rivalHold", "stable"),
      which: fc.nat(3),
      peer: fc.constantFrom(5, 0x0a000009),
    }),
    { maxLength: 60 },
  );
  fc.assert(
    fc.property(picks, fc.boolean(), fc.constantFrom(0, 500), (sequence, isPassive, delayOpen) => {
      let fsm = makeFsm({ ...config, isPassive, delayOpen });
      const opened = new Set<number>();
      let incoming = 2;
      for (const { event: name, which, peer } of [{ event: "start", which: 0, peer: 5 }, ...sequence]) {
        const id = [...opened][which] ?? which;
        const base = EVENTS[name] ?? { type: "timer", timer: name as "stable" };
        const event: Event = base.type === "accepted"
          ? { ...base, id: incoming }
          : base.type === "open"
          ? { ...base, id, message: open(peer) }
          : "id" in base
          ? { ...base, id }
          : base;
        if (event.type === "accepted") {
          opened.add(incoming);
          incoming += 2;
        }
        if (event.type === "closed") opened.delete(event.id);
        const wasUp = fsm.name === "Established";
        const next = step(fsm, event);
        for (const effect of next.effects) {
          if (effect.type === "connect") opened.add(effect.id);
          if (effect.type === "close") opened.delete(effect.id);
          if (effect.type === "send-open" || effect.type === "send-keepalive") assert.ok(opened.has(effect.id));
        }
        fsm = next.fsm;
        const held = [fsm.primary?.id, fsm.rival?.id].filter((held) => held !== undefined).sort();
        assert.deepEqual([...opened].sort(), held, `after ${name} in ${fsm.name}`);
        if (fsm.name === "Idle") assert.equal(opened.size, 0);
        if (fsm.name === "Established") assert.ok(fsm.primary?.negotiated);
        if (wasUp !== (fsm.name === "Established")) {
          assert.ok(next.effects.some((effect) => effect.type === "up" || effect.type === "down"));
        }
      }
      const settled = step(fsm, { type: "timer", timer: "rivalHold" });
      for (const effect of settled.effects) if (effect.type === "close") opened.delete(effect.id);
      assert.ok(opened.size <= 1);
    }),
    { numRuns: 2000 },
  );
});
