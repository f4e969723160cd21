/**
 * A host whose speaker is killed again and again while a workload behind it pings through it to a peer, every 10 ms:
 *
 *   workload 172.17.8.2 ---- left (tortie, block 172.17.8.0/26) ---- right (the daemon, 10.50.0.1)
 *
 * The way there is the speaker's route in the left kernel, the way back the daemon's in the right one (GoBGP has no FIB of
 * its own: a static route stands for it, and its RIB is asked instead).
 */

import assert from "node:assert/strict";
import { DEFAULT_PEER, EMPTY_CONFIG, type SpeakerConfig } from "../../src/bgp/config.ts";
import {
  type Daemon,
  eventually,
  type Hosts,
  LEFT,
  makeHosts,
  RIGHT,
  run,
  startBird,
  startFrr,
  startGobgp,
  startTortie,
  type TortieSpeaker,
} from "./daemons.ts";

const AS = 64512;
export const BLOCK = "172.17.8.0/26";
export const THERE = "10.50.0.0/24";

/** A daemon that keeps our routes while we restart. */
export interface Helper {
  readonly name: string;
  readonly programs: readonly string[];
  readonly hasFib: boolean;
  start(hosts: Hosts): Promise<Daemon>;
  routes(daemon: Daemon): Promise<string>;
}

export const HELPERS: readonly Helper[] = [{
  name: "BIRD",
  programs: ["/usr/sbin/bird", "/usr/sbin/birdc"],
  hasFib: true,
  start: (hosts) =>
    startBird(
      hosts,
      `
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; }
protocol direct { ipv4; }
protocol static s4 { ipv4; route ${THERE} blackhole; }
protocol bgp left {
  local ${RIGHT.v4} as ${AS};
  neighbor ${LEFT.v4} as ${AS};
  graceful restart on;
  ipv4 { import all; export where source = RTS_STATIC; next hop self; };
}`,
    ),
  routes: (daemon) => daemon.ask("show", "route", "protocol", "left"),
}, {
  name: "FRR",
  programs: ["/usr/lib/frr/bgpd", "/usr/lib/frr/zebra", "/usr/bin/vtysh"],
  hasFib: true,
  start: (hosts) =>
    startFrr(
      hosts,
      `
router bgp ${AS}
 bgp router-id ${RIGHT.v4}
 no bgp network import-check
 bgp graceful-restart
 neighbor ${LEFT.v4} remote-as ${AS}
 neighbor ${LEFT.v4} timers connect 2
 address-family ipv4 unicast
  network ${THERE}
 exit-address-family
`,
    ),
  routes: (daemon) => daemon.ask("show bgp ipv4 unicast"),
}, {
  name: "GoBGP",
  programs: ["/usr/bin/gobgpd", "/usr/bin/gobgp"],
  hasFib: false,
  async start(hosts) {
    await run("ip", "-n", hosts.right, "route", "add", BLOCK, "via", LEFT.v4);
    const daemon = await startGobgp(
      hosts,
      `
[global.config]
  as = ${AS}
  router-id = "${RIGHT.v4}"
[[neighbors]]
  [neighbors.config]
    neighbor-address = "${LEFT.v4}"
    peer-as = ${AS}
  [neighbors.timers.config]
    connect-retry = 2
    idle-hold-time-after-reset = 1
  [neighbors.graceful-restart.config]
    enabled = true
    restart-time = 60
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv4-unicast"
    [neighbors.afi-safis.mp-graceful-restart.config]
      enabled = true
`,
    );
    await daemon.ask("global", "rib", "add", THERE, "nexthop", RIGHT.v4, "-a", "ipv4");
    return daemon;
  },
  routes: (daemon) => daemon.ask("global", "rib", "-a", "ipv4"),
}];

export function configFor(restartTime: number, sweepDelay = restartTime): SpeakerConfig {
  return {
    ...EMPTY_CONFIG,
    nodeName: "left",
    routerId: LEFT.v4,
    localAs: AS,
    nodeAddress4: LEFT.v4,
    peers: [{
      ...DEFAULT_PEER,
      name: "right",
      address: RIGHT.v4,
      as: AS,
      localAs: AS,
      families: [4],
      gracefulRestartTime: restartTime,
    }],
    pools: [{ cidr: "172.17.0.0/16", isExportDisabled: false, encapsulation: "none", isProgrammedBySpeaker: true }],
    aggregates: [{ cidr: BLOCK, hasBlackhole: true }],
    fib: { ...EMPTY_CONFIG.fib, isInstalling: true, isLearning: true, sweepDelay },
  };
}

/** What is being played with. */
export interface KillScene {
  readonly hosts: Hosts;
  readonly helper: Helper;
  readonly daemon: Daemon;
  /** Starts the speaker, and waits until both sides have each other's routes and the restart is over. */
  startSpeaker(config?: SpeakerConfig): Promise<TortieSpeaker>;
  /** The left kernel's route to the peer's prefix is there. */
  hasRouteThere(): Promise<boolean>;
  /** The daemon holds our block. */
  hasBlock(): Promise<boolean>;
  /** Pings through the left host until the result is asked for: packets sent and lost. */
  ping(): () => Promise<{ readonly sent: number; readonly lost: number }>;
}

/** Builds the hosts and the daemon, plays, and takes everything away. */
export async function withKillScene(helper: Helper, play: (scene: KillScene) => Promise<void>): Promise<void> {
  const hosts = await makeHosts();
  const workload = `ttG4-${hosts.left}`;
  try {
    await run("ip", "netns", "add", workload);
    hosts.onClose(async () => void await run("ip", "netns", "del", workload));
    await run(
      "ip",
      "-n",
      hosts.left,
      "link",
      "add",
      "cali0",
      "type",
      "veth",
      "peer",
      "name",
      "eth0",
      "netns",
      workload,
    );
    await run("ip", "-n", hosts.left, "link", "set", "cali0", "up");
    await run("ip", "-n", hosts.left, "addr", "add", "169.254.1.1/32", "dev", "cali0");
    await run("ip", "-n", hosts.left, "route", "add", "172.17.8.2/32", "dev", "cali0", "scope", "link");
    await run("ip", "-n", hosts.left, "route", "add", "blackhole", BLOCK, "proto", "80");
    await hosts.exec(hosts.left, "sysctl", "-qw", "net.ipv4.ip_forward=1");
    await run("ip", "-n", workload, "addr", "add", "172.17.8.2/32", "dev", "eth0");
    await run("ip", "-n", workload, "link", "set", "eth0", "up");
    await run("ip", "-n", workload, "route", "add", "169.254.1.1", "dev", "eth0", "scope", "link");
    await run("ip", "-n", workload, "route", "add", "default", "via", "169.254.1.1");
    await run("ip", "-n", hosts.right, "addr", "add", "10.50.0.1/32", "dev", "lo");
    const daemon = await helper.start(hosts);
    const scene: KillScene = {
      hosts,
      helper,
      daemon,
      async startSpeaker(config = configFor(60)) {
        const speaker = startTortie(hosts, config);
        await eventually(
          "the session",
          async () => (await speaker.peer("right"))?.state === "Established",
          45_000,
        );
        // The agent's block is there from the start, so even the first run is a restart.
        await eventually(
          "the end of the restart",
          async () =>
            /The restart is over/.test(speaker.log()) && ((await speaker.peer("right"))?.advertised ?? 0) > 0 &&
            await scene.hasRouteThere() && await scene.hasBlock(),
          45_000,
        );
        return speaker;
      },
      hasRouteThere: async () =>
        (await run("ip", "-n", hosts.left, "route")).includes(`${THERE} via ${RIGHT.v4} dev eth0 proto bird`),
      hasBlock: async () => (await helper.routes(daemon)).includes(BLOCK),
      ping() {
        const child = new Deno.Command("ip", {
          args: ["netns", "exec", workload, "ping", "-n", "-q", "-i", "0.01", "10.50.0.1"],
          stdin: "null",
          stdout: "piped",
          stderr: "null",
        }).spawn();
        let isAsked = false;
        hosts.onClose(async () => {
          if (isAsked) return;
          child.kill("SIGKILL");
          await child.output();
        });
        return async () => {
          isAsked = true;
          child.kill("SIGINT");
          const text = new TextDecoder().decode((await child.output()).stdout);
          const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(text) ?? [];
          assert.ok(sent !== undefined && received !== undefined, text);
          return { sent: Number(sent), lost: Number(sent) - Number(received) };
        };
      },
    };
    await play(scene);
  } finally {
    await hosts.close();
  }
}

/** Kills the speaker so many times under the ping; returns what the ping lost, which should be nothing. */
export async function killRepeatedly(scene: KillScene, times: number): Promise<{ sent: number; lost: number }> {
  let speaker = await scene.startSpeaker();
  const result = scene.ping();
  for (let round = 0; round < times; round++) {
    await speaker.stop("SIGKILL");
    assert.ok(await scene.hasRouteThere(), "the kernel keeps the route of a killed speaker");
    assert.ok(await scene.hasBlock(), `${scene.helper.name} keeps the routes of a killed speaker`);
    speaker = await scene.startSpeaker();
    const [route] = await speaker.ask({ kind: "routes", prefix: THERE });
    assert.equal(route?.stale, false);
  }
  const sum = await result();
  await speaker.stop();
  return sum;
}
