/**
 * What two OPEN messages make of a session: the checks of RFC 4271 6.2, 6286, 5492 and 9234, then the lesser of each
 * announced ability.
 */

import { type Capabilities, ROLE_CONFLICT } from "../wire/capability.ts";
import { type Fault, reset } from "../wire/fault.ts";
import type { OpenMessage } from "../wire/open.ts";
import type { WireOptions } from "../wire/options.ts";

/** Our side of a session. */
export interface LocalSide {
  /** Our AS towards this peer. */
  readonly as: number;
  readonly id: number;
  /** Seconds: 0, or 3 and more. */
  readonly holdTime: number;
  /** Seconds; a third of the negotiated hold time when left out. */
  readonly keepaliveTime?: number;
  /** The AS that the peer must have. */
  readonly peerAs: number;
  /** The peer is in another member AS of our confederation. */
  readonly isConfederation: boolean;
  readonly capabilities: Capabilities;
  /** An eBGP path must begin with the peer's AS. */
  readonly mustBeginWithPeerAs: boolean;
  /** Without the peer's role there is no session (RFC 9234 strict mode). */
  readonly isRoleStrict?: boolean;
}

/** The outcome. Times in seconds; 0 means that no hold timer runs. */
export interface Negotiated {
  readonly wire: WireOptions;
  readonly holdTime: number;
  readonly keepaliveTime: number;
  readonly peerId: number;
  readonly hasRouteRefresh: boolean;
  readonly hasEnhancedRouteRefresh: boolean;
  /** What the peer announced, for graceful restart and for people. */
  readonly peer: Capabilities;
  /** We win a collision with our outgoing connection (RFC 4271 6.8, 6286: higher id, then higher AS). */
  readonly isOurIdHigher: boolean;
}

const OPEN_ERROR = 2;
const PROVIDER = 0;
const ROUTE_SERVER = 1;
const ROUTE_SERVER_CLIENT = 2;
const CUSTOMER = 3;
const PEER = 4;
const COUNTERPART: Readonly<Record<number, number>> = {
  [PROVIDER]: CUSTOMER,
  [CUSTOMER]: PROVIDER,
  [ROUTE_SERVER]: ROUTE_SERVER_CLIENT,
  [ROUTE_SERVER_CLIENT]: ROUTE_SERVER,
  [PEER]: PEER,
};

/** Compares the peer's OPEN with our side: what the session will be, or the fault that ends it. */
export function negotiate(local: LocalSide, open: OpenMessage): Negotiated | Fault {
  const mine = local.capabilities;
  const theirs = open.capabilities;
  if (open.as !== local.peerAs) {
    const data = open.as > 0xffff ? u32(open.as) : Uint8Array.of(open.as >> 8, open.as & 255);
    return reset(OPEN_ERROR, 2, `peer has AS ${open.as}, AS ${local.peerAs} is configured`, data);
  }
  const isInternal = local.as === local.peerAs;
  if (open.id === local.id && isInternal) {
    return reset(OPEN_ERROR, 3, "peer has our own BGP identifier", u32(open.id));
  }
  const roleFault = isInternal ? undefined : checkRole(local, theirs);
  if (roleFault) return roleFault;
  const families = mine.families & theirs.families;
  if (families === 0) return reset(OPEN_ERROR, 7, "no address family in common");
  const holdTime = Math.min(local.holdTime, open.holdTime);
  const third = Math.max(1, Math.floor(holdTime / 3));
  return {
    wire: {
      isInternal,
      isConfederation: local.isConfederation && !isInternal,
      isFourOctetAs: mine.as4 !== undefined && theirs.as4 !== undefined,
      isExtendedMessage: mine.extendedMessage && theirs.extendedMessage,
      peerAs: open.as,
      families,
      addPathReceive: mine.addPathReceive & theirs.addPathSend & families,
      addPathSend: mine.addPathSend & theirs.addPathReceive & families,
      isExtendedNextHop: mine.extendedNextHop && theirs.extendedNextHop,
      mustBeginWithPeerAs: local.mustBeginWithPeerAs,
    },
    holdTime,
    keepaliveTime: holdTime === 0 ? 0 : Math.min(local.keepaliveTime ?? third, third),
    peerId: open.id,
    hasRouteRefresh: mine.routeRefresh && theirs.routeRefresh,
    hasEnhancedRouteRefresh: mine.enhancedRouteRefresh && theirs.enhancedRouteRefresh,
    peer: theirs,
    isOurIdHigher: local.id !== open.id ? local.id > open.id : local.as > open.as,
  };
}

function checkRole(local: LocalSide, theirs: Capabilities): Fault | undefined {
  const ours = local.capabilities.role;
  if (theirs.role === ROLE_CONFLICT) return reset(OPEN_ERROR, 11, "peer announces several roles");
  if (ours === undefined) return undefined;
  if (theirs.role === undefined) {
    return local.isRoleStrict ? reset(OPEN_ERROR, 11, "peer announces no role") : undefined;
  }
  return COUNTERPART[ours] === theirs.role
    ? undefined
    : reset(OPEN_ERROR, 11, `peer's role ${theirs.role} does not go with our role ${ours}`);
}

function u32(value: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}
