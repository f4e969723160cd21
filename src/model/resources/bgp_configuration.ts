/**
 * BGPConfiguration: BGP for all nodes ("default") or one node ("node.<name>"), the mesh above all. The per-node one may
 * set log level, listen port, prefix advertisements and such only. Absent members: mesh on, AS 64512, port 179.
 */

import { Ip } from "../../lib/ip.ts";
import type { LabelMap, Resource } from "../resource.ts";
import { type BfdWish, parseBfd } from "./bfd.ts";
import { splitPeerIP } from "./bgp_peer.ts";

/** A reference to a Kubernetes Secret; kept, but nothing here can resolve it. */
export interface BGPPassword {
  readonly secretKeyRef?: { readonly name?: string; readonly key?: string; readonly optional?: boolean };
}

/** A community value by name. */
export interface Community {
  readonly name: string;
  /** "aa:nn" (16 bit each) or "aa:nn:mm" (32 bit each). */
  readonly value: string;
}

/** Communities (names or values) for the routes inside a prefix. */
export interface PrefixAdvertisement {
  readonly cidr: string;
  readonly communities: readonly string[];
}

/** What a BGPConfiguration says. */
export interface BGPConfigurationSpec {
  readonly logSeverityScreen?: string;
  readonly nodeToNodeMeshEnabled?: boolean;
  readonly asNumber?: number;
  readonly listenPort?: number;
  readonly bindMode?: "None" | "NodeIP";
  readonly communities?: readonly Community[];
  readonly prefixAdvertisements?: readonly PrefixAdvertisement[];
  readonly nodeMeshPassword?: BGPPassword;
  /** Go duration text ("2m0s"). */
  readonly nodeMeshMaxRestartTime?: string;
  readonly ignoredInterfaces?: readonly string[];
  readonly localWorkloadPeeringIPV4?: string;
  readonly localWorkloadPeeringIPV6?: string;
  readonly programClusterRoutes?: string;
  readonly ipv4NormalRoutePriority?: number;
  readonly ipv4ElevatedRoutePriority?: number;
  readonly ipv6NormalRoutePriority?: number;
  readonly ipv6ElevatedRoutePriority?: number;
  readonly serviceClusterIPs?: readonly { readonly cidr?: string }[];
  readonly serviceExternalIPs?: readonly { readonly cidr?: string }[];
  readonly serviceLoadBalancerIPs?: readonly { readonly cidr?: string }[];
  readonly serviceLoadBalancerAggregation?: "Enabled" | "Disabled";
}

/** The BGP configuration of the fleet or of a node. */
export type BGPConfiguration = Resource<"BGPConfiguration", BGPConfigurationSpec>;

/** What BGP runs with where the default BGPConfiguration says nothing. */
export const BGP_DEFAULTS = { asNumber: 64512, listenPort: 179, nodeToNodeMeshEnabled: true } as const;

/** What the `tortie/` annotations of a BGPPeer (or of the default BGPConfiguration, for the mesh) say. */
export interface PeerAnnotations {
  readonly passwordFile?: string;
  /** Seconds: 0 or 3 and more. */
  readonly holdTime?: number;
  readonly bfd?: boolean;
  /** The times of `tortie/bfd`, where it gives some. */
  readonly bfdTimes?: Required<Pick<BfdWish, "interval" | "multiplier">> & Pick<BfdWish, "hops">;
  /** Prefixes accepted from the peer before the session is closed. */
  readonly maxPrefixes?: number;
  readonly passive?: boolean;
  /** The interface of an unnumbered peer. */
  readonly interface?: string;
  /** RFC 9234 role of this side. */
  readonly role?: BgpRole;
  /** No session with a peer that announces no role. */
  readonly isRoleStrict?: boolean;
  /** Percent of `maxPrefixes` at which a warning is logged. */
  readonly maxPrefixesWarning?: number;
  /** Seconds until a session that was ended for `maxPrefixes` starts again; 0: not by itself. */
  readonly maxPrefixesRestart?: number;
  /** Seconds in Idle after a first failure. */
  readonly idleHold?: number;
  /** The session is shut down; the words are told to the peer (RFC 9003). */
  readonly shutdown?: string;
  /** Seconds for which routes outlive the restart time (RFC 9494). */
  readonly longLivedRestart?: number;
  /** Whoever calls from these prefixes is a peer. */
  readonly dynamicNeighbours?: readonly string[];
  /** Families of the session, where it is not the one of its addresses. */
  readonly families?: readonly (4 | 6)[];
  /** ADD-PATH that is offered (RFC 7911). */
  readonly addPaths?: AddPathsWish;
}

/** The roles of RFC 9234 section 3.1 as this side plays them. */
export const BGP_ROLES = ["provider", "rs", "rs-client", "customer", "peer"] as const;
/** What this side is to the peer; the peer has to be the counterpart. */
export type BgpRole = typeof BGP_ROLES[number];

/** Which directions may carry several paths of a prefix. */
export const ADD_PATHS = ["off", "receive", "send", "both"] as const;
/** The wish as it is configured; the peer must offer the other side of it. */
export type AddPathsWish = typeof ADD_PATHS[number];

/** The annotations with a meaning on BGPPeer and BGPConfiguration. */
export const PEER_ANNOTATIONS = [
  "tortie/password-file",
  "tortie/hold-time",
  "tortie/bfd",
  "tortie/max-prefixes",
  "tortie/passive",
  "tortie/interface",
  "tortie/role",
  "tortie/add-paths",
  "tortie/long-lived-restart",
  "tortie/dynamic-neighbours",
  "tortie/families",
  "tortie/role-strict",
  "tortie/max-prefixes-warning",
  "tortie/max-prefixes-restart",
  "tortie/idle-hold",
  "tortie/shutdown",
] as const;

/** The annotations of the default BGPConfiguration that are about the fleet's speakers and not about sessions. */
export const SPEAKER_ANNOTATIONS = ["tortie/bmp"] as const;

/** What the annotations about the speaker say. */
export interface SpeakerAnnotations {
  /** The monitoring station that each speaker connects to (RFC 7854). */
  readonly bmp?: { readonly address: string; readonly port: number; readonly adjRibOut?: true };
}

/** Reads "192.0.2.9:11019", with "adj-rib-out" behind it where the station is to hear what peers are told. */
export function parseStation(text: string): SpeakerAnnotations["bmp"] {
  const [place = "", out, ...rest] = text.split(" ");
  const { address, port } = splitPeerIP(place) ?? {};
  if (address === undefined || port === undefined || !Ip.tryParse(address)) return undefined;
  if (rest.length > 0 || out !== undefined && out !== "adj-rib-out") return undefined;
  return { address, port, ...(out ? { adjRibOut: true } : {}) };
}

/** Reads the annotations about the speaker; values that a validated resource cannot have are left out. */
export function speakerAnnotations(annotations: LabelMap | undefined): SpeakerAnnotations {
  const station = parseStation(annotations?.["tortie/bmp"] ?? "");
  return station ? { bmp: station } : {};
}

/** Reads the `tortie/` annotations; values that a validated resource cannot have are left out. */
export function peerAnnotations(annotations: LabelMap | undefined): PeerAnnotations {
  const text = (key: typeof PEER_ANNOTATIONS[number]) => annotations?.[key] || undefined;
  const number = (value: string | undefined) => value && /^[0-9]+$/.test(value) ? Number(value) : undefined;
  const flag = (value: string | undefined) => value === "true" ? true : value === "false" ? false : undefined;
  const list = (value: string | undefined) => value?.split(",").map((part) => part.trim());
  const { isWanted: bfd, interval, multiplier, hops } = parseBfd(text("tortie/bfd") ?? "") ?? {};
  const all = {
    passwordFile: text("tortie/password-file"),
    holdTime: number(text("tortie/hold-time")),
    bfd,
    bfdTimes: interval && multiplier ? { interval, multiplier, ...(hops ? { hops } : {}) } : undefined,
    maxPrefixes: number(text("tortie/max-prefixes")),
    passive: flag(text("tortie/passive")),
    interface: text("tortie/interface"),
    role: BGP_ROLES.find((role) => role === text("tortie/role")),
    longLivedRestart: number(text("tortie/long-lived-restart")),
    dynamicNeighbours: list(text("tortie/dynamic-neighbours")),
    families: list(text("tortie/families"))?.flatMap((name) =>
      name === "ipv4" ? [4 as const] : name === "ipv6" ? [6 as const] : []
    ),
    isRoleStrict: flag(text("tortie/role-strict")),
    maxPrefixesWarning: number(text("tortie/max-prefixes-warning")),
    maxPrefixesRestart: number(text("tortie/max-prefixes-restart")),
    idleHold: number(text("tortie/idle-hold")),
    shutdown: annotations?.["tortie/shutdown"],
    addPaths: ADD_PATHS.find((wish) => wish === text("tortie/add-paths")),
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}
