/** `tortie bgp`: sessions, routes, and why a path won. */

import { buildCommand, buildRouteMap } from "@stricli/core";
import type { Terminal } from "../terminal.ts";
import { argument, output, socket, word } from "./flags.ts";

const peers = buildCommand<{ output: "table" | "json"; socket?: string }, [], Terminal>({
  loader: async () => (await import("../verbs/bgp.ts")).peers,
  parameters: { flags: { output, socket }, aliases: { o: "output" } },
  docs: {
    brief: "Show the sessions",
    fullDescription:
      "Shows each session: its state and since when, how many routes came, were accepted and are sent, and the\n" +
      "last error. mesh.NODE is a session of the full mesh, the others are named after their BGPPeer.\n" +
      "\nExample: tortie bgp peers -o json | jq -r '.[] | select(.state != \"Established\").name'",
  },
});

/** The flags of `bgp routes`. */
export interface RoutesFlags {
  readonly received?: string;
  readonly advertised?: string;
  readonly output: "table" | "json";
  readonly socket?: string;
}

const routes = buildCommand<RoutesFlags, [string?], Terminal>({
  loader: async () => (await import("../verbs/bgp.ts")).routes,
  parameters: {
    flags: {
      received: word("PEER", "What this peer sent, before filters"),
      advertised: word("PEER", "What is sent to this peer"),
      output,
      socket,
    },
    aliases: { o: "output" },
    positional: { kind: "tuple", parameters: [{ ...argument("PREFIX", "Only this prefix"), optional: true }] },
  },
  docs: {
    brief: "Show routes and which path is best",
    fullDescription:
      "Shows all paths of the Loc-RIB, the best marked *, and why it won. A PEER is a name of `tortie bgp peers`\n" +
      "or an address.\n" +
      "\nExamples: tortie bgp routes 172.17.9.0/26\n" +
      "          tortie bgp routes --received tor\n" +
      "          tortie bgp routes --advertised 192.168.100.1",
  },
});

const explain = buildCommand<{ output: "table" | "json"; socket?: string }, [string], Terminal>({
  loader: async () => (await import("../verbs/bgp.ts")).explain,
  parameters: {
    flags: { output, socket },
    aliases: { o: "output" },
    positional: { kind: "tuple", parameters: [argument("PREFIX", "A prefix, or an address to look up")] },
  },
  docs: {
    brief: "Explain why a path won and the others lost",
    fullDescription:
      "Shows the paths of the longest prefix that covers the question, the best first, each with the reason.\n" +
      "\nExample: tortie bgp explain 172.17.9.3",
  },
});

const monitor = buildCommand<{ output: "table" | "json"; socket?: string }, [], Terminal>({
  loader: async () => (await import("../verbs/bgp.ts")).monitor,
  parameters: { flags: { output, socket }, aliases: { o: "output" } },
  docs: {
    brief: "Show sessions and best paths as they change",
    fullDescription:
      "Shows each session that changes its state and each prefix whose best path changes, one a line, until it is\n" +
      "interrupted. With -o json each line is an object.\n" +
      "\nExample: tortie bgp monitor -o json | jq -c 'select(.type == \"session\")'",
  },
});

export const bgp = buildRouteMap({
  routes: { peers, routes, explain, monitor },
  docs: { brief: "BGP sessions and routes" },
});
