/**
 * The dataplane ports: what the reconcilers know of a kernel. `src/linux/` implements them with netlink and /proc/sys,
 * `memory_kernel.ts` in memory with a fault switch; one contract suite runs on both.
 *
 * Reads return everything that is there, also what is not ours; ownership is decided above. Methods throw `NetlinkError`
 * (operation, errno, the kernel's words). Deleting what is gone and adding what is there in the same form succeed.
 */

import type { Cidr, IpNet } from "../lib/cidr.ts";
import type { Family, Ip } from "../lib/ip.ts";
import type { NetlinkError } from "../netlink/error.ts";

/** A network interface (RTM_NEWLINK). */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** Lower-case text; empty when the device has none. */
  readonly mac: string;
  readonly mtu: number;
  /** IFF_UP: the administrator wants it up. */
  readonly isUp: boolean;
  /** Operational state up (IFLA_OPERSTATE up or unknown, and IFF_RUNNING). */
  readonly isRunning: boolean;
  /** IFLA_INFO_KIND: "veth", "vxlan", "tun", "bridge", …; empty for a physical device and loopback. */
  readonly kind: string;
  /** IFLA_IFALIAS, where we note which workload a link is for; empty when unset. */
  readonly alias: string;
  /** IFLA_MASTER, when enslaved. */
  readonly master?: number;
  /** IFLA_LINK: a veth's peer index (in the peer's namespace). */
  readonly peerIndex?: number;
}

/** An address on an interface (RTM_NEWADDR). */
export interface Address {
  readonly index: number;
  readonly net: IpNet;
  /** RT_SCOPE_*: 0 global, 253 link, 254 host. */
  readonly scope: number;
}

/** Where one path of a route leads (RTA_GATEWAY, RTA_OIF, RTNH_*). */
export interface Nexthop {
  readonly gateway?: Ip;
  readonly ifindex?: number;
  /** RTNH_F_ONLINK. */
  readonly isOnlink?: boolean;
  /** 1 to 256; 1 when left out. */
  readonly weight?: number;
}

/** RTN_* by its name in `ip route`. */
export type RouteType =
  | "unicast"
  | "local"
  | "broadcast"
  | "anycast"
  | "multicast"
  | "blackhole"
  | "unreachable"
  | "prohibit"
  | "throw";

/** A route (RTM_NEWROUTE). `destination`, `table`, `metric` (and family) are its identity. */
export interface Route {
  readonly destination: Cidr;
  readonly type: RouteType;
  /** RT_TABLE_*: 254 main, 255 local. */
  readonly table: number;
  /** RTPROT_*: 2 kernel, 3 boot, 4 static, 12 bird, 80 ours. */
  readonly protocol: number;
  /** RT_SCOPE_*: 0 global, 253 link, 254 host; always 0 in IPv6. */
  readonly scope: number;
  /** RTA_PRIORITY; 0 when absent (IPv6: the kernel turns 0 into 1024, and reads give 1024). */
  readonly metric: number;
  /** RTA_PREFSRC. */
  readonly source?: Ip;
  /** Empty for blackhole and its kin; more than one is ECMP. */
  readonly nexthops: readonly Nexthop[];
}

/** A static or learnt neighbour (RTM_NEWNEIGH). */
export interface Neighbour {
  readonly index: number;
  readonly ip: Ip;
  /** Lower-case MAC text; absent for a proxy entry or an incomplete one. */
  readonly mac?: string;
  /** NUD_*: 0x80 permanent, 0x40 noarp, 0x02 reachable, … */
  readonly state: number;
  /** NTF_*: 0x08 proxy, 0x10 externally learnt, … */
  readonly flags: number;
}

/** A change that the kernel reports. `resync` says that reports were lost: read everything again. */
export type KernelEvent =
  | { readonly type: "link"; readonly isGone: boolean; readonly link: Link }
  | { readonly type: "address"; readonly isGone: boolean; readonly address: Address }
  | { readonly type: "route"; readonly isGone: boolean; readonly route: Route }
  | { readonly type: "neighbour"; readonly isGone: boolean; readonly neighbour: Neighbour }
  | { readonly type: "resync" };

/** A veth pair to make: our end here, the peer's end in another namespace, in one request. */
export interface VethRequest {
  readonly name: string;
  readonly mac: string;
  readonly mtu?: number;
  readonly alias?: string;
  readonly peerName: string;
  readonly peerMac?: string;
  /** The namespace that the peer end is born in; here when left out. */
  readonly peerNamespace?: Kernel;
}

/** Interfaces and their addresses. */
export interface Links {
  list(): Promise<Link[]>;
  /** By name or index; undefined when there is none. */
  get(which: string | number): Promise<Link | undefined>;
  createVeth(request: VethRequest): Promise<Link>;
  /** Changes only what is named. A rename needs the link down on older kernels; callers need not care. */
  change(
    index: number,
    change: { isUp?: boolean; mac?: string; mtu?: number; name?: string; alias?: string },
  ): Promise<void>;
  /** Moves the link into another namespace. */
  move(index: number, namespace: Kernel): Promise<void>;
  delete(index: number): Promise<void>;
  addresses(): Promise<Address[]>;
  addAddress(address: Address): Promise<void>;
  removeAddress(address: Address): Promise<void>;
}

/** One change of the FIB; `replace` adds or overwrites the route of that identity. */
export interface RouteChange {
  readonly action: "replace" | "delete";
  readonly route: Route;
  /** With `replace`: refused with EEXIST where a route of that identity stands, whoever's it is (NLM_F_EXCL). */
  readonly isExclusive?: boolean;
}

/** The kernel's routing tables. */
export interface Fib {
  /** All routes, or those of a family, table or protocol (filtered in the kernel where it can). */
  list(filter?: { family?: Family; table?: number; protocol?: number }): Promise<Route[]>;
  /** Applies changes in order, in large batches; the result has an error, or undefined, for each. */
  apply(changes: readonly RouteChange[]): Promise<(NetlinkError | undefined)[]>;
}

/** The kernel's neighbour tables. */
export interface Neighbours {
  list(): Promise<Neighbour[]>;
  replace(neighbour: Neighbour): Promise<void>;
  delete(neighbour: Neighbour): Promise<void>;
}

/** Sysctls by their dotted path under /proc/sys with "/" between parts, e.g. "net/ipv4/conf/eth0/proxy_arp". */
export interface Sysctl {
  /** The value without its newline; undefined when there is no such sysctl. */
  read(path: string): Promise<string | undefined>;
  /** Throws an Error naming the path when it cannot be written. */
  write(path: string, value: string): Promise<void>;
}

/** One network namespace of a machine, seen through all ports. */
export interface Kernel {
  readonly links: Links;
  readonly fib: Fib;
  readonly neighbours: Neighbours;
  readonly sysctl: Sysctl;
  /** Reports changes from now on; subscribe before reading. Returns how to stop. */
  watch(sink: (event: KernelEvent) => void): () => void;
  /**
   * Opens another namespace: a name under /run/netns, a path, or a decimal process id. Throws `NamespaceError` when
   * there is none. The caller closes it.
   */
  open(namespace: string): Promise<Kernel>;
  /** Identifies the namespace as long as it lives (the inode of nsfs). */
  readonly id: string;
  close(): void;
}

/** A namespace that cannot be opened. */
export class NamespaceError extends Error {
  override readonly name = "NamespaceError";
}
