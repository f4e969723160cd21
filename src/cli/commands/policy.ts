/** `tortie policy`: who may talk to whom and why, what the rules count, and what is probably not meant. */

import { buildCommand, buildRouteMap } from "@stricli/core";
import type { Terminal } from "../terminal.ts";
import { output, socket, toggle } from "./flags.ts";

/** The flags of `policy explain`. */
export interface ExplainFlags {
  readonly from: string;
  readonly to: string;
  readonly protocol: string;
  readonly port?: number;
  readonly live?: boolean;
  readonly output: "table" | "json";
  readonly socket?: string;
}

/** A flag that has to be there. */
function end(brief: string) {
  return { kind: "parsed", parse: String, placeholder: "WORKLOAD|IP", brief } as const;
}

function parsePort(text: string): number {
  const port = /^[0-9]{1,5}$/.test(text) ? Number(text) : 65_536;
  if (port > 65_535) throw new Error(`${JSON.stringify(text)} is not a port: write a number from 0 to 65535`);
  return port;
}

const explain = buildCommand<ExplainFlags, [], Terminal>({
  loader: async () => (await import("../verbs/policy.ts")).explain,
  parameters: {
    flags: {
      from: end("Who opens the connection"),
      to: end("Whom it is opened to"),
      protocol: {
        kind: "parsed",
        parse: String,
        default: "tcp",
        placeholder: "NAME|NUMBER",
        brief: "tcp, udp, sctp, icmp or a number",
      },
      port: {
        kind: "parsed",
        parse: parsePort,
        optional: true,
        placeholder: "PORT",
        brief: "The destination's port, of protocols that have ports",
      },
      live: toggle("Add what this host's kernel counted for each rule"),
      output,
      socket,
    },
    aliases: { o: "output" },
  },
  docs: {
    brief: "Explain whether a packet passes, and which tier, policy and rule decide",
    fullDescription:
      "Follows the first packet of a connection: out of the one workload, into the other, with the tier, policy,\n" +
      "rule and action of each step. A workload is named web, NODE/web or NAMESPACE/web. The exit status is 0 for\n" +
      "both verdicts.\n" +
      "\nExamples: tortie policy explain --from web --to db --protocol tcp --port 5432\n" +
      "          tortie policy explain --from 192.0.2.1 --to web --protocol icmp\n" +
      "          tortie policy explain --from web --to db --port 5432 -o json | jq -r .verdict",
  },
});

/** The flags of `policy list`. */
export interface ListFlags {
  readonly hits?: boolean;
  readonly output: "table" | "json";
  readonly socket?: string;
}

const list = buildCommand<ListFlags, [], Terminal>({
  loader: async () => (await import("../verbs/policy.ts")).list,
  parameters: {
    flags: { hits: toggle("Show each rule with the packets and bytes that it matched"), output, socket },
    aliases: { o: "output" },
  },
  docs: {
    brief: "List policies in the order in which they judge",
    fullDescription:
      "Lists policies in the order in which they judge, then the profiles, and to how many endpoints of this host\n" +
      "each applies. With --hits each rule shows what the kernel counted: of a connection that is its first packet.\n" +
      "A rule that does not stand on this host shows -; a policy that is changed is counted anew.\n" +
      "\nExample: tortie policy list --hits -o json | jq '.[].rules[] | select(.packets == 0)'",
  },
});

const lint = buildCommand<{ output: "table" | "json"; socket?: string }, [], Terminal>({
  loader: async () => (await import("../verbs/policy.ts")).lint,
  parameters: { flags: { output, socket }, aliases: { o: "output" } },
  docs: {
    brief: "Find what is probably not meant",
    fullDescription:
      "Finds rules that can never match, selectors that select nothing, policies behind others that decide\n" +
      "everything, and names of tiers and profiles that do not exist. Exit status 1 when something is found.\n" +
      "\nExample: tortie policy lint",
  },
});

export const policy = buildRouteMap({
  routes: { explain, list, lint },
  docs: { brief: "Who may talk to whom, and why" },
});
