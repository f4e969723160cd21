/**
 * Reads a key back into what it names. Accepts what Calico accepts, the in-memory paths `/calico/v1/…` and
 * `/calico/bgp/v1/…` included; the leading slash may be missing except on resources. Anything else is undefined.
 */

import { Cidr } from "../../lib/cidr.ts";
import { kindOfPlural } from "../kinds.ts";
import type { Kind } from "../resources/mod.ts";
import { RESOURCES_PREFIX } from "./build.ts";
import { unescapeName } from "./escape.ts";
import { parseV1Key, type V1Key } from "./v1.ts";

/** What a key names. */
export type StoreKey =
  | { readonly type: "resource"; readonly kind: Kind; readonly name: string; readonly namespace?: string }
  | { readonly type: "block"; readonly cidr: Cidr }
  | {
    readonly type: "affinity";
    readonly owner: { readonly type: "host" | "virtual"; readonly name: string };
    readonly cidr: Cidr;
  }
  | { readonly type: "handle"; readonly id: string }
  | { readonly type: "ipamConfig" }
  | { readonly type: "status" | "lastStatus"; readonly node: string; readonly region: string }
  | {
    readonly type: "workloadStatus";
    readonly node: string;
    readonly region: string;
    readonly orchestrator: string;
    readonly workload: string;
    readonly endpoint: string;
  }
  | { readonly type: "hostEndpointStatus"; readonly node: string; readonly endpoint: string }
  | V1Key;

/** Reads a key; undefined when nothing known is stored under such a key. */
export function parseKey(path: string): StoreKey | undefined {
  const parts = (path.startsWith("/") ? path.slice(1) : path).split("/");
  if (parts.length < 3 || parts[0] !== "calico") return undefined;
  switch (parts[1]) {
    case "resources":
      return path.startsWith(RESOURCES_PREFIX) ? parseResourceKey(parts.slice(4)) : undefined;
    case "ipam":
      return parts[2] === "v2" ? parseIpamKey(parts.slice(3)) : undefined;
    case "felix":
      return parts[2] === "v1" || parts[2] === "v2" ? parseFelixKey(parts.slice(2)) : undefined;
    default:
      return parseV1Key(path, parts);
  }
}

function parseResourceKey(parts: readonly string[]): StoreKey | undefined {
  const [plural = "", first, second] = parts.map(unescapeName);
  const entry = kindOfPlural(plural);
  if (!entry || first === undefined || parts.length !== (entry.namespaced ? 3 : 2)) return undefined;
  return entry.namespaced
    ? { type: "resource", kind: entry.kind, namespace: first, name: second ?? "" }
    : { type: "resource", kind: entry.kind, name: first };
}

function parseIpamKey(parts: readonly string[]): StoreKey | undefined {
  const [what, name, family, word, last] = parts;
  if (what === "config" && parts.length === 1) return { type: "ipamConfig" };
  if (what === "handle" && name && parts.length === 2) return { type: "handle", id: name };
  if (what === "assignment" && parts.length === 4 && family === "block") {
    const cidr = parseCidrInKey(name, word);
    return cidr && { type: "block", cidr };
  }
  if ((what === "host" || what === "virtual") && name && parts.length === 5 && word === "block") {
    const cidr = parseCidrInKey(family, last);
    return cidr && { type: "affinity", owner: { type: what, name }, cidr };
  }
  return undefined;
}

function parseCidrInKey(family: string | undefined, text: string | undefined): Cidr | undefined {
  if (!text || !/^ipv.$/.test(family ?? "")) return undefined;
  return Cidr.tryParse(text.replace("-", "/"));
}

function parseFelixKey(parts: readonly string[]): StoreKey | undefined {
  if (parts[0] === "v1") {
    const [, host, node, word, endpoint] = parts;
    if (parts.length !== 5 || host !== "host" || word !== "endpoint" || node === undefined) return undefined;
    return { type: "hostEndpointStatus", node, endpoint: unescapeName(endpoint ?? "") };
  }
  const [, region, host, node, what, ...rest] = parts;
  if (!region || host !== "host" || !node) return undefined;
  if (what === "status" && rest.length === 0) return { type: "status", node, region };
  // Calico ignores whatever follows the last status, so a trailing slash names the same thing.
  if (what === "last_reported_status") return { type: "lastStatus", node, region };
  if (what !== "workload" || rest.length !== 4 || rest[2] !== "endpoint" || rest.includes("")) return undefined;
  const [orchestrator = "", workload = "", , endpoint = ""] = rest.map(unescapeName);
  return { type: "workloadStatus", node, region, orchestrator, workload, endpoint };
}
