/** Routes for a station: what is told of the tables, of single UPDATEs, and of broken ones. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { dumpPeer, LocRibNews, PostPolicy } from "../../../../src/bgp/bmp/routes.ts";
import type { BmpView } from "../../../../src/bgp/bmp/message.ts";
import { RouterCore } from "../../../../src/bgp/rib/router.ts";
import { EMPTY_ATTRIBUTES, type PathAttributes } from "../../../../src/bgp/wire/attributes.ts";
import { PLAIN_INTERNAL, type WireOptions } from "../../../../src/bgp/wire/options.ts";
import { parseUpdate, UpdateView } from "../../../../src/bgp/wire/update.ts";
import { Ip } from "../../../../src/lib/ip.ts";
import {
  announcement,
  fibRoute,
  peerConfig,
  PeerView,
  sessionOf,
  speakerConfig,
  withdrawal,
} from "../rib/router_model.ts";

const A = peerConfig("a", "10.0.0.1");

function path(change: Partial<PathAttributes> = {}): PathAttributes {
  return { ...EMPTY_ATTRIBUTES, localPref: 100, nextHop: Ip.parse("10.0.0.1").bytes, ...change };
}

function makeRouter(wire: Partial<WireOptions> = {}, change = {}) {
  const router = new RouterCore();
  router.configure(speakerConfig([A], change));
  const id = router.peerId("a") ?? 0;
  router.peerUp(id, sessionOf(A, wire));
  return { router, id };
}

/** Views that are filled by what is told. */
function makeViews(wire: WireOptions = PLAIN_INTERNAL) {
  const views = new Map<BmpView, PeerView>();
  let messages = 0;
  const tell = (view: BmpView, update: Uint8Array) => {
    messages++;
    const known = views.get(view) ?? new PeerView({ ...wire, isExtendedMessage: true });
    views.set(view, known);
    known.take(update.slice());
  };
  const prefixes = (view: BmpView) => [...(views.get(view)?.routes.keys() ?? [])].sort();
  return { tell, prefixes, views, messages: () => messages };
}

Deno.test("a dump has both families before and after policy, and the host's own routes in the Loc-RIB", () => {
  const { router, id } = makeRouter({}, { fib: { ...speakerConfig([]).fib, isLearning: true } });
  router.setLink(2, "eth0", true);
  router.learn(fibRoute("10.0.0.0/24", { protocol: 2, scope: 253, dev: 2 }));
  const six = path({ nextHop: Ip.parse("fd00::1").bytes });
  router.receiveUpdate(id, announcement(path(), ["192.0.2.0/24", "198.51.100.0/25"], PLAIN_INTERNAL));
  router.receiveUpdate(id, announcement(six, ["2001:db8::/32"], PLAIN_INTERNAL));
  router.settle();
  const { tell, prefixes, views } = makeViews();
  for (const _ of dumpPeer(router, id, false, tell));
  const all = ["192.0.2.0/24", "198.51.100.0/25", "2001:db8::/32"];
  for (const view of ["adj-rib-in-pre", "adj-rib-in-post"] as const) {
    assert.deepEqual(prefixes(view), all);
    assert.equal(views.get(view)?.endOfRib, 3);
    assert.deepEqual(views.get(view)?.routes.get("192.0.2.0/24")?.nextHop, Ip.parse("10.0.0.1").bytes);
  }
  const updates: string[] = [];
  for (const _ of new LocRibNews(router).dump((_view, update) => updates.push(update.subarray(19).join(" "))));
  const own = updates.filter((text) => text.endsWith(" 24 10 0 0"));
  // ORIGIN IGP, an empty path, next hop 0.0.0.0: it is ours.
  assert.ok(own.length === 1 && own[0]?.includes("64 1 1 0 64 2 0 64 3 4 0 0 0 0"), updates.join("; "));
  // The next hop of the IPv6 route is on none of our networks, so it is best nowhere.
  assert.ok(updates.some((text) => text.includes("24 192 0 2")));
  assert.ok(!updates.some((text) => text.includes("32 32 1 13 184")));
  assert.ok(updates.includes("0 0 0 0"), "End-of-RIB of IPv4");
  assert.match(updates.at(-1) ?? "", /15 0 3 0 2 1$/);
});

Deno.test("with ADD-PATH all paths of a prefix are told with their identifiers", () => {
  const { router, id } = makeRouter({ addPathReceive: 1 });
  // identifier 7, then 9: 192.0.2.0/24 each
  for (const pathId of [7, 9]) {
    const body = announcement(path({ med: pathId }), ["192.0.2.0/24"], PLAIN_INTERNAL);
    const withId = new Uint8Array(body.length + 4);
    withId.set(body.subarray(0, body.length - 4));
    withId.set([0, 0, 0, pathId, ...body.subarray(body.length - 4)], body.length - 4);
    assert.equal(router.receiveUpdate(id, withId).fault, undefined);
  }
  const { tell, prefixes } = makeViews({ ...PLAIN_INTERNAL, addPathSend: 1 });
  for (const _ of dumpPeer(router, id, false, tell));
  for (const view of ["adj-rib-in-pre", "adj-rib-in-post"] as const) {
    assert.deepEqual(prefixes(view), ["192.0.2.0/24#7", "192.0.2.0/24#9"]);
  }
});

Deno.test("a best path that did not change is not told again, one that went is withdrawn once", () => {
  const { router, id } = makeRouter();
  const news = new LocRibNews(router);
  const { tell, prefixes, messages } = makeViews();
  router.watchers.add((family, decided) => news.tell(family, decided, tell));
  const say = (body: Uint8Array) => {
    router.receiveUpdate(id, body);
    router.settle();
  };
  say(announcement(path(), ["192.0.2.0/24"], PLAIN_INTERNAL));
  assert.deepEqual([prefixes("loc-rib"), messages(), news.counts], [["192.0.2.0/24"], 1, [1, 0]]);
  router.ribs[0].markAllDirty();
  router.settle();
  assert.equal(messages(), 1);
  say(announcement(path({ med: 5 }), ["192.0.2.0/24"], PLAIN_INTERNAL));
  assert.equal(messages(), 2);
  say(withdrawal(["192.0.2.0/24"]));
  say(withdrawal(["192.0.2.0/24"]));
  assert.deepEqual([prefixes("loc-rib"), messages(), news.counts], [[], 3, [0, 0]]);
});

Deno.test("whatever comes in an UPDATE, what is told of it is well-formed and says what the table holds", () => {
  const six = path({ nextHop: Ip.parse("fd00::1").bytes });
  const seeds = [
    announcement(path({ med: 1 }), ["192.0.2.0/24", "198.51.100.0/25"], PLAIN_INTERNAL),
    announcement(six, ["2001:db8::/32", "2001:db8:1::/48"], PLAIN_INTERNAL),
    withdrawal(["192.0.2.0/24"]),
    withdrawal(["2001:db8::/32"]),
  ];
  const mutated = fc.tuple(
    fc.constantFrom(...seeds),
    fc.array(fc.tuple(fc.nat({ max: 120 }), fc.nat({ max: 255 })), { maxLength: 3 }),
  ).map(([seed, changes]) => {
    const body = seed.slice();
    for (const [at, value] of changes) if (at < body.length) body[at] = value;
    return body;
  });
  fc.assert(
    fc.property(fc.array(mutated, { minLength: 1, maxLength: 12 }), (bodies) => {
      const { router, id } = makeRouter();
      const postPolicy = new PostPolicy(router);
      const { tell, prefixes } = makeViews();
      for (const body of bodies) {
        const { fault } = router.receiveUpdate(id, body);
        // A session that is to be reset tells nothing more.
        if (fault?.kind === "reset") return;
        postPolicy.tell(id, body, (view, update) => {
          assert.ok(parseUpdate(update.subarray(19), PLAIN_INTERNAL) instanceof UpdateView);
          tell(view, update);
        });
      }
      const held = router.routes({ received: "a" }).map(({ prefix }) => prefix).sort();
      assert.deepEqual(prefixes("adj-rib-in-post"), held);
    }),
    { numRuns: 1_000 },
  );
});
