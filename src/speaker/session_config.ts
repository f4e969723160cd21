/**
 * From a peer's configuration to its state machine and its sockets. What is in `sessionKey` cannot change under a running
 * session; everything else (filters, reflection, next hop mode) is the router's and changes without a reset.
 */

import { DEFAULT_RESTART_TIME, type PeerConfig, type SpeakerConfig } from "../bgp/config.ts";
import { DEFAULT_TIMES, type FsmConfig } from "../bgp/fsm/state.ts";
import { announcedRestart } from "../bgp/session/graceful_restart.ts";
import { type Capabilities, type LongLived, NO_CAPABILITIES } from "../bgp/wire/capability.ts";
import { IPV4_UNICAST, IPV6_UNICAST } from "../bgp/wire/constants.ts";
import { Ip } from "../lib/ip.ts";
import type { TcpOptions } from "../linux/tcp_socket.ts";

const MAX_TTL = 255;
const ROLES = { "provider": 0, "rs": 1, "rs-client": 2, "customer": 3, "peer": 4 } as const;

/** A dotted quad as an unsigned number; throws SyntaxError. */
export function parseRouterId(text: string): number {
  const [a = 0, b = 0, c = 0, d = 0] = Ip.parse(text).bytes;
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
}

/** An unsigned number as a dotted quad. */
export function formatRouterId(id: number): string {
  return Ip.fromNumber(id).toString();
}

/** What we announce to the peer. */
export function capabilitiesFor(peer: PeerConfig, config: SpeakerConfig): Capabilities {
  let families = 0;
  for (const family of peer.families) families |= family === 4 ? IPV4_UNICAST : IPV6_UNICAST;
  const role = peer.role === undefined || peer.as === peer.localAs ? undefined : ROLES[peer.role];
  return {
    ...NO_CAPABILITIES,
    families,
    routeRefresh: true,
    enhancedRouteRefresh: true,
    extendedMessage: true,
    as4: peer.localAs,
    role,
    // IPv4 routes over an IPv6 session (RFC 8950).
    extendedNextHop: peer.address.includes(":") && peer.families.includes(4),
    addPathSend: peer.addPaths === "send" || peer.addPaths === "both" ? families : 0,
    addPathReceive: peer.addPaths === "receive" || peer.addPaths === "both" ? families : 0,
    gracefulRestart: announcedRestart(peer.gracefulRestartTime ?? DEFAULT_RESTART_TIME, families),
    longLived: longLivedFor(peer, families),
    fqdn: config.nodeName === "" ? undefined : { host: config.nodeName, domain: "" },
  };
}

function longLivedFor({ longLivedRestart: time = 0 }: PeerConfig, families: number): LongLived[] {
  const bits = time > 0 ? [IPV4_UNICAST, IPV6_UNICAST].filter((bit) => (families & bit) !== 0) : [];
  return bits.map((family) => ({ family, time, isForwarding: true }));
}

/** The state machine's configuration. */
export function fsmConfigFor(peer: PeerConfig, config: SpeakerConfig): FsmConfig {
  return {
    ...DEFAULT_TIMES,
    isPassive: peer.passive,
    ...(peer.idleHold === undefined ? {} : { idleHold: peer.idleHold * 1000 }),
    local: {
      as: peer.localAs,
      id: parseRouterId(config.routerId),
      holdTime: peer.holdTime,
      keepaliveTime: peer.keepaliveTime,
      peerAs: peer.as,
      isConfederation: false,
      capabilities: capabilitiesFor(peer, config),
      mustBeginWithPeerAs: false,
      ...(peer.isRoleStrict ? { isRoleStrict: true } : {}),
    },
  };
}

/** TTL of what we send and accept: GTSM where it is asked for, one hop to a neighbour of another AS. */
export function hopsFor(peer: PeerConfig): Pick<TcpOptions, "ttl" | "minTtl"> {
  if (peer.ttlSecurityHops !== undefined) return { ttl: MAX_TTL, minTtl: MAX_TTL + 1 - peer.ttlSecurityHops };
  return peer.multihop || peer.as === peer.localAs ? {} : { ttl: 1 };
}

/** The options of a connection to the peer. */
export function tcpOptionsFor(peer: PeerConfig): TcpOptions {
  return { ...hopsFor(peer), localAddress: peer.sourceAddress, md5Key: peer.password };
}

/** Equal keys mean that a running session can stay. */
export function sessionKey(peer: PeerConfig, config: SpeakerConfig): string {
  const { name: _name, ...fsm } = { name: peer.name, ...fsmConfigFor(peer, config) };
  return JSON.stringify([
    peer.address,
    peer.port,
    peer.interface,
    peer.gracefulRestartTime,
    peer.shutdown,
    fsm,
    tcpOptionsFor(peer),
  ]);
}
