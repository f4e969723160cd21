/** The tables of prefixes and paths behave as plain maps do, and the log gives every member its own messages in order. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { type Candidate, decide, LOSS, Reason, WIN } from "../../../../src/bgp/rib/decision.ts";
import { PathTable } from "../../../../src/bgp/rib/path_table.ts";
import { PrefixTable } from "../../../../src/bgp/rib/prefix_table.ts";
import { everyoneBut, only, read, UpdateLog } from "../../../../src/bgp/rib/update_log.ts";

for (const isV6 of [false, true]) {
  Deno.test(`the table of ${isV6 ? "IPv6" : "IPv4"} prefixes behaves as a map under any adds and removes`, () => {
    const word = fc.constantFrom(0, 1, 0x80000000, 0xffffffff, 0x0a000000, 0x0a000100);
    const step = fc.record({
      w: fc.tuple(word, word, word, word),
      length: fc.nat(isV6 ? 128 : 32),
      isAdded: fc.boolean(),
    });
    fc.assert(fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const table = new PrefixTable(isV6, 4);
      const model = new Map<string, number>();
      for (const { w, length, isAdded } of steps) {
        const [w0, w1, w2, w3] = isV6 ? w : [w[0], 0, 0, 0];
        const key = [w0, w1, w2, w3, length].join();
        const found = table.find(w0!, w1!, w2!, w3!, length);
        assert.equal(found, model.get(key) ?? -1);
        if (isAdded) {
          const id = table.intern(w0!, w1!, w2!, w3!, length);
          if (found >= 0) assert.equal(id, found);
          else assert.ok(![...model.values()].includes(id));
          model.set(key, id);
        } else if (found >= 0) {
          table.remove(found);
          assert.ok(!table.isLive(found));
          model.delete(key);
        }
        assert.equal(table.size, model.size);
      }
    }));
  });
}

Deno.test("paths are found by prefix and by peer after any adds and removes", () => {
  const step = fc.record({ prefix: fc.nat(3), peer: fc.nat(100), pathId: fc.nat(1), isAdded: fc.boolean() });
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
    const table = new PathTable();
    const heads = [-1, -1, -1, -1];
    const model = new Map<string, number>();
    for (const { prefix, peer, pathId, isAdded } of steps) {
      const key = `${prefix} ${peer} ${pathId}`;
      const found = table.find(heads[prefix]!, peer, pathId);
      assert.equal(found, model.get(key) ?? -1);
      if (isAdded && found < 0) {
        heads[prefix] = table.add(prefix, peer, pathId, heads[prefix]!);
        model.set(key, heads[prefix]!);
      } else if (!isAdded && found >= 0) {
        heads[prefix] = table.remove(found, heads[prefix]!);
        model.delete(key);
      }
      const ofPeer: number[] = [];
      for (let path = table.firstOf(peer); path >= 0; path = table.nextOf(path)) ofPeer.push(path);
      const wanted = [...model].filter(([key]) => key.split(" ")[1] === String(peer)).map(([, path]) => path);
      assert.deepEqual(ofPeer.sort(), wanted.sort());
      assert.equal(table.countOf(peer), wanted.length);
    }
    assert.equal(table.size, model.size);
  }));
});

Deno.test("every member reads its own messages, whole and in order, at any pace", () => {
  const MEMBERS = 4;
  const step = fc.oneof(
    fc.record({
      kind: fc.constant("write" as const),
      size: fc.integer({ min: 19, max: 4096 }),
      who: fc.nat(MEMBERS),
      isOnly: fc.boolean(),
    }),
    fc.record({
      kind: fc.constant("read" as const),
      who: fc.integer({ min: 1, max: MEMBERS }),
      max: fc.integer({ min: 1, max: 70_000 }),
    }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const log = new UpdateLog();
      const cursors = Array.from({ length: MEMBERS + 1 }, () => log.end());
      const wanted: number[][] = Array.from({ length: MEMBERS + 1 }, () => []);
      const got: number[][] = Array.from({ length: MEMBERS + 1 }, () => []);
      const scratch = new Uint8Array(65536);
      let serial = 0;
      const take = (who: number, max: number): boolean => {
        const bytes = read(cursors[who]!, who, max, scratch);
        if (!bytes) return false;
        let at = 0, count = 0;
        for (; at < bytes.length; count++) {
          got[who]!.push(bytes[at + 18]! << 8 | bytes[at]!);
          at += bytes[at + 16]! << 8 | bytes[at + 17]!;
        }
        assert.equal(at, bytes.length, "whole messages");
        assert.ok(bytes.length <= max || count === 1, "no more than was asked for");
        return true;
      };
      for (const step of steps) {
        if (step.kind === "read") {
          take(step.who, step.max);
          continue;
        }
        const chunk = log.reserve(step.size);
        const at = chunk.used;
        serial++;
        chunk.bytes[at] = serial & 255;
        chunk.bytes[at + 16] = step.size >> 8;
        chunk.bytes[at + 17] = step.size & 255;
        chunk.bytes[at + 18] = serial >> 8;
        log.commit(step.size, step.isOnly && step.who > 0 ? only(step.who) : everyoneBut(step.who));
        for (let member = 1; member <= MEMBERS; member++) {
          if (step.isOnly && step.who > 0 ? member === step.who : member !== step.who) wanted[member]!.push(serial);
        }
      }
      for (let member = 1; member <= MEMBERS; member++) {
        while (take(member, 5000));
        assert.deepEqual(got[member], wanted[member]);
      }
    }),
  );
});

const BASE: Candidate = {
  path: 0,
  preference: 100,
  localPref: 100,
  pathLength: 1,
  origin: 0,
  med: 0,
  neighbourAs: 65001,
  isExternal: true,
  cost: 0,
  routerId: 1,
  clusterLength: 0,
  peerOrder: 0,
  pathId: 0,
};

/** [what is worse about the loser, the reason] */
const STEPS: [Partial<Candidate>, Reason][] = [
  [{ preference: 10 }, Reason.Preference],
  [{ localPref: 99 }, Reason.LocalPref],
  [{ pathLength: 2 }, Reason.PathLength],
  [{ origin: 1 }, Reason.Origin],
  [{ med: 1 }, Reason.Med],
  [{ isExternal: false }, Reason.External],
  [{ cost: 1 }, Reason.Cost],
  [{ routerId: 2 }, Reason.RouterId],
  [{ clusterLength: 1 }, Reason.ClusterList],
  [{ peerOrder: 1 }, Reason.PeerAddress],
];

for (const [i, [worse, reason]] of STEPS.entries()) {
  Deno.test(`a path loses by "${LOSS[reason]}", and a later step does not save it`, () => {
    const better = Object.assign({}, ...STEPS.slice(i + 1).map(([later]) => later)) as Partial<Candidate>;
    const winner = { ...BASE, ...better, path: 1 }, loser = { ...BASE, ...worse, path: 2 };
    for (const order of [[winner, loser], [loser, winner]]) {
      const lost: [number, Reason][] = [];
      const { best } = decide(order, ({ path }, reason) => lost.push([path, reason]));
      assert.equal(best.path, 1);
      assert.deepEqual(lost, [[2, reason]]);
    }
    assert.ok(WIN[reason]);
  });
}

Deno.test("MED compares paths of one neighbouring AS only, in whatever order they come", () => {
  const a = { ...BASE, path: 1, med: 10, routerId: 1 };
  const b = { ...BASE, path: 2, med: 5, routerId: 3 };
  const other = { ...BASE, path: 3, med: 7, neighbourAs: 65002, routerId: 2 };
  for (const order of [[a, b, other], [other, b, a], [b, a, other], [a, other, b]]) {
    assert.equal(decide(order, () => {}).best.path, 3);
  }
});
