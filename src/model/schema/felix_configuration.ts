import { z } from "zod";
export const felixConfigurationSpec = z.record(z.string(), z.unknown());
