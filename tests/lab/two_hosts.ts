/**
 * Two real nodes and two routers run by BIRD on one segment, all of them with IPv4 and IPv6, and workloads to attach.
 *
 *     a: 192.168.100.100, 2001:db8:64::100      tor1: 192.168.100.1, 2001:db8:64::1, AS 65001
 *     b: 192.168.100.101, 2001:db8:64::101      tor2: 192.168.100.2, 2001:db8:64::2, AS 65001
 *     pools of a: 172.17.8.0/24, fd00:17:8::/64; of b: 172.17.9.0/24, fd00:17:9::/64
 *
 * Both routers originate the same prefixes. Witnesses are Debian's `ip`, `ping` and `birdc`.
 */

import assert from "node:assert/strict";
import { connectApi } from "../../src/api/client.ts";
import { runCommand } from "../../src/lab/command.ts";
import { until } from "../../src/lab/lab.ts";
import { destroyNetwork } from "../../src/lab/network.ts";
import { isRunning, type LabProcess, startProcess, stopProcesses } from "../../src/lab/process.ts";
import { tortie } from "./fleet.ts";

export type HostName = "a" | "b";
export type RouterName = "tor1" | "tor2";

/** What both routers originate. */
export const ORIGINATED = { v4: "10.99.0.0/16", v6: "2001:db8:99::/48" };

const HOSTS = { a: { number: 100, block: 8 }, b: { number: 101, block: 9 } } as const;
const ROUTERS = { tor1: 1, tor2: 2 } as const;
const WORKLOADS = ["a-one", "a-two", "b-one", "b-two"] as const;
const MEMBERS = [
  ...Object.entries(HOSTS).map(([name, { number }]) => [name, number] as const),
  ...Object.entries(ROUTERS),
];

/** The two hosts, and what a test does with them. */
export interface TwoHosts {
  readonly dir: string;
  namespace(member: HostName | RouterName | typeof WORKLOADS[number]): string;
  /** Runs a program inside a member's namespace; fails when it does, unless `mayFail`. */
  run(member: Parameters<TwoHosts["namespace"]>[0], command: string, mayFail?: boolean): Promise<string>;
  birdc(router: RouterName, ...words: string[]): Promise<string>;
  api(host: HostName): ReturnType<typeof connectApi>;
  /** The configuration file of a host, which an edit replaces. */
  config(host: HostName): string;
  startNode(host: HostName): Promise<void>;
  /** Ends a node, by SIGTERM as an upgrade does unless told otherwise, and waits until it is gone. */
  stopNode(host: HostName, signal?: "SIGTERM" | "SIGKILL"): Promise<void>;
  startRouter(router: RouterName): void;
  stopRouter(router: RouterName): Promise<void>;
  /** Waits until a command's output is as wanted; fails after `patience` milliseconds with the last output. */
  shows(
    member: Parameters<TwoHosts["namespace"]>[0],
    command: string,
    pattern: RegExp,
    patience?: number,
  ): Promise<void>;
  hides(
    member: Parameters<TwoHosts["namespace"]>[0],
    command: string,
    pattern: RegExp,
    patience?: number,
  ): Promise<void>;
  /** Waits until all sessions of both hosts are established. */
  sessions(): Promise<void>;
  log(host: HostName): string;
}

/** What differs between labs. */
export interface TwoHostsOptions {
  /** Resources that every host has besides nodes, pools and peers. */
  readonly resources?: string;
  /** Lines for each channel of the routers' sessions. */
  readonly channel?: string;
}

/** Names of the node that a file belongs to, its pools and its peers. */
function configuration(name: HostName, dir: string, resources: string): string {
  const nodes = Object.entries(HOSTS).map(([each, { number, block }]) =>
    `---
apiVersion: projectcalico.org/v3
kind: Node
metadata: { name: ${each} }
spec: { bgp: { ipv4Address: 192.168.100.${number}/24, ipv6Address: "2001:db8:64::${number}/64" } }
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: { name: pool4-${each} }
spec: { cidr: 172.17.${block}.0/24, nodeSelector: "name == '${each}'" }
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: { name: pool6-${each} }
spec: { cidr: "fd00:17:${block}::/64", nodeSelector: "name == '${each}'" }
`
  );
  const peers = Object.entries(ROUTERS).flatMap(([router, number]) =>
    [`192.168.100.${number}`, `2001:db8:64::${number}`].map((address, i) =>
      `---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: { name: ${router}-v${i === 0 ? 4 : 6} }
spec: { peerIP: "${address}", asNumber: 65001 }
`
    )
  );
  return `node: { name: ${name}, stateDir: ${dir}/state, socket: ${dir}/tortie.sock, ip: 192.168.100.${
    HOSTS[name].number
  }/24, ip6: "2001:db8:64::${HOSTS[name].number}/64" }
log: { level: info, format: text }
metrics: { listen: off }
${nodes.join("")}${peers.join("")}${resources}`;
}

function routerConfiguration(router: RouterName, channel: string): string {
  const number = ROUTERS[router];
  const sessions = Object.entries(HOSTS).flatMap(([host, { number: of }]) =>
    [[`192.168.100.${number}`, `192.168.100.${of}`, "ipv4"], [`2001:db8:64::${number}`, `2001:db8:64::${of}`, "ipv6"]]
      .map(([local, remote, family]) =>
        `protocol bgp ${host}_${family} {
  local ${local} as 65001;
  neighbor ${remote} as 64512;
  graceful restart on;
  connect delay time 1;
  connect retry time 2;
  error wait time 1, 5;
  ${family} { import all; export where source = RTS_STATIC; ${channel} };
}
`
      )
  );
  return `log stderr all;
router id 192.168.100.${number};
protocol device { scan time 1; }
protocol direct { ipv4; ipv6; }
protocol kernel { ipv4 { export where source = RTS_BGP; }; }
protocol kernel { ipv6 { export where source = RTS_BGP; }; }
protocol static { ipv4; route ${ORIGINATED.v4} blackhole; }
protocol static { ipv6; route ${ORIGINATED.v6} blackhole; }
${sessions.join("")}`;
}

/** Brings everything up, hands it to the test, and takes it away. */
export async function withTwoHosts(
  play: (lab: TwoHosts) => Promise<void>,
  { resources = "", channel = "" }: TwoHostsOptions = {},
): Promise<void> {
  const name = `ttR${crypto.randomUUID().slice(0, 5)}`;
  const dir = await Deno.makeTempDir({ prefix: "tortie-two-" });
  const namespaces = ["segment", "a", "b", "tor1", "tor2", ...WORKLOADS].map((each) => `${name}-${each}`);
  const processes = new Map<string, LabProcess>();
  const start = (member: string, command: readonly string[]) =>
    processes.set(member, startProcess(member, `${name}-${member}`, command, `${dir}/${member}.log`));
  const stop = async (member: string, signal: Deno.Signal = "SIGTERM") => {
    const process = processes.get(member);
    processes.delete(member);
    if (process && isRunning(process)) Deno.kill(process.pid, signal);
    if (process) await stopProcesses([process]);
  };
  const watch = async (
    member: string,
    command: string,
    patience: number,
    isRight: (output: string) => boolean,
    what: string,
  ) => {
    let output = "";
    try {
      await until(
        `${member}: ${command} ${what}`,
        patience,
        async () => isRight(output = await run(member, command, true)),
      );
    } catch (error) {
      throw new assert.AssertionError({
        message: `${error instanceof Error ? error.message : error}; it shows:\n${output}`,
      });
    }
  };
  const run = (member: string, command: string, mayFail = false) =>
    runCommand(["ip", "netns", "exec", `${name}-${member}`, ...command.split(" ")], { mayFail });
  const lab: TwoHosts = {
    dir,
    namespace: (member) => `${name}-${member}`,
    run,
    birdc: (router, ...words) => runCommand(["birdc", "-s", `${dir}/${router}.ctl`, ...words]),
    api: (host) => connectApi(`${dir}/${host}/tortie.sock`),
    config: (host) => `${dir}/${host}/tortie.yaml`,
    async startNode(host) {
      start(host, [...tortie, "run", "--config", lab.config(host)]);
      await until(`node ${host} answers`, 30_000, async () => {
        const process = processes.get(host);
        assert.ok(process && isRunning(process), `node ${host} ended: ${lab.log(host)}`);
        return (await lab.api(host).status()).store.inSync;
      });
    },
    stopNode: stop,
    startRouter: (router) =>
      void start(router, ["bird", "-f", "-c", `${dir}/${router}.conf`, "-s", `${dir}/${router}.ctl`]),
    stopRouter: stop,
    shows: (member, command, pattern, patience = 15_000) =>
      watch(member, command, patience, (output) => pattern.test(output), `shows ${pattern}`),
    hides: (member, command, pattern, patience = 15_000) =>
      watch(member, command, patience, (output) => !pattern.test(output), `no longer shows ${pattern}`),
    async sessions() {
      for (const host of ["a", "b"] as const) {
        await until(`the sessions of ${host} are established`, 60_000, async () => {
          const { bgp } = await lab.api(host).status();
          return bgp.configured >= 6 && bgp.established === bgp.configured;
        });
      }
    },
    log: (host) => {
      try {
        return Deno.readTextFileSync(`${dir}/${host}.log`);
      } catch {
        return "";
      }
    },
  };
  try {
    for (const namespace of namespaces) await runCommand(["ip", "netns", "add", namespace]);
    const batch = (member: string, lines: readonly string[]) =>
      runCommand(["ip", "-n", `${name}-${member}`, "-batch", "-"], { input: `${lines.join("\n")}\n` });
    await batch("segment", [
      "link add br0 type bridge mcast_snooping 0",
      "link set br0 up",
      ...MEMBERS.flatMap(([member]) => [
        `link add name ${member} type veth peer name eth0 netns ${name}-${member}`,
        `link set dev ${member} master br0 up`,
      ]),
    ]);
    for (const [member, number] of MEMBERS) {
      await batch(
        member,
        [
          "link set lo up",
          `address add 192.168.100.${number}/24 dev eth0`,
          `-6 address add 2001:db8:64::${number}/64 dev eth0 nodad`,
          "link set eth0 up",
        ].map((line) => line.replace("-6 ", "")),
      );
    }
    for (const router of ["tor1", "tor2"] as const) {
      Deno.writeTextFileSync(`${dir}/${router}.conf`, routerConfiguration(router, channel));
      lab.startRouter(router);
    }
    for (const host of ["a", "b"] as const) {
      Deno.mkdirSync(`${dir}/${host}`);
      Deno.writeTextFileSync(lab.config(host), configuration(host, `${dir}/${host}`, resources));
    }
    await Promise.all([lab.startNode("a"), lab.startNode("b")]);
    await play(lab);
  } finally {
    await stopProcesses([...processes.values()]);
    await destroyNetwork(name, namespaces);
    await Deno.remove(dir, { recursive: true });
  }
}
