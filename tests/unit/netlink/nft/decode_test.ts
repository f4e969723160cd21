/** Messages of the kernel about tables, chains, rules and sets: ours are decoded, others passed over, damaged ones refused. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { ByteWriter } from "../../../../src/lib/bytes.ts";
import { putString } from "../../../../src/netlink/attribute.ts";
import { MalformedError } from "../../../../src/netlink/malformed.ts";
import { readMessages } from "../../../../src/netlink/message.ts";
import { canonicalRule, commentOf, readExpressions, withComment } from "../../../../src/netlink/nft/canonical.ts";
import * as decode from "../../../../src/netlink/nft/decode.ts";
import { commentUserdata, encodeBatch } from "../../../../src/netlink/nft/message.ts";
import { accept, counter, is, rule } from "../../../../src/netlink/nft/rule.ts";
import { corpus } from "../../../lab/nft_corpus.ts";
import { makePlan } from "../../../../src/dataplane/firewall_plan.ts";

/** The bodies of all messages that make the corpus stand, by type. */
function bodies(): Map<number, Uint8Array[]> {
  const found = new Map<number, Uint8Array[]>();
  const { commands } = makePlan(new Map(), corpus(), { mayRemove: true });
  for (const { type, body } of readMessages(encodeBatch(commands, { first: 1 }).bytes)) {
    found.set(type, [...found.get(type) ?? [], body]);
  }
  return found;
}

Deno.test("what is sent is decoded as it was meant", () => {
  const sent = bodies();
  assert.deepEqual(sent.get(0xa00)?.map(decode.decodeTable), [{ family: "inet", flags: 0 }, {
    family: "arp",
    flags: 0,
  }]);
  const chains = corpus().tables.flatMap(({ family, chains }) =>
    [...chains.values()].map(({ name, base }) => ({ family, name, base }))
  );
  assert.deepEqual(sent.get(0xa03)?.map(decode.decodeChain), chains);
  const sets = (sent.get(0xa09) ?? []).map(decode.decodeSet).filter((set) => set && !set.name.startsWith("__"));
  const declared = corpus().tables.flatMap(({ sets }) => [...sets.values()]);
  assert.deepEqual(
    sets.map((set) => [set?.name, set?.key, set?.value]),
    declared.map(({ name, key, value }) => [name, key, value]),
  );
  const rules = corpus().tables.flatMap(({ family, chains, sets }) =>
    [...chains.values()].flatMap((chain) =>
      chain.rules.map((one) =>
        `${chain.name} ${canonicalRule(family, one, (name) => sets.get(name)?.isInterval ?? false)}`
      )
    )
  );
  const decoded = (sent.get(0xa06) ?? []).map(decode.decodeRule).map((row) => {
    assert.ok(row);
    const { text } = readExpressions(row.expressions, 0, row.expressions.length, () => "{}");
    return `${row.chain} ${withComment(text, row.comment)}`;
  });
  assert.deepEqual(decoded, rules.map((one) => one.replace(/\{\d+:[^}]*\}/g, "{}")));
});

Deno.test("objects of other tables and families are passed over", () => {
  for (const [family, table] of [[1, "theirs"], [2, "tortie"], [10, "tortie"], [7, "tortie"]] as const) {
    const writer = new ByteWriter();
    writer.u8(family).u8(0).u16be(0);
    putString(writer, 1, table);
    const body = writer.bytes();
    for (const read of [decode.decodeTable, decode.decodeChain, decode.decodeRule, decode.decodeSet, decode.tableOf]) {
      assert.equal(read(body), undefined, `${family} ${table}`);
    }
  }
});

Deno.test("a comment survives its user data, and damaged user data holds none", () => {
  fc.assert(fc.property(fc.string({ unit: "grapheme", maxLength: 30 }), (comment) => {
    // deno-lint-ignore no-control-regex
    fc.pre(!/["\0-\x1f]/.test(comment) && new TextEncoder().encode(comment).length < 128);
    assert.equal(commentOf(commentUserdata(comment)), comment);
  }));
  fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (userdata) => {
    const comment = commentOf(userdata);
    assert.ok(comment === undefined || typeof comment === "string");
  }));
});

Deno.test("counters are read and do not change the content", () => {
  const one = rule([is("tcp dport", 80)], [counter, accept]);
  const { commands } = { commands: [{ op: "add rule", family: "inet", chain: "c", rule: one }] as const };
  const [message] = [...readMessages(encodeBatch(commands, { first: 1 }).bytes)].filter(({ type }) => type === 0xa06);
  const row = message && decode.decodeRule(message.body);
  assert.ok(row);
  const bytes = row.expressions.slice();
  // The counter's two numbers are the only eight-byte attributes: put 5 packets of 300 bytes in.
  const view = new DataView(bytes.buffer);
  for (let at = 0; at + 12 <= bytes.length; at += 4) {
    const isNumber = view.getUint16(at, true) === 12 && bytes.subarray(at + 4, at + 12).every((byte) => byte === 0);
    if (isNumber) view.setBigUint64(at + 4, view.getUint16(at + 2, true) === 1 ? 300n : 5n);
  }
  const read = readExpressions(bytes, 0, bytes.length, () => "");
  assert.deepEqual([read.packets, read.bytes], [5n, 300n]);
  assert.equal(read.text, canonicalRule("inet", one));
});

Deno.test("damaged messages are refused with MalformedError or read, and nothing else", () => {
  const all = [...bodies().values()].flat();
  let refused = 0;
  fc.assert(
    fc.property(fc.nat(), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 }), fc.nat(), (pick, edits, cut) => {
      const bytes = (all[pick % all.length] ?? new Uint8Array(8)).slice();
      for (const [at, byte] of edits) bytes[at % bytes.length] = byte;
      const body = cut % 3 === 0 ? bytes.subarray(0, cut % bytes.length) : bytes;
      const reads = [
        decode.decodeTable,
        decode.decodeChain,
        decode.decodeSet,
        decode.decodeGeneration,
        (one: Uint8Array) => {
          const row = decode.decodeRule(one);
          if (row) readExpressions(row.expressions, 0, row.expressions.length, () => "");
        },
        (one: Uint8Array) => decode.decodeElements(one, "verdict", () => {}),
      ];
      for (const read of reads) {
        try {
          read(body);
        } catch (error) {
          assert.ok(error instanceof MalformedError, String(error));
          refused++;
        }
      }
    }),
    { numRuns: 5000 },
  );
  assert.ok(refused > 500, `only ${refused} were refused`);
});
