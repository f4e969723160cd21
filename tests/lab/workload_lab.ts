/**
 * A host in a namespace of its own with an agent on the real kernel, workloads in others, and Debian's `ip` and `ping` as
 * independent readers.
 *
 *     host: eth0 192.0.2.1/24, 2001:db8::1/64 ---- port: switch         web, db, …: empty namespaces for workloads
 */

import assert from "node:assert/strict";
import { type Agent, startAgent } from "../../src/agent/agent.ts";
import type { Kernel } from "../../src/dataplane/ports.ts";
import { silentLog } from "../../src/lib/log.ts";
import { type LinuxKernel, openKernel } from "../../src/linux/kernel.ts";
import { createNamespace, deleteNamespace } from "../../src/linux/namespace.ts";
import { systemClock } from "../../src/store/expiry.ts";
import { MemoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { putPool } from "../unit/agent/scene.ts";

/** Whether this process may make network namespaces. */
export const isRoot = Deno.uid() === 0;

let count = 0;

/** Names of the namespaces of one lab. */
export interface Lab {
  readonly host: string;
  readonly switch: string;
  readonly web: string;
  readonly db: string;
  readonly store: MemoryStore;
  readonly kernel: LinuxKernel;
  /** Starts an agent named "a"; it is stopped with the lab. */
  start(parts?: { store?: Store; kernel?: Kernel }): Promise<Agent>;
}

/** Runs `ip -n NAMESPACE …`; fails when it does. */
export function ip(namespace: string, ...args: string[]): string {
  const { code, stdout, stderr } = new Deno.Command("ip", { args: ["-n", namespace, ...args] }).outputSync();
  assert.equal(code, 0, `ip ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}

/** Runs a program inside a namespace and returns its exit code and output. */
export async function run(namespace: string, ...args: string[]): Promise<{ code: number; text: string }> {
  const output = await new Deno.Command("ip", { args: ["netns", "exec", namespace, ...args] }).output();
  return { code: output.code, text: new TextDecoder().decode(output.stdout) + new TextDecoder().decode(output.stderr) };
}

/** Whether one ping gets there and back, tried for two seconds. */
export async function pings(namespace: string, target: string): Promise<boolean> {
  return (await run(namespace, "ping", "-n", "-c", "1", "-w", "2", target)).code === 0;
}

/** Waits until the condition holds; fails after `ms` milliseconds. Returns how long it took. */
export async function within(ms: number, what: string, condition: () => boolean | Promise<boolean>): Promise<number> {
  const start = performance.now();
  while (!await condition()) {
    if (performance.now() - start > ms) assert.fail(`${what}: not within ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return performance.now() - start;
}

/** The links, routes and neighbours of a namespace as `ip` shows them, without what changes by itself. */
export function standing(namespace: string): string[] {
  const links = ip(namespace, "-o", "link").trim().split("\n").map((line) => line.split(": ")[1]?.split("@")[0] ?? "");
  const lines = (...args: string[]) => ip(namespace, ...args).trim().split("\n").map((line) => line.trim());
  const neighbours = lines("neigh", "show", "nud", "permanent");
  const routes = [...lines("route"), ...lines("-6", "route")].filter((line) => !line.includes("fe80::"));
  return [...links, ...routes, ...neighbours].filter((line) => line !== "").sort();
}

/** Makes the lab, runs the body, and takes everything away. */
export async function inLab(body: (lab: Lab) => Promise<void>, { hasIpv6 = false } = {}): Promise<void> {
  const prefix = `ttF-${Deno.pid}-${++count}`;
  const names = { host: `${prefix}-h`, switch: `${prefix}-s`, web: `${prefix}-w`, db: `${prefix}-d` };
  const agents: Agent[] = [];
  const made: string[] = [];
  let kernel: LinuxKernel | undefined;
  try {
    for (const name of Object.values(names)) {
      createNamespace(name);
      made.push(name);
    }
    ip(names.host, "link", "set", "lo", "up");
    ip(names.host, "link", "add", "eth0", "type", "veth", "peer", "name", "port", "netns", names.switch);
    ip(names.switch, "link", "set", "port", "up");
    ip(names.host, "link", "set", "eth0", "up");
    ip(names.host, "address", "add", "192.0.2.1/24", "dev", "eth0");
    ip(names.host, "-6", "address", "add", "2001:db8::1/64", "dev", "eth0", "nodad");
    const store = new MemoryStore();
    await putPool(store, "v4", "172.17.8.0/24");
    if (hasIpv6) await putPool(store, "v6", "fd00:8::/64");
    const opened = kernel = openKernel(names.host);
    await body({
      ...names,
      store,
      kernel,
      start: async (parts = {}) => {
        const agent = startAgent({
          store: parts.store ?? store,
          kernel: parts.kernel ?? opened,
          settings: { name: "a", ip: "autodetect", ip6: "none" },
          clock: systemClock,
          log: silentLog,
        });
        agents.push(agent);
        await agent.ready;
        return agent;
      },
    });
  } finally {
    for (const agent of agents) await agent.stop();
    kernel?.close();
    for (const name of made) deleteNamespace(name);
  }
}

/** Defines a lab test; without root it is skipped with the reason in its name. */
export function labTest(
  sentence: string,
  body: (lab: Lab) => Promise<void>,
  options: { hasIpv6?: boolean } = {},
): void {
  if (isRoot) Deno.test(sentence, () => inLab(body, options));
  else Deno.test({ name: `${sentence} (skipped: needs root)`, ignore: true, fn() {} });
}
