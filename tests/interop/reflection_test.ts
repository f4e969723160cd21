/** Route reflection with real clients: BIRD, FRR and GoBGP behind one reflector, several and two levels of them (RFC 4456). */

import assert from "node:assert/strict";
import { birdClient, frrClient, gobgpClient } from "./clients.ts";
import { eventually, type TortieSpeaker } from "./daemons.ts";
import { answers, established, ip4, onFabric as test, peerAt, speakerAt } from "./fabric.ts";

const birdRoutes = ["show", "route", "all"];
const client = (number: number, clusterId: string) => peerAt(number, { rrClient: true, clusterId });
const paths = (speaker: TortieSpeaker, prefix: string) => speaker.ask({ kind: "routes", prefix });

test("a reflector tells clients everything, and non-clients what clients say", 6, async (fabric) => {
  const reflector = fabric.tortie(
    1,
    speakerAt(1, [
      client(2, "10.0.0.99"),
      client(3, "10.0.0.99"),
      client(4, "10.0.0.99"),
      peerAt(5, { clusterId: "10.0.0.99" }),
      peerAt(6, { clusterId: "10.0.0.99" }),
    ]),
  );
  const two = await birdClient(fabric, { number: 2, prefix: "10.50.2.0/24", peers: [1] });
  const three = await frrClient(fabric, { number: 3, prefix: "10.50.3.0/24", peers: [1] });
  const four = await gobgpClient(fabric, { number: 4, prefix: "10.50.4.0/24", peers: [1] });
  const five = await birdClient(fabric, { number: 5, prefix: "10.50.5.0/24", peers: [1] });
  const six = await birdClient(fabric, { number: 6, prefix: "10.50.6.0/24", peers: [1] });
  await established(reflector);
  const reflectedFrom = (number: number) =>
    new RegExp(
      `10\\.50\\.${number}\\.0/24[^]*?BGP\\.next_hop: ${ip4(number)}[^]*?BGP\\.originator_id: ${
        ip4(number)
      }[^]*?BGP\\.cluster_list: 10\\.0\\.0\\.99`,
    );
  await answers(two, birdRoutes, ...[3, 4, 5, 6].map(reflectedFrom));
  for (const nonClient of [five, six]) await answers(nonClient, birdRoutes, ...[2, 3, 4].map(reflectedFrom));
  assert.doesNotMatch(await six.ask(...birdRoutes), /10\.50\.5\.0\/24/);
  await answers(
    three,
    ["show bgp ipv4 unicast 10.50.5.0/24"],
    new RegExp(`Originator: ${ip4(5)}, Cluster list: 10\\.0\\.0\\.99`),
  );
  await answers(four, ["global", "rib", "-a", "ipv4"], /10\.50\.2\.0\/24/, /10\.50\.3\.0\/24/, /10\.50\.6\.0\/24/);
  // Nobody is told its own route.
  const back = (await reflector.ask({ kind: "routes", advertised: "h2" })).map(({ prefix }) => prefix).sort();
  assert.deepEqual(back, ["10.50.3.0/24", "10.50.4.0/24", "10.50.5.0/24", "10.50.6.0/24"]);
  await three.ask("configure terminal", "router bgp 64512", "address-family ipv4 unicast", "no network 10.50.3.0/24");
  await eventually("the withdrawal", async () => !/10\.50\.3\.0\/24/.test(await two.ask(...birdRoutes)));
});

test("two reflectors of one cluster do not take each other's routes, of two clusters they do", 4, async (fabric) => {
  const configs = (first: string, second: string) =>
    [
      speakerAt(1, [peerAt(2, { clusterId: first }), client(3, first), client(4, first)]),
      speakerAt(2, [peerAt(1, { clusterId: second }), client(3, second), client(4, second)]),
    ] as const;
  const [one, two] = configs("10.0.0.99", "10.0.0.99");
  const first = fabric.tortie(1, one), second = fabric.tortie(2, two);
  const bird = await birdClient(fabric, { number: 3, prefix: "10.50.3.0/24", peers: [1, 2] });
  const frr = await frrClient(fabric, { number: 4, prefix: "10.50.4.0/24", peers: [1, 2] });
  await established(first);
  await established(second);
  await eventually("both paths, one a loop", async () => {
    const rows = await paths(first, "10.50.3.0/24");
    return rows.length === 2 && rows.some(({ from, why }) => from === ip4(2) && why === "loop");
  });
  await answers(bird, birdRoutes, /10\.50\.4\.0\/24[^]*\[r1[^]*\[r2/);
  await answers(frr, ["show bgp ipv4 unicast 10.50.3.0/24"], /2 available/, /Cluster list: 10\.0\.0\.99/);
  const [differentOne, differentTwo] = configs("10.0.0.1", "10.0.0.2");
  first.configure(differentOne);
  second.configure(differentTwo);
  await eventually("the other reflector's path is usable", async () => {
    const rows = await paths(first, "10.50.3.0/24");
    const other = rows.find(({ from }) => from === ip4(2));
    if (other?.why.endsWith("longer cluster list") && other.clusterList.join() === "10.0.0.2") return true;
    throw new Error(JSON.stringify(rows));
  });
  await answers(
    frr,
    ["show bgp ipv4 unicast 10.50.3.0/24"],
    /Cluster list: 10\.0\.0\.1\b/,
    /Cluster list: 10\.0\.0\.2\b/,
  );
  // A reflector that dies leaves the other's path, and no session but its own.
  await first.stop("SIGKILL");
  await eventually("the survivor's path alone", async () => {
    const text = await frr.ask("show bgp ipv4 unicast 10.50.3.0/24");
    return /best/.test(text) && /Cluster list: 10\.0\.0\.2\b/.test(text);
  });
  assert.equal((await second.peer("h3"))?.state, "Established");
});

test("two levels of reflectors carry a route across, with both cluster ids in order", 5, async (fabric) => {
  // 3 top; 1 and 2 below it, each with a client.
  const top = fabric.tortie(3, speakerAt(3, [client(1, "10.0.0.3"), client(2, "10.0.0.3")]));
  const one = fabric.tortie(1, speakerAt(1, [peerAt(3, { clusterId: "10.0.0.1" }), client(4, "10.0.0.1")]));
  const two = fabric.tortie(2, speakerAt(2, [peerAt(3, { clusterId: "10.0.0.2" }), client(5, "10.0.0.2")]));
  const left = await birdClient(fabric, { number: 4, prefix: "10.50.4.0/24", peers: [1] });
  const right = await frrClient(fabric, { number: 5, prefix: "10.50.5.0/24", peers: [2] });
  for (const speaker of [top, one, two]) await established(speaker);
  await answers(
    left,
    birdRoutes,
    new RegExp(
      `10\\.50\\.5\\.0/24[^]*?BGP\\.next_hop: ${ip4(5)}[^]*?originator_id: ${
        ip4(5)
      }[^]*?cluster_list: 10\\.0\\.0\\.1 10\\.0\\.0\\.3 10\\.0\\.0\\.2`,
    ),
  );
  await answers(
    right,
    ["show bgp ipv4 unicast 10.50.4.0/24"],
    new RegExp(`Originator: ${ip4(4)}, Cluster list: 10\\.0\\.0\\.2 10\\.0\\.0\\.3 10\\.0\\.0\\.1`),
  );
});

test("what FRR reflects back to its origin is dropped without a word", 3, async (fabric) => {
  const frr = await frrClient(fabric, {
    number: 1,
    prefix: "10.50.1.0/24",
    peers: [2, 3],
    extra: [2, 3].map((number) => `  neighbor ${ip4(number)} route-reflector-client`).join("\n"),
  });
  const route = ["route", "add", "blackhole", "10.60.2.0/24", "proto", "80"];
  await fabric.exec(2, "ip", ...route);
  const learning = { fib: { ...speakerAt(2, []).fib, isLearning: true } };
  const two = fabric.tortie(2, speakerAt(2, [peerAt(1)], learning));
  const three = fabric.tortie(3, speakerAt(3, [peerAt(1)]));
  await established(two);
  await established(three);
  await eventually("the route at the other client", async () => {
    const [row] = await paths(three, "10.60.2.0/24");
    return row?.originatorId === ip4(2) && row.clusterList.join() === ip4(1);
  });
  await answers(frr, [`show bgp ipv4 unicast neighbors ${ip4(2)} advertised-routes`], /10\.50\.1\.0\/24/);
  const [own, ...others] = await paths(two, "10.60.2.0/24");
  assert.equal(own?.from, "local");
  assert.deepEqual(others.map(({ why }) => why).filter((why) => why !== "loop"), []);
  assert.deepEqual([(await two.peer("h1"))?.lastError, (await two.peer("h1"))?.sessions], [null, 1]);
  assert.doesNotMatch(two.log(), /^error |An UPDATE has errors/m);
});
