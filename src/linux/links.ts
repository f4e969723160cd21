/**
 * The `Links` port: interfaces and their addresses, over rtnetlink. A request is one message and its ack; the kernel has
 * answered when the call returns.
 *
 * Kernels before 6.2 do not rename a link that is up: it is taken down for the rename and brought up again. A veth gets its
 * alias in a second request, because creation passes it over; if that fails the veth is removed again. The kernel takes
 * some 20 ms to remove a link and holds the thread, so others get a turn after each removal.
 */

import type { Address, Kernel, Link, Links, VethRequest } from "../dataplane/ports.ts";
import { decodeAddress, delAddress, getAddresses, newAddress } from "../netlink/address.ts";
import { EADDRNOTAVAIL, EBUSY, ENODEV } from "../netlink/errno.ts";
import { NetlinkError } from "../netlink/error.ts";
import type { Exchange } from "../netlink/exchange.ts";
import { decodeLink, delLink, getLink, type LinkSettings, newVeth, setLink } from "../netlink/link.ts";
import { ask, type Request } from "../netlink/request.ts";
import type { Namespace } from "./namespace.ts";
import { nextTurn } from "./pause.ts";

/** IFNAMSIZ without the terminating NUL. */
const MAX_NAME_BYTES = 15;

/** What the ports of one namespace share. */
export interface Requests {
  /** For requests that the kernel answers at once. */
  readonly exchange: Exchange;
  /** Reads a whole table: decodes each message's body, leaving out what decodes to undefined. */
  table<T>(request: Request, decode: (body: Uint8Array) => T | undefined): Promise<T[]>;
  /** The namespace behind a kernel opened by this process; throws TypeError for another. */
  namespaceOf(kernel: Kernel): Namespace;
}

/** Makes the `Links` port of a namespace. */
export function makeLinks({ exchange, table, namespaceOf }: Requests): Links {
  const get = (which: string | number) => getNow(exchange, which);
  return {
    list: () => table(getLink(), decodeLink),
    get: (which) => Promise.try(get, which),
    createVeth: (request) => Promise.try(createVeth, exchange, request, namespaceOf),
    change: (index, change) => Promise.try(changeNow, exchange, index, change),
    move: (index, namespace) =>
      Promise.try(() => ask(exchange, setLink(index, { namespace: { fd: namespaceOf(namespace).fd } }))),
    async delete(index) {
      unlessGone(ENODEV, () => ask(exchange, delLink(index)));
      await nextTurn();
    },
    addresses: () => table(getAddresses(), decodeAddress),
    addAddress: (address: Address) => Promise.try(ask, exchange, newAddress(address)),
    removeAddress: (address: Address) =>
      Promise.try(() => unlessGone(ENODEV, () => unlessGone(EADDRNOTAVAIL, () => ask(exchange, delAddress(address))))),
  };
}

function getNow(exchange: Exchange, which: string | number): Link | undefined {
  if (typeof which === "string") {
    const size = new TextEncoder().encode(which).length;
    if (size === 0 || size > MAX_NAME_BYTES) return undefined;
  } else if (which <= 0) return undefined;
  let link: Link | undefined;
  unlessGone(ENODEV, () =>
    ask(exchange, getLink(which), (_type, bytes, from, to) => {
      link = decodeLink(bytes.subarray(from, to));
    }));
  return link;
}

function createVeth(exchange: Exchange, request: VethRequest, namespaceOf: Requests["namespaceOf"]): Link {
  const { name, mac, mtu, alias, peerName, peerMac, peerNamespace } = request;
  const size: LinkSettings = mtu === undefined ? {} : { mtu };
  const peer: LinkSettings = {
    ...size,
    name: peerName,
    ...(peerMac !== undefined && { mac: peerMac }),
    ...(peerNamespace && { namespace: { fd: namespaceOf(peerNamespace).fd } }),
  };
  ask(exchange, newVeth({ ...size, name, mac }, peer));
  const link = getNow(exchange, name);
  if (!link) throw new NetlinkError(`link add ${name} type veth`, ENODEV, "ENODEV", "the new link is gone again");
  if (alias === undefined) return link;
  try {
    ask(exchange, setLink(link.index, { alias }));
  } catch (error) {
    unlessGone(ENODEV, () => ask(exchange, delLink(link.index)));
    throw error;
  }
  return { ...link, alias };
}

function changeNow(exchange: Exchange, index: number, change: LinkSettings): void {
  const { name, ...rest } = change;
  if (name !== undefined) rename(exchange, index, name);
  if (Object.values(rest).some((value) => value !== undefined)) ask(exchange, setLink(index, rest));
}

function rename(exchange: Exchange, index: number, name: string): void {
  try {
    ask(exchange, setLink(index, { name }));
  } catch (error) {
    if (!(error instanceof NetlinkError) || error.errno !== EBUSY) throw error;
    ask(exchange, setLink(index, { isUp: false }));
    try {
      ask(exchange, setLink(index, { name }));
    } finally {
      ask(exchange, setLink(index, { isUp: true }));
    }
  }
}

/** Runs a removal or a look-up, for which an object that is not there is no failure. */
export function unlessGone(gone: number, run: () => void): void {
  try {
    run();
  } catch (error) {
    if (!(error instanceof NetlinkError) || error.errno !== gone) throw error;
  }
}
