/** Runs the programs that a lab is made with (Debian's `ip`, `ping`, `birdc`); the node itself never runs any. */

/** A program that failed, with its own words. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}

/** The programs that every lab is made with, and Debian's packages that have them. */
const PROGRAMS: Readonly<Record<string, string>> = {
  ip: "iproute2",
  ping: "iputils-ping",
  bird: "bird2",
  birdc: "bird2",
};

/** Throws `CommandError` naming the programs that are missing, before anything is made. */
export function requirePrograms(path = Deno.env.get("PATH") ?? ""): void {
  const missing = Object.keys(PROGRAMS).filter((program) =>
    !path.split(":").some((dir) => exists(`${dir}/${program}`))
  );
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((program) => PROGRAMS[program]))].join(" ");
  throw new CommandError(
    `a lab needs ${
      missing.join(" and ")
    }, not installed here: run \`sudo ./install.sh lab\` or \`apt-get install ${packages}\``,
  );
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** Runs a program to its end and returns its standard output; throws `CommandError` with its standard error. */
export async function runCommand(
  command: readonly [string, ...string[]],
  options: { readonly input?: string; readonly mayFail?: boolean } = {},
): Promise<string> {
  const [program, ...args] = command;
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(program, {
      args,
      stdin: options.input === undefined ? "null" : "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new CommandError(
        `Cannot run ${program}: it is not installed (\`install.sh lab\` installs what a lab needs)`,
      );
    }
    throw error;
  }
  if (options.input !== undefined) {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(options.input)).then(() => writer.close()).catch(() => {});
  }
  const { success, stdout, stderr } = await child.output();
  if (!success && !options.mayFail) {
    const words = new TextDecoder().decode(stderr).trim().split("\n").join("; ");
    throw new CommandError(`Cannot run \`${command.join(" ")}\`: ${words || "it failed"}`);
  }
  return new TextDecoder().decode(stdout);
}
