/**
 * Records sessions with the real daemons: `deno run -A tests/replay/record.ts [BIRD|FRR|GoBGP]` writes `<daemon>.json` beside this
 * file. It builds two hosts, starts the daemon in one and itself in the other (as `record.ts here`), lets the daemon
 * announce and withdraw routes, kills it, starts it again, and stops. `deno fmt` afterwards.
 */

import { join } from "node:path";
import { DEFAULT_PEER, EMPTY_CONFIG, type PeerConfig, type SpeakerConfig } from "../../src/bgp/config.ts";
import type { Transport } from "../../src/bgp/transport.ts";
import { connectTcp } from "../../src/linux/tcp_socket.ts";
import { eventually, LEFT, makeHosts, RIGHT } from "../interop/daemons.ts";
import { KINDS } from "../interop/kinds.ts";
import { lineStream } from "../interop/lines.ts";
import { Deck, endpointText, type Entry, hex } from "./tape.ts";

const PEER: PeerConfig = {
  ...DEFAULT_PEER,
  name: "right",
  address: RIGHT.v4,
  as: 65001,
  localAs: 64512,
  families: [4],
  holdTime: 9,
  isSameAs: false,
  hasCalicoRules: false,
};
const SPEAKER: SpeakerConfig = {
  ...EMPTY_CONFIG,
  nodeName: "left",
  routerId: LEFT.v4,
  nodeAddress4: LEFT.v4,
  peers: [PEER],
};

/** The live side: everything goes onto the tape, which is printed when the line "stop" comes. */
async function recordHere(): Promise<void> {
  const begun = performance.now();
  const now = () => Math.round(performance.now() - begun);
  const transports = new Map<number, Transport>();
  const timers = new Map<number, ReturnType<typeof setTimeout>>();
  const room = new Uint8Array(65_536);
  // What the deck asks for while it is being made comes before there is a deck.
  const later = (work: (deck: Deck) => void) => queueMicrotask(() => work(deck));
  const deck: Deck = new Deck(PEER, SPEAKER, {
    connect: (id) =>
      later(() => {
        const transport = connectTcp(PEER.address, 179, {}, {
          connected: () =>
            deck.input(now(), {
              type: "connected",
              id,
              local: endpointText(transport.local),
              remote: endpointText(transport.remote),
            }),
          room: () => room,
          received: (count) => deck.input(now(), { type: "received", id, octets: hex(room.subarray(0, count)) }),
          writable() {},
          closed: (reason) => deck.input(now(), { type: "closed", id, reason }),
        });
        transports.set(id, transport);
      }),
    write: (id, octets) => transports.get(id)?.write(octets),
    close: (id) => transports.get(id)?.close(),
    after: (id, ms) => void timers.set(id, setTimeout(() => deck.input(now(), { type: "timer", id }), ms)),
    cancel: (id) => clearTimeout(timers.get(id)),
  });
  const said = { routes: "" };
  const watch = setInterval(() => {
    const routes = deck.router.routes({}).map((row) => row.prefix).sort().join(" ");
    const line = `${deck.peer.session.fsm.name} ${routes}`.trim();
    if (line !== said.routes) console.log(said.routes = line);
  }, 20);
  for await (const line of Deno.stdin.readable.pipeThrough(new TextDecoderStream()).pipeThrough(lineStream())) {
    if (line === "stop") break;
  }
  clearInterval(watch);
  deck.input(now(), { type: "stop" });
  console.log(JSON.stringify({ peer: PEER, speaker: SPEAKER, entries: deck.entries }));
  Deno.exit(0);
}

/** A recording as a file holds it. */
export interface Recording {
  readonly peer: PeerConfig;
  readonly speaker: SpeakerConfig;
  readonly entries: readonly Entry[];
}

async function record(name: string): Promise<void> {
  const kind = KINDS.find((each) => each.name === name);
  if (!kind) throw new Error(`Cannot record ${name}: BIRD, FRR and GoBGP are known`);
  const hosts = await makeHosts();
  try {
    const plan = { leftAs: 64512, rightAs: 65001, holdTime: 9 };
    let daemon = await kind.start(hosts, plan);
    const child = new Deno.Command("ip", {
      args: [
        "netns",
        "exec",
        hosts.left,
        Deno.execPath(),
        "run",
        "-A",
        "--no-check",
        join(import.meta.dirname ?? ".", "record.ts"),
        "here",
      ],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const lines: string[] = [];
    const reading = (async () => {
      for await (const line of child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(lineStream())) {
        lines.push(line);
      }
    })();
    const until = (what: string) =>
      eventually(what, async () => (await Promise.resolve(), lines.at(-1) === what), 60_000);
    await until("Established 10.50.0.0/24");
    await kind.announceLate(daemon);
    await until("Established 10.50.0.0/24 10.51.0.0/24");
    await kind.withdrawLate(daemon);
    await until("Established 10.50.0.0/24");
    await daemon.stop("SIGKILL");
    await eventually("the end", async () => (await Promise.resolve(), !lines.at(-1)?.startsWith("Established")));
    daemon = await kind.start(hosts, plan);
    await until("Established 10.50.0.0/24");
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode("stop\n"));
    await writer.close();
    await reading;
    await child.status;
    const { peer, speaker, entries } = JSON.parse(lines.at(-1) ?? "") as Recording;
    const text = `{\n"peer": ${JSON.stringify(peer)},\n"speaker": ${JSON.stringify(speaker)},\n"entries": [\n${
      entries.map((entry) => JSON.stringify(entry)).join(",\n")
    }\n]\n}\n`;
    await Deno.writeTextFile(join(import.meta.dirname ?? ".", `${name.toLowerCase()}.json`), text);
    console.log(`${name}: ${entries.length} entries`);
  } finally {
    await hosts.close();
  }
}

if (import.meta.main) {
  const [what] = Deno.args;
  if (what === "here") await recordHere();
  else for (const name of what ? [what] : ["BIRD", "FRR", "GoBGP"]) await record(name);
}
