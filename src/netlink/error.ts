/** The kernel's refusal of a netlink request, with its own words (extended ack, NLMSGERR_ATTR_MSG). */
export class NetlinkError extends Error {
  override readonly name = "NetlinkError";
  constructor(
    /** What was asked, in the words of `ip`: "route add 10.0.0.0/8". */
    readonly operation: string,
    /** The positive errno. */
    readonly errno: number,
    /** The errno's name: "EEXIST". */
    readonly code: string,
    /** The kernel's message from the extended ack, or the errno's text. */
    readonly kernelMessage: string,
    /** Byte offset into the request of the attribute that the kernel objects to, when it says so. */
    readonly offset?: number,
  ) {
    super(`Cannot ${operation}: ${kernelMessage} (${code})`);
  }
}
