/**
 * OPEN: version 1 | my AS 2 | hold time 2 | BGP identifier 4 | parameters length 1 | parameters     (RFC 4271 4.2)
 *
 *   parameter: type 1 | length 1 | value; type 2 holds capabilities (RFC 5492)
 *   extended (RFC 9072): parameters length 255 | type 255 | length 2 | parameters with a length of 2 octets
 */

import { ByteReader, ByteWriter, TruncatedError } from "../../lib/bytes.ts";
import {
  type Capabilities,
  type CapabilitiesDraft,
  isKnownCapability,
  NO_CAPABILITIES,
  noteUnknown,
  readCapability,
  writeCapabilities,
} from "./capability.ts";
import { AS_TRANS, HEADER_LENGTH, IPV4_UNICAST, MSG_OPEN } from "./constants.ts";
import { type Fault, reset } from "./fault.ts";
import { putHeader } from "./frame.ts";

/** A decoded OPEN. */
export interface OpenMessage {
  /** The AS number: of 4 octets when the capability is there. */
  readonly as: number;
  /** Proposed hold time in seconds: 0, or 3 and more. */
  readonly holdTime: number;
  /** BGP identifier as an unsigned number, never 0. */
  readonly id: number;
  readonly capabilities: Capabilities;
}

const OPEN_ERROR = 2;
const PARAMETER_CAPABILITIES = 2;
const EXTENDED = 255;
/** Known capabilities that are read; nobody has so many, and each costs memory. */
const MOST_CAPABILITIES = 128;

/** Decodes the body of an OPEN; a fault ends the connection with a NOTIFICATION of its code. Never throws. */
export function decodeOpen(body: Uint8Array): OpenMessage | Fault {
  try {
    return read(new ByteReader(body));
  } catch (error) {
    if (error instanceof TruncatedError) return reset(OPEN_ERROR, 0, `truncated OPEN: ${error.message}`);
    throw error;
  }
}

function read(body: ByteReader): OpenMessage | Fault {
  const version = body.u8();
  if (version !== 4) return reset(OPEN_ERROR, 1, `BGP version ${version}`, Uint8Array.of(0, 4));
  const as2 = body.u16be();
  const holdTime = body.u16be();
  const id = body.u32be();
  let length = body.u8();
  let isExtended = false;
  if (length !== 0 && body.left > 0 && body.bytes[body.offset] === EXTENDED) {
    // RFC 9072 section 2: the type says so, whatever the old length octet; 255 is what a sender should put there.
    isExtended = true;
    body.skip(1);
    length = body.u16be();
  }
  if (length !== body.left) return reset(OPEN_ERROR, 0, `${length} octets of parameters announced, ${body.left} there`);
  const capabilities: CapabilitiesDraft = { ...NO_CAPABILITIES, unknown: [] };
  let count = 0;
  let hasMultiprotocol = false;
  while (body.left > 0) {
    const type = body.u8();
    const value = body.slice(isExtended ? body.u16be() : body.u8());
    if (type !== PARAMETER_CAPABILITIES) return reset(OPEN_ERROR, 4, `optional parameter of type ${type}`);
    while (value.left > 0) {
      const code = value.u8();
      const size = value.u8();
      hasMultiprotocol ||= code === 1;
      if (isKnownCapability(code) && count++ < MOST_CAPABILITIES) {
        readCapability(code, value.take(size), capabilities);
      } else {
        value.skip(size);
        noteUnknown(code, capabilities);
      }
    }
  }
  if (!hasMultiprotocol) capabilities.families = IPV4_UNICAST;
  const as = capabilities.as4 ?? as2;
  if (as === 0 || as2 === 0) return reset(OPEN_ERROR, 2, "AS 0");
  if (holdTime === 1 || holdTime === 2) return reset(OPEN_ERROR, 6, `hold time of ${holdTime} s`);
  if (id === 0) return reset(OPEN_ERROR, 3, "BGP identifier 0.0.0.0");
  return { as, holdTime, id, capabilities };
}

/** An OPEN message; with RFC 9072's format when the capabilities need more than 255 octets. */
export function encodeOpen(open: OpenMessage): Uint8Array {
  const capabilities = new ByteWriter(64);
  writeCapabilities(capabilities, open.capabilities);
  const out = new ByteWriter(128);
  out.zeros(HEADER_LENGTH).u8(4).u16be(open.as > 0xffff ? AS_TRANS : open.as).u16be(open.holdTime).u32be(open.id);
  const size = capabilities.length;
  if (size === 0) out.u8(0);
  else if (size <= 253) out.u8(size + 2).u8(PARAMETER_CAPABILITIES).u8(size);
  else out.u8(EXTENDED).u8(EXTENDED).u16be(size + 3).u8(PARAMETER_CAPABILITIES).u16be(size);
  out.put(capabilities.view());
  const message = out.bytes();
  putHeader(message, 0, message.length, MSG_OPEN);
  return message;
}
