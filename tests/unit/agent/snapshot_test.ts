/**
 * How the store's listings and events become typed resources; the test itself feeds the events, so their order is
 * known.
 */

import assert from "node:assert/strict";
import { type SnapshotChange, watchSnapshot } from "../../../src/agent/snapshot.ts";
import type { Store, StoreEvent } from "../../../src/store/store.ts";
import { MemoryStore } from "../../../src/store/memory.ts";

/** A store whose watches the test feeds by hand; everything else is not used. */
function handFed() {
  const sinks = new Map<string, (event: StoreEvent) => void>();
  const store: Store = Object.assign(new MemoryStore(), {
    watch: (prefix: string, sink: (event: StoreEvent) => void) => {
      sinks.set(prefix, sink);
      return { close: () => void sinks.delete(prefix) };
    },
  });
  const feed = (event: StoreEvent) => {
    const key = event.type === "put" ? event.entry.key : event.type === "delete" ? event.key : "";
    for (const [prefix, sink] of sinks) if (key === "" || key.startsWith(prefix)) sink(event);
  };
  const changes: SnapshotChange[] = [];
  const snapshot = watchSnapshot({ store, node: "a", changed: (change) => changes.push(change) });
  return { snapshot, feed, sinks, changes };
}

const poolKey = "/calico/resources/v3/projectcalico.org/ippools/p";

function pool(cidr: string): string {
  return JSON.stringify({
    kind: "IPPool",
    apiVersion: "projectcalico.org/v3",
    metadata: { name: "p" },
    spec: { cidr },
  });
}

function put(key: string, value: string, revision: number): StoreEvent {
  return { type: "put", entry: { key, value, revision } };
}

Deno.test("the snapshot is in sync once both listings are in, and stays so over a break in the connection", () => {
  const { snapshot, sinks, feed } = handFed();
  const [first, second] = [...sinks.values()];
  first?.({ type: "synced", revision: 5 });
  assert.equal(snapshot.isInSync, false);
  second?.({ type: "synced", revision: 7 });
  assert.equal(snapshot.isInSync, true);
  assert.equal(snapshot.revision, 7);
  feed({ type: "unavailable", error: "no answer" });
  assert.equal(snapshot.isInSync, true);
  assert.equal(snapshot.unavailable, "no answer");
  feed({ type: "synced", revision: 9 });
  assert.equal(snapshot.unavailable, undefined);
});

Deno.test("resources are typed, filled with defaults, and named by what changed", () => {
  const { snapshot, feed, changes } = handFed();
  feed(put(poolKey, pool("10.0.0.0/16"), 1));
  assert.equal(snapshot.all("IPPool").get("p")?.spec.blockSize, 26);
  assert.equal(snapshot.revisionOf(poolKey), 1);
  feed({ type: "delete", key: poolKey, revision: 2 });
  assert.equal(snapshot.all("IPPool").size, 0);
  assert.deepEqual(changes, [{ what: "IPPool", id: "p" }, { what: "IPPool", id: "p" }]);
});

Deno.test("the same change twice, and one that is older than what is known, change nothing", () => {
  const { snapshot, feed, changes } = handFed();
  feed(put(poolKey, pool("10.0.0.0/16"), 5));
  feed(put(poolKey, pool("10.0.0.0/16"), 5));
  feed(put(poolKey, pool("10.9.0.0/16"), 4));
  feed({ type: "delete", key: poolKey, revision: 3 });
  assert.equal(snapshot.all("IPPool").get("p")?.spec.cidr, "10.0.0.0/16");
  assert.equal(changes.length, 1);
});

Deno.test("a block is this host's while its affinity is confirmed; old affinities without a state count", () => {
  const { snapshot, feed } = handFed();
  const key = "/calico/ipam/v2/host/a/ipv4/block/10.0.0.0-26";
  const states: [value: string, isOurs: boolean][] = [
    ['{"state":"pending"}', false],
    ['{"state":"confirmed"}', true],
    ['{"state":"pendingDeletion"}', false],
    ["", true],
    ["{}", true],
    ["not json", false],
  ];
  for (const [i, [value, isOurs]] of states.entries()) {
    feed(put(key, value, i + 1));
    assert.equal(snapshot.blocks.has("10.0.0.0/26"), isOurs, value);
  }
});

Deno.test("a value that cannot be read takes its resource away, is reported, and comes back when it is mended", () => {
  const { snapshot, feed } = handFed();
  feed(put(poolKey, pool("10.0.0.0/16"), 1));
  for (
    const [i, value] of [
      "{",
      "null",
      "[]",
      '{"kind":"IPPool"}',
      '{"kind":"Tier","metadata":{"name":"p"}}',
      '{"kind":"Nothing","metadata":{"name":"p"}}',
    ].entries()
  ) {
    feed(put(poolKey, value, i + 2));
    assert.equal(snapshot.all("IPPool").size, 0, value);
    assert.equal(snapshot.unreadable.get(poolKey)?.key, poolKey, value);
  }
  feed(put(poolKey, pool("10.0.0.0/16"), 50));
  assert.equal(snapshot.all("IPPool").size, 1);
  assert.equal(snapshot.unreadable.size, 0);
});

Deno.test("keys that name nothing known are passed over", () => {
  const { snapshot, feed, changes } = handFed();
  for (const key of ["/calico/resources/v3/projectcalico.org/nothings/x", "/calico/ipam/v2/host/a/weird"]) {
    feed(put(key, "{}", 1));
  }
  assert.deepEqual(changes, []);
  assert.equal(snapshot.unreadable.size, 0);
});
