/** Bytes that are no netlink message, attribute or structure of the kind expected: what was being read, and where. */
export class MalformedError extends Error {
  override readonly name = "MalformedError";
  constructor(
    /** What was being read: "message length", "RTA_DST". */
    readonly what: string,
    /** Byte offset in the array that was being read. */
    readonly offset: number,
  ) {
    super(`Cannot decode ${what} at offset ${offset}: it does not fit`);
  }
}
