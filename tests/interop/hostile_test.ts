/** The speaker among peers and strangers that misbehave, over real TCP: whoever behaves does not notice. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { DEFAULT_PEER, EMPTY_CONFIG, type PeerConfig, type SpeakerConfig } from "../../src/bgp/config.ts";
import { canRun, eventually, type Hosts, LEFT, makeHosts, RIGHT, run, startTortie } from "./daemons.ts";
import { lineStream } from "./lines.ts";

const isAble = canRun("/usr/sbin/ip") || canRun("/sbin/ip") || canRun("/usr/bin/ip");
const note = isAble ? "" : " (skipped: not root)";
const AS = 64512;
const PREFIXES = 100_000;
/** The hold time is 3 s, so a KEEPALIVE is due every second; half a second more is allowed. */
const MOST_GAP_MS = 1_500;
/** The whole process: the runtime, 100,000 routes, and what a peer that reads nothing may hold back. */
const MOST_MEMORY_MB = 450;

/** A misbehaving peer's process. */
interface Rogue {
  /** Waits for a line that has the member. */
  said(member: string, ms?: number): Promise<Record<string, number>>;
  ask(): void;
}

function startRogue(hosts: Hosts, ...words: (string | number)[]): Rogue {
  const main = join(import.meta.dirname ?? ".", "hostile_peer.ts");
  const child = new Deno.Command("ip", {
    args: ["netns", "exec", hosts.right, Deno.execPath(), "run", "-A", "--no-check", main, ...words.map(String)],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
    env: { DENO_NO_UPDATE_CHECK: "1" },
  }).spawn();
  const lines: Record<string, number>[] = [];
  const listening = (async () => {
    for await (const line of child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(lineStream())) {
      lines.push(JSON.parse(line));
    }
  })();
  const writer = child.stdin.getWriter();
  hosts.onClose(async () => {
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended by itself.
    }
    await child.status;
    await listening;
    await writer.close().catch(() => {});
  });
  return {
    said: (member, ms) =>
      eventually(`${words[0]} to say ${member}`, async () => {
        await Promise.resolve();
        const at = lines.findIndex((line) => member in line);
        return at < 0 ? undefined : lines.splice(at, 1)[0];
      }, ms),
    ask: () => void writer.write(new Uint8Array([10])),
  };
}

function configFor(
  side: typeof LEFT,
  peers: readonly (Partial<PeerConfig> & { name: string; address: string })[],
): SpeakerConfig {
  return {
    ...EMPTY_CONFIG,
    nodeName: side.v4,
    routerId: side.v4,
    localAs: AS,
    nodeAddress4: side.v4,
    filters: [{ name: "none", importV4: [], importV6: [], exportV4: [{ action: "Reject" }], exportV6: [] }],
    fib: { ...EMPTY_CONFIG.fib, isInstalling: true, isLearning: true },
    peers: peers.map((peer) => ({
      ...DEFAULT_PEER,
      as: AS,
      localAs: AS,
      families: [4] as const,
      holdTime: 3,
      rrClient: true,
      hasCalicoRules: false,
      ...peer,
    })),
  };
}

async function memoryMb(host: string): Promise<number> {
  const [pid] = (await run("ip", "netns", "pids", host)).trim().split("\n");
  const [, kb = "0"] = /^VmRSS:\s+(\d+) kB$/m.exec(await Deno.readTextFile(`/proc/${pid}/status`)) ?? [];
  return Number(kb) / 1024;
}

const ADDRESSES = {
  good: "10.77.0.3",
  stuck: "10.77.0.4",
  drip: "10.77.0.5",
  flap: "10.77.0.6",
  silent: "10.77.0.7",
  quiet: "10.77.0.8",
};

Deno.test({
  name:
    `strangers, silent, dripping and stuck peers and one that flaps 100,000 prefixes ten times disturb nobody${note}`,
  ignore: !isAble,
  async fn() {
    const hosts = await makeHosts();
    try {
      for (const address of [...Object.values(ADDRESSES), "10.77.0.99"]) {
        await run("ip", "-n", hosts.right, "addr", "add", `${address}/24`, "dev", "eth0");
      }
      // What connects from here by itself comes from an address that is nobody's.
      await run("ip", "-n", hosts.right, "route", "add", `${LEFT.v4}/32`, "dev", "eth0", "src", "10.77.0.99");
      const { good, stuck, drip, flap, silent, quiet } = ADDRESSES;
      const watcher = startRogue(hosts, "good", good);
      // Nothing is told to this one, so nothing stands between it and its KEEPALIVEs.
      const listener = startRogue(hosts, "good", quiet);
      const flapper = startRogue(hosts, "flap", flap, PREFIXES, 10);
      const others = [
        startRogue(hosts, "stuck", stuck),
        startRogue(hosts, "drip", drip),
        startRogue(hosts, "silent", silent),
      ];
      for (const rogue of [watcher, listener, ...others]) await rogue.said("ready");
      const base = Object.entries({ good, stuck, drip, silent, quiet }).map(([name, address]) => ({
        name,
        address,
        ...(name === "quiet" ? { exportFilters: ["none"] } : {}),
      }));
      const speaker = startTortie(hosts, configFor(LEFT, base));
      for (const name of ["good", "stuck", "quiet"]) {
        await eventually(`the session ${name}`, async () => (await speaker.peer(name))?.state === "Established");
      }
      const flood = startRogue(hosts, "flood", "-", 3_000);
      await flapper.said("ready");
      speaker.configure(configFor(LEFT, [...base, { name: "flap", address: flap }]));
      await flapper.said("done", 120_000);
      assert.deepEqual(await flood.said("refused", 60_000), { refused: 3_000 });

      const seen = async (rogue: Rogue) => {
        rogue.ask();
        return await rogue.said("prefixes");
      };
      await eventually("the good peer to have all prefixes", async () => {
        const { sessions, prefixes, maxSilence = Infinity } = await seen(watcher);
        assert.equal(sessions, 1);
        assert.ok(maxSilence <= MOST_GAP_MS, `${maxSilence.toFixed(0)} ms without a message`);
        return prefixes === PREFIXES;
      }, 60_000);
      await eventually("the kernel to have all prefixes", async () => {
        const lines = await run("ip", "-n", hosts.left, "route", "show", "proto", "bird");
        return lines.trim().split("\n").length === PREFIXES;
      }, 60_000);
      const { sessions, prefixes, maxGap = Infinity } = await seen(listener);
      assert.deepEqual([sessions, prefixes], [1, 0]);
      assert.ok(maxGap > 500 && maxGap <= MOST_GAP_MS, `${maxGap.toFixed(0)} ms between two KEEPALIVEs`);
      assert.equal((await speaker.peer("flap"))?.received, PREFIXES);
      // All of them and the network between the hosts.
      assert.equal((await speaker.peer("good"))?.advertised, PREFIXES + 1);
      assert.equal((await speaker.peer("stuck"))?.state, "Established");
      for (const name of ["drip", "silent"]) assert.notEqual((await speaker.peer(name))?.state, "Established");
      const memory = await memoryMb(hosts.left);
      assert.ok(memory > 10 && memory < MOST_MEMORY_MB, `${memory.toFixed(0)} MB`);
      assert.equal(/^error /m.test(speaker.log()), false, speaker.log());
    } finally {
      await hosts.close();
    }
  },
});

Deno.test({
  name: `forged resets with the right sequence number end a session without a key, and never one with TCP MD5${note}`,
  ignore: !isAble,
  async fn() {
    const hosts = await makeHosts();
    try {
      const peers = (
        address: string,
        password?: string,
      ) => [{ name: "other", address, ...(password ? { password } : {}) }];
      const left = startTortie(hosts, configFor(LEFT, peers(RIGHT.v4, "between-us")));
      const right = startTortie(hosts, configFor(RIGHT, peers(LEFT.v4, "between-us")), hosts.right);
      const isUp = async () =>
        (await left.peer("other"))?.state === "Established" && (await right.peer("other"))?.state === "Established";
      const hammer = async () => {
        const forger = startRogue(hosts, "forge", RIGHT.v4, 4_000);
        await forger.said("ready");
        const { sent = 0 } = await forger.said("sent");
        assert.ok(sent >= 4, `${sent} segments forged`);
      };
      await eventually("the session with a key", isUp);
      const before = [await left.peer("other"), await right.peer("other")].map((peer) => peer?.since);
      await hammer();
      assert.ok(await isUp());
      assert.deepEqual([await left.peer("other"), await right.peer("other")].map((peer) => peer?.since), before);

      left.configure(configFor(LEFT, peers(RIGHT.v4)));
      right.configure(configFor(RIGHT, peers(LEFT.v4)));
      await eventually("the session without a key", isUp);
      const bare = (await left.peer("other"))?.since;
      await hammer();
      await eventually("the session after the resets", isUp);
      assert.notEqual((await left.peer("other"))?.since, bare);
    } finally {
      await hosts.close();
    }
  },
});
