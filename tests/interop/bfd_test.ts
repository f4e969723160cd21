/** BFD with BIRD 2, FRR's bfdd and ourselves: sessions come up, a dead path ends BGP at once, and nothing else does. */

import assert from "node:assert/strict";
import { DEFAULT_PEER, EMPTY_CONFIG, type PeerConfig, type SpeakerConfig } from "../../src/bgp/config.ts";
import {
  canRun,
  type Daemon,
  eventually,
  type Hosts,
  LEFT,
  makeHosts,
  RIGHT,
  startBird,
  startFrr,
  startTortie,
  type TortieSpeaker,
} from "./daemons.ts";

/** Two losses of 200 ms and the third: found after 600 ms. */
const TIMES = { interval: 200, multiplier: 3 };
const NFT = "/usr/sbin/nft";

function configFor(side: typeof LEFT, peer: Partial<PeerConfig> = {}): SpeakerConfig {
  const other = side === LEFT ? RIGHT : LEFT;
  return {
    ...EMPTY_CONFIG,
    nodeName: side === LEFT ? "left" : "right",
    routerId: side.v4,
    families: [4, 6],
    nodeAddress4: side.v4,
    nodeAddress6: side.v6,
    fib: { ...EMPTY_CONFIG.fib, isLearning: true, nodeNetworks: ["10.77.0.0/24", "fd77::/64"] },
    peers: [{
      ...DEFAULT_PEER,
      name: "other",
      address: other.v4,
      sourceAddress: side.v4,
      as: 64512,
      localAs: 64512,
      families: [4],
      bfd: true,
      bfdTimes: TIMES,
      ...peer,
    }],
  };
}

async function withHosts(play: (hosts: Hosts) => Promise<void>): Promise<void> {
  const hosts = await makeHosts();
  try {
    await play(hosts);
  } finally {
    await hosts.close();
  }
}

function test(name: string, programs: string[], play: (hosts: Hosts) => Promise<void>): void {
  const isAble = canRun(NFT, ...programs);
  const note = isAble ? "" : " (skipped: not root, or not installed)";
  Deno.test({ name: name + note, ignore: !isAble, fn: () => withHosts(play) });
}

const bothUp = (speaker: TortieSpeaker) =>
  eventually("BGP and BFD", async () => {
    const peer = await speaker.peer("other");
    return peer?.state === "Established" && peer.bfd?.state === "Up" && peer;
  }, 30_000);

/** Drops everything that the right host sends and gets, and returns when. */
async function cut(hosts: Hosts): Promise<number> {
  const rules = "add table inet cut; add chain inet cut in { type filter hook input priority 0; policy drop; }; " +
    "add chain inet cut out { type filter hook output priority 0; policy drop; }";
  const before = Date.now();
  await hosts.exec(hosts.right, NFT, rules);
  return before;
}

/** The session ends by BFD within a second of the cut, although the hold time is 90 s. */
async function fallsAtOnce(speaker: TortieSpeaker, before: number): Promise<void> {
  const fallen = await eventually("the end of the session", async () => {
    const peer = await speaker.peer("other");
    return peer && peer.state !== "Established" && peer;
  });
  assert.match(fallen.lastError ?? "", /BFD Down \(6\/10\).* sent: BFD: nothing heard for 600 ms/);
  assert.equal(fallen.bfd?.state, "Down");
  assert.equal(fallen.bfd?.diagnostic, "Control Detection Time Expired");
  const wait = Date.parse(fallen.bfd?.since ?? "") - before;
  assert.ok(wait > 0 && wait < 1_000, `${wait} ms after the cut`);
}

const birdSessions = (bird: Daemon) => bird.ask("show", "bfd", "sessions");

const BIRD = "/usr/sbin/bird";
const birdConfig = (hops: "direct" | "multihop") => `
protocol bfd {
  interface "eth0" { min rx interval 200 ms; min tx interval 200 ms; idle tx interval 1 s; multiplier 3; };
  multihop { min rx interval 200 ms; min tx interval 200 ms; multiplier 3; };
}
protocol bgp tortie {
  local ${RIGHT.v4} as 64512; neighbor ${LEFT.v4} as 64512; ${hops}; bfd on; hold time 90; connect delay time 1; error wait time 1, 2;
  ipv4 { import all; export all; };
}`;

for (const [hops, where] of [["direct", "one hop away"], ["multihop", "several hops away"]] as const) {
  test(`BIRD ${where}: the session is Up on both sides, and a cut ends BGP within a second`, [BIRD], async (hosts) => {
    const bird = await startBird(hosts, birdConfig(hops));
    const bfdTimes = hops === "direct" ? TIMES : { ...TIMES, hops: "multihop" as const };
    const left = startTortie(hosts, configFor(LEFT, { bfdTimes }));
    const peer = await bothUp(left);
    assert.equal(peer.bfd?.hops, hops === "direct" ? "single-hop" : "multihop");
    assert.deepEqual([peer.bfd?.interval, peer.bfd?.detectionTime], [200, 600]);
    // Address, interface, state, since, interval, timeout: BIRD shows what both sides agreed.
    const row = await eventually(
      "BIRD's session",
      async () => /10\.77\.0\.1 .* Up .* 0\.200 +0\.600/.exec(await birdSessions(bird))?.[0],
    );
    assert.match(row, hops === "direct" ? /eth0/ : /---/);
    await fallsAtOnce(left, await cut(hosts));
    // BIRD finds the same by itself, or is told by us when the way back stands again.
    await eventually(
      "BIRD's own finding",
      async () => /Session to 10.77.0.1 changed state from Up to Down/.test(await bird.log()),
    );
    assert.match(await bird.log(), /tortie: .*BFD session down/);
    await hosts.exec(hosts.right, NFT, "delete", "table", "inet", "cut");
    await bothUp(left);
  });
}

test(
  "a busy main thread costs no BFD packet",
  [BIRD],
  async (hosts) => {
    const bird = await startBird(hosts, birdConfig("direct"));
    const left = startTortie(hosts, configFor(LEFT, { bfdTimes: { interval: 100, multiplier: 3 } }));
    const before = await bothUp(left);
    left.keepBusy(4_000);
    const after = await bothUp(left);
    assert.equal(after.bfd?.since, before.bfd?.since);
    assert.equal(after.since, before.since);
    assert.doesNotMatch(left.log(), /BFD session is down/);
    assert.doesNotMatch(await bird.log(), /changed state from Up/);
  },
);

test(
  "BFD that comes into the configuration and leaves it again does not touch BGP on either side",
  [],
  async (hosts) => {
    const left = startTortie(hosts, configFor(LEFT, { bfd: false }));
    const right = startTortie(hosts, configFor(RIGHT), hosts.right);
    const before = await eventually("BGP", async () => {
      const peer = await left.peer("other");
      return peer?.state === "Established" && peer;
    });
    left.configure(configFor(LEFT));
    await bothUp(left);
    await bothUp(right);
    left.configure(configFor(LEFT, { bfd: false }));
    await eventually("the peer's news", async () => (await right.peer("other"))?.bfd?.state === "Down");
    assert.match((await right.peer("other"))?.bfd?.reason ?? "", /stopped by its administrator/);
    // Again within the time that AdminDown is said for.
    left.configure(configFor(LEFT));
    await bothUp(left);
    await bothUp(right);
    const after = await left.peer("other");
    assert.deepEqual([after?.state, after?.since], ["Established", before.since]);
  },
);

const frrBgp = `
router bgp 64512
 bgp router-id ${RIGHT.v4}
 no bgp ebgp-requires-policy
 neighbor ${LEFT.v4} remote-as 64512
 neighbor ${LEFT.v4} timers connect 1
 neighbor ${LEFT.v4} update-source ${RIGHT.v4}
 neighbor ${LEFT.v4} bfd 3 200 200
`;

test(
  "FRR's bfdd: the session is Up on both sides, and a cut ends BGP within a second",
  ["/usr/lib/frr/bfdd"],
  async (hosts) => {
    const frr = await startFrr(hosts, frrBgp, "");
    const left = startTortie(hosts, configFor(LEFT, { bfd: false }));
    const shown = () => frr.ask("show bfd peers json").then((text) => JSON.parse(text.slice(text.indexOf("["))));
    const [wanted] = await eventually("FRR's session", async () => {
      const rows = await shown();
      return rows.length > 0 && rows;
    });
    const hops = wanted.multihop ? "multihop" as const : "single-hop" as const;
    left.configure(configFor(LEFT, { bfdTimes: { ...TIMES, hops } }));
    const peer = await bothUp(left);
    assert.deepEqual([peer.bfd?.interval, peer.bfd?.detectionTime], [200, 600]);
    const [row] = await eventually("the session as FRR sees it", async () => {
      const rows = await shown();
      return rows[0]?.status === "up" && rows;
    });
    assert.equal(row.peer, LEFT.v4);
    assert.deepEqual([row["remote-receive-interval"], row["remote-transmit-interval"]], [200, 200]);
    assert.equal(row["remote-detect-multiplier"], 3);
    await fallsAtOnce(left, await cut(hosts));
  },
);

test(
  "between two of ours over IPv6, an end that is stopped is no failure, and one that is killed is one",
  [],
  async (hosts) => {
    const six = (side: typeof LEFT) =>
      configFor(side, { address: side === LEFT ? RIGHT.v6 : LEFT.v6, sourceAddress: side.v6, families: [6] });
    const left = startTortie(hosts, six(LEFT));
    const right = startTortie(hosts, six(RIGHT), hosts.right);
    await bothUp(left);
    await right.stop();
    const stopped = await eventually("the peer's stop", async () => {
      const peer = await left.peer("other");
      return peer?.bfd?.state === "Down" && peer;
    });
    assert.match(stopped.bfd?.reason ?? "", /stopped by its administrator/);
    assert.doesNotMatch(left.log(), /BFD Down \(6\/10\)/);
    const again = startTortie(hosts, six(RIGHT), hosts.right);
    await bothUp(left);
    const before = Date.now();
    await again.stop("SIGKILL");
    await eventually("the killed peer's silence", async () => (await left.peer("other"))?.bfd?.state === "Down");
    const wait = Date.parse((await left.peer("other"))?.bfd?.since ?? "") - before;
    assert.ok(wait < 1_000, `${wait} ms after the kill`);
  },
);

/** Sends a Down packet of another discriminator from the peer's address. */
const forge = (hosts: Hosts, ttl: number) =>
  hosts.exec(
    hosts.right,
    "python3",
    "-c",
    `
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ${ttl})
s.bind(("${RIGHT.v4}", 50000))
s.sendto(struct.pack("!BBBBIIIII", 0x20, 0x40, 3, 24, 99, 0, 1000000, 1000000, 0), ("${LEFT.v4}", 3784))
`,
  );

test("a packet that came over a router is no packet of a neighbour (GTSM)", [], async (hosts) => {
  const left = startTortie(hosts, configFor(LEFT));
  startTortie(hosts, configFor(RIGHT), hosts.right);
  const before = await bothUp(left);
  for (let i = 0; i < 5; i++) await forge(hosts, 254);
  const after = await left.peer("other");
  assert.deepEqual([after?.state, after?.bfd?.since], ["Established", before.bfd?.since]);
  // The same packet from the link itself is heard, so it was the TTL that kept the others out.
  await forge(hosts, 255);
  await eventually(
    "the session's end",
    async () => /the peer says it is down/.test((await left.peer("other"))?.lastError ?? ""),
  );
});

test("a full table on its way into the kernel costs no BFD packet, at 100 ms", [BIRD], async (hosts) => {
  const count = 40_000;
  const routes = Array.from({ length: count }, (_, i) => `route 20.${i >> 8}.${i & 255}.0/24 blackhole;`).join("\n");
  const fast = `
protocol static table4 { disabled; ipv4; ${routes} }
protocol bfd { interface "eth0" { min rx interval 100 ms; min tx interval 100 ms; multiplier 3; }; }
protocol bgp tortie {
  local ${RIGHT.v4} as 64512; neighbor ${LEFT.v4} as 64512; direct; bfd on; connect delay time 1;
  ipv4 { import all; export all; };
}`;
  const bird = await startBird(hosts, fast);
  const config = configFor(LEFT, { bfdTimes: { interval: 100, multiplier: 3 }, hasCalicoRules: false });
  const left = startTortie(hosts, { ...config, fib: { ...config.fib, isInstalling: true } });
  const before = await bothUp(left);
  for (let round = 0; round < 2; round++) {
    await bird.ask("enable", "table4");
    await eventually("the table", async () => (await left.peer("other"))?.received === count, 60_000);
    await left.ask({ kind: "routes" });
    await bird.ask("disable", "table4");
    await eventually("the empty table", async () => (await left.peer("other"))?.received === 0, 60_000);
  }
  const after = await left.peer("other");
  assert.deepEqual([after?.bfd?.since, after?.since], [before.bfd?.since, before.since]);
  assert.doesNotMatch(await bird.log(), /changed state from Up/);
});

/** Broken packets from the peer's address, and whole ones from a stranger's. */
const flood = (hosts: Hosts) =>
  hosts.exec(
    hosts.right,
    "python3",
    "-c",
    `
import socket, struct, random
random.seed(7)
def sender(address):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
    s.bind((address, 0))
    return s
peer, stranger = sender("${RIGHT.v4}"), sender("10.77.0.3")
def packet(first, flags, mult, length, mine, yours):
    return struct.pack("!BBBBIIIII", first, flags, mult, length, mine, yours, 1000000, 1000000, 0)
for i in range(4000):
    port = random.choice((3784, 4784))
    peer.sendto(random.randbytes(random.randrange(0, 60)), ("${LEFT.v4}", port))
    peer.sendto(packet(0x20, 0x40, 3, 24, 99, random.randrange(1, 1 << 32)), ("${LEFT.v4}", port))
    peer.sendto(packet(0x20, random.randrange(0x80, 0x100), 3, 24, 99, 0), ("${LEFT.v4}", port))
    peer.sendto(packet(0x20, 0x44, 3, 24, 99, 0), ("${LEFT.v4}", port))
    stranger.sendto(packet(0x20, 0x40, 3, 24, 99, 0), ("${LEFT.v4}", port))
`,
  );

test("broken packets, packets for no session and strangers' packets change nothing", [], async (hosts) => {
  await hosts.exec(hosts.right, "ip", "addr", "add", "10.77.0.3/24", "dev", "eth0");
  const left = startTortie(hosts, configFor(LEFT));
  const right = startTortie(hosts, configFor(RIGHT), hosts.right);
  const before = await bothUp(left);
  await flood(hosts);
  await bothUp(right);
  const after = await left.peer("other");
  assert.deepEqual([after?.state, after?.since, after?.bfd?.since], ["Established", before.since, before.bfd?.since]);
});

test("a link-local neighbour is found by its interface", [], async (hosts) => {
  const [ours, theirs] = ["fe80::a", "fe80::b"];
  for (const [host, address] of [[hosts.left, ours], [hosts.right, theirs]] as const) {
    await hosts.exec(host, "ip", "addr", "add", `${address}/64`, "dev", "eth0", "nodad");
  }
  const six = (side: typeof LEFT, own: string, other: string) =>
    configFor(side, { address: `${other}%eth0`, sourceAddress: `${own}%eth0`, families: [6] });
  const left = startTortie(hosts, six(LEFT, ours, theirs));
  const right = startTortie(hosts, six(RIGHT, theirs, ours), hosts.right);
  for (const speaker of [left, right]) {
    await eventually("BFD", async () => (await speaker.peer("other"))?.bfd?.state === "Up");
  }
  assert.equal((await left.peer("other"))?.bfd?.hops, "single-hop");
});
