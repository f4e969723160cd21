/** Client, socket, server, rules and file store in one piece: what a user of `apply`, `get --watch` and `delete` meets. */

import assert from "node:assert/strict";
import { connectApi } from "../../../src/api/client.ts";
import { ApiError } from "../../../src/api/error.ts";
import { makeResources } from "../../../src/api/resources.ts";
import { silentLog } from "../../../src/lib/log.ts";
import { openFileStore } from "../../../src/store/file/file_store.ts";
import { until } from "../../contract/store_suite.ts";
import { fakeNode, POOL, withServer } from "./fake_node.ts";

Deno.test("a resource travels from the client to the disk and back to a watcher", async () => {
  const dir = await Deno.makeTempDir({ prefix: "tortie-whole-" });
  const where = "/etc/tortie/tortie.yaml:7";
  const key = "/calico/resources/v3/projectcalico.org/ippools/fixed";
  const spec = { cidr: "10.9.0.0/16" };
  const value = JSON.stringify({ ...POOL, metadata: { name: "fixed" }, spec });
  const store = openFileStore({ dir, owner: { name: "a" }, fixed: [{ key, value, where }] });
  const api = { ...fakeNode().api, resources: makeResources({ store, log: silentLog }) };
  try {
    await withServer(api, {}, async (socket) => {
      const { resources } = connectApi(socket);
      const seen: string[] = [];
      const watching = (async () => {
        for await (const { type, resource } of resources.watch("IPPool")) {
          seen.push(`${type} ${resource.metadata.name}`);
          if (type === "deleted") return;
        }
      })();
      const created = await resources.create(POOL);
      assert.equal(created.outcome, "created");
      await until(() => seen.includes("added rack1"), "the pool to be seen");
      await resources.apply({ ...POOL, spec: { ...POOL.spec, disabled: true } } as typeof POOL);
      await resources.delete({ kind: "IPPool", name: "rack1" });
      await watching;
      assert.deepEqual(seen, ["added fixed", "added rack1", "modified rack1", "deleted rack1"]);
      const refusals: [Promise<unknown>, string, RegExp][] = [
        [
          resources.delete({ kind: "IPPool", name: "fixed" }),
          "readonly",
          /edit \/etc\/tortie\/tortie\.yaml:7 instead$/,
        ],
        [resources.delete({ kind: "IPPool", name: "rack1" }), "missing", /^There is no IPPool rack1$/],
        [
          resources.apply({ ...POOL, spec: { cidr: "10.9.1.0/24" } } as typeof POOL),
          "refused",
          /overlaps 10\.9\.0\.0\/16/,
        ],
        [
          resources.apply({ ...POOL, spec: { cidr: "nonsense" } } as unknown as typeof POOL),
          "invalid",
          /^IPPool rack1: spec\.cidr/,
        ],
      ];
      for (const [call, code, message] of refusals) {
        await assert.rejects(call, (error) => {
          assert.ok(error instanceof ApiError);
          assert.deepEqual([error.code, message.test(error.message)], [code, true], error.message);
          return true;
        });
      }
    });
  } finally {
    await store.close();
    await Deno.remove(dir, { recursive: true });
  }
});
