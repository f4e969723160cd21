/** What the netlink labs share: fresh namespaces that are gone afterwards, and Debian's `ip` as the independent reader. */

import assert from "node:assert/strict";
import { createNamespace, deleteNamespace } from "../../src/linux/namespace.ts";

/** Whether this process may make network namespaces. */
export const isRoot = Deno.uid() === 0;

let count = 0;

/** Makes a namespace with a name nobody else uses; delete it with `deleteNamespace`. */
export function freshNamespace(): string {
  const name = `ttB-${Deno.pid}-${++count}`;
  createNamespace(name);
  return name;
}

/** Runs the body with that many fresh namespaces. */
export async function inNamespaces(size: number, body: (...names: string[]) => Promise<void>): Promise<void> {
  const names: string[] = [];
  try {
    while (names.length < size) names.push(freshNamespace());
    await body(...names);
  } finally {
    for (const name of names) deleteNamespace(name);
  }
}

/** Runs `ip -n NAMESPACE …` and returns its standard output; fails when it does. */
export function ip(namespace: string, ...args: string[]): string {
  const { code, stdout, stderr } = new Deno.Command("ip", { args: ["-n", namespace, ...args] }).outputSync();
  assert.equal(code, 0, `ip ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}

/** Runs `ip -n NAMESPACE -j -d …` and returns what its JSON holds. */
export function ipJson(namespace: string, ...args: string[]): Record<string, unknown>[] {
  return JSON.parse(ip(namespace, "-j", "-d", ...args) || "[]");
}
