/** How the node stands by the speaker's thread: the test plays the thread, and the clock is turned by hand. */

import assert from "node:assert/strict";
import { EMPTY_CONFIG } from "../../../src/bgp/config.ts";
import { FakeClock } from "../../../src/lib/fake_clock.ts";
import { makeLog, silentLog } from "../../../src/lib/log.ts";
import type { FromSpeaker, SpeakerStatus, ToSpeaker } from "../../../src/speaker/messages.ts";
import { type SpeakerThread, startSpeaker } from "../../../src/speaker/spawn.ts";

/** A thread that the test plays. */
function makeThreads() {
  const threads: (SpeakerThread & { said: ToSpeaker[]; isTerminated: boolean })[] = [];
  return {
    threads,
    make(): SpeakerThread {
      const thread = {
        said: [] as ToSpeaker[],
        isTerminated: false,
        postMessage: (message: ToSpeaker) => void thread.said.push(message),
        terminate: () => void (thread.isTerminated = true),
        onmessage: null,
        onerror: null,
      };
      threads.push(thread);
      return thread;
    },
    say: (message: FromSpeaker) => threads.at(-1)?.onmessage?.(new MessageEvent("message", { data: message })),
    die: () => threads.at(-1)?.onerror?.(new ErrorEvent("error", { message: "out of memory", cancelable: true })),
  };
}

Deno.test("a thread that dies is replaced with back-off and gets the last configuration again", async () => {
  const clock = new FakeClock();
  const world = makeThreads();
  const errors: string[] = [];
  const log = makeLog((level, message) => level === "error" && errors.push(message));
  const speaker = startSpeaker({ log, clock, makeThread: world.make });
  world.say({ type: "ready" });
  speaker.configure({ ...EMPTY_CONFIG, nodeName: "a" });
  const asked = speaker.query({ kind: "peers" });
  world.die();
  await assert.rejects(asked, /its thread ended/);
  assert.equal(world.threads[0]?.isTerminated, true);
  assert.equal(errors.length, 1);
  await assert.rejects(speaker.query({ kind: "peers" }), /not running/);

  clock.advance(500);
  assert.equal(world.threads.length, 2);
  world.say({ type: "ready" });
  assert.deepEqual(world.threads[1]?.said, [{ type: "config", config: { ...EMPTY_CONFIG, nodeName: "a" } }]);
  world.die();
  clock.advance(999);
  assert.equal(world.threads.length, 2);
  clock.advance(1);
  assert.equal(world.threads.length, 3);
});

Deno.test("answers go to their questions, errors reject, and silence is given up after 30 seconds", async () => {
  const clock = new FakeClock();
  const world = makeThreads();
  const speaker = startSpeaker({ log: silentLog, clock, makeThread: world.make });
  const [first, second, third] = [1, 2, 3].map(() => speaker.query({ kind: "routes" }));
  world.say({ type: "reply", id: 2, answer: [] });
  world.say({ type: "reply", id: 1, error: "no" });
  assert.deepEqual(await second, []);
  await assert.rejects(first!, /Cannot answer: no/);
  clock.advance(30_000);
  await assert.rejects(third!, /no answer in 30 seconds/);
});

Deno.test("status reaches those who listen, at once when it is known", () => {
  const world = makeThreads();
  const speaker = startSpeaker({ log: silentLog, clock: new FakeClock(), makeThread: world.make });
  const status: SpeakerStatus = { peers: [], listening: ["0.0.0.0:179"], errors: [] };
  world.say({ type: "status", status });
  const seen: SpeakerStatus[] = [];
  const stop = speaker.onStatus((one) => seen.push(one));
  assert.deepEqual(seen, [status]);
  stop();
  world.say({ type: "status", status });
  assert.equal(seen.length, 1);
});

Deno.test("stopping waits for the thread, three seconds at most, and starts none again", async () => {
  for (const isAnswering of [true, false]) {
    const clock = new FakeClock();
    const world = makeThreads();
    const speaker = startSpeaker({ log: silentLog, clock, makeThread: world.make });
    const stopped = speaker.stop(false);
    assert.deepEqual(world.threads[0]?.said, [{ type: "stop", graceful: false }]);
    if (isAnswering) world.say({ type: "stopped" });
    else clock.advance(3_000);
    await stopped;
    assert.equal(world.threads[0]?.isTerminated, true);
    clock.advance(60_000);
    assert.equal(world.threads.length, 1);
  }
});
