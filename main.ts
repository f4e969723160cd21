/**
 * The program's entry: argv decides which part is loaded, and nothing else is.
 *
 * Each part is behind a dynamic import, which the bundle keeps a file of its own: a light verb starts in the time that
 * Deno itself takes. Anything imported statically here is paid for by every start.
 */

/** Runs the verb that `args` names and returns the exit status: 0 done, 1 failed, 2 wrong usage. */
async function main(args: readonly string[]): Promise<number> {
  // The packed form's private cache folder: Deno has read it already, and a child process must not fill it.
  if (Deno.env.has("TORTIE_SELF")) Deno.env.delete("DENO_DIR");
  if (args.length === 1 && (args[0] === "version" || args[0] === "--version")) {
    const { formatVersion, version } = await import("./src/cli/version.ts");
    console.log(formatVersion(version()));
    return 0;
  }
  const { endOnCrash } = await import("./src/cli/failure.ts");
  endOnCrash();
  const { processTerminal } = await import("./src/cli/terminal.ts");
  const { runCommandLine } = await import("./src/cli/app.ts");
  return await runCommandLine(args, processTerminal());
}

if (import.meta.main) Deno.exit(await main(Deno.args));
