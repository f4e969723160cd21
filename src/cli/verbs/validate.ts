/** `tortie validate`: checks a configuration file, or a file of resources, without a node. */

import { parseDocuments } from "../../model/config.ts";
import { readFile } from "../file.ts";
import type { Terminal } from "../terminal.ts";

/** Prints a line for each error and exits 1, or says what was found to be right. */
export async function validate(this: Terminal, flags: { readonly file: string }): Promise<void> {
  const { text, name } = await readFile(this, flags.file);
  const { resources, errors } = parseDocuments(text, name);
  if (errors.length > 0) {
    for (const error of errors) this.process.stderr.write(`tortie: ${error.message}\n`);
    this.process.exitCode = 1;
    return;
  }
  this.process.stdout.write(
    `${name}: valid, ${resources.length} ${resources.length === 1 ? "resource" : "resources"}\n`,
  );
}
