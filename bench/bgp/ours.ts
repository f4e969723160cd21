/** Our speaker as the node runs it, in a Worker: `deno run -A bench/bgp/ours.ts '{…}'` in the speaker's namespace. */

import { DEFAULT_PEER, EMPTY_CONFIG } from "../../src/bgp/config.ts";
import { makeLog } from "../../src/lib/log.ts";
import { startSpeaker } from "../../src/speaker/spawn.ts";
import { AS, peerAddress, SPEAKER } from "./scene.ts";

const { peers, isInstalling } = JSON.parse(Deno.args[0] ?? "") as { peers: number; isInstalling: boolean };
const speaker = startSpeaker({ log: makeLog((level, text, fields) => console.error(level, text, fields)) });
speaker.configure({
  ...EMPTY_CONFIG,
  routerId: SPEAKER,
  localAs: AS,
  listen: { addresses: [SPEAKER], port: 179 },
  fib: { ...EMPTY_CONFIG.fib, isInstalling, isLearning: isInstalling },
  peers: Array.from({ length: peers }, (_, i) => ({
    ...DEFAULT_PEER,
    name: `peer.${i}`,
    address: peerAddress(i),
    as: AS,
    localAs: AS,
    passive: true,
    families: [4],
    rrClient: true,
    clusterId: SPEAKER,
    hasCalicoRules: false,
  })),
});
