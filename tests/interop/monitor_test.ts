/** The live stream of a node: sessions and best paths as they change, from the node's API to the command line. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { birdClient } from "./clients.ts";
import { eventually } from "./daemons.ts";
import { ip4, onFabric } from "./fabric.ts";

const main = join(import.meta.dirname ?? ".", "../../main.ts");

onFabric("`bgp monitor` shows a session that comes and goes and a best path that changes", 2, async (fabric) => {
  const host = fabric.at(1);
  const at = (name: string) => join(host.folder, name);
  await Deno.writeTextFile(
    at("tortie.yaml"),
    `node: { name: one, ip: ${ip4(1)}, stateDir: ${at("state")}, socket: ${at("sock")} }
metrics: { listen: off }
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: { name: two }
spec: { peerIP: ${ip4(2)}, asNumber: 65002 }
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata:
  name: racks
  annotations: { tortie/dynamic-neighbours: 10.78.5.0/24 }
spec: { asNumber: 64512 }
`,
  );
  const bird = await birdClient(fabric, { number: 2, prefix: "10.50.2.0/24", peers: [1], as: 65002 });
  const start = (...words: string[]) => {
    const child = new Deno.Command("ip", {
      args: ["netns", "exec", host.right, Deno.execPath(), "run", "-A", "--no-check", main, ...words],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const said = { text: "" };
    const listen = async (stream: ReadableStream<Uint8Array>) => {
      for await (const piece of stream.pipeThrough(new TextDecoderStream())) said.text += piece;
    };
    const ended = Promise.all([listen(child.stdout), listen(child.stderr), child.status]);
    host.onClose(async () => {
      try {
        child.kill("SIGTERM");
      } catch {
        // It has ended already.
      }
      await ended;
    });
    return said;
  };
  const node = start("run", "--config", at("tortie.yaml"));
  await eventually("the session", async () => {
    const peers = start("bgp", "peers", "-o", "json", "--socket", at("sock"));
    await eventually("the peers", () => Promise.resolve(peers.text.endsWith("]\n") || peers.text.includes("tortie: ")));
    if (/"state": "Established"/.test(peers.text) && /"capability": "add-path ipv4"/.test(peers.text)) return true;
    throw new Error(peers.text + node.text);
  }, 60_000);
  const text = start("bgp", "monitor", "--socket", at("sock"));
  const json = start("bgp", "monitor", "-o", "json", "--socket", at("sock"));
  await eventually("a best path that goes and comes", async () => {
    await bird.ask("disable", "s4");
    await bird.ask("enable", "s4");
    return /best +10\.50\.2\.0\/24 via 10\.78\.0\.2 from 10\.78\.0\.2, AS path 65002: only path/.test(text.text) &&
      /gone +10\.50\.2\.0\/24/.test(text.text) && json.text.includes('"type":"gone"');
  }, 30_000);
  await bird.ask("disable", "r1");
  await eventually(
    "the session's end",
    () => Promise.resolve(/session global\.two \(10\.78\.0\.2\): Established -> Idle/.test(text.text)),
  );
  const lines = json.text.trim().split("\n").map((line) => JSON.parse(line));
  const best = lines.find(({ type }) => type === "best");
  assert.deepEqual([best.prefix, best.route.nextHop, best.route.asPath], ["10.50.2.0/24", ip4(2), [65002]]);
});
