/** The codec of tracked connections: what is encoded is decoded, filters agree, and no bytes throw anything unexpected. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { isWanted, MemoryConntrack } from "../../../src/dataplane/firewall_conntrack.ts";
import { ByteWriter } from "../../../src/lib/bytes.ts";
import { Ip } from "../../../src/lib/ip.ts";
import { putBytes, putNest, putU16be, putU32be, putU8, readAttributes } from "../../../src/netlink/attribute.ts";
import {
  compileFilter,
  type Connection,
  decodeConnection,
  deleteConnection,
  describeTuple,
  type Tuple,
} from "../../../src/netlink/conntrack.ts";
import { ENOBUFS } from "../../../src/netlink/errno.ts";
import { MalformedError } from "../../../src/netlink/malformed.ts";

const port = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const address = (family: 4 | 6) =>
  fc.uint8Array({ minLength: 1, maxLength: 1 }).map(([byte = 0]) =>
    Ip.parse(family === 4 ? `10.0.0.${byte & 3}` : `2001:db8::${byte & 3}`)
  );

const tuple = (family: 4 | 6): fc.Arbitrary<Tuple> =>
  fc.oneof(
    fc.record({
      source: address(family),
      destination: address(family),
      protocol: fc.constantFrom(6, 17, 132, 136),
      sourcePort: port,
      destinationPort: port,
    }),
    fc.record({
      source: address(family),
      destination: address(family),
      protocol: fc.constant(family === 4 ? 1 : 58),
      sourcePort: fc.constant(0),
      destinationPort: fc.constant(0),
      icmp: fc.record({ type: fc.integer({ min: 0, max: 255 }), code: fc.integer({ min: 0, max: 255 }), id: port }),
    }),
  );

const connection: fc.Arbitrary<Connection> = fc.constantFrom<4 | 6>(4, 6).chain((family) =>
  fc.record({
    family: fc.constant(family),
    original: tuple(family),
    reply: tuple(family),
    status: u32,
    mark: u32,
    zone: port,
    id: u32,
    timeout: u32,
  })
);

/** A connection as the kernel reports it. */
function encode({ family, original, reply, status, mark, zone, id, timeout }: Connection): Uint8Array {
  const writer = new ByteWriter();
  const isV4 = family === 4;
  writer.u8(isV4 ? 2 : 10).u8(0).u16be(0);
  for (const [type, one] of [[1, original], [2, reply]] as const) {
    putNest(writer, type, (w) => {
      putNest(w, 1, (ip) => {
        putBytes(ip, isV4 ? 1 : 3, one.source.bytes);
        putBytes(ip, isV4 ? 2 : 4, one.destination.bytes);
      });
      putNest(w, 2, (proto) => {
        putU8(proto, 1, one.protocol);
        if (one.icmp) {
          putU16be(proto, isV4 ? 4 : 7, one.icmp.id);
          putU8(proto, isV4 ? 5 : 8, one.icmp.type);
          putU8(proto, isV4 ? 6 : 9, one.icmp.code);
        } else {
          putU16be(proto, 2, one.sourcePort);
          putU16be(proto, 3, one.destinationPort);
        }
      });
    });
  }
  putU32be(writer, 3, status);
  putU32be(writer, 7, timeout);
  putU32be(writer, 8, mark);
  putU32be(writer, 12, id);
  putU16be(writer, 18, zone);
  return writer.bytes();
}

/** Comparable text: addresses are objects that cache their text. */
const plain = (one: Connection | undefined) => JSON.stringify(one);

Deno.test("a connection is decoded as it was encoded", () => {
  fc.assert(fc.property(connection, (one) => {
    assert.equal(plain(decodeConnection(encode(one))), plain(one));
  }));
});

Deno.test("a filter on bytes lets the same connections through as one on objects", () => {
  const filter = fc.record({
    family: fc.constantFrom<4 | 6>(4, 6),
    protocol: fc.constantFrom(1, 6, 17, 58),
    mark: fc.record({ value: u32, mask: fc.constantFrom(0, 1, 3, 0xffffffff) }),
    addresses: fc.array(fc.oneof(address(4), address(6)), { maxLength: 3 }),
  }, { requiredKeys: [] });
  let passed = 0;
  fc.assert(
    fc.property(connection, filter, (one, wanted) => {
      const bytes = encode(one);
      const passes = compileFilter(wanted)(bytes, 0, bytes.length);
      assert.equal(passes, isWanted(one, wanted));
      if (passes) passed++;
    }),
    { numRuns: 2000 },
  );
  assert.ok(passed > 20, `only ${passed} were let through`);
});

Deno.test("a deletion carries the original tuple, the id and the zone", () => {
  fc.assert(fc.property(connection, (one) => {
    const writer = new ByteWriter();
    deleteConnection(one).body(writer);
    const original = readAttributes(writer.bytes(), 4).get(1);
    assert.ok(original);
    // What the kernel would report of it has a reply too.
    putBytes(writer, 2, original);
    const sent = decodeConnection(writer.view());
    assert.deepEqual([sent && describeTuple(sent.original), sent?.id, sent?.zone], [
      describeTuple(one.original),
      one.id,
      one.zone,
    ]);
  }));
});

Deno.test("cut and altered bytes are refused with MalformedError or decoded, and nothing else", () => {
  let refused = 0;
  fc.assert(
    fc.property(
      connection,
      fc.nat(),
      fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }))),
      (one, cut, edits) => {
        const bytes = encode(one);
        for (const [at, byte] of edits) bytes[at % bytes.length] = byte;
        const damaged = bytes.subarray(0, cut % (bytes.length + 1));
        for (
          const read of [
            () => decodeConnection(damaged),
            () => compileFilter({ protocol: 6, addresses: [] })(damaged, 0, damaged.length),
          ]
        ) {
          try {
            read();
          } catch (error) {
            assert.ok(error instanceof MalformedError, String(error));
            refused++;
          }
        }
      },
    ),
    { numRuns: 3000 },
  );
  assert.ok(refused > 100, `only ${refused} were refused`);
});

Deno.test("connection tracking in memory visits, deletes and fails as it is told to", async () => {
  const conntrack = new MemoryConntrack();
  const [one, other] = fc.sample(connection, { numRuns: 2, seed: 7 });
  assert.ok(one && other);
  conntrack.add({ ...one, id: 1 });
  conntrack.add({ ...other, id: 2 });
  const seen: number[] = [];
  await conntrack.visit({}, ({ id }) => void seen.push(id));
  assert.deepEqual(seen, [1, 2]);
  conntrack.fault = { matching: /^delete/ };
  const [error] = await conntrack.delete([{ ...one, id: 1 }]);
  assert.equal(error?.errno, ENOBUFS);
  conntrack.fault = { matching: /^list/ };
  await assert.rejects(conntrack.visit({}, () => {}), /Cannot list/);
  assert.deepEqual(await conntrack.delete([{ ...one, id: 1 }, { ...one, id: 9 }]), [undefined, undefined]);
  assert.deepEqual(conntrack.connections.map(({ id }) => id), [2]);
});
