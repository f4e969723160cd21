/**
 * Ends the connections that a new policy forbids: established ones pass without being judged again, so those of the affected
 * workloads are judged here, as their first packet would be now. Where it would be dropped, the connection is forgotten by
 * the kernel and its packets are dropped by a rule.
 *
 *     connection: original source -> [egress of its workload] -> translated destination -> [ingress of that workload]
 *
 * What the host itself opened to its workloads is never judged. Connections of other endpoints are not looked at.
 */

import type { Conntrack } from "../../dataplane/firewall_conntrack.ts";
import { type Family, Ip } from "../../lib/ip.ts";
import type { Connection } from "../../netlink/conntrack.ts";
import { formatNumber } from "../../netlink/nft/values.ts";
import type { LocalEndpoint, PolicyEngine } from "../../policy/engine.ts";
import type { Packet } from "../../policy/explain/match.ts";
import { parseNet } from "../../policy/compile/rule.ts";

/** What judging connections needs. */
export interface Judging {
  readonly engine: PolicyEngine;
  /** The host's own addresses. */
  readonly hostAddresses: ReadonlySet<string>;
}

/** Finds the connections of the workloads that are forbidden now. Throws `NetlinkError`. */
export async function findForbidden(
  { conntrack, workloads, ...judging }: Judging & {
    readonly conntrack: Conntrack;
    readonly workloads: Iterable<LocalEndpoint>;
  },
): Promise<Connection[]> {
  const owners = ownersOf(workloads);
  const forbidden: Connection[] = [];
  if (owners.size === 0) return forbidden;
  const addresses = [...owners.keys()].map((text) => Ip.parse(text));
  await conntrack.visit({ addresses }, (connection) => {
    if (isForbidden(connection, { ...judging, owners })) forbidden.push(connection);
  });
  return forbidden;
}

/** Those of the connections that are forbidden still. */
export function stillForbidden(connections: readonly Connection[], judging: Judging): Connection[] {
  const owners = ownersOf(judging.engine.workloads());
  return connections.filter((connection) => isForbidden(connection, { ...judging, owners }));
}

/**
 * The members of the sets of ended connections. Deleting a connection is not enough: the next packet of the side that may
 * open one itself would make it anew, turned round, and the other side's would pass as its answers.
 */
export function endedMembers(connections: readonly Connection[]): Map<Family, Set<string>> {
  const members = new Map<Family, Set<string>>();
  for (const { family, original, reply } of connections) {
    // Answers of ICMP make no connection, and it has no ports.
    if (original.icmp) continue;
    const of = members.get(family) ?? new Set<string>();
    members.set(family, of);
    for (const { source, destination, protocol, sourcePort, destinationPort } of [original, reply]) {
      of.add(
        `${source} . ${destination} . ${formatNumber("inet_proto", protocol)} . ${sourcePort} . ${destinationPort}`,
      );
    }
  }
  return members;
}

function ownersOf(workloads: Iterable<LocalEndpoint>): Map<string, LocalEndpoint> {
  const owners = new Map<string, LocalEndpoint>();
  for (const local of workloads) for (const ip of addressesOf(local)) owners.set(ip.toString(), local);
  return owners;
}

function addressesOf({ resource }: LocalEndpoint): Ip[] {
  if (resource.kind !== "WorkloadEndpoint") return [];
  return (resource.spec.ipNetworks ?? []).flatMap((text) => parseNet(text)?.ip ?? []);
}

function isForbidden(
  connection: Connection,
  { engine, owners, hostAddresses }: Judging & { readonly owners: ReadonlyMap<string, LocalEndpoint> },
): boolean {
  const packet = firstPacket(connection);
  const source = packet.source.toString(), destination = packet.destination.toString();
  const sender = owners.get(source), receiver = owners.get(destination);
  if (sender && engine.judge(sender, "egress", packet).verdict === "deny") return true;
  if (sender && hostAddresses.has(destination)) return engine.settings.endpointToHost === "drop";
  return receiver !== undefined && !hostAddresses.has(source) &&
    engine.judge(receiver, "ingress", packet).verdict === "deny";
}

/** The packet that opened the connection, as the rules between translation of its destination and of its source saw it. */
function firstPacket({ family, original, reply }: Connection): Packet {
  const { source, protocol, icmp } = original;
  return {
    family,
    protocol,
    source,
    destination: reply.source,
    ...icmp
      ? { icmpType: icmp.type, icmpCode: icmp.code }
      : { sourcePort: original.sourcePort, destinationPort: reply.sourcePort },
  };
}
