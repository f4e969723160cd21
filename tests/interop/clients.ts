/** BIRD, FRR and GoBGP in hosts of a fabric, each a plain speaker that announces one prefix. */

import { type Daemon, startBird, startFrr, startGobgp } from "./daemons.ts";
import { type Fabric, ip4 } from "./fabric.ts";

/** What such a speaker has. */
export interface ClientPlan {
  readonly number: number;
  readonly prefix: string;
  /** The hosts that it has sessions with. */
  readonly peers: readonly number[];
  /** 64512 when left out. */
  readonly as?: number;
  readonly peerAs?: number;
  /** More for each BGP protocol (BIRD), for the address family (FRR). */
  readonly extra?: string;
  /** BIRD: more for its channel. FRR: more for each neighbour, whose address stands for $. */
  readonly more?: string;
  /** BIRD: protocols and filters before its sessions. */
  readonly before?: string;
}

const AS = 64512;

/** BIRD: announces the prefix, tells nothing that it has learnt. */
export function birdClient(fabric: Fabric, plan: ClientPlan): Promise<Daemon> {
  const { number, prefix, peers, as = AS, peerAs = AS, extra = "", more = "", before = "" } = plan;
  const sessions = peers.map((peer) => `
protocol bgp r${peer} {
  local ${ip4(number)} as ${as};
  neighbor ${ip4(peer)} as ${peerAs};
  direct; connect delay time 1; connect retry time 2; error wait time 1, 2; ${extra}
  ipv4 { import all; export where source = RTS_STATIC; ${more} };
}`);
  return startBird(
    fabric.at(number),
    `router id ${ip4(number)};
protocol direct { ipv4; }
protocol static s4 { ipv4; route ${prefix} blackhole; }
${before}
${sessions.join("")}`,
  );
}

/** FRR: tells its peers what its rules let it. */
export function frrClient(fabric: Fabric, plan: ClientPlan): Promise<Daemon> {
  const { number, prefix, peers, as = AS, peerAs = AS, extra = "", more = "" } = plan;
  const sessions = peers.map((peer) =>
    ` neighbor ${ip4(peer)} remote-as ${peerAs}
 neighbor ${ip4(peer)} timers connect 2
 neighbor ${ip4(peer)} advertisement-interval 0
${more.replaceAll("$", ip4(peer))}
`
  );
  return startFrr(
    fabric.at(number),
    `
router bgp ${as}
 bgp router-id ${ip4(number)}
 no bgp ebgp-requires-policy
 no bgp network import-check
${sessions.join("")} address-family ipv4 unicast
  network ${prefix}
${extra}
 exit-address-family
`,
  );
}

/** GoBGP, with one peer. */
export async function gobgpClient(fabric: Fabric, plan: ClientPlan): Promise<Daemon> {
  const { number, prefix, peers, as = AS, peerAs = AS, extra = "" } = plan;
  const daemon = await startGobgp(
    fabric.at(number),
    `[global.config]
  as = ${as}
  router-id = "${ip4(number)}"
  port = 179
  local-address-list = ["${ip4(number)}"]
${
      peers.map((peer) =>
        `[[neighbors]]
  [neighbors.config]
    neighbor-address = "${ip4(peer)}"
    peer-as = ${peerAs}
  [neighbors.timers.config]
    connect-retry = 5
    idle-hold-time-after-reset = 2
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv4-unicast"
${extra}
`
      ).join("")
    }`,
  );
  await daemon.ask("global", "rib", "add", prefix, "nexthop", ip4(number), "-a", "ipv4");
  return daemon;
}
