/**
 * How a workload is written down: its WorkloadEndpoint, the names that follow from it, and the request that it came from.
 *
 * The annotations hold what Calico's schema has no field for, and what is needed to make the interface again after a
 * restart. The endpoint's name, the IPAM handle and the link's alias name each other, so that whatever a crash leaves
 * behind tells whose it was.
 */

import { Cidr } from "../../lib/cidr.ts";
import { Ip } from "../../lib/ip.ts";
import { API_VERSION } from "../../model/resource.ts";
import type { WorkloadEndpoint } from "../../model/resources/mod.ts";
import { DEFAULT_ALLOW_PROFILE } from "../../model/resources/profile.ts";
import type { WORKLOAD_ANNOTATIONS } from "../../model/resources/workload_endpoint.ts";
import { composeWepName, composeWepPrefix, splitWepName } from "../../model/wep_name.ts";
import { workloadPrefix } from "../../dataplane/ownership.ts";

/** The namespace and orchestrator of endpoints whose request names none. */
export const defaultNamespace = "default", defaultOrchestrator = "tortie";

/** The MAC of every host end; a workload's gateway is this whatever the interface. */
export const hostMac = "ee:ee:ee:ee:ee:ee";

/** The host end's link-local address, made from `hostMac` (RFC 4291 appendix A): the IPv6 gateway of every workload. */
export const hostLinkLocal: Ip = Ip.parse("fe80::ecee:eeff:feee:eeee");

/** The IPv4 gateway of every workload, answered by proxy ARP. */
export const gateway4: Ip = Ip.parse("169.254.1.1");

/** Annotations of a WorkloadEndpoint that tortie made. */
export const annotation = {
  /** The namespace as it was asked for: a name, a path or a process id. */
  netns: "tortie/netns",
  /** What identifies the namespace as long as it lives; a process id may come to mean another one. */
  netnsId: "tortie/netns-id",
  /** "tap" or "interface": the host end is the user's own. */
  adopted: "tortie/adopted",
  /** The name that it was attached under, where the endpoint's own name does not hold it. */
  name: "tortie/name",
  mtu: "tortie/mtu",
  /** The addresses that were asked for, by commas; empty when they were left to IPAM. */
  requestedIps: "tortie/requested-ips",
} as const satisfies Readonly<Record<string, typeof WORKLOAD_ANNOTATIONS[number]>>;

/** What to attach: exactly one of `netns`, `tap` and `interface`. */
export interface AttachRequest {
  /** Unique on this host. */
  readonly name: string;
  /** A name under /run/netns, a path or a process id. */
  readonly netns?: string | undefined;
  /** The name of a tap device on the host. */
  readonly tap?: string | undefined;
  /** The name of another interface on the host that leads to the workload. */
  readonly interface?: string | undefined;
  /** Addresses to give it; one of each family that has a pool is assigned where this is left out or empty. */
  readonly ips?: readonly string[] | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly profiles?: readonly string[] | undefined;
  readonly mtu?: number | undefined;
  /** "default" when left out. */
  readonly namespace?: string | undefined;
  /** The interface inside the namespace; "eth0" when left out. */
  readonly endpoint?: string | undefined;
  /** Pools to take addresses from, by name or CIDR. */
  readonly pools?: readonly string[] | undefined;
  /** "tortie" when left out; "cni" goes with a container id. */
  readonly orchestrator?: string | undefined;
  readonly containerID?: string | undefined;
}

/** An attached workload as it is shown. */
export interface Workload {
  readonly name: string;
  readonly node: string;
  readonly interface: string;
  readonly addresses: readonly string[];
  readonly mac: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly ready: boolean;
}

/** A request that was refused or could not be carried out; the message says what and how to mend it. */
export class WorkloadError extends Error {
  override readonly name = "WorkloadError";
  /** By which the API knows a refusal from a fault. */
  readonly kind = "refused";
}

/** The name of the WorkloadEndpoint that a request becomes. */
export function endpointName(node: string, request: AttachRequest): string {
  const { orchestrator = defaultOrchestrator, containerID, name, endpoint = "eth0" } = request;
  return composeWepName({ node, orchestrator, workload: name, endpoint, ...containerID ? { containerID } : {} });
}

/** The name under which the endpoint was attached. */
export function workloadName(endpoint: WorkloadEndpoint): string {
  const { workload, containerID, pod } = endpoint.spec;
  return endpoint.metadata.annotations?.[annotation.name] || workload || pod || containerID || endpoint.metadata.name;
}

/** The IPAM handle of an endpoint's addresses; it names node and endpoint without doubt. */
export function handleOf(endpoint: string): string {
  return `tortie.${endpoint}`;
}

/** What the handles of a node's endpoints start with. */
export function handlePrefix(node: string): string {
  return handleOf(composeWepPrefix({ node }));
}

/** The endpoint that a handle of this kind is for, and the workload that its name holds; undefined for other handles. */
export function endpointOfHandle(handle: string): { readonly name: string; readonly workload: string } | undefined {
  const name = handle.startsWith("tortie.") ? handle.slice("tortie.".length) : "";
  const workload = splitWepName(name)?.[2];
  return workload === undefined ? undefined : { name, workload };
}

/**
 * The host end's name as Calico composes it: the prefix, and for a container the first 11 characters of its id, else 11
 * hexadecimal digits of SHA-1 over "<namespace>.<name>".
 */
export async function hostInterfaceName(
  { name, namespace = defaultNamespace, orchestrator, containerID }: Pick<
    AttachRequest,
    "name" | "namespace" | "orchestrator" | "containerID"
  >,
): Promise<string> {
  if (orchestrator === "cni" && containerID) return workloadPrefix + containerID.slice(0, 11);
  const digest = await crypto.subtle.digest("SHA-1", new TextEncoder().encode(`${namespace}.${name}`));
  const hex = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return workloadPrefix + hex.slice(0, 11);
}

/** Refuses a request that cannot be meant; throws WorkloadError. */
export function checkRequest(request: AttachRequest): void {
  const { name, netns, tap, interface: iface, ips = [], labels = {}, mtu, endpoint = "eth0" } = request;
  const { orchestrator = defaultOrchestrator, containerID, namespace = defaultNamespace } = request;
  const refuse = (message: string): never => {
    throw new WorkloadError(`Cannot attach ${JSON.stringify(name)}: ${message}`);
  };
  const isContainer = orchestrator === "cni";
  const named = isContainer ? /^[A-Za-z0-9]([-_A-Za-z0-9.:/]*[A-Za-z0-9])?$/ : /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;
  if (!named.test(name) || name.length > 128) {
    refuse("a name is 1 to 128 of a-z, 0-9, '-' and '.', and starts and ends with a letter or digit");
  }
  if (isContainer && !/^[A-Za-z0-9]([-_A-Za-z0-9.]*[A-Za-z0-9])?$/.test(containerID ?? "")) {
    refuse("a CNI workload needs its container id");
  }
  for (const word of [orchestrator, namespace]) {
    if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(word)) refuse(`${JSON.stringify(word)} is not a name`);
  }
  if ([netns, tap, iface].filter((place) => place !== undefined).length !== 1) {
    refuse("name exactly one of a network namespace, a tap and an interface");
  }
  if (netns === "") refuse("the network namespace is empty; give a name, a path or a process id");
  for (const ifname of [tap, iface, endpoint]) {
    if (ifname !== undefined && !/^[^/\s]{1,15}$/.test(ifname)) {
      refuse(`${JSON.stringify(ifname)} is not an interface name: 1 to 15 characters without '/' and spaces`);
    }
  }
  for (const ip of ips) {
    if (!Ip.tryParse(ip)) refuse(`${JSON.stringify(ip)} is not an IP address; give it without a prefix length`);
  }
  if (new Set(ips.map((ip) => Ip.parse(ip).toString())).size !== ips.length) refuse("an address is named twice");
  if (mtu !== undefined && !(Number.isInteger(mtu) && mtu >= 68 && mtu <= 65535)) {
    refuse(`the MTU ${mtu} is not between 68 and 65535`);
  }
  for (const key of Object.keys(labels)) {
    if (key.startsWith("projectcalico.org/")) refuse(`the label ${key} is set by tortie itself; leave it out`);
    if (!/^([a-z0-9.-]+\/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/.test(key)) {
      refuse(`${JSON.stringify(key)} is not a label key`);
    }
  }
}

/** The profiles of a workload: without any it would be cut off, so one that names none may do everything. */
function profilesOf({ profiles = [] }: AttachRequest): string[] {
  return profiles.length > 0 ? [...profiles] : [DEFAULT_ALLOW_PROFILE.metadata.name];
}

/** The endpoint that a request becomes. */
export function makeEndpoint(
  { request, node, interfaceName, mac, ips, now, uid, netnsId }: {
    readonly request: AttachRequest;
    readonly node: string;
    readonly interfaceName: string;
    readonly mac: string;
    readonly ips: readonly Ip[];
    /** RFC 3339 in whole seconds. */
    readonly now: string;
    readonly uid: string;
    /** `Kernel.id` of the namespace that it is in. */
    readonly netnsId?: string | undefined;
  },
): WorkloadEndpoint {
  const { namespace = defaultNamespace, orchestrator = defaultOrchestrator, containerID } = request;
  return {
    kind: "WorkloadEndpoint",
    apiVersion: API_VERSION,
    metadata: {
      name: endpointName(node, request),
      namespace,
      uid,
      creationTimestamp: now,
      labels: {
        ...request.labels,
        "projectcalico.org/namespace": namespace,
        "projectcalico.org/orchestrator": orchestrator,
      },
      annotations: { ...annotationsOf(request), ...netnsId ? { [annotation.netnsId]: netnsId } : {} },
    },
    spec: {
      orchestrator,
      node,
      ...containerID ? { containerID } : { workload: request.name },
      endpoint: request.endpoint ?? "eth0",
      ipNetworks: ips.map((ip) => Cidr.host(ip).toString()),
      profiles: profilesOf(request),
      interfaceName,
      mac,
    },
  };
}

function annotationsOf(request: AttachRequest): Record<string, string> {
  const ips = (request.ips ?? []).map((ip) => Ip.parse(ip).toString()).sort();
  return {
    ...request.netns !== undefined
      ? { [annotation.netns]: request.netns }
      : { [annotation.adopted]: request.tap !== undefined ? "tap" : "interface" },
    ...request.containerID ? { [annotation.name]: request.name } : {},
    ...request.mtu !== undefined ? { [annotation.mtu]: String(request.mtu) } : {},
    [annotation.requestedIps]: ips.join(","),
  };
}

/** What of a request differs from the endpoint that stands under its name, in words; empty when nothing does. */
export function differences(request: AttachRequest, endpoint: WorkloadEndpoint): string[] {
  const stands = endpoint.metadata.annotations ?? {};
  const wants = annotationsOf(request);
  const words: Readonly<Record<string, string>> = {
    [annotation.netns]: "the namespace",
    [annotation.adopted]: "the kind of interface",
    [annotation.mtu]: "the MTU",
    [annotation.requestedIps]: "the addresses",
  };
  const found = Object.entries(words).filter(([key]) => stands[key] !== wants[key]).map(([key, word]) =>
    `${word} is ${stands[key] || "left open"}, not ${wants[key] || "left open"}`
  );
  const adopted = request.tap ?? request.interface;
  if (adopted !== undefined && adopted !== endpoint.spec.interfaceName) {
    found.push(`the interface is ${endpoint.spec.interfaceName}, not ${adopted}`);
  }
  const labels = (map: Readonly<Record<string, string>>) =>
    Object.entries(map).map(([key, value]) => `${key}=${value}`).sort().join(" ") || "none";
  const [haveLabels, wantLabels] = [labels(ownLabels(endpoint)), labels(request.labels ?? {})];
  if (haveLabels !== wantLabels) found.push(`the labels are ${haveLabels}, not ${wantLabels}`);
  const profiles = (list: readonly string[]) => list.join(" ") || "none";
  const [haveProfiles, wantProfiles] = [profiles(endpoint.spec.profiles ?? []), profiles(profilesOf(request))];
  if (haveProfiles !== wantProfiles) found.push(`the profiles are ${haveProfiles}, not ${wantProfiles}`);
  return found;
}

/** The labels without those that tortie sets itself. */
export function ownLabels(endpoint: WorkloadEndpoint): Record<string, string> {
  const labels = Object.entries(endpoint.metadata.labels ?? {});
  return Object.fromEntries(labels.filter(([key]) => !key.startsWith("projectcalico.org/")));
}

/** The endpoint as it is shown. */
export function showWorkload(endpoint: WorkloadEndpoint, ready: boolean): Workload {
  const { node, interfaceName = "", ipNetworks = [], mac } = endpoint.spec;
  const addresses = ipNetworks.map((text) => text.replace(/\/(32|128)$/, ""));
  return {
    name: workloadName(endpoint),
    node,
    interface: interfaceName,
    addresses,
    mac: mac || null,
    labels: ownLabels(endpoint),
    ready,
  };
}
