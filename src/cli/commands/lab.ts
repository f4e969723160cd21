/** `tortie lab`: a demonstration fleet in network namespaces of this machine. */

import { buildCommand, buildRouteMap } from "@stricli/core";
import type { Terminal } from "../terminal.ts";
import { argument, output, word } from "./flags.ts";

/** The flags of every `lab` command; `name` keeps several labs on one machine apart. */
export interface LabFlags {
  readonly name: string;
}

const name = {
  kind: "parsed",
  parse: String,
  default: "tortie",
  placeholder: "NAME",
  brief: "The lab's name: its namespaces are called NAME-…",
} as const;

const up = buildCommand<LabFlags & { config?: string }, [], Terminal>({
  loader: async () => (await import("../verbs/lab.ts")).up,
  parameters: {
    flags: { name, config: word("FILE", "The lab's hosts and workloads (YAML); three hosts when left out") },
  },
  docs: {
    brief: "Bring up hosts, workloads and a top-of-rack router, and show that they reach each other",
    fullDescription:
      "Brings up hosts that each run a real node, their workloads, and a top-of-rack router, in network\n" +
      "namespaces of this machine, and shows that they reach each other. Needs root, and BIRD 2 for the router.\n" +
      "Nothing outside the lab's own namespaces is changed.\n" +
      "\nExamples: tortie lab up\n" +
      "          tortie lab up --name second --config lab.yaml",
  },
});

const down = buildCommand<LabFlags, [], Terminal>({
  loader: async () => (await import("../verbs/lab.ts")).down,
  parameters: { flags: { name } },
  docs: {
    brief: "Take the lab down; nothing is left behind",
    fullDescription: "Ends what runs in the lab and deletes its namespaces, also after `lab up` was killed half way.",
  },
});

const status = buildCommand<LabFlags & { output: "table" | "json" }, [], Terminal>({
  loader: async () => (await import("../verbs/lab.ts")).status,
  parameters: { flags: { name, output }, aliases: { o: "output" } },
  docs: {
    brief: "Show routes, workloads, sessions and who reaches whom",
    fullDescription: "Shows each host's routes, workloads and sessions, the router's routes, and a matrix of pings.\n" +
      "Exit status 1 when a workload does not reach another.",
  },
});

const exec = buildCommand<LabFlags, string[], Terminal>({
  loader: async () => (await import("../verbs/lab.ts")).exec,
  parameters: {
    flags: { name },
    positional: {
      kind: "array",
      minimum: 2,
      parameter: argument("HOST -- CMD", "A host, router or workload, and a command"),
    },
  },
  docs: {
    brief: "Run a command inside a host, router or workload of the lab",
    fullDescription:
      "Runs a command inside a member's namespace and exits as the command does. On a host TORTIE_SOCKET is set,\n" +
      "so that `tortie` talks to that host's node.\n" +
      "\nExamples: tortie lab exec a -- ip route\n" +
      "          tortie lab exec a-web -- ping -c 3 172.17.9.1\n" +
      "          tortie lab exec b -- tortie bgp peers",
    customUsage: ["[--name NAME] HOST -- CMD…"],
  },
});

export const lab = buildRouteMap({
  routes: { up, down, status, exec },
  docs: { brief: "A demonstration fleet in network namespaces" },
});
