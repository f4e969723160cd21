/**
 * The speaker's configuration: plain JSON, so that it can be posted to the speaker's thread as it is.
 *
 * `resolve/` computes it from resources (Node, BGPPeer, BGPConfiguration, BGPFilter, IPPool) and block affinities; the
 * sessions read the peers' transport part, the router reads the rest. All addresses and prefixes are canonical text, AS
 * numbers and metrics are unsigned 32-bit numbers, times are seconds. An absent member means the default that is named.
 */

/** IPv4 or IPv6 unicast, by the version number of the protocol. */
export type AddressFamily = 4 | 6;

/** Where the speaker accepts connections; no address means all of them. */
export interface ListenConfig {
  readonly addresses: readonly string[];
  readonly port: number;
}

/** Calico's `nextHopMode`: what the next hop becomes on export. */
export type NextHopMode = "auto" | "self" | "keep";

/** One session: who the peer is, how it is reached, and the policy towards it. */
export interface PeerConfig {
  /**
   * Unique: "mesh.<node>", "node.<BGPPeer>" or "global.<BGPPeer>"; with ".<node>" where a selector picks the peers, and ".v6"
   * for the IPv6 session of a node.
   */
  readonly name: string;
  readonly address: string;
  readonly port: number;
  /** The peer's AS. */
  readonly as: number;
  /** Our AS towards this peer. */
  readonly localAs: number;
  /** Bind to this address before connecting; absent leaves the choice to the kernel. */
  readonly sourceAddress?: string;
  /** Never connect, only accept. */
  readonly passive: boolean;
  /** Proposed hold time; 0 means none, otherwise 3 or more. */
  readonly holdTime: number;
  /** Keepalive interval; absent means a third of the negotiated hold time. */
  readonly keepaliveTime?: number;
  readonly families: readonly AddressFamily[];
  /** The peer is a client of our reflector (RFC 4456). */
  readonly rrClient: boolean;
  /** The cluster id that we add when reflecting; absent means the router id. */
  readonly clusterId?: string;
  readonly nextHopMode: NextHopMode;
  /** GTSM (RFC 5082): at most so many hops away; absent means off. */
  readonly ttlSecurityHops?: number;
  /** Not required to be on a connected network (Calico: always). */
  readonly multihop: boolean;
  /** TCP MD5 key (RFC 2385); a secret, never shown. */
  readonly password?: string;
  /** The file that the key is to be read from by the edge that has files; `password` is absent then. */
  readonly passwordFile?: string;
  /** BGPFilter names, in order; a name without a filter is skipped, as Calico does. */
  readonly importFilters: readonly string[];
  readonly exportFilters: readonly string[];
  /** Calico's export rules treat the peer as one of our own nodes (same AS as the node's). */
  readonly isSameAs: boolean;
  /** ADD-PATH (RFC 7911) that we offer; absent means none. */
  readonly addPaths?: AddPaths;
  /** How often our own AS may be in a path from this peer. */
  readonly allowLocalAs: number;
  /** Restart time that we announce (RFC 4724); absent means the default of 120. */
  readonly gracefulRestartTime?: number;
  /** Seconds for which routes outlive the restart time (RFC 9494), here and as we ask of the peer; absent means not at all. */
  readonly longLivedRestart?: number;
  /** The gateway by which the peer is reached, when it is not on a connected network. */
  readonly reachableBy?: string;
  readonly bfd: boolean;
  /** Times and reach of BFD; absent means the speaker's defaults. */
  readonly bfdTimes?: BfdConfig;
  /** Ends the session when the peer announces more. */
  readonly maxPrefixes?: number;
  /** Warns when the peer announces this share of `maxPrefixes`, in percent; absent means 75. */
  readonly maxPrefixesWarning?: number;
  /** Seconds until a session that was ended for `maxPrefixes` starts again, 0 for not by itself; absent means after IdleHold. */
  readonly maxPrefixesRestart?: number;
  /** An unnumbered peer: found by router advertisements on this interface; the address is empty until then. */
  readonly interface?: string;
  /** Whoever calls from these prefixes is a peer of this kind; the address is empty. */
  readonly dynamicNeighbours?: readonly string[];
  /** Our role towards the peer (RFC 9234). */
  readonly role?: PeerRole;
  /** No session with a peer that announces no role. */
  readonly isRoleStrict?: boolean;
  /** The administrator's words for a peer that is shut down (RFC 9003); absent means that it is not. */
  readonly shutdown?: string;
  /** Seconds in Idle after the first failure; doubles while sessions keep failing. */
  readonly idleHold?: number;
  /** A peer that Calico's rules apply to; false passes every route both ways (a pure reflector). */
  readonly hasCalicoRules: boolean;
}

/** Which directions may carry several paths of a prefix. */
export type AddPaths = "receive" | "send" | "both";

/** How BFD runs beside a session. */
export interface BfdConfig {
  /** Milliseconds between packets, each way. */
  readonly interval: number;
  /** Packets that may be missing. */
  readonly multiplier: number;
  /** RFC 5881 or RFC 5883; absent means by the peer's address: a neighbour on one of our networks is one hop away. */
  readonly hops?: "single-hop" | "multihop";
}

/** BGP roles (RFC 9234), as OpenBGPD and FRR write them. */
export type PeerRole = "provider" | "rs" | "rs-client" | "customer" | "peer";

/** Calico's match operators on a prefix. */
export type MatchOperator = "Equal" | "NotEqual" | "In" | "NotIn";

/** What a BGPFilter rule does to the routes that it matches; exactly one member is set. */
export interface FilterOperation {
  readonly addCommunity?: string;
  readonly prependAsPath?: readonly number[];
  readonly setPriority?: number;
}

/** One rule of a BGPFilter; every member that is present has to match. */
export interface FilterRule {
  readonly action: "Accept" | "Reject";
  readonly cidr?: string;
  readonly matchOperator?: MatchOperator;
  readonly prefixLength?: { readonly min?: number; readonly max?: number };
  readonly source?: "RemotePeers";
  /** Interface name with `*` and `?`. */
  readonly interface?: string;
  readonly peerType?: "iBGP" | "eBGP";
  /** Any of them: "aa:nn" or "aa:nn:mm". */
  readonly communities?: readonly string[];
  /** The path begins with these AS numbers. */
  readonly asPathPrefix?: readonly number[];
  /** Route metric (priority) to be equal. */
  readonly priority?: number;
  readonly operations?: readonly FilterOperation[];
}

/** A BGPFilter by its name, one list of rules for each direction and family. */
export interface FilterConfig {
  readonly name: string;
  readonly importV4: readonly FilterRule[];
  readonly importV6: readonly FilterRule[];
  readonly exportV4: readonly FilterRule[];
  readonly exportV6: readonly FilterRule[];
}

/** How packets between nodes of a pool travel. */
export type Encapsulation = "none" | "ipip" | "ipip-cross-subnet" | "vxlan" | "vxlan-cross-subnet";

/** An IP pool, as far as routing needs it. */
export interface PoolConfig {
  readonly cidr: string;
  readonly isExportDisabled: boolean;
  readonly encapsulation: Encapsulation;
  /** Who installs the routes of this pool's remote blocks: the speaker, or the agent. */
  readonly isProgrammedBySpeaker: boolean;
}

/** A block of ours: announced as one route, its parts not. */
export interface AggregateConfig {
  readonly cidr: string;
  /** The agent keeps a blackhole route for it (every block but /32 and /128). */
  readonly hasBlackhole: boolean;
}

/** Communities for our announcements inside a prefix (`prefixAdvertisements`). */
export interface AdvertisementConfig {
  readonly cidr: string;
  readonly communities: readonly string[];
}

/** What the speaker does with the kernel's FIB. */
export interface FibConfig {
  /** Install what peers tell us. */
  readonly isInstalling: boolean;
  /** Learn alien routes and connected networks. */
  readonly isLearning: boolean;
  /** RT_TABLE_*; 254 is main. */
  readonly table: number;
  /** The IPIP device that routes of an IPIP pool leave by. */
  readonly tunnelDevice: string;
  /** Most next hops of one ECMP route. */
  readonly maxPaths: number;
  /** Networks in which an IPIP CrossSubnet pool needs no tunnel: the node's own. */
  readonly nodeNetworks: readonly string[];
  /** Seconds to wait for End-of-RIB before routes of an earlier run are swept. */
  readonly sweepDelay: number;
}

/** A monitoring station. */
export interface BmpConfig {
  readonly address: string;
  readonly port: number;
  /** Tell it what peers are told too (RFC 8671); that costs a copy of all that goes out. */
  readonly adjRibOut?: boolean;
}

/** Everything that the speaker has to know. */
export interface SpeakerConfig {
  readonly nodeName: string;
  /** Dotted quad. */
  readonly routerId: string;
  readonly localAs: number;
  readonly listen: ListenConfig;
  /** Families that the node has an address of. */
  readonly families: readonly AddressFamily[];
  /** The node's own addresses, for next hop self. */
  readonly nodeAddress4?: string;
  readonly nodeAddress6?: string;
  readonly peers: readonly PeerConfig[];
  readonly filters: readonly FilterConfig[];
  readonly pools: readonly PoolConfig[];
  readonly aggregates: readonly AggregateConfig[];
  readonly advertisements: readonly AdvertisementConfig[];
  /** Routes to peers outside of the connected networks (`reachableBy`). */
  readonly statics: readonly { readonly cidr: string; readonly via: string }[];
  /** Interface patterns whose connected networks are not announced. */
  readonly ignoredInterfaces: readonly string[];
  /** Interface patterns whose routes are not told to peers of our own AS. */
  readonly internalRejectInterfaces: readonly string[];
  /** The metric of a route without a special one (`ipv4NormalRoutePriority`); 1024 in Calico. */
  readonly normalPriority4: number;
  readonly normalPriority6: number;
  readonly fib: FibConfig;
  /** The station that hears everything by BMP (RFC 7854); absent means none. */
  readonly bmp?: BmpConfig;
}

/** Hold time that we propose when nothing else is said, in seconds. */
export const DEFAULT_HOLD_TIME = 90;
/** Restart time that we announce when nothing else is said, in seconds (as BIRD). */
export const DEFAULT_RESTART_TIME = 120;
/** The metric that Calico gives a route without a special one. */
export const DEFAULT_NORMAL_PRIORITY = 1024;
/** The highest local preference that Calico's arithmetic uses: preference = this - metric. */
export const MAX_PREFERENCE = 2147483647;

/** A configuration without peers, for tests and for a speaker that has not been told anything yet. */
export const EMPTY_CONFIG: SpeakerConfig = {
  nodeName: "",
  routerId: "0.0.0.0",
  localAs: 64512,
  listen: { addresses: [], port: 179 },
  families: [4],
  peers: [],
  filters: [],
  pools: [],
  aggregates: [],
  advertisements: [],
  statics: [],
  ignoredInterfaces: [],
  internalRejectInterfaces: ["*.cali", "*.calico", "tunl0"],
  normalPriority4: DEFAULT_NORMAL_PRIORITY,
  normalPriority6: DEFAULT_NORMAL_PRIORITY,
  fib: {
    isInstalling: false,
    isLearning: false,
    table: 254,
    tunnelDevice: "tunl0",
    maxPaths: 16,
    nodeNetworks: [],
    sweepDelay: 120,
  },
};

/** The session defaults of a peer, to be completed with name, address and AS numbers. */
export const DEFAULT_PEER = {
  port: 179,
  passive: false,
  holdTime: DEFAULT_HOLD_TIME,
  rrClient: false,
  nextHopMode: "auto",
  multihop: true,
  importFilters: [],
  exportFilters: [],
  isSameAs: true,
  allowLocalAs: 0,
  bfd: false,
  hasCalicoRules: true,
} as const satisfies Partial<PeerConfig>;
