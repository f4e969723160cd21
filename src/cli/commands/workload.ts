/** `tortie workload`: attach, detach and list the workloads of this host. */

import { buildCommand, buildRouteMap } from "@stricli/core";
import type { Terminal } from "../terminal.ts";
import { argument, output, proposedArgument, socket, word, words } from "./flags.ts";

/** The flags of `workload attach`: exactly one of netns, tap and interface. */
export interface AttachFlags {
  readonly netns?: string;
  readonly tap?: string;
  readonly interface?: string;
  readonly ip?: readonly string[];
  readonly label?: readonly string[];
  readonly profile?: readonly string[];
  readonly output: "table" | "json";
  readonly socket?: string;
}

const attach = buildCommand<AttachFlags, [string], Terminal>({
  loader: async () => (await import("../verbs/workload.ts")).attach,
  parameters: {
    flags: {
      netns: word("NAME|PATH|PID", "The network namespace that the workload lives in"),
      tap: word("IFACE", "A tap interface that a VM is behind"),
      interface: word("IFACE", "Any interface that the workload is behind"),
      ip: words("ADDR", "An address to give (else one is chosen); several for both families"),
      label: words("K=V", "A label for selectors"),
      profile: words("P", "A profile"),
      output,
      socket,
    },
    aliases: { o: "output", l: "label" },
    positional: { kind: "tuple", parameters: [argument("NAME", "The workload's name, unique on this host")] },
  },
  docs: {
    brief: "Make a workload reachable and print its addresses",
    fullDescription:
      "Gives a network namespace, a VM's tap or any interface an address and a way out, and prints the\n" +
      "addresses once it is reachable. A namespace gets an interface eth0; a tap or interface is configured by who\n" +
      "owns its other side. Asking again for the same workload changes nothing and prints the same addresses.\n" +
      "\nExamples: ip netns add web && tortie workload attach web --netns web --label app=web\n" +
      "          tortie workload attach vm1 --tap tap0 --ip 172.17.8.20",
    customUsage: [
      "NAME --netns NAME|PATH|PID [--ip ADDR]… [--label K=V]… [--profile P]…",
      "NAME --tap IFACE [--ip ADDR]…",
      "NAME --interface IFACE [--ip ADDR]…",
    ],
  },
});

/** The names of the attached workloads; none where no node answers. */
async function attachedNames(terminal: Terminal): Promise<string[]> {
  const { connectNode } = await import("../connection.ts");
  const workloads = await connectNode(terminal, {}).workloads.list().catch(() => []);
  return workloads.map(({ name }) => name);
}

const detach = buildCommand<{ socket?: string }, [string], Terminal>({
  loader: async () => (await import("../verbs/workload.ts")).detach,
  parameters: {
    flags: { socket },
    positional: { kind: "tuple", parameters: [proposedArgument("NAME", "The workload's name", attachedNames)] },
  },
  docs: {
    brief: "Take a workload off the network and give its addresses back",
    fullDescription:
      "Takes a workload off the network and gives its addresses back. One that is not attached is no error.\n" +
      "\nExample: tortie workload detach web",
  },
});

const list = buildCommand<{ output: "table" | "json"; socket?: string }, [], Terminal>({
  loader: async () => (await import("../verbs/workload.ts")).list,
  parameters: { flags: { output, socket }, aliases: { o: "output" } },
  docs: {
    brief: "List the workloads of this host",
    fullDescription: "Lists the workloads of this host; ready are those whose policy and route stand.\n" +
      "\nExample: tortie workload list -o json | jq -r '.[] | select(.ready | not).name'",
  },
});

export const workload = buildRouteMap({
  routes: { attach, detach, list },
  docs: { brief: "Attach, detach and list workloads" },
});
