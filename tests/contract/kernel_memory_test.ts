/** The contract of the dataplane ports on the in-memory kernel. */

import { MemoryMachine } from "../../src/dataplane/memory_kernel.ts";
import { kernelSuite } from "./kernel_suite.ts";

kernelSuite("the in-memory kernel", () => {
  const machine = new MemoryMachine();
  return Promise.resolve({
    near: machine.handle("near"),
    far: machine.handle("far"),
    farName: "far",
    close() {},
  });
});
