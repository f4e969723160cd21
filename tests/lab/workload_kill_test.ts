/**
 * A node on a store in files that a real SIGKILL ends during an attach or detach: at the next start the workload is
 * whole or gone, and no address leaks. Witnesses are `ip`, `ping` and the store's own blocks.
 */

import assert from "node:assert/strict";
import { openFileStore } from "../../src/store/file/file_store.ts";
import { ip, labTest, pings, standing, within } from "./workload_lab.ts";

const child = new URL("./workload_kill_child.ts", import.meta.url).pathname;

for (const call of ["attach", "detach"] as const) {
  labTest(
    `a node that is killed with SIGKILL during ${call} finds its workload whole or gone at the next start`,
    async (lab) => {
      const dir = await Deno.makeTempDir({ prefix: "tortie-kill-" });
      try {
        ip(lab.web, "link", "set", "lo", "up");
        const inside = standing(lab.web).join("\n");
        const isOurs = (line: string) => !/^(blackhole|169\.254\.1\.1)/.test(line);
        const before = standing(lab.host).filter(isOurs).join("\n");
        let kills = 0, isDone = false;
        for (let operations = 0; operations < 120 && !isDone; operations += 5) {
          const { signal, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
            args: ["run", "-A", child, lab.host, lab.web, dir, call, String(operations)],
            env: { DENO_NO_UPDATE_CHECK: "1" },
          }).output();
          isDone = new TextDecoder().decode(stdout).includes("done");
          if (signal === "SIGKILL") kills++;
          assert.ok(isDone || signal === "SIGKILL", new TextDecoder().decode(stderr));

          const store = openFileStore({ dir, owner: { name: "a" } });
          const agent = await lab.start({ store });
          const when = `killed before operation ${operations}`;
          await within(2_000, `${when}: whole or gone`, async () => {
            const [web] = await agent.workloads.list();
            return web ? web.ready : standing(lab.host).filter(isOurs).join("\n") === before;
          });
          const web = await agent.workloads.attach({ name: "web", netns: lab.web });
          assert.ok(await pings(lab.host, web.addresses[0] ?? ""), when);
          await agent.workloads.detach("web");
          assert.equal(standing(lab.host).filter(isOurs).join("\n"), before, when);
          assert.equal(standing(lab.web).join("\n"), inside, when);
          const blocks = (await store.list("/calico/ipam/v2/assignment/")).entries;
          assert.ok(blocks.length > 0);
          for (const { value } of blocks) {
            assert.ok(JSON.parse(value).allocations.every((at: unknown) => at === null), `${when}: an address leaked`);
          }
          await agent.stop();
          await store.close();
        }
        assert.ok(isDone && kills >= 3, `${kills} kills`);
      } finally {
        await Deno.remove(dir, { recursive: true });
      }
    },
  );
}
