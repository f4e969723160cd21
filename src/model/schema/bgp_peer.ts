/** Schema of a BGPPeer, and what must hold between its members. */

import { z } from "zod";
import { Ip } from "../../lib/ip.ts";
import { splitPeerIP } from "../resources/bgp_peer.ts";
import {
  asNumber,
  checkIp,
  type Complaint,
  integer,
  name,
  optionalDuration,
  optionalEnum,
  optionalName,
  optionalSelector,
  optionalText,
  strict,
} from "./fields.ts";
import { problem } from "./issue.ts";

/** A reference to a Kubernetes Secret, kept for tools that can resolve it. */
export const bgpPassword = strict({
  secretKeyRef: strict({ name: z.string().optional(), key: z.string().optional(), optional: z.boolean().optional() })
    .optional(),
});

export const bgpPeerSpec = strict({
  node: optionalName,
  nodeSelector: optionalSelector,
  peerIP: optionalText(checkPeerIP),
  asNumber: asNumber.transform((value) => value || undefined).optional(),
  localASNumber: asNumber.transform((value) => value || undefined).optional(),
  peerSelector: optionalSelector,
  localWorkloadSelector: optionalSelector,
  keepOriginalNextHop: z.boolean().optional(),
  nextHopMode: optionalEnum(["Auto", "Self", "Keep"]),
  password: bgpPassword.optional(),
  sourceAddress: optionalEnum(["UseNodeIP", "None"]),
  maxRestartTime: optionalDuration,
  keepaliveTime: optionalDuration,
  numAllowedLocalASNumbers: integer(-2147483648, 2147483647).optional(),
  ttlSecurity: integer(0, 255).optional(),
  reachableBy: optionalText(checkIp),
  filters: z.array(name).optional(),
  reversePeering: optionalEnum(["Auto", "Manual"]),
}).check((context) => {
  const peer = context.value;
  const clash = (member: keyof typeof peer, other: keyof typeof peer, hint: string) => {
    if (peer[member] && peer[other]) {
      problem(context, `cannot be set together with ${other}`, { path: [member], hint });
    }
  };
  clash("nodeSelector", "node", "name one node or select several");
  clash("peerSelector", "peerIP", "peer with an address or with selected nodes");
  clash("asNumber", "peerSelector", "the selected nodes know their AS numbers");
  clash("peerIP", "localWorkloadSelector", "the selected workloads have their own addresses");
  clash("peerSelector", "localWorkloadSelector", "peer with nodes or with workloads");
  clash("keepOriginalNextHop", "nextHopMode", "use nextHopMode: Keep");
  if (peer.localWorkloadSelector && !peer.asNumber) {
    problem(context, "is missing", { path: ["asNumber"], hint: "peering with workloads needs their AS number" });
  }
  if (!peer.reachableBy) return;
  const gateway = Ip.tryParse(peer.reachableBy);
  const address = Ip.tryParse(splitPeerIP(peer.peerIP ?? "")?.address ?? "");
  if (!peer.peerIP) {
    problem(context, "is the way to a peerIP, which is not set", { path: ["reachableBy"], hint: "set peerIP" });
  } else if (gateway && address && gateway.family !== address.family) {
    problem(context, `is IPv${gateway.family}, but peerIP is IPv${address.family}`, { path: ["reachableBy"] });
  }
});

function checkPeerIP(value: string): Complaint {
  const hint = "write 192.0.2.1, 192.0.2.1:1790, 2001:db8::1 or [2001:db8::1]:1790";
  const split = splitPeerIP(value);
  if (split && checkIp(split.address) === undefined) return undefined;
  return [`${JSON.stringify(value)} is not an address with an optional port`, { hint }];
}
