/**
 * The `Transport` seam: one TCP connection as the sessions see it. `src/linux/tcp_socket.ts` makes them of sockets,
 * `memory_transport.ts` in memory for tests.
 *
 * Reading: the transport puts octets into `sink.room()` and calls `sink.received(count)`, so a session's framer walks
 * messages in the buffer that the kernel filled. Writing: `write` hands over what the kernel takes at once and copies
 * the rest, so a writer looks at `pending` and waits for `sink.writable()` before it asks for more.
 */

/** One end of a connection: 4 or 16 octets in network order, and the port. */
export interface Endpoint {
  readonly address: Uint8Array;
  readonly port: number;
  /** The interface of a link-local address. */
  readonly scopeId?: number;
}

/** A byte stream to a peer. */
export interface Transport {
  /** Our end and theirs; known once the connection is up. */
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /** Octets that the kernel has not taken yet. */
  readonly pending: number;
  /** Sends the octets in order; what cannot go at once is copied. Does nothing after `close`. */
  write(bytes: Uint8Array): void;
  /** Ends the connection after the octets that the kernel has; the sink hears nothing any more. */
  close(): void;
}

/** What a transport tells its owner. After `closed` nothing comes. */
export interface TransportSink {
  /** An outgoing connection is up. */
  connected(): void;
  /** Where to put octets; never empty. */
  room(): Uint8Array;
  /** `count` octets are at the front of the room given last. */
  received(count: number): void;
  /** Everything that was written has been taken by the kernel. */
  writable(): void;
  /** The peer closed, or the connection failed. */
  closed(reason: string): void;
}
