/** Ethernet (MAC) addresses: text form and bytes. A MAC is kept as its canonical lower-case text. */

/** Reads six hexadecimal octets joined by colons; returns undefined when it is anything else. */
export function parseMac(text: string): Uint8Array | undefined {
  if (!/^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$/.test(text)) return undefined;
  return Uint8Array.from(text.split(":"), (octet) => parseInt(octet, 16));
}

/** Writes bytes as lower-case hexadecimal octets joined by colons (a link-layer address may have other lengths than 6). */
export function formatMac(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":");
}
