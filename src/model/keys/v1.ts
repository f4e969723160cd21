/**
 * The paths of Calico's older internal model. Nothing is stored under them today; they turn up in data of older tools,
 * so they can be told apart from garbage.
 */

import { unescapeName } from "./escape.ts";

/** A path of the older model: Calico's name for it and its identifiers. */
export interface V1Key {
  readonly type: "v1";
  readonly v1Type:
    | "GlobalConfigKey"
    | "HostConfigKey"
    | "HostEndpointKey"
    | "HostMetadataKey"
    | "WireguardKey"
    | "WorkloadEndpointKey"
    | "NetworkSetKey"
    | "ReadyFlagKey"
    | "TierKey"
    | "PolicyKey"
    | "LegacyPolicyKey"
    | "ProfileRulesKey"
    | "ProfileLabelsKey"
    | "GlobalBGPConfigKey"
    | "NodeBGPConfigKey";
  readonly fields: Readonly<Record<string, string>>;
}

const key = (v1Type: V1Key["v1Type"], fields: Record<string, string> = {}): V1Key => ({ type: "v1", v1Type, fields });

/** Reads a path of the older model, given whole and split at its slashes (without the leading one). */
export function parseV1Key(path: string, parts: readonly string[]): V1Key | undefined {
  if (parts[1] === "v1") return parseModel(path, parts);
  if (parts[1] !== "bgp" || parts[2] !== "v1" || parts.length < 5) return undefined;
  if (parts[3] === "global") {
    const name = parts.slice(4).join("/");
    return name ? key("GlobalBGPConfigKey", { Name: name }) : undefined;
  }
  const name = parts.slice(5).join("/");
  if (parts[3] !== "host" || !parts[4] || !name) return undefined;
  return key("NodeBGPConfigKey", { Nodename: parts[4], Name: name });
}

function parseModel(path: string, parts: readonly string[]): V1Key | undefined {
  switch (parts[2]) {
    case "config":
      return key("GlobalConfigKey", { Name: parts.slice(3).join("/") });
    case "host":
      return parseHost(parts);
    case "netset":
      return parts.length === 4 ? key("NetworkSetKey", { Name: unescapeName(parts[3] ?? "") }) : undefined;
    case "Ready":
      return parts.length === 3 && path.startsWith("/") ? key("ReadyFlagKey") : undefined;
    case "policy":
      return parsePolicy(parts);
    default:
      return undefined;
  }
}

function parseHost(parts: readonly string[]): V1Key | undefined {
  const [, , , host = "", what, ...rest] = parts;
  const Hostname = unescapeName(host);
  switch (what) {
    case "workload": {
      if (rest.length !== 4 || rest[2] !== "endpoint") return undefined;
      const [OrchestratorID = "", WorkloadID = "", , EndpointID = ""] = rest.map(unescapeName);
      return key("WorkloadEndpointKey", { Hostname, OrchestratorID, WorkloadID, EndpointID });
    }
    case "endpoint":
      if (rest.length !== 1) return undefined;
      return key("HostEndpointKey", { Hostname, EndpointID: unescapeName(rest[0] ?? "") });
    case "config":
      return key("HostConfigKey", { Hostname, Name: rest.join("/") });
    case "metadata":
      return rest.length === 0 ? key("HostMetadataKey", { Hostname: host }) : undefined;
    case "wireguard":
      return rest.length === 0 ? key("WireguardKey", { NodeName: Hostname }) : undefined;
    default:
      return undefined;
  }
}

function parsePolicy(parts: readonly string[]): V1Key | undefined {
  if (parts.length < 5) return undefined;
  const [, , , first = "", second = "", third = "", fourth] = parts.map(unescapeName);
  if (first === "tier") {
    if (third === "metadata" && parts.length === 6) return key("TierKey", { Name: second });
    if (third === "policy" && parts.length === 7) return legacyPolicy(second, fourth ?? "");
    return undefined;
  }
  if (first === "profile") {
    if (third === "rules") return key("ProfileRulesKey", { Name: second });
    return third === "labels" ? key("ProfileLabelsKey", { Name: second }) : undefined;
  }
  return parts.length === 6 ? key("PolicyKey", { Kind: first, Namespace: second, Name: third }) : undefined;
}

/** Prefixes of names by which the older model told kinds of policies apart, longest first. */
const LEGACY_PREFIXES: readonly (readonly [string, string, string])[] = [
  ["staged:knp.default.", "StagedKubernetesNetworkPolicy", ""],
  ["knp.default.", "KubernetesNetworkPolicy", ""],
  ["staged:", "StagedNetworkPolicy", "StagedGlobalNetworkPolicy"],
  ["kcnp.", "", "KubernetesClusterNetworkPolicy"],
  ["", "NetworkPolicy", "GlobalNetworkPolicy"],
];

function legacyPolicy(tier: string, text: string): V1Key {
  const slash = text.indexOf("/");
  const Namespace = slash < 0 ? "" : text.slice(0, slash);
  const name = text.slice(slash + 1);
  for (const [prefix, namespacedKind, globalKind] of LEGACY_PREFIXES) {
    const Kind = slash < 0 ? globalKind : namespacedKind;
    if (!Kind || !name.startsWith(prefix)) continue;
    return key("LegacyPolicyKey", { Tier: tier, Kind, Namespace, Name: name.slice(prefix.length) });
  }
  return key("LegacyPolicyKey", { Tier: tier, Kind: "", Namespace, Name: name });
}
