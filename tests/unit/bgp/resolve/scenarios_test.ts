/** Calico's own scenarios: what confd made of the resources for BIRD is what the speaker is configured with. */

import assert from "node:assert/strict";
import { DEFAULT_HOLD_TIME, type PeerConfig, type SpeakerConfig } from "../../../../src/bgp/config.ts";
import { resolveSpeaker } from "../../../../src/bgp/resolve/resolve.ts";
import { Cidr } from "../../../../src/lib/cidr.ts";
import { Ip } from "../../../../src/lib/ip.ts";
import type {
  AnyResource,
  BGPConfiguration,
  BGPFilter,
  BGPPeer,
  IPPool,
  Node,
} from "../../../../src/model/resources/mod.ts";

interface Scenario {
  id: string;
  step: string;
  env: Record<string, string>;
  blockAffinities: { cidr: string; host: string; state: string }[];
  resources: AnyResource[];
  nodes: Record<string, { ipv4: View; ipv6: View }>;
}

interface View {
  routerID: string;
  enabled: boolean;
  localAS?: number;
  listenAddress: string | null;
  listenPort: number | null;
  communities: { cidr: string; add: string[] }[];
  peers: Peer[];
  ipam: {
    exportRejectIfnamesToInternalPeers: string[];
    export: { cidr: string; action: string }[];
    kernel: { cidr: string; statements: string[] }[];
  };
  aggr: { blackholeRoutes: string[]; otherRoutes: [string, string][]; aggregated: string[] };
}

interface Peer {
  ip: string;
  port: number | null;
  asNumber: number;
  localAS: number | null;
  sourceAddress: string | null;
  ttlSecurityHops: number | null;
  importFilters: string[];
  exportFilters: string[];
  exportInternalPeer: boolean;
  gracefulRestartTimeSeconds: number | null;
  keepaliveSeconds: number | null;
  rrClient: boolean;
  rrClusterID: string | null;
  nextHopKeep: boolean;
  nextHopSelf: boolean;
  allowLocalAS: number | null;
}

const file = new URL("../../../../../shared/conformance/bgp-scenarios.json", import.meta.url);
const hasData = (() => {
  try {
    return Deno.statSync(file).isFile;
  } catch {
    return false;
  }
})();
const scenarios: Scenario[] = hasData ? JSON.parse(Deno.readTextFileSync(file)).scenarios : [];

if (!hasData) {
  Deno.test({ name: "Calico's BGP scenarios (skipped: no conformance data)", ignore: true, fn() {} });
}

for (const scenario of scenarios) {
  Deno.test(`scenario ${scenario.id} (${scenario.step}) gives every node the sessions and rules that Calico gives it`, () => {
    const ofKind = <R extends AnyResource>(kind: R["kind"]) =>
      scenario.resources.filter((resource): resource is R => resource.kind === kind);
    for (const [nodeName, views] of Object.entries(scenario.nodes)) {
      const { config } = resolveSpeaker({
        nodeName,
        nodes: ofKind<Node>("Node"),
        peers: ofKind<BGPPeer>("BGPPeer"),
        configurations: ofKind<BGPConfiguration>("BGPConfiguration"),
        filters: ofKind<BGPFilter>("BGPFilter"),
        pools: ofKind<IPPool>("IPPool"),
        affinities: scenario.blockAffinities,
        ...(scenario.env.CALICO_ROUTER_ID ? { routerId: scenario.env.CALICO_ROUTER_ID } : {}),
      });
      assert.equal(new Set(config.peers.map(({ name }) => name)).size, config.peers.length, "names are unique");
      for (const family of [4, 6] as const) compare(config, family, views[`ipv${family}`], nodeName);
    }
  });
}

function compare(config: SpeakerConfig, family: 4 | 6, view: View, nodeName: string): void {
  const where = `${nodeName} IPv${family}`;
  const isOurs = (text: string) => text.includes(":") === (family === 6);
  assert.equal(config.families.includes(family), view.enabled, `${where} enabled`);
  if (!view.enabled) return assert.deepEqual(view.peers, [], `${where} peers`);
  assert.equal(config.routerId, view.routerID, `${where} router id`);
  assert.equal(config.localAs, view.localAS, `${where} AS`);
  assert.equal(config.listen.port, view.listenPort ?? 179, `${where} port`);
  assert.deepEqual(
    config.listen.addresses.filter(isOurs),
    view.listenAddress ? [view.listenAddress] : [],
    `${where} listens`,
  );
  const peers = config.peers.filter(({ address }) => isOurs(address)).map((peer) => asCalico(peer));
  const expected = view.peers.map((peer) => fromCalico(peer, config.localAs));
  assert.deepEqual(sorted(peers), sorted(expected), `${where} peers`);
  const inFamily = <T extends { cidr: string }>(list: readonly T[]) => list.filter(({ cidr }) => isOurs(cidr));
  assert.deepEqual(
    inFamily(config.advertisements).map(({ cidr, communities }) => ({ cidr, add: communities.map(bird) })),
    view.communities.map(({ cidr, add }) => ({ cidr, add })),
    `${where} communities`,
  );
  assert.deepEqual(
    config.internalRejectInterfaces,
    view.ipam.exportRejectIfnamesToInternalPeers,
    `${where} interfaces`,
  );
  const exported = inFamily(config.pools).map(({ cidr, isExportDisabled }) => ({
    cidr,
    action: isExportDisabled ? "reject" : "accept",
  }));
  // Calico writes the refusals elsewhere, before everything else.
  assert.deepEqual(
    sorted(exported.filter(({ action }) => action === "accept")),
    sorted(view.ipam.export.filter(({ action }) => action === "accept").map(({ cidr, action }) => ({ cidr, action }))),
    `${where} exported pools`,
  );
  const kernel = inFamily(config.pools)
    .map(({ cidr, isProgrammedBySpeaker }) => ({ cidr, statements: [isProgrammedBySpeaker ? "accept" : "reject"] }))
    .filter(({ statements }) => family === 4 || statements[0] === "reject");
  assert.deepEqual(
    sorted(kernel),
    sorted(view.ipam.kernel.map(({ cidr, statements }) => ({ cidr, statements: [statements.at(-1)] }))),
    `${where} kernel`,
  );
  const aggregates = inFamily(config.aggregates);
  assert.deepEqual(sorted(aggregates.map(({ cidr }) => cidr)), sorted(view.aggr.aggregated), `${where} aggregates`);
  assert.deepEqual(
    sorted(aggregates.filter(({ hasBlackhole }) => hasBlackhole).map(({ cidr }) => cidr)),
    sorted(view.aggr.blackholeRoutes),
    `${where} blackholes`,
  );
  assert.deepEqual(
    sorted(inFamily(config.statics).map(({ cidr, via }) => [cidr, `via ${via}`])),
    sorted(view.aggr.otherRoutes),
    `${where} static routes`,
  );
}

/** A community as BIRD's text has it. */
function bird(value: string): string {
  return value.replaceAll(":", ",");
}

function sorted<T>(list: readonly T[]): T[] {
  return [...list].sort((a, b) => JSON.stringify(a) < JSON.stringify(b) ? -1 : 1);
}

function asCalico(peer: PeerConfig): Record<string, unknown> {
  assert.ok(Ip.tryParse(peer.address));
  assert.equal(peer.holdTime, DEFAULT_HOLD_TIME);
  return {
    ip: peer.address,
    port: peer.port,
    asNumber: peer.as,
    localAS: peer.localAs,
    sourceAddress: peer.sourceAddress ?? null,
    ttlSecurityHops: peer.ttlSecurityHops ?? null,
    importFilters: peer.importFilters,
    exportFilters: peer.exportFilters,
    exportInternalPeer: peer.isSameAs,
    gracefulRestartTimeSeconds: peer.gracefulRestartTime ?? null,
    keepaliveSeconds: peer.keepaliveTime ?? null,
    rrClient: peer.rrClient,
    rrClusterID: peer.clusterId ?? null,
    nextHopKeep: peer.nextHopMode === "keep",
    nextHopSelf: peer.nextHopMode === "self",
    allowLocalAS: peer.allowLocalAs || null,
  };
}

function fromCalico(peer: Peer, nodeAs: number): Record<string, unknown> {
  return {
    ip: Cidr.host(Ip.parse(peer.ip)).ip.toString(),
    port: peer.port ?? 179,
    asNumber: peer.asNumber,
    localAS: peer.localAS ?? nodeAs,
    sourceAddress: peer.sourceAddress,
    ttlSecurityHops: peer.ttlSecurityHops,
    importFilters: peer.importFilters,
    exportFilters: peer.exportFilters,
    exportInternalPeer: peer.exportInternalPeer,
    gracefulRestartTimeSeconds: peer.gracefulRestartTimeSeconds,
    keepaliveSeconds: peer.keepaliveSeconds,
    rrClient: peer.rrClient,
    rrClusterID: peer.rrClusterID,
    nextHopKeep: peer.nextHopKeep,
    nextHopSelf: peer.nextHopSelf,
    allowLocalAS: peer.allowLocalAS,
  };
}
