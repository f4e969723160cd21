/** Reports turned into events: what cannot be read counts as lost, and nothing throws. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { ByteWriter } from "../../../src/lib/bytes.ts";
import { eventsOf } from "../../../src/linux/monitor.ts";
import { putMessage } from "../../../src/netlink/message.ts";

function datagram(type: number, body: Uint8Array): Uint8Array {
  const writer = new ByteWriter();
  putMessage(writer, { type, flags: 0, sequence: 0 }, (into) => void into.put(body));
  return writer.bytes();
}

Deno.test("a report that cannot be decoded is a resync, after the events before it", () => {
  const link = new Uint8Array(16).fill(3, 4, 5);
  const both = new Uint8Array([...datagram(17, link), ...datagram(16, new Uint8Array(3))]);
  assert.deepEqual(
    eventsOf(both).map((event) => event.type === "link" ? `link ${event.link.index} gone ${event.isGone}` : event.type),
    [
      "link 3 gone true",
      "resync",
    ],
  );
});

Deno.test("a bridge's word on its port is no event of the link, and an overrun is a resync", () => {
  assert.deepEqual(eventsOf(datagram(17, new Uint8Array(16).fill(7, 0, 1))), []);
  assert.deepEqual(eventsOf(datagram(4, new Uint8Array(0))), [{ type: "resync" }]);
});

Deno.test("random reports never throw", () => {
  const types = fc.constantFrom(16, 17, 20, 21, 24, 25, 28, 29);
  const family = fc.constantFrom(0, 2, 10);
  fc.assert(
    fc.property(types, family, fc.uint8Array({ maxLength: 120 }), (type, of, body) => {
      if (body.length > 0) body[0] = of;
      const events = eventsOf(datagram(type, body));
      assert.ok(events.length <= 1);
    }),
    { numRuns: 5000 },
  );
});
