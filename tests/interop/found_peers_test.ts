/** Peers that no configuration names by address: callers from a prefix, and the router at the other end of a link. */

import assert from "node:assert/strict";
import { birdClient } from "./clients.ts";
import { eventually, startFrr } from "./daemons.ts";
import { answers, established, ip4, onFabric, peerAt, speakerAt } from "./fabric.ts";

onFabric(
  "whoever calls from a prefix is a peer, others are refused, and one that is gone is forgotten",
  4,
  async (fabric) => {
    const template = peerAt(0, { name: "rack", address: "", rrClient: true, dynamicNeighbours: [`${ip4(2)}/31`] });
    const config = speakerAt(1, [template]);
    const tortie = fabric.tortie(1, config);
    await eventually("the listener", async () => (await tortie.ask({ kind: "peers" })).length === 0);
    const two = await birdClient(fabric, { number: 2, prefix: "10.50.2.0/24", peers: [1] });
    const three = await birdClient(fabric, { number: 3, prefix: "10.50.3.0/24", peers: [1] });
    await birdClient(fabric, { number: 4, prefix: "10.50.4.0/24", peers: [1] });
    await established(tortie, `rack.${ip4(2)}`);
    await established(tortie, `rack.${ip4(3)}`);
    await answers(three, ["show", "route", "all"], /10\.50\.2\.0\/24/);
    await answers(two, ["show", "route", "all"], /10\.50\.3\.0\/24/);
    await eventually("the refusal", async () => await Promise.resolve(/Refused a BGP connection/.test(tortie.log())));
    assert.deepEqual(
      (await tortie.ask({ kind: "peers" })).map(({ name }) => name).sort(),
      [2, 3].map((n) => `rack.${ip4(n)}`),
    );
    tortie.configure({ ...config, peers: [{ ...template, dynamicNeighbours: [`${ip4(3)}/32`] }] });
    await eventually("the end of the one outside", async () => (await tortie.ask({ kind: "peers" })).length === 1);
    assert.equal((await tortie.peer(`rack.${ip4(3)}`))?.sessions, 1);
    await eventually("its routes' end", async () => !/10\.50\.2\.0\/24/.test(await three.ask("show", "route")));
  },
);

onFabric(
  "an unnumbered session with FRR carries IPv4 by link-local next hops, both ways and into both kernels",
  2,
  async (fabric) => {
    for (const number of [1, 2]) {
      await fabric.exec(number, "ip", "addr", "flush", "dev", "eth0", "scope", "global");
      await fabric.exec(number, "ip", "addr", "add", `10.99.0.${number}/32`, "dev", "lo");
    }
    const peer = peerAt(2, {
      name: "up",
      address: "",
      as: 65002,
      isSameAs: false,
      interface: "eth0",
      families: [4, 6],
    });
    const base = speakerAt(1, [peer], { routerId: "10.99.0.1", nodeAddress4: "10.99.0.1", nodeAddress6: undefined });
    await fabric.exec(1, "ip", "route", "add", "blackhole", "10.60.1.0/24", "proto", "80");
    await fabric.exec(1, "ip", "-6", "route", "add", "blackhole", "fd60:1::/64", "proto", "80");
    const tortie = fabric.tortie(1, { ...base, fib: { ...base.fib, isInstalling: true, isLearning: true } });
    await eventually(
      "the row of a peer without a neighbour",
      async () => /no router advertisement heard on eth0/.test((await tortie.peer("up"))?.reason ?? ""),
    );
    const frr = await startFrr(
      fabric.at(2),
      `
router bgp 65002
 bgp router-id 10.99.0.2
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor eth0 interface remote-as external
 neighbor eth0 timers connect 2
 neighbor eth0 advertisement-interval 0
 address-family ipv4 unicast
  network 10.60.2.0/24
 exit-address-family
 address-family ipv6 unicast
  network fd60:2::/64
  neighbor eth0 activate
 exit-address-family
`,
    );
    await established(tortie, "up");
    await answers(frr, ["show bgp ipv4 unicast"], /\*> 10\.60\.1\.0\/24 +eth0/);
    await answers(frr, ["show bgp ipv6 unicast"], /\*> fd60:1::\/64/);
    const kernel = (number: number) => fabric.exec(number, "ip", "route");
    await eventually("FRR's route in our kernel", async () => {
      const text = await kernel(1);
      if (/10\.60\.2\.0\/24 via inet6 fe80:\S+ dev eth0 proto bird/.test(text)) return true;
      throw new Error(text + JSON.stringify(await tortie.ask({ kind: "routes" })));
    });
    await eventually(
      "our route in FRR's kernel",
      async () => /10\.60\.1\.0\/24 .*via inet6 fe80:\S+ dev eth0/.test(await kernel(2)),
    );
    await eventually(
      "the IPv6 route",
      async () => /fd60:2::\/64 via fe80:\S+ dev eth0 proto bird/.test(await fabric.exec(1, "ip", "-6", "route")),
    );
    const row = await tortie.peer("up");
    assert.match(row?.peer ?? "", /^fe80:.*%eth0$/);
    assert.equal(row?.capabilities?.find(({ capability }) => capability === "extended next hop")?.isUsed, true);
    const [route] = await tortie.ask({ kind: "routes", prefix: "10.60.2.0/24" });
    assert.match(route?.nextHop ?? "", /^fe80::/);
    await frr.ask("configure terminal", "router bgp 65002", "address-family ipv4 unicast", "no network 10.60.2.0/24");
    await eventually("the withdrawal", async () => !/10\.60\.2\.0/.test(await kernel(1)));
  },
);
