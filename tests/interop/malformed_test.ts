/** A part of the corpus of malformed messages over real TCP: each case is a peer of its own, all at once, of one speaker. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { DEFAULT_PEER, EMPTY_CONFIG } from "../../src/bgp/config.ts";
import { type MalformedCase, readCorpus } from "../unit/bgp/malformed/corpus.ts";
import { KINDS } from "../unit/bgp/malformed/world.ts";
import { canRun, eventually, LEFT, makeHosts, run, startTortie } from "./daemons.ts";
import { lineStream } from "./lines.ts";

const isAble = canRun("/usr/sbin/ip") || canRun("/sbin/ip") || canRun("/usr/bin/ip");
const MOST = 60;

/** Cases of Established sessions that do not depend on our own addresses, one of each few. */
function chosen(): MalformedCase[] {
  const fit = readCorpus().filter(({ phase, session, name, expect }) =>
    phase === undefined && (session === "ebgp" || session === "ibgp") && !/our own/.test(name) &&
    (expect.notification !== undefined || expect.closed || expect.routes !== undefined && !expect.hasLostAll)
  );
  const step = Math.ceil(fit.length / MOST);
  return fit.filter((_, at) => at % step === 0);
}

Deno.test({
  name: `a part of the malformed messages over TCP gets the same reactions${isAble ? "" : " (skipped: not root)"}`,
  ignore: !isAble,
  async fn() {
    const cases = chosen().map((one, at) => ({
      one,
      name: `p${at}`,
      address: `10.77.0.${10 + at}`,
      sentinel: `10.100.${at}.0/24`,
    }));
    assert.ok(cases.length >= 40 && cases.length <= MOST, `${cases.length} cases`);
    const hosts = await makeHosts();
    try {
      for (const { address } of cases) {
        await run("ip", "-n", hosts.right, "addr", "add", `${address}/24`, "dev", "eth0");
      }
      const child = new Deno.Command("ip", {
        args: [
          "netns",
          "exec",
          hosts.right,
          Deno.execPath(),
          "run",
          "-A",
          "--no-check",
          join(import.meta.dirname ?? ".", "malformed_peers.ts"),
        ],
        stdin: "piped",
        stdout: "piped",
        stderr: "inherit",
      }).spawn();
      const writer = child.stdin.getWriter();
      const sent = new Set<string>(), ended = new Map<string, string | null>();
      const listening = (async () => {
        for await (const line of child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(lineStream())) {
          const said = JSON.parse(line);
          if (said.isSent) sent.add(said.address);
          if (said.isEnded) ended.set(said.address, said.notification);
        }
      })();
      hosts.onClose(async () => {
        child.kill("SIGKILL");
        await child.status;
        await listening;
        await writer.close().catch(() => {});
      });
      for (const { one, address, sentinel } of cases) {
        const order = { address, kind: one.session, octets: one.send, sentinel };
        await writer.write(new TextEncoder().encode(`${JSON.stringify(order)}\n`));
      }
      const speaker = startTortie(hosts, {
        ...EMPTY_CONFIG,
        nodeName: "left",
        routerId: LEFT.v4,
        nodeAddress4: LEFT.v4,
        peers: cases.map(({ one, name, address }) => ({
          ...DEFAULT_PEER,
          name,
          address,
          as: KINDS[one.session].as,
          localAs: 64512,
          families: [4, 6] as const,
          rrClient: one.session === "ibgp",
          isSameAs: false,
          hasCalicoRules: false,
        })),
      });
      for (const { one, name, address, sentinel } of cases) {
        const label = `${one.session}: ${one.name}`;
        const { expect } = one;
        if (!expect.routes) {
          await eventually(`the end of ${label}`, () => Promise.resolve(ended.has(address)), 30_000);
          const [code, subcode] = (expect.notification ?? "").split("/").map(Number);
          const wanted = expect.closed
            ? null
            : `${[code, subcode].map((x) => (x ?? 0).toString(16).padStart(2, "0")).join("")}${expect.data ?? ""}`;
          assert.equal(ended.get(address), wanted, label);
          continue;
        }
        const received = (prefix: string) => speaker.ask({ kind: "routes", prefix, received: name });
        await eventually(`the sentinel of ${label}`, async () => (await received(sentinel)).length === 1, 30_000);
        assert.ok(sent.has(address) && !ended.has(address), label);
        for (const [prefix, value] of Object.entries(expect.routes)) {
          const rows = await received(prefix);
          // What was refused for its meaning stays in the Adj-RIB-In, and what is broken does not.
          if (value === null) assert.equal(rows.filter((row) => row.best).length, 0, `${label} ${prefix}`);
          else assert.equal(rows[0]?.communities.includes("64512:1"), value === "base", `${label} ${prefix}`);
        }
        assert.equal((await received("10.9.0.0/24")).length, 1, label);
      }
      for (const { one, name } of cases) {
        if (one.expect.routes) assert.equal((await speaker.peer(name))?.state, "Established", one.name);
      }
      assert.equal(/^error /m.test(speaker.log()), false, speaker.log());
    } finally {
      await hosts.close();
    }
  },
});
