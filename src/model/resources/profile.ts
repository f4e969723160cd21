/**
 * Profile: rules for endpoints that no policy selects, and labels that its endpoints inherit. `projectcalico-default-allow`
 * is built in and never stored.
 */

import { API_VERSION, type LabelMap, type Resource } from "../resource.ts";
import type { Rule } from "./rule.ts";

/** What a Profile says. */
export interface ProfileSpec {
  readonly ingress?: readonly Rule[];
  readonly egress?: readonly Rule[];
  readonly labelsToApply?: LabelMap;
}

/** A profile. */
export type Profile = Resource<"Profile", ProfileSpec>;

/** The built-in profile that allows everything. */
export const DEFAULT_ALLOW_PROFILE: Profile = {
  kind: "Profile",
  apiVersion: API_VERSION,
  metadata: { name: "projectcalico-default-allow" },
  spec: { ingress: [{ action: "Allow" }], egress: [{ action: "Allow" }] },
};
