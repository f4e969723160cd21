/** Sets of attributes are stored once, come back as they were, and are freed with their last user. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { fillRow, makeRow, scanPlain } from "../../../../src/bgp/rib/attribute_columns.ts";
import { AttributeStore } from "../../../../src/bgp/rib/attribute_store.ts";
import { decodeAttributes, encodeAttributes, type PathAttributes } from "../../../../src/bgp/wire/attributes.ts";
import { PLAIN_INTERNAL } from "../../../../src/bgp/wire/options.ts";

const u32 = fc.integer({ min: 1, max: 0xffffffff });
const attributes: fc.Arbitrary<PathAttributes> = fc.record({
  origin: fc.constantFrom(0 as const, 1 as const, 2 as const),
  asPath: fc.array(
    fc.record({ type: fc.constantFrom(1 as const, 2 as const), asns: fc.array(u32, { minLength: 1, maxLength: 5 }) }, {
      noNullPrototype: true,
    }),
    { maxLength: 3 },
  ),
  nextHop: fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => Uint8Array.of(10, ...bytes.subarray(1))),
  med: fc.option(u32, { nil: undefined }),
  localPref: u32,
  atomicAggregate: fc.boolean(),
  aggregator: fc.option(fc.record({ as: u32, id: u32 }, { noNullPrototype: true }), { nil: undefined }),
  communities: fc.array(fc.oneof(u32, fc.constantFrom(0xffffff01, 0xffffff02, 0xffff0000)), { maxLength: 3 }),
  extendedCommunities: fc.array(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), { maxLength: 2 }),
  largeCommunities: fc.uniqueArray(fc.tuple(u32, u32, u32), { maxLength: 2, selector: (parts) => parts.join() }),
  originatorId: fc.option(u32, { nil: undefined }),
  clusterList: fc.array(u32, { maxLength: 3 }),
  otc: fc.option(u32, { nil: undefined }),
  unknown: fc.constantFrom([], [{ flags: 0xe0, type: 77, value: Uint8Array.of(1, 2, 3) }]),
}, { noNullPrototype: true });

/** Sets of the attributes that nearly every route has. */
const plain = attributes.map((value): PathAttributes => ({
  ...value,
  asPath: value.asPath.map(({ asns }) => ({ type: 2, asns })),
  atomicAggregate: false,
  aggregator: undefined,
  largeCommunities: [],
  otc: undefined,
  unknown: [],
}));

/** The value with members that are undefined left out. */
function defined(value: PathAttributes): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined));
}

Deno.test("a set comes back as it was, and equal octets are one set", () => {
  const store = new AttributeStore();
  fc.assert(fc.property(attributes, (value) => {
    const id = store.internValue(value);
    assert.deepEqual(defined(store.decode(id)), defined(value));
    const raw = encodeAttributes(value, PLAIN_INTERNAL);
    assert.equal(store.intern(0, raw, 0, raw.length), id);
    assert.equal(store.internValue({ ...value }), id);
  }));
});

Deno.test("the short cut fills the same columns as the full decoder, or leaves the set to it", () => {
  let shortcuts = 0;
  fc.assert(
    fc.property(fc.oneof(attributes, plain), (value) => {
      const raw = encodeAttributes(value, PLAIN_INTERNAL);
      const fast = makeRow(), full = makeRow();
      if (!scanPlain(raw, 0, raw.length, PLAIN_INTERNAL, false, fast)) return;
      shortcuts++;
      fillRow(full, value);
      assert.deepEqual({ ...fast, flags: fast.flags & 127 }, full);
    }),
    { numRuns: 1000 },
  );
  assert.ok(shortcuts > 20, `only ${shortcuts} sets were plain`);
});

Deno.test("the short cut never takes octets that the decoder refuses", () => {
  fc.assert(
    fc.property(plain, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }), (value, edits) => {
      const raw = encodeAttributes(value, PLAIN_INTERNAL);
      for (const [at, octet] of edits) raw[at % raw.length] = octet;
      const fast = makeRow();
      if (!scanPlain(raw, 0, raw.length, PLAIN_INTERNAL, false, fast)) return;
      const result = decodeAttributes(raw, PLAIN_INTERNAL);
      assert.ok(result.ok && result.discarded.length === 0);
      const full = makeRow();
      fillRow(full, result.attributes);
      assert.deepEqual({ ...fast, flags: fast.flags & 127 }, full);
    }),
    { numRuns: 2000 },
  );
});

Deno.test("sets are freed with their last user, whatever the order, and leave nothing behind", () => {
  fc.assert(fc.property(fc.array(fc.tuple(fc.nat(30), fc.boolean()), { maxLength: 200 }), (steps) => {
    const store = new AttributeStore();
    const uses = new Map<number, number>();
    const base: PathAttributes = {
      origin: 0,
      asPath: [],
      nextHop: Uint8Array.of(10, 0, 0, 1),
      localPref: 1,
      atomicAggregate: false,
      communities: [],
      extendedCommunities: [],
      largeCommunities: [],
      clusterList: [],
      unknown: [],
    };
    for (const [med, isAdded] of steps) {
      const id = store.internValue({ ...base, med });
      assert.equal(store.decode(id).med, med);
      const count = uses.get(med) ?? 0;
      if (isAdded) {
        store.retain(id);
        uses.set(med, count + 1);
      } else if (count > 0) {
        store.release(id);
        uses.set(med, count - 1);
      } else store.releaseUnused(id);
    }
    assert.equal(store.size, [...uses.values()].filter((count) => count > 0).length);
    for (const [med, count] of uses) for (let i = 0; i < count; i++) store.release(store.internValue({ ...base, med }));
    assert.equal(store.size, 0);
    assert.equal(store.octets, 0);
  }));
});
