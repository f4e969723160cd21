/** Random updates from several peers, read at random times: the router agrees with a reference that is written plainly. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { RouterCore } from "../../../../src/bgp/rib/router.ts";
import { asPathLength, EMPTY_ATTRIBUTES, type PathAttributes } from "../../../../src/bgp/wire/attributes.ts";
import { Ip } from "../../../../src/lib/ip.ts";
import { announcement, LOCAL_AS, peerConfig, PeerView, sessionOf, speakerConfig, withdrawal } from "./router_model.ts";

const CONFIGS = [
  peerConfig("client.1", "10.0.0.1", { rrClient: true }),
  peerConfig("client.2", "10.0.0.2", { rrClient: true }),
  peerConfig("plain.3", "10.0.0.3"),
  peerConfig("plain.4", "10.0.0.4"),
  peerConfig("tor.5", "10.0.0.5", { as: 65001 }),
  peerConfig("tor.6", "10.0.0.6", { as: 65002 }),
  peerConfig("old.7", "10.0.0.7", { as: 65003 }),
  peerConfig("many.8", "10.0.0.8", { rrClient: true }),
  peerConfig("many.9", "10.0.0.9", { as: 65004 }),
];
const SESSIONS = CONFIGS.map((config) =>
  sessionOf(config, {
    ...(config.name === "old.7" ? { isFourOctetAs: false } : {}),
    ...(config.name.startsWith("many") ? { addPathSend: 3 } : {}),
  })
);
const PREFIXES = [
  "192.0.2.0/24",
  "198.51.100.0/25",
  "203.0.113.7/32",
  "0.0.0.0/0",
  "2001:db8::/32",
  "2001:db8:1::/48",
  "fd01::1/128",
];

type Step =
  | { kind: "announce"; peer: number; prefixes: string[]; attributes: PathAttributes }
  | { kind: "withdraw"; peer: number; prefixes: string[] }
  | { kind: "read"; peer: number; max: number }
  | { kind: "settle" }
  | { kind: "bounce"; peer: number }
  | { kind: "refresh"; peer: number }
  | { kind: "configure"; isFiltered: boolean };

const peerIndex = fc.nat(CONFIGS.length - 1);
const prefixes = fc.constantFrom(4, 6).chain((family) =>
  fc.uniqueArray(fc.constantFrom(...PREFIXES.filter((text) => text.includes(":") === (family === 6))), {
    minLength: 1,
    maxLength: 3,
  })
);
const attributes = fc.record({
  origin: fc.constantFrom(0 as const, 1 as const, 2 as const),
  hops: fc.array(fc.constantFrom(65010, 65011, 4200000001, LOCAL_AS), { maxLength: 3 }),
  med: fc.option(fc.nat(2), { nil: undefined }),
  localPref: fc.constantFrom(100, 100, 100, 200),
  nextHop: fc.integer({ min: 1, max: 9 }),
  community: fc.option(fc.constantFrom(0xffffff01, 0xffffff02, 64512 * 65536 + 1), { nil: undefined }),
});
const announce = fc.record({ peer: peerIndex, prefixes, raw: attributes }).map(({ peer, prefixes, raw }): Step => {
  const isV6 = prefixes[0]!.includes(":");
  const config = CONFIGS[peer]!;
  const isInternal = config.as === LOCAL_AS;
  return {
    kind: "announce",
    peer,
    prefixes,
    attributes: {
      ...EMPTY_ATTRIBUTES,
      origin: raw.origin,
      asPath: isInternal
        ? (raw.hops.length ? [{ type: 2, asns: raw.hops }] : [])
        : [{ type: 2, asns: [config.as, ...raw.hops] }],
      med: raw.med,
      localPref: isInternal ? raw.localPref : undefined,
      nextHop: Ip.parse(isV6 ? `fd00::${raw.nextHop}` : `10.0.1.${raw.nextHop}`).bytes,
      communities: raw.community === undefined ? [] : [raw.community],
    },
  };
});
const step: fc.Arbitrary<Step> = fc.oneof(
  { arbitrary: announce, weight: 8 },
  { arbitrary: fc.record({ kind: fc.constant("withdraw" as const), peer: peerIndex, prefixes }), weight: 4 },
  {
    arbitrary: fc.record({ kind: fc.constant("read" as const), peer: peerIndex, max: fc.constantFrom(1, 60, 65536) }),
    weight: 5,
  },
  { arbitrary: fc.constant<Step>({ kind: "settle" }), weight: 2 },
  { arbitrary: fc.record({ kind: fc.constant("bounce" as const), peer: peerIndex }), weight: 1 },
  { arbitrary: fc.record({ kind: fc.constant("configure" as const), isFiltered: fc.boolean() }), weight: 1 },
  { arbitrary: fc.record({ kind: fc.constant("refresh" as const), peer: peerIndex }), weight: 1 },
);

/** A filter that some of the peers have at times. */
const FILTER = {
  name: "f",
  importV4: [{ action: "Reject", cidr: "203.0.113.7/32", matchOperator: "Equal" }],
  importV6: [],
  exportV4: [{ action: "Reject", cidr: "192.0.2.0/24", matchOperator: "Equal" }],
  exportV6: [{ action: "Accept", cidr: "fd01::/16", matchOperator: "NotIn" }, { action: "Reject" }],
} as const;
const FILTERED = ["plain.3", "tor.5", "client.2"];

function configOf(isFiltered: boolean) {
  const peers = CONFIGS.map((config) =>
    isFiltered && FILTERED.includes(config.name) ? { ...config, importFilters: ["f"], exportFilters: ["f"] } : config
  );
  return speakerConfig(peers, { filters: [FILTER] });
}

interface Path {
  peer: number;
  attributes: PathAttributes;
}

/** The paths that the import lets pass. */
function usable(prefix: string, paths: Path[], isFiltered: boolean): Path[] {
  return paths.filter(({ attributes, peer }) => {
    if (isFiltered && FILTERED.includes(CONFIGS[peer]!.name) && prefix === "203.0.113.7/32") return false;
    const own = attributes.asPath.flatMap(({ asns }) => asns).filter((as) => as === LOCAL_AS).length;
    return own <= CONFIGS[peer]!.allowLocalAs;
  });
}

/** The reference: for each prefix the best path, by the rules in the order of RFC 4271 and 4456. */
function bestOf(prefix: string, paths: Path[], isFiltered: boolean): Path | undefined {
  let left = usable(prefix, paths, isFiltered);
  const keep = (rank: (path: Path) => number) => {
    const lowest = Math.min(...left.map(rank));
    left = left.filter((path) => rank(path) === lowest);
  };
  keep(({ attributes }) => -(attributes.localPref ?? 100));
  keep(({ attributes }) => asPathLength(attributes.asPath));
  keep(({ attributes }) => attributes.origin);
  left = left.filter((path) => !left.some((other) => neighbour(other) === neighbour(path) && med(other) < med(path)));
  keep(({ peer }) => CONFIGS[peer]!.as === LOCAL_AS ? 1 : 0);
  keep(({ peer }) => peer);
  return left[0];
}
const neighbour = ({ attributes }: Path) => attributes.asPath[0]?.asns[0] ?? 0;
const med = ({ attributes }: Path) => attributes.med ?? 0;

/** What a peer should have been told of a best path. */
function exported(best: Path, to: number, isV6: boolean): Record<string, unknown> | undefined {
  const from = CONFIGS[best.peer]!, config = CONFIGS[to]!;
  if (best.peer === to) return undefined;
  const { attributes } = best;
  const isToInternal = config.as === LOCAL_AS, isFromInternal = from.as === LOCAL_AS;
  if (attributes.communities.includes(0xffffff02)) return undefined;
  if (!isToInternal && attributes.communities.includes(0xffffff01)) return undefined;
  if (isToInternal && isFromInternal && !from.rrClient && !config.rrClient) return undefined;
  const path = attributes.asPath.flatMap(({ asns }) => asns);
  return {
    origin: attributes.origin,
    path: isToInternal ? path : [LOCAL_AS, ...path],
    nextHop: isToInternal ? text(attributes.nextHop!) : isV6 ? "fd00::fe" : "10.0.0.254",
    localPref: isToInternal ? attributes.localPref ?? 100 : undefined,
    med: isToInternal ? attributes.med : undefined,
    communities: attributes.communities,
    originatorId: isToInternal && isFromInternal ? SESSIONS[best.peer]!.routerId : undefined,
    clusterList: isToInternal && isFromInternal ? [0x0a090909] : [],
  };
}
const sorted = (list: readonly unknown[]) => list.map((item) => JSON.stringify(item)).sort();
const text = (bytes: Uint8Array) => Ip.fromBytes(bytes).toString();

function seen(attributes: PathAttributes): Record<string, unknown> {
  return {
    origin: attributes.origin,
    path: attributes.asPath.flatMap(({ asns }) => asns),
    nextHop: text(attributes.nextHop!),
    localPref: attributes.localPref,
    med: attributes.med,
    communities: attributes.communities,
    originatorId: attributes.originatorId,
    clusterList: attributes.clusterList,
  };
}

Deno.test("any updates, read at any time, leave every peer with what the reference says", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100, size: "max" }), (steps) => {
      const router = new RouterCore();
      let isFiltered = false;
      router.configure(configOf(isFiltered));
      const views = SESSIONS.map((session) => new PeerView(session.wire));
      const table = new Map<string, Path[]>(PREFIXES.map((prefix) => [prefix, []]));
      const ids = CONFIGS.map(({ name }) => router.peerId(name)!);
      ids.forEach((id, i) => router.peerUp(id, SESSIONS[i]!));
      for (const step of steps) {
        switch (step.kind) {
          case "announce": {
            const result = router.receiveUpdate(
              ids[step.peer]!,
              announcement(step.attributes, step.prefixes, SESSIONS[step.peer]!.wire),
            );
            assert.equal(result.fault, undefined);
            for (const prefix of step.prefixes) {
              const others = table.get(prefix)!.filter(({ peer }) => peer !== step.peer);
              table.set(prefix, [...others, { peer: step.peer, attributes: step.attributes }]);
            }
            break;
          }
          case "withdraw":
            router.receiveUpdate(ids[step.peer]!, withdrawal(step.prefixes));
            for (const prefix of step.prefixes) {
              table.set(
                prefix,
                table.get(prefix)!.filter(({ peer }) => peer !== step.peer),
              );
            }
            break;
          case "read": {
            const bytes = router.nextBytes(ids[step.peer]!, step.max);
            if (bytes) views[step.peer]!.take(bytes);
            break;
          }
          case "settle":
            router.settle();
            break;
          case "bounce":
            router.peerDown(ids[step.peer]!, "test");
            for (const [prefix, paths] of table) table.set(prefix, paths.filter(({ peer }) => peer !== step.peer));
            views[step.peer] = new PeerView(SESSIONS[step.peer]!.wire);
            router.peerUp(ids[step.peer]!, SESSIONS[step.peer]!);
            break;
          case "refresh":
            router.refresh(ids[step.peer]!, 3);
            break;
          case "configure":
            isFiltered = step.isFiltered;
            router.configure(configOf(isFiltered));
            break;
        }
      }
      ids.forEach((id, i) => views[i]!.drain(router, id, 200));
      const rows = router.routes({});
      for (const prefix of PREFIXES) {
        const best = bestOf(prefix, table.get(prefix)!, isFiltered);
        const row = rows.find((row) => row.prefix === prefix && row.best);
        assert.equal(row?.from, best && CONFIGS[best.peer]!.address, `best path of ${prefix}`);
        assert.equal(rows.filter((row) => row.prefix === prefix).length, table.get(prefix)!.length);
        for (const [i, view] of views.entries()) {
          if (view.wire.addPathSend) {
            const all = usable(prefix, table.get(prefix)!, isFiltered)
              .map((path) => exported(path, i, prefix.includes(":"))).filter((path) => path !== undefined);
            const told = [...view.routes].filter(([key]) => key.startsWith(`${prefix}#`)).map(([, path]) => seen(path));
            assert.deepEqual(sorted(told), sorted(all), `all paths of ${prefix} at ${CONFIGS[i]!.name}`);
            continue;
          }
          const got = view.routes.get(prefix);
          const isHidden = isFiltered && FILTERED.includes(CONFIGS[i]!.name) &&
            (prefix === "192.0.2.0/24" || prefix === "fd01::1/128");
          const want = best && !isHidden ? exported(best, i, prefix.includes(":")) : undefined;
          assert.deepEqual(got && seen(got), want, `${prefix} at ${CONFIGS[i]!.name}`);
        }
      }
      for (const view of views) assert.equal(view.endOfRib, 3);
      for (const id of ids) router.peerDown(id, "the end");
      router.settle();
      assert.equal(router.ribs[0].prefixes.size + router.ribs[1].prefixes.size, 0, "no prefix is left behind");
      assert.equal(
        router.policies.names[0].size + router.policies.names[1].size,
        0,
        "no name of a path is left behind",
      );
      assert.equal(router.store.size, 1, "no set of attributes is left behind but the host's own");
    }),
    { numRuns: 60 },
  );
});
