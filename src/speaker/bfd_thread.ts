/**
 * BFD in a thread of its own: a full table that is decided or written holds the speaker's thread for longer than a detection
 * time, and a packet that comes late is as bad as none. The thread is there from the first peer that wants BFD on; one that
 * dies is made again with the last wishes.
 *
 *   speaker -> wishes, close        BFD -> status, lost, log, closed
 */

import type { SpeakerConfig } from "../bgp/config.ts";
import type { Cancel } from "../lib/clock.ts";
import type { LogLevel } from "../lib/log.ts";
import type { BfdSurroundings, BfdWishes } from "./bfd.ts";
import type { BfdStatus } from "./messages.ts";

const RESTART_DELAY = 1_000;
const CLOSE_TIMEOUT = 500;

/** To the thread. */
export type ToBfd =
  | { readonly type: "wishes"; readonly wishes: BfdWishes }
  | { readonly type: "close" };

/** From the thread. */
export type FromBfd =
  | { readonly type: "ready" }
  | { readonly type: "status"; readonly rows: ReadonlyMap<string, BfdStatus>; readonly errors: readonly string[] }
  | { readonly type: "lost"; readonly peers: readonly string[]; readonly reason: string }
  | {
    readonly type: "log";
    readonly level: LogLevel;
    readonly message: string;
    readonly fields: Readonly<Record<string, unknown>>;
  }
  | { readonly type: "closed" };

/** BFD as the speaker sees it. */
export interface BfdThread {
  configure(config: SpeakerConfig): void;
  /** The session beside a peer as it was told last, null when it has none. */
  status(peer: string): BfdStatus | null;
  readonly errors: readonly string[];
  /** Resolves when all sessions have said AdminDown. */
  close(): Promise<void>;
}

/** Makes BFD; the thread is started when a peer wants it. */
export function makeBfdThread(
  { clock, log, lost, statusChanged }: Omit<BfdSurroundings, "random">,
): BfdThread {
  let worker: Worker | undefined;
  let wishes: BfdWishes = { peers: [], nodeNetworks: [] };
  let rows: ReadonlyMap<string, BfdStatus> = new Map();
  let errors: readonly string[] = [];
  let isReady = false;
  let isClosed = false;
  let restart: Cancel | undefined;
  let closed: (() => void) | undefined;

  const post = (message: ToBfd) => worker?.postMessage(message);

  const receive = (message: FromBfd) => {
    switch (message.type) {
      case "ready":
        isReady = true;
        return post({ type: "wishes", wishes });
      case "status":
        rows = message.rows;
        errors = message.errors;
        return statusChanged();
      case "lost":
        return lost(message.peers, message.reason);
      case "log":
        return log[message.level](message.message, message.fields);
      case "closed":
        return closed?.();
    }
  };

  const start = () => {
    restart = undefined;
    const made = new Worker(new URL("./bfd_worker.ts", import.meta.url), { type: "module" });
    worker = made;
    made.onmessage = ({ data }: MessageEvent<FromBfd>) => receive(data);
    made.onerror = (event) => {
      event.preventDefault();
      if (worker !== made) return;
      made.terminate();
      worker = undefined;
      isReady = false;
      rows = new Map();
      closed?.();
      if (isClosed) return;
      log.error("The BFD thread ended; starting it again", { error: event.message });
      restart = clock.after(RESTART_DELAY, start);
    };
  };

  return {
    configure(config) {
      if (isClosed) return;
      wishes = {
        nodeNetworks: config.fib.nodeNetworks,
        // Picked one by one: keys and passwords have no business in another thread.
        peers: config.peers.filter(({ bfd }) => bfd).map(({ name, address, sourceAddress, bfdTimes, multihop }) => ({
          name,
          address,
          sourceAddress,
          bfdTimes,
          multihop,
        })),
      };
      if (!worker && !restart && wishes.peers.length > 0) start();
      else if (isReady) post({ type: "wishes", wishes });
    },
    status: (peer) => rows.get(peer) ?? null,
    get errors() {
      return errors;
    },
    async close() {
      if (isClosed) return;
      isClosed = true;
      restart?.();
      if (!worker) return;
      await new Promise<void>((resolve) => {
        const cancel = clock.after(CLOSE_TIMEOUT, resolve);
        closed = () => {
          cancel();
          resolve();
        };
        post({ type: "close" });
      });
      worker?.terminate();
      worker = undefined;
    },
  };
}
