/**
 * Writes UPDATE messages straight into a log: many prefixes to a message, no buffer in between.
 *
 *   IPv4, NEXT_HOP:  header 19 | 0 2 | attributes length 2 | attributes | NLRI
 *   else:            header 19 | 0 2 | length 2 | MP_REACH (AFI SAFI next hop 0 NLRI) | attributes   (RFC 4760, 7606 5.1)
 *   withdrawal:      header 19 | length 2 | NLRI | 0 2     or     header 19 | 0 2 | length 2 | MP_UNREACH (AFI SAFI NLRI)
 */

import {
  afiOf,
  ATTR_FLAG_EXTENDED,
  ATTR_FLAG_OPTIONAL,
  ATTR_MP_REACH_NLRI,
  ATTR_MP_UNREACH_NLRI,
  HEADER_LENGTH,
  IPV4_UNICAST,
  MAX_EXTENDED_MESSAGE,
  MAX_MESSAGE,
  MSG_UPDATE,
  SAFI_UNICAST,
} from "../wire/constants.ts";
import { putIpv4, putIpv6 } from "../wire/nlri.ts";
import type { NlriTable, PathNames } from "./path_names.ts";
import type { PrefixTable } from "./prefix_table.ts";
import type { Chunk, UpdateLog } from "./update_log.ts";

/** How a group's messages are written. */
export interface WriterOptions {
  readonly isExtendedMessage: boolean;
  /** Families with path identifiers (mask). */
  readonly addPathSend: number;
}

/** Octets that the longest prefix needs. */
const ROOM = 21;
const NOTHING = new Uint8Array(0);

/** One message at a time; `log` may be changed between messages. */
export class UpdateWriter {
  readonly #maxMessage: number;
  #chunk: Chunk | undefined;
  #start = 0;
  #at = 0;
  #limit = 0;
  #family = IPV4_UNICAST;
  #audience = 0;
  #isAnnouncement = false;
  #hasPathId = false;
  #attributes: Uint8Array = NOTHING;
  #nextHop: Uint8Array = NOTHING;
  /** Where the MP attribute begins, -1 without one. */
  #mp = -1;

  constructor(public log: UpdateLog, readonly options: WriterOptions) {
    this.#maxMessage = options.isExtendedMessage ? MAX_EXTENDED_MESSAGE : MAX_MESSAGE;
  }

  /** Whether a set of attributes of that many octets leaves room for a prefix. */
  fits(attributesLength: number): boolean {
    return HEADER_LENGTH + 4 + 4 + 5 + 32 + attributesLength + ROOM <= this.#maxMessage;
  }

  /** Begins an announcement; `nextHop` is empty when the attributes hold NEXT_HOP. Both are copied message by message. */
  announce(family: number, audience: number, attributes: Uint8Array, nextHop: Uint8Array): void {
    this.#isAnnouncement = true;
    this.#attributes = attributes;
    this.#nextHop = nextHop;
    this.#begin(family, audience);
  }

  /** Begins a withdrawal. */
  withdraw(family: number, audience: number): void {
    this.#isAnnouncement = false;
    this.#attributes = NOTHING;
    this.#begin(family, audience);
  }

  /** Adds a prefix (a path, where identifiers are sent), in a further message when this one is full. */
  add(table: NlriTable, id: number): void {
    if (this.#at + ROOM > this.#limit) {
      this.end();
      this.#begin(this.#family, this.#audience);
    }
    const { bytes } = this.#chunk!;
    let prefixes = table as PrefixTable, pathId: number | undefined;
    if (this.#hasPathId) {
      const names = table as PathNames;
      prefixes = names.prefixes;
      pathId = names.pathId[id]!;
      id = names.prefix[id]!;
    }
    this.#at = this.#family === IPV4_UNICAST
      ? putIpv4(bytes, this.#at, prefixes.w0[id]!, prefixes.length[id]!, pathId)
      : putIpv6(
        bytes,
        this.#at,
        prefixes.w0[id]!,
        prefixes.w1[id]!,
        prefixes.w2[id]!,
        prefixes.w3[id]!,
        prefixes.length[id]!,
        pathId,
      );
  }

  /** Completes the message and puts it into the log. */
  end(): void {
    const { bytes } = this.#chunk!;
    const start = this.#start;
    const body = start + HEADER_LENGTH;
    if (this.#mp >= 0) {
      putU16(bytes, this.#mp + 2, this.#at - this.#mp - 4);
      bytes.set(this.#attributes, this.#at);
      this.#at += this.#attributes.length;
      putU16(bytes, body, 0);
      putU16(bytes, body + 2, this.#at - body - 4);
    } else if (this.#isAnnouncement) {
      putU16(bytes, body, 0);
      putU16(bytes, body + 2, this.#attributes.length);
    } else {
      putU16(bytes, body, this.#at - body - 2);
      putU16(bytes, this.#at, 0);
      this.#at += 2;
    }
    const length = this.#at - start;
    bytes.fill(0xff, start, start + 16);
    putU16(bytes, start + 16, length);
    bytes[start + 18] = MSG_UPDATE;
    this.log.commit(length, this.#audience);
  }

  /** The End-of-RIB marker of a family (RFC 4724 section 2). */
  endOfRib(family: number, audience: number): void {
    this.withdraw(family, audience);
    this.end();
  }

  #begin(family: number, audience: number): void {
    this.#family = family;
    this.#audience = audience;
    this.#hasPathId = (this.options.addPathSend & family) !== 0;
    const attributes = this.#attributes;
    const isMp = family !== IPV4_UNICAST || this.#isAnnouncement && this.#nextHop.length > 0;
    const overhead = HEADER_LENGTH + 4 + attributes.length + (isMp ? 9 + this.#nextHop.length : 0);
    // A chunk's end cuts a message short rather than wasting much of the chunk.
    const chunk = this.log.reserve(Math.min(this.#maxMessage, overhead + 8 * ROOM));
    const start = chunk.used;
    this.#chunk = chunk;
    this.#start = start;
    const { bytes } = chunk;
    const trailer = isMp ? attributes.length : 2;
    this.#limit = start + Math.min(this.#maxMessage, bytes.length - start) - trailer;
    const body = start + HEADER_LENGTH;
    this.#mp = -1;
    if (isMp) {
      let at = this.#mp = body + 4;
      bytes[at] = ATTR_FLAG_OPTIONAL | ATTR_FLAG_EXTENDED;
      bytes[at + 1] = this.#isAnnouncement ? ATTR_MP_REACH_NLRI : ATTR_MP_UNREACH_NLRI;
      putU16(bytes, at + 4, afiOf(family));
      bytes[at + 6] = SAFI_UNICAST;
      at += 7;
      if (this.#isAnnouncement) {
        bytes[at++] = this.#nextHop.length;
        bytes.set(this.#nextHop, at);
        at += this.#nextHop.length;
        bytes[at++] = 0;
      }
      this.#at = at;
    } else if (this.#isAnnouncement) {
      bytes.set(attributes, body + 4);
      this.#at = body + 4 + attributes.length;
    } else this.#at = body + 2;
  }
}

function putU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}
