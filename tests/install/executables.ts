/**
 * What the tests of the executable share: packed files around a stand-in program, and a way to run them.
 *
 * The stand-in is a shell script in the place of `deno`, so that the shell head is tested in milliseconds and can be
 * asked things the real program would not tell.
 */
import { join } from "node:path";
import { pack } from "../../build/pack.ts";

/** The checkout's top folder. */
export const root = join(import.meta.dirname ?? ".", "..", "..");

/** Prints, one a line: the process id, its arguments, its own path, its cache folder. */
export const TELLING = `#!/bin/sh
echo "pid=$$"
printf 'arg=%s\\n' "$@"
echo "self=$TORTIE_SELF"
echo "cache=$DENO_DIR"
`;

/** Prints `up`, then lasts until its standard input ends. */
export const LASTING = "#!/bin/sh\necho up\nexec cat\n";

/** Packs the script `program` with one application file into `folder/name`; returns its path and content hash. */
export function packScript(folder: string, name: string, program: string, app = "1;"): { path: string; hash: string } {
  const source = join(folder, `${name}.source`);
  Deno.mkdirSync(join(source, "bundle"), { recursive: true });
  Deno.writeTextFileSync(join(source, "program"), program);
  Deno.writeTextFileSync(join(source, "bundle", "main.js"), app);
  const path = join(folder, name);
  const { hash } = pack({
    program: join(source, "program"),
    bundle: join(source, "bundle"),
    stub: Deno.readTextFileSync(join(root, "build", "stub.sh")),
    version: "0.0.0",
    target: Deno.build.target,
  }, path);
  return { path, hash };
}

/** What a finished command printed, and its status. */
export interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a command to its end. */
export async function run(command: string, args: string[], options: Deno.CommandOptions = {}): Promise<Ended> {
  const { code, stdout, stderr } = await new Deno.Command(command, { stdin: "null", ...options, args }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** Runs `body` with a new folder, which is removed afterwards. */
export async function withFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "tortie-test-" });
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Waits until `isSo` holds; throws, naming `what`, when it does not within ten seconds. */
export async function until(what: string, isSo: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!isSo()) {
    if (performance.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** The names in a folder, sorted; none if it is not there. */
export function names(folder: string): string[] {
  try {
    return [...Deno.readDirSync(folder)].map((entry) => entry.name).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
