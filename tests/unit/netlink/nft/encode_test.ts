/** Rules as expressions: the recorded bytes of an independent library, refusals, and the canonical form. */

import assert from "node:assert/strict";
import { readAttributes } from "../../../../src/netlink/attribute.ts";
import { canonicalRule, readExpressions } from "../../../../src/netlink/nft/canonical.ts";
import { NFTA_RULE_EXPRESSIONS } from "../../../../src/netlink/nft/constants.ts";
import { CommandError, encodeBatch } from "../../../../src/netlink/nft/message.ts";
import { fieldNames } from "../../../../src/netlink/nft/fields.ts";
import { printRule } from "../../../../src/netlink/nft/print.ts";
import {
  accept,
  among,
  drop,
  has,
  inSet,
  is,
  isNot,
  jump,
  leave,
  masked,
  rule,
  setBits,
} from "../../../../src/netlink/nft/rule.ts";
import type { Rule, Statement } from "../../../../src/netlink/nft/ruleset.ts";
import { corpus } from "../../../lab/nft_corpus.ts";

const path = new URL("../../../../../shared/conformance/nftables-netlink.json", import.meta.url);
const text = await Deno.readTextFile(path).catch(() => undefined);

interface Case {
  readonly messages: readonly { readonly comments: readonly string[]; readonly hex: string }[];
}

const dnat = (ports: string): Statement => ({ kind: "dnat", family: "ip", to: "192.168.23.2", ports });

/** Rows that the firewall's language can say; the table of the rows is of the family ip or ip6, which needs no check of it. */
const rows: [string, Rule][] = [
  [
    "nft add rule nat postrouting oifname uplink0 masquerade",
    rule([is("oifname", "uplink0")], [{ kind: "masquerade" }]),
  ],
  [
    "nft add rule nat postrouting ip saddr 192.168.69.2 masquerade",
    rule([is("ip saddr", "192.168.69.2")], [{ kind: "masquerade" }]),
  ],
  [
    "nft add rule nat prerouting iif uplink0 tcp dport 4070 dnat 192.168.23.2:4080",
    rule([is("iifname", "uplink0"), is("tcp dport", 4070)], [dnat("4080")]),
  ],
  [
    "nft add rule nat prerouting iifname uplink0 udp dport 4070-4090 dnat 192.168.23.2:4070-4090",
    rule([is("iifname", "uplink0"), is("udp dport", "4070-4090")], [dnat("4070-4090")]),
  ],
  ["nft add rule ipv4table ipv4chain-1  log prefix nftables", rule([], [{ kind: "log", prefix: "nftables" }])],
  ["sudo nft add rule filter forward ct mark set 1", rule([], [{ kind: "set", field: "ct mark", value: 1 }])],
  ["ct state established,related accept", rule([has("ct state", "established", "related")], [accept])],
  ["nft add rule filter forward tcp dport 1234 drop", rule([is("tcp dport", 1234)], [drop])],
  ["nft add rule filter forward tcp dport {69, 1163} drop", rule([among("tcp dport", [69, 1163])], [drop])],
  [
    "nft add rule nat prerouting tcp dport 1-65535 jump istio_redirect",
    rule([is("tcp dport", "1-65535")], [jump("istio_redirect")]),
  ],
  ["nft add rule filter forward tcp sport != 2024-2030  return", rule([isNot("tcp sport", "2024-2030")], [leave])],
  [
    "nft add rule filter forward ip saddr != 192.168.1.0-192.168.2.0  return",
    rule([isNot("ip saddr", "192.168.1.0-192.168.2.0")], [leave]),
  ],
  [
    "nft add rule ip6 filter forward ip6 saddr != 2001:0001::1-2001:0002::1 return",
    rule([isNot("ip6 saddr", "2001:1::1-2001:2::1")], [leave]),
  ],
  ["nft add rule filter base_chain notrack", rule([], [{ kind: "notrack" }])],
];

if (text === undefined) {
  Deno.test({ name: "recorded rules are encoded alike (skipped: no conformance data)", ignore: true, fn: () => {} });
} else {
  const cases: Case[] = JSON.parse(text).cases;
  for (const [command, one] of rows) {
    Deno.test(`"${command}" is encoded as it was recorded`, () => {
      const message = cases.flatMap(({ messages }) => messages).find(({ comments }) => comments.includes(command));
      assert.ok(message, "no such row");
      const body = Uint8Array.from(message.hex.match(/../g) ?? [], (byte) => parseInt(byte, 16));
      const expressions = readAttributes(body, 4).get(NFTA_RULE_EXPRESSIONS);
      assert.ok(expressions);
      const recorded = readExpressions(expressions, 0, expressions.length, () => "{set}").text;
      const familyCheck = /^meta\(1=00000001,2=0000000f\)cmp\(1=00000001,2=00000000,3=(02|0a)\)/;
      assert.equal(canonicalRule("inet", one).replace(familyCheck, "").replace(/\{13:[^}]*\}/, "{set}"), recorded);
    });
  }
}

const refused: [string, Rule][] = [
  ["a port past 65535", rule([is("tcp dport", 65536)], [drop])],
  ["a range that runs backwards", rule([is("tcp dport", "90-80")], [drop])],
  ["an address of the other family", rule([is("ip saddr", "2001:db8::1")], [drop])],
  ["a prefix that is too long", rule([is("ip saddr", "10.0.0.0/33")], [drop])],
  ["an octet with a leading zero", rule([is("ip saddr", "10.0.0.01")], [drop])],
  ["an interface name of 16 bytes", rule([is("iifname", "a123456789012345")], [drop])],
  ["an empty interface name", rule([is("iifname", "")], [drop])],
  ["an empty list", rule([among("tcp dport", [])], [drop])],
  ["no flags", rule([has("ct state")], [drop])],
  ["an unknown flag", rule([has("ct state", "dnat")], [drop])],
  ["an unknown field", rule([is("tcp flags" as "tcp dport", 1)], [drop])],
  ["an ARP field in the table of IP", rule([is("arp operation", "reply")], [drop])],
  ["a mask on a port", rule([{ kind: "is", field: "tcp dport", value: 1, mask: 1 }], [drop])],
  ["a limit of nothing", rule([{ kind: "limit", rate: 0, per: "second" }], [drop])],
  ["half a connection", rule([{ kind: "ct count", count: 0.5 }], [drop])],
  ["a log prefix of 128 bytes", rule([], [{ kind: "log", prefix: "x".repeat(128) }])],
  ["a log to two places", rule([], [{ kind: "log", level: "info", group: 1 }])],
  ["a DSCP of seven bits", rule([], [{ kind: "set", field: "ip dscp", value: 64 }])],
  ["a comment of 128 bytes", rule([], [drop], "x".repeat(128))],
  ["a comment with quotes", rule([], [drop], 'a "b"')],
  [
    "a concatenation of more than 64 bytes",
    rule([inSet(["ip6 saddr", "ip6 daddr", "iifname", "oifname", "meta mark"], "s")], [drop]),
  ],
];
for (const [what, one] of refused) {
  Deno.test(`a rule with ${what} is refused, by the place of its command`, () => {
    const commands = [
      { op: "add table", family: "inet" },
      { op: "add rule", family: "inet", chain: "c", rule: one },
    ] as const;
    assert.throws(
      () => encodeBatch(commands, { first: 1 }),
      (error) => error instanceof CommandError && error.index === 1,
    );
  });
}

Deno.test("every field is in the corpus that the kernel and nft are held against", () => {
  const used = new Set(
    corpus().tables.flatMap(({ chains }) => [...chains.values()]).flatMap(({ rules }) => rules)
      .flatMap(({ matches }) => matches).flatMap((match) =>
        match.kind === "in" ? match.fields : "field" in match ? [match.field] : []
      ),
  );
  // These lie beside fields of the same shape.
  const alike = /^(tcp|udp|udplite|sctp) |^ct (original|reply) |^ether daddr$/;
  assert.deepEqual(fieldNames().filter((field) => !used.has(field) && !alike.test(field)), []);
});

Deno.test("rules that mean different things have different canonical texts and prints", () => {
  const rules = corpus().tables.flatMap(({ family, chains }) =>
    [...chains.values()].flatMap((chain) => chain.rules.map((one) => ({ family, one })))
  );
  const texts = new Map<string, string>();
  for (const { family, one } of rules) {
    const canonical = `${family} ${canonicalRule(family, one, (set) => /^(npi|ifip)$/.test(set))}`,
      print = `${family} ${printRule(one)}`;
    assert.equal(texts.get(canonical) ?? print, print);
    texts.set(canonical, print);
  }
  assert.equal(texts.size, new Set(texts.values()).size);
  assert.ok(texts.size > 140);
});

Deno.test("the same mark change written in two ways is one", () => {
  const one = canonicalRule("inet", rule([masked("meta mark", 1, 1)], [setBits(0x10)]));
  assert.equal(
    one,
    canonicalRule("inet", rule([masked("meta mark", 1, 1)], [{ kind: "change mark", and: 0xffffffff, or: 0x10 }])),
  );
});

Deno.test("the last message of a transaction asks for an ack, and messages know their commands", () => {
  const commands = [
    { op: "add table", family: "inet" },
    { op: "add chain", family: "inet", chain: "c" },
    { op: "add rule", family: "inet", chain: "c", rule: rule([among("tcp dport", [1, 2])], [drop]) },
  ] as const;
  const batch = encodeBatch(commands, { first: 0xfffffffe, generation: 7 });
  const messages: { type: number; flags: number; sequence: number }[] = [];
  const view = new DataView(batch.bytes.buffer, batch.bytes.byteOffset, batch.bytes.length);
  for (let at = 0; at < batch.bytes.length; at += (view.getUint32(at, true) + 3) & ~3) {
    messages.push({
      type: view.getUint16(at + 4, true),
      flags: view.getUint16(at + 6, true),
      sequence: view.getUint32(at + 8, true),
    });
  }
  assert.deepEqual(messages.map(({ type }) => type), [16, 0xa00, 0xa03, 0xa09, 0xa0c, 0xa06, 17]);
  assert.deepEqual(messages.map(({ flags }) => (flags & 4) !== 0), [false, false, false, false, false, true, false]);
  assert.deepEqual(messages.map(({ sequence }) => sequence), [0xfffffffe, 0xffffffff, 0, 1, 2, 3, 4]);
  assert.deepEqual(messages.map((_, i) => batch.commandAt(i)), [undefined, 0, 1, 2, 2, 2, undefined]);
  assert.equal(batch.count, messages.length);
});
