/**
 * Schema of metadata: names by kind, namespaces, labels and annotations. What `tortie/` annotations say is validated here
 * like a field.
 */

import { z } from "zod";
import { Cidr } from "../../lib/cidr.ts";
import { kindEntry } from "../kinds.ts";
import { nearest } from "../nearest.ts";
import { BFD_HINT, parseBfd } from "../resources/bfd.ts";
import {
  ADD_PATHS,
  BGP_ROLES,
  parseStation,
  PEER_ANNOTATIONS,
  SPEAKER_ANNOTATIONS,
} from "../resources/bgp_configuration.ts";
import type { Kind } from "../resources/mod.ts";
import { DEFAULT_ALLOW_PROFILE } from "../resources/profile.ts";
import { WORKLOAD_ANNOTATIONS } from "../resources/workload_endpoint.ts";
import {
  annotations,
  checkInterface,
  checkName,
  type Complaint,
  labels,
  optionalText,
  strict,
  text,
} from "./fields.ts";
import { problem } from "./issue.ts";

const LABEL = "[a-z0-9](?:[-a-z0-9]*[a-z0-9])?";
const TIER_NAME = new RegExp(`^${LABEL}$`);
const GLOBAL_POLICY_NAME = new RegExp(`^(?:${LABEL}\\.)?${LABEL}$`);
const POLICY_NAME = new RegExp(`^(?:${LABEL}(?:\\.${LABEL})?|(?:knp|ossg)\\.default\\.${LABEL}(?:\\.${LABEL})*)$`);
/** A container id in the name of an endpoint may hold capitals. */
const ENDPOINT_NAME = /^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)*$/;

/** The schema of the metadata of a kind. */
export function metadataSchema(kind: Kind) {
  const { namespaced } = kindEntry(kind);
  return strict({
    name: text((value) => checkKindName(kind, value)),
    namespace: namespaced
      ? text(checkName).default("default")
      : optionalText(() => [`kind ${kind} has no namespaces`, { hint: "remove it" }]),
    labels: kind === "NetworkSet" || kind === "GlobalNetworkSet" ? setLabels.optional() : labels.optional(),
    annotations: annotations.check((context) => checkOwnAnnotations(kind, context)).optional(),
    uid: z.string().optional(),
    creationTimestamp: z.string().optional(),
    // What tools print and people paste back; it is not stored.
    resourceVersion: z.string().optional(),
    generation: z.number().optional(),
    selfLink: z.string().optional(),
  });
}

const setLabels = labels.check((context) => {
  if (!Object.hasOwn(context.value, "projectcalico.org/namespace")) return;
  problem(context, "is reserved", { path: ["projectcalico.org/namespace"], atKey: true, hint: "remove it" });
});

function checkKindName(kind: Kind, value: string): Complaint {
  const complaint = kind === "WorkloadEndpoint" && ENDPOINT_NAME.test(value) ? undefined : checkName(value);
  if (complaint) return complaint;
  const only = kindEntry(kind).onlyNames;
  if (only && !only.some((name) => name.endsWith(".") ? value.startsWith(name) && value !== name : value === name)) {
    const names = only.map((name) => name.endsWith(".") ? `${name}<node>` : name).join(" or ");
    return [`${JSON.stringify(value)} is not a name for a ${kind}`, { hint: `name it ${names}` }];
  }
  switch (kind) {
    case "Profile":
      if (value !== DEFAULT_ALLOW_PROFILE.metadata.name) return undefined;
      return [`${value} is built in`, { hint: "make a profile of another name" }];
    case "Tier":
      return TIER_NAME.test(value) && value.length <= 63 ? undefined : notFit(value, "no dots, at most 63 characters");
    case "GlobalNetworkPolicy":
    case "StagedGlobalNetworkPolicy":
      return GLOBAL_POLICY_NAME.test(value) ? undefined : notFit(value, "one dot at most, after the name of the tier");
    case "NetworkPolicy":
    case "StagedNetworkPolicy":
      return POLICY_NAME.test(value) ? undefined : notFit(value, "one dot at most, after the name of the tier");
    default:
      return undefined;
  }
}

function notFit(value: string, hint: string): Complaint {
  return [`${JSON.stringify(value)} is not a name for this kind`, { hint }];
}

const ANNOTATIONS = [...PEER_ANNOTATIONS, ...SPEAKER_ANNOTATIONS] as const;

const CHECKS: Readonly<Record<typeof ANNOTATIONS[number], (value: string) => string | undefined>> = {
  "tortie/password-file": (value) => value.startsWith("/") ? undefined : "the path of a file, starting with /",
  "tortie/hold-time": (value) =>
    /^[0-9]+$/.test(value) && Number(value) <= 65535 && Number(value) !== 1 && Number(value) !== 2
      ? undefined
      : "seconds: 0 (never), or 3 to 65535",
  "tortie/bfd": (value) => parseBfd(value) ? undefined : BFD_HINT,
  "tortie/max-prefixes": (value) =>
    /^[1-9][0-9]{0,8}$/.test(value) ? undefined : "the most prefixes that the peer may send",
  "tortie/passive": flag,
  "tortie/interface": (value) =>
    value !== "*" && checkInterface(value) === undefined ? undefined : "the name of an interface",
  "tortie/role": (value) =>
    BGP_ROLES.some((role) => role === value) ? undefined : `one of ${BGP_ROLES.join(", ")} (RFC 9234)`,
  "tortie/add-paths": (value) =>
    ADD_PATHS.some((wish) => wish === value) ? undefined : `one of ${ADD_PATHS.join(", ")} (RFC 7911)`,
  "tortie/long-lived-restart": (value) =>
    /^[0-9]{1,8}$/.test(value) && Number(value) < 2 ** 24 ? undefined : "seconds: 0 to 16777215 (RFC 9494)",
  "tortie/dynamic-neighbours": (value) =>
    value.split(",").every((part) => Cidr.tryParse(part.trim()))
      ? undefined
      : "prefixes that peers may connect from: 192.0.2.0/24, 2001:db8::/64",
  "tortie/families": (value) =>
    value.split(",").every((part) => ["ipv4", "ipv6"].includes(part.trim()))
      ? undefined
      : '"ipv4", "ipv6" or "ipv4, ipv6"',
  "tortie/role-strict": flag,
  "tortie/max-prefixes-warning": (value) =>
    /^[1-9][0-9]?$|^100$/.test(value) ? undefined : "percent of tortie/max-prefixes: 1 to 100",
  "tortie/max-prefixes-restart": (value) =>
    /^[0-9]{1,6}$/.test(value) ? undefined : "seconds until the session is tried again; 0: not by itself",
  "tortie/idle-hold": (value) => /^[1-9][0-9]{0,3}$/.test(value) ? undefined : "seconds: 1 to 9999",
  "tortie/shutdown": (value) =>
    new TextEncoder().encode(value).length <= 255 ? undefined : "words for the peer: at most 255 octets (RFC 9003)",
  "tortie/bmp": (value) =>
    parseStation(value)
      ? undefined
      : 'the station\'s address and port: "192.0.2.9:11019" or "[2001:db8::9]:11019", with "adj-rib-out" behind it if need be',
};

function flag(value: string): string | undefined {
  return value === "true" || value === "false" ? undefined : '"true" or "false", in quotes';
}

interface AnnotationContext {
  readonly value: Record<string, string>;
  readonly issues: unknown[];
}

function checkOwnAnnotations(kind: Kind, context: AnnotationContext): void {
  const isPeer = kind === "BGPPeer" || kind === "BGPConfiguration";
  for (const [key, value] of Object.entries(context.value)) {
    if (!key.startsWith("tortie/")) continue;
    if (kind === "WorkloadEndpoint" && WORKLOAD_ANNOTATIONS.some((annotation) => annotation === key)) continue;
    const known = ANNOTATIONS.find((annotation) => annotation === key);
    if (!known) {
      const near = nearest(key, ANNOTATIONS);
      const hint = near ? `did you mean ${near}?` : `known: ${ANNOTATIONS.join(", ")}`;
      problem(context, "is not a known annotation", { path: [key], atKey: true, hint });
    } else if (!isPeer) {
      problem(context, `has no meaning on kind ${kind}`, {
        path: [key],
        atKey: true,
        hint: "put it on a BGPPeer, or on the BGPConfiguration default for the mesh",
      });
    } else {
      const hint = CHECKS[known](value);
      if (hint) problem(context, `${JSON.stringify(value)} is not allowed`, { path: [key], hint });
    }
  }
}
