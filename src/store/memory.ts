/**
 * The in-memory `Store`: the seam's reference, for tests and for what need not survive.
 *
 * Watch events are delivered in a microtask after the write, so a writer never finds itself inside a watcher.
 */

import type { Clock } from "../lib/clock.ts";
import { Expiry, systemClock } from "./expiry.ts";
import { compareKeys } from "./key_order.ts";
import {
  type Entry,
  type Listing,
  type Store,
  StoreError,
  type StoreEvent,
  type Watch,
  type WriteOptions,
} from "./store.ts";

/** A store that lives as long as the object. `beforeWrite` may throw to simulate a crash or a failing disk. */
export class MemoryStore implements Store {
  readonly type = "memory";
  readonly #entries = new Map<string, Entry>();
  readonly #watches = new Set<{ prefix: string; deliver: (event: StoreEvent) => void }>();
  readonly #beforeWrite: ((key: string) => void) | undefined;
  readonly #expiry: Expiry;
  #revision = 0;
  #isClosed = false;

  constructor(options: { readonly beforeWrite?: (key: string) => void; readonly clock?: Clock } = {}) {
    this.#beforeWrite = options.beforeWrite;
    this.#expiry = new Expiry(options.clock ?? systemClock, (key) => this.#remove(key));
  }

  get(key: string): Promise<Entry | undefined> {
    return this.#attempt(() => this.#entries.get(key));
  }

  list(prefix: string): Promise<Listing> {
    return this.#attempt(() => ({ entries: this.#under(prefix), revision: this.#revision }));
  }

  create(key: string, value: string, options?: WriteOptions): Promise<Entry> {
    return this.#attempt(() => {
      if (this.#entries.has(key)) throw new StoreError("exists", key, `Cannot create ${key}: it exists`);
      return this.#write(key, value, options);
    });
  }

  update(key: string, value: string, revision: number, options?: WriteOptions): Promise<Entry> {
    return this.#attempt(() => {
      this.#expect(key, revision);
      return this.#write(key, value, options);
    });
  }

  put(key: string, value: string, options?: WriteOptions): Promise<Entry> {
    return this.#attempt(() => this.#write(key, value, options));
  }

  delete(key: string, revision?: number): Promise<void> {
    return this.#attempt(() => {
      this.#expect(key, revision);
      this.#remove(key);
    });
  }

  watch(prefix: string, sink: (event: StoreEvent) => void): Watch {
    let isOpen = true;
    const watch = { prefix, deliver: (event: StoreEvent) => queueMicrotask(() => isOpen && sink(event)) };
    if (this.#isClosed) {
      watch.deliver({ type: "unavailable", error: "Cannot use the store: it is closed" });
    } else {
      for (const entry of this.#under(prefix)) watch.deliver({ type: "put", entry });
      watch.deliver({ type: "synced", revision: this.#revision });
      this.#watches.add(watch);
    }
    return {
      close: () => {
        isOpen = false;
        this.#watches.delete(watch);
      },
    };
  }

  close(): Promise<void> {
    this.#isClosed = true;
    this.#watches.clear();
    this.#expiry.close();
    return Promise.resolve();
  }

  #under(prefix: string): Entry[] {
    return [...this.#entries.values()].filter((entry) => entry.key.startsWith(prefix))
      .sort((a, b) => compareKeys(a.key, b.key));
  }

  #expect(key: string, revision: number | undefined): void {
    const entry = this.#entries.get(key);
    if (!entry) throw new StoreError("missing", key, `Cannot change ${key}: it does not exist`);
    if (revision !== undefined && entry.revision !== revision) {
      throw new StoreError("conflict", key, `Cannot change ${key}: revision ${revision} has become ${entry.revision}`);
    }
  }

  #write(key: string, value: string, options: WriteOptions | undefined): Entry {
    this.#beforeWrite?.(key);
    const entry = { key, value, revision: ++this.#revision };
    this.#entries.set(key, entry);
    this.#expiry.set(key, options?.ttl === undefined ? undefined : options.ttl * 1000);
    this.#publish(key, { type: "put", entry });
    return entry;
  }

  #remove(key: string): void {
    this.#beforeWrite?.(key);
    this.#entries.delete(key);
    this.#expiry.set(key, undefined);
    this.#publish(key, { type: "delete", key, revision: ++this.#revision });
  }

  #publish(key: string, event: StoreEvent): void {
    for (const watch of this.#watches) if (key.startsWith(watch.prefix)) watch.deliver(event);
  }

  #attempt<T>(body: () => T): Promise<T> {
    return new Promise((resolve) => {
      if (this.#isClosed) throw new StoreError("closed", "", "Cannot use the store: it is closed");
      resolve(body());
    });
  }
}
