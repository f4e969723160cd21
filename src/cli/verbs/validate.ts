/** `tortie validate`: checks a configuration file, or a file of resources, without a node. */

import { nodeName } from "../../model/config.ts";
import { checkFleet } from "../../model/fleet.ts";
import { parseDocuments } from "../../model/parse.ts";
import { readFile } from "../file.ts";
import { formatConfigErrors, hasSettings } from "../node/configuration.ts";
import { CliError, type Terminal } from "../terminal.ts";

/** Says what was found to be right; throws `CliError` with a line for each error. */
export async function validate(this: Terminal, flags: { readonly file: string }): Promise<void> {
  const { text, name } = await readFile(this, flags.file);
  const { settings, resources, errors } = parseDocuments(text, name);
  // A file of resources alone may be for any node, and for a store that holds more than it.
  const isNodes = hasSettings(settings);
  const problems = errors.length > 0 ? errors : checkFleet(resources, {
    datastore: isNodes ? settings.datastore.type : "etcd",
    ...isNodes ? { nodeName: nodeName(settings, Deno.hostname()) } : {},
  });
  if (problems.length > 0) throw new CliError(formatConfigErrors(problems));
  this.process.stdout.write(
    `${name}: valid, ${resources.length} ${resources.length === 1 ? "resource" : "resources"}\n`,
  );
}
