/** Random values of what rtnetlink carries, within what the kernel can hold. */

import fc from "fast-check";
import { Cidr } from "../../../src/lib/cidr.ts";
import { Ip } from "../../../src/lib/ip.ts";
import type { AddressMessage } from "../../../src/netlink/address.ts";
import type { NeighbourMessage } from "../../../src/netlink/neighbour.ts";
import type { NexthopMessage, RouteMessage } from "../../../src/netlink/route.ts";
import type { RuleMessage } from "../../../src/netlink/rule.ts";

const u8 = fc.integer({ min: 0, max: 255 });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const ifindex = fc.integer({ min: 1, max: 0x7fffffff });
const family = fc.constantFrom(4 as const, 6 as const);
export const name = fc.stringMatching(/^[a-z0-9.-]{1,15}$/);
export const mac = fc.uint8Array({ minLength: 6, maxLength: 6 })
  .map((bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":"));

/** An address of the family. */
export function ipOf(of: 4 | 6): fc.Arbitrary<Ip> {
  const size = of === 4 ? 4 : 16;
  return fc.uint8Array({ minLength: size, maxLength: size }).map((bytes) => Ip.fromBytes(bytes));
}

/** A prefix of the family. */
export function cidrOf(of: 4 | 6): fc.Arbitrary<Cidr> {
  return fc.tuple(ipOf(of), fc.integer({ min: 0, max: of === 4 ? 32 : 128 })).map(([ip, length]) =>
    Cidr.of(ip, length)
  );
}

function nexthopOf(of: 4 | 6): fc.Arbitrary<NexthopMessage> {
  // An IPv4 route may lead through an IPv6 gateway (RTA_VIA), never the other way round.
  const gateway = of === 4 ? fc.oneof(ipOf(4), ipOf(6)) : ipOf(6);
  return fc.record(
    { gateway, ifindex, isOnlink: fc.constant(true), weight: fc.integer({ min: 2, max: 256 }) },
    { requiredKeys: ["ifindex"] },
  );
}

export const addresses: fc.Arbitrary<AddressMessage> = family.chain((of) =>
  fc.record({
    index: ifindex,
    net: fc.record({ ip: ipOf(of), length: fc.integer({ min: 0, max: of === 4 ? 32 : 128 }) }),
    scope: u8,
  })
);

export const routes: fc.Arbitrary<RouteMessage> = family.chain((of) => {
  const common = { destination: cidrOf(of), table: u32, protocol: u8, scope: u8, metric: u32 };
  const single = nexthopOf(of).map(({ weight: _weight, ...hop }) => [hop]);
  const several = fc.array(nexthopOf(of), { minLength: 2, maxLength: 8 });
  const leading = fc.record(
    {
      ...common,
      type: fc.constantFrom("unicast" as const, "local" as const),
      nexthops: fc.oneof(single, several),
      source: ipOf(of),
    },
    { requiredKeys: ["destination", "table", "protocol", "scope", "metric", "type", "nexthops"] },
  );
  const sink = fc.record({
    ...common,
    type: fc.constantFrom("blackhole" as const, "unreachable" as const, "prohibit" as const, "throw" as const),
    nexthops: fc.constant([]),
  });
  return fc.oneof(leading, sink);
});

export const neighbours: fc.Arbitrary<NeighbourMessage> = family.chain((of) =>
  fc.record(
    { index: ifindex, ip: ipOf(of), mac, state: fc.integer({ min: 0, max: 0xffff }), flags: u8 },
    { requiredKeys: ["index", "ip", "state", "flags"] },
  )
);

export const rules: fc.Arbitrary<RuleMessage> = family.chain((of) =>
  fc.record(
    {
      family: fc.constant(of),
      priority: u32,
      action: fc.constant("lookup" as const),
      table: fc.integer({ min: 1, max: 0xffffffff }),
      isInverted: fc.constant(true),
      from: cidrOf(of),
      to: cidrOf(of),
      mark: fc.record({ value: u32, mask: u32 }),
      incoming: name,
      outgoing: name,
      protocol: u8,
    },
    { requiredKeys: ["family", "priority", "action", "table", "protocol"] },
  )
);
