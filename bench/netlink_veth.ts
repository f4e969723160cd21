/**
 * How long a workload's veth takes: made with its peer in the other namespace, both ends up, address and default route
 * inside, proxy ARP and the /32 route outside; then removed. Run as root: `deno run -A bench/netlink_veth.ts [TIMES]`.
 */

import { Cidr } from "../src/lib/cidr.ts";
import { Ip } from "../src/lib/ip.ts";
import type { Route } from "../src/dataplane/ports.ts";
import { type LinuxKernel, openKernel } from "../src/linux/kernel.ts";
import { createNamespace, deleteNamespace } from "../src/linux/namespace.ts";

const TIMES = Number(Deno.args[0] ?? 200);
const GATEWAY = Ip.parse("169.254.1.1");

async function add(kernel: LinuxKernel, routes: Route[]): Promise<void> {
  for (const error of await kernel.fib.apply(routes.map((route) => ({ action: "replace", route })))) {
    if (error) throw error;
  }
}

async function attach(host: LinuxKernel, workload: string, name: string, ip: Ip): Promise<number> {
  const inside = openKernel(workload);
  try {
    const link = await host.links.createVeth({
      name,
      mac: "ee:ee:ee:ee:ee:ee",
      peerName: "eth0",
      peerNamespace: inside,
      alias: name,
    });
    await host.links.change(link.index, { isUp: true });
    const ifindex = link.peerIndex ?? 0;
    await inside.links.change(ifindex, { isUp: true });
    await inside.links.addAddress({ index: ifindex, net: { ip, length: 32 }, scope: 0 });
    const base = { type: "unicast", table: 254, protocol: 3, metric: 0 } as const;
    await add(inside, [
      { ...base, destination: Cidr.host(GATEWAY), scope: 253, nexthops: [{ ifindex }] },
      { ...base, destination: Cidr.parse("0.0.0.0/0"), scope: 0, nexthops: [{ gateway: GATEWAY, ifindex }] },
    ]);
    for (const key of ["proxy_arp", "route_localnet", "forwarding"]) {
      await host.sysctl.write(`net/ipv4/conf/${name}/${key}`, "1");
    }
    await add(host, [{ ...base, destination: Cidr.host(ip), scope: 253, nexthops: [{ ifindex: link.index }] }]);
    return link.index;
  } finally {
    inside.close();
  }
}

function report(what: string, times: number[]): void {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) => (sorted[Math.floor((sorted.length - 1) * share)] ?? NaN).toFixed(2).padStart(8);
  console.log(`${what.padEnd(10)} p50 ${at(0.5)} ms   p99 ${at(0.99)} ms   max ${at(1)} ms`);
}

const [hostName, workloadName] = [`ttB-veth-${Deno.pid}`, `ttB-work-${Deno.pid}`];
createNamespace(hostName);
createNamespace(workloadName);
const host = openKernel(hostName);
try {
  const attaching: number[] = [], detaching: number[] = [];
  for (let i = 0; i < TIMES; i++) {
    const start = performance.now();
    const index = await attach(host, workloadName, `cali${i}`, Ip.fromNumber((172 << 24 | 17 << 16 | i) >>> 0));
    const middle = performance.now();
    await host.links.delete(index);
    attaching.push(middle - start);
    detaching.push(performance.now() - middle);
  }
  report("attach", attaching);
  report("detach", detaching);
} finally {
  host.close();
  deleteNamespace(hostName);
  deleteNamespace(workloadName);
}
