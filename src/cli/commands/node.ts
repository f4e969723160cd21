/** The commands that are the node, or speak of it as a whole: run, down, status, validate, version, completions. */

import { buildCommand } from "@stricli/core";
import type { Terminal } from "../terminal.ts";
import { argument, config, output, socket } from "./flags.ts";

export const run = buildCommand<{ config?: string }, [], Terminal>({
  loader: async () => (await import("../verbs/run.ts")).run,
  parameters: { flags: { config } },
  docs: {
    brief: "Run the node in the foreground",
    fullDescription: "Runs the node until SIGTERM or SIGINT, which leave the dataplane standing. SIGHUP reads the\n" +
      "configuration file again; a file with errors is refused whole and the running state stays.",
  },
});

export const down = buildCommand<{ config?: string; socket?: string }, [], Terminal>({
  loader: async () => (await import("../verbs/down.ts")).down,
  parameters: { flags: { config, socket } },
  docs: {
    brief: "Take everything that bears tortie's mark off this host",
    fullDescription: "Removes workload interfaces, routes, neighbours and sysctls that tortie set. The node must be\n" +
      "stopped first. Addresses stay assigned in the store: detach workloads to give them back.",
  },
});

export const status = buildCommand<{ socket?: string; output: "table" | "json" }, [], Terminal>({
  loader: async () => (await import("../verbs/status.ts")).status,
  parameters: { flags: { socket, output }, aliases: { o: "output" } },
  docs: { brief: "One screen: node, store, peers, workloads, errors" },
});

export const reload = buildCommand<{ socket?: string }, [], Terminal>({
  loader: async () => (await import("../verbs/status.ts")).reload,
  parameters: { flags: { socket } },
  docs: { brief: "Make the node read its configuration file again, as SIGHUP does" },
});

export const validate = buildCommand<{ file: string }, [], Terminal>({
  loader: async () => (await import("../verbs/validate.ts")).validate,
  parameters: {
    flags: {
      file: { kind: "parsed", parse: String, placeholder: "FILE", brief: "The file to check; - for standard input" },
    },
    aliases: { f: "file" },
  },
  docs: {
    brief: "Check a configuration or resources without a node",
    fullDescription:
      "Prints one line for each error (file:line:column, field, what is wrong, how to mend it) and exits 1.",
  },
});

export const version = buildCommand<{ output: "table" | "json" }, [], Terminal>({
  loader: async () => (await import("../verbs/version.ts")).version,
  parameters: { flags: { output }, aliases: { o: "output" } },
  docs: { brief: "Print versions, and how this executable was made" },
});

export const completions = buildCommand<Record<never, never>, ["bash" | "zsh" | "fish"], Terminal>({
  loader: async () => (await import("../verbs/completions.ts")).completions,
  parameters: {
    positional: {
      kind: "tuple",
      parameters: [{
        ...argument("bash|zsh|fish", "The shell"),
        parse: (shell: string) => {
          if (shell === "bash" || shell === "zsh" || shell === "fish") return shell;
          throw new Error(`no completions for ${JSON.stringify(shell)}: name bash, zsh or fish`);
        },
      }],
    },
  },
  docs: {
    brief: "Print a shell's completion script",
    fullDescription: "For bash: source <(tortie completions bash). For zsh: source <(tortie completions zsh).\n" +
      "For fish: tortie completions fish | source.",
  },
});

/** Answers the completion scripts; not for people. */
export const complete = buildCommand<Record<never, never>, string[], Terminal>({
  loader: async () => (await import("../verbs/completions.ts")).complete,
  parameters: {
    positional: { kind: "array", parameter: argument("WORD", "The words so far, the one to complete last") },
  },
  docs: { brief: "Propose completions for the words given" },
});
