/**
 * Keeps sysctls. The kernel tells nobody of a changed sysctl, so they are read at start and with each full re-read, and
 * written again when their interface is made anew. What is no longer desired is left as it is.
 */

import type { Clock } from "../lib/clock.ts";
import type { Sysctl } from "./ports.ts";
import { each, TableReconciler } from "./table_reconciler.ts";

/** The interface that a per-interface sysctl belongs to ("net/ipv4/conf/eth0/forwarding"), or "all". */
export function sysctlInterface(path: string): string {
  return path.split("/")[3] ?? "all";
}

/** The reconciler of sysctls; key and value are those of `Sysctl.write`. */
export class SysctlReconciler extends TableReconciler<string, string> {
  constructor(sysctl: Sysctl, clock: Clock) {
    super({
      name: "sysctls",
      read: async (desired) => {
        const found = new Map<string, string>();
        let count = 0;
        for (const path of desired.keys()) {
          // Reading is synchronous underneath: others get their turn among thousands.
          if (++count % readsATurn === 0) await new Promise<void>((resolve) => void clock.after(0, resolve));
          const value = await sysctl.read(path);
          if (value !== undefined) found.set(path, value);
        }
        return found;
      },
      isSame: (a, b) => a === b,
      assume: (desired) => desired,
      groupOf: (_value, path) => sysctlInterface(path),
      put: (puts) => each(puts, ({ key, desired }) => sysctl.write(key, desired)),
      remove: (removals) => Promise.resolve(removals.map(() => undefined)),
    }, clock);
  }
}

/** Sysctls that are read before others get their turn: a few milliseconds' worth. */
const readsATurn = 128;
