/**
 * Where a run takes place: the speaker in one namespace, the load in another, a veth pair between them. Peer `i` of the load
 * has the address 10.98.1.0 + i; the speaker has 10.98.0.1. Namespaces are named `ttZ-` and the process id.
 */

import { createNamespace, deleteNamespace } from "../../src/linux/namespace.ts";

export const SPEAKER = "10.98.0.1";
export const AS = 64512;
/** The first of the announced /24 networks: 20.0.0.0. */
export const FIRST_PREFIX = 20 << 16;

/** The two namespaces by name. */
export interface Scene {
  readonly speaker: string;
  readonly load: string;
}

/** The address of a peer of the load. */
export function peerAddress(index: number): string {
  return `10.98.${1 + (index >> 8)}.${index & 255}`;
}

/** Makes the scene, runs `use` in it, and takes it down whatever happens. */
export async function withScene<T>(peers: number, use: (scene: Scene) => Promise<T>): Promise<T> {
  const scene = { speaker: `ttZ-${Deno.pid}-s`, load: `ttZ-${Deno.pid}-l` };
  const made: string[] = [];
  try {
    for (const name of [scene.speaker, scene.load]) {
      createNamespace(name);
      made.push(name);
      await ip(name, ["link set lo up"]);
    }
    await ip(scene.speaker, [
      `link add eth0 type veth peer name eth0 netns ${scene.load}`,
      `addr add ${SPEAKER}/16 dev eth0`,
      "link set eth0 up",
    ]);
    const addresses = Array.from({ length: peers }, (_, i) => `addr add ${peerAddress(i)}/16 dev eth0`);
    await ip(scene.load, [...addresses, "link set eth0 up"]);
    return await use(scene);
  } finally {
    for (const name of made) deleteNamespace(name);
  }
}

/** Runs lines of `ip -batch` in a namespace. */
async function ip(namespace: string, lines: readonly string[]): Promise<void> {
  const child = new Deno.Command("ip", { args: ["-n", namespace, "-batch", "-"], stdin: "piped", stderr: "piped" })
    .spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(`${lines.join("\n")}\n`));
  await writer.close();
  const { success, stderr } = await child.output();
  if (!success) throw new Error(`Cannot set up ${namespace}: ${new TextDecoder().decode(stderr).trim()}`);
}
