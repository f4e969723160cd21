/**
 * How this program was started, and the command that starts it again (the lab runs one `tortie run` for each host).
 *
 * There are three forms: the source run by `deno run`, the compiled executable, and the packed (self-extracting) one,
 * whose shell head puts its own path into TORTIE_SELF. A bundle run by hand with `deno run` counts as source.
 */

/** The form this program runs in. */
export type Packaging = "source" | "packed" | "compiled";

const OWN_SOURCE = "/src/cli/self.ts";

/** Says in which form this program runs. */
export function packaging(): Packaging {
  if (Deno.build.standalone) return "compiled";
  // The environment outlives the program: a source run below a packed one still carries its TORTIE_SELF.
  const isBundle = !import.meta.url.endsWith(OWN_SOURCE);
  return isBundle && Deno.env.get("TORTIE_SELF") ? "packed" : "source";
}

/** The command and leading arguments that start this program again: append the verb and its arguments. */
export function selfCommand(): { command: string; args: string[] } {
  switch (packaging()) {
    case "compiled":
      return { command: Deno.execPath(), args: [] };
    case "packed":
      return { command: Deno.env.get("TORTIE_SELF") ?? Deno.execPath(), args: [] };
    case "source": {
      const run = ["run", "--quiet", "--allow-all", "--no-prompt"];
      if (!import.meta.url.endsWith(OWN_SOURCE)) {
        return { command: Deno.execPath(), args: [...run, "--no-config", Deno.mainModule] };
      }
      const root = import.meta.url.slice("file://".length, -OWN_SOURCE.length);
      return { command: Deno.execPath(), args: [...run, "--config", `${root}/deno.json`, `${root}/main.ts`] };
    }
  }
}
