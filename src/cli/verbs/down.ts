/** `tortie down`: takes everything that bears tortie's mark off this host. */

import { takeDown } from "../../agent/down.ts";
import { FirewallReconciler } from "../../dataplane/firewall_reconciler.ts";
import { openKernel } from "../../linux/kernel.ts";
import { openFirewall } from "../../linux/nftables.ts";
import { systemClock } from "../../store/expiry.ts";
import { connectApi } from "../../api/client.ts";
import { socketPath } from "../connection.ts";
import { loadConfiguration } from "../node/configuration.ts";
import { refuseMissingRights } from "../node/rights.ts";
import { CliError, type Terminal } from "../terminal.ts";

/** Takes the dataplane down; refused while a node runs here, which would only build it up again. */
export async function down(
  this: Terminal,
  flags: { readonly config?: string; readonly socket?: string },
): Promise<void> {
  refuseMissingRights("taking the dataplane down");
  const socket = flags.socket === undefined && flags.config !== undefined
    ? (await loadConfiguration(this, flags.config)).settings.node.socket
    : socketPath(this, flags);
  if (await connectApi(socket).status().then(() => true, () => false)) {
    throw new CliError(`a node runs here (${socket}): stop it first, else it builds everything up again`);
  }
  const kernel = openKernel();
  try {
    const { links, routes, neighbours, errors } = await takeDown(kernel);
    // Last, so that nothing passes unjudged while there is still a way for it.
    const tables = await takeFirewallDown();
    const removed =
      `${links.length} interfaces, ${routes} routes, ${neighbours} neighbours, ${tables.removed} nftables tables`;
    this.process.stdout.write(`removed ${removed}\n`);
    if (errors.length + tables.errors.length > 0) throw new CliError([...errors, ...tables.errors].join("\n"));
  } finally {
    kernel.close();
  }
}

/** Removes our tables of nftables. */
async function takeFirewallDown(): Promise<{ readonly removed: number; readonly errors: readonly string[] }> {
  const firewall = openFirewall();
  try {
    const { tables } = await firewall.read();
    const reconciler = new FirewallReconciler(firewall, systemClock);
    reconciler.desire({ tables: [] });
    await reconciler.apply({ mayRemove: true });
    const errors = reconciler.failures().map(({ error }) => error.message);
    return { removed: errors.length > 0 ? 0 : tables.size, errors };
  } finally {
    firewall.close();
  }
}
