/**
 * The lab: real nodes in network namespaces of this machine, brought up and taken down whole.
 *
 * `up` draws the network, starts a real `tortie run` on every host and BIRD on the router, attaches the workloads, and
 * waits until every session stands and every workload reaches every other. What it made is noted in `lab.json` before
 * it is made, so `down` cleans up after a failure or a kill as well. The command line and the tests use this library.
 */

import { connectApi } from "../api/client.ts";
import { requirePrograms, runCommand } from "./command.ts";
import { buildNetwork, destroyNetwork, namedNamespaces, namespaceOf, namespacesOf } from "./network.ts";
import { allReach, reportLab } from "./report.ts";
import { isRunning, type LabProcess, startProcess, stopProcesses } from "./process.ts";
import { hostConfiguration, type LabHost, routerConfiguration, type Topology } from "./topology.ts";

/** Which lab, where it keeps its files, and how a node is started. */
export interface LabOptions {
  /** Prefix of its namespaces; letters, digits and dashes, at most 9 characters so that names stay readable. */
  readonly name: string;
  /** Its folder [/run/tortie-lab/NAME]. */
  readonly dir?: string;
  /** The command that starts tortie, without a verb. */
  readonly command: readonly string[];
  /** Says what is being done, for people. */
  readonly say?: (line: string) => void;
  /** Ends bringing it up; what was made until then is taken down. */
  readonly signal?: AbortSignal;
}

/** What `lab.json` holds. */
interface LabRecord {
  readonly topology: Topology;
  readonly namespaces: readonly string[];
  readonly processes: LabProcess[];
}

/** A lab that cannot be brought up, found or used. */
export class LabError extends Error {
  override readonly name = "LabError";
}

/** A lab that is up. */
export class Lab {
  constructor(
    readonly name: string,
    readonly dir: string,
    readonly command: readonly string[],
    readonly record: LabRecord,
  ) {}

  get topology(): Topology {
    return this.record.topology;
  }

  /** The namespace of a host, router or workload; throws `LabError` naming the known ones. */
  namespace(member: string): string {
    const namespace = namespaceOf(this.name, member);
    if (this.record.namespaces.includes(namespace)) return namespace;
    const known = this.record.namespaces.map((each) => each.slice(this.name.length + 1)).join(", ");
    throw new LabError(`no ${JSON.stringify(member)} in this lab: there are ${known}`);
  }

  /** The socket of a host's node. */
  socket(host: string): string {
    return `${this.dir}/${host}/tortie.sock`;
  }

  /** Runs a program inside a member's namespace and returns what it printed; with `mayFail` also when it failed. */
  run(member: string, command: readonly string[], options: { mayFail?: boolean } = {}): Promise<string> {
    return runCommand(["ip", "netns", "exec", this.namespace(member), ...command], options);
  }

  /** Asks the router's BIRD. */
  birdc(...words: string[]): Promise<string> {
    return runCommand(["birdc", "-s", `${this.dir}/${this.topology.router.name}/bird.ctl`, ...words]);
  }

  /** The process of a host's node or of the router. */
  process(member: string): LabProcess | undefined {
    return this.record.processes.findLast((each) => each.name === member);
  }

  /** Starts a host's node, or starts it again. */
  startNode(host: LabHost, env: Record<string, string> = {}): void {
    const dir = `${this.dir}/${host.name}`;
    const command = [...this.command, "run", "--config", `${dir}/tortie.yaml`];
    this.#note(startProcess(host.name, this.namespace(host.name), command, `${dir}/node.log`, env));
  }

  /** Starts the router's BIRD, or starts it again. */
  startRouter(): void {
    const { name } = this.topology.router;
    const dir = `${this.dir}/${name}`;
    const command = ["bird", "-f", "-c", `${dir}/bird.conf`, "-s", `${dir}/bird.ctl`];
    this.#note(startProcess(name, this.namespace(name), command, `${dir}/bird.log`));
  }

  /** Waits until a host's node answers; throws `LabError` with the end of its log when it does not. */
  async nodeReady(host: string, patience = 30_000, signal?: AbortSignal): Promise<void> {
    await until(`node ${host} answers`, patience, async () => {
      const process = this.process(host);
      if (process && !isRunning(process)) throw new LabError(`node ${host} ended: ${logTail(process.log)}`);
      return (await this.api(host).status()).store.inSync;
    }, signal);
  }

  /** The API of a host's node. */
  api(host: string): ReturnType<typeof connectApi> {
    return connectApi(this.socket(host));
  }

  #note(process: LabProcess): void {
    const kept = this.record.processes.filter(isRunning);
    this.record.processes.splice(0, this.record.processes.length, ...kept, process);
    writeRecord(this.dir, this.record);
  }
}

/** Brings a lab up; takes it down again when that fails. */
export async function labUp(topology: Topology, options: LabOptions): Promise<Lab> {
  const { name, command, say = () => {}, signal } = options;
  if (!/^[a-z][a-z0-9-]{0,8}$/i.test(name)) {
    throw new LabError(`wrong lab name ${JSON.stringify(name)}: 1 to 9 letters, digits and dashes, a letter first`);
  }
  if (Deno.uid() !== 0) throw new LabError("a lab needs root: run it with sudo");
  const dir = folder(options);
  const downCommand = `tortie lab down${name === "tortie" ? "" : ` --name ${name}`}`;
  if (readRecord(dir)) throw new LabError(`lab ${name} is up, or half of it: take it down first (${downCommand})`);
  requirePrograms();
  // Noted as ours they would be deleted with the lab.
  const taken = (await namedNamespaces()).filter((each) => namespacesOf(name, topology).includes(each));
  if (taken.length > 0) {
    throw new LabError(`the network namespaces ${taken.join(", ")} exist already: choose another name with --name`);
  }
  const lab = new Lab(name, dir, command, { topology, namespaces: namespacesOf(name, topology), processes: [] });
  writeRecord(dir, lab.record);
  try {
    const { length } = topology.hosts;
    say(`network: ${length} ${length === 1 ? "host" : "hosts"} and router ${topology.router.name} on one segment`);
    await buildNetwork(name, topology);
    signal?.throwIfAborted();
    writeConfigurations(lab);
    lab.startRouter();
    for (const host of topology.hosts) lab.startNode(host);
    await Promise.all(topology.hosts.map((host) => lab.nodeReady(host.name, 30_000, signal)));
    say("nodes: all answer");
    await Promise.all(topology.hosts.map((host) => attachWorkloads(lab, host)));
    say(`workloads: ${topology.hosts.flatMap((host) => host.workloads).length} attached`);
    signal?.throwIfAborted();
    await Promise.all(topology.hosts.map((host) => sessionsStand(lab, host, signal)));
    say("BGP: all sessions are established");
    await until("every workload reaches every other", 30_000, async () => allReach(await reportLab(lab)));
    return lab;
  } catch (error) {
    await labDown(options);
    if (signal?.aborted) throw new LabError("interrupted: the lab is taken down again, nothing is left behind");
    throw error;
  }
}

/** Finds a lab that is up; throws `LabError` when there is none. */
export function openLab(options: LabOptions): Lab {
  const dir = folder(options);
  const record = readRecord(dir);
  if (!record) throw new LabError(`no lab ${options.name} here: bring it up with \`tortie lab up\``);
  return new Lab(options.name, dir, options.command, record);
}

/** Takes a lab down, also half a one; false when there was none. */
export async function labDown(options: LabOptions): Promise<boolean> {
  const dir = folder(options);
  const record = readRecord(dir);
  if (!record) return false;
  await stopProcesses(record.processes);
  await destroyNetwork(options.name, record.namespaces);
  Deno.removeSync(dir, { recursive: true });
  return true;
}

/** Attaches the workloads of a host, one after the other, so that addresses come in the order of the description. */
async function attachWorkloads(lab: Lab, host: LabHost): Promise<void> {
  const api = lab.api(host.name);
  for (const { name, labels } of host.workloads) {
    await api.workloads.attach({ name, netns: lab.namespace(name), labels });
  }
}

/** Waits until the node's every session is established. */
async function sessionsStand(lab: Lab, host: LabHost, signal?: AbortSignal): Promise<void> {
  await until(`the sessions of ${host.name} are established`, 60_000, async () => {
    const api = lab.api(host.name);
    const waiting = (await api.bgp.peers()).filter(({ state }) => state !== "Established");
    if (waiting.length > 0) {
      throw new Error(
        waiting.map(({ name, state, lastError }) => `${name} is ${state}${lastError === null ? "" : ` (${lastError})`}`)
          .join(", "),
      );
    }
    const { bgp } = await api.status();
    return bgp.configured >= lab.topology.hosts.length && bgp.established === bgp.configured;
  }, signal);
}

function writeConfigurations(lab: Lab): void {
  for (const host of lab.topology.hosts) {
    const dir = `${lab.dir}/${host.name}`;
    Deno.mkdirSync(dir, { recursive: true });
    const text = hostConfiguration(lab.topology, host, { stateDir: `${dir}/state`, socket: lab.socket(host.name) });
    Deno.writeTextFileSync(`${dir}/tortie.yaml`, text);
  }
  const dir = `${lab.dir}/${lab.topology.router.name}`;
  Deno.mkdirSync(dir, { recursive: true });
  Deno.writeTextFileSync(`${dir}/bird.conf`, routerConfiguration(lab.topology));
}

/** Polls until the condition holds; throws `LabError` with the last error when it does not in time. */
export async function until(
  what: string,
  patience: number,
  holds: () => Promise<boolean> | boolean,
  signal?: AbortSignal,
): Promise<void> {
  let last: unknown;
  for (const end = Date.now() + patience; Date.now() < end;) {
    signal?.throwIfAborted();
    try {
      if (await holds()) return;
      last = undefined;
    } catch (error) {
      if (error instanceof LabError) throw error;
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new LabError(
    `waited ${patience / 1000} s in vain until ${what}${last instanceof Error ? `: ${last.message}` : ""}`,
  );
}

function folder({ name, dir }: LabOptions): string {
  return dir ?? `/run/tortie-lab/${name}`;
}

function readRecord(dir: string): LabRecord | undefined {
  try {
    return JSON.parse(Deno.readTextFileSync(`${dir}/lab.json`)) as LabRecord;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw new LabError(`Cannot read ${dir}/lab.json: ${error instanceof Error ? error.message : error}`);
  }
}

function writeRecord(dir: string, record: LabRecord): void {
  Deno.mkdirSync(dir, { recursive: true, mode: 0o700 });
  Deno.writeTextFileSync(`${dir}/lab.json.new`, JSON.stringify(record, null, 2));
  Deno.renameSync(`${dir}/lab.json.new`, `${dir}/lab.json`);
}

function logTail(path: string): string {
  try {
    return Deno.readTextFileSync(path).trimEnd().split("\n").slice(-3).join(" | ") || "its log is empty";
  } catch {
    return "it left no log";
  }
}
