/** Schema of a Profile. */

import { labels, strict } from "./fields.ts";
import { rules } from "./rule.ts";

export const profileSpec = strict({ ingress: rules, egress: rules, labelsToApply: labels.optional() });
