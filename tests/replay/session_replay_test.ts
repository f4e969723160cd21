/**
 * Recorded sessions with BIRD, FRR and GoBGP, played again: the same octets, timers and connections come in at the same
 * times, and everything that goes out, every state and every route is what it was. No time passes and nothing is random.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import type { Recording } from "./record.ts";
import { Deck, type Entry, type Input, NOWHERE } from "./tape.ts";

function read(name: string): Recording {
  return JSON.parse(Deno.readTextFileSync(join(import.meta.dirname ?? ".", `${name}.json`)));
}

function replay({ peer, speaker, entries }: Recording, change = (input: Input) => input): Entry[] {
  const deck = new Deck(peer, speaker, NOWHERE);
  for (const { at, input } of entries.slice(1)) deck.input(at, change(input));
  return JSON.parse(JSON.stringify(deck.entries));
}

for (const name of ["bird", "frr", "gobgp"]) {
  Deno.test(`the recorded session with ${name} plays again, entry by entry`, () => {
    const recording = read(name);
    const played = replay(recording);
    for (const [at, entry] of recording.entries.entries()) assert.deepEqual(played[at], entry, `entry ${at}`);
    assert.equal(played.length, recording.entries.length);
    // The recording holds what it is meant to: a session, a late route, the daemon's death and its return.
    const ups = recording.entries.filter(({ state }, at) =>
      state === "Established" && recording.entries[at - 1]?.state !== state
    );
    assert.equal(ups.length, 2);
    const seen = recording.entries.flatMap(({ routes }) => routes ?? []).join("\n");
    assert.match(seen, /10\.50\.0\.0\/24 via 10\.77\.0\.2 path 65001/);
    assert.match(seen, /10\.51\.0\.0\/24 via 10\.77\.0\.2 path 65001/);
  });

  Deno.test(`a replay of the session with ${name} notices one changed octet`, () => {
    const recording = read(name);
    const at = recording.entries.findIndex(({ input }) =>
      input.type === "received" && input.octets.includes("18" + "0a3200")
    );
    assert.ok(at > 0);
    let index = 0;
    const played = replay(
      recording,
      (input) =>
        ++index === at && input.type === "received"
          ? { ...input, octets: input.octets.replace("180a3200", "180a3300") }
          : input,
    );
    assert.notDeepEqual(played, recording.entries);
  });
}
