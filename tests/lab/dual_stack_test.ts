/** Workloads with an IPv4 and an IPv6 address each on two hosts, with `ip`, `ping` and BIRD as witnesses. */

import assert from "node:assert/strict";
import { until } from "../../src/lab/lab.ts";
import { ORIGINATED, type TwoHosts, withTwoHosts } from "./two_hosts.ts";

const isRoot = Deno.uid() === 0;

const v4 = (addresses: readonly string[]) => addresses.find((address) => !address.includes(":")) ?? "";
const v6 = (addresses: readonly string[]) => addresses.find((address) => address.includes(":")) ?? "";

async function attach(lab: TwoHosts) {
  const all = new Map<"a-one" | "a-two" | "b-one" | "b-two", readonly string[]>();
  for (const host of ["a", "b"] as const) {
    for (const which of ["one", "two"] as const) {
      const name = `${host}-${which}` as const;
      const { addresses } = await lab.api(host).workloads.attach({ name, netns: lab.namespace(name) });
      all.set(name, addresses);
    }
  }
  return all;
}

Deno.test({
  name: `two hosts route both families for their workloads${isRoot ? "" : " (skipped: needs root)"}`,
  ignore: !isRoot,
  fn: (t) =>
    withTwoHosts(async (lab) => {
      const workloads = await attach(lab);
      await lab.sessions();

      await t.step("each workload has one address of each family out of its host's pools", () => {
        for (const [name, addresses] of workloads) {
          assert.equal(addresses.length, 2, name);
          const block = name.startsWith("a") ? 8 : 9;
          assert.match(v4(addresses), new RegExp(`^172\\.17\\.${block}\\.\\d+$`));
          assert.match(v6(addresses), new RegExp(`^fd00:17:${block}:`));
        }
      });

      await t.step("in a workload the IPv6 default leads to the host's end of its link", async () => {
        const routes = await lab.run("a-one", "ip -6 route");
        assert.match(routes, /^default via fe80::ecee:eeff:feee:eeee dev eth0/m);
        assert.match(
          await lab.run("a-one", "ip -6 address show dev eth0 scope global"),
          new RegExp(`inet6 ${v6(workloads.get("a-one") ?? [])}/128 scope global(?! tentative)`),
        );
        assert.match(await lab.run("a-one", "ip -4 route"), /^default via 169\.254\.1\.1 dev eth0/m);
      });

      await t.step("the host's IPv6 FIB has the shape of its IPv4 one", async () => {
        await lab.shows("a", "ip -6 route", /^fd00:17:9:\S*\/122 via 2001:db8:64::101 dev eth0 proto bird .*onlink/m);
        const routes = await lab.run("a", "ip -6 route");
        for (const name of ["a-one", "a-two"] as const) {
          assert.match(routes, new RegExp(`^${v6(workloads.get(name) ?? [])} dev cali[0-9a-f]{11} metric 1024`, "m"));
        }
        assert.match(routes, /^blackhole fd00:17:8:\S*\/122 dev lo proto 80/m);
        await lab.shows("a", "ip -4 route", /^172\.17\.9\.0\/26 via 192\.168\.100\.101 dev eth0 proto bird onlink/m);
      });

      await t.step("both routers have every block of both families, with next hop and AS path", async () => {
        for (const router of ["tor1", "tor2"] as const) {
          for (const [host, block, number] of [["a", 8, 100], ["b", 9, 101]] as const) {
            const six = await lab.birdc(router, "show", "route", "all", "protocol", `${host}_ipv6`);
            assert.match(six, new RegExp(`fd00:17:${block}:\\S*/122`));
            assert.match(six, new RegExp(`BGP\\.next_hop: 2001:db8:64::${number}`));
            assert.match(six, /BGP\.as_path: 64512\n/);
            const four = await lab.birdc(router, "show", "route", "all", "protocol", `${host}_ipv4`);
            assert.match(four, new RegExp(`172\\.17\\.${block}\\.0/26`));
            assert.match(four, new RegExp(`BGP\\.next_hop: 192\\.168\\.100\\.${number}\n`));
          }
        }
      });

      await t.step("what the routers originate is in the hosts' FIBs of both families", async () => {
        await lab.shows("b", "ip -6 route show proto bird", new RegExp(`^${ORIGINATED.v6} `, "m"));
        await lab.shows("b", "ip -4 route show proto bird", new RegExp(`^${ORIGINATED.v4} `, "m"));
      });

      await t.step("every workload reaches every other over both families, across hosts too", async () => {
        for (const from of workloads.keys()) {
          for (const [to, addresses] of workloads) {
            if (from === to) continue;
            for (const address of addresses) {
              await until(`${from} reaches ${to} at ${address}`, 5_000, async () =>
                / 1 received/.test(await lab.run(from, `ping -n -c 1 -W 1 ${address}`, true)));
            }
          }
        }
      });

      await t.step(
        "the routers reach the workloads, and the answer comes from the address that was asked",
        async () => {
          for (const addresses of workloads.values()) {
            for (const address of addresses) {
              assert.match(await lab.run("tor1", `ping -n -c 1 -W 2 ${address}`, true), new RegExp(`from ${address}`));
            }
          }
        },
      );

      await t.step("a workload that leaves takes its routes of both families along", async () => {
        const gone = workloads.get("a-two") ?? [];
        await lab.api("a").workloads.detach("a-two");
        const left = await lab.run("a", "ip -4 route") + await lab.run("a", "ip -6 route");
        for (const address of gone) {
          assert.ok(!left.includes(`${address} dev`), left);
        }
        const blocks = await lab.api("a").ipam.showBlocks();
        assert.deepEqual(
          blocks.map(({ used }) =>
            used
          ),
          [1, 1],
        );
      });
    }),
});

/** The file of a host that has IPv6 alone. */
function withoutIpv4(text: string): string {
  const documents = text.replace(/ipv4Address: [0-9./]+, /g, "").replace(/ip: 192[0-9./]+, /, "ip: none, ").split(
    "---\n",
  );
  return documents.filter((each) => !/pool4|-v4 /.test(each)).join("---\n");
}

Deno.test({
  name: `hosts that have no IPv4 at all route IPv6 for their workloads${isRoot ? "" : " (skipped: needs root)"}`,
  ignore: !isRoot,
  fn: () =>
    withTwoHosts(async (lab) => {
      for (const host of ["a", "b"] as const) {
        await lab.stopNode(host);
        Deno.writeTextFileSync(lab.config(host), withoutIpv4(Deno.readTextFileSync(lab.config(host))));
        await lab.run(host, "ip -4 address flush dev eth0");
        await lab.startNode(host);
      }
      const one = await lab.api("a").workloads.attach({ name: "a-one", netns: lab.namespace("a-one") });
      const two = await lab.api("b").workloads.attach({ name: "b-one", netns: lab.namespace("b-one") });
      assert.deepEqual([...one.addresses, ...two.addresses].filter((address) => !address.includes(":")), []);
      await until("three sessions are established", 30_000, async () =>
        (await lab.api("a").status()).bgp.established === 3);
      await lab.shows("a", "ip -6 route", /^fd00:17:9:\S*\/122 via 2001:db8:64::101 dev eth0 proto bird/m);
      await lab.shows("b", "ip -6 route", /^fd00:17:8:\S*\/122 via 2001:db8:64::100 dev eth0 proto bird/m);
      assert.match(await lab.run("a-one", `ping -n -c 1 -W 2 ${two.addresses[0]}`, true), / 1 received/);
      assert.match(await lab.run("tor1", `ping -n -c 1 -W 2 ${one.addresses[0]}`, true), / 1 received/);
      assert.equal((await lab.api("a").status()).node.ip, null);
    }),
});
