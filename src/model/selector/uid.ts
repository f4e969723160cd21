/** Calico's identifier of a selector: "s:" and the SHA-224 of its canonical text in base64url. */

import { createHash } from "node:crypto";
import type { Selector } from "./parser.ts";

/** The identifier of a selector; equal canonical texts give equal identifiers. */
export function selectorUid(selector: Selector): string {
  return `s:${createHash("sha224").update(selector.canonical, "utf8").digest("base64url")}`;
}
