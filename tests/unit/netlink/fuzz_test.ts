/** Decoders under random bytes and under damaged messages of a real kernel: they refuse with their own error, nothing else. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { readAttributes } from "../../../src/netlink/attribute.ts";
import { decodeAddress } from "../../../src/netlink/address.ts";
import { decodeLink } from "../../../src/netlink/link.ts";
import { MalformedError } from "../../../src/netlink/malformed.ts";
import { decodeAck, decodeDone, readMessages } from "../../../src/netlink/message.ts";
import { decodeNeighbour } from "../../../src/netlink/neighbour.ts";
import { decodeRoute } from "../../../src/netlink/route_row.ts";
import { decodeRule } from "../../../src/netlink/rule.ts";
import { unhex } from "./bytes_text.ts";
import recorded from "./recorded.json" with { type: "json" };

const asMessage = (body: Uint8Array) => ({ type: 2, flags: 0x300, sequence: 1, port: 1, body });
const BODY_DECODERS: Record<string, (body: Uint8Array) => unknown> = {
  readAttributes,
  decodeAddress,
  decodeLink,
  decodeNeighbour,
  decodeRoute,
  decodeRule,
  decodeAck: (body) => decodeAck(asMessage(body)),
  decodeAckUncapped: (body) => decodeAck({ ...asMessage(body), flags: 0x200 }),
  decodeDone: (body) => decodeDone({ ...asMessage(body), flags: 0x200 }),
};

/** Runs the decoder; true when it decoded, false when it refused with its own error. */
function decodes(decode: (bytes: Uint8Array) => unknown, bytes: Uint8Array): boolean {
  try {
    decode(bytes);
    return true;
  } catch (error) {
    assert.ok(error instanceof MalformedError, `${error}`);
    return false;
  }
}

const datagrams = Object.values(recorded).flatMap((table) => table.datagrams.map(unhex));
const bodies = datagrams.flatMap((datagram) => [...readMessages(datagram)].map(({ body }) => body));

/** A real message with a few bytes overwritten, and perhaps cut or lengthened. */
function damaged(originals: Uint8Array[]): fc.Arbitrary<Uint8Array> {
  const overwrite = fc.tuple(
    fc.nat(),
    fc.oneof(fc.constantFrom(0, 1, 3, 4, 0x7f, 0x80, 0xff), fc.integer({ min: 0, max: 255 })),
  );
  return fc.tuple(fc.constantFrom(...originals), fc.array(overwrite, { maxLength: 6 }), fc.option(fc.nat())).map(
    ([original, overwrites, cut]) => {
      const bytes = original.slice();
      for (const [at, value] of overwrites) if (bytes.length > 0) bytes[at % bytes.length] = value;
      return cut === null ? bytes : bytes.slice(0, cut % (bytes.length + 1));
    },
  );
}

for (const [name, decode] of Object.entries(BODY_DECODERS)) {
  Deno.test(`${name} survives random bytes`, () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void decodes(decode, bytes)), {
      numRuns: 2000,
    });
  });

  Deno.test(`${name} survives damaged messages of a real kernel, and reads some of them`, () => {
    let decoded = 0, refused = 0;
    fc.assert(fc.property(damaged(bodies), (bytes) => void (decodes(decode, bytes) ? decoded++ : refused++)), {
      numRuns: 3000,
    });
    assert.ok(decoded > 0 && refused > 0, `${decoded} decoded, ${refused} refused`);
  });
}

Deno.test("readMessages survives random and damaged datagrams", () => {
  const all = (datagram: Uint8Array) => [...readMessages(datagram)];
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), damaged(datagrams)), (bytes) => void decodes(all, bytes)),
    {
      numRuns: 3000,
    },
  );
});

Deno.test("every decoder reads the undamaged messages of its kind", () => {
  const kinds: [keyof typeof recorded, (body: Uint8Array) => unknown][] = [
    ["links", decodeLink],
    ["addresses", decodeAddress],
    ["routes4", decodeRoute],
    ["routes6", decodeRoute],
    ["neighbours", decodeNeighbour],
    ["proxies", decodeNeighbour],
    ["rules", decodeRule],
  ];
  for (const [table, decode] of kinds) {
    const whole = recorded[table].datagrams.flatMap((text) => [...readMessages(unhex(text))]).filter(({ type }) =>
      type !== 3
    );
    assert.ok(whole.length > 0 && whole.every(({ body }) => decodes(decode, body)), table);
  }
});
