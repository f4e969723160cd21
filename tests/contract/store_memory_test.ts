/** The memory store keeps the contract of the `Store` seam. */

import { MemoryStore } from "../../src/store/memory.ts";
import { storeSuite } from "./store_suite.ts";

storeSuite("memory", () => {
  const store = new MemoryStore();
  return Promise.resolve({ store, close: () => store.close() });
});
