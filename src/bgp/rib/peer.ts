/** A configured peer as the router keeps it, and what is computed from its configuration and session. */

import { Cidr } from "../../lib/cidr.ts";
import { Ip } from "../../lib/ip.ts";
import type { PeerConfig, SpeakerConfig } from "../config.ts";
import { afiOf, IPV4_UNICAST, IPV6_UNICAST } from "../wire/constants.ts";
import type { ExportFacts, PathOrigin } from "./export.ts";
import type { Exporter } from "./exporter.ts";
import type { Importer } from "./import.ts";
import type { SessionFacts } from "./interface.ts";
import { isLinkLocal } from "./link_local.ts";

/** The router's record of a peer. */
export interface PeerState {
  readonly id: number;
  config: PeerConfig;
  /** Place in the order of the peers' addresses. */
  order: number;
  session: SessionFacts | undefined;
  /** Kind of session for the attribute store. */
  kind: number;
  origin: PathOrigin;
  importers: readonly [Importer, Importer] | undefined;
  exporter: Exporter | undefined;
  /** Paths that the filters let pass, counted when asked. */
  isExternal: boolean;
  routerId: number;
}

/** A dotted quad as an unsigned number; 0 when it is none. */
export function quad(text: string): number {
  const ip = Ip.tryParse(text);
  return ip?.family === 4 ? new DataView(ip.bytes.buffer, ip.bytes.byteOffset).getUint32(0) : 0;
}

/** The cluster id that is used towards a peer. */
export function clusterIdOf(config: SpeakerConfig, peer: PeerConfig): number {
  return quad(peer.clusterId ?? config.routerId);
}

/** What the peer's update group has in common. */
export function exportFacts(config: SpeakerConfig, peer: PeerConfig, session: SessionFacts): ExportFacts {
  const { wire, localAddress, localAddressOther, localLinkLocal } = session;
  const of = (size: 4 | 16, configured: string | undefined) => {
    if (localAddress.length === size) return localAddress;
    if (localAddressOther?.length === size) return localAddressOther;
    return configured ? Ip.tryParse(configured)?.bytes ?? NOTHING : NOTHING;
  };
  // Over link-local addresses next hops are link-local too. Over IPv6, those of IPv4 routes are IPv6 where agreed on (RFC 8950).
  const isUnnumbered = isLinkLocal(localAddress);
  const global6 = of(16, config.nodeAddress6);
  const isOnLink = !isUnnumbered && localLinkLocal?.length === 16 && global6.length === 16;
  return {
    isInternal: wire.isInternal,
    isConfederation: wire.isConfederation,
    rrClient: peer.rrClient && wire.isInternal,
    clusterId: clusterIdOf(config, peer),
    localAs: session.localAs,
    nextHopMode: peer.nextHopMode,
    self4: localAddress.length === 16 && wire.isExtendedNextHop ? NOTHING : of(4, config.nodeAddress4),
    self6: isOnLink ? Uint8Array.of(...global6, ...localLinkLocal) : global6,
    isExtendedNextHop: wire.isExtendedNextHop,
    hasLongLived: session.hasLongLived,
    role: wire.isInternal ? undefined : peer.role,
    shared: wire.isInternal ? undefined : networkOf(config, session.peerAddress),
  };
}

function networkOf(config: SpeakerConfig, address: Uint8Array): Cidr | undefined {
  const ip = Ip.fromBytes(address);
  return config.fib.nodeNetworks.map((text) => Cidr.tryParse(text)).find((network) => network?.contains(ip));
}

const NOTHING = new Uint8Array(0);

/** Peers with equal keys are told the same, in the same encoding. */
export function groupKey(peer: PeerConfig, facts: ExportFacts, session: SessionFacts): string {
  const { wire } = session;
  return JSON.stringify([
    { ...facts, self4: [...facts.self4], self6: [...facts.self6] },
    [wire.isFourOctetAs, wire.isExtendedMessage, wire.families, wire.addPathSend],
    [peer.exportFilters, peer.isSameAs, peer.hasCalicoRules],
  ]);
}

/** Sorts addresses: IPv4 before IPv6, then by value. */
export function compareAddresses(a: string, b: string): number {
  const x = Ip.tryParse(a), y = Ip.tryParse(b);
  if (!x || !y) return a < b ? -1 : a > b ? 1 : 0;
  return x.compare(y);
}

/** Family index (0 IPv4, 1 IPv6) to the wire's bit, and its AFI. */
export const FAMILY_BITS = [IPV4_UNICAST, IPV6_UNICAST] as const;
export const FAMILY_AFIS = FAMILY_BITS.map(afiOf);

/** What the peer is to the paths that it tells. */
export function originOf(peer: PeerState, session: SessionFacts): PathOrigin {
  const { isInternal } = session.wire;
  return { isLocal: false, isInternal, isClient: isInternal && peer.config.rrClient, routerId: session.routerId };
}

/** The parts of the configuration that routes depend on, as one text to compare: no peer that the other one lacks. */
export function policyText(config: SpeakerConfig, other: SpeakerConfig): string {
  const { peers, listen: _listen, ...rest } = config;
  const names = new Set(other.peers.map(({ name }) => name));
  const policies = peers.filter(({ name }) => names.has(name)).map((peer) => [
    peer.name,
    peer.importFilters,
    peer.exportFilters,
    peer.isSameAs,
    peer.hasCalicoRules,
    peer.allowLocalAs,
    peer.clusterId,
    peer.role,
  ]);
  return JSON.stringify([rest, policies]);
}
