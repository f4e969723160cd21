/**
 * The command line: every verb, its flags and its help, and how a failure becomes a line and an exit status.
 *
 * Only descriptions live here; what a verb does is loaded when it is called. Exit status: 0 done, 1 refused or failed
 * (one line "tortie: …" on standard error), 2 wrong usage.
 */

import {
  buildApplication,
  buildRouteMap,
  ExitCode,
  proposeCompletions as proposeForApplication,
  run as runApplication,
  text_en,
} from "@stricli/core";
import { bgp } from "./commands/bgp.ts";
import { ipam } from "./commands/ipam.ts";
import { lab } from "./commands/lab.ts";
import * as node from "./commands/node.ts";
import { policy } from "./commands/policy.ts";
import * as resources from "./commands/resources.ts";
import { workload } from "./commands/workload.ts";
import { inLines, withStack } from "./failure.ts";
import { type Terminal, UsageError } from "./terminal.ts";

const root = buildRouteMap({
  routes: {
    run: node.run,
    status: node.status,
    get: resources.get,
    apply: resources.apply,
    confirm: resources.confirm,
    create: resources.create,
    replace: resources.replace,
    delete: resources.remove,
    validate: node.validate,
    workload,
    ipam,
    bgp,
    policy,
    lab,
    reload: node.reload,
    down: node.down,
    completions: node.completions,
    complete: node.complete,
    version: node.version,
  },
  docs: {
    brief: "tortie turns a Linux host into a router for the workloads on it: Calico for hosts without Kubernetes.",
    fullDescription:
      "tortie turns a Linux host into a router for the workloads on it: Calico for hosts without Kubernetes.\n" +
      "\n`tortie run` is the node; everything else talks to a running node through its socket.\n" +
      "`tortie lab up` shows a fleet of three hosts on this machine, in network namespaces.",
    hideRoute: { complete: true },
  },
});

const app = buildApplication<Terminal>(root, {
  name: "tortie",
  scanner: {
    caseStyle: "allow-kebab-for-camel",
    allowArgumentEscapeSequence: true,
    // One slip of the finger; more would propose words that have nothing in common with what was typed.
    distanceOptions: { threshold: 2, weights: { insertion: 1, deletion: 1, substitution: 1, transposition: 1 } },
  },
  documentation: { caseStyle: "convert-camel-to-kebab", disableAnsiColor: true, useAliasInUsageLine: true },
  determineExitCode: (error) => error instanceof UsageError ? 2 : 1,
  localization: {
    text: {
      ...text_en,
      exceptionWhileRunningCommand: withStack,
      exceptionWhileLoadingCommandFunction: withStack,
      exceptionWhileParsingArguments: (error) => `${inLines(error)} (see --help)`,
      commandErrorResult: inLines,
      noCommandRegisteredForInput: ({ input, corrections }) =>
        `tortie: no command ${JSON.stringify(input)}` +
        (corrections.length > 0 ? `: did you mean ${corrections.join(" or ")}?` : ": see tortie --help"),
    },
  },
});

/** Runs the command line and returns the exit status. */
export async function runCommandLine(args: readonly string[], terminal: Terminal): Promise<number> {
  await runApplication(app, args.length === 0 ? ["--help"] : args, terminal);
  const code = Number(terminal.process.exitCode ?? 0);
  return code === ExitCode.UnknownCommand || code === ExitCode.InvalidArgument ? 2 : code < 0 ? 1 : code;
}

/** What could stand in the place of the last word. */
export async function proposeCompletions(words: readonly string[], terminal: Terminal): Promise<string[]> {
  return (await proposeForApplication(app, words, terminal)).map((proposal) => proposal.completion);
}
