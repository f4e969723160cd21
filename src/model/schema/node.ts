/** Schema of a Node. */

import { z } from "zod";
import {
  asNumber,
  checkCidr,
  checkInterface,
  optionalIp4,
  optionalIp6,
  optionalMac,
  optionalText,
  strict,
  text,
} from "./fields.ts";
import { problem } from "./issue.ts";

const wireguardKey = optionalText((value) =>
  /^[A-Za-z0-9+/]{43}=$/.test(value) ? undefined : [`${JSON.stringify(value)} is not a WireGuard key`, {
    hint: "32 bytes in base64",
  }]
);

export const nodeSpec = strict({
  bgp: strict({
    asNumber: asNumber.optional(),
    ipv4Address: optionalText((value) => checkCidr(value, { family: 4, mayBeAddress: true, mayHaveHostBits: true })),
    ipv6Address: optionalText((value) => checkCidr(value, { family: 6, mayBeAddress: true, mayHaveHostBits: true })),
    ipv4IPIPTunnelAddr: optionalIp4,
    routeReflectorClusterID: optionalIp4,
  }).check((context) => {
    if (Object.values(context.value).every((value) => value === undefined)) {
      problem(context, "is empty", { hint: "give an address, such as ipv4Address: 192.0.2.11/24, or leave bgp out" });
    }
  }).optional(),
  ipv4VXLANTunnelAddr: optionalIp4,
  ipv6VXLANTunnelAddr: optionalIp6,
  vxlanTunnelMACAddr: optionalMac,
  vxlanTunnelMACAddrV6: optionalMac,
  orchRefs: z.array(strict({ nodeName: optionalText(), orchestrator: z.string() })).optional(),
  wireguard: strict({ interfaceIPv4Address: optionalIp4, interfaceIPv6Address: optionalIp6 }).optional(),
  addresses: z.array(strict({
    address: text((value) => checkCidr(value, { mayBeAddress: true, mayHaveHostBits: true })),
    type: z.enum(["CalicoNodeIP", "InternalIP", "ExternalIP"]).optional(),
  })).optional(),
  interfaces: z.array(strict({
    name: optionalText((value) => checkInterface(value)),
    addresses: z.array(z.string()).optional(),
  })).optional(),
});

export const nodeStatus = strict({
  wireguardPublicKey: wireguardKey,
  wireguardPublicKeyV6: wireguardKey,
  podCIDRs: z.array(z.string()).optional(),
});
