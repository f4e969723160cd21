/** ADD-PATH (RFC 7911) both ways with FRR and BIRD: several paths of a prefix come in, share the traffic, and go on. */

import assert from "node:assert/strict";
import { birdClient, frrClient } from "./clients.ts";
import { eventually } from "./daemons.ts";
import { answers, established, ip4, onFabric, peerAt, speakerAt } from "./fabric.ts";

const PREFIX = "10.60.0.0/24";

onFabric("all paths of one session share the traffic, and are told on to BIRD and FRR", 6, async (fabric) => {
  const config = speakerAt(1, [
    peerAt(4, { addPaths: "both" }),
    peerAt(5, { addPaths: "both", rrClient: true }),
    peerAt(6, { addPaths: "both", rrClient: true }),
  ]);
  const tortie = fabric.tortie(1, { ...config, fib: { ...config.fib, isInstalling: true, isLearning: true } });
  const [, three] = await Promise.all(
    [2, 3].map((number) => birdClient(fabric, { number, prefix: PREFIX, peers: [4] })),
  );
  await frrClient(fabric, {
    number: 4,
    prefix: "10.50.4.0/24",
    peers: [1, 2, 3],
    extra: `  neighbor ${ip4(1)} addpath-tx-all-paths
${[1, 2, 3].map((number) => `  neighbor ${ip4(number)} route-reflector-client`).join("\n")}`,
  });
  const five = await birdClient(fabric, { number: 5, prefix: "10.50.5.0/24", peers: [1], more: "add paths on;" });
  const six = await frrClient(fabric, { number: 6, prefix: "10.50.6.0/24", peers: [1] });
  await established(tortie);
  const fib = () => fabric.exec(1, "ip", "route", "show", PREFIX);
  await eventually("both ways in the kernel", async () => {
    const text = await fib();
    return [2, 3].every((number) => new RegExp(`nexthop via ${ip4(number)} dev eth0`).test(text)) &&
      /proto bird/.test(text);
  });
  const rows = await tortie.ask({ kind: "routes", prefix: PREFIX });
  assert.equal(new Set(rows.map(({ pathId }) => pathId)).size, 2);
  assert.deepEqual(rows.map(({ nextHop }) => nextHop).sort(), [ip4(2), ip4(3)]);
  const both = [2, 3].map((number) => new RegExp(`BGP\\.next_hop: ${ip4(number)}\\b`));
  await answers(five, ["show", "route", "for", PREFIX, "all"], ...both, /BGP\.originator_id/);
  await answers(six, [`show bgp ipv4 unicast ${PREFIX}`], /2 available/, /AddPath ID: RX [1-9]/);
  const told = await tortie.ask({ kind: "routes", prefix: PREFIX, advertised: "h5" });
  assert.equal(told.length, 2);
  assert.equal(new Set(told.map(({ pathId }) => pathId)).size, 2);
  await three?.ask("disable", "s4");
  await eventually("the one way left", async () => {
    const text = await fib();
    return text.includes(`via ${ip4(2)} dev eth0`) && !text.includes(ip4(3));
  });
  await eventually("the one path left at BIRD", async () => {
    const text = await five.ask("show", "route", "for", PREFIX, "all");
    return text.includes(`BGP.next_hop: ${ip4(2)}`) && !text.includes(`BGP.next_hop: ${ip4(3)}`);
  });
  await answers(six, [`show bgp ipv4 unicast ${PREFIX}`], /1 available/);
  await three?.ask("enable", "s4");
  await answers(six, [`show bgp ipv4 unicast ${PREFIX}`], /2 available/);
  await answers(five, ["show", "route", "for", PREFIX, "all"], ...both);
  assert.doesNotMatch(tortie.log(), /^error |An UPDATE has errors/m);
});

onFabric("a peer that does not take several paths is told the best alone", 4, async (fabric) => {
  const peers = [2, 3].map((number) => peerAt(number, { rrClient: true, addPaths: "both" }));
  const tortie = fabric.tortie(1, speakerAt(1, [...peers, peerAt(4, { rrClient: true, addPaths: "both" })]));
  for (const number of [2, 3]) await birdClient(fabric, { number, prefix: PREFIX, peers: [1], more: "add paths rx;" });
  const four = await birdClient(fabric, { number: 4, prefix: "10.50.4.0/24", peers: [1] });
  await established(tortie);
  await answers(four, ["show", "route", "for", PREFIX, "all"], new RegExp(`next_hop: ${ip4(2)}`));
  assert.equal((await tortie.ask({ kind: "routes", prefix: PREFIX })).length, 2);
  assert.equal((await tortie.ask({ kind: "routes", prefix: PREFIX, advertised: "h4" })).length, 1);
});
