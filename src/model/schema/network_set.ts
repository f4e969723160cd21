/** Schema of GlobalNetworkSet and NetworkSet. */

import { z } from "zod";
import { checkCidr, strict, text } from "./fields.ts";

export const networkSetSpec = strict({
  nets: z.array(text((value) => checkCidr(value, { mayBeAddress: true, mayHaveHostBits: true }))).optional(),
});
