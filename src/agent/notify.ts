/**
 * Tells systemd how the service is doing (sd_notify(3)): READY, STOPPING and the watchdog's keep-alives, as datagrams to
 * the socket named in NOTIFY_SOCKET. Without that variable nothing is sent. A lost message is no failure of ours.
 */

import type { Cancel, Clock } from "../lib/clock.ts";
import { cstring, libc } from "../linux/libc.ts";

const AF_UNIX = 1, SOCK_DGRAM = 2, SOCK_CLOEXEC = 0o2000000, MSG_NOSIGNAL = 0x4000, MSG_DONTWAIT = 0x40;

/** The messages to the service manager. */
export interface Notifier {
  ready(status: string): void;
  status(text: string): void;
  stopping(): void;
  /** Sends keep-alives at half of WATCHDOG_USEC while `isAlive` says so. */
  watchdog(isAlive: () => boolean): void;
  close(): void;
}

/** Makes the notifier of this process from its environment. */
export function makeNotifier(
  { socket, watchdogUsec, clock }: {
    readonly socket: string | undefined;
    /** WATCHDOG_USEC: microseconds as text. */
    readonly watchdogUsec: string | undefined;
    readonly clock: Clock;
  },
): Notifier {
  let cancel: Cancel = () => {};
  const send = (text: string) => {
    if (socket) sendDatagram(socket, new TextEncoder().encode(text));
  };
  return {
    ready: (status) => send(`READY=1\nSTATUS=${status}`),
    status: (text) => send(`STATUS=${text}`),
    stopping: () => send("STOPPING=1"),
    watchdog: (isAlive) => {
      const interval = Number(watchdogUsec) / 2_000;
      if (!socket || !(interval > 0)) return;
      const beat = () => {
        if (isAlive()) send("WATCHDOG=1");
        cancel = clock.after(interval, beat);
      };
      beat();
    },
    close: () => cancel(),
  };
}

/** Sends one datagram to a unix socket; a name that starts with "@" is in the abstract namespace (unix(7)). */
function sendDatagram(path: string, text: Uint8Array<ArrayBuffer>): void {
  const name = cstring(path).slice(0, -1);
  if (name.length === 0 || name.length > 107) return;
  const isAbstract = name[0] === 0x40;
  if (isAbstract) name[0] = 0;
  const address = new Uint8Array(2 + name.length + (isAbstract ? 0 : 1));
  address[0] = AF_UNIX;
  address.set(name, 2);
  const fd = libc().socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  try {
    // A manager that does not read (its queue is full) must not hold the node up.
    libc().sendto(fd, text, text.length, MSG_NOSIGNAL | MSG_DONTWAIT, address, address.length);
  } finally {
    libc().close(fd);
  }
}
