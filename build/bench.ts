/**
 * `deno task bench [NAME]…`: runs the programs in bench/ one after the other, all or the named ones, each by itself so
 * that none measures in another's garbage. A name is the file's, without `.ts`; what follows `--` goes to the program.
 */
import { join } from "node:path";

const root = join(import.meta.dirname ?? ".", "..");

/** Splits the words of the command line into programs to run (all that exist if none is named) and their arguments. */
export function chooseBenches(words: readonly string[], programs: readonly string[]): [string[], string[]] {
  const end = words.indexOf("--");
  const named = end < 0 ? [...words] : words.slice(0, end);
  const unknown = named.find((name) => !programs.includes(name));
  if (unknown !== undefined) throw new Error(`no bench \`${unknown}\`; there are: ${programs.join(", ")}`);
  return [named.length > 0 ? named : [...programs], end < 0 ? [] : words.slice(end + 1)];
}

/** Lists the programs of a folder: its TypeScript files that are run by themselves say so in their first comment. */
export function benchesIn(folder: string): string[] {
  const files = [...Deno.readDirSync(folder)].filter((entry) => entry.isFile && entry.name.endsWith(".ts"));
  const programs = files.filter(({ name }) => Deno.readTextFileSync(join(folder, name)).includes(`bench/${name}`));
  return programs.map(({ name }) => name.slice(0, -".ts".length)).sort();
}

if (import.meta.main) {
  try {
    const [names, args] = chooseBenches(Deno.args, benchesIn(join(root, "bench")));
    const failed: string[] = [];
    for (const name of names) {
      console.log(`== ${name}`);
      const { code } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", `bench/${name}.ts`, ...args],
        cwd: root,
        env: { DENO_NO_UPDATE_CHECK: "1" },
      }).spawn().status;
      if (code !== 0) failed.push(name);
    }
    if (failed.length > 0) throw new Error(`failed: ${failed.join(", ")}`);
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    Deno.exit(1);
  }
}
