/**
 * A workload's addresses: those that were asked for, or one of each family that has a pool for this node. All or none: a
 * refusal gives back what was taken before it.
 */

import { Cidr } from "../../lib/cidr.ts";
import { type Family, Ip } from "../../lib/ip.ts";
import type { Ipam } from "../../ipam/ipam.ts";
import { IpamError } from "../../ipam/error.ts";
import { poolOf, selectsNode } from "../../ipam/pools.ts";
import type { IPPool } from "../../model/resources/mod.ts";
import { type AttachRequest, handleOf, WorkloadError } from "./endpoint.ts";

/** The part of address management that workloads use. */
export type WorkloadIpam = Pick<Ipam, "assign" | "assignIp" | "releaseByHandle">;

/** Takes the addresses of a request under the endpoint's handle; throws WorkloadError with the reason. */
export async function takeAddresses(
  ipam: WorkloadIpam,
  { request, endpoint, node, families }: {
    readonly request: AttachRequest;
    readonly endpoint: string;
    readonly node: string;
    /** The families that have a pool. */
    readonly families: ReadonlySet<Family>;
  },
): Promise<Ip[]> {
  const owner = { handle: handleOf(endpoint), attributes: { node, workload: request.name } };
  try {
    if (request.ips?.length) {
      const ips: Ip[] = [];
      for (const ip of request.ips) ips.push((await ipam.assignIp(Ip.parse(ip), owner)).ip);
      return ips;
    }
    // Without any pool, IPv4 is asked for, so that the answer says what is missing.
    const v4 = families.has(4) || families.size === 0 ? 1 : 0;
    const nets = await ipam.assign({ ...owner, v4, v6: families.has(6) ? 1 : 0, pools: request.pools ?? [] });
    return nets.map(({ ip }) => ip);
  } catch (error) {
    await giveBack(ipam, endpoint);
    if (!(error instanceof IpamError)) throw error;
    throw new WorkloadError(`Cannot attach ${request.name}: ${error.message}`, { cause: error });
  }
}

/** Gives back everything that the endpoint holds; nothing held is no failure. Returns the addresses. */
export async function giveBack(ipam: WorkloadIpam, endpoint: string): Promise<readonly Ip[]> {
  try {
    return await ipam.releaseByHandle(handleOf(endpoint));
  } catch (error) {
    if (error instanceof IpamError && error.kind === "no-handle") return [];
    throw error;
  }
}

/** Families with an open pool for this node. */
export function openFamilies(
  pools: Iterable<IPPool>,
  node: { readonly name: string; readonly labels: Readonly<Record<string, string>> },
): Set<Family> {
  const families = new Set<Family>();
  for (const resource of pools) {
    try {
      const pool = poolOf(resource);
      const isOpen = !pool.closed && !pool.isManual && pool.uses.includes("Workload");
      if (isOpen && selectsNode(pool, node)) families.add(pool.cidr.family);
    } catch {
      // A pool that cannot be read gives no addresses; validation has reported it.
    }
  }
  return families;
}

/** Why what a request names is another node's to give, where no shared store coordinates them; undefined when it is not. */
export function foreignPool(
  request: Pick<AttachRequest, "ips" | "pools">,
  pools: Iterable<IPPool>,
  node: { readonly name: string; readonly labels: Readonly<Record<string, string>> },
): string | undefined {
  for (const resource of pools) {
    const { name } = resource.metadata;
    const { cidr: cidrText, nodeSelector } = resource.spec;
    const cidr = Cidr.tryParse(cidrText);
    const ip = request.ips?.map((text) => Ip.tryParse(text)).find((ip) => ip && cidr?.contains(ip));
    const wanted = ip ?? request.pools?.find((pool) => pool === name || pool === cidrText);
    if (wanted === undefined) continue;
    try {
      if (selectsNode(poolOf(resource), node)) continue;
    } catch {
      continue;
    }
    return `${ip ? `${ip} is of` : "it asks for"} the pool ${name}, whose nodeSelector ${
      JSON.stringify(nodeSelector ?? "")
    } does not select node ${node.name}: only a shared store (etcd) can coordinate that; ` +
      "ask for an address of a pool that selects this node";
  }
  return undefined;
}
