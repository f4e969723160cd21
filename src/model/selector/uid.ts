/** Calico's identifier of a selector: "s:" and the base64url of the SHA-224 of "s:" and its canonical text. */

import { createHash } from "node:crypto";
import type { Selector } from "./parser.ts";

/** The identifier of a selector; equal canonical texts give equal identifiers. */
export function selectorUid(selector: Selector): string {
  return `s:${createHash("sha224").update(`s:${selector.canonical}`, "utf8").digest("base64url")}`;
}
