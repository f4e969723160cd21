/**
 * What a lab looks like right now, for people and for scripts: routes as Debian's `ip` shows them, workloads and
 * sessions as the nodes show them, the router's routes as `birdc` shows them, and who reaches whom by `ping`.
 */

import type { Lab } from "./lab.ts";

/** One host of the report. */
export interface HostReport {
  readonly host: string;
  /** Lines of `ip route`. */
  readonly routes: readonly string[];
  readonly workloads: readonly {
    readonly name: string;
    readonly addresses: readonly string[];
    readonly ready: boolean;
  }[];
  readonly peers: readonly {
    readonly peer: string;
    readonly name: string;
    readonly as: number;
    readonly state: string;
  }[];
}

/** The whole report; `reach[from][to]` says whether a ping from one workload to the other came back. */
export interface LabReport {
  readonly hosts: readonly HostReport[];
  /** Lines of `birdc show route` on the router. */
  readonly router: readonly string[];
  readonly reach: Readonly<Record<string, Readonly<Record<string, boolean>>>>;
}

/** Looks at every host and router and pings from every workload to every other. */
export async function reportLab(lab: Lab): Promise<LabReport> {
  const hosts = await Promise.all(lab.topology.hosts.map((host) => reportHost(lab, host.name)));
  const addresses = new Map(hosts.flatMap((host) => host.workloads.map((each) => [each.name, each.addresses[0]!])));
  const reach = await Promise.all([...addresses.keys()].map(async (from) => {
    const row = await Promise.all(
      [...addresses].map(async ([to, address]) => [to, await pings(lab, from, address)] as const),
    );
    return [from, Object.fromEntries(row)] as const;
  }));
  const table = await lab.birdc("show", "route").catch((error: Error) => error.message);
  return {
    hosts,
    router: table.split("\n").filter((line) => line && !/^(BIRD|Table)/.test(line)),
    reach: Object.fromEntries(reach),
  };
}

async function reportHost(lab: Lab, host: string): Promise<HostReport> {
  const api = lab.api(host);
  const [routes, workloads, peers] = await Promise.all([
    lab.run(host, ["ip", "route"]),
    api.workloads.list(),
    api.bgp.peers(),
  ]);
  return { host, routes: routes.split("\n").map((line) => line.trimEnd()).filter(Boolean), workloads, peers };
}

/** Whether an address answers one ping from a member within a second. */
export async function pings(lab: Lab, from: string, address: string): Promise<boolean> {
  const printed = await lab.run(from, ["ping", "-c", "1", "-W", "1", address], { mayFail: true });
  return / 0% packet loss/.test(printed);
}

/** Whether every workload reached every other. */
export function allReach(report: LabReport): boolean {
  return Object.values(report.reach).every((row) => Object.values(row).every(Boolean));
}

/** Writes the report for people. */
export function formatReport(report: LabReport): string {
  const names = Object.keys(report.reach);
  const width = Math.max(...names.map((name) => name.length));
  const lines = report.hosts.flatMap((host) => [
    `host ${host.host}`,
    "  routes (ip route)",
    ...host.routes.map((line) => `    ${line}`),
    "  workloads",
    ...host.workloads.map((each) =>
      `    ${each.name.padEnd(width)}  ${each.addresses.join(" ")}${each.ready ? "" : "  not ready"}`
    ),
    "  BGP sessions",
    ...host.peers.map((peer) =>
      `    ${peer.name.padEnd(12)} ${peer.peer.padEnd(16)} AS ${String(peer.as).padEnd(6)} ${peer.state}`
    ),
    "",
  ]);
  const matrix = [
    `who reaches whom (ping)`,
    `  ${"".padEnd(width)}  ${names.map((name) => name.padEnd(width)).join("  ")}`,
    ...names.map((from) =>
      `  ${from.padEnd(width)}  ${
        names.map((to) => (report.reach[from]?.[to] ? "ok" : "LOST").padEnd(width)).join("  ")
      }`.trimEnd()
    ),
  ];
  return [...lines, "router (birdc show route)", ...report.router.map((line) => `  ${line}`), "", ...matrix, ""].join(
    "\n",
  );
}
