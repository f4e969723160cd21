/**
 * Keeps the permanent neighbour entries of workload interfaces. Learnt entries, and permanent ones on other interfaces,
 * are not ours.
 */

import type { Clock } from "../lib/clock.ts";
import type { LinkTable } from "./link_table.ts";
import { isWorkloadLink, NUD_PERMANENT } from "./ownership.ts";
import type { KernelEvent, Neighbour, Neighbours } from "./ports.ts";
import { each, TableReconciler } from "./table_reconciler.ts";

/** The identity of a neighbour: interface and address. */
export function neighbourKey({ index, ip }: Pick<Neighbour, "index" | "ip">): string {
  return `${ip} dev ${index}`;
}

/** The reconciler of neighbours. */
export class NeighbourReconciler extends TableReconciler<Neighbour, Neighbour> {
  constructor(neighbours: Neighbours, readonly linkTable: LinkTable, clock: Clock) {
    super({
      name: "neighbours",
      read: async () => {
        const found = new Map<string, Neighbour>();
        for (const neighbour of await neighbours.list()) {
          if (this.#isClaimed(neighbour)) found.set(neighbourKey(neighbour), neighbour);
        }
        return found;
      },
      isSame: (a, b) => a.mac === b.mac && a.state === b.state,
      assume: (desired) => desired,
      groupOf: (neighbour) => neighbour.index,
      put: (puts) => each(puts, ({ desired }) => neighbours.replace(desired)),
      remove: (removals) => each(removals, ({ actual }) => neighbours.delete(actual)),
    }, clock);
  }

  /** Takes a neighbour event in. */
  neighbourChanged({ neighbour, isGone }: Extract<KernelEvent, { type: "neighbour" }>): void {
    const key = neighbourKey(neighbour);
    if (isGone) this.actualAt(key) && this.observe(key, undefined);
    else if (this.#isClaimed(neighbour)) this.observe(key, neighbour);
    else if (this.actualAt(key)) this.observe(key, undefined);
  }

  #isClaimed(neighbour: Neighbour): boolean {
    if (this.isDesired(neighbourKey(neighbour))) return true;
    const link = this.linkTable.at(neighbour.index);
    return neighbour.state === NUD_PERMANENT && (neighbour.flags & NTF_PROXY) === 0 && link !== undefined &&
      isWorkloadLink(link);
  }
}

const NTF_PROXY = 0x08;
