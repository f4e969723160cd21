/**
 * Who this node has sessions with: the mesh, global and node peers, and the reverse of what other nodes' peers say.
 *
 *   1. BGPPeers for all nodes   2. BGPPeers for this node, unless (1) has the address and port   3. reverse peerings, unless
 *   (1) or (2) has; the mesh stands beside them, between nodes that are no route reflectors
 *
 * Each family has a session of its own, over addresses of that family, as Calico does it.
 */

import { parseDuration } from "../../model/duration.ts";
import { type PeerAnnotations, peerAnnotations } from "../../model/resources/bgp_configuration.ts";
import { splitPeerIP } from "../../model/resources/bgp_peer.ts";
import type { BGPPeer } from "../../model/resources/mod.ts";
import { Ip } from "../../lib/ip.ts";
import {
  type AddressFamily,
  DEFAULT_HOLD_TIME,
  type FilterConfig,
  type NextHopMode,
  type PeerConfig,
} from "../config.ts";
import {
  addressOf,
  type BgpNode,
  configurationOf,
  familyOf,
  nodesMatching,
  type ResolveInput,
  specOf,
} from "./input.ts";

/** The fleet as peers see it. */
export interface Fleet {
  readonly input: ResolveInput;
  readonly nodes: readonly BgpNode[];
  readonly self: BgpNode;
  readonly defaultAs: number;
  readonly filters: readonly FilterConfig[];
}

/** The peers, and what had to be left out with the reason. */
export interface ResolvedPeers {
  readonly peers: PeerConfig[];
  readonly problems: string[];
}

const FAMILIES: readonly AddressFamily[] = [4, 6];

/** A peer before it is one of ours: whom it is, from which resource, by which way. */
interface Draft {
  readonly name: string;
  readonly address: string;
  /** 0 where nobody has set one. */
  readonly port: number;
  readonly as: number;
  readonly clusterId: string;
  readonly isCalicoNode: boolean;
  readonly isGlobal: boolean;
  /** Said by the peer's side: what concerns this side only is not taken over. */
  readonly isReverse: boolean;
  readonly resource: BGPPeer;
  readonly isSelected: boolean;
  /** The peer's address is found at run time: `address` is "%interface" or the prefix that it may be in. */
  readonly isFound?: boolean;
}

/** All sessions of the node, those of the mesh first. */
export function resolvePeers(fleet: Fleet): ResolvedPeers {
  const problems: string[] = [];
  const taken = new Map<string, Draft>();
  const emit = (draft: Draft) => {
    const key = `${draft.address} ${draft.port}`;
    if (draft.address !== addressOf(fleet.self, familyOf(draft.address)) && !taken.has(key)) taken.set(key, draft);
  };
  const resources = [...fleet.input.peers].sort((a, b) => a.metadata.name < b.metadata.name ? -1 : 1);
  const isGlobal = ({ spec }: BGPPeer) => !spec.nodeSelector && !spec.node;
  for (const resource of resources) {
    if (isGlobal(resource)) forwardDrafts(fleet, resource, true, problems).forEach(emit);
  }
  for (const resource of resources) {
    if (!isGlobal(resource) && localNodes(fleet, resource).includes(fleet.self)) {
      forwardDrafts(fleet, resource, false, problems).forEach(emit);
    }
  }
  for (const resource of resources) reverseDrafts(fleet, resource).forEach(emit);
  const explicit = [...taken.values()].flatMap((draft) => complete(fleet, draft) ?? []);
  const peers = [...meshPeers(fleet), ...explicit];
  const names = new Set<string>();
  return {
    problems,
    peers: peers.map((peer) => {
      const name = names.has(peer.name) ? `${peer.name}.${peer.address}` : peer.name;
      names.add(name);
      return name === peer.name ? peer : { ...peer, name };
    }),
  };
}

function localNodes(fleet: Fleet, { spec }: BGPPeer): BgpNode[] {
  if (spec.nodeSelector) return nodesMatching(fleet.nodes, spec.nodeSelector);
  if (spec.node) return fleet.nodes.filter(({ name }) => name === spec.node);
  return [...fleet.nodes];
}

/** Whom a resource peers with, seen from the nodes that it is for. */
function forwardDrafts(fleet: Fleet, resource: BGPPeer, isGlobal: boolean, problems: string[]): Draft[] {
  const { spec, metadata } = resource;
  if (spec.localWorkloadSelector) {
    problems.push(`BGPPeer ${metadata.name}: peering with local workloads is not supported`);
    return [];
  }
  const name = `${isGlobal ? "global" : "node"}.${metadata.name}`;
  if (spec.peerSelector) {
    return nodesMatching(fleet.nodes, spec.peerSelector)
      .flatMap((node) => nodeDrafts(fleet, resource, node, FAMILIES, { name, isGlobal, isReverse: false }));
  }
  const parts = splitPeerIP(spec.peerIP ?? "");
  const ip = Ip.tryParse(parts?.address ?? "");
  if (!parts || !ip) {
    // An unnumbered peer has an interface for an address, a dynamic one the prefix that it calls from.
    const { interface: link, dynamicNeighbours } = peerAnnotations(metadata.annotations);
    if (!link && !dynamicNeighbours) problems.push(`BGPPeer ${metadata.name}: no peerIP`);
    const addresses = link ? [`%${link}`] : (dynamicNeighbours ?? []);
    return addresses.map((address): Draft => ({
      name: addresses.length === 1 ? name : `${name}.${address}`,
      address,
      port: 0,
      as: spec.asNumber ?? fleet.self.as,
      clusterId: "",
      isCalicoNode: false,
      isGlobal,
      isReverse: false,
      isSelected: false,
      isFound: true,
      resource,
    }));
  }
  const address = ip.toString();
  const known = nodesWith(fleet, address, spec.asNumber, parts.port)[0];
  return [{
    name,
    address,
    port: parts.port ?? known?.listenPort ?? 0,
    as: spec.asNumber ?? 0,
    clusterId: "",
    isCalicoNode: fleet.nodes.some((node) => node.address4 === address || node.address6 === address),
    isGlobal,
    isReverse: false,
    isSelected: false,
    resource,
  }];
}

/** What the other side's resources mean for this node. */
function reverseDrafts(fleet: Fleet, resource: BGPPeer): Draft[] {
  const { spec, metadata } = resource;
  if (spec.reversePeering === "Manual" || spec.localWorkloadSelector) return [];
  let families = FAMILIES;
  if (spec.peerSelector) {
    if (!nodesMatching(fleet.nodes, spec.peerSelector).includes(fleet.self)) return [];
  } else {
    const parts = splitPeerIP(spec.peerIP ?? "");
    const address = Ip.tryParse(parts?.address ?? "")?.toString();
    if (!parts || !address || !nodesWith(fleet, address, spec.asNumber, parts.port).includes(fleet.self)) return [];
    families = [familyOf(address)];
  }
  const name = `node.${metadata.name}`;
  return localNodes(fleet, resource)
    .flatMap((node) => nodeDrafts(fleet, resource, node, families, { name, isGlobal: false, isReverse: true }));
}

/** A node of the fleet as a peer, once for each family that it has an address of. */
function nodeDrafts(
  _fleet: Fleet,
  resource: BGPPeer,
  node: BgpNode,
  families: readonly AddressFamily[],
  kind: { readonly name: string; readonly isGlobal: boolean; readonly isReverse: boolean },
): Draft[] {
  return families.flatMap((family) => {
    const address = addressOf(node, family);
    if (!address) return [];
    return [{
      ...kind,
      name: `${kind.name}.${node.name}${family === 6 ? ".v6" : ""}`,
      address,
      port: node.listenPort ?? 0,
      as: node.as,
      clusterId: node.clusterId,
      // Calico breaks the tie of two active ends only where it names nodes by address.
      isCalicoNode: false,
      isSelected: true,
      resource,
    }];
  });
}

/** Nodes that have the address and AS, and the port where one is given. */
function nodesWith(fleet: Fleet, address: string, as: number | undefined, port: number | undefined): BgpNode[] {
  const wanted = as || fleet.defaultAs;
  return fleet.nodes.filter((node) =>
    (node.address4 === address || node.address6 === address) && node.as === wanted &&
    (port === undefined || (node.listenPort ?? port) === port)
  );
}

/** The session for a draft; undefined when this node has no address of the family. */
function complete(fleet: Fleet, draft: Draft): PeerConfig | undefined {
  const { self } = fleet;
  const { spec, metadata } = draft.resource;
  const family = draft.address.startsWith("%") ? 6 : familyOf(draft.address);
  const own = draft.isFound ? "" : addressOf(self, family);
  if (own === undefined) return undefined;
  const isOurs = !draft.isReverse && !draft.isSelected;
  const localAs = isOurs && spec.localASNumber ? spec.localASNumber : self.as;
  const isSameAs = draft.as === localAs;
  const isKept = isOurs && spec.keepOriginalNextHop === true && !isSameAs;
  const isClient = isSameAs && self.clusterId !== "" && draft.clusterId !== self.clusterId;
  const mode = draft.isReverse ? undefined : spec.nextHopMode;
  const annotations = peerAnnotations(metadata.annotations);
  const keepalive = spec.keepaliveTime === undefined ? undefined : parseDuration(spec.keepaliveTime);
  return {
    ...common(annotations, family, spec.maxRestartTime),
    name: draft.name,
    address: draft.isFound ? "" : draft.address,
    ...(draft.isFound && !draft.address.startsWith("%") ? { dynamicNeighbours: [draft.address] } : {}),
    port: draft.port || 179,
    as: draft.as,
    localAs,
    ...(spec.sourceAddress === "None" || draft.isFound ? {} : { sourceAddress: own }),
    passive: annotations.passive ?? (draft.isGlobal && draft.isCalicoNode && draft.address > own),
    ...(keepalive === undefined ? {} : { keepaliveTime: Math.round(keepalive) }),
    rrClient: isClient,
    // Reflectors of one cluster know each other's reflected paths by it.
    ...(isSameAs && self.clusterId !== "" ? { clusterId: self.clusterId } : {}),
    nextHopMode: isKept ? "keep" : (mode?.toLowerCase() as NextHopMode | undefined) ?? "auto",
    ...(spec.ttlSecurity ? { ttlSecurityHops: spec.ttlSecurity } : {}),
    importFilters: withRules(fleet, spec.filters, "import", familiesOf(annotations, family)),
    exportFilters: withRules(fleet, spec.filters, "export", familiesOf(annotations, family)),
    isSameAs,
    allowLocalAs: isOurs ? spec.numAllowedLocalASNumbers ?? 0 : 0,
    ...(spec.reachableBy && !draft.isReverse ? { reachableBy: spec.reachableBy } : {}),
  };
}

/** An unnumbered session carries both families, others the one of their addresses, unless something else is said. */
function familiesOf(annotations: PeerAnnotations, family: AddressFamily): readonly AddressFamily[] {
  return annotations.families ?? (annotations.interface === undefined ? [family] : FAMILIES);
}

/** The filters that say anything in that direction and family. */
function withRules(
  fleet: Fleet,
  names: readonly string[] = [],
  direction: "import" | "export",
  families: readonly AddressFamily[],
): string[] {
  return names.filter((name) => {
    const filter = fleet.filters.find((candidate) => candidate.name === name);
    return filter !== undefined && families.some((family) => filter[`${direction}V${family}`].length > 0);
  });
}

/** What annotations and defaults give to every session. */
function common(annotations: PeerAnnotations, family: AddressFamily, restartTime: string | undefined) {
  const seconds = restartTime === undefined ? undefined : parseDuration(restartTime);
  const { passwordFile, maxPrefixes, interface: name, role, addPaths = "both" } = annotations;
  const { longLivedRestart, isRoleStrict, maxPrefixesWarning, maxPrefixesRestart, idleHold, shutdown } = annotations;
  return {
    families: familiesOf(annotations, family),
    holdTime: annotations.holdTime ?? DEFAULT_HOLD_TIME,
    multihop: true,
    bfd: annotations.bfd ?? false,
    ...(annotations.bfdTimes === undefined ? {} : { bfdTimes: annotations.bfdTimes }),
    hasCalicoRules: true,
    ...(seconds === undefined ? {} : { gracefulRestartTime: Math.round(seconds) }),
    ...(passwordFile === undefined ? {} : { passwordFile }),
    ...(maxPrefixes === undefined ? {} : { maxPrefixes }),
    ...(name === undefined ? {} : { interface: name }),
    ...(role === undefined ? {} : { role }),
    ...(longLivedRestart === undefined ? {} : { longLivedRestart }),
    ...(isRoleStrict === undefined ? {} : { isRoleStrict }),
    ...(maxPrefixesWarning === undefined ? {} : { maxPrefixesWarning }),
    ...(maxPrefixesRestart === undefined ? {} : { maxPrefixesRestart }),
    ...(idleHold === undefined ? {} : { idleHold }),
    ...(shutdown === undefined ? {} : { shutdown }),
    // Calico's BIRD has "add paths on" on every session.
    ...(addPaths === "off" ? {} : { addPaths }),
  };
}

/** The node-to-node mesh: every pair of nodes without a cluster id, in each family that both have. */
function meshPeers(fleet: Fleet): PeerConfig[] {
  const { self, input } = fleet;
  const spec = specOf(input);
  if (self.clusterId !== "" || spec.nodeToNodeMeshEnabled === false) return [];
  const annotations = peerAnnotations(configurationOf(input)?.metadata.annotations);
  return fleet.nodes.flatMap((node) =>
    FAMILIES.flatMap((family): PeerConfig[] => {
      const address = addressOf(node, family), own = addressOf(self, family);
      if (!address || !own || address === own || node.name === self.name || node.clusterId !== "") return [];
      return [{
        ...common(annotations, family, spec.nodeMeshMaxRestartTime),
        name: `mesh.${node.name}${family === 6 ? ".v6" : ""}`,
        address,
        port: node.listenPort ?? 179,
        as: node.as,
        localAs: self.as,
        sourceAddress: own,
        // One side connects, so that no two connections cross; both sides compare the texts.
        passive: annotations.passive ?? address > own,
        rrClient: false,
        nextHopMode: "auto",
        importFilters: [],
        exportFilters: [],
        isSameAs: node.as === self.as,
        allowLocalAs: 0,
      }];
    })
  );
}
