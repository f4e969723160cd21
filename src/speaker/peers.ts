/**
 * All peers: reconciles sessions with the configuration and finds the peer of an incoming connection.
 *
 * Only what changed is touched: a session whose transport part is the same goes on, one that is gone is closed with
 * Cease/Peer De-configured, one whose transport part changed with Cease/Other Configuration Change and made anew.
 * Unknown callers are refused at once and logged at most once a minute.
 */

import type { PeerConfig, SpeakerConfig } from "../bgp/config.ts";
import type { SessionFacts } from "../bgp/rib/interface.ts";
import { CEASE_CONFIG_CHANGE, CEASE_DECONFIGURED, CEASE_SHUTDOWN } from "../bgp/wire/notification.ts";
import { SyscallError } from "../linux/libc.ts";
import { type Accepted, adoptTcp, connectTcp, refuseTcp, setHops } from "../linux/tcp_socket.ts";
import { parseAddress } from "../linux/tcp_address.ts";
import { addressText, makePeer, type Peer, type PeerSurroundings } from "./peer.ts";
import { hopsFor, sessionKey, tcpOptionsFor } from "./session_config.ts";

const REFUSAL_LOG_INTERVAL = 60_000;

/** The peers of the speaker. */
export interface Peers {
  /** Ends the sessions that are not wanted any more; call it before the router is configured. */
  prepare(config: SpeakerConfig): void;
  /** Makes the sessions that are missing; call it after the router was configured. */
  apply(config: SpeakerConfig): void;
  accept(accepted: Accepted): void;
  readonly all: Iterable<Peer>;
  byName(nameOrAddress: string): Peer | undefined;
  /** Closes all sessions. */
  close(subcode: number, words?: string, isSilent?: boolean): void;
}

type Around = Omit<PeerSurroundings, "connect"> & {
  /** Somebody without a peer connects; true when there is one now. */
  welcome(address: Uint8Array, ifindex: number): boolean;
  localAddresses(address: Uint8Array): Pick<SessionFacts, "localAddressOther" | "localLinkLocal">;
};

/** Makes an empty set of peers. */
export function makePeers(around: Around): Peers {
  const { log, clock } = around;
  const peers = new Map<string, { readonly peer: Peer; readonly key: string }>();
  let refusals = 0;
  let refusalsLogged = -Infinity;

  const make = (config: PeerConfig, speaker: SpeakerConfig): Peer => {
    const peer: Peer = makePeer(config, speaker, {
      ...around,
      connect: (sink) => connectTcp(config.address, config.port, tcpOptionsFor(config), sink),
    });
    return peer;
  };

  const refuse = (accepted: Accepted, why: string) => {
    refuseTcp(accepted);
    refusals++;
    const now = clock.monotonic();
    if (now - refusalsLogged < REFUSAL_LOG_INTERVAL) return;
    refusalsLogged = now;
    log.warn("Refused a BGP connection", { address: addressText(accepted.remote.address), why, refusals });
  };

  /** The peer of that address; of several the one that has our end of the connection as its source. */
  const find = ({ remote, local }: Accepted): Peer | undefined => {
    const address = addressText(remote.address);
    const ours = addressText(local.address);
    let found: Peer | undefined;
    for (const { peer } of peers.values()) {
      if (peer.config.address.split("%")[0] !== address) continue;
      // Link-local addresses are told apart by their link.
      if (remote.scopeId !== undefined && parseAddress(peer.config.address).scopeId !== remote.scopeId) continue;
      if (peer.config.sourceAddress === ours) return peer;
      found ??= peer;
    }
    return found;
  };

  return {
    prepare(config) {
      const wanted = new Map(config.peers.map((peer) => [peer.name, peer]));
      for (const [name, { peer, key }] of peers) {
        const next = wanted.get(name);
        if (next && sessionKey(next, config) === key) continue;
        if (next?.shutdown !== undefined) peer.close(CEASE_SHUTDOWN, next.shutdown);
        else peer.close(next ? CEASE_CONFIG_CHANGE : CEASE_DECONFIGURED);
        peers.delete(name);
      }
    },
    apply(config) {
      for (const peer of config.peers) {
        const old = peers.get(peer.name);
        if (old) old.peer.reconfigure(peer);
        else peers.set(peer.name, { peer: make(peer, config), key: sessionKey(peer, config) });
      }
    },
    accept(accepted) {
      const { address, scopeId = 0 } = accepted.remote;
      const peer = find(accepted) ?? (around.welcome(address, scopeId) ? find(accepted) : undefined);
      if (!peer) return refuse(accepted, "no such peer");
      try {
        setHops(accepted.fd, accepted.remote.address.length === 16, hopsFor(peer.config));
      } catch (error) {
        if (!(error instanceof SyscallError)) throw error;
        return refuse(accepted, error.message);
      }
      peer.session.accept((sink) => adoptTcp(accepted, sink));
    },
    get all() {
      return [...peers.values()].map(({ peer }) => peer);
    },
    byName(nameOrAddress) {
      const named = peers.get(nameOrAddress);
      if (named) return named.peer;
      for (const { peer } of peers.values()) if (peer.config.address === nameOrAddress) return peer;
      return undefined;
    },
    close(subcode, words, isSilent) {
      for (const { peer } of peers.values()) peer.close(subcode, words, isSilent);
      peers.clear();
    },
  };
}
