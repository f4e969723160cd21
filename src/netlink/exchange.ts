/**
 * The `Exchange` seam: a request to the kernel goes out, reply datagrams come in. `src/linux/netlink_socket.ts` implements
 * it with a socket; tests answer from a script. Everything that makes sense of the replies is in `request.ts`.
 *
 * The kernel handles a request inside the send, so both calls are synchronous and nothing else can come between them.
 */

/** One netlink socket as its requests see it. */
export interface Exchange {
  /** The port id that replies to us carry. */
  readonly port: number;
  /** Sends one datagram of one or more whole messages; throws `NetlinkError`. */
  send(request: Uint8Array): void;
  /**
   * The next datagram from the kernel; the view holds until the next call. Throws `NetlinkError`: ENOBUFS when replies
   * were lost, ETIMEDOUT when none comes, EMSGSIZE when one was cut.
   */
  receive(): Uint8Array;
  /** A sequence number that no earlier message on this socket had; takes `count` of them and returns the first. */
  sequence(count?: number): number;
}
