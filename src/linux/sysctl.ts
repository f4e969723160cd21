/**
 * The `Sysctl` port: files under /proc/sys. Those under net/ belong to the namespace of the thread that opens them, so each
 * access enters the namespace, reads or writes synchronously, and leaves.
 */

import type { Sysctl } from "../dataplane/ports.ts";
import { type Namespace, withinNamespace } from "./namespace.ts";

/** Makes the `Sysctl` port of a namespace. */
export function makeSysctl(namespace: Namespace): Sysctl {
  return {
    read: (path) =>
      Promise.try(() => {
        const file = fileOf(path);
        try {
          return withinNamespace(namespace, () => Deno.readTextFileSync(file)).replace(/\n$/, "");
        } catch (error) {
          if (error instanceof Deno.errors.NotFound) return undefined;
          throw new Error(`Cannot read the sysctl ${path}: ${messageOf(error)}`);
        }
      }),
    write: (path, value) =>
      Promise.try(() => {
        const file = fileOf(path);
        try {
          withinNamespace(namespace, () => Deno.writeTextFileSync(file, value, { create: false }));
        } catch (error) {
          throw new Error(`Cannot set the sysctl ${path} to ${JSON.stringify(value)}: ${messageOf(error)}`);
        }
      }),
  };
}

function fileOf(path: string): string {
  const parts = path.split("/");
  if (parts.some((part) => part === "" || part === "." || part === ".." || part.includes("\0"))) {
    throw new Error(`Cannot use ${JSON.stringify(path)} as the path of a sysctl`);
  }
  return `/proc/sys/${path}`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
