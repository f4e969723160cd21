/** What endpoints, links and blocks make the agent desire of the kernel, change by change, without any kernel. */

import assert from "node:assert/strict";
import { DesiredTracker } from "../../../src/agent/desired.ts";
import type { DesiredChanges } from "../../../src/dataplane/dataplane.ts";
import type { Link } from "../../../src/dataplane/ports.ts";
import { Cidr } from "../../../src/lib/cidr.ts";
import type { WorkloadEndpoint, WorkloadEndpointSpec } from "../../../src/model/resources/mod.ts";

const host = { hasIpv6: true, hasFloatingIps: false };

function link(name: string, rest: Partial<Link> = {}): Link {
  const base = { mac: "ee:ee:ee:ee:ee:ee", mtu: 1500, isUp: true, isRunning: true, kind: "veth", alias: "" };
  return { index: 7, name, ...base, ...rest };
}

function endpoint(
  name: string,
  spec: Partial<WorkloadEndpointSpec> = {},
  annotations: Record<string, string> = { "tortie/netns": name },
): WorkloadEndpoint {
  return {
    kind: "WorkloadEndpoint",
    apiVersion: "projectcalico.org/v3",
    metadata: { name, namespace: "default", annotations },
    spec: {
      orchestrator: "tortie",
      node: "a",
      ipNetworks: ["10.0.0.1/32"],
      interfaceName: "cali1",
      mac: "02:00:00:00:00:01",
      ...spec,
    },
  };
}

function lines({ links, routes, neighbours, sysctls }: DesiredChanges): string[] {
  return [
    ...[...links].map(([name, want]) =>
      want ? `link ${name} up${want.mac ? ` mac ${want.mac}` : ""}` : `no link ${name}`
    ),
    ...[...routes].map(([key, route]) =>
      route
        ? `${route.type} ${route.destination} dev ${
          route.nexthops[0]?.ifindex
        } proto ${route.protocol} scope ${route.scope}`
        : `no route ${key}`
    ),
    ...[...neighbours].map(([key, want]) => want ? `neighbour ${want.ip} ${want.mac}` : `no neighbour ${key}`),
    ...[...sysctls].map(([path, value]) => `${path}=${value}`),
  ];
}

Deno.test("a workload with a veth wants its link, neighbour, sysctls and routes, in both families", () => {
  const tracker = new DesiredTracker();
  tracker.setEndpoint("web", endpoint("web", { ipNetworks: ["10.0.0.1/32", "fd00::1/128"] }), link("cali1"), host);
  assert.deepEqual(lines(tracker.takeChanges()), [
    "link cali1 up mac ee:ee:ee:ee:ee:ee",
    "unicast 10.0.0.1/32 dev 7 proto 3 scope 253",
    "unicast fd00::1/128 dev 7 proto 3 scope 0",
    "neighbour 10.0.0.1 02:00:00:00:00:01",
    "net/ipv4/conf/cali1/route_localnet=1",
    "net/ipv4/neigh/cali1/proxy_delay=0",
    "net/ipv4/conf/cali1/forwarding=1",
    "net/ipv4/conf/cali1/rp_filter=1",
    "net/ipv4/conf/cali1/proxy_arp=1",
    "net/ipv6/conf/cali1/accept_ra=0",
    "net/ipv6/conf/cali1/forwarding=1",
    "net/ipv6/conf/cali1/proxy_ndp=1",
  ]);
  assert.deepEqual(lines(tracker.takeChanges()), []);
});

Deno.test("an adopted interface keeps its MAC, gets no neighbour, and routes of our own protocol", () => {
  const tracker = new DesiredTracker();
  const vm = endpoint("vm", { interfaceName: "tap0" }, { "tortie/adopted": "tap" });
  tracker.setEndpoint("vm", vm, link("tap0", { kind: "tun" }), { ...host, hasIpv6: false });
  assert.deepEqual(lines(tracker.takeChanges()).slice(0, 3), [
    "link tap0 up",
    "unicast 10.0.0.1/32 dev 7 proto 80 scope 253",
    "net/ipv4/conf/tap0/route_localnet=1",
  ]);
});

Deno.test("a link that is down keeps its settings and gets route and neighbour when it is up", () => {
  const tracker = new DesiredTracker();
  const web = endpoint("web");
  tracker.setEndpoint("web", web, link("cali1", { isUp: false }), host);
  assert.ok(!lines(tracker.takeChanges()).some((line) => /unicast|neighbour/.test(line)));
  tracker.setEndpoint("web", web, link("cali1"), host);
  const up = lines(tracker.takeChanges());
  assert.ok(up.includes("unicast 10.0.0.1/32 dev 7 proto 3 scope 253"));
  assert.ok(up.includes("neighbour 10.0.0.1 02:00:00:00:00:01"));
});

Deno.test("a link that was made anew gets its route and neighbour under the new index", () => {
  const tracker = new DesiredTracker();
  const web = endpoint("web");
  tracker.setEndpoint("web", web, link("cali1"), host);
  tracker.takeChanges();
  tracker.setEndpoint("web", web, link("cali1", { index: 9 }), host);
  const changes = lines(tracker.takeChanges());
  assert.ok(changes.includes("unicast 10.0.0.1/32 dev 9 proto 3 scope 253"));
  assert.ok(changes.includes("no neighbour 10.0.0.1 dev 7"));
});

Deno.test("an endpoint without its interface is missing and wants nothing; one that goes takes all it wanted away", () => {
  const tracker = new DesiredTracker();
  const web = endpoint("web");
  tracker.setEndpoint("web", web, undefined, host);
  assert.deepEqual([...tracker.missing], ["web"]);
  assert.deepEqual(lines(tracker.takeChanges()), []);
  tracker.setEndpoint("web", web, link("cali1"), host);
  assert.deepEqual([...tracker.missing], []);
  tracker.takeChanges();
  tracker.setEndpoint("web", undefined, undefined, host);
  const changes = lines(tracker.takeChanges());
  assert.deepEqual(changes.filter((line) => !line.endsWith("=undefined")), [
    "no link cali1",
    "no route 10.0.0.1/32 table 254 metric 0",
    "no neighbour 10.0.0.1 dev 7",
  ]);
});

Deno.test("a workload that may send from other addresses is not held to reverse-path filtering in that family", () => {
  const tracker = new DesiredTracker();
  const spoofer = (prefix: string) => endpoint("web", { allowSpoofedSourcePrefixes: [prefix] });
  tracker.setEndpoint("web", spoofer("203.0.113.0/24"), link("cali1"), host);
  assert.equal(tracker.takeChanges().sysctls.get("net/ipv4/conf/cali1/rp_filter"), "0");
  tracker.setEndpoint("web", spoofer("fd00:1::/64"), link("cali1"), host);
  assert.equal(tracker.takeChanges().sysctls.get("net/ipv4/conf/cali1/rp_filter"), "1");
});

Deno.test("floating addresses lead to the workload where they are enabled", () => {
  const tracker = new DesiredTracker();
  const web = endpoint("web", { ipNATs: [{ internalIP: "10.0.0.1", externalIP: "198.51.100.9" }] });
  tracker.setEndpoint("web", web, link("cali1"), { ...host, hasFloatingIps: true });
  assert.ok(lines(tracker.takeChanges()).includes("unicast 198.51.100.9/32 dev 7 proto 3 scope 253"));
  tracker.setEndpoint("web", web, link("cali1"), host);
  assert.ok(lines(tracker.takeChanges()).includes("no route 198.51.100.9/32 table 254 metric 0"));
});

Deno.test("the host forwards, unless it is told not to, and stands in for a missing route to the gateway", () => {
  const tracker = new DesiredTracker();
  const lo = link("lo", { index: 1 });
  tracker.setHost({ hasIpv6: true, hasConntrack: true, isForwarding: true, gatewayVia: lo });
  assert.deepEqual(lines(tracker.takeChanges()), [
    "unicast 169.254.1.1/32 dev 1 proto 80 scope 253",
    "net/ipv4/ip_forward=1",
    "net/ipv6/conf/all/forwarding=1",
    "net/netfilter/nf_conntrack_acct=1",
  ]);
  tracker.setHost({ hasIpv6: false, hasConntrack: false, isForwarding: false, gatewayVia: undefined });
  const changes = tracker.takeChanges();
  assert.ok([...changes.sysctls.values()].every((value) => value === undefined));
  assert.deepEqual([...changes.routes], [["169.254.1.1/32 table 254 metric 0", undefined]]);
});

Deno.test("of two endpoints with one address the lower name has the route, and the other the reason", () => {
  const tracker = new DesiredTracker();
  tracker.setEndpoint("web", endpoint("web"), link("cali1"), host);
  tracker.setEndpoint("db", endpoint("db", { interfaceName: "cali2" }), link("cali2", { index: 8 }), host);
  assert.ok(lines(tracker.takeChanges()).includes("unicast 10.0.0.1/32 dev 8 proto 3 scope 253"));
  assert.deepEqual(tracker.lost().map(({ owner, to }) => [owner, to]), [["web", "db"]]);
});

Deno.test("an own block is answered for with a blackhole until it is let go", () => {
  const tracker = new DesiredTracker();
  const block = Cidr.parse("10.0.0.0/26");
  tracker.setBlock(block, true);
  assert.deepEqual(lines(tracker.takeChanges()), ["blackhole 10.0.0.0/26 dev undefined proto 80 scope 0"]);
  tracker.setBlock(block, false);
  assert.deepEqual(lines(tracker.takeChanges()), ["no route 10.0.0.0/26 table 254 metric 0"]);
});
