/**
 * MRT files: a dump of the whole table on demand, and a log of every message and state change while one is recorded.
 *
 * Both write in the speaker's thread without holding it up: the dump is made piece by piece, each written before the next is
 * made; the log is collected and written when the event loop is idle. A disk that is too slow for the log costs records, which
 * are counted, and never a session. A dump appears under its name only when it is whole.
 */

import { dumpTable } from "../bgp/mrt/snapshot.ts";
import { MRT_STATES, type MrtSession, putMessage, putStateChange } from "../bgp/mrt/record.ts";
import type { RouterCore } from "../bgp/rib/router.ts";
import { HEADER_LENGTH, MSG_UPDATE } from "../bgp/wire/constants.ts";
import { putHeader } from "../bgp/wire/frame.ts";
import { ByteWriter } from "../lib/bytes.ts";
import type { Clock } from "../lib/clock.ts";
import { Ip } from "../lib/ip.ts";
import type { Log } from "../lib/log.ts";
import type { SessionTap, TapLink, TapPeer, Taps } from "./tap.ts";

/** Octets of the log that may wait for the disk. */
const MAX_WAITING = 16 << 20;
/** Milliseconds that records are collected for. */
const WRITE_DELAY = 100;
/** A dump that takes so many pieces lets the event loop run in between. */
const MS_PER_TURN = 5;

/** The result of a dump. */
export interface DumpResult {
  readonly path: string;
  readonly octets: number;
}

/** MRT beside the speaker. */
export interface Mrt {
  /** Writes the whole table to a file, which is replaced if it is there; rejects with what went wrong. */
  dump(path: string): Promise<DumpResult>;
  /** Begins to append what passes to a file, or ends it when left out; rejects when the file cannot be opened. */
  record(path: string | undefined): Promise<{ readonly recording: string | null }>;
  close(): Promise<void>;
}

/** Makes MRT that writes nothing yet. */
export function makeMrt(
  { router, taps, clock, log }: { router: RouterCore; taps: Taps; clock: Clock; log: Log },
): Mrt {
  let recorder: Recorder | undefined;

  const stop = async () => {
    const last = recorder;
    recorder = undefined;
    await last?.close();
  };

  return {
    async dump(path) {
      const part = `${path}.part`;
      const file = await Deno.open(part, { write: true, create: true, truncate: true, mode: 0o600 });
      let octets = 0;
      try {
        router.settle();
        let turn = clock.monotonic();
        for (const piece of dumpTable(router, Math.floor(clock.wall() / 1000))) {
          await writeAll(file, piece);
          octets += piece.length;
          if (clock.monotonic() - turn < MS_PER_TURN) continue;
          await new Promise<void>((resolve) => clock.after(0, resolve));
          turn = clock.monotonic();
        }
        await file.sync();
        await Deno.rename(part, path);
      } catch (error) {
        await Deno.remove(part).catch(() => {});
        throw error;
      } finally {
        file.close();
      }
      return { path, octets };
    },
    async record(path) {
      await stop();
      if (path !== undefined) {
        const file = await Deno.open(path, { append: true, create: true, mode: 0o600 });
        recorder = makeRecorder(file, { taps, clock, log: log.with({ file: path }) });
      }
      return { recording: path ?? null };
    },
    close: stop,
  };
}

interface Recorder {
  close(): Promise<void>;
}

function makeRecorder(file: Deno.FsFile, { taps, clock, log }: { taps: Taps; clock: Clock; log: Log }): Recorder {
  let out = new ByteWriter(64 * 1024);
  let lost = 0;
  let isClosed = false;
  let writing: Promise<void> | undefined;
  let isScheduled = false;

  const flush = async () => {
    while (out.length > 0) {
      const full = out;
      out = new ByteWriter(64 * 1024);
      try {
        await writeAll(file, full.view());
      } catch (error) {
        log.error("Cannot write the MRT log; the recording ends", { error });
        end();
        return;
      }
    }
  };
  const end = () => {
    if (isClosed) return;
    isClosed = true;
    untap();
    file.close();
  };
  const schedule = () => {
    if (isScheduled || isClosed) return;
    isScheduled = true;
    clock.after(WRITE_DELAY, () => {
      isScheduled = false;
      if (isClosed) return;
      writing ??= flush().finally(() => {
        writing = undefined;
        if (out.length > 0) schedule();
      });
    });
  };
  const put = (write: (to: ByteWriter) => void) => {
    if (isClosed) return;
    if (out.length > MAX_WAITING) {
      if (lost++ === 0) log.warn("The disk is too slow for the MRT log: records are lost", {});
      return;
    }
    if (lost > 0) log.warn("The MRT log goes on", { lost });
    lost = 0;
    write(out);
    schedule();
  };

  const putBgp = (peer: TapPeer, isSent: boolean, bytes: Uint8Array) => {
    const { link } = peer;
    // OPENs before both sides have agreed have nothing in them that depends on the agreement.
    const isFourOctetAs = link?.wire.isFourOctetAs ?? true;
    const hasPathIds = (isSent ? link?.wire.addPathSend : link?.wire.addPathReceive) ? true : false;
    put((to) => putMessage(to, clock.wall(), sessionOf(peer), { isSent, isFourOctetAs, hasPathIds, bytes }));
  };
  const tap: SessionTap = {
    update(peer, _link, body) {
      const message = new Uint8Array(HEADER_LENGTH + body.length);
      putHeader(message, 0, message.length, MSG_UPDATE);
      message.set(body, HEADER_LENGTH);
      putBgp(peer, false, message);
    },
    sent(peer, _link, messages) {
      for (let at = 0; at + HEADER_LENGTH <= messages.length;) {
        const length = (messages[at + 16] ?? 0) << 8 | (messages[at + 17] ?? 0);
        if (length < HEADER_LENGTH) return;
        putBgp(peer, true, messages.subarray(at, at + length));
        at += length;
      }
    },
    message: putBgp,
    state(peer, from, to) {
      const [old, now] = [MRT_STATES[from as keyof typeof MRT_STATES], MRT_STATES[to as keyof typeof MRT_STATES]];
      if (old && now) put((out) => putStateChange(out, clock.wall(), sessionOf(peer), old, now));
    },
  };
  const untap = taps.add(tap);

  return {
    async close() {
      untap();
      await writing;
      if (!isClosed) await flush();
      end();
    },
  };
}

/** Both ends; of a session that is not up only the peer's address is known. */
function sessionOf({ as, localAs, address, link }: TapPeer): MrtSession {
  const peerAddress = link?.remote.address ?? Ip.tryParse(address.split("%")[0] ?? "")?.bytes ?? new Uint8Array(4);
  return {
    peerAs: as,
    localAs,
    peerAddress,
    localAddress: sameFamily(link, peerAddress) ?? new Uint8Array(peerAddress.length),
  };
}

function sameFamily(link: TapLink | undefined, address: Uint8Array): Uint8Array | undefined {
  return link?.local.address.length === address.length ? link.local.address : undefined;
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
}
