/** The rules by which addresses are given, seen through the command line of a running node. */

import assert from "node:assert/strict";
import { eventually, type OneNode, withNode } from "./one_node.ts";

const isRoot = Deno.uid() === 0;

const RESOURCES = `---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: { name: pool-rack }
spec: { cidr: 172.17.20.0/28, blockSize: 30, nodeSelector: "rack == 'one'" }
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: { name: pool-other-rack }
spec: { cidr: 172.17.21.0/28, blockSize: 28, nodeSelector: "rack == 'two'" }
---
apiVersion: projectcalico.org/v3
kind: IPReservation
metadata: { name: kept-back }
spec: { reservedCIDRs: [172.17.8.0/30, 172.17.20.1/32] }
`;

let taps = 0;

/** Attaches a new tap; returns its address. */
async function attach(node: OneNode, ...more: string[]): Promise<string> {
  const tap = `vm${taps++}`;
  await node.ip("tuntap", "add", tap, "mode", "tap");
  const { code, stdout, stderr } = await node.tortie(["workload", "attach", tap, "--tap", tap, ...more]);
  assert.equal(code, 0, stderr);
  return stdout.trim().split(/\s+/).at(-1) ?? "";
}

async function refused(node: OneNode, pattern: RegExp, ...more: string[]): Promise<void> {
  const tap = `vm${taps++}`;
  await node.ip("tuntap", "add", tap, "mode", "tap");
  const { code, stdout, stderr } = await node.tortie(["workload", "attach", tap, "--tap", tap, ...more]);
  assert.deepEqual([code, stdout, stderr.trim().split("\n").length], [1, "", 1], stderr);
  assert.match(stderr, pattern);
}

Deno.test({
  name: `reservations, pools by label, limits and explicit addresses hold at a running node${
    isRoot ? "" : " (skipped: needs root)"
  }`,
  ignore: !isRoot,
  fn: (t) =>
    withNode(async (node) => {
      Deno.writeTextFileSync(node.config, Deno.readTextFileSync(node.config) + RESOURCES);
      await node.start();

      await t.step("reserved addresses are not given by themselves but can be asked for", async () => {
        assert.equal(await attach(node), "172.17.8.4");
        assert.equal(await attach(node, "--ip", "172.17.8.1"), "172.17.8.1");
      });

      await t.step("an address of a pool that is another host's, or of none, is refused", async () => {
        await refused(node, /172\.17\.21\.3/, "--ip", "172.17.21.3");
        await refused(node, /172\.17\.9\.3/, "--ip", "172.17.9.3");
        await refused(node, /203\.0\.113\.3/, "--ip", "203.0.113.3");
        await refused(node, /172\.17\.8\.1/, "--ip", "172.17.8.1");
      });

      await t.step("the limit of blocks per host stops the next block and says how to mend it", async () => {
        for (const last of [5, 6, 7]) assert.equal(await attach(node), `172.17.8.${last}`);
        const configured = await node.tortie([
          "ipam",
          "configure",
          "--strict-affinity",
          "true",
          "--max-blocks-per-host",
          "1",
        ]);
        assert.equal(configured.code, 0, configured.stderr);
        await refused(node, /1 block|blocks per host|max-?blocks/i);
        await node.tortie(["ipam", "configure", "--max-blocks-per-host", "0"]);
      });

      await t.step(
        "then the pool that the node's label selects is used, block by block, past what is reserved",
        async () => {
          const given: string[] = [];
          for (let i = 0; i < 4; i++) given.push(await attach(node));
          assert.deepEqual(given, ["172.17.20.0", "172.17.20.2", "172.17.20.3", "172.17.20.4"]);
          const blocks = (await node.json("ipam", "show", "--blocks")) as { cidr: string; used: number }[];
          assert.deepEqual(blocks.map(({ cidr, used }) => `${cidr} ${used}`).sort(), [
            "172.17.20.0/30 3",
            "172.17.20.4/30 1",
            "172.17.8.0/29 5",
          ]);
          for (const block of ["172.17.20.0/30", "172.17.20.4/30", "172.17.8.0/29"]) {
            await eventually(
              `${block} is a blackhole`,
              async () => (await node.ip("route")).includes(`blackhole ${block} proto 80`),
            );
          }
        },
      );

      await t.step("an address that was given back is the last of its block to be given again", async () => {
        const before = await node.json("workload", "list") as { name: string; addresses: string[] }[];
        const first = before.find(({ addresses }) => addresses.includes("172.17.20.4"));
        assert.ok(first);
        assert.equal((await node.tortie(["workload", "detach", first.name])).code, 0);
        const given: string[] = [];
        for (let i = 0; i < 4; i++) given.push(await attach(node));
        assert.deepEqual(given, ["172.17.20.5", "172.17.20.6", "172.17.20.7", "172.17.20.4"]);
        assert.deepEqual(await node.json("ipam", "check"), []);
      });
    }),
});
