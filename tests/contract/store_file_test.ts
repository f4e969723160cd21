/** The file store keeps the contract of the `Store` seam, alone and with a configuration file's entries beside it. */

import { openFileStore } from "../../src/store/file/file_store.ts";
import { storeSuite } from "./store_suite.ts";

storeSuite("file", () => open([]));
storeSuite("file with fixed entries", () => open([{ key: "/suite/", value: "{}", where: "tortie.yaml:1" }]));

async function open(fixed: { key: string; value: string; where: string }[]) {
  const dir = await Deno.makeTempDir({ prefix: "tortie-store-" });
  const store = openFileStore({ dir, owner: { name: "a" }, fixed });
  return {
    store,
    close: async () => {
      await store.close();
      await Deno.remove(dir, { recursive: true });
    },
  };
}
