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
    fullDescription: "Needs root, and BIRD 2 for the router. Nothing outside the lab's own namespaces is changed.",
  },
});

const down = buildCommand<LabFlags, [], Terminal>({
  loader: async () => (await import("../verbs/lab.ts")).down,
  parameters: { flags: { name } },
  docs: { brief: "Take the lab down; nothing is left behind" },
});

const status = buildCommand<LabFlags & { output: "table" | "json" }, [], Terminal>({
  loader: async () => (await import("../verbs/lab.ts")).status,
  parameters: { flags: { name, output }, aliases: { o: "output" } },
  docs: { brief: "Show routes, workloads, sessions and who reaches whom" },
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
  docs: { brief: "Run a command inside a host, router or workload of the lab", customUsage: ["HOST -- CMD…"] },
});

export const lab = buildRouteMap({
  routes: { up, down, status, exec },
  docs: { brief: "A demonstration fleet in network namespaces" },
});
