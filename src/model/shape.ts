/**
 * The types of the members of a stored spec that code relies on: enough to skip a broken object, not a validation.
 *
 * s string, n number, b boolean, a number or string, o object; in capitals lists of them. `!` behind it: the member must be
 * there. A dot names a member of an object, `[]` every entry of a list; what holds a member is described before it.
 */

import type { Kind } from "./resources/mod.ts";

type Shape = Readonly<Record<string, string>>;

const ENTITY: Shape = {
  nets: "S",
  notNets: "S",
  selector: "s",
  notSelector: "s",
  namespaceSelector: "s",
  ports: "A",
  notPorts: "A",
};
const RULE: Shape = {
  action: "s!",
  ipVersion: "n",
  protocol: "a",
  notProtocol: "a",
  icmp: "o",
  notICMP: "o",
  source: "o",
  ...under("source.", ENTITY),
  destination: "o",
  ...under("destination.", ENTITY),
  metadata: "o",
};
const RULES: Shape = { ingress: "O", ...under("ingress[].", RULE), egress: "O", ...under("egress[].", RULE) };
const FILTER_RULE: Shape = {
  action: "s!",
  cidr: "s",
  matchOperator: "s",
  prefixLength: "o",
  "prefixLength.min": "n",
  "prefixLength.max": "n",
  source: "s",
  interface: "s",
  peerType: "s",
  communities: "o",
  "communities.values": "S",
  asPathPrefix: "A",
  priority: "n",
  operations: "O",
  "operations[].addCommunity": "o",
  "operations[].addCommunity.value": "s",
  "operations[].prependASPath": "o",
  "operations[].prependASPath.prefix": "A",
  "operations[].setPriority": "o",
  "operations[].setPriority.value": "n",
};
const PORTS: Shape = { ports: "O", "ports[].name": "s", "ports[].protocol": "a!", "ports[].port": "n!" };
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
    "addresses[].address": "s!",
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
    "communities[].name": "s!",
    "communities[].value": "s!",
    prefixAdvertisements: "O",
    "prefixAdvertisements[].cidr": "s!",
    "prefixAdvertisements[].communities": "S!",
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
  BGPFilter: Object.assign(
    {},
    ...["exportV4", "importV4", "exportV6", "importV6"].map((list) => ({
      [list]: "O",
      ...under(`${list}[].`, FILTER_RULE),
    })),
  ),
  WorkloadEndpoint: {
    orchestrator: "s!",
    node: "s!",
    workload: "s",
    containerID: "s",
    pod: "s",
    endpoint: "s",
    ipNetworks: "S",
    ipNATs: "O",
    "ipNATs[].internalIP": "s!",
    "ipNATs[].externalIP": "s!",
    ipv4Gateway: "s",
    ipv6Gateway: "s",
    profiles: "S",
    interfaceName: "s",
    mac: "s",
    ...PORTS,
    allowSpoofedSourcePrefixes: "S",
    qosControls: "o",
  },
  HostEndpoint: { node: "s", interfaceName: "s", expectedIPs: "S", profiles: "S", ...PORTS },
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

/** The same shape for the members of something that is itself a member. */
function under(prefix: string, shape: Shape): Shape {
  return Object.fromEntries(Object.entries(shape).map(([path, code]) => [prefix + path, code]));
}

/** What is wrong with the types in a spec ("cidr is not a string"), or undefined. A null member counts as absent. */
export function checkShape(kind: Kind, spec: Readonly<Record<string, unknown>>): string | undefined {
  for (const [path, code] of Object.entries(SHAPES[kind] ?? {})) {
    const wrong = check(spec, path.split("."), code);
    if (wrong) return `${path} is ${wrong}`;
  }
  return undefined;
}

function check(holder: unknown, [part = "", ...rest]: readonly string[], code: string): string | undefined {
  if (!isObject(holder)) return undefined;
  const isList = part.endsWith("[]");
  const value = holder[isList ? part.slice(0, -2) : part];
  if (isList) {
    const entries = Array.isArray(value) ? value : [];
    return entries.map((entry) => check(entry, rest, code)).find((wrong) => wrong !== undefined);
  }
  if (rest.length > 0) return check(value, rest, code);
  if (value === undefined || value === null) return code.endsWith("!") ? "missing" : undefined;
  const type = code.charAt(0);
  const isRight = type === type.toLowerCase()
    ? IS[type]?.(value)
    : Array.isArray(value) && value.every((entry) => IS[type.toLowerCase()]?.(entry));
  return isRight ? undefined : `not ${NOUNS[type]}`;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const IS: Readonly<Record<string, (value: unknown) => boolean>> = {
  s: (value) => typeof value === "string",
  n: (value) => typeof value === "number",
  b: (value) => typeof value === "boolean",
  a: (value) => typeof value === "string" || typeof value === "number",
  o: isObject,
};

const NOUNS: Readonly<Record<string, string>> = {
  s: "a string",
  n: "a number",
  b: "true or false",
  a: "a number or a string",
  o: "an object",
  S: "a list of strings",
  A: "a list of numbers or strings",
  O: "a list of objects",
};
