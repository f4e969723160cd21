/**
 * The corpus of malformed messages over the real session and router, whole and in pieces of one and of seven octets: the
 * reaction is the RFC's, other sessions do not notice, and a sentinel route shows which sessions live.
 */

import assert from "node:assert/strict";
import type { PathAttributes } from "../../../../src/bgp/wire/attributes.ts";
import { formatAsPath } from "../../../../src/bgp/wire/attributes.ts";
import { encodeKeepalive } from "../../../../src/bgp/wire/frame.ts";
import { Ip } from "../../../../src/lib/ip.ts";
import { type MalformedCase, octetsOf, readCorpus } from "./corpus.ts";
import {
  BASE_COMMUNITY,
  BASE_PREFIX,
  KEPT_PREFIX,
  makeWorld,
  openOf,
  OTHER_PREFIX,
  updateFrom,
  type World,
} from "./world.ts";

const SENTINEL = "10.99.0.0/16";
const NOTIFICATION = 3;
const cases = readCorpus();

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (octet) => octet.toString(16).padStart(2, "0")).join("");
}

/** Attributes as the corpus writes them. */
function shown(attributes: PathAttributes): Record<string, unknown> {
  const { aggregator, originatorId } = attributes;
  return {
    asPath: formatAsPath(attributes.asPath),
    hops: attributes.asPath.reduce((sum, { asns }) => sum + asns.length, 0),
    med: attributes.med ?? null,
    localPref: attributes.localPref ?? null,
    atomicAggregate: attributes.atomicAggregate,
    aggregator: aggregator ? `${aggregator.as} ${Ip.fromNumber(aggregator.id)}` : null,
    communityCount: attributes.communities.length,
    extended: attributes.extendedCommunities.map((value) => value.toString(16).padStart(16, "0")),
    large: attributes.largeCommunities.map((parts) => parts.join(":")),
    originatorId: originatorId === undefined ? null : Ip.fromNumber(originatorId).toString(),
    clusterList: attributes.clusterList,
    clusterCount: attributes.clusterList.length,
    unknown: attributes.unknown.map(({ flags, type, value }) => hex(Uint8Array.of(flags, type, ...value))),
  };
}

/** Brings the bad peer's session to where the case begins. */
function prepare(one: MalformedCase): World {
  const world = makeWorld(one.session);
  const { bad } = world;
  if (one.phase === "open") return world;
  bad.send(openOf(one.session, "10.0.0.2"));
  assert.equal(bad.peer.session.fsm.name, "OpenConfirm");
  if (one.phase === "confirm") return world;
  bad.send(encodeKeepalive());
  assert.equal(bad.peer.session.fsm.name, "Established");
  bad.send(updateFrom("bad", one.session, [BASE_PREFIX, KEPT_PREFIX], true));
  assert.ok(world.watcher.view.routes.has(BASE_PREFIX) && world.watcher.view.routes.has(KEPT_PREFIX));
  return world;
}

function checkEnd({ bad, watcher }: World, { expect }: MalformedCase, before: number): void {
  const said = bad.received.slice(before).filter((message) => message[18] === NOTIFICATION).map(hex);
  if (expect.notification !== undefined) {
    const [code = 0, subcode = 0] = expect.notification.split("/").map(Number);
    const body = `${hex(Uint8Array.of(code, subcode))}${expect.data ?? ""}`;
    const length = 19 + body.length / 2;
    assert.deepEqual(said, [`${"ff".repeat(16)}${hex(Uint8Array.of(length >> 8, length & 255))}03${body}`]);
  } else assert.deepEqual(said, []);
  assert.equal(bad.isClosed, true, "the connection is closed");
  assert.equal(bad.peer.isEstablished, false);
  for (const prefix of [BASE_PREFIX, KEPT_PREFIX]) assert.equal(watcher.view.routes.has(prefix), false, prefix);
}

function checkRoutes({ bad, watcher, router }: World, { expect, session }: MalformedCase): void {
  assert.equal(bad.peer.session.fsm.name, "Established", bad.peer.session.fsm.reason);
  for (const [prefix, wanted] of Object.entries(expect.routes ?? {})) {
    const route = watcher.view.routes.get(prefix);
    if (wanted === null || wanted === "untold") {
      assert.equal(route, undefined, `${prefix} is not told`);
      const best = router.routes({ prefix }).filter((row) => row.best && row.from === "10.0.0.2");
      assert.equal(best.length, wanted === null ? 0 : 1, `${prefix} at the speaker`);
      continue;
    }
    assert.ok(route, `${prefix} is told`);
    const isBase = route.communities.includes(BASE_COMMUNITY);
    assert.equal(isBase, wanted === "base", `${prefix} is ${isBase ? "still that of before" : "replaced"}`);
    if (wanted === "base" || wanted === "new") continue;
    const seen = shown(route);
    for (const [name, value] of Object.entries(wanted)) assert.deepEqual(seen[name], value, `${prefix} ${name}`);
  }
  assert.equal(watcher.view.routes.has(KEPT_PREFIX), expect.hasLostAll !== true, "the route beside");
  bad.send(updateFrom("bad", session, [SENTINEL]));
  assert.ok(watcher.view.routes.has(SENTINEL), "the sentinel route arrives");
}

function play(one: MalformedCase, piece: number): void {
  const world = prepare(one);
  const { bad, watcher, other } = world;
  const before = bad.received.length;
  bad.send(octetsOf(one.send), piece);
  if (one.expect.up) {
    assert.equal(bad.peer.session.fsm.name, "OpenConfirm", bad.peer.session.fsm.reason);
    bad.send(encodeKeepalive(), piece);
    assert.equal(bad.peer.session.fsm.name, "Established");
  } else if (one.expect.routes) {
    if (one.expect.isTold) assert.ok(bad.received.slice(before).some((message) => message[18] === 2), "told again");
    checkRoutes(world, one);
  } else {
    checkEnd(world, one, before);
    other.send(updateFrom("other", one.session, [SENTINEL]));
    assert.ok(watcher.view.routes.has(SENTINEL), "the others' sentinel route arrives");
  }
  assert.deepEqual(world.errors, [], "no error of ours");
  for (const party of [watcher, other]) {
    assert.equal(party.peer.session.fsm.name, "Established");
    assert.equal(party.isClosed, false);
    assert.equal(party.received.filter((message) => message[18] === NOTIFICATION).length, 0);
  }
  assert.ok(watcher.view.routes.has(OTHER_PREFIX));
}

for (const file of new Set(cases.map((one) => one.file))) {
  Deno.test(`every malformed message of ${file}.json gets the reaction that its RFC asks for, whole and in pieces`, async (t) => {
    for (const one of cases.filter((each) => each.file === file)) {
      await t.step(`${one.session}: ${one.name} (${one.clause})`, () => {
        for (const piece of [65536, 7, 1]) play(one, piece);
      });
    }
  });
}

Deno.test("the corpus is whole: every case has a name of its own, octets and one reaction", () => {
  const names = new Set(cases.map((one) => `${one.file} ${one.session} ${one.name}`));
  assert.equal(names.size, cases.length);
  assert.ok(cases.length >= 390, `${cases.length} cases`);
  for (const { name, send, expect } of cases) {
    assert.ok(octetsOf(send).length > 0, name);
    const reactions = [expect.notification, expect.closed, expect.up, expect.routes].filter((x) => x !== undefined);
    assert.equal(reactions.length, 1, name);
  }
});
