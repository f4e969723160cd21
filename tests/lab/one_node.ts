/**
 * One real node for the tests of the command line: a host namespace with an `eth0`, two empty namespaces for workloads,
 * a configuration file, and `tortie run` started in the host's namespace. Everything is taken down however the test ends.
 */

import assert from "node:assert/strict";
import { connectApi } from "../../src/api/client.ts";
import { type LabProcess, startProcess, stopProcesses } from "../../src/lab/process.ts";
import { isRunning } from "../../src/lab/process.ts";
import { KINDS } from "../../src/model/kinds.ts";
import { type Finished, tortie } from "./fleet.ts";

/** A node, and what a test does with it. */
export interface OneNode {
  readonly dir: string;
  readonly config: string;
  readonly socket: string;
  /** Namespaces: the host's, and two for workloads. */
  readonly host: string;
  readonly workloads: readonly [string, string];
  /** Starts the node and waits until it answers; `env` is added to its environment. */
  start(env?: Record<string, string>): Promise<LabProcess>;
  /** Ends the node by a signal and waits until it is gone. */
  stop(): Promise<void>;
  isRunning(): boolean;
  /** Runs tortie against this node's socket. */
  tortie(args: readonly string[], options?: RunOptions): Promise<Finished>;
  /** What `tortie … -o json` prints, parsed. */
  // deno-lint-ignore no-explicit-any
  json(...args: string[]): Promise<any>;
  /** Links, addresses and routes of the host's namespace, and everything that the store holds. */
  standing(): Promise<string>;
  ip(...args: string[]): Promise<string>;
  log(): string;
}

/** How a command is run. */
export interface RunOptions {
  readonly input?: string | Uint8Array<ArrayBuffer>;
  readonly env?: Record<string, string>;
  /** Words before the command: `ip netns exec …`, `unshare …`. */
  readonly under?: readonly string[];
}

/** The settings and resources of the node's file: it is one of two that share the file. */
export function configuration(dir: string, settings = ""): string {
  return `node: { name: a, ip: 192.168.100.100/24, stateDir: ${dir}/state, socket: ${dir}/tortie.sock }
${settings}---
apiVersion: projectcalico.org/v3
kind: Node
metadata: { name: a, labels: { rack: one } }
spec: { bgp: { ipv4Address: 192.168.100.100/24 } }
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: { name: b }
spec: { bgp: { ipv4Address: 192.168.100.101/24 } }
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: { name: pool-a }
spec: { cidr: 172.17.8.0/29, blockSize: 29, nodeSelector: "name == 'a'" }
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: { name: pool-b }
spec: { cidr: 172.17.9.0/24, nodeSelector: "name == 'b'" }
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: { name: tor }
spec: { peerIP: 192.168.100.1, asNumber: 65000 }
`;
}

/** Makes the namespaces and the file, hands them to the test, and takes them away. */
export async function withNode(run: (node: OneNode) => Promise<void>, settings?: string): Promise<void> {
  const name = `ttH${crypto.randomUUID().slice(0, 5)}`;
  const [host, one, two] = [`${name}-host`, `${name}-one`, `${name}-two`];
  const dir = await Deno.makeTempDir({ prefix: "tortie-node-" });
  const config = `${dir}/tortie.yaml`, socket = `${dir}/tortie.sock`, log = `${dir}/node.log`;
  const processes: LabProcess[] = [];
  const ip = async (...args: string[]) => (await finish(["ip", "-n", host, ...args])).stdout;
  const node: OneNode = {
    dir,
    config,
    socket,
    host,
    workloads: [one, two],
    ip,
    start: async (env = {}) => {
      const process = startProcess("a", host, [...tortie, "run", "--config", config], log, env);
      processes.push(process);
      await eventually("the node answers", async () => {
        assert.ok(isRunning(process), `the node ended: ${node.log()}`);
        return (await connectApi(socket).status()).store.inSync;
      });
      return process;
    },
    stop: async () => await stopProcesses(processes.splice(0)),
    isRunning: () => processes.length > 0 && processes.every(isRunning),
    tortie: (args, { input, env, under = [] } = {}) =>
      finish([...under, ...tortie, ...args], input, { TORTIE_SOCKET: socket, ...env }),
    json: async (...args) => {
      const { code, stdout, stderr } = await node.tortie([...args, "-o", "json"]);
      assert.equal(code, 0, stderr);
      return JSON.parse(stdout);
    },
    standing: async () => {
      const shown = await Promise.all([
        ip("-j", "link"),
        ip("-j", "address"),
        ip("-j", "route", "show", "table", "all"),
      ]);
      const kernel = shown.map((text) =>
        // What ages by itself is no change of ours.
        JSON.stringify(JSON.parse(text), (key, value) =>
          /life_time|^stats|expires$|^tentative$/.test(key) ? undefined : value, 1)
      );
      const api = connectApi(socket);
      const resources = await Promise.all(KINDS.map(({ kind }) => api.resources.list(kind)));
      const blocks = await api.ipam.showBlocks();
      return [...kernel, JSON.stringify([resources, blocks, await api.ipam.configure({})], null, 1)].join("\n");
    },
    log: () => {
      try {
        return Deno.readTextFileSync(log);
      } catch {
        return "";
      }
    },
  };
  try {
    for (const namespace of [host, one, two]) await finish(["ip", "netns", "add", namespace]);
    await finish(
      ["ip", "-n", host, "-batch", "-"],
      [
        "link set lo up",
        "link add eth0 type veth peer name eth0-peer",
        // A link-local address would change by itself while it is tentative.
        "link set eth0 addrgenmode none",
        "link set eth0-peer addrgenmode none",
        "link set eth0-peer up",
        "link set eth0 up",
        "address add 192.168.100.100/24 dev eth0",
      ].join("\n"),
    );
    Deno.writeTextFileSync(config, configuration(dir, settings));
    await run(node);
  } finally {
    await stopProcesses(processes);
    for (const namespace of [host, one, two]) await finish(["ip", "netns", "del", namespace]);
    await Deno.remove(dir, { recursive: true });
  }
}

/** Runs a program to its end, with `input` on its standard input. */
export async function finish(
  [program = "", ...args]: readonly string[],
  input?: string | Uint8Array<ArrayBuffer>,
  env: Record<string, string> = {},
): Promise<Finished> {
  const child = new Deno.Command(program, {
    args,
    env,
    stdin: input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  if (input !== undefined) {
    const writer = child.stdin.getWriter();
    await writer.write(typeof input === "string" ? new TextEncoder().encode(input) : input).catch(() => {});
    await writer.close().catch(() => {});
  }
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** Asks every 20 ms until the condition holds; fails with the last error after 20 seconds. */
export async function eventually(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  let last: unknown;
  for (const end = Date.now() + 20_000; Date.now() < end;) {
    try {
      if (await holds()) return;
      last = undefined;
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail(`waited in vain until ${what}${last === undefined ? "" : `: ${last}`}`);
}
