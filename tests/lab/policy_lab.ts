/**
 * One host with workloads in namespaces and a peer outside, for policy on the real kernel: the host's namespace forwards,
 * the engine's ruleset stands through the real `Firewall` port, and packets are real connection attempts.
 *
 *     w0, w1, w2 --- caliw0… [host] eth0 192.0.2.1 --- 192.0.2.9 out 198.51.100.7
 *
 * The addresses are those of the random worlds of the unit tests.
 */

import assert from "node:assert/strict";
import type { Firewall } from "../../src/dataplane/firewall_port.ts";
import { createNamespace, deleteNamespace } from "../../src/linux/namespace.ts";
import { openFirewall } from "../../src/linux/nftables.ts";
import { addresses } from "../unit/policy/arbitraries.ts";

/** Whether this process may make network namespaces. */
export const isRoot = Deno.uid() === 0;

/** A host with its workloads. */
export interface PolicyLab {
  readonly host: string;
  /** The namespace of each address by its place in the list. */
  readonly places: ReadonlyMap<number, string>;
  readonly firewall: Firewall;
  close(): void;
}

let count = 0;

/** Runs a command inside a namespace; fails when it does. */
export function inside(namespace: string, ...args: string[]): string {
  const { code, stdout, stderr } = new Deno.Command("ip", { args: ["netns", "exec", namespace, ...args] }).outputSync();
  assert.equal(code, 0, `${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}

/** Builds the host, its workloads w0 to w2 and the peer. */
export function makePolicyLab(): PolicyLab {
  const prefix = `ttQ-${Deno.pid}-${++count}`;
  const host = `${prefix}-h`, out = `${prefix}-o`;
  const workloads = [0, 1, 2].map((i) => `${prefix}-w${i}`);
  const all = [host, out, ...workloads];
  const close = () => {
    for (const name of all) {
      try {
        deleteNamespace(name);
      } catch {
        // It was never made.
      }
    }
  };
  try {
    all.forEach(createNamespace);
    const ip = (namespace: string, text: string) => inside(namespace, "ip", ...text.split(" "));
    const set = (namespace: string, path: string, value: string) =>
      inside(namespace, "sh", "-c", `echo ${value} > /proc/sys/net/${path}`);
    for (const name of all) ip(name, "link set lo up");
    set(host, "ipv4/ip_forward", "1");
    set(host, "ipv6/conf/all/forwarding", "1");
    ip(host, `link add eth0 type veth peer name eth0 netns ${out}`);
    for (const [name, own, own6] of [[host, "192.0.2.1", "2001:db8::1"], [out, "192.0.2.9", "2001:db8::9"]] as const) {
      ip(name, "link set eth0 up");
      ip(name, `addr add ${own}/24 dev eth0`);
      ip(name, `addr add ${own6}/64 dev eth0 nodad`);
    }
    // Proxy ARP answers only for what the host could forward to elsewhere.
    ip(host, "route add 169.254.1.1/32 dev lo scope link");
    const [far4, far6] = [addresses.v4[5], addresses.v6[5]];
    ip(out, `addr add ${far4}/32 dev eth0`);
    ip(out, `addr add ${far6}/128 dev eth0 nodad`);
    // An echo leaves with the address that it was sent to.
    ip(out, `route add 192.0.2.1/32 dev eth0 src ${far4}`);
    ip(out, `route add 2001:db8::1/128 dev eth0 src ${far6}`);
    ip(out, `route add default via 192.0.2.1 src ${far4}`);
    ip(out, `route add default via 2001:db8::1 src ${far6}`);
    ip(host, `route add ${far4}/32 via 192.0.2.9`);
    ip(host, `route add ${far6}/128 via 2001:db8::9`);
    // A host endpoint's policies judge neighbour discovery too; the witness is about what they say of other packets.
    const mac = (name: string) => inside(name, "cat", "/sys/class/net/eth0/address").trim();
    ip(host, `neigh replace 2001:db8::9 lladdr ${mac(out)} dev eth0 nud permanent`);
    ip(out, `neigh replace 2001:db8::1 lladdr ${mac(host)} dev eth0 nud permanent`);
    workloads.forEach((name, i) => {
      const link = `caliw${i}`;
      ip(host, `link add ${link} type veth peer name eth0 netns ${name}`);
      set(name, "ipv6/conf/eth0/accept_dad", "0");
      set(host, `ipv6/conf/${link}/accept_dad`, "0");
      ip(host, `link set ${link} address ee:ee:ee:ee:ee:ee`);
      ip(host, `link set ${link} up`);
      set(host, `ipv4/conf/${link}/proxy_arp`, "1");
      set(host, `ipv4/neigh/${link}/proxy_delay`, "0");
      ip(host, `route add ${addresses.v4[i]}/32 dev ${link} scope link`);
      ip(host, `route add ${addresses.v6[i]}/128 dev ${link}`);
      ip(name, "link set eth0 up");
      ip(name, `addr add ${addresses.v4[i]}/32 dev eth0`);
      ip(name, `addr add ${addresses.v6[i]}/128 dev eth0 nodad`);
      ip(name, "route add 169.254.1.1 dev eth0 scope link");
      ip(name, "route add default via 169.254.1.1 dev eth0");
      ip(name, "route add default via fe80::ecee:eeff:feee:eeee dev eth0");
    });
    const firewall = openFirewall(host);
    return {
      host,
      places: new Map([...workloads, "", host, out].entries().filter(([, name]) => name !== "")),
      firewall,
      close: () => {
        firewall.close();
        close();
      },
    };
  } catch (error) {
    close();
    throw error;
  }
}
