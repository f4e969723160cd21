/**
 * The types of the members of a stored spec that code relies on: enough to skip a broken object, not a validation.
 *
 * s string, n number, b boolean, S list of strings, o object, O list of objects, a whatever a number-or-string may be;
 * `!` behind it: the member must be there. Members of objects are named with a dot.
 */

import type { Kind } from "./resources/mod.ts";

type Shape = Readonly<Record<string, string>>;

const RULES: Shape = { ingress: "O", egress: "O" };
const POLICY: Shape = {
  ...RULES,
  tier: "s",
  order: "n",
  selector: "s",
  namespaceSelector: "s",
  serviceAccountSelector: "s",
  types: "S",
  performanceHints: "S",
  doNotTrack: "b",
  preDNAT: "b",
  applyOnForward: "b",
};

const SHAPES: Partial<Record<Kind, Shape>> = {
  Node: {
    bgp: "o",
    "bgp.asNumber": "a",
    "bgp.ipv4Address": "s",
    "bgp.ipv6Address": "s",
    "bgp.ipv4IPIPTunnelAddr": "s",
    "bgp.routeReflectorClusterID": "s",
    ipv4VXLANTunnelAddr: "s",
    ipv6VXLANTunnelAddr: "s",
    vxlanTunnelMACAddr: "s",
    vxlanTunnelMACAddrV6: "s",
    addresses: "O",
    interfaces: "O",
    orchRefs: "O",
    wireguard: "o",
  },
  IPPool: {
    cidr: "s!",
    blockSize: "n",
    ipipMode: "s",
    vxlanMode: "s",
    nodeSelector: "s",
    namespaceSelector: "s",
    allowedUses: "S",
    assignmentMode: "s",
    natOutgoing: "b",
    disabled: "b",
    disableBGPExport: "b",
  },
  IPReservation: { reservedCIDRs: "S" },
  BGPConfiguration: {
    logSeverityScreen: "s",
    nodeToNodeMeshEnabled: "b",
    asNumber: "a",
    listenPort: "n",
    bindMode: "s",
    communities: "O",
    prefixAdvertisements: "O",
    nodeMeshPassword: "o",
    nodeMeshMaxRestartTime: "s",
    ignoredInterfaces: "S",
  },
  BGPPeer: {
    node: "s",
    nodeSelector: "s",
    peerIP: "s",
    asNumber: "a",
    localASNumber: "a",
    peerSelector: "s",
    localWorkloadSelector: "s",
    sourceAddress: "s",
    nextHopMode: "s",
    keepOriginalNextHop: "b",
    maxRestartTime: "s",
    keepaliveTime: "s",
    numAllowedLocalASNumbers: "n",
    ttlSecurity: "n",
    reachableBy: "s",
    filters: "S",
    reversePeering: "s",
  },
  BGPFilter: { exportV4: "O", importV4: "O", exportV6: "O", importV6: "O" },
  WorkloadEndpoint: {
    orchestrator: "s!",
    node: "s!",
    workload: "s",
    containerID: "s",
    pod: "s",
    endpoint: "s",
    ipNetworks: "S",
    ipNATs: "O",
    ipv4Gateway: "s",
    ipv6Gateway: "s",
    profiles: "S",
    interfaceName: "s",
    mac: "s",
    ports: "O",
    allowSpoofedSourcePrefixes: "S",
    qosControls: "o",
  },
  HostEndpoint: { node: "s", interfaceName: "s", expectedIPs: "S", profiles: "S", ports: "O" },
  Profile: { ...RULES, labelsToApply: "o" },
  Tier: { order: "n", defaultAction: "s" },
  GlobalNetworkPolicy: POLICY,
  NetworkPolicy: POLICY,
  StagedGlobalNetworkPolicy: POLICY,
  StagedNetworkPolicy: POLICY,
  GlobalNetworkSet: { nets: "S" },
  NetworkSet: { nets: "S" },
  ClusterInformation: { clusterGUID: "s", calicoVersion: "s", clusterType: "s", datastoreReady: "b" },
};

/** What is wrong with the types in a spec ("cidr is not a string"), or undefined. A null member counts as absent. */
export function checkShape(kind: Kind, spec: Readonly<Record<string, unknown>>): string | undefined {
  for (const [path, code] of Object.entries(SHAPES[kind] ?? {})) {
    const value = path.split(".").reduce<unknown>((at, name) => isObject(at) ? at[name] : undefined, spec);
    if (value === undefined || value === null) {
      if (code.endsWith("!")) return `${path} is missing`;
    } else if (!CHECKS[code.charAt(0)]?.(value)) {
      return `${path} is not ${NOUNS[code.charAt(0)]}`;
    }
  }
  return undefined;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const CHECKS: Readonly<Record<string, (value: unknown) => boolean>> = {
  s: (value) => typeof value === "string",
  n: (value) => typeof value === "number",
  b: (value) => typeof value === "boolean",
  a: (value) => typeof value === "string" || typeof value === "number",
  S: (value) => Array.isArray(value) && value.every((item) => typeof item === "string"),
  o: isObject,
  O: (value) => Array.isArray(value) && value.every(isObject),
};

const NOUNS: Readonly<Record<string, string>> = {
  s: "a string",
  n: "a number",
  b: "true or false",
  a: "a number or a string",
  S: "a list of strings",
  o: "an object",
  O: "a list of objects",
};
