/**
 * Keeps the settings of workload links: the name, up, and the MAC. A link that somebody renamed is found by our alias.
 * Links are made and deleted by attach and detach, never here: a desired link that is not there is left alone.
 */

import type { Clock } from "../lib/clock.ts";
import type { LinkTable } from "./link_table.ts";
import { workloadOfAlias } from "./ownership.ts";
import type { Link, Links } from "./ports.ts";
import { each, TableReconciler } from "./table_reconciler.ts";

/** How a link should be; its key is its name. */
export interface DesiredLink {
  readonly name: string;
  readonly isUp: boolean;
  /** Left as it is when absent (a tap or an interface that was adopted). */
  readonly mac?: string;
  /** The alias that finds it when its name was changed. */
  readonly alias?: string;
}

/** The reconciler of link settings over a link table that others keep up to date. */
export class LinkReconciler extends TableReconciler<DesiredLink, Link> {
  readonly #nameOfAlias = new Map<string, string>();

  constructor(links: Links, readonly linkTable: LinkTable, clock: Clock) {
    super({
      name: "links",
      read: (desired) => {
        const found = new Map<string, Link>();
        for (const link of linkTable.all()) {
          const key = this.#keyOf(link);
          if (desired.has(key)) found.set(key, link);
        }
        return Promise.resolve(found);
      },
      isSame: (desired, actual) => isAsDesired(desired, actual),
      assume: (desired, actual) => ({ ...actual ?? absent, ...changeFor(desired, actual) }),
      groupOf: () => undefined,
      put: (puts) =>
        each(puts, async ({ desired, actual }) => {
          if (actual && actual.index !== 0) await links.change(actual.index, changeFor(desired, actual));
        }),
      remove: (removals) => Promise.resolve(removals.map(() => undefined)),
    }, clock);
  }

  override amend(changes: ReadonlyMap<string, DesiredLink | undefined>): void {
    for (const [name, want] of changes) {
      const before = this.desiredAt(name);
      if (before?.alias && this.#nameOfAlias.get(before.alias) === name) this.#nameOfAlias.delete(before.alias);
      if (want?.alias) this.#nameOfAlias.set(want.alias, name);
    }
    super.amend(changes);
    for (const [name, want] of changes) {
      const link = want && this.linkTable.find(name, want.alias);
      if (link && this.actualAt(name)?.index !== link.index) this.observe(name, link);
    }
  }

  /** Takes in that a link changed or went. */
  linkChanged(link: Link, isGone: boolean): void {
    const key = this.#keyOf(link);
    if (this.isDesired(key)) this.observe(key, isGone ? undefined : link);
  }

  #keyOf(link: Link): string {
    const byAlias = workloadOfAlias(link.alias) === undefined ? undefined : this.#nameOfAlias.get(link.alias);
    return byAlias ?? link.name;
  }
}

/** Stands for a link that is not there; the kernel numbers links from 1. */
const absent: Link = { index: 0, name: "", mac: "", mtu: 0, isUp: false, isRunning: false, kind: "", alias: "" };

function changeFor(desired: DesiredLink, actual: Link | undefined) {
  return {
    ...desired.name !== actual?.name ? { name: desired.name } : {},
    ...desired.isUp !== actual?.isUp ? { isUp: desired.isUp } : {},
    ...desired.mac !== undefined && desired.mac !== actual?.mac ? { mac: desired.mac } : {},
  };
}

function isAsDesired(desired: DesiredLink, actual: Link): boolean {
  return Object.keys(changeFor(desired, actual)).length === 0;
}
