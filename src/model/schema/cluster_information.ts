/** Schema of ClusterInformation. */

import { z } from "zod";
import { strict } from "./fields.ts";

export const clusterInformationSpec = strict({
  clusterGUID: z.string().optional(),
  clusterType: z.string().optional(),
  calicoVersion: z.string().optional(),
  datastoreReady: z.boolean().optional(),
  variant: z.string().optional(),
});
