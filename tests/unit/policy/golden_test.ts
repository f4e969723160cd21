/**
 * Golden rulesets in nft's language, one file for each part; rewritten with UPDATE_GOLDEN=1. Where the process may, Debian's
 * nft loads all of them in a namespace of its own.
 */

import assert from "node:assert/strict";
import type { AnyResource } from "../../../src/model/resources/mod.ts";
import { printChain, printRuleset, printSet } from "../../../src/netlink/nft/print.ts";
import type { Ruleset } from "../../../src/netlink/nft/ruleset.ts";
import { API_VERSION } from "../../../src/model/resource.ts";
import { engineWith, host, networkSet, policy, pool, profile, settings, tier, workload } from "./scene.ts";

const folder = new URL("../../golden/policy/", import.meta.url);

const web = workload("web", {
  labels: { role: "web" },
  ipNetworks: ["10.0.0.1/32", "fd00::1/128"],
  profiles: ["prod", "projectcalico-default-allow"],
  ports: [{ name: "http", protocol: "TCP", port: 8080 }],
});
const db = workload("db", { labels: { role: "db" }, ipNetworks: ["10.0.0.2/32"], profiles: ["missing"] });
const node: AnyResource = {
  kind: "Node",
  apiVersion: API_VERSION,
  metadata: { name: "a" },
  spec: {
    bgp: { ipv4Address: "192.0.2.1/24", ipv6Address: "2001:db8::1/64", ipv4IPIPTunnelAddr: "10.0.255.1" },
    ipv4VXLANTunnelAddr: "10.0.255.2",
  },
};

/** Each file: the resources, and which chains and sets it shows (all that start with one of the words). */
const goldens: readonly {
  readonly name: string;
  readonly resources: readonly AnyResource[];
  readonly shows: readonly string[];
}[] = [
  { name: "hooks_of_an_empty_host", resources: [], shows: [""] },
  {
    name: "hooks_with_tunnels",
    resources: [
      node,
      pool("p", "10.0.0.0/16", { ipipMode: "Always" }),
      pool("q", "fd00::/64", { vxlanMode: "Always" }),
    ],
    shows: [
      "cali-raw-PREROUTING",
      "cali-raw-OUTPUT",
      "cali-INPUT",
      "cali-OUTPUT",
      "cali-nat-POSTROUTING",
      "cali40all",
      "cali60all",
    ],
  },
  {
    name: "workloads",
    resources: [
      web,
      db,
      profile("prod", {
        labelsToApply: { env: "prod" },
        ingress: [{ action: "Allow", source: { selector: 'env == "prod"' } }],
        egress: [{ action: "Allow" }],
      }),
    ],
    shows: [
      "cali-fw-",
      "cali-tw-",
      "cali-pri-",
      "cali-pro-",
      "cali-from-wl",
      "cali-to-wl",
      "cali40s",
      "cali60s",
      "arp",
      "cali-arp",
      "cali40wl",
    ],
  },
  {
    name: "tiers_and_groups",
    resources: [
      web,
      tier("first", { order: 1, defaultAction: "Pass" }),
      tier("staged", { order: 2 }),
      policy("a", { tier: "first", selector: "has(role)", ingress: [{ action: "Pass" }] }),
      ...[1, 2, 3, 4, 5, 6, 7].map((order) => policy(`g${order}`, { order, selector: 'role == "web"', ingress: [] })),
      policy("z", { order: 8, selector: "all()", types: ["Ingress", "Egress"] }),
      {
        kind: "StagedGlobalNetworkPolicy",
        apiVersion: API_VERSION,
        metadata: { name: "staged.s" },
        spec: { tier: "staged", selector: "all()", types: ["Ingress"], ingress: [{ action: "Deny" }] },
      },
    ],
    shows: ["cali-tw-", "cali-fw-", "cali-gi-", "cali-pi-"],
  },
  {
    name: "matches",
    resources: [
      web,
      networkSet("office", ["192.0.2.0/24", "2001:db8::/32"], { net: "office" }),
      policy("m", {
        selector: "all()",
        ingress: [
          { action: "Allow", protocol: "TCP", destination: { ports: [80, 443, "1000:2000"] } },
          {
            action: "Allow",
            protocol: "TCP",
            destination: { ports: ["http", 22] },
            metadata: { annotations: { why: "named" } },
          },
          { action: "Allow", destination: { ports: ["http"] } },
          { action: "Deny", protocol: "UDP", source: { notPorts: [53, 67] }, destination: { notPorts: ["http"] } },
          { action: "Allow", source: { selector: 'net == "office"', notNets: ["192.0.2.128/25"] } },
          {
            action: "Allow",
            source: { nets: ["10.0.0.0/8", "10.1.0.0/16", "192.168.0.0/16"], notSelector: 'role == "web"' },
          },
          { action: "Pass", protocol: "ICMP", icmp: { type: 8, code: 0 } },
          { action: "Deny", protocol: "ICMPv6", notICMP: { type: 128 } },
          { action: "Deny", notICMP: { type: 3, code: 1 } },
          { action: "Log", notProtocol: "SCTP", ipVersion: 6 },
          { action: "Deny", protocol: 99, ipVersion: 4 },
          { action: "Allow", source: { nets: ["0.0.0.0/0"] } },
          { action: "Allow", source: { notNets: ["0.0.0.0/0"] } },
          { action: "Deny" },
        ],
      }),
      policy("np", {
        namespace: "prod",
        selector: "all()",
        ingress: [{ action: "Allow", source: { selector: "has(role)" } }],
      }),
      settings({ logPrefix: "%k %p in %t", logActionRateLimit: "10/minute", logActionRateLimitBurst: 20 }),
    ],
    shows: ["cali-pi-", "cali40s", "cali40n", "cali60s", "cali60n"],
  },
  {
    name: "host_endpoints",
    resources: [
      host("eth0", { interfaceName: "eth0", labels: { host: "a" }, expectedIPs: ["192.0.2.1"] }),
      host("rest", { interfaceName: "*", labels: { host: "a" }, profiles: ["projectcalico-default-allow"] }),
      policy("normal", {
        selector: 'host == "a"',
        ingress: [{ action: "Allow", protocol: "TCP", destination: { ports: [443] } }],
      }),
      policy("forward", { selector: 'host == "a"', applyOnForward: true, egress: [{ action: "Allow" }] }),
      policy("untracked", {
        selector: 'host == "a"',
        applyOnForward: true,
        doNotTrack: true,
        ingress: [{ action: "Allow", protocol: "UDP" }],
      }),
      policy("early", {
        selector: 'host == "a"',
        applyOnForward: true,
        preDNAT: true,
        ingress: [{ action: "Deny", protocol: "TCP" }],
      }),
      settings({
        failsafeInboundHostPorts: [{ protocol: "tcp", port: 22, net: "192.0.2.0/24" }, { protocol: "udp", port: 68 }],
      }),
    ],
    shows: [
      "cali-fh",
      "cali-th",
      "cali-raw-fh",
      "cali-raw-th",
      "cali-mangle-fh",
      "cali-raw-from",
      "cali-raw-to",
      "cali-mangle-from",
      "cali-from-h",
      "cali-to-h",
      "cali-failsafe",
      "cali-raw-failsafe",
    ],
  },
  {
    name: "nat",
    resources: [
      node,
      workload("web", {
        ipNetworks: ["10.0.0.1/32", "fd00::1/128"],
        ipNATs: [{ internalIP: "10.0.0.1", externalIP: "192.0.2.50" }, {
          internalIP: "fd00::1",
          externalIP: "2001:db8::50",
        }],
      }),
      pool("p", "10.0.0.0/16", { natOutgoing: true }),
      pool("q", "10.9.0.0/16"),
      pool("r", "fd00::/64", { natOutgoing: true }),
      settings({
        floatingIPs: "Enabled",
        natPortRange: "32000:40000",
        natOutgoingExclusions: "IPPoolsAndHostIPs",
        iptablesNATOutgoingInterfaceFilter: "eth+",
      }),
    ],
    shows: ["cali-nat", "cali-fip", "cali40", "cali60"],
  },
  {
    name: "workload_options",
    resources: [
      workload("web", {
        interfaceName: "tap0",
        ipNetworks: ["10.0.0.1/32"],
        allowSpoofedSourcePrefixes: ["10.8.0.0/16", "fd08::/64"],
        qosControls: { ingressPacketRate: 1000, ingressPacketBurst: 20, egressMaxConnections: 50, dscp: "EF" },
      }),
      settings({
        workloadSourceSpoofing: "Any",
        disableConntrackInvalidCheck: true,
        allowVXLANPacketsFromWorkloads: true,
        allowIPIPPacketsFromWorkloads: true,
        defaultEndpointToHostAction: "Return",
        nftablesFilterAllowAction: "Return",
      }),
    ],
    shows: [
      "cali-tw-",
      "cali-fw-",
      "cali-rpf-skip",
      "cali-egress-dscp",
      "cali-mangle-POST",
      "cali-wl-to-host",
      "cali-FORWARD",
      "cali-INPUT",
      "cali-OUTPUT",
      "filter-FORWARD",
      "cali-raw-PRE",
      "cali-other",
      "arp",
      "cali-arp",
    ],
  },
];

function shown(ruleset: Ruleset, words: readonly string[]): string {
  return ruleset.tables.map((table) => {
    const isShown = ({ name }: { readonly name: string }) => words.some((word) => name.startsWith(word));
    const sets = [...table.sets.values()].filter(isShown).sort((a, b) => a.name < b.name ? -1 : 1).map(printSet);
    const chains = [...table.chains.values()].filter(isShown).map(printChain);
    return sets.length + chains.length === 0
      ? ""
      : `# table ${table.family} ${table.name}\n${[...sets, ...chains].join("\n")}`;
  }).filter((text) => text !== "").join("\n");
}

for (const { name, resources, shows } of goldens) {
  Deno.test(`the ruleset of ${name.replaceAll("_", " ")} is the golden one`, () => {
    const text = shown(engineWith(resources).ruleset(), shows);
    const file = new URL(`${name}.nft`, folder);
    if (Deno.env.get("UPDATE_GOLDEN") === "1") Deno.writeTextFileSync(file, text);
    assert.equal(text, Deno.readTextFileSync(file));
  });
}

Deno.test({
  name: "Debian's nft takes every golden ruleset",
  ignore: Deno.uid() !== 0,
  fn: () => {
    const namespace = `ttQ-golden-${Deno.pid}`;
    const ip = (...args: string[]) => new Deno.Command("ip", { args }).outputSync();
    assert.equal(ip("netns", "add", namespace).code, 0);
    try {
      for (const { name, resources } of goldens) {
        const file = Deno.makeTempFileSync();
        try {
          Deno.writeTextFileSync(file, printRuleset(engineWith(resources).ruleset()));
          const { code, stderr } = ip("netns", "exec", namespace, "nft", "-c", "-f", file);
          assert.equal(code, 0, `${name}: ${new TextDecoder().decode(stderr)}`);
        } finally {
          Deno.removeSync(file);
        }
      }
    } finally {
      ip("netns", "del", namespace);
    }
  },
});
