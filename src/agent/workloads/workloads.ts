/**
 * Attach, detach and list the workloads of this host, and mend what a crash left between two steps.
 *
 *   attach: addresses under a handle that names the endpoint -> veth whose alias names it, all set up inside
 *           -> WorkloadEndpoint -> policy, sysctls and route by the loop -> answer
 *   detach: WorkloadEndpoint -> veth -> (the loop takes policy and route off) -> addresses
 *
 * The WorkloadEndpoint is the one fact: with it, whatever is missing is made again; without it, whatever bears its name
 * (handle, alias, interface) is removed. So a crash at any point leaves either a workload that heals or a rest that is
 * swept, at the next start, attach or detach. Calls for one name take turns; different names do not wait for each other.
 */

import { resourceKey } from "../../model/keys/mod.ts";
import { readResource, serializeResource } from "../../model/read.ts";
import type { WorkloadEndpoint } from "../../model/resources/mod.ts";
import type { Kernel, Link } from "../../dataplane/ports.ts";
import { workloadAlias, workloadPrefix } from "../../dataplane/ownership.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Family } from "../../lib/ip.ts";
import { formatMac } from "../../lib/mac.ts";
import type { Log } from "../../lib/log.ts";
import { NetlinkError } from "../../netlink/error.ts";
import { type Store, StoreError } from "../../store/store.ts";
import { giveBack, takeAddresses, type WorkloadIpam } from "./addresses.ts";
import {
  annotation,
  type AttachRequest,
  checkRequest,
  differences,
  endpointName,
  hostInterfaceName,
  hostMac,
  makeEndpoint,
  showWorkload,
  type Workload,
  WorkloadError,
  workloadName,
} from "./endpoint.ts";
import { isInside, makeInterface, openWorkloadNamespace } from "./interface.ts";

/** What workloads are attached with. */
export interface WorkloadParts {
  readonly node: string;
  readonly store: Store;
  readonly kernel: Kernel;
  readonly ipam: WorkloadIpam;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: (bytes: Uint8Array<ArrayBuffer>) => void;
  /** The endpoints of this node as the snapshot has them. */
  readonly endpoints: () => Iterable<WorkloadEndpoint>;
  readonly poolFamilies: () => ReadonlySet<Family>;
  /** Why the addresses or pools that a request names are not this node's to give. */
  readonly foreignPool: (request: AttachRequest) => string | undefined;
  /** The MTU where none is asked for. */
  readonly defaultMtu: () => number | undefined;
  /** Tells the dataplane of a link that was just made, ahead of the kernel's report. */
  readonly linkMade: (link: Link) => void;
  /** Waits until the endpoint's policy and route stand, or, where it is gone, until nothing of it is left; false: in vain. */
  readonly settled: (key: string, revision: number | undefined) => Promise<boolean>;
  /** Why an endpoint is not ready, in one line. */
  readonly why: (key: string) => string;
  readonly isReady: (endpoint: WorkloadEndpoint) => boolean;
}

/** The workloads of this host. */
export interface Workloads {
  /** Returns once policy and route stand; the same request again returns the same answer. Throws WorkloadError. */
  attach(request: AttachRequest): Promise<Workload>;
  /** Releases everything that the workload has; detaching what is not attached does nothing. */
  detach(name: string): Promise<void>;
  list(): Promise<Workload[]>;
}

/** Workloads, and what the agent mends them with. */
export interface HealingWorkloads extends Workloads {
  /** Makes the interface of an endpoint again where it is missing; throws where it cannot, as when its namespace is gone. */
  ensure(endpoint: WorkloadEndpoint): Promise<void>;
  /** Removes link and addresses that bear the name of an endpoint that does not exist. */
  sweep(rest: Leftover): Promise<void>;
}

/** What may be left of an endpoint. */
export interface Leftover {
  readonly endpoint: string;
  /** The name of its host end, where it is known. */
  readonly interfaceName?: string | undefined;
  readonly workload: string;
}

/** Makes the calls. */
export function makeWorkloads(parts: WorkloadParts): HealingWorkloads {
  const { node, store, kernel, ipam, log } = parts;
  const inTurn = makeTurns();

  const read = async (key: string): Promise<{ endpoint: WorkloadEndpoint; revision: number } | undefined> => {
    const entry = await store.get(key);
    if (!entry) return undefined;
    const endpoint = readResource(entry.value);
    if (endpoint.kind !== "WorkloadEndpoint") throw new WorkloadError(`Cannot read ${key}: it is a ${endpoint.kind}`);
    return { endpoint, revision: entry.revision };
  };

  /** The host end of an endpoint, if it is one that we made. */
  const ownLink = async (endpoint: string, interfaceName: string | undefined): Promise<Link | undefined> => {
    const alias = workloadAlias(endpoint);
    const named = interfaceName ? await kernel.links.get(interfaceName) : undefined;
    if (named?.alias === alias) return named;
    // A crash between the making of the veth and its alias leaves one with our prefix and MAC only.
    if (
      named?.name.startsWith(workloadPrefix) && named.alias === "" && named.mac === hostMac && named.kind === "veth"
    ) {
      return named;
    }
    return interfaceName ? undefined : (await kernel.links.list()).find((link) => link.alias === alias);
  };

  const sweep = async ({ endpoint, interfaceName }: Leftover) => {
    const link = await ownLink(endpoint, interfaceName);
    if (link) await kernel.links.delete(link.index);
    await giveBack(ipam, endpoint);
  };

  const build = async (endpoint: WorkloadEndpoint, inside: Kernel) => {
    parts.linkMade(await makeInterface(kernel, inside, endpoint, parts.defaultMtu()));
  };

  /** Makes sure that the endpoint's own veth ends in its namespace; throws where it cannot. */
  const ensureInside = async (endpoint: WorkloadEndpoint) => {
    const netns = endpoint.metadata.annotations?.[annotation.netns];
    if (netns === undefined) return;
    const link = await ownLink(endpoint.metadata.name, endpoint.spec.interfaceName);
    const inside = await openWorkloadNamespace(kernel, workloadName(endpoint), netns);
    try {
      refuseOtherProcess(endpoint, netns, inside);
      if (link && await isInside(inside, endpoint, link)) return;
      if (link) await kernel.links.delete(link.index);
      await build(endpoint, inside);
    } finally {
      inside.close();
    }
  };

  const answer = async (key: string, endpoint: WorkloadEndpoint, revision: number): Promise<Workload> => {
    if (await parts.settled(key, revision)) return showWorkload(endpoint, true);
    throw new WorkloadError(`Cannot attach ${workloadName(endpoint)}: ${parts.why(key)}`);
  };

  const checkAdopted = async (request: AttachRequest): Promise<Link | undefined> => {
    const name = request.tap ?? request.interface;
    if (name === undefined) return undefined;
    const refuse = (why: string): never => {
      throw new WorkloadError(`Cannot attach ${request.name}: ${why}`);
    };
    const link = await kernel.links.get(name);
    if (!link) return refuse(`there is no interface ${name} on this host; create it first`);
    if (request.tap !== undefined && link.kind !== "tun") refuse(`${name} is not a tap; give it as an interface`);
    if (link.alias.startsWith(workloadAlias(""))) refuse(`${name} belongs to another workload (${link.alias})`);
    for (const endpoint of parts.endpoints()) {
      if (endpoint.spec.interfaceName === name) refuse(`${name} belongs to the workload ${workloadName(endpoint)}`);
    }
    return link;
  };

  const attachNew = async (request: AttachRequest, name: string, key: string): Promise<Workload> => {
    const adopted = await checkAdopted(request);
    const interfaceName = adopted?.name ?? await hostInterfaceName(request);
    if (!adopted) await sweep({ endpoint: name, interfaceName, workload: request.name });
    const inside = request.netns === undefined
      ? undefined
      : await openWorkloadNamespace(kernel, request.name, request.netns);
    const undo: (() => Promise<unknown>)[] = [];
    try {
      const families = parts.poolFamilies();
      const ips = await takeAddresses(ipam, { request, endpoint: name, node, families });
      undo.push(() => giveBack(ipam, name));
      const mac = adopted?.mac ?? randomMac(parts.random);
      const now = new Date(parts.clock.wall()).toISOString().replace(/\.\d+Z$/, "Z");
      const endpoint = makeEndpoint({
        request,
        node,
        interfaceName,
        mac,
        ips,
        now,
        uid: crypto.randomUUID(),
        netnsId: inside?.id,
      });
      if (inside) {
        undo.push(async () => {
          const link = await ownLink(name, interfaceName);
          if (link) await kernel.links.delete(link.index);
        });
        await build(endpoint, inside);
      }
      undo.push(() => deleteIfThere(store, key));
      const { revision } = await store.create(key, serializeResource(endpoint));
      return await answer(key, endpoint, revision);
    } catch (error) {
      for (const step of undo.reverse()) {
        await step().catch((left) =>
          log.warn("an attach could not be undone; it is swept later", { name, error: left })
        );
      }
      throw explained("attach", request.name, error);
    } finally {
      inside?.close();
    }
  };

  const attach = (request: AttachRequest): Promise<Workload> =>
    inTurn(request.name, async () => {
      checkRequest(request);
      const name = endpointName(node, request);
      const key = resourceKey("WorkloadEndpoint", name, request.namespace ?? "default");
      const stands = await read(key);
      if (!stands) {
        refuseDouble(request, name, parts.endpoints());
        const foreign = parts.foreignPool(request);
        if (foreign !== undefined) throw new WorkloadError(`Cannot attach ${request.name}: ${foreign}`);
        return await attachNew(request, name, key);
      }
      const differ = differences(request, stands.endpoint);
      if (differ.length > 0) {
        throw new WorkloadError(
          `Cannot attach ${request.name}: it is attached already, and ${differ.join(", ")}; detach it first`,
        );
      }
      try {
        await ensureInside(stands.endpoint);
        return await answer(key, stands.endpoint, stands.revision);
      } catch (error) {
        throw explained("attach", request.name, error);
      }
    });

  const detachNow = async (name: string): Promise<void> => {
    let known = [...parts.endpoints()].find((endpoint) => workloadName(endpoint) === name);
    const wepName = known?.metadata.name ?? tryEndpointName(node, name);
    if (wepName === undefined) return;
    const key = resourceKey("WorkloadEndpoint", wepName, known?.metadata.namespace ?? "default");
    known = (await read(key))?.endpoint ?? known;
    const { [annotation.netns]: netns, [annotation.adopted]: adopted } = known?.metadata.annotations ?? {};
    if (known && netns === undefined && adopted === undefined) {
      throw new WorkloadError(`Cannot detach ${name}: another program attached it (${wepName}); detach it there`);
    }
    if (known) await deleteIfThere(store, key);
    const interfaceName = known?.spec.interfaceName ?? await hostInterfaceName({ name });
    const link = adopted === undefined ? await ownLink(wepName, interfaceName) : undefined;
    if (link) await kernel.links.delete(link.index);
    if (known && !await parts.settled(key, undefined)) {
      log.warn("a detached workload is not off the dataplane yet", { name });
    }
    if (adopted !== undefined) await resetSysctls(kernel, interfaceName);
    await giveBack(ipam, wepName);
  };

  const detach = (name: string): Promise<void> =>
    inTurn(name, async () => {
      try {
        await detachNow(name);
      } catch (error) {
        throw explained("detach", name, error);
      }
    });

  return {
    attach,
    detach,
    list: () =>
      Promise.resolve(
        [...parts.endpoints()].map((endpoint) => showWorkload(endpoint, parts.isReady(endpoint)))
          .sort((a, b) => a.name < b.name ? -1 : 1),
      ),
    ensure: (endpoint) =>
      inTurn(workloadName(endpoint), async () => {
        const { name, namespace = "default" } = endpoint.metadata;
        const stands = await read(resourceKey("WorkloadEndpoint", name, namespace));
        if (stands && !await ownLink(name, endpoint.spec.interfaceName)) await ensureInside(stands.endpoint);
      }),
    sweep: (rest) => inTurn(rest.workload, () => sweep(rest)),
  };
}

/** A process id that has come to mean a process in another namespace must not get the workload's interface. */
function refuseOtherProcess(endpoint: WorkloadEndpoint, netns: string, inside: Kernel): void {
  const known = endpoint.metadata.annotations?.[annotation.netnsId];
  if (!/^[0-9]+$/.test(netns) || known === undefined || known === inside.id) return;
  throw new WorkloadError(
    `Cannot attach ${
      workloadName(endpoint)
    }: process ${netns} is in another network namespace than when it was attached; ` +
      "detach it first",
  );
}

/** A name that stands for another endpoint already: the same workload under another orchestrator, container or interface. */
function refuseDouble(request: AttachRequest, name: string, endpoints: Iterable<WorkloadEndpoint>): void {
  for (const endpoint of endpoints) {
    if (workloadName(endpoint) !== request.name || endpoint.metadata.name === name) continue;
    throw new WorkloadError(
      `Cannot attach ${request.name}: the name is taken by the endpoint ${endpoint.metadata.name}; detach it first`,
    );
  }
}

function tryEndpointName(node: string, name: string): string | undefined {
  try {
    return endpointName(node, { name });
  } catch {
    return undefined;
  }
}

async function deleteIfThere(store: Store, key: string): Promise<void> {
  try {
    await store.delete(key);
  } catch (error) {
    if (!(error instanceof StoreError) || error.kind !== "missing") throw error;
  }
}

/** Puts the sysctls of an interface that goes back to its owner to what new interfaces get. */
export async function resetSysctls(kernel: Kernel, interfaceName: string): Promise<void> {
  for (const pattern of workloadSysctls) {
    const value = await kernel.sysctl.read(pattern.replace("*", "default"));
    const path = pattern.replace("*", interfaceName);
    if (value === undefined || await kernel.sysctl.read(path) === undefined) continue;
    await kernel.sysctl.write(path, value);
  }
}

/** The sysctls that a workload interface gets. */
const workloadSysctls = [
  "net/ipv4/conf/*/route_localnet",
  "net/ipv4/neigh/*/proxy_delay",
  "net/ipv4/conf/*/forwarding",
  "net/ipv4/conf/*/rp_filter",
  "net/ipv4/conf/*/proxy_arp",
  "net/ipv6/conf/*/accept_ra",
  "net/ipv6/conf/*/forwarding",
  "net/ipv6/conf/*/proxy_ndp",
] as const;

/** A locally administered unicast address. */
function randomMac(random: WorkloadParts["random"]): string {
  const bytes = new Uint8Array(6);
  random(bytes);
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02;
  return formatMac(bytes);
}

/** The error with the workload's name and how to mend it, for what comes from the kernel or the store. */
function explained(verb: "attach" | "detach", workload: string, error: unknown): unknown {
  if (error instanceof NetlinkError) {
    const hint = error.code === "EPERM" ? "; tortie needs root, or the capability CAP_NET_ADMIN" : "";
    return new WorkloadError(`Cannot ${verb} ${workload}: ${error.message}${hint}`, { cause: error });
  }
  if (error instanceof StoreError && error.kind !== "unavailable") {
    return new WorkloadError(`Cannot ${verb} ${workload}: ${error.message}`, { cause: error });
  }
  return error;
}

/** Runs calls for one name one after the other. */
function makeTurns(): <T>(name: string, call: () => Promise<T>) => Promise<T> {
  const last = new Map<string, Promise<unknown>>();
  return (name, call) => {
    const turn = (last.get(name) ?? Promise.resolve()).then(call, call);
    const quiet = turn.catch(() => {}).finally(() => {
      if (last.get(name) === quiet) last.delete(name);
    });
    last.set(name, quiet);
    return turn;
  };
}
