/** Holds Linux to the contract of the `Firewall` port, in namespaces of its own. */

import { openFirewall } from "../../src/linux/nftables.ts";
import type { Firewall } from "../../src/dataplane/firewall_port.ts";
import { inNftNamespace, isRoot } from "../lab/nft_lab.ts";
import { firewallSuite } from "./firewall_suite.ts";

firewallSuite("linux", (body) =>
  inNftNamespace(async (namespace) => {
    const opened: Firewall[] = [];
    try {
      await body({
        open() {
          const firewall = openFirewall(namespace);
          opened.push(firewall);
          return firewall;
        },
      });
    } finally {
      for (const firewall of opened) firewall.close();
    }
  }), { ignore: !isRoot });
