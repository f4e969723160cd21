/** `tortie bgp`: sessions, routes, and why a path won. */

import { buildCommand, buildRouteMap } from "@stricli/core";
import type { Terminal } from "../terminal.ts";
import { argument, output, socket, word } from "./flags.ts";

const peers = buildCommand<{ output: "table" | "json"; socket?: string }, [], Terminal>({
  loader: async () => (await import("../verbs/bgp.ts")).peers,
  parameters: { flags: { output, socket }, aliases: { o: "output" } },
  docs: { brief: "Show the sessions" },
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
  docs: { brief: "Show routes and which path is best" },
});

const explain = buildCommand<{ output: "table" | "json"; socket?: string }, [string], Terminal>({
  loader: async () => (await import("../verbs/bgp.ts")).explain,
  parameters: {
    flags: { output, socket },
    aliases: { o: "output" },
    positional: { kind: "tuple", parameters: [argument("PREFIX", "A prefix, or an address to look up")] },
  },
  docs: { brief: "Explain why a path won and the others lost" },
});

export const bgp = buildRouteMap({ routes: { peers, routes, explain }, docs: { brief: "BGP sessions and routes" } });
