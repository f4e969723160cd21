/**
 * Starts the speaker in a Worker and talks to it. A worker that dies is replaced with back-off and gets the last
 * configuration again; questions that it did not answer fail.
 */

import type { SpeakerConfig } from "../bgp/config.ts";
import type { Cancel, Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { systemClock } from "../store/expiry.ts";
import type { MonitorEvent } from "./monitor.ts";
import type { Answers, FromSpeaker, Query, SpeakerStatus, ToSpeaker } from "./messages.ts";

const FIRST_RESTART = 500;
const LAST_RESTART = 30_000;
/** A worker that lived so long has recovered. */
const STABLE_AFTER = 60_000;
const QUERY_TIMEOUT = 30_000;
const STOP_TIMEOUT = 3_000;

/** The speaker as the main thread sees it. */
export interface SpeakerHandle {
  /** Hands over the whole configuration; it is kept for a restart of the thread. */
  configure(config: SpeakerConfig): void;
  /** Asks; rejects when the thread died, was stopped, or gave no answer in 30 seconds. */
  query<Q extends Query>(query: Q): Promise<Answers[Q["kind"]]>;
  /** Calls `sink` with the status now and whenever it changes; returns how to stop. */
  onStatus(sink: (status: SpeakerStatus) => void): () => void;
  /** Calls `sink` with sessions and best paths that change, from now on; returns how to stop. */
  monitor(sink: (events: readonly MonitorEvent[]) => void): () => void;
  /** Resolves when all sessions are closed; routes stay in the kernel. */
  stop(graceful?: boolean): Promise<void>;
}

interface Pending {
  readonly resolve: (answer: Answers[Query["kind"]]) => void;
  readonly reject: (error: Error) => void;
  readonly cancel: Cancel;
}

/** What of a Worker is used. */
export interface SpeakerThread {
  postMessage(message: ToSpeaker): void;
  terminate(): void;
  onmessage: ((event: MessageEvent<FromSpeaker>) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
}

/** How to start the speaker. */
export interface SpeakerOptions {
  readonly log: Log;
  readonly clock?: Clock;
  /** Makes the thread; the real one when left out. */
  readonly makeThread?: () => SpeakerThread;
}

/** The real thread; the URL is spelled so that the bundler finds the file. */
function makeWorker(): SpeakerThread {
  return new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
}

/** Starts the speaker's thread. */
export function startSpeaker({ log, clock = systemClock, makeThread = makeWorker }: SpeakerOptions): SpeakerHandle {
  const pending = new Map<number, Pending>();
  const sinks = new Set<(status: SpeakerStatus) => void>();
  const watchers = new Set<(events: readonly MonitorEvent[]) => void>();
  let config: SpeakerConfig | undefined;
  let status: SpeakerStatus | undefined;
  let worker: SpeakerThread | undefined;
  let nextId = 1;
  let wait = FIRST_RESTART;
  let isStopped = false;
  let restart: Cancel | undefined;
  let stopped: (() => void) | undefined;

  const post = (message: ToSpeaker) => worker?.postMessage(message);

  const receive = (message: FromSpeaker) => {
    switch (message.type) {
      case "ready":
        if (config) post({ type: "config", config });
        if (watchers.size > 0) post({ type: "monitor", isOn: true });
        return;
      case "events":
        for (const sink of watchers) sink(message.events);
        return;
      case "status":
        status = message.status;
        for (const sink of sinks) sink(message.status);
        return;
      case "reply": {
        const waiting = pending.get(message.id);
        pending.delete(message.id);
        waiting?.cancel();
        if (message.answer !== undefined) waiting?.resolve(message.answer);
        else waiting?.reject(new Error(`Cannot answer: ${message.error ?? "the speaker says nothing"}`));
        return;
      }
      case "log":
        return log[message.level](message.message, message.fields);
      case "stopped":
        return stopped?.();
    }
  };

  const failAll = (reason: string) => {
    for (const { reject, cancel } of pending.values()) {
      cancel();
      reject(new Error(`Cannot ask the speaker: ${reason}`));
    }
    pending.clear();
  };

  const start = () => {
    restart = undefined;
    const born = clock.monotonic();
    const made = makeThread();
    worker = made;
    made.onmessage = ({ data }) => receive(data);
    made.onerror = (event) => {
      // Without this the error would end the main thread too.
      event.preventDefault();
      if (worker !== made) return;
      worker = undefined;
      made.terminate();
      failAll("its thread ended");
      if (isStopped) return stopped?.();
      if (clock.monotonic() - born > STABLE_AFTER) wait = FIRST_RESTART;
      log.error("The speaker's thread ended; starting it again", { error: event.message, wait });
      restart = clock.after(wait, start);
      wait = Math.min(LAST_RESTART, wait * 2);
    };
  };
  start();

  return {
    configure(next) {
      config = next;
      post({ type: "config", config: next });
    },
    query<Q extends Query>(query: Q) {
      return new Promise<Answers[Q["kind"]]>((resolve, reject) => {
        if (!worker) return reject(new Error("Cannot ask the speaker: its thread is not running"));
        const id = nextId++;
        const cancel = clock.after(QUERY_TIMEOUT, () => {
          pending.delete(id);
          reject(new Error("Cannot ask the speaker: no answer in 30 seconds"));
        });
        pending.set(id, { resolve: resolve as Pending["resolve"], reject, cancel });
        post({ type: "query", id, query });
      });
    },
    onStatus(sink) {
      sinks.add(sink);
      if (status) sink(status);
      return () => void sinks.delete(sink);
    },
    monitor(sink) {
      watchers.add(sink);
      if (watchers.size === 1) post({ type: "monitor", isOn: true });
      return () => {
        if (watchers.delete(sink) && watchers.size === 0) post({ type: "monitor", isOn: false });
      };
    },
    stop(graceful = true) {
      if (isStopped) return Promise.resolve();
      isStopped = true;
      restart?.();
      return new Promise<void>((resolve) => {
        const end = () => {
          cancel();
          failAll("it was stopped");
          worker?.terminate();
          worker = undefined;
          resolve();
        };
        const cancel = clock.after(STOP_TIMEOUT, end);
        stopped = end;
        if (worker) post({ type: "stop", graceful });
        else end();
      });
    },
  };
}
