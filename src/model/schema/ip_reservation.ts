/** Schema of an IPReservation. */

import { z } from "zod";
import { checkCidr, strict, text } from "./fields.ts";

export const ipReservationSpec = strict({
  reservedCIDRs: z.array(text((value) => checkCidr(value, { mayHaveHostBits: true }))).default([]),
});
