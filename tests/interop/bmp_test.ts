/** What a BMP station hears, as Wireshark's decoder reads it: a session with BIRD from its beginning to its end. */

import assert from "node:assert/strict";
import { DEFAULT_PEER, EMPTY_CONFIG, type SpeakerConfig } from "../../src/bgp/config.ts";
import { decode, messagesOf, PORT, startStation, TSHARK } from "./bmp_station.ts";
import { canRun, eventually, type Hosts, LEFT, makeHosts, RIGHT, run, startBird, startTortie } from "./daemons.ts";

const isAble = canRun("/usr/sbin/bird", TSHARK);
const note = isAble ? "" : " (skipped: not root, or bird or tshark is not installed)";
const AS = 4200000001;

const config: SpeakerConfig = {
  ...EMPTY_CONFIG,
  nodeName: "left",
  routerId: LEFT.v4,
  families: [4, 6],
  nodeAddress4: LEFT.v4,
  nodeAddress6: LEFT.v6,
  fib: { ...EMPTY_CONFIG.fib, isLearning: true },
  bmp: { address: RIGHT.v4, port: PORT, adjRibOut: true },
  filters: [{
    name: "not-51",
    importV4: [{ action: "Reject", cidr: "198.51.100.0/24", matchOperator: "In" }],
    importV6: [],
    exportV4: [],
    exportV6: [],
  }],
  peers: [{
    ...DEFAULT_PEER,
    name: "bird",
    address: RIGHT.v4,
    as: AS,
    localAs: 64512,
    families: [4, 6],
    importFilters: ["not-51"],
    hasCalicoRules: false,
    isSameAs: false,
  }],
};

const bird = `
protocol static four { ipv4; route 192.0.2.0/24 blackhole; route 198.51.100.0/25 blackhole; }
protocol static six { ipv6; route 2001:db8:9::/48 blackhole; }
protocol bgp tortie {
  local ${RIGHT.v4} as ${AS}; neighbor ${LEFT.v4} as 64512; connect delay time 1;
  ipv4 { import all; export all; };
  ipv6 { import all; export all; next hop address ${RIGHT.v6}; };
}`;

const FIELDS = {
  type: "bmp.type",
  peerType: "bmp.peer.type",
  flags: "bmp.peer.flags",
  address: "bmp.peer.ip.addr",
  as: "bmp.peer.asn",
  id: "bmp.peer.id",
  info: "bmp.init.info",
  termination: "bmp.term.reason",
  down: "bmp.peer.down.reason",
  localPort: "bmp.peer.up.port.local",
  remotePort: "bmp.peer.up.port.remote",
  stats: "bmp.stats.type",
  adjRibIn: "bmp.stats.data.routes_adj_rib_in",
  bgpType: "bgp.type",
  nlri: "bgp.nlri_prefix",
  withdrawn: "bgp.withdrawn_prefix",
  reach6: "bgp.mp_reach_nlri_ipv6_prefix",
  path: "bgp.update.path_attribute.as_path_segment.as4",
  cease: "bgp.notify.minor_error_cease",
  malformed: "_ws.malformed",
} as const;
type Row = Record<keyof typeof FIELDS, string>;

async function read(hosts: Hosts, stream: Uint8Array): Promise<Row[]> {
  const rows = await decode(hosts, stream, Object.values(FIELDS));
  return rows.map((row) => Object.fromEntries(Object.keys(FIELDS).map((name, at) => [name, row[at] ?? ""])) as Row);
}

const ROUTE_MONITORING = "0", STATISTICS = "1", PEER_DOWN = "2", PEER_UP = "3", INITIATION = "4", TERMINATION = "5";
const PRE = "0x00", POST = "0x40", OUT = "0x50";
const GLOBAL = "0", LOC_RIB = "3";

function test(name: string, play: (hosts: Hosts) => Promise<void>): void {
  Deno.test({
    name: name + note,
    ignore: !isAble,
    async fn() {
      const hosts = await makeHosts();
      try {
        await run("ip", "-n", hosts.left, "route", "add", "blackhole", "172.17.8.0/26", "proto", "80");
        await play(hosts);
      } finally {
        await hosts.close();
      }
    },
  });
}

/** Prefixes that a kind of Route Monitoring announced or withdrew. */
function monitored(
  rows: readonly Row[],
  peerType: string,
  flags: string,
  what: "nlri" | "withdrawn" | "reach6",
): string[] {
  return rows
    .filter((row) => row.type === ROUTE_MONITORING && row.peerType === peerType && row.flags === flags)
    .flatMap((row) => row[what] === "" ? [] : row[what].split(","));
}

test("a station that is there before the session hears of it from Peer Up to Peer Down", async (hosts) => {
  const station = await startStation(hosts);
  const left = startTortie(hosts, config);
  await eventually("the connection", async () => messagesOf(await station.octets()).length >= 2);
  const peer = await startBird(hosts, bird);
  await eventually("the routes", async () => (await left.peer("bird"))?.received === 3);
  await peer.ask("disable", "four");
  await eventually("the withdrawals", async () => (await left.peer("bird"))?.received === 1);
  await peer.stop();
  await eventually("the end of the session", async () => (await left.peer("bird"))?.state !== "Established");
  await left.stop();
  const stream = await station.octets();
  const rows = await read(hosts, stream);
  const of = (type: string, peerType = GLOBAL) => rows.filter((row) => row.type === type && row.peerType === peerType);

  assert.deepEqual([rows[0]?.type, rows[0]?.info], [INITIATION, "tortie,left"]);
  assert.deepEqual([rows.at(-1)?.type, rows.at(-1)?.termination], [TERMINATION, "0"]);
  // tshark 4.0 does not know the table's name behind the OPENs (RFC 9069 section 4.4), and says so.
  assert.ok(rows.every((row) => row.malformed === "" || row.type === PEER_UP && row.peerType === LOC_RIB));
  const [locRib] = messagesOf(stream).filter((message) => message[5] === 3 && message[6] === 3);
  assert.equal(new TextDecoder().decode(locRib?.slice(-10)), "\0\x03\0\x06global");
  assert.deepEqual(of(PEER_UP, LOC_RIB).map(({ as, id, flags }) => [as, id, flags]), [["64512", LEFT.v4, "0x00"]]);

  const ups = of(PEER_UP);
  assert.equal(ups.length, 1);
  assert.deepEqual([ups[0]?.address, ups[0]?.as, ups[0]?.id, ups[0]?.bgpType], [RIGHT.v4, String(AS), RIGHT.v4, "1,1"]);
  assert.ok(ups[0]?.localPort === "179" || ups[0]?.remotePort === "179");
  const downs = of(PEER_DOWN);
  assert.deepEqual(downs.map(({ down, bgpType, cease }) => [down, bgpType, cease]), [["3", "3", "2"]]);

  const both = ["192.0.2.0", "198.51.100.0"];
  assert.deepEqual(monitored(rows, GLOBAL, PRE, "nlri").sort(), both);
  assert.deepEqual(monitored(rows, GLOBAL, POST, "nlri"), ["192.0.2.0"]);
  assert.deepEqual(monitored(rows, GLOBAL, PRE, "withdrawn").sort(), both);
  assert.ok(monitored(rows, GLOBAL, POST, "withdrawn").includes("192.0.2.0"));
  for (const view of [PRE, POST]) assert.deepEqual(monitored(rows, GLOBAL, view, "reach6"), ["2001:db8:9::"]);
  const best = monitored(rows, LOC_RIB, PRE, "nlri");
  assert.ok(best.includes("192.0.2.0") && best.includes("172.17.8.0") && !best.includes("198.51.100.0"), best.join());
  assert.ok(monitored(rows, LOC_RIB, PRE, "withdrawn").includes("192.0.2.0"));
  assert.ok(monitored(rows, GLOBAL, OUT, "nlri").includes("172.17.8.0"));
  const [announcement] = rows.filter((row) =>
    row.flags === PRE && row.nlri.includes("192.0.2.0") && row.peerType === GLOBAL
  );
  assert.deepEqual([announcement?.path, announcement?.as], [String(AS), String(AS)]);
});

test("a station that comes later is told what there is, End-of-RIB and counts behind it", async (hosts) => {
  const left = startTortie(hosts, config);
  await startBird(hosts, bird);
  await eventually("the routes", async () => (await left.peer("bird"))?.received === 3);
  await eventually("the error", async () => {
    await Promise.resolve();
    return left.status()?.errors.some((text) => /Cannot reach the BMP station 10\.77\.0\.2 port 11019/.test(text));
  });
  const station = await startStation(hosts);
  const rows = await eventually("the counts", async () => {
    const seen = await read(hosts, await station.octets());
    return seen.filter((row) => row.type === STATISTICS).length >= 2 && seen;
  });
  assert.deepEqual(monitored(rows, GLOBAL, PRE, "nlri").sort(), ["192.0.2.0", "198.51.100.0"]);
  assert.deepEqual(monitored(rows, GLOBAL, POST, "nlri"), ["192.0.2.0"]);
  assert.ok(monitored(rows, GLOBAL, OUT, "nlri").includes("172.17.8.0"));
  assert.ok(monitored(rows, LOC_RIB, PRE, "nlri").includes("192.0.2.0"));
  const [counts] = rows.filter((row) => row.type === STATISTICS && row.peerType === GLOBAL);
  assert.deepEqual([counts?.stats, counts?.adjRibIn], ["7,9,9", "3"]);
  const isEndOfRib = (row: Row) => row.type === ROUTE_MONITORING && !row.nlri && !row.withdrawn && !row.reach6;
  for (const view of [PRE, POST, OUT]) {
    const ends = rows.filter((row) => row.peerType === GLOBAL && row.flags === view && isEndOfRib(row));
    assert.equal(ends.length, 2, `End-of-RIB of both families in view ${view}`);
  }
  await eventually("no error", async () => {
    await Promise.resolve();
    return left.status()?.errors.length === 0;
  });
});
