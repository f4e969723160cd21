/**
 * The listening sockets: one for each configured address, kept while its address and port stay the same, tried again with
 * back-off when it cannot be opened, with the MD5 keys of all peers on it.
 */

import type { SpeakerConfig } from "../bgp/config.ts";
import type { Cancel, Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { type Accepted, listenTcp, type TcpListener } from "../linux/tcp_socket.ts";

const FIRST_RETRY = 1_000;
const LAST_RETRY = 30_000;

interface Slot {
  readonly address: string;
  readonly port: number;
  listener: TcpListener | undefined;
  error: string | undefined;
  retry: Cancel | undefined;
  wait: number;
  /** MD5 keys that the socket has, by peer address. */
  keys: Map<string, string>;
}

/** The listening sockets of the speaker. */
export interface Listeners {
  configure(config: SpeakerConfig): void;
  /** "192.0.2.1:179" of each open socket. */
  readonly open: readonly string[];
  readonly errors: readonly string[];
  close(): void;
}

/** Makes the set of sockets; each accepted connection goes to `accept`. */
export function makeListeners(
  accept: (accepted: Accepted) => void,
  { clock, log, changed }: { clock: Clock; log: Log; changed: () => void },
): Listeners {
  const slots = new Map<string, Slot>();
  let keys = new Map<string, string>();

  const open = (slot: Slot) => {
    slot.retry = undefined;
    try {
      slot.listener = listenTcp(slot.address, slot.port, accept);
      slot.error = undefined;
      slot.wait = FIRST_RETRY;
      slot.keys = new Map();
      setKeys(slot);
      log.info("Listening for BGP peers", { address: slot.address, port: slot.listener.local.port });
    } catch (error) {
      slot.error = error instanceof Error ? error.message : String(error);
      log.warn("Cannot listen for BGP peers", { address: slot.address, port: slot.port, error: slot.error });
      slot.retry = clock.after(slot.wait, () => open(slot));
      slot.wait = Math.min(LAST_RETRY, slot.wait * 2);
    }
    changed();
  };

  const setKeys = (slot: Slot) => {
    const { listener } = slot;
    if (!listener) return;
    const isV6 = slot.address.includes(":");
    for (const address of new Set([...slot.keys.keys(), ...keys.keys()])) {
      const key = keys.get(address);
      if (address.includes(":") !== isV6 || slot.keys.get(address) === key) continue;
      try {
        listener.setMd5(address, key);
        if (key === undefined) slot.keys.delete(address);
        else slot.keys.set(address, key);
      } catch (error) {
        log.error("Cannot set the TCP MD5 key of a peer", { address, error });
      }
    }
  };

  const shut = (slot: Slot) => {
    slot.retry?.();
    slot.listener?.close();
    slot.listener = undefined;
  };

  return {
    configure(config) {
      const wanted = new Map<string, { address: string; port: number }>();
      const addresses = config.listen.addresses.length > 0
        ? config.listen.addresses
        : config.families.map((family) => family === 4 ? "0.0.0.0" : "::");
      for (const address of addresses) {
        wanted.set(`${address} ${config.listen.port}`, { address, port: config.listen.port });
      }
      keys = new Map();
      for (const peer of config.peers) if (peer.password !== undefined) keys.set(peer.address, peer.password);
      for (const [key, slot] of slots) {
        if (wanted.has(key)) continue;
        shut(slot);
        slots.delete(key);
      }
      for (const [key, { address, port }] of wanted) {
        const slot = slots.get(key);
        if (slot) setKeys(slot);
        else {
          const made: Slot = {
            address,
            port,
            listener: undefined,
            error: undefined,
            retry: undefined,
            wait: FIRST_RETRY,
            keys: new Map(),
          };
          slots.set(key, made);
          open(made);
        }
      }
    },
    get open() {
      return [...slots.values()].filter((slot) => slot.listener).map(({ address, listener }) =>
        address.includes(":") ? `[${address}]:${listener?.local.port}` : `${address}:${listener?.local.port}`
      );
    },
    get errors() {
      return [...slots.values()].flatMap((slot) => slot.error === undefined ? [] : [slot.error]);
    },
    close() {
      for (const slot of slots.values()) shut(slot);
      slots.clear();
    },
  };
}
