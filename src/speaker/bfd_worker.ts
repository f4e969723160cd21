/** The BFD thread: the entry of the Worker that `bfd_thread.ts` starts. Wishes in; status, losses and log lines out. */

import { makeLog } from "../lib/log.ts";
import { systemClock } from "../store/expiry.ts";
import { makeBfd } from "./bfd.ts";
import type { FromBfd, ToBfd } from "./bfd_thread.ts";
import type { BfdStatus } from "./messages.ts";

/** Changes are collected for so long, in milliseconds; losses are told at once. */
const STATUS_DELAY = 10;

const thread = globalThis as unknown as {
  postMessage(message: FromBfd): void;
  onmessage: ((event: MessageEvent<ToBfd>) => void) | null;
  close(): void;
};

const log = makeLog((level, message, fields) => {
  const plain: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) plain[name] = value instanceof Error ? value.stack : value;
  thread.postMessage({ type: "log", level, message, fields: plain });
});

let names: readonly string[] = [];
let isStatusDue = false;

function tellStatus(): void {
  isStatusDue = false;
  const rows = new Map<string, BfdStatus>();
  for (const name of names) {
    const row = bfd.status(name);
    if (row) rows.set(name, row);
  }
  thread.postMessage({ type: "status", rows, errors: bfd.errors });
}

const bfd = makeBfd({
  clock: systemClock,
  log,
  random: Math.random,
  lost(peers, reason) {
    // The status first: whoever acts on the loss sees the session that is down.
    tellStatus();
    thread.postMessage({ type: "lost", peers: [...peers], reason });
  },
  statusChanged() {
    if (isStatusDue) return;
    isStatusDue = true;
    systemClock.after(STATUS_DELAY, tellStatus);
  },
});

thread.onmessage = ({ data: message }) => {
  if (message.type === "close") {
    bfd.close();
    thread.postMessage({ type: "closed" });
    return thread.close();
  }
  names = message.wishes.peers.map(({ name }) => name);
  bfd.configure(message.wishes);
  tellStatus();
};

thread.postMessage({ type: "ready" });
