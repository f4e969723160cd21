/**
 * What a codec has to know of a session to read and write its bytes: the outcome of the capabilities exchange.
 *
 * Everything here is fixed when the session becomes Established, so it can be shared by all messages of a session.
 */

/** How the messages of one session are encoded, and how its peer stands to us. */
export interface WireOptions {
  /** The peer is in our AS (iBGP). */
  readonly isInternal: boolean;
  /** The peer is in another member AS of our confederation (RFC 5065). */
  readonly isConfederation: boolean;
  /** Both sides announced 4-octet AS numbers (RFC 6793). */
  readonly isFourOctetAs: boolean;
  /** Both sides announced extended messages (RFC 8654). */
  readonly isExtendedMessage: boolean;
  /** The AS number of the peer. */
  readonly peerAs: number;
  /** Families (mask of IPV4_UNICAST, IPV6_UNICAST) that both sides announced. */
  readonly families: number;
  /** Families in which the peer sends path identifiers to us (RFC 7911). */
  readonly addPathReceive: number;
  /** Families in which we send path identifiers to the peer. */
  readonly addPathSend: number;
  /** IPv4 routes may carry an IPv6 next hop (RFC 8950). */
  readonly isExtendedNextHop: boolean;
  /** An eBGP path must begin with the peer's AS (RFC 4271 section 6.3); off for route servers. */
  readonly mustBeginWithPeerAs: boolean;
}

/** The options of a plain iBGP session with 4-octet AS numbers in both families. */
export const PLAIN_INTERNAL: WireOptions = {
  isInternal: true,
  isConfederation: false,
  isFourOctetAs: true,
  isExtendedMessage: false,
  peerAs: 64512,
  families: 3,
  addPathReceive: 0,
  addPathSend: 0,
  isExtendedNextHop: false,
  mustBeginWithPeerAs: false,
};
