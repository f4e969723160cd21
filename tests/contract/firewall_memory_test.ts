/** Holds the firewall in memory to the contract of the `Firewall` port. */

import { MemoryFilter } from "../../src/dataplane/firewall_memory.ts";
import { firewallSuite } from "./firewall_suite.ts";

firewallSuite("memory", async (body) => {
  const filter = new MemoryFilter();
  await body({ open: () => filter.handle() });
});
