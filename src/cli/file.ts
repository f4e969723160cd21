/** Reads the file that `-f` names; "-" is standard input. */

import { CliError, type Terminal } from "./terminal.ts";

/** The text of a file and the name to use for it in messages; `whenMissing` says what to do where there is none; throws `CliError` when it cannot be read. */
export async function readFile(
  terminal: Terminal,
  file: string,
  whenMissing = "check the name",
): Promise<{ text: string; name: string }> {
  if (file === "-") return { text: decode(await terminal.readInput(), "standard input"), name: "standard input" };
  return { text: decode(await readBytes(file, whenMissing), file), name: file };
}

/** The text of UTF-8 bytes; a byte order mark is taken off. */
function decode(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new CliError(`Cannot read ${name}: it is not UTF-8 text; save it as UTF-8`);
  }
}

async function readBytes(file: string, whenMissing: string): Promise<Uint8Array> {
  try {
    return await Deno.readFile(file);
  } catch (error) {
    const why = error instanceof Deno.errors.NotFound
      ? `there is no such file; ${whenMissing}`
      : error instanceof Deno.errors.IsADirectory
      ? "it is a directory; name a file"
      : error instanceof Deno.errors.PermissionDenied
      ? "permission denied; run this as root"
      : error instanceof Error
      ? error.message
      : String(error);
    throw new CliError(`Cannot read ${file}: ${why}`);
  }
}
