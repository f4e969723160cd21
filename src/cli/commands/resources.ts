/** The commands on resources, spoken as calicoctl and kubectl speak: get, apply, create, replace, delete. */

import { buildCommand } from "@stricli/core";
import type { Terminal } from "../terminal.ts";
import { argument, socket, toggle, word } from "./flags.ts";

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
        argument("KIND", "Kind: singular, plural or short (node, ippools, wep, bgppeer, …)"),
        { ...argument("NAME", "Only the resource of this name"), optional: true },
      ],
    },
  },
  docs: { brief: "Show resources" },
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

const write = (verb: "apply" | "create" | "replace", brief: string) =>
  buildCommand<WriteFlags, [], Terminal>({
    loader: async () => (await import("../verbs/write.ts"))[verb],
    parameters: { flags: writeFlags, aliases: { f: "file" } },
    docs: { brief },
  });

export const apply = write("apply", "Create or change resources from a file");
export const create = write("create", "Create resources from a file; refused when one exists");
export const replace = write("replace", "Replace resources from a file; refused when one does not exist");

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
    positional: { kind: "array", parameter: argument("KIND NAME…", "A kind and the names of resources") },
  },
  docs: { brief: "Delete resources", customUsage: ["-f FILE", "KIND NAME…"] },
});
