/**
 * Notices that the configuration file has changed, however an editor writes it: in place, or by a rename over it.
 *
 * The folder is watched, because a rename gives the name to another file. Several writes in a row count as one change.
 */

import type { Clock } from "../../lib/clock.ts";

/** Calls `changed` after the file's content changed; returns how to stop. */
export function watchFile(path: string, clock: Clock, changed: () => void): () => void {
  const slash = path.lastIndexOf("/");
  const name = path.slice(slash + 1);
  let watcher: Deno.FsWatcher;
  try {
    watcher = Deno.watchFs(slash < 0 ? "." : path.slice(0, slash) || "/", { recursive: false });
  } catch {
    // No inotify to be had (limits): SIGHUP and `reload` still work.
    return () => {};
  }
  let cancel = () => {};
  const settle = () => {
    cancel();
    cancel = clock.after(100, changed);
  };
  (async () => {
    for await (const event of watcher) {
      const isContent = event.kind !== "access" && event.kind !== "remove";
      if (isContent && event.paths.some((each) => each.slice(each.lastIndexOf("/") + 1) === name)) settle();
    }
  })().catch(() => {});
  return () => {
    cancel();
    watcher.close();
  };
}
