/** MRT files as Debian's bgpdump reads them: the table of a speaker with a BIRD beside it, and what passed between them. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { DEFAULT_PEER, EMPTY_CONFIG, type SpeakerConfig } from "../../src/bgp/config.ts";
import { canRun, eventually, LEFT, makeHosts, RIGHT, run, startBird, startTortie } from "./daemons.ts";

const BGPDUMP = "/usr/bin/bgpdump";
const isAble = canRun("/usr/sbin/bird", BGPDUMP);
const note = isAble ? "" : " (skipped: not root, or bird or bgpdump is not installed)";

const config: SpeakerConfig = {
  ...EMPTY_CONFIG,
  nodeName: "left",
  routerId: LEFT.v4,
  families: [4, 6],
  nodeAddress4: LEFT.v4,
  nodeAddress6: LEFT.v6,
  fib: { ...EMPTY_CONFIG.fib, isLearning: true },
  peers: [{
    ...DEFAULT_PEER,
    name: "bird",
    address: RIGHT.v4,
    as: 4200000001,
    localAs: 64512,
    families: [4, 6],
    hasCalicoRules: false,
    isSameAs: false,
  }],
};

const bird = `
protocol static four { ipv4; route 192.0.2.0/24 blackhole; route 198.51.100.0/25 blackhole; }
protocol static six { ipv6; route 2001:db8:9::/48 blackhole; }
filter shape { bgp_community.add((65001, 7)); bgp_large_community.add((4200000001, 1, 2)); bgp_med = 42; accept; }
protocol bgp tortie {
  local ${RIGHT.v4} as 4200000001; neighbor ${LEFT.v4} as 64512; connect delay time 1;
  ipv4 { import all; export filter shape; };
  ipv6 { import all; export filter shape; next hop address ${RIGHT.v6}; };
}`;

/** bgpdump's lines, fields between bars, time stamps cut off. */
async function read(path: string): Promise<string[][]> {
  const text = await run(BGPDUMP, "-q", "-m", "-l", path);
  return text.trim().split("\n").map((line) => line.split("|"));
}

Deno.test({
  name: "bgpdump reads the table and the recorded session as they are" + note,
  ignore: !isAble,
  async fn() {
    const hosts = await makeHosts();
    try {
      await run("ip", "-n", hosts.left, "route", "add", "blackhole", "172.17.8.0/26", "proto", "80");
      const left = startTortie(hosts, config);
      const record = join(hosts.folder, "updates.mrt");
      assert.deepEqual(await left.ask({ kind: "record", path: record }), { recording: record });
      const peer = await startBird(hosts, bird);
      await eventually("the routes", async () => (await left.peer("bird"))?.received === 3);
      const dump = join(hosts.folder, "table.mrt");
      const before = Math.floor(Date.now() / 1000);
      const result = await left.ask({ kind: "dump", path: dump });
      assert.equal((await Deno.stat(dump)).size, result.octets);

      const rows = await read(dump);
      for (const [kind, time, letter] of rows) {
        assert.deepEqual([kind, letter], ["TABLE_DUMP2", "B"]);
        assert.ok(Number(time) >= before && Number(time) <= before + 10);
      }
      const learnt = rows.filter((row) => row[3] === RIGHT.v4).map((row) => row.slice(3));
      const rest = ["0", "42", "65001:7", "4200000001:1:2", "NAG", "", ""];
      const four = (prefix: string) => [RIGHT.v4, "4200000001", prefix, "4200000001", "IGP", RIGHT.v4, ...rest];
      const six = [RIGHT.v4, "4200000001", "2001:db8:9::/48", "4200000001", "IGP", RIGHT.v6, ...rest];
      const tidy = (row: string[]) => row.map((text) => text.trim());
      assert.deepEqual(learnt.map(tidy).sort(), [four("192.0.2.0/24"), four("198.51.100.0/25"), six].sort());
      const own = rows.filter((row) => row[3] === "0.0.0.0").map((row) => [row[4], row[5], row[8]]);
      assert.ok(own.some((row) => row.join() === "64512,172.17.8.0/26,0.0.0.0"), JSON.stringify(own));

      await peer.ask("disable", "four");
      await eventually("the withdrawals", async () => (await left.peer("bird"))?.received === 1);
      await peer.stop();
      await eventually("the end of the session", async () => (await left.peer("bird"))?.state !== "Established");
      assert.deepEqual(await left.ask({ kind: "record" }), { recording: null });
      const log = await read(record);
      const messages = (kind: string, letter: string) => log.filter((row) => row[0] === kind && row[2] === letter);
      const from = (letter: string) => messages("BGP4MP_ET", letter).filter((row) => row[3] === RIGHT.v4);
      const told = messages("BGP4MP_ET_LOCAL", "A").map((row) => row.slice(3, 9).join());
      assert.ok(told.includes(`${RIGHT.v4},4200000001,172.17.8.0/26,64512,IGP,${LEFT.v4}`), told.join(" "));
      const announced = from("A").map((row) => row[5]);
      for (const prefix of ["192.0.2.0/24", "198.51.100.0/25", "2001:db8:9::/48"]) {
        assert.ok(announced.includes(prefix), prefix);
      }
      assert.deepEqual(from("W").map((row) => row[5]).sort(), ["192.0.2.0/24", "198.51.100.0/25"]);
      const states = log.filter((row) => row[2] === "STATE").map((row) => row.slice(5, 7).join(">"));
      assert.ok(states.includes("5>6") && states.some((change) => change.startsWith("6>")), states.join());
      const human = await run(BGPDUMP, "-q", "-H", record);
      assert.match(human, /TYPE: BGP4MP_ET\/MESSAGE\/Open\nFROM: 10\.77\.0\.2 AS4200000001/);
      await assert.rejects(left.ask({ kind: "dump", path: "/nonexistent/table.mrt" }), /No such file/);
    } finally {
      await hosts.close();
    }
  },
});
