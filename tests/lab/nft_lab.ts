/** What the nf_tables labs share: a fresh namespace that is gone afterwards, and Debian's `nft` in it. */

import assert from "node:assert/strict";
import { createNamespace, deleteNamespace } from "../../src/linux/namespace.ts";

/** Whether this process may make network namespaces. */
export const isRoot = Deno.uid() === 0;

/** Whether Debian's `nft` is there. */
export const hasNft = await Deno.stat("/usr/sbin/nft").then(() => true, () => false);

let count = 0;

/** Runs the body with a fresh namespace. */
export async function inNftNamespace(body: (namespace: string) => Promise<void>): Promise<void> {
  const name = `ttP-${Deno.pid}-${++count}`;
  createNamespace(name);
  try {
    await body(name);
  } finally {
    deleteNamespace(name);
  }
}

/** Runs `nft …` in the namespace with that standard input, and returns what it prints; fails when it does. */
export async function nft(namespace: string, args: readonly string[], input = ""): Promise<string> {
  const child = new Deno.Command("ip", {
    args: ["netns", "exec", namespace, "nft", ...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  assert.equal(code, 0, `nft ${args.join(" ")}: ${new TextDecoder().decode(stderr).slice(0, 2000)}`);
  return new TextDecoder().decode(stdout);
}
