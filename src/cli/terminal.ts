/**
 * What a verb knows of the world it was called in: two streams, the environment, and the exit status that it sets.
 *
 * Tables and documents go to standard output, everything else to standard error, so output can be piped. Tests call a
 * verb with a terminal that collects strings.
 */

import type { StricliProcess } from "@stricli/core";

/** The context that every command function gets as `this`. */
export interface Terminal {
  readonly process: StricliProcess;
  readonly env: (name: string) => string | undefined;
  /** Everything from standard input, for `-f -`. */
  readonly readInput: () => Promise<Uint8Array>;
  /** Whether standard output is a terminal, for colour and live views. */
  readonly isInteractive: boolean;
}

/** A failure that the person at the terminal can mend: each line of it is printed as "tortie: …", exit status 1. */
export class CliError extends Error {
  override readonly name = "CliError";
}

/** A call that has no meaning: printed as one line, exit status 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The terminal of this process. */
export function processTerminal(): Terminal {
  const encoder = new TextEncoder();
  const writer = (stream: typeof Deno.stdout | typeof Deno.stderr) => ({
    write: (text: string) => {
      try {
        for (let bytes = encoder.encode(text); bytes.length > 0;) bytes = bytes.subarray(stream.writeSync(bytes));
      } catch (error) {
        // The reader (`head`, `grep -q`) has seen enough: end as SIGPIPE would have ended us.
        if (error instanceof Deno.errors.BrokenPipe) Deno.exit(141);
        throw error;
      }
    },
  });
  return {
    process: { stdout: writer(Deno.stdout), stderr: writer(Deno.stderr), env: {}, exitCode: undefined },
    env: (name) => Deno.env.get(name),
    readInput: () => new Response(Deno.stdin.readable).bytes(),
    isInteractive: Deno.stdout.isTerminal(),
  };
}
