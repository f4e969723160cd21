/** `tortie bgp`: peers, routes and explain. */

import { Cidr } from "../../lib/cidr.ts";
import type { MonitorLine, PeerRow, RouteRow } from "../../api/shapes.ts";
import type { RoutesFlags } from "../commands/bgp.ts";
import { connectNode } from "../connection.ts";
import { type Column, formatJson, formatTable } from "../table.ts";
import { CliError, type Terminal, UsageError } from "../terminal.ts";

interface ShowFlags {
  readonly output: "table" | "json";
  readonly socket?: string;
}

const peerColumns: readonly Column<PeerRow>[] = [
  { title: "peer", cell: (row) => row.peer },
  { title: "name", cell: (row) => row.name },
  { title: "as", cell: (row) => row.as },
  { title: "state", cell: (row) => row.state },
  { title: "since", cell: (row) => row.since.replace("T", " ").slice(0, 19) },
  { title: "received", cell: (row) => row.received },
  { title: "accepted", cell: (row) => row.accepted },
  { title: "advertised", cell: (row) => row.advertised },
  { title: "last error", cell: (row) => row.lastError },
];

const routeColumns: readonly Column<RouteRow>[] = [
  { title: "", cell: (row) => row.best ? "*" : " " },
  { title: "prefix", cell: (row) => row.prefix },
  { title: "next hop", cell: (row) => row.nextHop },
  { title: "from", cell: (row) => row.from },
  { title: "pref", cell: (row) => row.localPref },
  { title: "med", cell: (row) => row.med },
  { title: "as path", cell: (row) => formatAsPath(row.asPath) },
  { title: "why", cell: (row) => row.stale ? `stale; ${row.why}` : row.why },
];

/** Shows the sessions. */
export async function peers(this: Terminal, flags: ShowFlags): Promise<void> {
  const rows = await connectNode(this, flags).bgp.peers();
  this.process.stdout.write(flags.output === "json" ? formatJson(rows) : formatTable(rows, peerColumns));
}

/** Shows the routes of the Loc-RIB, or what one peer sent or is sent. */
export async function routes(this: Terminal, flags: RoutesFlags, prefix?: string): Promise<void> {
  if (flags.received !== undefined && flags.advertised !== undefined) {
    throw new UsageError("--received and --advertised are two different views: name one");
  }
  const { received, advertised } = flags;
  const found = await connectNode(this, flags).bgp.routes({ prefix, received, advertised });
  const rows = found.map((row) => ({ row, cidr: Cidr.parse(row.prefix) }))
    .sort((a, b) => a.cidr.compare(b.cidr) || Number(b.row.best) - Number(a.row.best)).map(({ row }) => row);
  this.process.stdout.write(flags.output === "json" ? formatJson(rows) : formatTable(rows, routeColumns));
}

/** Explains which path of a prefix won, and why each other one lost. */
export async function explain(this: Terminal, flags: ShowFlags, query: string): Promise<void> {
  const { prefix, paths } = await connectNode(this, flags).bgp.explain(query);
  if (flags.output === "json") return void this.process.stdout.write(formatJson({ query, prefix, paths }));
  if (prefix === null) throw new CliError(`no route covers ${query}`);
  const lines = paths.map((path) =>
    `  ${path.best ? "best" : "    "}  via ${path.nextHop ?? "-"} from ${path.from ?? "this host"}: ${path.why}\n` +
    `        AS path ${formatAsPath(path.asPath) || "empty"}, local preference ${path.localPref ?? "-"}, ` +
    `MED ${path.med ?? "-"}, origin ${path.origin}${
      path.communities.length > 0 ? `, communities ${path.communities.join(" ")}` : ""
    }\n`
  );
  this.process.stdout.write(`${prefix}${prefix === query ? "" : ` (covers ${query})`}\n${lines.join("")}`);
}

/** Shows sessions and best paths as they change, until it is interrupted. */
export async function monitor(this: Terminal, flags: ShowFlags): Promise<void> {
  for await (const line of connectNode(this, flags).bgp.monitor()) {
    this.process.stdout.write(flags.output === "json" ? `${JSON.stringify(line)}\n` : `${formatEvent(line)}\n`);
  }
  throw new CliError("the node has ended the stream; is it stopped? Start the monitor again once it runs");
}

function formatEvent(line: MonitorLine): string {
  const time = line.time.replace("T", " ").slice(0, 23);
  switch (line.type) {
    case "session":
      return `${time} session ${line.name} (${line.peer}): ${line.from} -> ${line.to}`;
    case "best": {
      const { route } = line;
      const path = formatAsPath(route.asPath);
      return `${time} best    ${line.prefix} via ${route.nextHop ?? "this host"} from ${route.from}` +
        `${path === "" ? "" : `, AS path ${path}`}: ${route.why}`;
    }
    case "gone":
      return `${time} gone    ${line.prefix}`;
    case "lost":
      return `${time} ${line.count} more changes at once`;
  }
}

function formatAsPath(path: RouteRow["asPath"]): string {
  return path.map((part) => typeof part === "number" ? String(part) : `{${part.join(",")}}`).join(" ");
}
