/**
 * What passes over the node's API: the JSON of requests and answers, as scripts see it with `-o json`.
 *
 * The shapes are fixed by the command line's contract; members may be added, never changed. Times are RFC 3339 text in
 * UTC, addresses and prefixes canonical text; what is not known is null, never left out.
 */

import type { Finding } from "../ipam/check.ts";
import type { AddressUse, BlockUse, PoolUse } from "../ipam/show.ts";
import type { ResourceId } from "../model/resource.ts";
import type { AnyResource } from "../model/resources/mod.ts";
import type { PolicyRow, RuleRow } from "../policy/explain/hits.ts";
import type { Finding as PolicyFinding } from "../policy/explain/lint.ts";

export type { PolicyFinding, PolicyRow, RuleRow };

export type { ResourceId };

/** Which resources of a kind are meant; without a namespace those of all. */
export interface ResourceFilter {
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
}

/** Options of a change: with `dryRun` everything is checked and nothing written. */
export interface WriteChoice {
  readonly dryRun?: boolean | undefined;
}

/** What a change did, or would do. */
export interface WriteResult {
  readonly outcome: "created" | "changed" | "unchanged" | "deleted";
  /** The resource as it is stored now (for a deletion: as it was). */
  readonly resource: AnyResource;
  readonly warnings: readonly string[];
}

/** One change of a watched resource; first an `added` for each that is there. */
export interface ResourceEvent {
  readonly type: "added" | "modified" | "deleted";
  readonly resource: AnyResource;
}

/** One line of a watch's stream: a change, the end of the first listing, or a pause in the store's answers. */
export type WatchLine =
  | ResourceEvent
  | { readonly type: "synced"; readonly revision: number }
  | { readonly type: "unavailable"; readonly error: string };

/** What `bgp monitor` shows: a session or a best path that has changed; `lost` counts changes that were left out. */
export type MonitorLine =
  | {
    readonly type: "session";
    readonly time: string;
    readonly peer: string;
    readonly name: string;
    readonly from: string;
    readonly to: string;
  }
  | { readonly type: "best"; readonly time: string; readonly prefix: string; readonly route: RouteRow }
  | { readonly type: "gone"; readonly time: string; readonly prefix: string }
  | { readonly type: "lost"; readonly time: string; readonly count: number };

/** A wish to make a workload reachable: exactly one of `netns`, `tap` and `interface` says where it is. */
export interface AttachRequest {
  /** Unique on this host. */
  readonly name: string;
  /** Name below /run/netns, absolute path, or process id. */
  readonly netns?: string | undefined;
  readonly tap?: string | undefined;
  readonly interface?: string | undefined;
  /** Addresses to give, at most one of a family; else one is chosen from each family that has a pool. */
  readonly ips?: readonly string[] | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly profiles?: readonly string[] | undefined;
  readonly namespace?: string | undefined;
  /** The interface's name inside the workload; `eth0` if none is given. */
  readonly endpoint?: string | undefined;
  /** Pools to take addresses from, by name or CIDR. */
  readonly pools?: readonly string[] | undefined;
  /** `cni` for containers that a CNI runtime runs; else a name of the caller's kind. */
  readonly orchestrator?: string | undefined;
  readonly containerID?: string | undefined;
}

/** A workload of this host. */
export interface WorkloadRow {
  readonly name: string;
  readonly node: string;
  readonly interface: string;
  readonly addresses: readonly string[];
  readonly mac: string | null;
  readonly labels: Readonly<Record<string, string>>;
  /** Whether policy and route stand. */
  readonly ready: boolean;
}

/** A BGP session. */
export interface PeerRow {
  readonly peer: string;
  readonly name: string;
  readonly as: number;
  readonly localAs: number;
  readonly state: string;
  /** When it entered that state. */
  readonly since: string;
  readonly received: number;
  readonly accepted: number;
  readonly advertised: number;
  readonly lastError: string | null;
  readonly rrClient: boolean;
}

/** Which routes are meant: all of the Loc-RIB, what one peer sent, or what one peer is sent. */
export interface RouteQuery {
  readonly prefix?: string | undefined;
  readonly received?: string | undefined;
  readonly advertised?: string | undefined;
}

/** A path to a prefix and why it won or lost. */
export interface RouteRow {
  readonly prefix: string;
  readonly best: boolean;
  readonly nextHop: string | null;
  readonly from: string | null;
  /** AS numbers from the nearest on; an AS_SET is an array. */
  readonly asPath: readonly (number | readonly number[])[];
  readonly origin: "igp" | "egp" | "incomplete";
  readonly localPref: number | null;
  readonly med: number | null;
  readonly communities: readonly string[];
  readonly originatorId: string | null;
  readonly clusterList: readonly string[];
  readonly stale: boolean;
  readonly why: string;
}

/** Why the path of a prefix won, the best first; the prefix is the longest that covers the question. */
export interface RouteExplanation {
  readonly query: string;
  readonly prefix: string | null;
  readonly paths: readonly RouteRow[];
}

/** A pool and how much of it is used; sizes past 2^53 are decimal text. */
export type PoolRow = Omit<PoolUse, "pool"> & { readonly name: string };

/** A block of addresses; its affinity is "host:<node>", or null. */
export type BlockRow = BlockUse;

/** Who has an address; `assigned` says whether anybody has. */
export type AddressOwner = AddressUse & { readonly assigned: boolean };

/** Something that is wrong with the addresses. */
export type IpamFinding = Finding;

/** The allocator's settings. */
export interface IpamSettings {
  readonly strictAffinity: boolean;
  readonly autoAllocateBlocks: boolean;
  readonly maxBlocksPerHost: number;
}

/** A packet to decide on; both ends are workloads or addresses. */
export interface PolicyQuery {
  readonly from: string;
  readonly to: string;
  readonly protocol: string;
  readonly port?: number | undefined;
  /** Whether each step gets what the kernel counted for its rule. */
  readonly live?: boolean | undefined;
}

/** The decision, step by step. */
export interface PolicyExplanation {
  readonly verdict: "allow" | "deny";
  readonly steps: readonly {
    readonly at: string;
    readonly tier: string | null;
    readonly policy: string | null;
    readonly rule: number | null;
    readonly action: string;
    /** With `live`: what the kernel of this host counted; null for what does not stand here. */
    readonly packets?: number | null;
    readonly bytes?: number | null;
  }[];
}

/** Resources to apply for a time: they are taken back after `seconds` unless they are confirmed. */
export interface ConfirmRequest {
  readonly resources: readonly AnyResource[];
  readonly seconds: number;
}

/** What waits to be confirmed, or was. */
export interface Unconfirmed {
  /** "KIND NAME" of each. */
  readonly resources: readonly string[];
  /** When they are taken back. */
  readonly until: string;
}

/** What was applied for a time. */
export interface ConfirmResult extends Unconfirmed {
  readonly results: readonly WriteResult[];
}

/** The node at a glance. */
export interface NodeStatus {
  readonly node: {
    readonly name: string;
    readonly ip: string | null;
    readonly ip6: string | null;
    readonly as: number | null;
    readonly version: string;
    readonly pid: number;
    readonly since: string;
  };
  /** The configuration file: `error` is set while the last edit is refused and the edition before it stands. */
  readonly config: { readonly file: string | null; readonly loadedAt: string | null; readonly error: string | null };
  readonly store: {
    readonly type: "memory" | "file" | "etcd";
    readonly inSync: boolean;
    readonly revision: number;
    readonly error: string | null;
    readonly warnings: readonly string[];
  };
  readonly bgp: { readonly established: number; readonly configured: number };
  readonly workloads: { readonly ready: number; readonly total: number };
  readonly dataplane: { readonly inSync: boolean; readonly lastError: string | null };
  /** What is taken back unless it is confirmed. */
  readonly unconfirmed?: Unconfirmed | null;
}

/** What reading the configuration file again did. */
export interface ReloadResult {
  /** How many resources changed. */
  readonly changed: number;
  readonly warnings: readonly string[];
}
