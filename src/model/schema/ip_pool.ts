/** Schema of an IPPool, and what must hold between its members. */

import { z } from "zod";
import { Cidr } from "../../lib/cidr.ts";
import { checkCidr, integer, optionalEnum, optionalSelector, strict, text } from "./fields.ts";
import { problem } from "./issue.ts";

const ENCAP_MODES = ["Never", "Always", "CrossSubnet"] as const;
const LINK_LOCAL = [Cidr.parse("169.254.0.0/16"), Cidr.parse("fe80::/10")];

export const ipPoolSpec = strict({
  cidr: text((value) => checkCidr(value) ?? checkLinkLocal(value)),
  blockSize: integer(0, 128).optional(),
  ipipMode: optionalEnum(ENCAP_MODES),
  vxlanMode: optionalEnum(ENCAP_MODES),
  natOutgoing: z.boolean().optional(),
  disabled: z.boolean().optional(),
  disableBGPExport: z.boolean().optional(),
  nodeSelector: optionalSelector,
  namespaceSelector: optionalSelector,
  allowedUses: z.array(z.enum(["Workload", "Tunnel", "LoadBalancer"])).max(10).optional(),
  assignmentMode: optionalEnum(["Automatic", "Manual"]),
}).check((context) => {
  const pool = context.value;
  const report = (member: keyof typeof pool, message: string, hint: string) =>
    problem(context, message, { path: [member], hint });
  const usesIpip = (pool.ipipMode ?? "Never") !== "Never";
  const usesVxlan = (pool.vxlanMode ?? "Never") !== "Never";
  if (usesIpip && usesVxlan) report("vxlanMode", "a pool cannot use IPIP and VXLAN both", "set one of them to Never");
  const cidr = Cidr.parse(pool.cidr);
  if (usesIpip && cidr.family === 6) {
    report("ipipMode", "IPIP carries IPv4 only, and this is an IPv6 pool", "use vxlanMode, or Never");
  }
  const [low, high, fallback] = cidr.family === 4 ? [20, 32, 26] : [116, 128, 122];
  const blockSize = pool.blockSize || fallback;
  if (blockSize < low || blockSize > high) {
    report("blockSize", `${blockSize} is out of range for IPv${cidr.family}`, `${low} to ${high}`);
  } else if (cidr.length > blockSize && !pool.disabled) {
    const message = `the pool ${cidr} is smaller than one block (/${blockSize})`;
    report("cidr", message, `set blockSize: ${cidr.length}, or make the pool larger`);
  }
  const uses = new Set(pool.allowedUses);
  if (uses.has("Tunnel") && pool.namespaceSelector) {
    report("namespaceSelector", "a pool for tunnels cannot select namespaces", "remove Tunnel from allowedUses");
  }
  if (!uses.has("LoadBalancer")) return;
  if (uses.size > 1) report("allowedUses", "LoadBalancer cannot be combined with other uses", "make two pools");
  if (usesIpip || usesVxlan) {
    report(usesIpip ? "ipipMode" : "vxlanMode", "a pool for load balancers has no tunnel", "set it to Never");
  }
  if (pool.disableBGPExport) report("disableBGPExport", "a pool for load balancers must be exported", "remove it");
  if ((pool.nodeSelector ?? "all()") !== "all()") {
    report("nodeSelector", "a pool for load balancers is for all nodes", "write all()");
  }
});

function checkLinkLocal(value: string): string | undefined {
  const cidr = Cidr.parse(value);
  const range = LINK_LOCAL.find((range) => range.overlaps(cidr));
  return range && `overlaps with the link-local addresses ${range}`;
}
