/**
 * The links of the host as last heard, by index, name and alias. The other reconcilers and the desired state ask it which
 * interface an index is, and whether it is there and up.
 */

import type { KernelEvent, Link, Links } from "./ports.ts";

/** What a link event changed for those who keep entries by interface. */
export interface LinkChange {
  readonly link: Link;
  readonly before: Link | undefined;
  readonly isGone: boolean;
}

/** The link table; read once with `refresh`, then kept by events. */
export class LinkTable {
  readonly #byIndex = new Map<number, Link>();
  readonly #byName = new Map<string, Link>();
  readonly #byAlias = new Map<string, Link>();
  #overtaking: Map<number, Link | undefined> | undefined;

  at(index: number): Link | undefined {
    return this.#byIndex.get(index);
  }

  named(name: string): Link | undefined {
    return this.#byName.get(name);
  }

  /** The link of that name, else the one with that alias: somebody may have renamed it. */
  find(name: string, alias?: string): Link | undefined {
    return this.#byName.get(name) ?? (alias ? this.#byAlias.get(alias) : undefined);
  }

  all(): Iterable<Link> {
    return this.#byIndex.values();
  }

  /** Reads all links; events that arrive meanwhile win. Returns what differs from before. */
  async refresh(links: Links): Promise<LinkChange[]> {
    this.#overtaking = new Map();
    try {
      const listed = new Map((await links.list()).map((link) => [link.index, link]));
      for (const [index, link] of this.#overtaking) {
        if (link) listed.set(index, link);
        else listed.delete(index);
      }
      const changes: LinkChange[] = [];
      for (const before of [...this.#byIndex.values()]) {
        if (listed.has(before.index)) continue;
        this.#set(before.index, undefined);
        changes.push({ link: before, before, isGone: true });
      }
      for (const link of listed.values()) {
        const before = this.#byIndex.get(link.index);
        this.#set(link.index, link);
        if (!before || !isSameLink(before, link)) changes.push({ link, before, isGone: false });
      }
      return changes;
    } finally {
      this.#overtaking = undefined;
    }
  }

  /** Takes a link event in; undefined for other events and for one that says nothing new. */
  observe(event: KernelEvent): LinkChange | undefined {
    if (event.type !== "link") return undefined;
    const { link, isGone } = event;
    const before = this.#byIndex.get(link.index);
    this.#overtaking?.set(link.index, isGone ? undefined : link);
    this.#set(link.index, isGone ? undefined : link);
    if (isGone ? !before : before && isSameLink(before, link)) return undefined;
    return { link, before, isGone };
  }

  #set(index: number, link: Link | undefined): void {
    const before = this.#byIndex.get(index);
    if (before && this.#byName.get(before.name)?.index === index) this.#byName.delete(before.name);
    if (before && this.#byAlias.get(before.alias)?.index === index) this.#byAlias.delete(before.alias);
    if (!link) {
      this.#byIndex.delete(index);
      return;
    }
    this.#byIndex.set(index, link);
    if (link.alias) this.#byAlias.set(link.alias, link);
    this.#byName.set(link.name, link);
  }
}

/** Whether two readings of a link agree in everything that anybody here looks at. */
export function isSameLink(a: Link, b: Link): boolean {
  return a.index === b.index && a.name === b.name && a.mac === b.mac && a.mtu === b.mtu && a.isUp === b.isUp &&
    a.isRunning === b.isRunning && a.kind === b.kind && a.alias === b.alias && a.master === b.master;
}
