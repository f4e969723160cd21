/** `tortie down`: takes everything that bears tortie's mark off this host. */

import { takeDown } from "../../agent/down.ts";
import { openKernel } from "../../linux/kernel.ts";
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
    this.process.stdout.write(`removed ${links.length} interfaces, ${routes} routes, ${neighbours} neighbours\n`);
    if (errors.length > 0) throw new CliError(errors.join("\n"));
  } finally {
    kernel.close();
  }
}
