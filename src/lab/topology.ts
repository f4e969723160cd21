/**
 * What a lab consists of: hosts on one Ethernet segment, the workloads on them, and a top-of-rack router.
 *
 * A pure description; `lab.ts` builds it out of network namespaces. The resources that every host is given are the same
 * on all of them, as a fleet without a shared store would have them: Node resources list the fleet, and each host has a
 * pool of its own by `nodeSelector`.
 */

/** A workload to attach: a network namespace with one veth. */
export interface LabWorkload {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** A host that runs a node. */
export interface LabHost {
  readonly name: string;
  /** Address on the segment with its prefix length, "192.168.100.100/24". */
  readonly address: string;
  /** The IPv4 pool that this host alone allocates from. */
  readonly pool: string;
  readonly workloads: readonly LabWorkload[];
}

/** The router outside the fleet, run by BIRD. */
export interface LabRouter {
  readonly name: string;
  readonly address: string;
  readonly as: number;
  /** The prefix that it originates. */
  readonly originates: string;
}

/** The whole lab. */
export interface Topology {
  readonly as: number;
  readonly hosts: readonly LabHost[];
  readonly router: LabRouter;
}

/** Three hosts with two workloads each, and a top-of-rack router: what `lab up` builds. */
export const defaultTopology: Topology = {
  as: 64512,
  hosts: ["a", "b", "c"].map((name, i) => ({
    name,
    address: `192.168.100.${100 + i}/24`,
    pool: `172.17.${8 + i}.0/24`,
    workloads: [
      { name: `${name}-web`, labels: { app: "web", host: name } },
      { name: `${name}-db`, labels: { app: "db", host: name } },
    ],
  })),
  router: { name: "tor", address: "192.168.100.1/24", as: 65000, originates: "10.99.0.0/16" },
};

/** The address of "address/length" without its length. */
export function bare(address: string): string {
  return address.slice(0, address.indexOf("/"));
}

/** How long the others keep the routes of a node that went without a word; short, so that a lab shows that it is gone. */
const RESTART_TIME = "5s";

/** The text of a host's tortie.yaml; `stateDir` and `socket` are the only things in which two hosts differ. */
export function hostConfiguration(
  topology: Topology,
  host: LabHost,
  paths: { readonly stateDir: string; readonly socket: string; readonly metrics?: string },
): string {
  const { as, hosts, router } = topology;
  const settings = `node:
  name: "${host.name}"
  ip: ${host.address}
  stateDir: ${paths.stateDir}
  socket: ${paths.socket}
log: { level: info, format: text }
metrics: { listen: ${paths.metrics ?? "off"} }
`;
  const nodes = hosts.map((each) =>
    `---
apiVersion: projectcalico.org/v3
kind: Node
metadata: { name: "${each.name}" }
spec: { bgp: { ipv4Address: ${each.address} } }
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: { name: pool-${each.name} }
spec: { cidr: ${each.pool}, blockSize: 26, ipipMode: Never, vxlanMode: Never, nodeSelector: "name == '${each.name}'" }
`
  );
  return `${settings}${nodes.join("")}---
apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata: { name: default }
spec: { asNumber: ${as}, nodeToNodeMeshEnabled: true, nodeMeshMaxRestartTime: ${RESTART_TIME} }
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: { name: "${router.name}" }
spec: { peerIP: ${bare(router.address)}, asNumber: ${router.as}, maxRestartTime: ${RESTART_TIME} }
`;
}

/** The text of the router's bird.conf (BIRD 2): eBGP to every host, one static prefix to originate, routes into its kernel. */
export function routerConfiguration(topology: Topology): string {
  const { as, hosts, router } = topology;
  const peers = hosts.map((host) =>
    `protocol bgp '${host.name}' {
  local ${bare(router.address)} as ${router.as};
  neighbor ${bare(host.address)} as ${as};
  connect delay time 1;
  connect retry time 2;
  error wait time 1, 5;
  ipv4 { import all; export where source = RTS_STATIC; };
}
`
  );
  return `log stderr all;
router id ${bare(router.address)};
protocol device { scan time 1; }
protocol direct { ipv4; }
protocol kernel { ipv4 { export where source = RTS_BGP; }; }
protocol static { ipv4; route ${router.originates} blackhole; }
${peers.join("")}`;
}
