/** The contract of the dataplane ports on the Linux kernel, in namespaces of its own. */

import { deleteNamespace } from "../../src/linux/namespace.ts";
import { openKernel } from "../../src/linux/kernel.ts";
import { freshNamespace, isRoot } from "../lab/netlink_lab.ts";
import { kernelSuite } from "./kernel_suite.ts";

if (isRoot) {
  kernelSuite("the Linux kernel", () => {
    const [nearName, farName] = [freshNamespace(), freshNamespace()];
    const [near, far] = [openKernel(nearName), openKernel(farName)];
    return Promise.resolve({
      near,
      far,
      farName,
      close() {
        for (const kernel of [near, far]) kernel.close();
        for (const name of [nearName, farName]) deleteNamespace(name);
      },
    });
  });
} else {
  Deno.test({ name: "the Linux kernel's ports (skipped: needs root)", ignore: true, fn() {} });
}
