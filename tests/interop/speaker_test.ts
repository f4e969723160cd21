/** Two speakers of ours: what a change of configuration touches and what it leaves alone, strangers, and the end. */

import assert from "node:assert/strict";
import { DEFAULT_PEER, EMPTY_CONFIG, type PeerConfig, type SpeakerConfig } from "../../src/bgp/config.ts";
import {
  canRun,
  eventually,
  type Hosts,
  LEFT,
  makeHosts,
  RIGHT,
  run,
  startTortie,
  type TortieSpeaker,
} from "./daemons.ts";

const isAble = canRun("/usr/sbin/ip") || canRun("/sbin/ip") || canRun("/usr/bin/ip");
const note = isAble ? "" : " (skipped: not root)";

function configFor(
  side: typeof LEFT,
  peers: Partial<PeerConfig>[],
  change: Partial<SpeakerConfig> = {},
): SpeakerConfig {
  const other = side === LEFT ? RIGHT : LEFT;
  return {
    ...EMPTY_CONFIG,
    nodeName: side === LEFT ? "left" : "right",
    routerId: side.v4,
    families: [4, 6],
    nodeAddress4: side.v4,
    nodeAddress6: side.v6,
    pools: ["172.17.0.0/16", "fd17::/32"].map((cidr) => ({
      cidr,
      isExportDisabled: false,
      encapsulation: "none" as const,
      isProgrammedBySpeaker: true,
    })),
    aggregates: ["172.17.8.0/26", "172.17.9.0/26"].map((cidr) => ({ cidr, hasBlackhole: true })),
    fib: { ...EMPTY_CONFIG.fib, isInstalling: true, isLearning: true },
    ...change,
    peers: peers.map((peer) => ({
      ...DEFAULT_PEER,
      name: "other",
      address: other.v4,
      as: 64512,
      localAs: 64512,
      families: [4, 6] as const,
      ...peer,
    })),
  };
}

async function withSpeakers(
  play: (hosts: Hosts, left: TortieSpeaker, right: TortieSpeaker) => Promise<void>,
): Promise<void> {
  const hosts = await makeHosts();
  try {
    const left = startTortie(hosts, configFor(LEFT, [{}]));
    const right = startTortie(hosts, configFor(RIGHT, [{}]), hosts.right);
    await established(left);
    await established(right);
    await play(hosts, left, right);
  } finally {
    await hosts.close();
  }
}

const established = (speaker: TortieSpeaker, name = "other") =>
  eventually(`session ${name}`, async () => (await speaker.peer(name))?.state === "Established");

function test(name: string, play: () => Promise<void>): void {
  Deno.test({ name: name + note, ignore: !isAble, fn: play });
}

test("a change of policy, a new peer and a removed one leave the other sessions alone", () =>
  withSpeakers(async (_hosts, left, right) => {
    const before = await left.peer("other");
    left.configure(configFor(LEFT, [{ exportFilters: ["none"] }, { name: "six", address: RIGHT.v6 }]));
    right.configure(configFor(RIGHT, [{}, { name: "six", address: LEFT.v6 }]));
    await established(left, "six");
    left.configure(configFor(LEFT, [{}]));
    await eventually(
      "the new peer's end",
      async () => /Peer De-configured \(6\/3\) received/.test((await right.peer("six"))?.lastError ?? ""),
    );
    const after = await left.peer("other");
    assert.equal(after?.since, before?.since);
    assert.equal(after?.messages.sent[0], 1);
  }));

test("a changed hold time makes the session anew, with the new time", () =>
  withSpeakers(async (_hosts, left, right) => {
    left.configure(configFor(LEFT, [{ holdTime: 30 }]));
    await eventually("the new hold time", async () => (await right.peer("other"))?.holdTime === 30);
    assert.match(right.log(), /Other Configuration Change \(6\/6\) received/);
  }));

test("a stopped speaker leaves silently, and its kernel and its peer keep the routes until it is back", () =>
  withSpeakers(async (hosts, left, right) => {
    await run("ip", "-n", hosts.right, "route", "add", "blackhole", "172.17.9.0/26", "proto", "80");
    await run("ip", "-n", hosts.left, "route", "add", "blackhole", "172.17.8.0/26", "proto", "80");
    const routes = () => run("ip", "-n", hosts.left, "route");
    await eventually("the block's route", async () => (await routes()).includes("172.17.9.0/26 via"));
    await eventually(
      "our block at the peer",
      async () => (await right.ask({ kind: "routes", prefix: "172.17.8.0/26" })).length === 1,
    );
    await left.stop();
    await eventually("the end of the session", async () => (await right.peer("other"))?.state !== "Established");
    assert.match(right.log(), /Keeping the peer's routes while it restarts/);
    const stale = async () => (await right.ask({ kind: "routes", prefix: "172.17.8.0/26" })).map((row) => row.stale);
    assert.deepEqual(await stale(), [true]);
    assert.match(await routes(), /172\.17\.9\.0\/26 via 10\.77\.0\.2 dev eth0 proto bird/);
    const again = startTortie(hosts, configFor(LEFT, [{}]));
    await established(again);
    await eventually("the end of the restart", async () => {
      assert.match(await routes(), /172\.17\.9\.0\/26 via 10\.77\.0\.2 dev eth0 proto bird/);
      return /The restart is over/.test(again.log());
    });
    await eventually("the confirmed route", async () => (await stale())[0] === false);
  }));

test("a reset comes back by itself, and its words reach the peer", () =>
  withSpeakers(async (_hosts, left, right) => {
    await left.ask({ kind: "reset", peer: "other", words: "for the test" });
    await eventually("the words", async () => {
      await Promise.resolve();
      return /Administrative Reset \(6\/4\): \\"for the test\\" received/.test(right.log());
    });
    await established(left);
    assert.equal((await left.peer("other"))?.messages.sent[0], 2);
  }));

test("a stranger is refused at once and logged once", () =>
  withSpeakers(async (hosts, left) => {
    await run("ip", "-n", hosts.right, "addr", "add", "10.77.0.3/24", "dev", "eth0");
    const knock = () =>
      hosts.exec(
        hosts.right,
        "python3",
        "-c",
        `
import socket
try:
    s = socket.create_connection(("${LEFT.v4}", 179), 3, ("10.77.0.3", 0))
    print("closed" if s.recv(1) == b"" else "octets")
except ConnectionResetError:
    print("reset")
`,
      );
    for (let i = 0; i < 3; i++) assert.equal((await knock()).trim(), "reset");
    assert.equal((await left.peer("other"))?.state, "Established");
    assert.equal(left.log().match(/Refused a BGP connection/g)?.length, 1);
  }));

test("with TCP MD5 the right key makes a session, and a new key on both sides makes it again", () =>
  withSpeakers(async (_hosts, left, right) => {
    const before = await left.peer("other");
    left.configure(configFor(LEFT, [{ password: "first-key" }]));
    right.configure(configFor(RIGHT, [{ password: "first-key" }]));
    await eventually(
      "the session with a key",
      async () =>
        (await left.peer("other"))?.state === "Established" && (await left.peer("other"))?.since !== before?.since &&
        (await right.peer("other"))?.state === "Established",
    );
    left.configure(configFor(LEFT, [{ password: "second-key" }]));
    await eventually("the end", async () => (await left.peer("other"))?.state !== "Established");
    right.configure(configFor(RIGHT, [{ password: "second-key" }]));
    await established(left);
    assert.equal(/first-key|second-key/.test(left.log() + right.log()), false);
  }));

test("with GTSM on both sides the session comes up", () =>
  withSpeakers(async (_hosts, left, right) => {
    left.configure(configFor(LEFT, [{ ttlSecurityHops: 1 }]));
    right.configure(configFor(RIGHT, [{ ttlSecurityHops: 1 }]));
    await eventually("the new session", async () =>
      /Other Configuration Change/.test(left.log() + right.log()) &&
      (await left.peer("other"))?.state === "Established");
    assert.equal((await right.peer("other"))?.state, "Established");
  }));

test("a link that goes down and comes up at once has its routes again", () =>
  withSpeakers(async (hosts) => {
    await run("ip", "-n", hosts.right, "route", "add", "blackhole", "172.17.9.0/26", "proto", "80");
    const has = async () => (await run("ip", "-n", hosts.left, "route")).includes("172.17.9.0/26 via");
    await eventually("the route", has);
    await run("ip", "-n", hosts.left, "link", "set", "eth0", "down");
    assert.equal(await has(), false);
    await run("ip", "-n", hosts.left, "link", "set", "eth0", "up");
    await eventually("the route again", has);
  }));
