/**
 * The schema of every kind. A kind without one of its own is known by name, and its spec is taken as it is.
 *
 * Only what judges an operator's input loads this folder (and zod with it).
 */

import { z } from "zod";
import { KINDS } from "../kinds.ts";
import { API_VERSION } from "../resource.ts";
import type { Kind } from "../resources/mod.ts";
import { SPEAKER_ANNOTATIONS } from "../resources/bgp_configuration.ts";
import { BUILT_IN_TIERS } from "../resources/tier.ts";
import { composeWepName, WepNameError } from "../wep_name.ts";
import { bgpConfigurationSpec, DEFAULT_ONLY } from "./bgp_configuration.ts";
import { bgpFilterSpec } from "./bgp_filter.ts";
import { bgpPeerSpec } from "./bgp_peer.ts";
import { clusterInformationSpec } from "./cluster_information.ts";
import { felixConfigurationSpec } from "./felix_configuration.ts";
import { strict } from "./fields.ts";
import { hostEndpointSpec } from "./host_endpoint.ts";
import { ipPoolSpec } from "./ip_pool.ts";
import { ipReservationSpec } from "./ip_reservation.ts";
import { problem } from "./issue.ts";
import { metadataSchema } from "./metadata.ts";
import {
  globalNetworkPolicySpec,
  networkPolicySpec,
  stagedGlobalNetworkPolicySpec,
  stagedNetworkPolicySpec,
} from "./network_policy.ts";
import { networkSetSpec } from "./network_set.ts";
import { nodeSpec, nodeStatus } from "./node.ts";
import { profileSpec } from "./profile.ts";
import { tierSpec } from "./tier.ts";
import { workloadEndpointSpec } from "./workload_endpoint.ts";

const anySpec = z.record(z.string(), z.unknown());

const SPECS: Partial<Record<Kind, z.ZodType>> = {
  Node: nodeSpec,
  IPPool: ipPoolSpec,
  IPReservation: ipReservationSpec,
  BGPConfiguration: bgpConfigurationSpec,
  BGPPeer: bgpPeerSpec,
  BGPFilter: bgpFilterSpec,
  WorkloadEndpoint: workloadEndpointSpec,
  HostEndpoint: hostEndpointSpec,
  Profile: profileSpec,
  Tier: tierSpec,
  GlobalNetworkPolicy: globalNetworkPolicySpec,
  NetworkPolicy: networkPolicySpec,
  StagedGlobalNetworkPolicy: stagedGlobalNetworkPolicySpec,
  StagedNetworkPolicy: stagedNetworkPolicySpec,
  GlobalNetworkSet: networkSetSpec,
  NetworkSet: networkSetSpec,
  FelixConfiguration: felixConfigurationSpec,
  ClusterInformation: clusterInformationSpec,
};

/** Kinds that mean something without a spec. */
const MAY_LACK_SPEC = new Set<Kind>(["Node", "Tier", "BGPConfiguration", "FelixConfiguration", "ClusterInformation"]);

const schemas = new Map<Kind, z.ZodType>();

/** The schema of a kind, made when it is first asked for. */
export function resourceSchema(kind: Kind): z.ZodType {
  let schema = schemas.get(kind);
  if (!schema) schemas.set(kind, schema = makeSchema(kind));
  return schema;
}

/** Every kind in the order of the table. */
export const SCHEMA_KINDS: readonly Kind[] = KINDS.map((entry) => entry.kind);

function makeSchema(kind: Kind): z.ZodType {
  const spec = SPECS[kind] ?? anySpec;
  return strict({
    apiVersion: z.literal(API_VERSION),
    kind: z.literal(kind),
    metadata: metadataSchema(kind),
    spec: MAY_LACK_SPEC.has(kind) ? spec.prefault({}) : spec,
    status: (kind === "Node" ? nodeStatus : z.unknown()).optional(),
  }).check((context) => checkNameAgainstSpec(kind, context as unknown as ResourceContext));
}

/** Tiers whose order and action are what they are. */
const FIXED_TIERS = new Set(["default", "kube-admin", "kube-baseline"]);

interface ResourceContext {
  readonly value: {
    readonly metadata: { readonly name: string; readonly annotations?: Readonly<Record<string, string>> };
    readonly spec: Readonly<Record<string, unknown>>;
  };
  readonly issues: unknown[];
}

/** What a name obliges the spec to, and the other way round. */
function checkNameAgainstSpec(kind: Kind, context: ResourceContext): void {
  const { metadata: { name }, spec } = context.value;
  if (kind === "Tier" && FIXED_TIERS.has(name)) {
    for (const [member, value] of Object.entries(BUILT_IN_TIERS[name] ?? {})) {
      const found = spec[member] ?? (member === "defaultAction" ? "Deny" : undefined);
      if (found !== value) {
        problem(context, `is ${value} for the built-in tier ${name}`, {
          path: ["spec", member],
          hint: `write ${member}: ${value}`,
        });
      }
    }
  }
  if (kind === "BGPConfiguration" && name !== "default") {
    for (const member of DEFAULT_ONLY) {
      if (spec[member] === undefined) continue;
      problem(context, "is for all nodes", {
        path: ["spec", member],
        hint: "put it into the BGPConfiguration default",
      });
    }
  }
  if (kind === "BGPPeer" || kind === "BGPConfiguration") checkPeerAnnotations(kind, context);
  if (kind === "FelixConfiguration" && spec.nodeSelector && (name === "default" || name.startsWith("node."))) {
    problem(context, `has no meaning on ${name}`, {
      path: ["spec", "nodeSelector"],
      hint: "its name says which nodes",
    });
  }
  if (kind === "WorkloadEndpoint") checkEndpointName(name, spec, context);
}

/** Annotations that the rest of the object leaves without a meaning. */
function checkPeerAnnotations(kind: Kind, context: ResourceContext): void {
  const { metadata: { name, annotations = {} }, spec } = context.value;
  const refuse = (key: string, message: string, hint: string) =>
    problem(context, message, { path: ["metadata", "annotations", key], atKey: true, hint });
  for (const key of Object.keys(annotations).filter((key) => key.startsWith("tortie/"))) {
    if (kind === "BGPConfiguration" && name !== "default") {
      refuse(key, "is about the mesh", "put it on the BGPConfiguration default");
    } else if (kind === "BGPPeer" && SPEAKER_ANNOTATIONS.some((annotation) => annotation === key)) {
      refuse(key, "is about all sessions", "put it on the BGPConfiguration default");
    } else if (key === "tortie/interface" && kind === "BGPConfiguration") {
      refuse(key, "is about one peer", "put it on a BGPPeer");
    } else if (key === "tortie/interface" && (spec.peerSelector || spec.localWorkloadSelector)) {
      refuse(key, "is about one peer, and a selector may pick several", "remove the annotation or the selector");
    }
  }
}

function checkEndpointName(name: string, spec: Readonly<Record<string, unknown>>, context: ResourceContext): void {
  try {
    const composed = composeWepName(spec);
    if (composed !== name) {
      problem(context, `${JSON.stringify(name)} does not fit the spec`, {
        path: ["metadata", "name"],
        hint: `it must be ${composed}`,
      });
    }
  } catch (error) {
    if (!(error instanceof WepNameError)) throw error;
    problem(context, spec[error.field] ? "starts or ends with a dash" : "is missing", {
      path: ["spec", error.field],
      hint: "the name of the endpoint is made of it",
    });
  }
}
