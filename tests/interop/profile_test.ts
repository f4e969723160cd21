/** What sessions and routes of other ASes ask for, with BIRD and FRR: limits, words, roles, communities, next hops. */

import assert from "node:assert/strict";
import { birdClient, frrClient } from "./clients.ts";
import { eventually, type TortieSpeaker } from "./daemons.ts";
import { answers, established, ip4, onFabric, peerAt, speakerAt } from "./fabric.ts";

const external = { as: 65002, isSameAs: false } as const;
const bird = { number: 2, prefix: "10.50.2.0/24", peers: [1], as: 65002 };
const routes = ["show", "route", "all"];

async function row(speaker: TortieSpeaker, prefix: string) {
  return (await speaker.ask({ kind: "routes", prefix }))[0];
}

onFabric(
  "more prefixes than the limit end the session for the time that is asked for, after a warning",
  2,
  async (fabric) => {
    const limits = { maxPrefixes: 3, maxPrefixesWarning: 60, maxPrefixesRestart: 3 };
    const tortie = fabric.tortie(1, speakerAt(1, [peerAt(2, { ...external, ...limits })]));
    const two = await birdClient(fabric, {
      ...bird,
      before:
        "protocol static late { disabled; ipv4; route 10.51.0.0/24 blackhole; route 10.52.0.0/24 blackhole; } protocol static more { disabled; ipv4; route 10.53.0.0/24 blackhole; }",
    });
    await established(tortie);
    await two.ask("enable", "late");
    await eventually("the warning", async () => {
      const peer = await tortie.peer("h2");
      return peer?.prefixLimit?.isNear && peer.received === 3;
    });
    assert.match(tortie.log(), /warn The peer is near its limit of prefixes .*"prefixes":3,"limit":3/);
    assert.equal((await tortie.peer("h2"))?.state, "Established");
    await two.ask("enable", "more");
    await eventually(
      "the end",
      async () => /\(6\/1\) sent: more than 3 prefixes/.test((await tortie.peer("h2"))?.lastError ?? ""),
    );
    assert.match(await two.ask("show", "protocols", "all", "r1"), /Received: Maximum number of prefixes reached/i);
    assert.equal((await tortie.peer("h2"))?.state, "Idle");
    await two.ask("disable", "more");
    await established(tortie);
    assert.equal((await tortie.peer("h2"))?.sessions, 2);
  },
);

onFabric("words of a shutdown reach BIRD and FRR, and theirs are shown", 3, async (fabric) => {
  const peers = [2, 3].map((number) => peerAt(number));
  const config = speakerAt(1, peers);
  const tortie = fabric.tortie(1, config);
  const two = await birdClient(fabric, { number: 2, prefix: "10.50.2.0/24", peers: [1] });
  const three = await frrClient(fabric, { number: 3, prefix: "10.50.3.0/24", peers: [1] });
  await established(tortie);
  tortie.configure({ ...config, peers: peers.map((peer) => ({ ...peer, shutdown: "new cable till 5" })) });
  await eventually(
    "the words in the daemons' logs",
    async () =>
      /Administrative shutdown: "?new cable till 5/i.test(await two.log()) &&
      /new cable till 5/.test(await three.log()),
  );
  assert.match((await tortie.peer("h2"))?.reason ?? "", /shut down by the administrator: "new cable till 5"/);
  assert.equal((await tortie.peer("h2"))?.state, "Idle");
  tortie.configure(config);
  await established(tortie);
  await two.ask("disable", "r1", '"back soon"');
  await three.ask("configure terminal", "router bgp 64512", `neighbor ${ip4(1)} shutdown message for a while`);
  await eventually("their words", async () => {
    const [bird, frr] = [await tortie.peer("h2"), await tortie.peer("h3")];
    if (
      /Administrative Shutdown \(6\/2\): "back soon" received/.test(bird?.lastError ?? "") &&
      /Administrative Shutdown \(6\/2\): "for a while" received/.test(frr?.lastError ?? "")
    ) return true;
    // A refused connection is the last error once it has been tried again.
    return /"back soon" received/.test(tortie.log()) && /"for a while" received/.test(tortie.log());
  });
});

onFabric(
  "a message of more than 4,096 octets goes both ways, and a peer without them is not told its route",
  4,
  async (fabric) => {
    const peers = [2, 3, 4].map((number) => peerAt(number, { ...external, as: 65000 + number }));
    const tortie = fabric.tortie(1, speakerAt(1, peers));
    const many = Array.from({ length: 400 }, (_, i) => `bgp_large_community.add((65002,1,${i}));`).join(" ");
    const extra = "enable extended messages on;";
    await birdClient(fabric, {
      ...bird,
      before: `protocol static big { ipv4; route 10.61.0.0/24 blackhole; }
filter mark { if source != RTS_STATIC then reject; if net = 10.61.0.0/24 then { ${many} } accept; }`,
      more: "export filter mark;",
      extra,
    });
    const three = await birdClient(fabric, { ...bird, number: 3, prefix: "10.50.3.0/24", as: 65003, extra });
    const four = await birdClient(fabric, { ...bird, number: 4, prefix: "10.50.4.0/24", as: 65004 });
    await established(tortie);
    await answers(three, routes, /10\.61\.0\.0\/24/, /\(65002, 1, 0\)/, /\(65002, 1, 399\)/);
    await answers(four, routes, /10\.50\.2\.0\/24/, /10\.50\.3\.0\/24/);
    assert.doesNotMatch(await four.ask(...routes), /10\.61\.0\.0\/24/);
    assert.equal((await row(tortie, "10.61.0.0/24"))?.communities.length, 400);
    const isUsed = async (name: string) =>
      (await tortie.peer(name))?.capabilities?.find(({ capability }) => capability === "extended messages")?.isUsed;
    assert.deepEqual([await isUsed("h2"), await isUsed("h3"), await isUsed("h4")], [true, true, false]);
  },
);

onFabric("roles keep a provider's routes from peers, and mark what goes down (RFC 9234)", 4, async (fabric) => {
  const peers = [
    peerAt(2, { ...external, role: "customer" }),
    peerAt(3, { ...external, as: 65003, role: "provider" }),
    peerAt(4, { ...external, as: 65004, role: "peer" }),
  ];
  const config = speakerAt(1, peers);
  const tortie = fabric.tortie(1, config);
  await birdClient(fabric, { ...bird, extra: "local role provider; require roles on;" });
  const three = await frrClient(fabric, {
    number: 3,
    prefix: "10.50.3.0/24",
    peers: [1],
    as: 65003,
    more: " neighbor $ local-role customer",
  });
  const four = await birdClient(fabric, {
    ...bird,
    number: 4,
    prefix: "10.50.4.0/24",
    as: 65004,
    extra: "local role peer;",
  });
  await established(tortie);
  const customers = (as: number, prefix: string) => new RegExp(`${prefix.replaceAll(".", "\\.")}[^]*?BGP\\.otc: ${as}`);
  await answers(four, routes, customers(64512, "10.50.3.0/24"));
  await answers(three, ["show bgp ipv4 unicast 10.50.2.0/24"], /65002/);
  await answers(three, ["show bgp ipv4 unicast 10.50.4.0/24"], /65004/);
  assert.doesNotMatch(await four.ask(...routes), /10\.50\.2\.0\/24/);
  const told = async (name: string) =>
    (await tortie.ask({ kind: "routes", advertised: name })).map(({ prefix }) => prefix).sort();
  assert.deepEqual(await told("h2"), ["10.50.3.0/24"]);
  assert.deepEqual(await told("h4"), ["10.50.3.0/24"]);
  assert.deepEqual(await told("h3"), ["10.50.2.0/24", "10.50.4.0/24"]);
  const role = (await tortie.peer("h3"))?.capabilities?.find(({ capability }) => capability === "role");
  assert.deepEqual(role, { capability: "role", ours: "provider", theirs: "customer", isUsed: true });
  tortie.configure({
    ...config,
    peers: peers.map((peer) => peer.name === "h4" ? { ...peer, role: "customer" } : peer),
  });
  await eventually(
    "the refusal",
    async () => /Role Mismatch \(2\/11\)/.test((await tortie.peer("h4"))?.lastError ?? ""),
  );
  assert.equal((await tortie.peer("h2"))?.state, "Established");
});

onFabric("well-known communities are obeyed, and communities of all kinds passed on", 4, async (fabric) => {
  const tortie = fabric.tortie(
    1,
    speakerAt(1, [peerAt(2, external), peerAt(3), peerAt(4, { ...external, as: 65004 })]),
  );
  const marks = [
    ["10.61.0.0/24", "bgp_community.add((65535,65281));"],
    ["10.62.0.0/24", "bgp_community.add((65535,65282));"],
    ["10.63.0.0/24", "bgp_community.add((65535,0));"],
    [
      "10.64.0.0/24",
      "bgp_community.add((65002,7)); bgp_large_community.add((65002,1,2)); bgp_ext_community.add((rt,65002,9));",
    ],
  ] as const;
  await birdClient(fabric, {
    ...bird,
    before: `protocol static marked { ipv4; ${marks.map(([prefix]) => `route ${prefix} blackhole;`).join(" ")} }
filter mark { if source != RTS_STATIC then reject; ${
      marks.map(([prefix, mark]) => `if net = ${prefix} then { ${mark} }`).join(" ")
    } accept; }`,
    more: "export filter mark;",
  });
  const three = await frrClient(fabric, { number: 3, prefix: "10.50.3.0/24", peers: [1] });
  const four = await birdClient(fabric, { ...bird, number: 4, prefix: "10.50.4.0/24", as: 65004 });
  await established(tortie);
  await answers(three, ["show bgp ipv4 unicast"], /10\.61\.0\.0/, /10\.63\.0\.0/, /10\.64\.0\.0/);
  const text = await answers(
    four,
    routes,
    /10\.63\.0\.0/,
    /10\.64\.0\.0[^]*BGP\.community: \(65002,7\)/,
    /BGP\.ext_community: \(rt, 65002, 9\)/,
    /BGP\.large_community: \(65002, 1, 2\)/,
  );
  assert.doesNotMatch(text, /10\.6[12]\.0\.0/);
  assert.doesNotMatch(await three.ask("show bgp ipv4 unicast"), /10\.62\.0\.0/);
  assert.equal((await row(tortie, "10.63.0.0/24"))?.localPref, 0);
  await answers(three, ["show bgp ipv4 unicast 10.63.0.0/24"], /localpref 0\b/);
});

onFabric("another AS towards one peer, our own AS in a path, and the three next hop modes", 4, async (fabric) => {
  const peers = [
    peerAt(2, { ...external, localAs: 65100 }),
    peerAt(3),
    peerAt(4, { ...external, as: 65004 }),
  ];
  const config = speakerAt(1, peers);
  const tortie = fabric.tortie(1, config);
  const two = await birdClient(fabric, {
    ...bird,
    peerAs: 65100,
    more: "export filter { if source != RTS_STATIC then reject; bgp_path.prepend(65100); accept; };",
  });
  const three = await frrClient(fabric, { number: 3, prefix: "10.50.3.0/24", peers: [1] });
  const four = await birdClient(fabric, { ...bird, number: 4, prefix: "10.50.4.0/24", as: 65004 });
  await established(tortie);
  await eventually("a loop", async () => (await row(tortie, "10.50.2.0/24"))?.why === "loop");
  await answers(two, routes, /10\.50\.3\.0\/24[^]*BGP\.as_path: 65100/);
  const change = (name: string, what: object) => {
    const changed = config.peers.map((peer) => peer.name === name ? { ...peer, ...what } : peer);
    return { ...config, peers: changed };
  };
  tortie.configure(change("h2", { allowLocalAs: 1 }));
  await eventually("no loop", async () => (await row(tortie, "10.50.2.0/24"))?.best);
  const nextHop = (number: number) => new RegExp(`10\\.50\\.2\\.0/24[^]*?BGP\\.next_hop: ${ip4(number)}\\b`);
  await answers(three, ["show bgp ipv4 unicast 10.50.2.0/24"], new RegExp(`${ip4(2)} .*from ${ip4(1)}`));
  await answers(four, routes, nextHop(1));
  const base = change("h2", { allowLocalAs: 1 });
  const withMode = (name: string, nextHopMode: "self" | "keep") => ({
    ...base,
    peers: base.peers.map((peer) => peer.name === name ? { ...peer, nextHopMode } : peer),
  });
  tortie.configure(withMode("h3", "self"));
  await answers(three, ["show bgp ipv4 unicast 10.50.2.0/24"], new RegExp(`\\n +${ip4(1)} from ${ip4(1)}`));
  tortie.configure(withMode("h4", "keep"));
  await answers(four, routes, nextHop(2));
  assert.equal((await tortie.peer("h4"))?.sessions, 1);
});
