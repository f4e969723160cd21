/** Long-lived graceful restart (RFC 9494) with BIRD: routes of a speaker that is gone stay as the last choice. */

import assert from "node:assert/strict";
import { birdClient } from "./clients.ts";
import { eventually } from "./daemons.ts";
import { answers, established, ip4, onFabric, peerAt, speakerAt } from "./fabric.ts";

const PREFIX = "10.60.0.0/24";
const LLGR_STALE = "65535:6";

onFabric(
  "a lost peer's routes stay as the last choice, and only those are told who know what that is",
  5,
  async (fabric) => {
    const peers = [2, 3, 4, 5].map((number) => peerAt(number, { rrClient: true, longLivedRestart: 8 }));
    const tortie = fabric.tortie(1, speakerAt(1, peers));
    const restarts =
      "graceful restart on; graceful restart time 1; long lived graceful restart on; long lived stale time 60;";
    const two = await birdClient(fabric, { number: 2, prefix: PREFIX, peers: [1], extra: restarts });
    const three = await birdClient(fabric, { number: 3, prefix: "10.50.3.0/24", peers: [1] });
    const four = await birdClient(fabric, {
      number: 4,
      prefix: "10.50.4.0/24",
      peers: [1],
      extra: "long lived graceful restart off;",
    });
    const five = await birdClient(fabric, {
      number: 5,
      prefix: "10.50.5.0/24",
      peers: [1],
      before: `protocol static better { disabled; ipv4; route ${PREFIX} blackhole; }`,
      more:
        `export filter { if source != RTS_STATIC then reject; if net = ${PREFIX} then bgp_local_pref = 10; accept; };`,
    });
    await established(tortie);
    const route = ["show", "route", "for", PREFIX, "all"];
    for (const daemon of [three, four]) await answers(daemon, route, new RegExp(`next_hop: ${ip4(2)}`));
    await two.stop("SIGKILL");
    await answers(three, route, /BGP\.community: .*\(65535,6\)/);
    await eventually(
      "the route's end where that is not known",
      async () => !(await four.ask("show", "route")).includes(PREFIX),
    );
    const rows = () => tortie.ask({ kind: "routes", prefix: PREFIX });
    const [stale] = await rows();
    assert.deepEqual([stale?.stale, stale?.best, stale?.communities.includes(LLGR_STALE)], [true, true, true]);
    // Any other path is better, even one of a low preference.
    await five.ask("enable", "better");
    await eventually("the other path", async () => (await rows()).find(({ best }) => best)?.from === ip4(5));
    assert.equal((await rows()).find(({ stale }) => stale)?.why, "less preferred source");
    await five.ask("disable", "better");
    await eventually("the stale path again", async () => (await rows())[0]?.stale);
    // Our own 8 seconds are shorter than the 60 that it asks for.
    await eventually("the end of its time", async () => (await rows()).length === 0);
    await eventually("the end at the other", async () => !(await three.ask("show", "route")).includes(PREFIX));
  },
);
