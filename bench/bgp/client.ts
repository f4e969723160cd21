/**
 * One BGP peer of the load: brings a session up, sends octets that were made before, and keeps a bitmap of the /24 networks
 * that it was told. It checks nothing more than that, since it must not be what is measured.
 */

import { NO_CAPABILITIES } from "../../src/bgp/wire/capability.ts";
import { encodeKeepalive } from "../../src/bgp/wire/frame.ts";
import { encodeOpen } from "../../src/bgp/wire/open.ts";
import type { Transport } from "../../src/bgp/transport.ts";
import { connectTcp } from "../../src/linux/tcp_socket.ts";
import { AS, FIRST_PREFIX, SPEAKER } from "./scene.ts";

const HOLD_TIME = 180;
const HEADER = 19;
const OPEN = 1, UPDATE = 2, NOTIFICATION = 3, KEEPALIVE = 4;
const RECONNECT_MS = 100;
const PIECE = 256 * 1024;

/** A peer. */
export interface Client {
  readonly isUp: boolean;
  /** Networks that it has been told and that were not withdrawn. */
  readonly known: number;
  /** UPDATE messages that came. */
  readonly updates: number;
  /** Why the session ended, if it did after it had been up. */
  readonly lost: string | undefined;
  send(bytes: Uint8Array): void;
  close(): void;
}

/** Connects from the address and goes on until it is up. */
export function makeClient(address: string, networks: number, changed: () => void): Client {
  const buffer = new Uint8Array(256 * 1024);
  const bitmap = new Uint8Array(networks);
  const backlog: Uint8Array[] = [];
  let start = 0, end = 0, known = 0, updates = 0;
  let isUp = false, isClosed = false;
  let lost: string | undefined;
  let transport: Transport;

  const count = (at: number, to: number, isThere: number) => {
    while (at < to) {
      const length = buffer[at]!;
      const network = (buffer[at + 1]! << 16 | buffer[at + 2]! << 8 | buffer[at + 3]!) - FIRST_PREFIX;
      if (length === 24 && network >= 0 && network < networks && bitmap[network] !== isThere) {
        bitmap[network] = isThere;
        known += isThere === 1 ? 1 : -1;
      }
      at += 1 + (length + 7 >> 3);
    }
  };
  const update = (at: number, to: number) => {
    updates++;
    const withdrawn = at + 2 + (buffer[at]! << 8 | buffer[at + 1]!);
    count(at + 2, withdrawn, 0);
    count(withdrawn + 2 + (buffer[withdrawn]! << 8 | buffer[withdrawn + 1]!), to, 1);
  };
  const message = (type: number, at: number, to: number) => {
    if (type === UPDATE) return update(at, to);
    if (type === OPEN) transport.write(encodeKeepalive());
    else if (type === KEEPALIVE) isUp = true;
    else if (type === NOTIFICATION) lost = `NOTIFICATION ${buffer[at]}/${buffer[at + 1]}`;
  };
  /** The transport keeps a few megabytes at most, so it gets the next piece when the kernel has taken the last one. */
  const flush = () => {
    while (backlog.length > 0 && transport.pending === 0) transport.write(backlog.shift()!);
  };
  const connect = () => {
    start = end = 0;
    transport = connectTcp(SPEAKER, 179, { localAddress: address }, {
      connected() {
        const capabilities = { ...NO_CAPABILITIES, families: 1, as4: AS };
        const [, , high = 0, low = 0] = address.split(".").map(Number);
        transport.write(encodeOpen({ as: AS, holdTime: HOLD_TIME, id: 0x0a620000 + high * 256 + low, capabilities }));
      },
      room() {
        buffer.copyWithin(0, start, end);
        end -= start;
        start = 0;
        return buffer.subarray(end);
      },
      received(octets) {
        end += octets;
        while (end - start >= HEADER) {
          const length = buffer[start + 16]! << 8 | buffer[start + 17]!;
          if (end - start < length) break;
          message(buffer[start + 18]!, start + HEADER, start + length);
          start += length;
        }
        changed();
      },
      writable() {
        flush();
      },
      closed(reason) {
        if (isClosed) return;
        if (isUp) {
          lost ??= reason;
          changed();
        } else setTimeout(connect, RECONNECT_MS);
      },
    });
  };
  connect();
  return {
    get isUp() {
      return isUp;
    },
    get known() {
      return known;
    },
    get updates() {
      return updates;
    },
    get lost() {
      return lost;
    },
    send(bytes) {
      for (let at = 0; at < bytes.length; at += PIECE) backlog.push(bytes.subarray(at, at + PIECE));
      flush();
    },
    close() {
      isClosed = true;
      transport.close();
    },
  };
}
