/** `tortie run`: the node in the foreground, its signals, and its service manager. */

import { makeNotifier } from "../../agent/notify.ts";
import { systemClock } from "../../store/expiry.ts";
import { DEFAULT_CONFIG } from "../connection.ts";
import { loadConfiguration } from "../node/configuration.ts";
import { watchFile } from "../node/file_watch.ts";
import { type RunningNode, startNode } from "../node/node.ts";
import { refuseMissingRights } from "../node/rights.ts";
import { startNodeLog } from "../node_log.ts";
import type { Terminal } from "../terminal.ts";

/** Runs until SIGTERM or SIGINT; the dataplane is left standing. */
export async function run(this: Terminal, flags: { readonly config?: string }): Promise<void> {
  const file = flags.config ?? DEFAULT_CONFIG;
  const configuration = await loadConfiguration(this, file);
  refuseMissingRights("the node");
  const log = (await startNodeLog(configuration.settings.log)).with({ node: configuration.name });
  const clock = systemClock;
  let logged = configuration.settings.log;
  // The log is this process's, not the node's: its settings take effect with the file that has them.
  const reread = async () => {
    const edited = await loadConfiguration(this, file);
    if (JSON.stringify(edited.settings.log) !== JSON.stringify(logged)) {
      await startNodeLog(logged = edited.settings.log);
    }
    return edited;
  };
  const stopped = Promise.withResolvers<void>();
  for (const signal of ["SIGTERM", "SIGINT"] as const) Deno.addSignalListener(signal, () => stopped.resolve());

  const reload = () => void running.node?.reload().catch(() => {});
  const running: { node?: RunningNode } = {};
  Deno.addSignalListener("SIGHUP", reload);

  const node = running.node = await startNode({
    configuration,
    reread,
    clock,
    log,
  });
  const notifier = makeNotifier({ socket: this.env("NOTIFY_SOCKET"), watchdogUsec: this.env("WATCHDOG_USEC"), clock });
  const unwatch = watchFile(file, clock, reload);
  notifier.ready(`node ${configuration.name}`);
  notifier.watchdog(() => true);
  log.info("the node runs", { socket: configuration.settings.node.socket, config: file });

  await stopped.promise;
  notifier.stopping();
  log.info("the node stops; the dataplane is left standing");
  unwatch();
  await node.stop();
  notifier.close();
}
