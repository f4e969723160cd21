/**
 * Ends the connections that a new policy forbids: established ones pass without being judged again, so those of the affected
 * workloads are judged here, as their first packet would be now, and forgotten by the kernel where it would be dropped.
 *
 *     connection: original source -> [egress of its workload] -> translated destination -> [ingress of that workload]
 *
 * What the host itself opened to its workloads is never judged. Connections of other endpoints are not looked at.
 */

import type { Conntrack } from "../../dataplane/firewall_conntrack.ts";
import type { Ip } from "../../lib/ip.ts";
import type { Connection } from "../../netlink/conntrack.ts";
import type { LocalEndpoint, PolicyEngine } from "../../policy/engine.ts";
import type { Packet } from "../../policy/explain/match.ts";
import { parseNet } from "../../policy/compile/rule.ts";

/** Ends what is forbidden for the workloads now; returns how many connections it ended and those it could not. */
export async function endForbidden(
  { conntrack, engine, workloads, hostAddresses }: {
    readonly conntrack: Conntrack;
    readonly engine: PolicyEngine;
    readonly workloads: Iterable<LocalEndpoint>;
    readonly hostAddresses: ReadonlySet<string>;
  },
): Promise<{ readonly ended: number; readonly errors: readonly Error[] }> {
  const owners = new Map<string, LocalEndpoint>();
  const addresses: Ip[] = [];
  for (const local of workloads) {
    for (const ip of addressesOf(local)) {
      owners.set(ip.toString(), local);
      addresses.push(ip);
    }
  }
  if (addresses.length === 0) return { ended: 0, errors: [] };
  const forbidden: Connection[] = [];
  await conntrack.visit({ addresses }, (connection) => {
    if (isForbidden(connection, { engine, owners, hostAddresses })) forbidden.push(connection);
  });
  if (forbidden.length === 0) return { ended: 0, errors: [] };
  const errors = (await conntrack.delete(forbidden)).filter((error) => error !== undefined);
  return { ended: forbidden.length - errors.length, errors };
}

function addressesOf({ resource }: LocalEndpoint): Ip[] {
  if (resource.kind !== "WorkloadEndpoint") return [];
  return (resource.spec.ipNetworks ?? []).flatMap((text) => parseNet(text)?.ip ?? []);
}

function isForbidden(
  connection: Connection,
  { engine, owners, hostAddresses }: {
    readonly engine: PolicyEngine;
    readonly owners: ReadonlyMap<string, LocalEndpoint>;
    readonly hostAddresses: ReadonlySet<string>;
  },
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
