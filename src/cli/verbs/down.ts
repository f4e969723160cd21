/** `tortie down`: takes everything that bears tortie's mark off this host. */

import { takeDown } from "../../agent/down.ts";
import { openKernel } from "../../linux/kernel.ts";
import { connectNode, socketPath } from "../connection.ts";
import { CliError, type Terminal } from "../terminal.ts";

/** Takes the dataplane down; refused while a node runs here, which would only build it up again. */
export async function down(this: Terminal, flags: { readonly socket?: string }): Promise<void> {
  if (Deno.uid() !== 0) throw new CliError("taking the dataplane down needs root: run it with sudo");
  const isRunning = await connectNode(this, flags).status().then(() => true, () => false);
  if (isRunning) {
    throw new CliError(
      `a node runs here (${socketPath(this, flags)}): stop it first, else it builds everything up again`,
    );
  }
  const kernel = openKernel();
  try {
    const { links, routes, neighbours, errors } = await takeDown(kernel);
    this.process.stdout.write(`removed ${links.length} interfaces, ${routes} routes, ${neighbours} neighbours\n`);
    if (errors.length > 0) throw new CliError(errors.join("\ntortie: "));
  } finally {
    kernel.close();
  }
}
