/**
 * A process that dies: after a number of operations on store and kernel, every further one fails, those of any attempt to
 * tidy up included. What was done until then stands, as after a kill.
 */

import type { Kernel } from "../../../src/dataplane/ports.ts";
import type { Store } from "../../../src/store/store.ts";

/** Counts operations down; Infinity until `after` is called. */
export class Doom {
  #left = Infinity;
  /** Operations since `after`. */
  count = 0;

  /** From now on `operations` more may run. */
  after(operations: number): void {
    this.#left = operations;
    this.count = 0;
  }

  get isDead(): boolean {
    return this.#left < 0;
  }

  step(): void {
    this.count++;
    if (this.#left-- <= 0) {
      this.#left = -1;
      throw new Error("the process is dead");
    }
  }
}

/** The store as the dying process sees it. */
export function doomStore(store: Store, doom: Doom): Store {
  const checked = <A extends unknown[], R>(call: (...args: A) => Promise<R>) => async (...args: A): Promise<R> => {
    doom.step();
    return await call(...args);
  };
  return {
    type: store.type,
    get: checked((key) => store.get(key)),
    list: checked((prefix) => store.list(prefix)),
    create: checked((key, value, options) => store.create(key, value, options)),
    update: checked((key, value, revision, options) => store.update(key, value, revision, options)),
    put: checked((key, value, options) => store.put(key, value, options)),
    delete: checked((key, revision) => store.delete(key, revision)),
    watch: (prefix, sink) => store.watch(prefix, sink),
    close: () => Promise.resolve(),
  };
}

/** The kernel as the dying process sees it; namespaces opened through it die with it. */
export function doomKernel(kernel: Kernel, doom: Doom, originals = new WeakMap<Kernel, Kernel>()): Kernel {
  const guard = <T extends object>(port: T): T =>
    new Proxy(port, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== "function") return member;
        return async (...args: unknown[]) => {
          doom.step();
          return await member.apply(target, args.map(unwrap));
        };
      },
    });
  const unwrap = (value: unknown): unknown => {
    if (typeof value !== "object" || value === null) return value;
    const request = value as { peerNamespace?: Kernel };
    const original = request.peerNamespace && originals.get(request.peerNamespace);
    return original ? { ...request, peerNamespace: original } : originals.get(value as Kernel) ?? value;
  };
  const doomed: Kernel = {
    links: guard(kernel.links),
    fib: guard(kernel.fib),
    neighbours: guard(kernel.neighbours),
    sysctl: guard(kernel.sysctl),
    watch: (sink) => kernel.watch(sink),
    open: async (namespace) => {
      doom.step();
      return doomKernel(await kernel.open(namespace), doom, originals);
    },
    id: kernel.id,
    close: () => kernel.close(),
  };
  originals.set(doomed, kernel);
  return doomed;
}
