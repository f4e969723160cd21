/** A terminal that keeps what is written to it: the command line run inside the test. */

import { runCommandLine } from "../../../src/cli/app.ts";
import type { Terminal } from "../../../src/cli/terminal.ts";

/** What the world around a command is. */
export interface World {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string | Uint8Array;
  /** In the place of `input`. */
  readonly readInput?: Terminal["readInput"];
}

/** A terminal and what was written to it. */
export interface CollectingTerminal extends Terminal {
  readonly out: string;
  readonly err: string;
}

/** Makes a terminal with nothing written yet. */
export function collectingTerminal({ env = {}, input = "", readInput }: World = {}): CollectingTerminal {
  const written = { out: "", err: "" };
  return {
    process: {
      stdout: { write: (text) => void (written.out += text) },
      stderr: { write: (text) => void (written.err += text) },
      env: {},
      exitCode: undefined,
    },
    env: (name) => env[name],
    readInput: readInput ??
      (() => Promise.resolve(typeof input === "string" ? new TextEncoder().encode(input) : input)),
    isInteractive: false,
    get out() {
      return written.out;
    },
    get err() {
      return written.err;
    },
  };
}

/** Runs the command line in this process. */
export async function runHere(
  args: readonly string[],
  world?: World,
): Promise<{ code: number; stdout: string; stderr: string }> {
  const terminal = collectingTerminal(world);
  const code = await runCommandLine(args, terminal);
  return { code, stdout: terminal.out, stderr: terminal.err };
}
