/**
 * The node's API as an interface: the running node implements it, the server puts it on the socket, and the client gives
 * the command line and the CNI plugin the same interface back. Every call may throw `ApiError`.
 */

import type { AnyResource, Kind } from "../model/resources/mod.ts";
import type {
  AddressOwner,
  AttachRequest,
  BlockRow,
  ConfirmRequest,
  ConfirmResult,
  IpamFinding,
  IpamSettings,
  MonitorLine,
  NodeStatus,
  PeerRow,
  PolicyExplanation,
  PolicyFinding,
  PolicyQuery,
  PolicyRow,
  PoolRow,
  ReloadResult,
  ResourceEvent,
  ResourceFilter,
  ResourceId,
  RouteExplanation,
  RouteQuery,
  RouteRow,
  Unconfirmed,
  WatchLine,
  WorkloadRow,
  WriteChoice,
  WriteResult,
} from "./shapes.ts";

/** The calls on resources that read and write; a namespaced kind without a namespace is in `default`. */
export interface ResourceCalls {
  /** In key order; a name that does not exist gives an empty list. */
  list(kind: Kind, filter?: ResourceFilter): Promise<AnyResource[]>;
  /** Throws `ApiError` `missing`. */
  get(id: ResourceId): Promise<AnyResource>;
  /** Creates the resource, or changes the one that exists. */
  apply(resource: AnyResource, choice?: WriteChoice): Promise<WriteResult>;
  /** Throws `ApiError` `exists`. */
  create(resource: AnyResource, choice?: WriteChoice): Promise<WriteResult>;
  /** Throws `ApiError` `missing`; with a `resourceVersion` that has become another, `conflict`. */
  replace(resource: AnyResource, choice?: WriteChoice): Promise<WriteResult>;
  /** Throws `ApiError` `missing`. */
  delete(id: ResourceId, choice?: WriteChoice): Promise<WriteResult>;
}

/** Ends a watch. */
export type StopWatch = () => void;

/** What the node implements: a watch hands its lines to `sink` until it is stopped. */
export interface NodeResources extends ResourceCalls {
  watch(kind: Kind, filter: ResourceFilter, sink: (line: WatchLine) => void): StopWatch;
}

/** What a client sees of it: a watch is read with `for await` and ends when the node does, or with `break`. */
export interface ClientResources extends ResourceCalls {
  watch(kind: Kind, filter?: ResourceFilter): AsyncIterable<ResourceEvent>;
}

/** Workloads of this host. */
export interface WorkloadCalls {
  /** Returns once policy and route stand; asking again for the same changes nothing. */
  attach(request: AttachRequest): Promise<WorkloadRow>;
  detach(name: string): Promise<void>;
  list(): Promise<WorkloadRow[]>;
}

/** Addresses. */
export interface IpamCalls {
  show(): Promise<PoolRow[]>;
  showBlocks(): Promise<BlockRow[]>;
  showIp(ip: string): Promise<AddressOwner>;
  check(): Promise<IpamFinding[]>;
  release(ip: string): Promise<void>;
  /** Changes what is named and returns all settings. */
  configure(change: Partial<IpamSettings>): Promise<IpamSettings>;
}

/** BGP sessions and routes. */
export interface BgpCalls {
  peers(): Promise<PeerRow[]>;
  routes(query?: RouteQuery): Promise<RouteRow[]>;
  /** `prefix` may be an address. */
  explain(prefix: string): Promise<RouteExplanation>;
}

/** What the node implements: sessions and best paths that change go to `sink` until it is stopped. */
export interface NodeBgp extends BgpCalls {
  monitor(sink: (line: MonitorLine) => void): StopWatch;
}

/** What a client sees of it: changes are read with `for await`. */
export interface ClientBgp extends BgpCalls {
  monitor(): AsyncIterable<MonitorLine>;
}

/** Policy decisions. */
export interface PolicyCalls {
  explain(query: PolicyQuery): Promise<PolicyExplanation>;
  /** In the order in which they judge; with `hits`, with what the kernel counted. */
  list(choice?: { readonly hits?: boolean | undefined }): Promise<PolicyRow[]>;
  /** What is probably not meant. */
  lint(): Promise<PolicyFinding[]>;
}

/** Changes that take themselves back. */
export interface ConfirmCalls {
  /** Applies resources, all or none, and takes them back when the time is over. Throws `ApiError` `conflict` while others wait. */
  apply(request: ConfirmRequest): Promise<ConfirmResult>;
  /** Lets what waits stand for good; throws `ApiError` `missing` when nothing does. */
  confirm(): Promise<Unconfirmed>;
}

interface Calls {
  readonly workloads: WorkloadCalls;
  readonly ipam: IpamCalls;
  readonly policy: PolicyCalls;
  readonly confirm: ConfirmCalls;
  status(): Promise<NodeStatus>;
  /** Reads the configuration file again, as SIGHUP does; throws `ApiError` `invalid` and changes nothing if it is wrong. */
  reload(): Promise<ReloadResult>;
}

/** The API as the running node implements it. */
export interface NodeApi extends Calls {
  readonly bgp: NodeBgp;
  readonly resources: NodeResources;
}

/** The API as a client calls it. */
export interface ApiClient extends Calls {
  readonly bgp: ClientBgp;
  readonly resources: ClientResources;
}

/** Health of the node: null when it is well, else why not. */
export interface Health {
  /** Whether the process should be left running. */
  liveness(): string | null;
  /** Whether workloads can rely on it: in sync with the store and the kernel. */
  readiness(): string | null;
}
