/**
 * The BFD control packet (RFC 5880 section 4.1), without authentication. All numbers are in network order.
 *
 *   0        1        2        3
 *   vers|diag  St|PFCADM detect-mult length
 *   my discriminator
 *   your discriminator
 *   desired min TX interval            microseconds
 *   required min RX interval           microseconds
 *   required min echo RX interval      microseconds
 *
 * In: octets of a datagram. Out: a packet, or why it is to be discarded (section 6.8.6), since a stranger can send anything.
 */

import { ByteReader, ByteWriter } from "../../lib/bytes.ts";

export const ADMIN_DOWN = 0;
export const DOWN = 1;
export const INIT = 2;
export const UP = 3;

/** A session's state by its number on the wire. */
export type BfdState = typeof ADMIN_DOWN | typeof DOWN | typeof INIT | typeof UP;

/** Names of the states by their numbers. */
export const STATE_NAMES = ["AdminDown", "Down", "Init", "Up"] as const;

export const DIAG_NONE = 0;
export const DIAG_DETECTION_TIME_EXPIRED = 1;
export const DIAG_NEIGHBOR_SIGNALED_DOWN = 3;
export const DIAG_ADMINISTRATIVELY_DOWN = 7;

/** Diagnostic codes in words, as the RFC names them. */
export const DIAG_NAMES = [
  "No Diagnostic",
  "Control Detection Time Expired",
  "Echo Function Failed",
  "Neighbor Signaled Session Down",
  "Forwarding Plane Reset",
  "Path Down",
  "Concatenated Path Down",
  "Administratively Down",
  "Reverse Concatenated Path Down",
] as const;

const VERSION = 1;
const PACKET_BYTES = 24;
/** The shortest authentication section: type and length. */
const AUTH_BYTES = 2;
const POLL = 0x20;
const FINAL = 0x10;
const AUTHENTICATION = 0x04;
const DEMAND = 0x02;
const MULTIPOINT = 0x01;

/** A control packet; intervals in microseconds. */
export interface BfdPacket {
  readonly diag: number;
  readonly state: BfdState;
  readonly isPoll: boolean;
  readonly isFinal: boolean;
  /** The sender does not want to be sent periodic packets (demand mode). */
  readonly isDemand: boolean;
  readonly multiplier: number;
  /** Never 0. */
  readonly myDiscriminator: number;
  /** 0 while the sender does not know ours. */
  readonly yourDiscriminator: number;
  readonly desiredMinTx: number;
  /** 0: the sender wants no periodic packets at all. */
  readonly requiredMinRx: number;
  /** 0: the sender does not loop echo packets back. */
  readonly requiredMinEchoRx: number;
}

/** Why a datagram is discarded. */
export interface BfdRefusal {
  readonly refused: string;
}

/** Decodes a datagram with all checks that need no session; never throws. */
export function decodePacket(datagram: Uint8Array): BfdPacket | BfdRefusal {
  if (datagram.length < PACKET_BYTES) return { refused: `${datagram.length} octets are too few` };
  const reader = new ByteReader(datagram);
  const first = reader.u8(), flags = reader.u8(), multiplier = reader.u8(), length = reader.u8();
  if (first >> 5 !== VERSION) return { refused: `version ${first >> 5}` };
  const least = PACKET_BYTES + (flags & AUTHENTICATION ? AUTH_BYTES : 0);
  if (length < least || length > datagram.length) {
    return { refused: `length ${length} in ${datagram.length} octets` };
  }
  if (multiplier === 0) return { refused: "detection multiplier 0" };
  if (flags & MULTIPOINT) return { refused: "multipoint bit" };
  if (flags & AUTHENTICATION) return { refused: "authentication is not in use" };
  const packet: BfdPacket = {
    diag: first & 0x1f,
    state: (flags >> 6) as BfdState,
    isPoll: (flags & POLL) !== 0,
    isFinal: (flags & FINAL) !== 0,
    isDemand: (flags & DEMAND) !== 0,
    multiplier,
    myDiscriminator: reader.u32be(),
    yourDiscriminator: reader.u32be(),
    desiredMinTx: reader.u32be(),
    requiredMinRx: reader.u32be(),
    requiredMinEchoRx: reader.u32be(),
  };
  if (packet.myDiscriminator === 0) return { refused: "discriminator 0" };
  if (packet.yourDiscriminator === 0 && packet.state !== DOWN && packet.state !== ADMIN_DOWN) {
    return { refused: `state ${STATE_NAMES[packet.state]} without our discriminator` };
  }
  return packet;
}

/** The 24 octets of a packet. */
export function encodePacket(packet: BfdPacket): Uint8Array {
  const flags = packet.state << 6 | (packet.isPoll ? POLL : 0) | (packet.isFinal ? FINAL : 0) |
    (packet.isDemand ? DEMAND : 0);
  return new ByteWriter(PACKET_BYTES)
    .u8(VERSION << 5 | packet.diag & 0x1f).u8(flags).u8(packet.multiplier).u8(PACKET_BYTES)
    .u32be(packet.myDiscriminator).u32be(packet.yourDiscriminator)
    .u32be(packet.desiredMinTx).u32be(packet.requiredMinRx).u32be(packet.requiredMinEchoRx)
    .bytes();
}

/** A diagnostic code in words. */
export function diagText(diag: number): string {
  return DIAG_NAMES[diag] ?? `diagnostic ${diag}`;
}
