/**
 * The lab's wires: one namespace a host, router and workload, and one that holds the segment they are plugged into.
 *
 *     NAME-a [eth0] ──┐
 *     NAME-b [eth0] ──┼── [br0] NAME-segment
 *     NAME-c [eth0] ──┤
 *     NAME-tor [eth0] ┘          NAME-a-web, NAME-a-db, …: empty until `workload attach`
 *
 * Only namespaces that bear the lab's name are made and deleted; the machine's own namespace is not touched.
 */

import { runCommand } from "./command.ts";
import { bare, type Topology } from "./topology.ts";

/** The namespace of a host, router or workload of the lab. */
export function namespaceOf(lab: string, member: string): string {
  return `${lab}-${member}`;
}

/** Every namespace that the topology needs, the segment's first. */
export function namespacesOf(lab: string, topology: Topology): string[] {
  const members = [
    "segment",
    topology.router.name,
    ...topology.hosts.flatMap((host) => [host.name, ...host.workloads.map((workload) => workload.name)]),
  ];
  return members.map((member) => namespaceOf(lab, member));
}

/** Makes the namespaces and wires; throws `CommandError` when a namespace of that name exists. */
export async function buildNetwork(lab: string, topology: Topology): Promise<void> {
  for (const namespace of namespacesOf(lab, topology)) await runCommand(["ip", "netns", "add", namespace]);
  const segment = namespaceOf(lab, "segment");
  const plugged = [topology.router, ...topology.hosts];
  await batch(segment, [
    "link set lo up",
    "link add br0 type bridge mcast_snooping 0",
    "link set br0 up",
    ...plugged.flatMap((member) => [
      `link add name ${member.name} type veth peer name eth0 netns ${namespaceOf(lab, member.name)}`,
      `link set dev ${member.name} master br0 up`,
    ]),
  ]);
  for (const member of plugged) {
    const isRouter = member === topology.router;
    await batch(namespaceOf(lab, member.name), [
      "link set lo up",
      `address add ${member.address} dev eth0`,
      "link set eth0 up",
      // Proxy ARP answers for 169.254.1.1 only where the host has a route towards it.
      ...isRouter ? [] : [`route add default via ${bare(topology.router.address)} dev eth0`],
    ]);
  }
}

/** Deletes every namespace of the lab, and with it its links and routes. */
export async function destroyNetwork(lab: string, namespaces: readonly string[]): Promise<void> {
  const existing = await namedNamespaces();
  for (const namespace of namespaces) {
    if (!namespace.startsWith(`${lab}-`) || !existing.includes(namespace)) continue;
    // What still runs inside (a command of `lab exec`) would keep the namespace alive without its name.
    const inside = await runCommand(["ip", "netns", "pids", namespace]);
    for (const pid of inside.split("\n").map(Number).filter((pid) => pid > 1 && pid !== Deno.pid)) end(pid);
    await runCommand(["ip", "netns", "del", namespace]);
  }
}

/** The names of all network namespaces that have one. */
export async function namedNamespaces(): Promise<string[]> {
  const listed = await runCommand(["ip", "netns", "list"]);
  return listed.split("\n").map((line) => line.split(" ")[0] ?? "").filter((name) => name !== "");
}

function end(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

async function batch(namespace: string, lines: readonly string[]): Promise<void> {
  await runCommand(["ip", "-n", namespace, "-batch", "-"], { input: lines.join("\n") + "\n" });
}
