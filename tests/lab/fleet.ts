/** A lab for tests: brought up with a name of its own, always taken down, driven through the real command line. */

import { selfCommand } from "../../src/cli/self.ts";
import { type Lab, labDown, type LabOptions, labUp } from "../../src/lab/lab.ts";
import type { Topology } from "../../src/lab/topology.ts";

/** The command that starts tortie: the built executable that TORTIE_EXECUTABLE names, else the source. */
export const tortie: readonly string[] = (() => {
  const executable = Deno.env.get("TORTIE_EXECUTABLE");
  if (executable) return [executable];
  const { command, args } = selfCommand();
  return [command, ...args];
})();

/** What a finished program printed. */
export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs tortie with these arguments to its end. */
export async function runTortie(args: readonly string[], env: Record<string, string> = {}): Promise<Finished> {
  const [command = "", ...rest] = tortie;
  const { code, stdout, stderr } = await new Deno.Command(command, { args: [...rest, ...args], env, stdin: "null" })
    .output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** Brings a lab up, hands it to the test, and takes it down however the test ends. */
export async function withLab(topology: Topology, run: (lab: Lab) => Promise<void>): Promise<void> {
  const name = `tt${crypto.randomUUID().slice(0, 5)}`;
  const options: LabOptions = { name, dir: await Deno.makeTempDir({ prefix: "tortie-lab-" }), command: tortie };
  try {
    await run(await labUp(topology, options));
  } finally {
    await labDown(options);
    await Deno.remove(options.dir ?? "", { recursive: true }).catch(() => {});
  }
}
