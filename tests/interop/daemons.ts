/**
 * Two hosts in network namespaces joined by a veth pair, and the BGP daemons that run in them: tortie's speaker, and Debian's
 * BIRD 2, FRR and GoBGP, each from a configuration, each stopped by its own process id.
 *
 *   left (tortie)  10.77.0.1, fd77::1  ----veth----  right (the peer)  10.77.0.2, fd77::2
 */

import { join } from "node:path";
import type { SpeakerConfig } from "../../src/bgp/config.ts";
import type { Answers, PeerStatus, Query, SpeakerStatus } from "../../src/speaker/messages.ts";
import { lineStream } from "./lines.ts";

export const LEFT = { v4: "10.77.0.1", v6: "fd77::1" };
export const RIGHT = { v4: "10.77.0.2", v6: "fd77::2" };
const FRR = "/usr/lib/frr";
const STOP_GRACE_MS = 3_000;
let numbers = 0;

/** Runs a program to its end; throws with its words when it fails. */
export async function run(program: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, { args, stdin: "null" }).output();
  const text = new TextDecoder().decode(stdout);
  if (!success) throw new Error(`Cannot run ${program} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}${text}`);
  return text;
}

/** Whether what these tests need is installed and allowed. */
export function canRun(...programs: string[]): boolean {
  const isThere = (path: string) => {
    try {
      return Deno.statSync(path).isFile;
    } catch {
      return false;
    }
  };
  return Deno.uid() === 0 && programs.every(isThere);
}

/** Two hosts and a folder for their files. */
export interface Hosts {
  readonly left: string;
  readonly right: string;
  readonly folder: string;
  /** Runs a program in a host; throws when it fails. */
  exec(host: string, program: string, ...args: string[]): Promise<string>;
  /** Ends what was started in the hosts, and the hosts. */
  close(): Promise<void>;
  onClose(end: () => Promise<void>): void;
}

/** Makes the hosts; `close` must be called. */
export async function makeHosts(): Promise<Hosts> {
  const mark = `ttG-${Deno.pid}-${numbers++}`;
  const [left, right] = [`${mark}a`, `${mark}b`];
  const folder = await Deno.makeTempDir({ prefix: "tortie-interop-" });
  await Deno.chmod(folder, 0o777);
  const ends: (() => Promise<void>)[] = [];
  const hosts: Hosts = {
    left,
    right,
    folder,
    exec: (host, program, ...args) => run("ip", "netns", "exec", host, program, ...args),
    onClose: (end) => void ends.push(end),
    async close() {
      for (const end of ends.reverse()) await end().catch((error) => console.error("while closing:", error));
      for (const host of [left, right]) await run("ip", "netns", "del", host).catch(() => {});
      await Deno.remove(folder, { recursive: true }).catch(() => {});
    },
  };
  try {
    for (const host of [left, right]) {
      await run("ip", "netns", "add", host);
      await run("ip", "-n", host, "link", "set", "lo", "up");
      await hosts.exec(host, "sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0");
    }
    await run("ip", "-n", left, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", right);
    for (const [host, { v4, v6 }] of [[left, LEFT], [right, RIGHT]] as const) {
      await run("ip", "-n", host, "addr", "add", `${v4}/24`, "dev", "eth0");
      await run("ip", "-n", host, "addr", "add", `${v6}/64`, "dev", "eth0", "nodad");
      await run("ip", "-n", host, "link", "set", "eth0", "up");
    }
    return hosts;
  } catch (error) {
    await hosts.close();
    throw error;
  }
}

/** Waits until `look` gives something that is not undefined or false; the error says what was seen last. */
export async function eventually<T>(what: string, look: () => Promise<T | undefined | false>, ms = 20_000): Promise<T> {
  const end = performance.now() + ms;
  let last: unknown;
  do {
    try {
      const found = await look();
      if (found !== undefined && found !== false) return found;
      last = found;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  } while (performance.now() < end);
  throw new Error(
    `Cannot wait any longer for ${what} (${ms} ms): ${last instanceof Error ? last.message : JSON.stringify(last)}`,
  );
}

/** A daemon of another project. */
export interface Daemon {
  /** Asks its own command line tool: birdc or gobgp with these words, vtysh with these lines. */
  ask(...words: string[]): Promise<string>;
  /** All that it has logged. */
  log(): Promise<string>;
  /** Stops the processes; `signal` SIGKILL to let the peer find out by itself. */
  stop(signal?: Deno.Signal): Promise<void>;
  /** SIGSTOP and SIGCONT: a peer that is alive for TCP and says nothing. */
  freeze(): void;
  thaw(): void;
}

function start(hosts: Hosts, host: string, out: string, program: string, ...args: string[]): Deno.ChildProcess {
  const words = [`exec "$0" "$@" >>"${out}" 2>&1 </dev/null`, program, ...args];
  return new Deno.Command("ip", {
    args: ["netns", "exec", host, "sh", "-c", ...words],
    stdin: "null",
    stdout: "null",
    stderr: "null",
    cwd: hosts.folder,
  }).spawn();
}

async function end(child: Deno.ChildProcess, signal: Deno.Signal): Promise<void> {
  const kill = (which: Deno.Signal) => {
    try {
      child.kill(which);
    } catch {
      // It has ended already.
    }
  };
  kill("SIGCONT");
  kill(signal);
  const timer = setTimeout(() => kill("SIGKILL"), STOP_GRACE_MS);
  await child.status;
  clearTimeout(timer);
}

function daemon(
  hosts: Hosts,
  children: Deno.ChildProcess[],
  logs: string[],
  ask: (...words: string[]) => Promise<string>,
): Daemon {
  const made: Daemon = {
    ask,
    log: async () => (await Promise.all(logs.map((path) => Deno.readTextFile(path).catch(() => "")))).join("\n"),
    async stop(signal = "SIGTERM") {
      for (const child of children.splice(0)) await end(child, signal);
    },
    freeze: () => children.forEach((child) => child.kill("SIGSTOP")),
    thaw: () => children.forEach((child) => child.kill("SIGCONT")),
  };
  hosts.onClose(() => made.stop("SIGKILL"));
  return made;
}

/** BIRD 2 in the right host; `config` is put behind router id, log and device protocol. */
export async function startBird(hosts: Hosts, config: string): Promise<Daemon> {
  const folder = join(hosts.folder, `bird${numbers++}`);
  await Deno.mkdir(folder);
  const [file, socket, log] = [join(folder, "bird.conf"), join(folder, "ctl"), join(folder, "log")];
  await Deno.writeTextFile(
    file,
    `log "${log}" all;\nrouter id ${RIGHT.v4};\ndebug protocols { states, events };\nprotocol device { scan time 1; }\n${config}`,
  );
  const child = start(hosts, hosts.right, join(folder, "out"), "/usr/sbin/bird", "-f", "-c", file, "-s", socket);
  const ask = (...words: string[]) => hosts.exec(hosts.right, "/usr/sbin/birdc", "-s", socket, ...words);
  const made = daemon(hosts, [child], [log, join(folder, "out")], ask);
  await eventually("BIRD's control socket", () => ask("show", "status"));
  return made;
}

/** FRR's zebra and bgpd in the right host, and bfdd if its configuration is given; `config` is bgpd's. */
export async function startFrr(hosts: Hosts, config: string, bfd?: string): Promise<Daemon> {
  const folder = join(hosts.folder, `frr${numbers++}`);
  await Deno.mkdir(folder);
  const at = (name: string) => join(folder, name);
  await Deno.writeTextFile(at("zebra.conf"), `hostname right\nlog file ${at("zebra.log")} informational\n`);
  await Deno.writeTextFile(
    at("bgpd.conf"),
    `hostname right\nlog file ${at("bgpd.log")} debugging\ndebug bgp neighbor-events\n${config}`,
  );
  await run("chown", "-R", "frr:frr", folder);
  const options = ["-u", "frr", "-g", "frr", "--vty_socket", folder, "-P", "0", "-z", at("zserv.api")];
  const zebra = start(
    hosts,
    hosts.right,
    at("zebra.out"),
    `${FRR}/zebra`,
    ...options,
    "-i",
    at("zebra.pid"),
    "-f",
    at("zebra.conf"),
  );
  await eventually("zebra's socket", async () => (await Deno.stat(at("zserv.api"))).isSocket);
  const bgpd = start(
    hosts,
    hosts.right,
    at("bgpd.out"),
    `${FRR}/bgpd`,
    ...options,
    "-i",
    at("bgpd.pid"),
    "-f",
    at("bgpd.conf"),
  );
  const others: Deno.ChildProcess[] = [];
  if (bfd !== undefined) {
    await Deno.writeTextFile(at("bfdd.conf"), `hostname right\nlog file ${at("bfdd.log")} debugging\n${bfd}`);
    const own = ["-i", at("bfdd.pid"), "-f", at("bfdd.conf"), "--bfdctl", at("bfdd.sock")];
    others.push(start(hosts, hosts.right, at("bfdd.out"), `${FRR}/bfdd`, ...options, ...own));
    await eventually("bfdd", async () => (await Deno.stat(at("bfdd.vty"))).isSocket);
  }
  const ask = (...words: string[]) =>
    hosts.exec(
      hosts.right,
      "/usr/bin/vtysh",
      "--vty_socket",
      folder,
      ...(bfd === undefined ? ["-d", "bgpd"] : []),
      ...words.flatMap((line) => ["-c", line]),
    );
  const logs = [at("bgpd.log"), at("bgpd.out"), at("zebra.out"), at("bfdd.log"), at("bfdd.out")];
  const made = daemon(hosts, [bgpd, ...others, zebra], logs, ask);
  await eventually("bgpd", async () => (await ask("show version")).includes("FRR"));
  return made;
}

/** GoBGP in the right host; `config` is its TOML. */
export async function startGobgp(hosts: Hosts, config: string): Promise<Daemon> {
  const folder = join(hosts.folder, `gobgp${numbers++}`);
  await Deno.mkdir(folder);
  const [file, log] = [join(folder, "gobgpd.toml"), join(folder, "log")];
  await Deno.writeTextFile(file, config);
  const child = start(
    hosts,
    hosts.right,
    log,
    "/usr/bin/gobgpd",
    "-f",
    file,
    "-l",
    "debug",
    "--pprof-disable",
    "--api-hosts",
    "127.0.0.1:50051",
  );
  const ask = (...words: string[]) => hosts.exec(hosts.right, "/usr/bin/gobgp", ...words);
  const made = daemon(hosts, [child], [log], ask);
  await eventually("gobgpd", () => ask("global"));
  return made;
}

/** tortie's speaker in a host. */
export interface TortieSpeaker {
  configure(config: SpeakerConfig): void;
  ask<Q extends Query>(query: Q): Promise<Answers[Q["kind"]]>;
  status(): SpeakerStatus | undefined;
  /** The peer of that name, as the speaker answers now. */
  peer(name: string): Promise<PeerStatus | undefined>;
  /** Log lines as "level message {fields}". */
  log(): string;
  /** Keeps the main thread of its process busy for so long, in milliseconds. */
  keepBusy(ms: number): void;
  stop(signal?: Deno.Signal): Promise<void>;
}

/** Starts the speaker in a host (the left one when left out). */
export function startTortie(hosts: Hosts, config: SpeakerConfig, host = hosts.left): TortieSpeaker {
  const main = join(import.meta.dirname ?? ".", "speaker_process.ts");
  const child = new Deno.Command("ip", {
    args: ["netns", "exec", host, Deno.execPath(), "run", "-A", "--no-check", main],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
    env: { DENO_NO_UPDATE_CHECK: "1" },
  }).spawn();
  const writer = child.stdin.getWriter();
  const waiting = new Map<number, { resolve(answer: unknown): void; reject(error: Error): void }>();
  const lines: string[] = [];
  let status: SpeakerStatus | undefined;
  let nextId = 1;
  const say = (order: unknown) => writer.write(new TextEncoder().encode(`${JSON.stringify(order)}\n`)).catch(() => {});
  const listen = async () => {
    for await (const line of child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(lineStream())) {
      const said = JSON.parse(line);
      if (said.status) status = said.status;
      if (said.log) lines.push(`${said.log.level} ${said.log.message} ${JSON.stringify(said.log.fields)}`);
      const asked = waiting.get(said.id);
      waiting.delete(said.id);
      if (said.error) asked?.reject(new Error(said.error));
      else asked?.resolve(said.answer);
    }
    for (const { reject } of waiting.values()) reject(new Error("the speaker's process has ended"));
  };
  const listening = listen();
  let isStopped = false;
  const made: TortieSpeaker = {
    configure: (next) => void say({ config: next }),
    ask: (query) =>
      new Promise((resolve, reject) => {
        const id = nextId++;
        waiting.set(id, { resolve: resolve as (answer: unknown) => void, reject });
        void say({ id, query });
      }),
    status: () => status,
    peer: async (name) => (await made.ask({ kind: "peers" })).find((peer) => peer.name === name),
    log: () => lines.join("\n"),
    keepBusy: (ms) => void say({ busy: ms }),
    async stop(signal) {
      if (isStopped) return;
      isStopped = true;
      if (signal) child.kill(signal);
      else await say({ stop: true });
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_GRACE_MS);
      await child.status;
      clearTimeout(timer);
      await writer.close().catch(() => {});
      await listening;
    },
  };
  hosts.onClose(() => made.stop());
  made.configure(config);
  return made;
}
