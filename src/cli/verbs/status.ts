/** `tortie status` and `tortie reload`: the node as a whole. */

import { connectNode } from "../connection.ts";
import { formatJson } from "../table.ts";
import type { Terminal } from "../terminal.ts";

/** Shows node, store, peers, workloads and errors on one screen. */
export async function status(
  this: Terminal,
  flags: { readonly output: "table" | "json"; readonly socket?: string },
): Promise<void> {
  const shown = await connectNode(this, flags).status();
  if (flags.output === "json") return void this.process.stdout.write(formatJson(shown));
  const { node, config, store, bgp, workloads, dataplane, unconfirmed } = shown;
  const addresses = [node.ip, node.ip6].filter((ip) => ip !== null).join(" ") || "no address";
  const lines: [string, string][] = [
    [
      "node",
      `${node.name} (${addresses}${node.as === null ? "" : `, AS ${node.as}`}), pid ${node.pid} since ${node.since}`,
    ],
    [
      "configuration",
      config.error === null
        ? `${config.file ?? "none"}, read ${config.loadedAt ?? "never"}`
        : `REFUSED: ${config.error}`,
    ],
    [
      "store",
      store.error === null
        ? `${store.type}, revision ${store.revision}${store.inSync ? "" : ", not in sync"}`
        : `ERROR: ${store.error}`,
    ],
    ["BGP", `${bgp.established} of ${bgp.configured} sessions established`],
    ["workloads", `${workloads.ready} of ${workloads.total} ready`],
    [
      "dataplane",
      dataplane.lastError === null
        ? (dataplane.inSync ? "in sync" : "not in sync yet")
        : `ERROR: ${dataplane.lastError}`,
    ],
    ...unconfirmed
      ? [["unconfirmed", `${unconfirmed.resources.join(", ")}: taken back at ${unconfirmed.until}`] as [string, string]]
      : [],
    ...store.warnings.map((warning): [string, string] => ["warning", warning]),
  ];
  this.process.stdout.write(lines.map(([name, text]) => `${name.padEnd(14)} ${text}\n`).join(""));
}

/** Makes the node read its configuration file again. */
export async function reload(this: Terminal, flags: { readonly socket?: string }): Promise<void> {
  const { changed, warnings } = await connectNode(this, flags).reload();
  for (const warning of warnings) this.process.stderr.write(`tortie: warning: ${warning}\n`);
  this.process.stdout.write(`${changed} ${changed === 1 ? "resource" : "resources"} changed\n`);
}
