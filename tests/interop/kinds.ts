/**
 * What the interop tests need of each daemon, said in its own language: a configuration that announces 10.50.0.0/24 and
 * fd50::/64, later 10.51.0.0/24 and fd51::/64, and shows what it has learnt.
 */

import { type Daemon, type Hosts, LEFT, RIGHT, startBird, startFrr, startGobgp } from "./daemons.ts";

/** The AS numbers of a session and the daemon's hold time. */
export interface SessionPlan {
  readonly leftAs: number;
  readonly rightAs: number;
  readonly holdTime?: number;
  /** The AS that the daemon takes us for, when it is wrong about it. */
  readonly believedAs?: number;
}

/** One of the daemons. */
export interface Kind {
  readonly name: string;
  readonly programs: readonly string[];
  /** Both families in one session over IPv4, or a session for each. */
  readonly hasOneSession: boolean;
  start(hosts: Hosts, plan: SessionPlan): Promise<Daemon>;
  /** All that it has learnt from us, in both families. */
  routes(daemon: Daemon): Promise<string>;
  announceLate(daemon: Daemon): Promise<void>;
  withdrawLate(daemon: Daemon): Promise<void>;
  /** Makes it send ROUTE-REFRESH; absent where its tool cannot. */
  refresh?(daemon: Daemon): Promise<void>;
  /** What it logs when we refuse its AS. */
  readonly refused: RegExp;
  /** It goes on connecting while a connection of ours is in OpenSent. */
  readonly collides: boolean;
}

const bird: Kind = {
  name: "BIRD",
  programs: ["/usr/sbin/bird", "/usr/sbin/birdc"],
  hasOneSession: true,
  start: (hosts, { leftAs, rightAs, holdTime = 90, believedAs = leftAs }) =>
    startBird(
      hosts,
      `
protocol direct { ipv4; ipv6; }
protocol static s4 { ipv4; route 10.50.0.0/24 blackhole; }
protocol static s6 { ipv6; route fd50::/64 blackhole; }
protocol static late4 { disabled; ipv4; route 10.51.0.0/24 blackhole; }
protocol static late6 { disabled; ipv6; route fd51::/64 blackhole; }
protocol bgp left {
  local ${RIGHT.v4} as ${rightAs};
  neighbor ${LEFT.v4} as ${believedAs};
  direct;
  hold time ${holdTime};
  connect delay time 1;
  connect retry time 2;
  error wait time 1, 2;
  ipv4 { import all; export where source = RTS_STATIC; next hop self; };
  ipv6 { import all; export where source = RTS_STATIC; next hop address ${RIGHT.v6}; };
}`,
    ),
  routes: (daemon) => daemon.ask("show", "route", "all", "protocol", "left"),
  announceLate: async (daemon) => {
    await daemon.ask("enable", "late4");
    await daemon.ask("enable", "late6");
  },
  withdrawLate: async (daemon) => {
    await daemon.ask("disable", "late4");
    await daemon.ask("disable", "late6");
  },
  refresh: async (daemon) => void await daemon.ask("reload", "in", "left"),
  refused: /Received: Bad peer AS/i,
  collides: true,
};

const frr: Kind = {
  name: "FRR",
  programs: ["/usr/lib/frr/bgpd", "/usr/lib/frr/zebra", "/usr/bin/vtysh"],
  hasOneSession: true,
  start: (hosts, { leftAs, rightAs, holdTime = 90, believedAs = leftAs }) =>
    startFrr(
      hosts,
      `
router bgp ${rightAs}
 bgp router-id ${RIGHT.v4}
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 no bgp network import-check
 timers bgp ${Math.max(1, Math.floor(holdTime / 3))} ${holdTime}
 neighbor ${LEFT.v4} remote-as ${believedAs}
 neighbor ${LEFT.v4} timers connect 2
 neighbor ${LEFT.v4} advertisement-interval 0
 address-family ipv4 unicast
  network 10.50.0.0/24
  neighbor ${LEFT.v4} activate
 exit-address-family
 address-family ipv6 unicast
  network fd50::/64
  neighbor ${LEFT.v4} activate
 exit-address-family
`,
    ),
  routes: async (daemon) => await daemon.ask("show bgp ipv4 unicast") + await daemon.ask("show bgp ipv6 unicast"),
  announceLate: async (daemon) => void await daemon.ask(...frrNetworks("")),
  withdrawLate: async (daemon) => void await daemon.ask(...frrNetworks("no ")),
  refresh: async (daemon) => void await daemon.ask(`clear bgp ipv4 unicast ${LEFT.v4} soft in`),
  refused: /received from neighbor .* 2\/2|NOTIFICATION.*Bad Peer AS/i,
  collides: true,
};

function frrNetworks(no: string): string[] {
  return [
    "configure terminal",
    "router bgp",
    "address-family ipv4 unicast",
    `${no}network 10.51.0.0/24`,
    "exit-address-family",
    "address-family ipv6 unicast",
    `${no}network fd51::/64`,
  ];
}

const gobgpPaths = [
  ["10.50.0.0/24", "ipv4", RIGHT.v4],
  ["fd50::/64", "ipv6", RIGHT.v6],
  ["10.51.0.0/24", "ipv4", RIGHT.v4],
  ["fd51::/64", "ipv6", RIGHT.v6],
] as const;

async function gobgpPath(daemon: Daemon, verb: "add" | "del", which: readonly number[]): Promise<void> {
  for (const i of which) {
    const [prefix, family, nextHop] = gobgpPaths[i] ?? gobgpPaths[0];
    await daemon.ask("global", "rib", verb, prefix, "nexthop", nextHop, "-a", family);
  }
}

const gobgp: Kind = {
  name: "GoBGP",
  programs: ["/usr/bin/gobgpd", "/usr/bin/gobgp"],
  hasOneSession: false,
  async start(hosts, { leftAs, rightAs, holdTime = 90, believedAs = leftAs }) {
    const neighbor = (address: string, local: string, family: string) => `
[[neighbors]]
  [neighbors.config]
    neighbor-address = "${address}"
    peer-as = ${believedAs}
  [neighbors.transport.config]
    local-address = "${local}"
  [neighbors.timers.config]
    hold-time = ${holdTime}
    keepalive-interval = ${Math.max(1, Math.floor(holdTime / 3))}
    connect-retry = 5
    idle-hold-time-after-reset = 2
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "${family}"
`;
    const daemon = await startGobgp(
      hosts,
      `[global.config]
  as = ${rightAs}
  router-id = "${RIGHT.v4}"
  port = 179
  local-address-list = ["${RIGHT.v4}", "${RIGHT.v6}"]
${neighbor(LEFT.v4, RIGHT.v4, "ipv4-unicast")}${neighbor(LEFT.v6, RIGHT.v6, "ipv6-unicast")}`,
    );
    await gobgpPath(daemon, "add", [0, 1]);
    return daemon;
  },
  routes: async (daemon) => {
    const table = async (address: string, family: string) =>
      await daemon.ask("neighbor", address, "adj-in", "-a", family).catch(String);
    return await table(LEFT.v4, "ipv4") + await table(LEFT.v6, "ipv6");
  },
  announceLate: (daemon) => gobgpPath(daemon, "add", [2, 3]),
  withdrawLate: (daemon) => gobgpPath(daemon, "del", [2, 3]),
  // It does not say why a session ended before it was up.
  refused: /"new":"BGP_FSM_IDLE","old":"BGP_FSM_OPEN(CONFIRM|SENT)"/,
  collides: false,
};

/** The three of them. */
export const KINDS: readonly Kind[] = [bird, frr, gobgp];
