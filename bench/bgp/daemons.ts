/**
 * The speakers that are compared, each with the same task: reflect everything between passive clients, and write it to the
 * kernel's FIB where that is measured. Configurations go to a directory of the run; daemons run in the foreground.
 */

import { AS, peerAddress, SPEAKER } from "./scene.ts";

/** What a daemon is started with. */
export interface DaemonOrder {
  readonly namespace: string;
  readonly directory: string;
  readonly peers: number;
  readonly isInstalling: boolean;
}

/** A kind of daemon. */
export interface Daemon {
  readonly name: string;
  readonly installs: boolean;
  /** Why it cannot run here; undefined when it can. */
  missing(): string | undefined;
  /** Starts it; the first process is the one that listens. */
  start(order: DaemonOrder): Promise<Deno.ChildProcess[]>;
}

const FRR = "/usr/lib/frr";

/** All of them; ours first. */
export const DAEMONS: readonly Daemon[] = [
  {
    name: "ours",
    installs: true,
    missing: () => undefined,
    start: (order) => Promise.resolve([run(order, ...program("ours.ts"), JSON.stringify(order))]),
  },
  {
    name: "bird",
    installs: true,
    missing: () => absent("bird", "/usr/sbin/bird"),
    async start(order) {
      const { directory } = order;
      await Deno.writeTextFile(`${directory}/bird.conf`, birdConfig(order));
      return [run(order, "bird", "-f", "-c", `${directory}/bird.conf`, "-s", `${directory}/bird.ctl`)];
    },
  },
  {
    name: "frr",
    installs: true,
    missing: () => absent("frr", `${FRR}/bgpd`),
    async start(order) {
      const { directory } = order;
      await Deno.writeTextFile(`${directory}/bgpd.conf`, frrConfig(order));
      await Deno.writeTextFile(`${directory}/zebra.conf`, "hostname bench\n");
      await new Deno.Command("chown", { args: ["-R", "frr:frr", directory] }).output();
      const common = (name: string) => [
        ...["-u", "frr", "-g", "frr", "--vty_socket", directory, "-P", "0", "-i", `${directory}/${name}.pid`],
        ...["-f", `${directory}/${name}.conf`, "-z", `${directory}/zserv.api`],
      ];
      const zebra = run(order, `${FRR}/zebra`, ...common("zebra"));
      await waitFor(`${directory}/zserv.api`);
      return [run(order, `${FRR}/bgpd`, ...common("bgpd"), ...order.isInstalling ? [] : ["-n"]), zebra];
    },
  },
  {
    name: "gobgp",
    installs: false,
    missing: () => absent("gobgpd", "/usr/bin/gobgpd"),
    async start(order) {
      await Deno.writeTextFile(`${order.directory}/gobgpd.toml`, gobgpConfig(order));
      const options = ["-l", "warn", "--pprof-disable", "--api-hosts", "127.0.0.1:50051"];
      return [run(order, "gobgpd", "-f", `${order.directory}/gobgpd.toml`, ...options)];
    },
  },
  {
    name: "null",
    installs: false,
    missing: () => undefined,
    start: (order) => Promise.resolve([run(order, ...program("null.ts"))]),
  },
];

function run({ namespace, directory }: DaemonOrder, ...command: readonly string[]): Deno.ChildProcess {
  // `ip netns exec` becomes the command, so the process id is the daemon's.
  return new Deno.Command("ip", {
    args: ["netns", "exec", namespace, ...command],
    cwd: directory,
    stdin: "null",
    stdout: "null",
    stderr: "null",
    env: { DENO_NO_UPDATE_CHECK: "1" },
  }).spawn();
}

/** A program of this folder as a command. */
export function program(file: string): string[] {
  const config = new URL("../../deno.json", import.meta.url).pathname;
  return [Deno.execPath(), "run", "-A", "--config", config, new URL(file, import.meta.url).pathname];
}

function absent(name: string, path: string): string | undefined {
  try {
    Deno.statSync(path);
    return undefined;
  } catch {
    return `${name} is not installed`;
  }
}

async function waitFor(path: string): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (!absent(path, path)) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${path} did not come`);
}

function addresses({ peers }: DaemonOrder): string[] {
  return Array.from({ length: peers }, (_, i) => peerAddress(i));
}

function birdConfig(order: DaemonOrder): string {
  const kernel = "protocol kernel { scan time 60; ipv4 { import none; export where source = RTS_BGP; }; }";
  return `router id ${SPEAKER};
log "${order.directory}/bird.log" { warning, error, fatal, bug };
protocol device {}
protocol direct { ipv4; }
${order.isInstalling ? kernel : ""}
template bgp reflected {
  local ${SPEAKER} as ${AS};
  passive yes; multihop; graceful restart off;
  rr client; rr cluster id ${SPEAKER};
  ipv4 { import all; export where source = RTS_BGP; };
}
${addresses(order).map((at, i) => `protocol bgp p${i} from reflected { neighbor ${at} as ${AS}; }`).join("\n")}
`;
}

function frrConfig(order: DaemonOrder): string {
  return `hostname bench
log file ${order.directory}/frr.log errors
router bgp ${AS}
 bgp router-id ${SPEAKER}
 bgp cluster-id ${SPEAKER}
 no bgp default ipv4-unicast
 neighbor C peer-group
 neighbor C remote-as ${AS}
 neighbor C passive
${addresses(order).map((at) => ` neighbor ${at} peer-group C`).join("\n")}
 address-family ipv4 unicast
  neighbor C activate
  neighbor C route-reflector-client
 exit-address-family
exit
`;
}

function gobgpConfig(order: DaemonOrder): string {
  const peer = (at: string) =>
    `[[neighbors]]
  [neighbors.config]
    neighbor-address = "${at}"
    peer-as = ${AS}
  [neighbors.transport.config]
    passive-mode = true
    local-address = "${SPEAKER}"
  [neighbors.route-reflector.config]
    route-reflector-client = true
    route-reflector-cluster-id = "${SPEAKER}"
`;
  return `[global.config]
  as = ${AS}
  router-id = "${SPEAKER}"
  local-address-list = ["${SPEAKER}"]
${addresses(order).map(peer).join("")}`;
}
