/** `tortie workload`: attach, detach and list. */

import type { AttachFlags } from "../commands/workload.ts";
import { parsePairs } from "../commands/flags.ts";
import { connectNode } from "../connection.ts";
import { formatJson, formatTable } from "../table.ts";
import { type Terminal, UsageError } from "../terminal.ts";

/** Makes a workload reachable and prints its addresses, one a line. */
export async function attach(this: Terminal, flags: AttachFlags, name: string): Promise<void> {
  const { netns, tap, interface: link } = flags;
  if ([netns, tap, link].filter((each) => each !== undefined).length !== 1) {
    throw new UsageError("say where the workload is: one of --netns, --tap and --interface");
  }
  const workload = await connectNode(this, flags).workloads.attach({
    name,
    ...netns !== undefined ? { netns: netnsReference(netns) } : {},
    ...tap !== undefined ? { tap } : {},
    ...link !== undefined ? { interface: link } : {},
    ...flags.ip?.length ? { ips: [...flags.ip] } : {},
    ...flags.label?.length ? { labels: parsePairs(flags.label) } : {},
    ...flags.profile?.length ? { profiles: [...flags.profile] } : {},
  });
  this.process.stdout.write(
    flags.output === "json" ? formatJson(workload) : workload.addresses.map((address) => `${address}\n`).join(""),
  );
}

/** Takes a workload off the network. */
export async function detach(this: Terminal, flags: { readonly socket?: string }, name: string): Promise<void> {
  await connectNode(this, flags).workloads.detach(name);
}

/** Lists the workloads of this host. */
export async function list(
  this: Terminal,
  flags: { readonly output: "table" | "json"; readonly socket?: string },
): Promise<void> {
  const workloads = await connectNode(this, flags).workloads.list();
  this.process.stdout.write(
    flags.output === "json" ? formatJson(workloads) : formatTable(workloads, [
      { title: "name", cell: (row) => row.name },
      { title: "interface", cell: (row) => row.interface },
      { title: "addresses", cell: (row) => row.addresses.join(",") },
      { title: "labels", cell: (row) => Object.entries(row.labels).map(([key, value]) => `${key}=${value}`).join(",") },
      { title: "ready", cell: (row) => row.ready ? "yes" : "no" },
    ]),
  );
}

/** A relative path means one seen from here, not from the node. */
function netnsReference(netns: string): string {
  return netns.includes("/") && !netns.startsWith("/") ? `${Deno.cwd()}/${netns}` : netns;
}
