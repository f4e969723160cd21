/**
 * Any number of hosts on one Ethernet segment: a bridge in a namespace of its own, and a namespace for each host.
 *
 *   h1 10.78.0.1, fd78::1   h2 10.78.0.2, fd78::2   …   all on eth0, one bridge
 *
 * `at` gives a host in the shape that the daemons' starters know: they start in the right one of two.
 */

import { DEFAULT_PEER, EMPTY_CONFIG, type PeerConfig, type SpeakerConfig } from "../../src/bgp/config.ts";
import { canRun, type Daemon, eventually, type Hosts, run, startTortie, type TortieSpeaker } from "./daemons.ts";

let numbers = 0;

/** The IPv4 address of a host. */
export const ip4 = (number: number) => `10.78.0.${number}`;
/** The IPv6 address of a host. */
export const ip6 = (number: number) => `fd78::${number}`;

/** The hosts. */
export interface Fabric {
  /** The host of that number, 1 and up, as the right one of two. */
  at(number: number): Hosts;
  /** Runs a program in a host; throws when it fails. */
  exec(number: number, program: string, ...args: string[]): Promise<string>;
  /** Starts tortie's speaker in a host. */
  tortie(number: number, config: SpeakerConfig): TortieSpeaker;
  close(): Promise<void>;
}

/** Makes so many hosts; `close` must be called. */
export async function makeFabric(count: number): Promise<Fabric> {
  const mark = `ttV-${Deno.pid}-${numbers++}`;
  const bridge = `${mark}-sw`;
  const nameOf = (number: number) => `${mark}-h${number}`;
  const names = [bridge, ...Array.from({ length: count }, (_, i) => nameOf(i + 1))];
  const folder = await Deno.makeTempDir({ prefix: "tortie-fabric-" });
  await Deno.chmod(folder, 0o777);
  const ends: (() => Promise<void>)[] = [];
  const fabric: Fabric = {
    at: (number) => ({
      left: nameOf(number),
      right: nameOf(number),
      folder,
      exec: (host, program, ...args) => run("ip", "netns", "exec", host, program, ...args),
      onClose: (end) => void ends.push(end),
      close: () => fabric.close(),
    }),
    exec: (number, program, ...args) => run("ip", "netns", "exec", nameOf(number), program, ...args),
    tortie: (number, config) => startTortie(fabric.at(number), config),
    async close() {
      await Promise.all(ends.splice(0).map((end) => end().catch((error) => console.error("while closing:", error))));
      for (const name of names) await run("ip", "netns", "del", name).catch(() => {});
      await Deno.remove(folder, { recursive: true }).catch(() => {});
    },
  };
  try {
    for (const name of names) {
      await run("ip", "netns", "add", name);
      await run("ip", "-n", name, "link", "set", "lo", "up");
    }
    await run("ip", "-n", bridge, "link", "add", "br0", "type", "bridge");
    await run("ip", "-n", bridge, "link", "set", "br0", "up");
    for (let number = 1; number <= count; number++) {
      const host = nameOf(number), port = `p${number}`;
      const dad = ["net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0"];
      await fabric.exec(number, "sysctl", "-qw", ...dad);
      await run("ip", "-n", bridge, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host);
      await run("ip", "-n", bridge, "link", "set", port, "master", "br0", "up");
      await run("ip", "-n", host, "addr", "add", `${ip4(number)}/24`, "dev", "eth0");
      await run("ip", "-n", host, "addr", "add", `${ip6(number)}/64`, "dev", "eth0", "nodad");
      await run("ip", "-n", host, "link", "set", "eth0", "up");
    }
    return fabric;
  } catch (error) {
    await fabric.close();
    throw error;
  }
}

/** A peer of a host of the fabric, over IPv4: of our own AS and without Calico's rules unless changed. */
export function peerAt(number: number, change: Partial<PeerConfig> = {}): PeerConfig {
  return {
    ...DEFAULT_PEER,
    name: `h${number}`,
    address: ip4(number),
    as: 64512,
    localAs: 64512,
    families: [4],
    hasCalicoRules: false,
    ...change,
  };
}

/** The configuration of a speaker in a host of the fabric: it writes no FIB unless changed. */
export function speakerAt(
  number: number,
  peers: readonly PeerConfig[],
  change: Partial<SpeakerConfig> = {},
): SpeakerConfig {
  return {
    ...EMPTY_CONFIG,
    nodeName: `h${number}`,
    routerId: ip4(number),
    families: [4, 6],
    nodeAddress4: ip4(number),
    nodeAddress6: ip6(number),
    peers,
    ...change,
  };
}

/** Waits until the speaker's sessions of these names (all of them when left out) are Established. */
export async function established(speaker: TortieSpeaker, ...names: string[]): Promise<void> {
  await eventually(`sessions ${names.join(", ")}`, async () => {
    const peers = (await speaker.ask({ kind: "peers" })).filter(({ name }) =>
      names.length === 0 || names.includes(name)
    );
    if (peers.length > 0 && peers.every(({ state }) => state === "Established")) return true;
    throw new Error(JSON.stringify(peers.map(({ name, state, lastError }) => [name, state, lastError])));
  }, 40_000);
}

/** Waits until the daemon's answer matches all patterns; gives the answer. */
export function answers(daemon: Daemon, words: readonly string[], ...patterns: RegExp[]): Promise<string> {
  return eventually(`${patterns.join(" ")} in ${words.join(" ")}`, async () => {
    const text = await daemon.ask(...words);
    const missing = patterns.find((pattern) => !pattern.test(text));
    if (missing) throw new Error(`no ${missing} in:\n${text}`);
    return text;
  });
}

const isAble = canRun("/usr/sbin/bird", "/usr/lib/frr/bgpd", "/usr/bin/gobgpd");

/** A test in so many hosts of a fabric, which are gone when it has ended. */
export function onFabric(name: string, hosts: number, play: (fabric: Fabric) => Promise<void>): void {
  Deno.test({
    name: name + (isAble ? "" : " (skipped: daemons or rights are missing)"),
    ignore: !isAble,
    async fn() {
      const fabric = await makeFabric(hosts);
      try {
        await play(fabric);
      } finally {
        await fabric.close();
      }
    },
  });
}
