/**
 * Where others listen in on the sessions: BMP and MRT hear what comes and goes without being part of a session's way.
 *
 * Nobody listening costs a look at an empty list. Octets are valid during the call; a listener copies what it keeps, and
 * must not throw.
 */

import type { PeerId } from "../bgp/rib/interface.ts";
import type { Endpoint } from "../bgp/transport.ts";
import type { WireOptions } from "../bgp/wire/options.ts";

/** The Established connection of a peer. */
export interface TapLink {
  readonly id: PeerId;
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly wire: WireOptions;
  /** The peer's BGP identifier. */
  readonly routerId: number;
  /** Both OPENs as they went over the wire, headers included. */
  readonly openSent: Uint8Array;
  readonly openReceived: Uint8Array;
  /** When it became Established, milliseconds since 1970. */
  readonly since: number;
}

/** A peer as listeners see it. */
export interface TapPeer {
  readonly name: string;
  /** The configured address: text, with an interface if it is link-local. */
  readonly address: string;
  readonly as: number;
  readonly localAs: number;
  /** Undefined while the session is not Established. */
  readonly link: TapLink | undefined;
}

/** The end of an Established session. */
export interface TapDown {
  /** The NOTIFICATION that ended it, header included, and whose it was. */
  readonly notification?: { readonly isSent: boolean; readonly bytes: Uint8Array };
  /** The connection broke or was closed without a word. */
  readonly isLost: boolean;
}

/** A listener; what it does not want to hear it leaves out. */
export interface SessionTap {
  up?(peer: TapPeer, link: TapLink): void;
  down?(peer: TapPeer, link: TapLink, down: TapDown): void;
  /** The body of an UPDATE that came, after the router has taken it. */
  update?(peer: TapPeer, link: TapLink, body: Uint8Array): void;
  /** UPDATEs and markers that go to the peer, whole messages one behind the other. */
  sent?(peer: TapPeer, link: TapLink, messages: Uint8Array): void;
  /** A message that is no UPDATE, header included. */
  message?(peer: TapPeer, isSent: boolean, bytes: Uint8Array): void;
  /** The state machine went from one state to another. */
  state?(peer: TapPeer, from: string, to: string): void;
}

/** All listeners as one, and how to become one of them. */
export interface Taps extends Required<SessionTap> {
  add(tap: SessionTap): () => void;
}

/** Makes an empty set of listeners. */
export function makeTaps(): Taps {
  const taps = new Set<SessionTap>();
  return {
    add(tap) {
      taps.add(tap);
      return () => void taps.delete(tap);
    },
    up: (peer, link) => taps.forEach((tap) => tap.up?.(peer, link)),
    down: (peer, link, down) => taps.forEach((tap) => tap.down?.(peer, link, down)),
    update: (peer, link, body) => taps.forEach((tap) => tap.update?.(peer, link, body)),
    sent: (peer, link, messages) => taps.forEach((tap) => tap.sent?.(peer, link, messages)),
    message: (peer, isSent, bytes) => taps.forEach((tap) => tap.message?.(peer, isSent, bytes)),
    state: (peer, from, to) => taps.forEach((tap) => tap.state?.(peer, from, to)),
  };
}
