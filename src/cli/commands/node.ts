/** The commands that are the node, or speak of it as a whole: run, down, status, validate, version, completions. */

import { buildCommand } from "@stricli/core";
import type { Terminal } from "../terminal.ts";
import { argument, config, output, proposedArgument, socket } from "./flags.ts";

export const run = buildCommand<{ config?: string }, [], Terminal>({
  loader: async () => (await import("../verbs/run.ts")).run,
  parameters: { flags: { config } },
  docs: {
    brief: "Run the node in the foreground",
    fullDescription: "Runs the node until SIGTERM or SIGINT, which leave the dataplane standing. SIGHUP reads the\n" +
      "configuration file again, as an edit of it does; a file with errors is refused whole and the running\n" +
      "state stays. An empty file is a working single host.\n" +
      "\nExample: tortie run --config ./tortie.yaml",
  },
});

export const down = buildCommand<{ config?: string; socket?: string }, [], Terminal>({
  loader: async () => (await import("../verbs/down.ts")).down,
  parameters: { flags: { config, socket } },
  docs: {
    brief: "Take everything that bears tortie's mark off this host",
    fullDescription:
      "Takes everything that bears tortie's mark off this host: workload interfaces, routes, neighbours,\n" +
      "their sysctls and the nftables tables. What others made stays. The node must be stopped first. Addresses\n" +
      "stay assigned in the store: detach workloads to give them back, or start the node again to get everything\n" +
      "back.\n" +
      "\nExample: systemctl stop tortie && tortie down",
  },
});

export const status = buildCommand<{ socket?: string; output: "table" | "json" }, [], Terminal>({
  loader: async () => (await import("../verbs/status.ts")).status,
  parameters: { flags: { socket, output }, aliases: { o: "output" } },
  docs: {
    brief: "One screen: node, store, peers, workloads, errors",
    fullDescription: "Shows the node at a glance: what it is, its store, sessions, workloads, and what is wrong.\n" +
      '\nExample, wait for all sessions: until [ "$(tortie status -o json |\n' +
      "  jq '.bgp.established == .bgp.configured')\" = true ]; do sleep 1; done",
  },
});

export const reload = buildCommand<{ socket?: string }, [], Terminal>({
  loader: async () => (await import("../verbs/status.ts")).reload,
  parameters: { flags: { socket } },
  docs: {
    brief: "Make the node read its configuration file again, as SIGHUP does",
    fullDescription: "Makes the node read its configuration file again and says what came of it: how many resources\n" +
      "changed, which settings wait for a restart, or a line for each error (then nothing is changed).",
  },
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
      "Checks a node's configuration file, or a file of resources, without a node. Prints one line for each\n" +
      "error (file:line:column, field, what is wrong, how to mend it) and exits 1.\n" +
      "\nExample: tortie validate -f /etc/tortie/tortie.yaml",
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
        ...proposedArgument("bash|zsh|fish", "The shell", () => ["bash", "zsh", "fish"]),
        parse: (shell: string) => {
          if (shell === "bash" || shell === "zsh" || shell === "fish") return shell;
          throw new Error(`no completions for ${JSON.stringify(shell)}: name bash, zsh or fish`);
        },
      }],
    },
  },
  docs: {
    brief: "Print a shell's completion script",
    fullDescription:
      "Prints a script that completes commands and flags. To use it now and in every new shell, put into\n" +
      "  ~/.bashrc                   source <(tortie completions bash)\n" +
      "  ~/.zshrc, after compinit    source <(tortie completions zsh)\n" +
      "  ~/.config/fish/config.fish  tortie completions fish | source",
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
