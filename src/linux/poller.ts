/**
 * Waiting for file descriptors that Deno does not know: one epoll set for the thread, with one `epoll_wait` parked on a
 * thread of the FFI pool however many descriptors are watched (epoll(7)). An eventfd wakes it when the last one goes.
 *
 * A descriptor is reported once and then rests until `rearm`, so that its owner can wait and read much at a time; or, for
 * sockets that are read at once, as long as it is ready (`isLevel`). Before parking again we look without waiting, because
 * a parked call costs fifty times a plain one, and after each look `onRound` runs: the place to act on all that came in.
 */

import { checked, libc } from "./libc.ts";

export const EPOLLIN = 0x1;
export const EPOLLOUT = 0x4;
const EPOLLONESHOT = 0x40000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
const EPOLL_CLOEXEC = 0o2000000;
const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;
const MAX_EVENTS = 256;
/** Looks without waiting, and milliseconds, before the event loop gets its turn. */
const MAX_LOOKS = 16;
const MAX_TURN = 10;
/** Milliseconds of work after which timers get a turn for certain: a flood of reports must not hold keepalives up. */
const MAX_UNTIMED = 50;
/** struct epoll_event is packed on amd64 only: u32 events, then u64 data. */
const EVENT_BYTES = Deno.build.arch === "x86_64" ? 12 : 16;
const DATA_AT = EVENT_BYTES - 8;

/** A descriptor under watch. */
export interface Watched {
  /** Reports it again once it is ready; `events` are EPOLLIN and EPOLLOUT, as before when left out. */
  rearm(events?: number): void;
  /** Ends the watch; call it before closing the descriptor. */
  stop(): void;
}

interface Poller {
  readonly epoll: number;
  readonly wake: number;
  readonly watched: Map<number, (events: number) => void>;
}

let poller: Poller | undefined;
const roundEnds = new Set<() => void>();

/** Calls `end` after each round of reports; returns how to stop. */
export function onRound(end: () => void): () => void {
  roundEnds.add(end);
  return () => void roundEnds.delete(end);
}

/**
 * Calls `ready` with EPOLL* bits once when the descriptor is ready for one of the events, or with `isLevel` as long as it
 * is. Throws `SyscallError`.
 */
export function watchDescriptor(
  fd: number,
  events: number,
  ready: (events: number) => void,
  { isLevel = false } = {},
): Watched {
  const mine = poller ??= start();
  const once = isLevel ? 0 : EPOLLONESHOT;
  control(mine, EPOLL_CTL_ADD, fd, events | once);
  mine.watched.set(fd, ready);
  let wanted = events;
  let isWatched = true;
  return {
    rearm(changed = wanted) {
      wanted = changed;
      if (isWatched) control(mine, EPOLL_CTL_MOD, fd, wanted | once);
    },
    stop() {
      if (!isWatched) return;
      isWatched = false;
      mine.watched.delete(fd);
      control(mine, EPOLL_CTL_DEL, fd, 0);
      if (mine.watched.size === 0) {
        checked("wake epoll", libc().write(mine.wake, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0), 8));
      }
    },
  };
}

function start(): Poller {
  const epoll = checked("make an epoll set", libc().epoll_create1(EPOLL_CLOEXEC));
  const wake = checked("make an eventfd", libc().eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  const made: Poller = { epoll, wake, watched: new Map() };
  control(made, EPOLL_CTL_ADD, wake, EPOLLIN);
  // Nothing waits for this loop; what throws in a `ready` is our own fault and ends the process.
  void run(made);
  return made;
}

async function run(mine: Poller): Promise<void> {
  const { epoll, wake, watched } = mine;
  const events = new Uint8Array(MAX_EVENTS * EVENT_BYTES);
  const view = new DataView(events.buffer);
  const wakeCount = new Uint8Array(8);
  let timed = performance.now();
  for (;;) {
    if (performance.now() - timed > MAX_UNTIMED) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      timed = performance.now();
    }
    const parked = performance.now();
    // -1 can only mean EINTR here; errno belongs to the other thread.
    let count = await libc().epoll_wait_parked(epoll, events, MAX_EVENTS, -1);
    const begun = performance.now();
    // Nothing was ready for a while, so timers have had their turn.
    if (begun - parked > 1) timed = begun;
    for (let looks = 0; count > 0; looks++) {
      for (let i = 0; i < count; i++) {
        const fd = view.getInt32(i * EVENT_BYTES + DATA_AT, true);
        if (fd === wake) libc().read(wake, wakeCount, 8);
        else watched.get(fd)?.(view.getUint32(i * EVENT_BYTES, true));
      }
      for (const end of roundEnds) end();
      if (looks === MAX_LOOKS || watched.size === 0 || performance.now() - begun > MAX_TURN) break;
      count = libc().epoll_wait(epoll, events, MAX_EVENTS, 0);
    }
    if (watched.size === 0) break;
  }
  if (poller === mine) poller = undefined;
  libc().close(wake);
  libc().close(epoll);
}

function control({ epoll }: Poller, operation: number, fd: number, events: number): void {
  const event = new DataView(new ArrayBuffer(EVENT_BYTES));
  event.setUint32(0, events, true);
  event.setInt32(DATA_AT, fd, true);
  checked("change an epoll set", libc().epoll_ctl(epoll, operation, fd, new Uint8Array(event.buffer)));
}
