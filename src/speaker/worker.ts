/**
 * The speaker's thread: the entry of the Worker that `spawn.ts` starts. Messages in, messages out (`messages.ts`); nothing
 * else is shared with the main thread. A configuration is applied whole before the next is looked at, and of several that
 * wait only the last counts.
 */

import { RouterCore } from "../bgp/rib/router.ts";
import type { SpeakerConfig } from "../bgp/config.ts";
import { makeLog } from "../lib/log.ts";
import { openKernel } from "../linux/kernel.ts";
import { systemClock } from "../store/expiry.ts";
import type { FromSpeaker, Query, ToSpeaker } from "./messages.ts";
import { makeSpeaker } from "./speaker.ts";
import { startWarmUp } from "./warm_up.ts";

const thread = globalThis as unknown as {
  postMessage(message: FromSpeaker): void;
  onmessage: ((event: MessageEvent<ToSpeaker>) => void) | null;
  close(): void;
};

const log = makeLog((level, message, fields) => {
  const plain: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) plain[name] = value instanceof Error ? value.stack : value;
  thread.postMessage({ type: "log", level, message, fields: plain });
});

const stopWarmUp = startWarmUp(systemClock);
const router = new RouterCore();
const speaker = makeSpeaker({
  router,
  tables: router,
  clock: systemClock,
  log,
  random: Math.random,
  kernel: openKernel(),
  onStatus: (status) => thread.postMessage({ type: "status", status }),
  onEvents: (events) => thread.postMessage({ type: "events", events }),
});

let waiting: SpeakerConfig | undefined;
let isApplying = false;

async function applyWaiting(): Promise<void> {
  if (isApplying) return;
  isApplying = true;
  for (let config = waiting; config; config = waiting) {
    waiting = undefined;
    try {
      await speaker.configure(config);
    } catch (error) {
      log.error("Cannot apply a configuration", { error });
    }
  }
  isApplying = false;
}

async function reply(id: number, query: Query): Promise<void> {
  try {
    thread.postMessage({ type: "reply", id, answer: await speaker.query(query) });
  } catch (error) {
    thread.postMessage({ type: "reply", id, error: error instanceof Error ? error.message : String(error) });
  }
}

thread.onmessage = ({ data: message }) => {
  switch (message.type) {
    case "config":
      waiting = message.config;
      void applyWaiting();
      return;
    case "query":
      void reply(message.id, message.query);
      return;
    case "monitor":
      speaker.monitor(message.isOn);
      return;
    case "stop":
      stopWarmUp();
      void speaker.stop(message.graceful).finally(() => {
        thread.postMessage({ type: "stopped" });
        thread.close();
      });
  }
};

thread.postMessage({ type: "ready" });
