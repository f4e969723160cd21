/** Schema of a BGPConfiguration, and what must hold between its members and its name. */

import { z } from "zod";
import { bgpPassword } from "./bgp_peer.ts";
import {
  asNumber,
  checkCidr,
  checkCommunity,
  checkInterface,
  integer,
  name,
  optionalDuration,
  optionalEnum,
  optionalIp4,
  optionalIp6,
  optionalText,
  strict,
  text,
} from "./fields.ts";
import { problem } from "./issue.ts";

const LOG_LEVELS = ["Trace", "Debug", "Info", "Warning", "Error", "Fatal"];
const optionalCidr = optionalText((value) => checkCidr(value));
const serviceBlocks = z.array(strict({ cidr: optionalCidr })).optional();
const routePriority = integer(1, 2147483646).optional();

/** A log level in any case. */
export const logLevel = optionalText((value) =>
  LOG_LEVELS.some((level) => level.toLowerCase() === value.toLowerCase())
    ? undefined
    : [`${JSON.stringify(value)} is not a log level`, { hint: `allowed: ${LOG_LEVELS.join(", ")}` }]
);

export const bgpConfigurationSpec = strict({
  logSeverityScreen: logLevel,
  nodeToNodeMeshEnabled: z.boolean().optional(),
  asNumber: asNumber.optional(),
  listenPort: integer(0, 65535).transform((value) => value || undefined).optional(),
  bindMode: optionalEnum(["None", "NodeIP"]),
  communities: z.array(strict({ name, value: text(checkCommunity) })).max(500).optional(),
  prefixAdvertisements: z.array(strict({
    cidr: text((value) => checkCidr(value)),
    communities: z.array(z.string()).min(1).max(50),
  })).max(500).optional(),
  nodeMeshPassword: bgpPassword.optional(),
  nodeMeshMaxRestartTime: optionalDuration,
  ignoredInterfaces: z.array(
    text((value) =>
      value === "*" ? ["* would ignore every interface", { hint: "name them, like eth*" }] : checkInterface(value, "*")
    ),
  ).optional(),
  localWorkloadPeeringIPV4: optionalIp4,
  localWorkloadPeeringIPV6: optionalIp6,
  programClusterRoutes: optionalEnum(["Enabled", "Disabled", "EnabledIPIPOnly", "EnabledNoEncapOnly"]),
  ipv4NormalRoutePriority: routePriority,
  ipv4ElevatedRoutePriority: routePriority,
  ipv6NormalRoutePriority: routePriority,
  ipv6ElevatedRoutePriority: routePriority,
  serviceClusterIPs: serviceBlocks,
  serviceExternalIPs: serviceBlocks,
  serviceLoadBalancerIPs: serviceBlocks,
  serviceLoadBalancerAggregation: optionalEnum(["Enabled", "Disabled"]),
}).check((context) => {
  const config = context.value;
  if (config.nodeToNodeMeshEnabled === false) {
    for (const member of ["nodeMeshPassword", "nodeMeshMaxRestartTime"] as const) {
      if (config[member] === undefined) continue;
      problem(context, "is for the mesh, which is off", { path: [member], hint: "set nodeToNodeMeshEnabled: true" });
    }
  }
  if (config.communities?.length && !config.prefixAdvertisements?.length) {
    problem(context, "no prefix uses them", { path: ["communities"], hint: "add prefixAdvertisements" });
  }
  const names = new Set(config.communities?.map((community) => community.name));
  config.prefixAdvertisements?.forEach(({ communities }, i) =>
    communities.forEach((value, j) => {
      const complaint = names.has(value) ? undefined : checkCommunity(value);
      if (!Array.isArray(complaint)) return;
      const hint = /^[0-9:]+$/.test(value) ? complaint[1].hint : `define ${value} in communities, or write "aa:nn"`;
      problem(context, complaint[0], { path: ["prefixAdvertisements", i, "communities", j], hint });
    })
  );
});

/** Members that only the BGPConfiguration `default` may have. */
export const DEFAULT_ONLY = [
  "nodeToNodeMeshEnabled",
  "asNumber",
  "serviceClusterIPs",
  "serviceExternalIPs",
  "serviceLoadBalancerIPs",
  "nodeMeshPassword",
  "nodeMeshMaxRestartTime",
] as const;
