/**
 * Builds the keys under which things are stored. Names are put in as they are (they cannot hold a `/`) except in Felix's
 * status keys, whose identifiers are escaped. A CIDR in a key has `-` for its `/`.
 */

import type { Cidr } from "../../lib/cidr.ts";
import { kindEntry } from "../kinds.ts";
import type { ResourceId } from "../resource.ts";
import type { Kind } from "../resources/mod.ts";
import { escapeName } from "./escape.ts";

/** The prefix of every key. */
export const ROOT_PREFIX = "/calico/";
/** The prefix of all resources. */
export const RESOURCES_PREFIX = "/calico/resources/v3/projectcalico.org/";
/** The prefix of everything that address management keeps. */
export const IPAM_PREFIX = "/calico/ipam/v2/";
/** The prefix of all blocks, and of those of one family. */
export const BLOCKS_PREFIX = "/calico/ipam/v2/assignment/";
/** The prefix of all handles. */
export const HANDLES_PREFIX = "/calico/ipam/v2/handle/";
/** The prefix of all hosts' affinities. */
export const HOST_AFFINITIES_PREFIX = "/calico/ipam/v2/host/";

/** Who an affinity belongs to: a host, or a virtual owner such as `load-balancer`. */
export interface AffinityOwner {
  readonly type: "host" | "virtual";
  readonly name: string;
}

/** The key of a resource; throws RangeError when a namespaced kind lacks its namespace. */
export function resourceKey(kind: Kind, name: string, namespace?: string): string {
  const entry = kindEntry(kind);
  if (!entry.namespaced) return `${RESOURCES_PREFIX}${entry.plural}/${name}`;
  if (!namespace) throw new RangeError(`Cannot make the key of ${kind} ${name}: its namespace is missing`);
  return `${RESOURCES_PREFIX}${entry.plural}/${namespace}/${name}`;
}

/** The key of the resource with that identity; throws RangeError on an unknown kind. */
export function resourceKeyOf(id: ResourceId): string {
  const entry = kindEntry(id.kind);
  if (!entry) throw new RangeError(`Cannot make a key: the kind ${id.kind} is not known`);
  return resourceKey(entry.kind, id.name, id.namespace);
}

/** The prefix of all resources of a kind, or of those in one namespace. */
export function resourcePrefix(kind: Kind, namespace?: string): string {
  const { plural } = kindEntry(kind);
  return namespace ? `${RESOURCES_PREFIX}${plural}/${namespace}/` : `${RESOURCES_PREFIX}${plural}/`;
}

/** The last part of a block's key: "10.0.0.0-26". */
export function cidrInKey(cidr: Cidr | string): string {
  return cidr.toString().replace("/", "-");
}

function familyOf(cidr: Cidr | string): "ipv4" | "ipv6" {
  return cidr.toString().includes(":") ? "ipv6" : "ipv4";
}

/** The key of a block. */
export function blockKey(cidr: Cidr | string): string {
  return `${BLOCKS_PREFIX}${familyOf(cidr)}/block/${cidrInKey(cidr)}`;
}

/** The key that says that an owner has an affinity to a block; a plain string is a host. */
export function affinityKey(owner: AffinityOwner | string, cidr: Cidr | string): string {
  return `${affinityPrefix(owner)}${familyOf(cidr)}/block/${cidrInKey(cidr)}`;
}

/** The prefix of all affinities of an owner; a plain string is a host. */
export function affinityPrefix(owner: AffinityOwner | string): string {
  const { type, name } = typeof owner === "string" ? { type: "host", name: owner } : owner;
  return `${IPAM_PREFIX}${type}/${name}/`;
}

/** The key of an address handle. */
export function handleKey(id: string): string {
  return `${HANDLES_PREFIX}${id}`;
}

/** The key of the settings of address management. */
export const ipamConfigKey = "/calico/ipam/v2/config";

/** Felix's word for a region: `no-region`, or `region-<name>`. */
export function regionText(region?: string): string {
  return region ? `region-${region}` : "no-region";
}

/** The key of a node's status report, which expires. */
export function felixStatusKey(node: string, region?: string): string {
  return `/calico/felix/v2/${regionText(region)}/host/${node}/status`;
}

/** The key of a node's last status report, which stays. */
export function felixLastStatusKey(node: string, region?: string): string {
  return `/calico/felix/v2/${regionText(region)}/host/${node}/last_reported_status`;
}

/** What a workload endpoint is called in Felix's status keys; `workload` is `<namespace>/<workload>`. */
export interface WorkloadStatusId {
  readonly node: string;
  readonly orchestrator: string;
  readonly workload: string;
  readonly endpoint: string;
}

/** The key of a workload endpoint's status. */
export function workloadStatusKey(id: WorkloadStatusId, region?: string): string {
  const [orchestrator, workload, endpoint] = [id.orchestrator, id.workload, id.endpoint].map(escapeName);
  return `/calico/felix/v2/${
    regionText(region)
  }/host/${id.node}/workload/${orchestrator}/${workload}/endpoint/${endpoint}`;
}

/** The key of a host endpoint's status. */
export function hostEndpointStatusKey(node: string, endpoint: string): string {
  return `/calico/felix/v1/host/${node}/endpoint/${escapeName(endpoint)}`;
}
