/** Values and generators for the codec's tests. */

import fc from "fast-check";
import type { AsSegment, PathAttributes } from "../../../../src/bgp/wire/attributes.ts";
import { type Capabilities, NO_CAPABILITIES } from "../../../../src/bgp/wire/capability.ts";
import type { WireOptions } from "../../../../src/bgp/wire/options.ts";
import { PLAIN_INTERNAL } from "../../../../src/bgp/wire/options.ts";

export const INTERNAL: WireOptions = PLAIN_INTERNAL;
export const EXTERNAL: WireOptions = { ...PLAIN_INTERNAL, isInternal: false, peerAs: 65001 };

/** Octets from hex, spaces and line ends ignored; words behind "#" are labels. */
export function hex(text: string): Uint8Array<ArrayBuffer> {
  const digits = text.replace(/#[^\n]*/g, "").replace(/\s+/g, "");
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

export const u32 = fc.integer({ min: 0, max: 0xffffffff });
const as = fc.integer({ min: 1, max: 0xffffffff });
const octets = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const segment = (types: readonly (1 | 2 | 3 | 4)[]): fc.Arbitrary<AsSegment> =>
  fc.record({ type: fc.constantFrom(...types), asns: fc.array(as, { minLength: 1, maxLength: 8 }) });

/** Sets of attributes that an iBGP peer may send, with an IPv4 next hop. */
export const anyAttributes: fc.Arbitrary<PathAttributes> = fc.record({
  origin: fc.constantFrom(0 as const, 1 as const, 2 as const),
  asPath: fc.array(segment([1, 2]), { maxLength: 4 }),
  nextHop: fc.tuple(fc.integer({ min: 1, max: 126 }), fc.nat(255), fc.nat(255), fc.nat(255)).map((x) =>
    Uint8Array.from(x)
  ),
  med: fc.option(u32, { nil: undefined }),
  localPref: u32,
  atomicAggregate: fc.boolean(),
  aggregator: fc.option(fc.record({ as, id: u32 }), { nil: undefined }),
  communities: fc.array(u32, { maxLength: 80 }),
  extendedCommunities: fc.array(fc.bigInt({ min: 0n, max: 0xffffffffffffffffn }), { maxLength: 4 }),
  largeCommunities: fc.uniqueArray(fc.tuple(u32, u32, u32), { maxLength: 4, selector: (x) => x.join(":") }),
  originatorId: fc.option(u32, { nil: undefined }),
  clusterList: fc.array(u32, { maxLength: 4 }),
  otc: fc.option(u32, { nil: undefined }),
  unknown: fc.uniqueArray(
    fc.record({
      flags: fc.constant(0xe0),
      type: fc.integer({ min: 100, max: 255 }),
      value: fc.uint8Array({ maxLength: 300 }),
    }),
    { maxLength: 3, selector: (x) => x.type },
  ).map((list) => list.sort((a, b) => a.type - b.type)),
});

const mask = fc.nat(3);
export const anyCapabilities: fc.Arbitrary<Capabilities> = fc.record({
  families: fc.constantFrom(1, 2, 3),
  routeRefresh: fc.boolean(),
  enhancedRouteRefresh: fc.boolean(),
  extendedMessage: fc.boolean(),
  extendedNextHop: fc.boolean(),
  as4: fc.option(as, { nil: undefined }),
  role: fc.option(fc.nat(4), { nil: undefined }),
  addPathSend: mask,
  addPathReceive: mask,
  gracefulRestart: fc.option(
    fc.record({
      isRestarting: fc.boolean(),
      isNotification: fc.boolean(),
      time: fc.nat(4095),
      families: fc.constant(3),
      forwarding: mask,
    }),
    { nil: undefined },
  ),
  longLived: fc.uniqueArray(
    fc.record({ family: fc.constantFrom(1, 2), isForwarding: fc.boolean(), time: fc.nat(0xffffff) }),
    { maxLength: 2, selector: (x) => x.family },
  ),
  fqdn: fc.option(
    fc.record({ host: fc.stringMatching(/^[a-z0-9-]{0,40}$/), domain: fc.stringMatching(/^[a-z.]{0,40}$/) }),
    {
      nil: undefined,
    },
  ),
  unknown: fc.constant([]),
}).map((capabilities) => ({
  ...NO_CAPABILITIES,
  ...capabilities,
  ...(capabilities.longLived.length > 0 ? { knowsLongLived: true } : {}),
}));

export { octets };

/** The value with absent members left out and plain prototypes, so that equal meanings compare as equal. */
export function tidy(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(tidy);
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value;
  return Object.fromEntries(
    Object.entries(value).filter(([, member]) => member !== undefined).map(([name, member]) => [name, tidy(member)]),
  );
}
