/** Schema of a Tier. The order and action of the built-in tiers are fixed: see `metadata.ts`. */

import { z } from "zod";
import { optionalEnum, strict } from "./fields.ts";

export const tierSpec = strict({ order: z.number().optional(), defaultAction: optionalEnum(["Deny", "Pass"]) });
