/** What the nf_tables labs share: a fresh namespace that is gone afterwards, and Debian's `nft` in it. */

import assert from "node:assert/strict";
import { Ip } from "../../src/lib/ip.ts";
import { checked, libc } from "../../src/linux/libc.ts";
import { createNamespace, deleteNamespace, withinNamespace } from "../../src/linux/namespace.ts";

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

const AF_INET = 2, AF_INET6 = 10, SOCK_DGRAM = 2, SOCK_CLOEXEC = 0o2000000, MSG_DONTWAIT = 0x40;

function sockaddr(ip: Ip, port: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(ip.family === 4 ? 16 : 28);
  bytes[0] = ip.family === 4 ? AF_INET : AF_INET6;
  bytes[2] = port >> 8;
  bytes[3] = port & 255;
  bytes.set(ip.bytes, ip.family === 4 ? 4 : 8);
  return bytes;
}

/** A UDP socket in the namespace, bound to a free port of the address; close it. */
export function openUdp(
  namespace: string,
  hostname: string,
): { port: number; send(port: number): void; close(): void } {
  const ip = Ip.parse(hostname);
  const make = () => libc().socket(ip.family === 4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const fd = checked("open a socket", withinNamespace(namespace, make));
  const own = sockaddr(ip, 0);
  checked(`bind ${hostname}`, libc().bind(fd, own, own.length));
  checked("read the port", libc().getsockname(fd, own, Uint32Array.of(own.length)));
  return {
    port: (own[2] ?? 0) << 8 | (own[3] ?? 0),
    send(port) {
      const to = sockaddr(ip, port);
      // The refusal of an earlier datagram (ICMP) is told to the next send, which then has to be made again.
      const send = () => libc().sendto(fd, new Uint8Array(1), 1, MSG_DONTWAIT, to, to.length);
      if (send() === -1) checked(`send to ${hostname} ${port}`, send());
    },
    close: () => void libc().close(fd),
  };
}
