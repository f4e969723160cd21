/**
 * Debian's `nft` as the witness: it makes the same bytes of our text as we make of the rules, it prints our rules back as our
 * text, and the golden file shows that text.
 */

import assert from "node:assert/strict";
import { makePlan } from "../../src/dataplane/firewall_plan.ts";
import { openNamespace } from "../../src/linux/namespace.ts";
import { NETLINK_NETFILTER, openNetlink } from "../../src/linux/netlink_socket.ts";
import { openFirewall } from "../../src/linux/nftables.ts";
import { putString } from "../../src/netlink/attribute.ts";
import { NFT_MSG_GETRULE, NFTA_RULE_TABLE } from "../../src/netlink/nft/constants.ts";
import { decodeRule } from "../../src/netlink/nft/decode.ts";
import { familyNumber, putGenmsg } from "../../src/netlink/nft/message.ts";
import { printRule, printRuleset, printTable } from "../../src/netlink/nft/print.ts";
import type { TableFamily } from "../../src/netlink/nft/ruleset.ts";
import { dump } from "../../src/netlink/request.ts";
import { corpus } from "./nft_corpus.ts";
import { hasNft, inNftNamespace, isRoot, nft } from "./nft_lab.ts";

const ignore = !isRoot || !hasNft;
const golden = new URL("../golden/nft/corpus.nft", import.meta.url);

/** The expressions of every rule by chain, as the kernel dumps them, in hex. */
async function rawRules(namespace: string, family: TableFamily): Promise<Map<string, string[]>> {
  const opened = openNamespace(namespace);
  const socket = openNetlink({ namespace: opened, protocol: NETLINK_NETFILTER });
  const rules = new Map<string, string[]>();
  try {
    await dump(socket, {
      operation: "list rules",
      type: NFT_MSG_GETRULE,
      body: (w) => {
        putGenmsg(w, familyNumber(family));
        putString(w, NFTA_RULE_TABLE, "tortie");
      },
    }, {
      restart: () => rules.clear(),
      visit: (_type, bytes, from, to) => {
        const rule = decodeRule(bytes.subarray(from, to));
        if (!rule) return;
        const hex = [...rule.expressions].map((byte) => byte.toString(16).padStart(2, "0")).join("");
        rules.set(rule.chain, [...rules.get(rule.chain) ?? [], `${hex} ${rule.comment ?? ""}`]);
      },
    });
  } finally {
    socket.close();
    opened.close();
  }
  return rules;
}

async function load(namespace: string): Promise<void> {
  const firewall = openFirewall(namespace);
  try {
    await firewall.apply(makePlan(new Map(), corpus(), { mayRemove: true }).commands);
  } finally {
    firewall.close();
  }
}

/** Lines without indentation, with lists that go over several lines joined. */
function linesOf(text: string): string[] {
  return text.replace(/,\s*\n\s*/g, ", ").split("\n").map((line) => line.trim()).filter((line) => line !== "");
}

Deno.test(
  { name: "every rule is byte for byte what nft makes of its text", ignore },
  () =>
    inNftNamespace((theirs) =>
      inNftNamespace(async (ours) => {
        await nft(theirs, ["-f", "-"], printRuleset(corpus()));
        await load(ours);
        let compared = 0;
        for (const { family, chains } of corpus().tables) {
          const [wanted, found] = [await rawRules(theirs, family), await rawRules(ours, family)];
          for (const chain of chains.values()) {
            for (const [i, rule] of chain.rules.entries()) {
              assert.equal(found.get(chain.name)?.[i], wanted.get(chain.name)?.[i], printRule(rule));
              compared++;
            }
          }
        }
        assert.ok(compared > 140, `only ${compared} rules were compared`);
      })
    ),
);

Deno.test(
  { name: "nft lists our tables as our own text, line for line", ignore },
  () =>
    inNftNamespace(async (namespace) => {
      await load(namespace);
      for (const table of corpus().tables) {
        const listed = linesOf(await nft(namespace, ["-s", "-y", "list", "table", table.family, table.name]));
        // nft puts sets and chains in an order of its own: blocks are compared as they come, their lines in order.
        const blocks = (lines: string[]) =>
          lines.slice(1, -1).join("\n").split(/\n(?=(?:set|map|chain) )/).map((block) => block.trim()).sort();
        assert.deepEqual(blocks(listed), blocks(linesOf(printTable(table))));
      }
    }),
);

Deno.test("the text of the whole language is as the golden file has it", async () => {
  const text = printRuleset(corpus());
  if (Deno.env.get("UPDATE_GOLDEN") === "1") await Deno.writeTextFile(golden, text);
  assert.equal(text, await Deno.readTextFile(golden));
});
