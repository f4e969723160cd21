/**
 * Numbers of BGP-4 by the names that the RFCs and IANA's registry give them.
 *
 * RFC 4271 (messages, attributes), 4760 (AFI, SAFI), 5492 and followers (capabilities). Address families that tortie
 * speaks are bits of a mask, so that "which families" is one number in the hot path.
 */

/** Octets of the message header: marker 16, length 2, type 1. */
export const HEADER_LENGTH = 19;
/** Largest message without RFC 8654. */
export const MAX_MESSAGE = 4096;
/** Largest message with RFC 8654; OPEN and KEEPALIVE stay at 4096. */
export const MAX_EXTENDED_MESSAGE = 65535;

export const MSG_OPEN = 1;
export const MSG_UPDATE = 2;
export const MSG_NOTIFICATION = 3;
export const MSG_KEEPALIVE = 4;
export const MSG_ROUTE_REFRESH = 5;

export const AFI_IPV4 = 1;
export const AFI_IPV6 = 2;
export const SAFI_UNICAST = 1;

/** Bits of a family mask. */
export const IPV4_UNICAST = 1;
export const IPV6_UNICAST = 2;

/** The mask bit of a family, or 0 when tortie does not speak it. */
export function familyBit(afi: number, safi: number): number {
  if (safi !== SAFI_UNICAST) return 0;
  return afi === AFI_IPV4 ? IPV4_UNICAST : afi === AFI_IPV6 ? IPV6_UNICAST : 0;
}

/** The AFI of one family bit. */
export function afiOf(bit: number): number {
  return bit === IPV4_UNICAST ? AFI_IPV4 : AFI_IPV6;
}

export const ATTR_FLAG_OPTIONAL = 0x80;
export const ATTR_FLAG_TRANSITIVE = 0x40;
export const ATTR_FLAG_PARTIAL = 0x20;
export const ATTR_FLAG_EXTENDED = 0x10;

export const ATTR_ORIGIN = 1;
export const ATTR_AS_PATH = 2;
export const ATTR_NEXT_HOP = 3;
export const ATTR_MULTI_EXIT_DISC = 4;
export const ATTR_LOCAL_PREF = 5;
export const ATTR_ATOMIC_AGGREGATE = 6;
export const ATTR_AGGREGATOR = 7;
export const ATTR_COMMUNITIES = 8;
export const ATTR_ORIGINATOR_ID = 9;
export const ATTR_CLUSTER_LIST = 10;
export const ATTR_MP_REACH_NLRI = 14;
export const ATTR_MP_UNREACH_NLRI = 15;
export const ATTR_EXTENDED_COMMUNITIES = 16;
export const ATTR_AS4_PATH = 17;
export const ATTR_AS4_AGGREGATOR = 18;
export const ATTR_LARGE_COMMUNITIES = 32;
export const ATTR_ONLY_TO_CUSTOMER = 35;

export const ORIGIN_IGP = 0;
export const ORIGIN_EGP = 1;
export const ORIGIN_INCOMPLETE = 2;

export const AS_SET = 1;
export const AS_SEQUENCE = 2;
export const AS_CONFED_SEQUENCE = 3;
export const AS_CONFED_SET = 4;

/** Stands for an AS number above 65535 towards a 2-octet speaker (RFC 6793). */
export const AS_TRANS = 23456;

export const CAP_MULTIPROTOCOL = 1;
export const CAP_ROUTE_REFRESH = 2;
export const CAP_EXTENDED_NEXT_HOP = 5;
export const CAP_EXTENDED_MESSAGE = 6;
export const CAP_BGPSEC = 7;
export const CAP_ROLE = 9;
export const CAP_GRACEFUL_RESTART = 64;
export const CAP_FOUR_OCTET_AS = 65;
export const CAP_ADD_PATH = 69;
export const CAP_ENHANCED_ROUTE_REFRESH = 70;
export const CAP_LONG_LIVED_GRACEFUL_RESTART = 71;
export const CAP_FQDN = 73;
/** The number that Cisco used for route refresh before RFC 2918. */
export const CAP_ROUTE_REFRESH_CISCO = 128;

/** Well-known communities (RFC 1997, 3765, 7999, 8326). */
export const COMMUNITY_GRACEFUL_SHUTDOWN = 0xffff0000;
export const COMMUNITY_LLGR_STALE = 0xffff0006;
export const COMMUNITY_NO_LLGR = 0xffff0007;
export const COMMUNITY_BLACKHOLE = 0xffff029a;
export const COMMUNITY_NO_EXPORT = 0xffffff01;
export const COMMUNITY_NO_ADVERTISE = 0xffffff02;
export const COMMUNITY_NO_EXPORT_SUBCONFED = 0xffffff03;
export const COMMUNITY_NO_PEER = 0xffffff04;
