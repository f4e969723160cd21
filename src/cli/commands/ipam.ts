/** `tortie ipam`: what addresses are given to whom, and the allocator's settings. */

import { buildCommand, buildRouteMap } from "@stricli/core";
import type { Terminal } from "../terminal.ts";
import { output, socket, toggle, word } from "./flags.ts";

/** The flags of `ipam show`. */
export interface ShowFlags {
  readonly blocks?: boolean;
  readonly ip?: string;
  readonly output: "table" | "json";
  readonly socket?: string;
}

const show = buildCommand<ShowFlags, [], Terminal>({
  loader: async () => (await import("../verbs/ipam.ts")).show,
  parameters: {
    flags: { blocks: toggle("Show each block"), ip: word("ADDR", "Show who has this address"), output, socket },
    aliases: { o: "output" },
  },
  docs: {
    brief: "Show pools, blocks or one address",
    fullDescription:
      "Shows how much of each pool is used; with --blocks each block and the host that it belongs to; with\n" +
      "--ip who has an address, and why it can or cannot be given.\n" +
      "\nExamples: tortie ipam show --blocks\n" +
      "          tortie ipam show --ip 172.17.8.20",
  },
});

const check = buildCommand<{ output: "table" | "json"; socket?: string }, [], Terminal>({
  loader: async () => (await import("../verbs/ipam.ts")).check,
  parameters: { flags: { output, socket }, aliases: { o: "output" } },
  docs: {
    brief: "Look for addresses without a workload, and for what disagrees; exit 1 when something is found",
    fullDescription: "Compares blocks, handles, affinities and workloads, and prints a line for whatever disagrees.\n" +
      "Exit status 1 when something is found.",
  },
});

const release = buildCommand<{ ip: string; socket?: string }, [], Terminal>({
  loader: async () => (await import("../verbs/ipam.ts")).release,
  parameters: {
    flags: { ip: { kind: "parsed", parse: String, placeholder: "ADDR", brief: "The address to give back" }, socket },
  },
  docs: {
    brief: "Give back an address that nothing uses any more",
    fullDescription: "Gives back an address that nothing uses any more; one that a workload has is refused.\n" +
      "\nExample: tortie ipam release --ip 172.17.8.20",
  },
});

/** The flags of `ipam configure`. */
export interface ConfigureFlags {
  readonly strictAffinity?: boolean;
  readonly maxBlocksPerHost?: number;
  readonly output: "table" | "json";
  readonly socket?: string;
}

const configure = buildCommand<ConfigureFlags, [], Terminal>({
  loader: async () => (await import("../verbs/ipam.ts")).configure,
  parameters: {
    flags: {
      strictAffinity: {
        kind: "parsed",
        parse: (text: string) => {
          if (text === "true" || text === "false") return text === "true";
          throw new Error("write true or false");
        },
        optional: true,
        placeholder: "true|false",
        brief: "Whether a host may only use blocks of its own",
      },
      maxBlocksPerHost: {
        kind: "parsed",
        parse: (text: string) => {
          if (/^[0-9]{1,6}$/.test(text)) return Number(text);
          throw new Error("write a whole number, 0 for the default");
        },
        optional: true,
        placeholder: "N",
        brief: "How many blocks a host may hold; needs strict affinity",
      },
      output,
      socket,
    },
    aliases: { o: "output" },
  },
  docs: {
    brief: "Show or change how addresses are allocated",
    fullDescription: "Shows the allocator's settings, after changing those that are named.\n" +
      "\nExample: tortie ipam configure --strict-affinity true --max-blocks-per-host 4",
  },
});

export const ipam = buildRouteMap({
  routes: { show, check, release, configure },
  docs: { brief: "Addresses: who has what" },
});
