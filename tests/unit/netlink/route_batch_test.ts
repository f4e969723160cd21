/** The raw batch writes what the route codec reads. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { Cidr } from "../../../src/lib/cidr.ts";
import { readMessages } from "../../../src/netlink/message.ts";
import { decodeRoute } from "../../../src/netlink/route_row.ts";
import { RouteBatch } from "../../../src/netlink/route_batch.ts";
import { cidrOf, ipOf } from "./arbitraries.ts";

const family = fc.constantFrom(4 as const, 6 as const);
const settings = {
  action: fc.constantFrom("add" as const, "replace" as const, "delete" as const),
  table: fc.integer({ min: 1, max: 0xffffffff }),
  protocol: fc.integer({ min: 0, max: 255 }),
  metric: fc.integer({ min: 0, max: 0xffffffff }),
  scope: fc.integer({ min: 0, max: 255 }),
  isOnlink: fc.boolean(),
  ifindex: fc.integer({ min: 1, max: 0x7fffffff }),
};
const change = family.chain((of) => fc.record({ ...settings, destination: cidrOf(of), gateway: fc.option(ipOf(of)) }));
const TYPE = { add: 24, replace: 24, delete: 25 };
const FLAGS = { add: 0x601, replace: 0x501, delete: 0x1 };

Deno.test("every route put into a batch decodes to what was put, numbered in order, with an ack asked of the last", () => {
  fc.assert(
    fc.property(
      fc.array(change, { minLength: 1, maxLength: 20 }),
      fc.integer({ min: 1, max: 1000 }),
      (changes, first) => {
        const batch = new RouteBatch(8192);
        batch.begin(first);
        for (const { action, destination, gateway, ifindex, table, protocol, metric, scope, isOnlink } of changes) {
          Object.assign(batch, { table, protocol, metric, scope, isOnlink });
          const hasRoom = destination.family === 4
            ? batch.put4(action, destination.ip.toNumber(), destination.length, gateway?.toNumber() ?? 0, ifindex)
            : batch.put6(action, destination.ip.bytes, destination.length, gateway?.bytes, ifindex);
          assert.ok(hasRoom);
        }
        assert.deepEqual([batch.count, batch.first], [changes.length, first]);
        const messages = [...readMessages(batch.bytes)];
        assert.equal(messages.length, changes.length);
        for (const [i, message] of messages.entries()) {
          const { action, destination, gateway, ifindex, isOnlink, ...rest } = changes[i]!;
          const ack = i === messages.length - 1 ? 4 : 0;
          assert.deepEqual([message.type, message.flags, message.sequence], [
            TYPE[action],
            FLAGS[action] | ack,
            first + i,
          ]);
          // An IPv4 gateway 0.0.0.0 says that there is none.
          const via = destination.family === 4 && gateway?.isUnspecified ? null : gateway;
          assert.deepEqual(JSON.parse(JSON.stringify(decodeRoute(message.body))), {
            destination: `${destination}`,
            type: "unicast",
            ...rest,
            nexthops: [{ ...(via && { gateway: `${via}` }), ifindex, ...(isOnlink && { isOnlink }) }],
          });
        }
      },
    ),
  );
});

Deno.test("a full batch takes no more, and an emptied one starts over", () => {
  const batch = new RouteBatch(1024);
  batch.begin(1);
  let count = 0;
  while (batch.put4("add", Cidr.parse("10.0.0.0/8").ip.toNumber(), 8, 1, 2)) assert.ok(++count < 100);
  assert.equal(batch.count, count);
  assert.ok(count >= 15 && batch.bytes.length <= 1024);
  batch.begin(50);
  assert.equal(batch.count, 0);
  assert.ok(batch.put4("add", 0, 0, 1, 2));
  assert.deepEqual([...readMessages(batch.bytes)].map(({ sequence }) => sequence), [50]);
});
