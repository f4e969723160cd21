/**
 * Capabilities of an OPEN message (RFC 5492): what a speaker says it can do, as one value.
 *
 *   code 1 | length 1 | value        inside of an optional parameter of type 2
 *
 * A capability that we do not know, or whose value has a wrong length, counts as not announced (RFC 5492 section 5: a
 * session must not fail for it); its code is kept for `bgp peers`. Without any multiprotocol capability a speaker speaks
 * IPv4 unicast.
 */

import { ByteReader, ByteWriter } from "../../lib/bytes.ts";
import * as c from "./constants.ts";

/** Graceful restart (RFC 4724, 8538). Masks are of family bits. */
export interface GracefulRestart {
  /** R: the speaker has restarted. */
  readonly isRestarting: boolean;
  /** N: a NOTIFICATION keeps the routes too (RFC 8538). */
  readonly isNotification: boolean;
  /** Seconds, 0 to 4095. */
  readonly time: number;
  readonly families: number;
  /** F: forwarding state was kept in these families. */
  readonly forwarding: number;
}

/** Long-lived graceful restart of one family (RFC 9494); `time` in seconds, 24 bits. */
export interface LongLived {
  readonly family: number;
  readonly isForwarding: boolean;
  readonly time: number;
}

/** What one side announces. Masks are of family bits. */
export interface Capabilities {
  readonly families: number;
  readonly routeRefresh: boolean;
  readonly enhancedRouteRefresh: boolean;
  readonly extendedMessage: boolean;
  /** IPv4 unicast with IPv6 next hops (RFC 8950). */
  readonly extendedNextHop: boolean;
  /** The 4-octet AS number; absent from a 2-octet speaker. */
  readonly as4?: number;
  /** Role (RFC 9234): 0 provider, 1 route server, 2 its client, 3 customer, 4 peer. */
  readonly role?: number;
  readonly addPathSend: number;
  readonly addPathReceive: number;
  readonly gracefulRestart?: GracefulRestart;
  readonly longLived: readonly LongLived[];
  /** The long-lived capability was there, be it for no family: its speaker knows what stale paths are. */
  readonly knowsLongLived?: boolean;
  readonly fqdn?: { readonly host: string; readonly domain: string };
  /** Codes that we do not know or could not read. */
  readonly unknown: readonly number[];
}

/** The role of a peer that announces several different ones. */
export const ROLE_CONFLICT = 256;

/** Nothing announced. */
export const NO_CAPABILITIES: Capabilities = {
  families: 0,
  routeRefresh: false,
  enhancedRouteRefresh: false,
  extendedMessage: false,
  extendedNextHop: false,
  addPathSend: 0,
  addPathReceive: 0,
  longLived: [],
  unknown: [],
};

/** Capabilities while an OPEN is read; the lists are its own. */
export type CapabilitiesDraft = { -readonly [K in keyof Capabilities]: Capabilities[K] } & { unknown: number[] };

const KNOWN_CODES: readonly number[] = [
  c.CAP_MULTIPROTOCOL,
  c.CAP_ROUTE_REFRESH,
  c.CAP_EXTENDED_NEXT_HOP,
  c.CAP_EXTENDED_MESSAGE,
  c.CAP_ROLE,
  c.CAP_GRACEFUL_RESTART,
  c.CAP_FOUR_OCTET_AS,
  c.CAP_ADD_PATH,
  c.CAP_ENHANCED_ROUTE_REFRESH,
  c.CAP_LONG_LIVED_GRACEFUL_RESTART,
  c.CAP_FQDN,
  c.CAP_ROUTE_REFRESH_CISCO,
];

/** Whether `readCapability` reads the value; the others only count as unknown. */
export function isKnownCapability(code: number): boolean {
  return KNOWN_CODES.includes(code);
}

/** Notes a code that we do not know, once. */
export function noteUnknown(code: number, draft: CapabilitiesDraft): void {
  if (!draft.unknown.includes(code)) draft.unknown.push(code);
}

/** Reads one capability into the draft; a wrong length makes it an unknown one. */
export function readCapability(code: number, value: Uint8Array, draft: CapabilitiesDraft): void {
  if (!readKnown(code, new ByteReader(value), draft)) noteUnknown(code, draft);
}

function readKnown(code: number, value: ByteReader, draft: CapabilitiesDraft): boolean {
  switch (code) {
    case c.CAP_MULTIPROTOCOL: {
      if (value.left !== 4) return false;
      const afi = value.u16be();
      value.skip(1);
      const bit = c.familyBit(afi, value.u8());
      draft.families |= bit;
      return bit !== 0;
    }
    case c.CAP_ROUTE_REFRESH:
    case c.CAP_ROUTE_REFRESH_CISCO:
      draft.routeRefresh = true;
      return true;
    case c.CAP_ENHANCED_ROUTE_REFRESH:
      draft.enhancedRouteRefresh = true;
      return true;
    case c.CAP_EXTENDED_MESSAGE:
      draft.extendedMessage = true;
      return true;
    case c.CAP_FOUR_OCTET_AS:
      if (value.left !== 4) return false;
      draft.as4 = value.u32be();
      return true;
    case c.CAP_ROLE: {
      if (value.left !== 1) return false;
      const role = value.u8();
      draft.role = draft.role === undefined || draft.role === role ? role : ROLE_CONFLICT;
      return true;
    }
    case c.CAP_EXTENDED_NEXT_HOP: {
      if (value.left === 0 || value.left % 6 !== 0) return false;
      while (value.left > 0) {
        const bit = c.familyBit(value.u16be(), value.u16be());
        if (value.u16be() === c.AFI_IPV6 && bit === c.IPV4_UNICAST) draft.extendedNextHop = true;
      }
      return true;
    }
    case c.CAP_ADD_PATH: {
      if (value.left === 0 || value.left % 4 !== 0) return false;
      while (value.left > 0) {
        const bit = c.familyBit(value.u16be(), value.u8());
        const mode = value.u8();
        if (mode === 1 || mode === 3) draft.addPathReceive |= bit;
        if (mode === 2 || mode === 3) draft.addPathSend |= bit;
      }
      return true;
    }
    case c.CAP_GRACEFUL_RESTART: {
      if (value.left < 2 || (value.left - 2) % 4 !== 0) return false;
      const head = value.u16be();
      let families = 0;
      let forwarding = 0;
      while (value.left > 0) {
        const bit = c.familyBit(value.u16be(), value.u8());
        families |= bit;
        if ((value.u8() & 0x80) !== 0) forwarding |= bit;
      }
      draft.gracefulRestart = {
        isRestarting: (head & 0x8000) !== 0,
        isNotification: (head & 0x4000) !== 0,
        time: head & 0xfff,
        families,
        forwarding,
      };
      return true;
    }
    case c.CAP_LONG_LIVED_GRACEFUL_RESTART: {
      if (value.left % 7 !== 0) return false;
      const longLived: LongLived[] = [];
      while (value.left > 0) {
        const family = c.familyBit(value.u16be(), value.u8());
        const isForwarding = (value.u8() & 0x80) !== 0;
        const time = (value.u8() << 16) | value.u16be();
        if (family !== 0) longLived.push({ family, isForwarding, time });
      }
      draft.longLived = longLived;
      draft.knowsLongLived = true;
      return true;
    }
    case c.CAP_FQDN: {
      const host = readName(value);
      const domain = readName(value);
      if (host === undefined || domain === undefined) return false;
      draft.fqdn = { host, domain };
      return true;
    }
    default:
      return false;
  }
}

/** A name of a peer's choosing: length 1, then UTF-8; cleaned of control characters, since people will see it. */
function readName(value: ByteReader): string | undefined {
  if (value.left < 1) return undefined;
  const length = value.u8();
  if (length > value.left) return undefined;
  // deno-lint-ignore no-control-regex
  return new TextDecoder().decode(value.take(length)).replace(/[\x00-\x1f\x7f-\x9f]/g, "");
}

/** Writes all capabilities, each as code, length and value, in ascending order of the code. */
export function writeCapabilities(out: ByteWriter, capabilities: Capabilities): void {
  const put = (code: number, fill: (value: ByteWriter) => void = () => {}) => {
    const value = new ByteWriter(16);
    fill(value);
    out.u8(code).u8(value.length).put(value.view());
  };
  const bits = [c.IPV4_UNICAST, c.IPV6_UNICAST];
  const has = (mask: number) => bits.filter((bit) => (mask & bit) !== 0);
  const { role, as4, gracefulRestart: graceful, fqdn } = capabilities;
  for (const bit of has(capabilities.families)) {
    put(c.CAP_MULTIPROTOCOL, (v) => v.u16be(c.afiOf(bit)).u8(0).u8(c.SAFI_UNICAST));
  }
  if (capabilities.routeRefresh) put(c.CAP_ROUTE_REFRESH);
  if (capabilities.extendedNextHop) {
    put(c.CAP_EXTENDED_NEXT_HOP, (v) => v.u16be(c.AFI_IPV4).u16be(c.SAFI_UNICAST).u16be(c.AFI_IPV6));
  }
  if (capabilities.extendedMessage) put(c.CAP_EXTENDED_MESSAGE);
  if (role !== undefined) put(c.CAP_ROLE, (v) => v.u8(role));
  if (graceful) {
    put(c.CAP_GRACEFUL_RESTART, (v) => {
      v.u16be((graceful.isRestarting ? 0x8000 : 0) | (graceful.isNotification ? 0x4000 : 0) | (graceful.time & 0xfff));
      for (const bit of has(graceful.families)) {
        v.u16be(c.afiOf(bit)).u8(c.SAFI_UNICAST).u8((graceful.forwarding & bit) !== 0 ? 0x80 : 0);
      }
    });
  }
  if (as4 !== undefined) put(c.CAP_FOUR_OCTET_AS, (v) => v.u32be(as4));
  const addPath = has(capabilities.addPathSend | capabilities.addPathReceive);
  if (addPath.length > 0) {
    put(c.CAP_ADD_PATH, (v) => {
      for (const bit of addPath) {
        const mode = ((capabilities.addPathReceive & bit) !== 0 ? 1 : 0) |
          ((capabilities.addPathSend & bit) !== 0 ? 2 : 0);
        v.u16be(c.afiOf(bit)).u8(c.SAFI_UNICAST).u8(mode);
      }
    });
  }
  if (capabilities.enhancedRouteRefresh) put(c.CAP_ENHANCED_ROUTE_REFRESH);
  if (capabilities.longLived.length > 0) {
    put(c.CAP_LONG_LIVED_GRACEFUL_RESTART, (v) => {
      for (const { family, isForwarding, time } of capabilities.longLived) {
        v.u16be(c.afiOf(family)).u8(c.SAFI_UNICAST).u8(isForwarding ? 0x80 : 0).u8(time >>> 16).u16be(time & 0xffff);
      }
    });
  }
  if (fqdn) {
    put(c.CAP_FQDN, (v) => {
      for (const name of [fqdn.host, fqdn.domain]) {
        const bytes = new TextEncoder().encode(name).subarray(0, 64);
        v.u8(bytes.length).put(bytes);
      }
    });
  }
}
