/** IPReservation: addresses inside pools that are never given out by themselves (asking for one of them still works). */

import type { Resource } from "../resource.ts";

/** What an IPReservation says. */
export interface IPReservationSpec {
  readonly reservedCIDRs: readonly string[];
}

/** A reservation of addresses. */
export type IPReservation = Resource<"IPReservation", IPReservationSpec>;
