/**
 * Many unicast routes in one datagram, written straight into a buffer that is used again: no object, no string and no
 * closure for each route. This is how the speaker puts a full table into the kernel.
 *
 *     nlmsghdr, struct rtmsg, [RTA_DST], RTA_TABLE, [RTA_PRIORITY], [RTA_OIF], [RTA_GATEWAY]    52 to 92 bytes, as in route.ts
 *
 * The settings that routes share are fields of the batch and may be changed between routes. `askBatch` sends the result.
 */

import { AF_INET, AF_INET6 } from "./address.ts";
import { NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST } from "./message.ts";
import {
  RTA_DST,
  RTA_GATEWAY,
  RTA_OIF,
  RTA_PRIORITY,
  RTA_TABLE,
  RTM_DELROUTE,
  RTM_NEWROUTE,
  RTN_UNICAST,
  RTNH_F_ONLINK,
} from "./route.ts";

/** `add` is refused with EEXIST where the identity is taken, `replace` overwrites, `delete` must match protocol and path. */
export type BatchAction = "add" | "replace" | "delete";

/** The longest message: header and rtmsg, two IPv6 addresses, three numbers. */
const LONGEST = 28 + 2 * 20 + 3 * 8;

const MESSAGE: Readonly<Record<BatchAction, { type: number; flags: number }>> = {
  add: { type: RTM_NEWROUTE, flags: NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL },
  replace: { type: RTM_NEWROUTE, flags: NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE },
  delete: { type: RTM_DELROUTE, flags: NLM_F_REQUEST },
};

/** A datagram of route changes under construction. */
export class RouteBatch {
  /** RT_TABLE_*. */
  table = 254;
  /** RTPROT_*. */
  protocol = 4;
  /** RTA_PRIORITY; 0 leaves it out (IPv6: the kernel takes 1024). */
  metric = 0;
  /** RTNH_F_ONLINK: the gateway is taken to be on the link without a route to it. */
  isOnlink = false;
  /** RT_SCOPE_*: 253 for an IPv4 route without a gateway. */
  scope = 0;

  readonly #bytes: Uint8Array;
  /** The same memory as 32-bit words; every message is a whole number of them. */
  readonly #words: Uint32Array;
  #at = 0;
  #count = 0;
  #first = 1;
  #last = 0;

  /** `capacity` in bytes; 16 to 64 KB is fastest. */
  constructor(capacity = 65536) {
    const buffer = new ArrayBuffer(capacity & ~3);
    this.#bytes = new Uint8Array(buffer);
    this.#words = new Uint32Array(buffer);
  }

  /** Forgets the routes; the next ones are numbered from `first`. */
  begin(first: number): void {
    this.#at = this.#count = this.#last = 0;
    this.#first = first;
  }

  /** Routes in the batch. */
  get count(): number {
    return this.#count;
  }

  /** The sequence number of the first. */
  get first(): number {
    return this.#first;
  }

  /** The datagram, whose last message asks for an ack; a view that holds until `begin`. */
  get bytes(): Uint8Array {
    this.#words[this.#last / 4 + 1]! |= NLM_F_ACK << 16;
    return this.#bytes.subarray(0, this.#at);
  }

  /** Appends a change of an IPv4 route; addresses are unsigned 32-bit numbers, 0 for no gateway. False when it is full. */
  put4(action: BatchAction, destination: number, length: number, gateway: number, ifindex: number): boolean {
    if (!this.#open(action, AF_INET, length)) return false;
    if (length > 0) this.#attribute(RTA_DST, swap(destination));
    this.#shared(ifindex);
    if (gateway !== 0) this.#attribute(RTA_GATEWAY, swap(gateway));
    this.#close();
    return true;
  }

  /** Appends a change of an IPv6 route; addresses are 16 bytes. False when it is full. */
  put6(
    action: BatchAction,
    destination: Uint8Array,
    length: number,
    gateway: Uint8Array | undefined,
    ifindex: number,
  ): boolean {
    if (!this.#open(action, AF_INET6, length)) return false;
    if (length > 0) this.#address(RTA_DST, destination);
    this.#shared(ifindex);
    if (gateway) this.#address(RTA_GATEWAY, gateway);
    this.#close();
    return true;
  }

  #open(action: BatchAction, family: number, length: number): boolean {
    if (this.#bytes.length - this.#at < LONGEST) return false;
    const { type, flags } = MESSAGE[action];
    const words = this.#words;
    const word = this.#at / 4;
    words[word + 1] = type | (flags << 16);
    words[word + 2] = this.#first + this.#count;
    words[word + 3] = 0;
    words[word + 4] = family | (length << 8);
    const table = this.table < 256 ? this.table : 0;
    words[word + 5] = table | (this.protocol << 8) | (this.scope << 16) | (RTN_UNICAST << 24);
    words[word + 6] = this.isOnlink ? RTNH_F_ONLINK : 0;
    this.#last = this.#at;
    this.#at += 28;
    return true;
  }

  #shared(ifindex: number): void {
    this.#attribute(RTA_TABLE, this.table);
    if (this.metric !== 0) this.#attribute(RTA_PRIORITY, this.metric);
    if (ifindex !== 0) this.#attribute(RTA_OIF, ifindex);
  }

  #attribute(type: number, value: number): void {
    this.#words[this.#at / 4] = 8 | (type << 16);
    this.#words[this.#at / 4 + 1] = value;
    this.#at += 8;
  }

  #address(type: number, value: Uint8Array): void {
    this.#words[this.#at / 4] = 20 | (type << 16);
    this.#bytes.set(value, this.#at + 4);
    this.#at += 20;
  }

  #close(): void {
    this.#words[this.#last / 4] = this.#at - this.#last;
    this.#count++;
  }
}

/** Turns a number in network order into one in the host's order, or back. */
function swap(value: number): number {
  return ((value >>> 24) | ((value >>> 8) & 0xff00) | ((value << 8) & 0xff0000) | (value << 24)) >>> 0;
}
