/**
 * A node that kills itself with SIGKILL before a given operation of an attach or a detach.
 *
 *   workload_kill_child.ts HOST-NAMESPACE WORKLOAD-NAMESPACE STATE-DIRECTORY attach|detach OPERATIONS
 */

import { startAgent } from "../../src/agent/agent.ts";
import { silentLog } from "../../src/lib/log.ts";
import { openKernel } from "../../src/linux/kernel.ts";
import { systemClock } from "../../src/store/expiry.ts";
import { openFileStore } from "../../src/store/file/file_store.ts";
import { Doom, doomKernel, doomStore } from "../unit/agent/doom.ts";

/** The end of the process itself, where `Doom` only lets every operation fail. */
class Kill extends Doom {
  left = Infinity;
  override step(): void {
    if (this.left-- <= 0) Deno.kill(Deno.pid, "SIGKILL");
  }
}

const [host = "", web = "", dir = "", call = "", operations = ""] = Deno.args;
const kill = new Kill();
const store = openFileStore({ dir, owner: { name: "a" } });
const kernel = openKernel(host);
const agent = startAgent({
  store: doomStore(store, kill),
  kernel: doomKernel(kernel, kill),
  settings: { name: "a", ip: "autodetect", ip6: "none" },
  clock: systemClock,
  log: silentLog,
});
await agent.ready;
if (call === "detach") await agent.workloads.attach({ name: "web", netns: web });
kill.left = Number(operations);
if (call === "attach") await agent.workloads.attach({ name: "web", netns: web });
else await agent.workloads.detach("web");
console.log("done");
await agent.stop();
await store.close();
kernel.close();
