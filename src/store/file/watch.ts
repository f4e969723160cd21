/**
 * One watcher of the file store: first the listing, then the changes, with nothing lost or out of order between them.
 *
 * Changes that are committed while the listing is still being delivered wait in a backlog. Afterwards each change is
 * delivered in a microtask of its own, so a writer never finds itself inside a watcher. A listing that the disk fails
 * is told as `unavailable` and taken again; the backlog is delivered first, so that no key goes back in time.
 */

import type { Clock } from "../../lib/clock.ts";
import { type Entry, StoreError, type StoreEvent } from "../store.ts";

const RETRY_MS = 1000;

/** A listing as `scan` gives it, and the revision it stands for. */
export interface Scan {
  readonly first: Entry[];
  readonly rest: AsyncGenerator<Entry[]> | undefined;
  readonly revision: number;
}

/** What a watcher needs from its store. */
export interface WatchSource {
  readonly clock: Clock;
  scan(): Scan;
}

/** A watcher that delivers to `sink` until it is closed. */
export class FileWatch {
  #isOpen = true;
  #isLive = false;
  #backlog: StoreEvent[] = [];

  constructor(readonly prefix: string, readonly source: WatchSource, readonly sink: (event: StoreEvent) => void) {
    void this.#list();
  }

  /** Takes a committed change of a key under the prefix. */
  deliver(event: StoreEvent): void {
    if (this.#isLive) queueMicrotask(() => this.#tell(event));
    else this.#backlog.push(event);
  }

  close(): void {
    this.#isOpen = false;
    this.#backlog = [];
  }

  async #list(): Promise<void> {
    while (this.#isOpen) {
      try {
        const listing = this.source.scan(); // synchronous: the constructor returns with the snapshot taken
        await undefined;
        await this.#report(listing);
        return;
      } catch (error) {
        await undefined;
        this.#tell({ type: "unavailable", error: error instanceof Error ? error.message : String(error) });
        if (error instanceof StoreError && error.kind === "closed") return;
        await new Promise<void>((resolve) => this.source.clock.after(RETRY_MS, resolve));
        this.#drain();
      }
    }
  }

  async #report({ first, rest, revision }: Scan): Promise<void> {
    for (const entry of first) this.#tell({ type: "put", entry });
    for await (const page of rest ?? []) {
      for (const entry of page) this.#tell({ type: "put", entry });
      if (!this.#isOpen) return;
    }
    this.#tell({ type: "synced", revision });
    this.#drain();
    this.#isLive = true;
  }

  /** Delivers what waits, and what a sink's own writes add meanwhile. */
  #drain(): void {
    for (let i = 0; i < this.#backlog.length; i++) {
      const event = this.#backlog[i];
      if (event) this.#tell(event);
    }
    this.#backlog = [];
  }

  #tell(event: StoreEvent): void {
    if (this.#isOpen) this.sink(event);
  }
}
