/**
 * Refuses to work without the rights that it takes, before anything is changed: root, and with it the capabilities that
 * containers and service managers take from root (capabilities(7)).
 */

import { CliError } from "../terminal.ts";

/** Bits of CapEff in /proc/PID/status (linux/capability.h). */
const NEEDED = { CAP_NET_BIND_SERVICE: 10, CAP_NET_ADMIN: 12, CAP_SYS_ADMIN: 21 } as const;

/** The capabilities that are needed and missing in the text of /proc/PID/status; none where it does not say. */
export function missingCapabilities(status: string): string[] {
  const text = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  if (text === undefined) return [];
  const effective = BigInt(`0x${text}`);
  return Object.entries(NEEDED).filter(([, bit]) => (effective >> BigInt(bit) & 1n) === 0n).map(([name]) => name);
}

/** Throws `CliError` when this process may not do `what`. */
export function refuseMissingRights(what: string): void {
  if (Deno.uid() !== 0) throw new CliError(`${what} needs root, to change interfaces and routes: run it with sudo`);
  const missing = missingCapabilities(Deno.readTextFileSync("/proc/self/status"));
  if (missing.length === 0) return;
  throw new CliError(
    `${what} needs ${missing.join(" and ")}, which this root does not have: add it to the container or the unit`,
  );
}
