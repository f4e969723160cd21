/**
 * Keeps the speaker configured: what the store says of nodes, pools, peers and filters, and which blocks are ours,
 * becomes its configuration whenever one of them changes.
 *
 * A block is told at once: the speaker has to know it before the first workload's route stands, which it would announce
 * by itself otherwise. Several other changes in a row make one configuration, and one that says the same again is not passed on.
 */

import type { Agent } from "../../agent/agent.ts";
import { resolveSpeaker } from "../../bgp/resolve/resolve.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Log } from "../../lib/log.ts";
import type { Kind } from "../../model/resources/mod.ts";
import type { SpeakerHandle } from "../../speaker/spawn.ts";

/** The kinds that the speaker's configuration is made of. */
const KINDS = new Set(["Node", "IPPool", "BGPConfiguration", "BGPPeer", "BGPFilter", "blocks", "sync"]);

/** Milliseconds that changes are collected for. */
const SETTLE = 20;

/** Starts feeding; returns how to stop. */
export function feedSpeaker(
  { agent, speaker, node, clock, log }: {
    readonly agent: Agent;
    readonly speaker: SpeakerHandle;
    readonly node: string;
    readonly clock: Clock;
    readonly log: Log;
  },
): () => void {
  let cancel: (() => void) | undefined;
  let last = "";
  let lastNotes = "";

  const feed = () => {
    cancel = undefined;
    const { snapshot } = agent;
    if (!snapshot.isInSync) return;
    const values = <K extends Kind>(kind: K) => [...snapshot.all(kind).values()];
    const resolved = resolveSpeaker({
      nodeName: node,
      nodes: values("Node"),
      peers: values("BGPPeer"),
      configurations: values("BGPConfiguration"),
      filters: values("BGPFilter"),
      pools: values("IPPool"),
      affinities: [...snapshot.blocks.keys()].map((cidr) => ({ cidr, host: node, state: "confirmed" })),
    });
    const notes = resolved.problems.join("; ");
    if (notes !== lastNotes && notes !== "") log.warn("parts of the BGP configuration are not used", { notes });
    lastNotes = notes;
    const text = JSON.stringify(resolved.config);
    if (text === last) return;
    last = text;
    speaker.configure(resolved.config);
  };
  const schedule = () => cancel ??= clock.after(SETTLE, feed);
  const stop = agent.onChange((what) => {
    if (what === "blocks") {
      cancel?.();
      feed();
    } else if (KINDS.has(what)) schedule();
  });
  schedule();
  return () => {
    stop();
    cancel?.();
  };
}
