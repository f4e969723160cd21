/** The commands on resources, spoken as calicoctl and kubectl speak: get, apply, create, replace, delete. */

import { buildCommand } from "@stricli/core";
import type { Terminal } from "../terminal.ts";
import { argument, parseSeconds, proposedArgument, proposedKinds, socket, toggle, word } from "./flags.ts";

/** The flags of `get`. */
export interface GetFlags {
  readonly output: "table" | "wide" | "yaml" | "json" | "name";
  readonly namespace?: string;
  readonly watch?: boolean;
  readonly socket?: string;
}

export const get = buildCommand<GetFlags, [string, string?], Terminal>({
  loader: async () => (await import("../verbs/get.ts")).get,
  parameters: {
    flags: {
      output: {
        kind: "enum",
        values: ["table", "wide", "yaml", "json", "name"],
        default: "table",
        brief: "How to show it",
      },
      namespace: word("NAMESPACE", "Only this namespace (all when left out)"),
      watch: toggle("Go on and print each change"),
      socket,
    },
    aliases: { o: "output", n: "namespace", w: "watch" },
    positional: {
      kind: "tuple",
      parameters: [
        proposedArgument("KIND", "Kind: singular, plural or short (node, ippools, wep, bgppeer, …)", proposedKinds),
        { ...argument("NAME", "Only the resource of this name"), optional: true },
      ],
    },
  },
  docs: {
    brief: "Show resources",
    fullDescription:
      "Shows the resources of a kind, named in any case by singular, plural or short name, as calicoctl does:\n" +
      "node, ippool, ipreservation, bgpconfig, bgppeer, bgpfilter, workloadendpoint (wep), hostendpoint (hep),\n" +
      "profile, tier, networkpolicy (np), globalnetworkpolicy (gnp), networkset, globalnetworkset, …\n" +
      "What -o yaml prints can be edited and given to `tortie apply`.\n" +
      "\nExamples: tortie get ippools -o wide\n" +
      "          tortie get bgppeer tor -o yaml\n" +
      "          tortie get wep --watch",
  },
});

/** The flags of the commands that write resources. */
export interface WriteFlags {
  readonly file: string;
  readonly dryRun?: boolean;
  readonly socket?: string;
}

const writeFlags = {
  file: {
    kind: "parsed",
    parse: String,
    placeholder: "FILE",
    brief: "YAML or JSON, several resources in one file; - for standard input",
  },
  dryRun: toggle("Print what would change and change nothing"),
  socket,
} as const;

const write = (verb: "create" | "replace", brief: string, fullDescription: string) =>
  buildCommand<WriteFlags, [], Terminal>({
    loader: async () => (await import("../verbs/write.ts"))[verb],
    parameters: { flags: writeFlags, aliases: { f: "file" } },
    docs: { brief, fullDescription },
  });

const whole = "The file is checked whole first: a mistake in it is named by line and field, and nothing is changed.\n" +
  "Resources of the node's own configuration file are changed there, not here.\n";

/** The flags of `apply`. */
export interface ApplyFlags extends WriteFlags {
  readonly confirm?: number;
}

export const apply = buildCommand<ApplyFlags, [], Terminal>({
  loader: async () => (await import("../verbs/write.ts")).apply,
  parameters: {
    flags: {
      ...writeFlags,
      confirm: {
        kind: "parsed",
        parse: parseSeconds,
        optional: true,
        placeholder: "TIME",
        brief: "Take it back after this time (60s, 5m, 1h) unless `tortie confirm` comes",
      },
    },
    aliases: { f: "file" },
  },
  docs: {
    brief: "Create or change resources from a file",
    fullDescription: `Creates the resources of a file, or changes those that exist.\n${whole}` +
      "With --confirm nothing can lock you out: all of the file is applied or nothing, and the node takes it back by\n" +
      "itself, also when it was restarted, unless `tortie confirm` comes in time.\n" +
      "\nExamples: tortie apply -f pool.yaml --dry-run\n" +
      "          tortie apply -f host-policy.yaml --confirm 60s && ssh HOST tortie confirm\n" +
      "          tortie get ippool p -o yaml | sed s/Never/Always/ | tortie apply -f -",
  },
});

export const confirm = buildCommand<{ socket?: string }, [], Terminal>({
  loader: async () => (await import("../verbs/write.ts")).confirm,
  parameters: { flags: { socket } },
  docs: {
    brief: "Let stand what `apply --confirm` applied",
    fullDescription:
      "Lets stand for good what `apply --confirm` applied. Best given over a connection that was made\n" +
      "after that: it shows that you are not locked out.\n" +
      "\nExample: tortie confirm",
  },
});

export const create = write(
  "create",
  "Create resources from a file; refused when one exists",
  `Creates the resources of a file; one that exists is refused.\n${whole}\nExample: tortie create -f pool.yaml`,
);
export const replace = write(
  "replace",
  "Replace resources from a file; refused when one does not exist",
  `Replaces resources; one that does not exist is refused.\n${whole}\nExample: tortie replace -f pool.yaml`,
);

/** The flags of `delete`: a file, or a kind and names. */
export interface DeleteFlags {
  readonly file?: string;
  readonly namespace?: string;
  readonly skipNotExists?: boolean;
  readonly dryRun?: boolean;
  readonly socket?: string;
}

export const remove = buildCommand<DeleteFlags, string[], Terminal>({
  loader: async () => (await import("../verbs/write.ts")).remove,
  parameters: {
    flags: {
      file: word("FILE", "Delete the resources that this file names; - for standard input"),
      namespace: word("NAMESPACE", "The namespace of the resources [default]"),
      skipNotExists: toggle("What does not exist is no error"),
      dryRun: writeFlags.dryRun,
      socket,
    },
    aliases: { f: "file", n: "namespace", s: "skipNotExists" },
    positional: {
      kind: "array",
      parameter: proposedArgument("KIND NAME…", "A kind and the names of resources", proposedKinds),
    },
  },
  docs: {
    brief: "Delete resources",
    fullDescription: "Deletes resources by kind and name, or those that a file names.\n" +
      "\nExamples: tortie delete bgppeer tor\n" +
      "          tortie delete -f pool.yaml --dry-run",
    customUsage: ["-f FILE", "KIND NAME…"],
  },
});
