/**
 * Link-local next hops: an address that only means something on one interface. Inside of the RIB the interface's number
 * stands in octets 4 to 7, which are zero in every link-local address (RFC 4291 2.5.6), so that equal addresses on two
 * links are two next hops. On the wire and in tables for people it is left out.
 */

/** Whether the address is in fe80::/10. */
export function isLinkLocal(address: Uint8Array): boolean {
  return (address.length === 16 || address.length === 32) && address[0] === 0xfe && (address[1]! & 0xc0) === 0x80;
}

/**
 * The next hop of MP_REACH (16 or 32 octets) of a session over link-local addresses, with its interface: the link-local one
 * of two, since the other need not be on the link. Anything else is given back as it is.
 */
export function scoped(nextHop: Uint8Array, ifindex: number): Uint8Array {
  const local = nextHop.length === 32 ? nextHop.subarray(16) : nextHop;
  if (!isLinkLocal(local)) return nextHop;
  const out = local.slice();
  new DataView(out.buffer).setUint32(4, ifindex);
  return out;
}

/** The interface in a scoped next hop, 0 for none. */
export function scopeOf(address: Uint8Array): number {
  if (!isLinkLocal(address)) return 0;
  return (address[4]! << 24 | address[5]! << 16 | address[6]! << 8 | address[7]!) >>> 0;
}

/** The address without its interface. */
export function unscoped(address: Uint8Array): Uint8Array {
  if (scopeOf(address) === 0) return address;
  const out = address.slice(0, 16);
  out.fill(0, 4, 8);
  return out;
}
