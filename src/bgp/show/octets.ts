/**
 * What the router's tables hold, as octets that other programs read: BMP stations and readers of MRT files.
 *
 * Attributes come out with 4-octet AS numbers and without MP_REACH_NLRI, whatever session they came in by; the next hop that
 * MP_REACH would have is beside them. Views are valid until the tables change.
 */

import type { AttributeStore } from "../rib/attribute_store.ts";
import type { PrefixTable } from "../rib/prefix_table.ts";
import { encodeAttributes } from "../wire/attributes.ts";
import { nlriSize, putIpv4, putIpv6 } from "../wire/nlri.ts";

/** A set of attributes on the wire. */
export interface SetOctets {
  readonly raw: Uint8Array;
  /** The next hop for MP_REACH_NLRI; empty when `raw` has NEXT_HOP. */
  readonly nextHop: Uint8Array;
}

/** ORIGIN IGP, an empty AS_PATH, and LOCAL_PREF 100: what the host's own routes are before an export rule shapes them. */
const OWN = Uint8Array.of(0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 5, 4, 0, 0, 0, 100);
const OWN_IPV4 = Uint8Array.of(...OWN.subarray(0, 7), 0x40, 3, 4, 0, 0, 0, 0, ...OWN.subarray(7));

/** The octets of a set. */
export function setOctets(store: AttributeStore, set: number): SetOctets {
  const raw = store.ownRaw(set) ?? encodeAttributes(store.decode(set), { isFourOctetAs: true });
  return { raw, nextHop: store.mpNextHop(set) };
}

/** The octets for a route of the host itself, which has no next hop but us: 0.0.0.0 or ::. */
export function ownOctets(family: 0 | 1): SetOctets {
  return family === 0 ? { raw: OWN_IPV4, nextHop: new Uint8Array(0) } : { raw: OWN, nextHop: new Uint8Array(16) };
}

/** A prefix as NLRI, with its path identifier where one is given. */
export function nlriOctets(prefixes: PrefixTable, prefix: number, pathId?: number): Uint8Array {
  const length = prefixes.length[prefix] ?? 0;
  const out = new Uint8Array(nlriSize(length, pathId !== undefined));
  const w0 = prefixes.w0[prefix] ?? 0;
  if (prefixes.isV6) {
    const [w1 = 0, w2 = 0, w3 = 0] = [prefixes.w1[prefix], prefixes.w2[prefix], prefixes.w3[prefix]];
    putIpv6(out, 0, w0, w1, w2, w3, length, pathId);
  } else putIpv4(out, 0, w0, length, pathId);
  return out;
}
