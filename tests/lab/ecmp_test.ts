/** Two routers originate the same prefix: a host spreads over both, and what others do to those routes is put right. */

import assert from "node:assert/strict";
import { within } from "./workload_lab.ts";
import { ORIGINATED, type TwoHosts, withTwoHosts } from "./two_hosts.ts";

const isRoot = Deno.uid() === 0;

/** The routes of a host that the speaker has installed, both families, with what changes by itself left out. */
async function learnt(lab: TwoHosts): Promise<string> {
  const shown = await lab.run("a", "ip -4 route show proto bird") + await lab.run("a", "ip -6 route show proto bird");
  return shown.split("\n").map((line) => line.trim()).filter((line) => line !== "").join("\n");
}

const via = (first: string, second: string) =>
  new RegExp(`nexthop via ${first} dev eth0.*\n\\s*nexthop via ${second} dev eth0`);

Deno.test({
  name: `a prefix that two routers originate has both as next hops, and nobody's meddling lasts a second${
    isRoot ? "" : " (skipped: needs root)"
  }`,
  ignore: !isRoot,
  fn: (t) =>
    withTwoHosts(async (lab) => {
      for (const host of ["a", "b"] as const) {
        await lab.api(host).workloads.attach({ name: `${host}-one`, netns: lab.namespace(`${host}-one`) });
      }
      await lab.sessions();
      const [four, six] = [`ip -4 route show ${ORIGINATED.v4}`, `ip -6 route show ${ORIGINATED.v6}`];
      const both4 = via("192\\.168\\.100\\.1", "192\\.168\\.100\\.2"), both6 = via("2001:db8:64::1", "2001:db8:64::2");

      await t.step("both next hops are in the FIB, for IPv4 and IPv6", async () => {
        await lab.shows("a", four, both4);
        await lab.shows("a", six, both6);
        await lab.shows("a", "ip -4 route", /^172\.17\.9\.0\/26 via 192\.168\.100\.101/m);
        await lab.shows("a", "ip -6 route", /^fd00:17:9:\S* via 2001:db8:64::101/m);
      });

      const before = await learnt(lab);
      const vandalism = [
        "ip route del 172.17.9.0/26",
        `ip route del ${ORIGINATED.v4}`,
        "ip -6 route del fd00:17:9::/122",
        `ip -6 route del ${ORIGINATED.v6}`,
        `ip -6 route del ${ORIGINATED.v6} via 2001:db8:64::2 dev eth0`,
        "ip -4 route flush proto bird",
        "ip -6 route flush proto bird",
        "ip -4 route flush table main",
        "ip route change 172.17.9.0/26 via 192.168.100.2 dev eth0 proto bird",
        `ip route replace ${ORIGINATED.v4} via 192.168.100.101 dev eth0 proto bird`,
        "ip -6 route replace fd00:17:9::/122 via 2001:db8:64::2 dev eth0 proto bird",
        "ip link set eth0 name stolen",
      ];
      for (const command of vandalism) {
        await t.step(`${command}: repaired within a second`, async () => {
          if (command.includes("flush table")) {
            // Without its connected network no next hop is reachable; that one is for whoever gave the address.
            await lab.run("a", command);
            await lab.run("a", "ip route add 192.168.100.0/24 dev eth0 proto kernel scope link src 192.168.100.100");
          } else if (command.includes("name stolen")) {
            await lab.run("a", command);
            await lab.run("a", "ip link set stolen name eth0");
          } else await lab.run("a", command);
          let now = "";
          await within(1_000, command, async () => (now = await learnt(lab)) === before).catch((error) => {
            throw new assert.AssertionError({ message: `${error.message}:\n${now}\n--- instead of\n${before}` });
          });
        });
      }

      await t.step("the uplink goes down and comes up: the routes are there again with it", async () => {
        await lab.run("a", "ip link set eth0 down");
        await lab.hides("a", "ip -4 route", /proto bird/);
        await lab.run("a", "ip link set eth0 up");
        await lab.run("a", "ip -6 address replace 2001:db8:64::100/64 dev eth0 nodad");
        await lab.shows("a", four, both4, 30_000);
        await lab.shows("a", "ip -4 route", /^172\.17\.9\.0\/26 via 192\.168\.100\.101/m);
        await lab.shows("a", six, both6, 90_000);
      });

      await t.step(
        "a route of somebody else's in the place of ours stays, and ours comes back when it goes",
        async () => {
          await lab.run("a", `ip route replace ${ORIGINATED.v4} via 192.168.100.101 dev eth0 proto static`);
          await lab.run("a", "ip route del 172.17.9.0/26");
          await lab.shows("a", "ip -4 route", /^172\.17\.9\.0\/26 via 192\.168\.100\.101/m, 1_000);
          await lab.shows("a", four, /via 192\.168\.100\.101 dev eth0 proto static/, 1_000);
          await lab.run("a", `ip route del ${ORIGINATED.v4}`);
          await lab.shows("a", four, both4, 1_000);
        },
      );

      await t.step("one router dies and the other stays; it returns and both are used again", async () => {
        await lab.stopRouter("tor2");
        await lab.shows("a", four, /^10\.99\.0\.0\/16 via 192\.168\.100\.1 dev eth0 proto bird onlink *$/m, 5_000);
        await lab.shows("a", six, /^2001:db8:99::\/48 via 2001:db8:64::1 dev eth0/m, 5_000);
        lab.startRouter("tor2");
        await lab.shows("a", four, both4, 60_000);
        await lab.shows("a", six, both6, 60_000);
      });
    }),
});
