/**
 * The table of kinds: what a kind is called in keys and on the command line, whether it lives in a namespace, and which
 * columns a table of it shows. Keys use the plural; users may say singular, plural or short name in any case.
 */

import type { Kind } from "./resources/mod.ts";

/** A column of a table: its heading and the path of the member that it shows. */
export interface Column {
  readonly heading: string;
  /** Dotted path into the resource ("spec.cidr"). */
  readonly path: string;
  /** Shown with `-o wide` only. */
  readonly wide?: boolean;
}

/** What is known of a kind. */
export interface KindEntry {
  readonly kind: Kind;
  /** Lower-case plural, the part of the key. */
  readonly plural: string;
  readonly shortNames: readonly string[];
  readonly namespaced: boolean;
  /** Names that the kind is limited to, if any; `node.` stands for `node.<node>`. */
  readonly onlyNames?: readonly string[];
  readonly columns: readonly Column[];
}

const column = (heading: string, path: string): Column => ({ heading, path });
const wide = (heading: string, path: string): Column => ({ heading, path, wide: true });
const POLICY_COLUMNS = [
  column("TIER", "spec.tier"),
  column("ORDER", "spec.order"),
  column("SELECTOR", "spec.selector"),
  wide("TYPES", "spec.types"),
];

/** Every known kind, in the order in which listings of everything show them. */
export const KINDS: readonly KindEntry[] = [
  {
    kind: "Node",
    plural: "nodes",
    shortNames: ["no", "nos"],
    namespaced: false,
    columns: [
      column("ASN", "spec.bgp.asNumber"),
      column("IPV4", "spec.bgp.ipv4Address"),
      column("IPV6", "spec.bgp.ipv6Address"),
      wide("CLUSTER-ID", "spec.bgp.routeReflectorClusterID"),
    ],
  },
  {
    kind: "IPPool",
    plural: "ippools",
    shortNames: ["ipp", "ipps", "pool", "pools"],
    namespaced: false,
    columns: [
      column("CIDR", "spec.cidr"),
      column("SELECTOR", "spec.nodeSelector"),
      wide("NAT", "spec.natOutgoing"),
      wide("IPIPMODE", "spec.ipipMode"),
      wide("VXLANMODE", "spec.vxlanMode"),
      wide("BLOCKSIZE", "spec.blockSize"),
      wide("DISABLED", "spec.disabled"),
    ],
  },
  {
    kind: "IPReservation",
    plural: "ipreservations",
    shortNames: ["ipres", "reservation", "reservations"],
    namespaced: false,
    columns: [column("CIDRS", "spec.reservedCIDRs")],
  },
  {
    kind: "BGPConfiguration",
    plural: "bgpconfigurations",
    shortNames: ["bgpconfig", "bgpconfigs"],
    namespaced: false,
    onlyNames: ["default", "node."],
    columns: [column("MESH", "spec.nodeToNodeMeshEnabled"), column("ASN", "spec.asNumber")],
  },
  {
    kind: "BGPPeer",
    plural: "bgppeers",
    shortNames: ["bgpp", "bgpps", "bp", "bps", "peer", "peers"],
    namespaced: false,
    columns: [
      column("PEERIP", "spec.peerIP"),
      column("NODE", "spec.node"),
      column("ASN", "spec.asNumber"),
      wide("NODESELECTOR", "spec.nodeSelector"),
      wide("PEERSELECTOR", "spec.peerSelector"),
      wide("FILTERS", "spec.filters"),
    ],
  },
  { kind: "BGPFilter", plural: "bgpfilters", shortNames: ["bgpf"], namespaced: false, columns: [] },
  {
    kind: "WorkloadEndpoint",
    plural: "workloadendpoints",
    shortNames: ["wep", "weps"],
    namespaced: true,
    columns: [
      column("NODE", "spec.node"),
      column("NETWORKS", "spec.ipNetworks"),
      column("INTERFACE", "spec.interfaceName"),
      wide("PROFILES", "spec.profiles"),
      wide("MAC", "spec.mac"),
    ],
  },
  {
    kind: "HostEndpoint",
    plural: "hostendpoints",
    shortNames: ["hep", "heps"],
    namespaced: false,
    columns: [
      column("NODE", "spec.node"),
      column("INTERFACE", "spec.interfaceName"),
      column("IPS", "spec.expectedIPs"),
      wide("PROFILES", "spec.profiles"),
    ],
  },
  {
    kind: "Profile",
    plural: "profiles",
    shortNames: ["pro", "pros", "prof"],
    namespaced: false,
    columns: [column("LABELS", "spec.labelsToApply")],
  },
  {
    kind: "Tier",
    plural: "tiers",
    shortNames: ["ti"],
    namespaced: false,
    columns: [column("ORDER", "spec.order"), column("DEFAULTACTION", "spec.defaultAction")],
  },
  {
    kind: "GlobalNetworkPolicy",
    plural: "globalnetworkpolicies",
    shortNames: ["gnp", "gnps"],
    namespaced: false,
    columns: POLICY_COLUMNS,
  },
  {
    kind: "NetworkPolicy",
    plural: "networkpolicies",
    shortNames: ["np", "nps", "netpol", "pol", "pols", "policy", "policies"],
    namespaced: true,
    columns: POLICY_COLUMNS,
  },
  {
    kind: "StagedGlobalNetworkPolicy",
    plural: "stagedglobalnetworkpolicies",
    shortNames: ["sgnp", "sgnps"],
    namespaced: false,
    columns: POLICY_COLUMNS,
  },
  {
    kind: "StagedNetworkPolicy",
    plural: "stagednetworkpolicies",
    shortNames: ["snp", "snps"],
    namespaced: true,
    columns: POLICY_COLUMNS,
  },
  {
    kind: "StagedKubernetesNetworkPolicy",
    plural: "stagedkubernetesnetworkpolicies",
    shortNames: ["sknp", "sknps"],
    namespaced: true,
    columns: [],
  },
  {
    kind: "GlobalNetworkSet",
    plural: "globalnetworksets",
    shortNames: ["gns"],
    namespaced: false,
    columns: [column("NETS", "spec.nets")],
  },
  {
    kind: "NetworkSet",
    plural: "networksets",
    shortNames: ["ns", "netset", "netsets"],
    namespaced: true,
    columns: [column("NETS", "spec.nets")],
  },
  {
    kind: "FelixConfiguration",
    plural: "felixconfigurations",
    shortNames: ["felixconfig", "felixconfigs"],
    namespaced: false,
    columns: [],
  },
  {
    kind: "ClusterInformation",
    plural: "clusterinformations",
    shortNames: ["clusterinfo", "clusterinfos"],
    namespaced: false,
    onlyNames: ["default"],
    columns: [column("READY", "spec.datastoreReady"), column("GUID", "spec.clusterGUID")],
  },
  {
    kind: "KubeControllersConfiguration",
    plural: "kubecontrollersconfigurations",
    shortNames: ["kubecontrollersconfig", "kubecontrollersconfigs"],
    namespaced: false,
    onlyNames: ["default"],
    columns: [],
  },
  {
    kind: "CalicoNodeStatus",
    plural: "caliconodestatuses",
    shortNames: ["caliconodestatus"],
    namespaced: false,
    columns: [],
  },
  {
    kind: "IPAMConfiguration",
    plural: "ipamconfigurations",
    shortNames: ["ipamconfig"],
    namespaced: false,
    onlyNames: ["default"],
    columns: [],
  },
  { kind: "BlockAffinity", plural: "blockaffinities", shortNames: [], namespaced: false, columns: [] },
  { kind: "LiveMigration", plural: "livemigrations", shortNames: [], namespaced: true, columns: [] },
];

const BY_KIND = new Map<string, KindEntry>(KINDS.map((entry) => [entry.kind, entry]));
const BY_PLURAL = new Map<string, KindEntry>(KINDS.map((entry) => [entry.plural, entry]));
const BY_WORD = new Map<string, KindEntry>(
  KINDS.flatMap((entry) =>
    [entry.kind.toLowerCase(), entry.plural, ...entry.shortNames].map((word): [string, KindEntry] => [word, entry])
  ),
);

/** The entry of a kind by its exact name. */
export function kindEntry(kind: Kind): KindEntry;
export function kindEntry(kind: string): KindEntry | undefined;
export function kindEntry(kind: string): KindEntry | undefined {
  return BY_KIND.get(kind);
}

/** The entry that a key's plural stands for. */
export function kindOfPlural(plural: string): KindEntry | undefined {
  return BY_PLURAL.get(plural);
}

/** The entry that a user's word stands for: singular, plural or short name, in any case. */
export function kindOfWord(word: string): KindEntry | undefined {
  return BY_WORD.get(word.toLowerCase());
}

/** Every word that `kindOfWord` knows, for hints and completions. */
export function kindWords(): string[] {
  return [...BY_WORD.keys()];
}
