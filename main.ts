/**
 * The program's entry: argv and environment decide which part is loaded, and nothing else is.
 *
 * Each part is behind a dynamic import, which the bundle keeps a file of its own: a light verb starts in the time that
 * Deno itself takes. Anything imported statically here is paid for by every start, a CNI call included.
 */

/** Runs the verb that `args` names and returns the exit status: 0 done, 1 failed, 2 wrong usage. */
async function main(args: readonly string[]): Promise<number> {
  // The packed form's private cache folder: Deno has read it already, and a child process must not fill it.
  if (Deno.env.has("TORTIE_SELF")) Deno.env.delete("DENO_DIR");
  const [verb, ...rest] = args;
  switch (verb) {
    case "version":
    case "--version": {
      const { formatVersion, version } = await import("./src/cli/version.ts");
      const isJson = rest.length === 2 && (rest[0] === "-o" || rest[0] === "--output") && rest[1] === "json";
      if (rest.length > 0 && !isJson) return usage("tortie version [-o json]");
      console.log(isJson ? JSON.stringify(version()) : formatVersion(version()));
      return 0;
    }
    default:
      return usage("tortie version");
  }
}

function usage(line: string): number {
  console.error(`tortie: wrong usage; usage: ${line}`);
  return 2;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
