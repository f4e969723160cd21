/**
 * Makes a workload's interface: a veth whose far end is born in the workload's namespace, and everything inside that
 * namespace. The host end's settings are the dataplane's.
 *
 * Inside, as Calico's CNI plugin does it: the gateway 169.254.1.1 on the link, the default route through it, then the
 * address as /32; in IPv6 the default route goes to the host end's link-local address. Whatever fails, the half-made link
 * is deleted, which takes everything inside with it.
 */

import { RT_SCOPE_LINK, RT_TABLE_MAIN, RTPROT_BOOT, workloadAlias } from "../../dataplane/ownership.ts";
import { type Kernel, type Link, NamespaceError, type Route } from "../../dataplane/ports.ts";
import { Cidr } from "../../lib/cidr.ts";
import { Ip } from "../../lib/ip.ts";
import type { WorkloadEndpoint } from "../../model/resources/mod.ts";
import { NetlinkError } from "../../netlink/error.ts";
import { annotation, gateway4, hostLinkLocal, hostMac, WorkloadError, workloadName } from "./endpoint.ts";

/** The name of the workload's own end. */
function insideName(endpoint: WorkloadEndpoint): string {
  return endpoint.spec.endpoint || "eth0";
}

/** Opens the namespace of an attach request; throws WorkloadError. */
export async function openWorkloadNamespace(kernel: Kernel, workload: string, netns: string): Promise<Kernel> {
  let opened: Kernel;
  try {
    opened = await kernel.open(netns);
  } catch (error) {
    if (!(error instanceof NamespaceError)) throw error;
    throw new WorkloadError(
      `Cannot attach ${workload}: there is no network namespace ${netns} (${error.message}); create it first`,
      { cause: error },
    );
  }
  if (opened.id !== kernel.id) return opened;
  opened.close();
  throw new WorkloadError(`Cannot attach ${workload}: ${netns} is the host's own network namespace; give another one`);
}

/** Makes the veth of an endpoint and sets its far end up; returns the host end. Throws WorkloadError or NetlinkError. */
export async function makeInterface(
  kernel: Kernel,
  inside: Kernel,
  endpoint: WorkloadEndpoint,
  defaultMtu: number | undefined,
): Promise<Link> {
  const name = endpoint.spec.interfaceName ?? "";
  const far = insideName(endpoint);
  const workload = workloadName(endpoint);
  if (await inside.links.get(far)) {
    throw new WorkloadError(
      `Cannot attach ${workload}: its network namespace already has an interface ${far}; ` +
        "detach what made it, or name another namespace",
    );
  }
  const mtu = Number(endpoint.metadata.annotations?.[annotation.mtu] ?? defaultMtu);
  const link = await createVeth(kernel, workload, {
    name,
    mac: hostMac,
    alias: workloadAlias(endpoint.metadata.name),
    peerName: far,
    peerNamespace: inside,
    ...endpoint.spec.mac ? { peerMac: endpoint.spec.mac } : {},
    ...mtu > 0 ? { mtu } : {},
  });
  try {
    await setUpInside(inside, far, endpoint);
    // Duplicate address detection would keep the gateway's address silent for a second.
    const acceptDad = `net/ipv6/conf/${name}/accept_dad`;
    if (await kernel.sysctl.read(acceptDad) !== undefined) await kernel.sysctl.write(acceptDad, "0");
    await kernel.links.change(link.index, { isUp: true });
    return { ...link, isUp: true };
  } catch (error) {
    await kernel.links.delete(link.index);
    throw error;
  }
}

async function createVeth(
  kernel: Kernel,
  workload: string,
  request: Parameters<Kernel["links"]["createVeth"]>[0],
): Promise<Link> {
  try {
    return await kernel.links.createVeth(request);
  } catch (error) {
    if (!(error instanceof NetlinkError) || error.code !== "EEXIST") throw error;
    throw new WorkloadError(
      `Cannot attach ${workload}: an interface ${request.name} that tortie did not make is on this host; remove it`,
      { cause: error },
    );
  }
}

async function setUpInside(inside: Kernel, name: string, endpoint: WorkloadEndpoint): Promise<void> {
  const ips = (endpoint.spec.ipNetworks ?? []).map((text) => Ip.tryParse(text.split("/")[0] ?? "")).filter((ip) =>
    ip !== undefined
  );
  const families = new Set(ips.map(({ family }) => family));
  const link = await inside.links.get(name);
  if (!link) throw new WorkloadError(`Cannot attach ${workloadName(endpoint)}: ${name} has gone from its namespace`);
  if (families.has(6)) {
    await inside.sysctl.write(`net/ipv6/conf/${name}/disable_ipv6`, "0");
    await inside.sysctl.write(`net/ipv6/conf/${name}/accept_dad`, "0");
  }
  const loopback = await inside.links.get("lo");
  if (loopback && !loopback.isUp) await inside.links.change(loopback.index, { isUp: true });
  await inside.links.change(link.index, { isUp: true });
  const routes = [...families].flatMap((family) => family === 4 ? routes4(link.index) : routes6(link.index));
  const errors = await inside.fib.apply(routes.map((route) => ({ action: "replace", route, isExclusive: true })));
  const failed = errors.findIndex((error) => error !== undefined);
  if (failed >= 0) throw routeError(workloadName(endpoint), routes[failed], errors[failed]);
  for (const ip of ips) await inside.links.addAddress({ index: link.index, net: { ip, length: ip.bits }, scope: 0 });
}

function routeError(workload: string, route: Route | undefined, error: NetlinkError | undefined): Error {
  if (error?.code !== "EEXIST") return error ?? new Error("unknown route error");
  return new WorkloadError(
    `Cannot attach ${workload}: its network namespace already has a route ${route?.destination}; remove that one first`,
    { cause: error },
  );
}

function routes4(ifindex: number): Route[] {
  const base = { type: "unicast", table: RT_TABLE_MAIN, protocol: RTPROT_BOOT, metric: 0 } as const;
  return [
    { ...base, destination: Cidr.host(gateway4), scope: RT_SCOPE_LINK, nexthops: [{ ifindex }] },
    { ...base, destination: Cidr.parse("0.0.0.0/0"), scope: 0, nexthops: [{ ifindex, gateway: gateway4 }] },
  ];
}

function routes6(ifindex: number): Route[] {
  const base = { type: "unicast", table: RT_TABLE_MAIN, protocol: RTPROT_BOOT, metric: 0, scope: 0 } as const;
  return [{ ...base, destination: Cidr.parse("::/0"), nexthops: [{ ifindex, gateway: hostLinkLocal }] }];
}

/** Whether the far end of the host's link is in that namespace, whatever the workload has done to its name or its MAC. */
export async function isInside(inside: Kernel, endpoint: WorkloadEndpoint, link: Link): Promise<boolean> {
  const far = link.peerIndex === undefined ? undefined : await inside.links.get(link.peerIndex);
  if (far?.peerIndex !== link.index) return false;
  return far.name === insideName(endpoint) || far.mac === endpoint.spec.mac;
}
