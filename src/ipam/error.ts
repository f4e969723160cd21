/** Why an address was not given, taken or returned: every refusal carries its reason and how to mend it. */

/**
 * `no-pool`: no pool may be used; `full`: the pools that may be used have no address left; `limit`: the host may not
 * claim another block; `strict`: only foreign blocks have addresses left, or the block belongs to another host; `taken`:
 * the address is in use; `not-in-pool`: no enabled pool holds the address; `mismatch`: the handle or sequence number of a
 * release is not that of the allocation; `no-handle`: nothing is held under the handle; `not-empty`: the block is in use;
 * `contention`: others kept changing the same key; `config`: settings that contradict each other; `corrupt`: a stored
 * value cannot be read.
 */
export type IpamErrorKind =
  | "no-pool"
  | "full"
  | "limit"
  | "strict"
  | "taken"
  | "not-in-pool"
  | "mismatch"
  | "no-handle"
  | "not-empty"
  | "contention"
  | "config"
  | "corrupt";

/** A refused address operation; the message says why and how to mend it. */
export class IpamError extends Error {
  override readonly name = "IpamError";
  constructor(readonly kind: IpamErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
  }
}
