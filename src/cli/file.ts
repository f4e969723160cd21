/** Reads the file that `-f` names; "-" is standard input. */

import { CliError, type Terminal } from "./terminal.ts";

/** The text of a file and the name to use for it in messages; throws `CliError` when it cannot be read. */
export async function readFile(terminal: Terminal, file: string): Promise<{ text: string; name: string }> {
  if (file === "-") return { text: await terminal.readInput(), name: "standard input" };
  try {
    return { text: await Deno.readTextFile(file), name: file };
  } catch (error) {
    const why = error instanceof Deno.errors.NotFound
      ? "there is no such file"
      : error instanceof Deno.errors.IsADirectory
      ? "it is a directory"
      : error instanceof Deno.errors.PermissionDenied
      ? "permission denied"
      : error instanceof Error
      ? error.message
      : String(error);
    throw new CliError(`Cannot read ${file}: ${why}`);
  }
}
