/** Schema of a WorkloadEndpoint, and what must hold between its members. */

import { z } from "zod";
import { Cidr } from "../../lib/cidr.ts";
import { Ip } from "../../lib/ip.ts";
import { parseDscp } from "../num_or_string.ts";
import { workloadPort } from "./endpoint_port.ts";
import {
  checkCidr,
  checkInterface,
  checkIp,
  type Complaint,
  name,
  optionalIp4,
  optionalIp6,
  optionalMac,
  optionalName,
  optionalText,
  strict,
  text,
} from "./fields.ts";
import { problem } from "./issue.ts";

const rate = z.int().optional();

const qosControls = strict({
  ingressBandwidth: rate,
  egressBandwidth: rate,
  ingressBurst: rate,
  egressBurst: rate,
  ingressPeakrate: rate,
  egressPeakrate: rate,
  ingressMinburst: rate,
  egressMinburst: rate,
  ingressPacketRate: rate,
  egressPacketRate: rate,
  ingressPacketBurst: rate,
  egressPacketBurst: rate,
  ingressMaxConnections: rate,
  egressMaxConnections: rate,
  dscp: z.union([z.number(), z.string()]).check((context) => {
    if (parseDscp(context.value) === undefined) {
      problem(context, `${JSON.stringify(context.value)} is not a DSCP value`, {
        hint: "0 to 63, or a name such as EF",
      });
    }
  }).optional(),
});

export const workloadEndpointSpec = strict({
  orchestrator: name,
  node: name,
  workload: optionalName,
  containerID: optionalText((value) =>
    /^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$/.test(value)
      ? undefined
      : [`${JSON.stringify(value)} is not a container id`, { hint: "letters, digits and dashes, none at the ends" }]
  ),
  pod: optionalName,
  endpoint: optionalName,
  serviceAccountName: optionalName,
  ipNetworks: z.array(text(checkHostNetwork)).optional(),
  ipNATs: z.array(strict({ internalIP: text(checkIp), externalIP: text(checkIp) })).optional(),
  ipv4Gateway: optionalIp4,
  ipv6Gateway: optionalIp6,
  profiles: z.array(name).optional(),
  interfaceName: text((value) => checkInterface(value)),
  mac: optionalMac,
  ports: z.array(workloadPort).optional(),
  allowSpoofedSourcePrefixes: z.array(
    text((value) => checkCidr(value, { mayBeAddress: true, mayHaveHostBits: true })),
  ).optional(),
  qosControls: qosControls.optional(),
}).check((context) => {
  const networks = context.value.ipNetworks?.map((network) => Cidr.tryParse(network) ?? Cidr.host(Ip.parse(network)));
  context.value.ipNATs?.forEach((nat, i) => {
    const [internal, external] = [Ip.parse(nat.internalIP), Ip.parse(nat.externalIP)];
    if (internal.family !== external.family) {
      problem(context, `is IPv${external.family}, but internalIP is IPv${internal.family}`, {
        path: ["ipNATs", i, "externalIP"],
      });
    }
    if (networks?.some((network) => network.contains(internal))) return;
    problem(context, `${internal} is not an address of the endpoint`, {
      path: ["ipNATs", i, "internalIP"],
      hint: "add it to ipNetworks",
    });
  });
});

function checkHostNetwork(value: string): Complaint {
  const complaint = checkCidr(value, { mayBeAddress: true });
  const cidr = Cidr.tryParse(value);
  if (complaint || !cidr || cidr.length === cidr.ip.bits) return complaint;
  return [`${value} holds more than one address`, { hint: `write /${cidr.ip.bits}` }];
}
