/** `tortie lab`: the demonstration fleet. */

import type { LabFlags } from "../commands/lab.ts";
import { labDown, type LabOptions, labUp, openLab } from "../../lab/lab.ts";
import { allReach, formatReport, type LabReport, reportLab } from "../../lab/report.ts";
import { defaultTopology } from "../../lab/topology.ts";
import { readTopology } from "../../lab/topology_file.ts";
import { readFile } from "../file.ts";
import { selfCommand } from "../self.ts";
import { formatJson } from "../table.ts";
import { CliError, type Terminal, UsageError } from "../terminal.ts";

/** Brings the lab up and shows it. */
export async function up(this: Terminal, flags: LabFlags & { readonly config?: string }): Promise<void> {
  const topology = flags.config === undefined ? defaultTopology : await topologyFrom(this, flags.config);
  const interrupted = new AbortController();
  const interrupt = () => interrupted.abort();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) Deno.addSignalListener(signal, interrupt);
  const say = (line: string) => this.process.stderr.write(`lab: ${line}\n`);
  const lab = await labUp(topology, { ...options(flags), say, signal: interrupted.signal });
  // From here on it is up, and an interrupted report leaves it so.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) Deno.removeSignalListener(signal, interrupt);
  show(this, await reportLab(lab), "table");
  const name = flags.name === "tortie" ? "" : ` --name ${flags.name}`;
  say(`look around with \`tortie lab exec${name} ${topology.hosts[0]?.name} -- ip route\``);
  say(`end it with \`tortie lab down${name}\``);
}

/** Takes the lab down. */
export async function down(this: Terminal, flags: LabFlags): Promise<void> {
  const wasUp = await labDown(options(flags));
  this.process.stderr.write(wasUp ? "lab: down, nothing is left behind\n" : `lab: there is no lab ${flags.name}\n`);
}

/** Shows the lab as it is now; exit status 1 when a workload does not reach another. */
export async function status(this: Terminal, flags: LabFlags & { readonly output: "table" | "json" }): Promise<void> {
  show(this, await reportLab(openLab(options(flags))), flags.output);
}

/** Runs a command inside a member of the lab, with this terminal, and exits as it does. */
export async function exec(this: Terminal, flags: LabFlags, member: string, ...command: string[]): Promise<void> {
  if (command[0] === "--") command.shift();
  if (command.length === 0) throw new UsageError("say what to run: lab exec HOST -- CMD");
  const lab = openLab(options(flags));
  const isHost = lab.topology.hosts.some((host) => host.name === member);
  const { code } = await new Deno.Command("ip", {
    args: ["netns", "exec", lab.namespace(member), ...command],
    env: { PATH: pathWithSelf(), ...isHost ? { TORTIE_SOCKET: lab.socket(member) } : {} },
  }).spawn().status;
  this.process.exitCode = code;
}

function show(terminal: Terminal, report: LabReport, output: "table" | "json"): void {
  terminal.process.stdout.write(output === "json" ? formatJson(report) : formatReport(report));
  if (!allReach(report)) throw new CliError("not every workload reaches every other");
}

/** Where programs are looked for, and last where this one is, so that `tortie` is found before it is installed. */
function pathWithSelf(): string {
  const { command } = selfCommand();
  return `${Deno.env.get("PATH") ?? "/usr/sbin:/usr/bin:/sbin:/bin"}:${command.slice(0, command.lastIndexOf("/"))}`;
}

function options({ name }: LabFlags): LabOptions {
  const { command, args } = selfCommand();
  return { name, command: [command, ...args] };
}

async function topologyFrom(terminal: Terminal, file: string) {
  const { text, name } = await readFile(terminal, file);
  return readTopology(text, name);
}
