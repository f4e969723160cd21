/** `tortie version`. */

import { formatJson } from "../table.ts";
import type { Terminal } from "../terminal.ts";
import { formatVersion, version as readVersion } from "../version.ts";

/** Prints versions and packaging. */
export function version(this: Terminal, flags: { readonly output: "table" | "json" }): void {
  const shown = readVersion();
  this.process.stdout.write(flags.output === "json" ? formatJson(shown) : `${formatVersion(shown)}\n`);
}
