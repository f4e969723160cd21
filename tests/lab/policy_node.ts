/**
 * A running node with three workloads and a peer outside, for policy as its users meet it: resources go in through the
 * real command line, packets are real connection attempts, and `policy explain` has to say what they did.
 *
 *     web, db, job --- cali… [host: tortie run] eth0 192.0.2.1 --- 192.0.2.9 out, 198.51.100.7
 *
 * Workloads are attached through the command line and have IPv4 and IPv6 addresses from pools of the configuration.
 */

import assert from "node:assert/strict";
import { connectApi } from "../../src/api/client.ts";
import { isRunning, type LabProcess, startProcess, stopProcesses } from "../../src/lab/process.ts";
import { createNamespace, deleteNamespace } from "../../src/linux/namespace.ts";
import { type Finished, tortie } from "./fleet.ts";
import { eventually, finish } from "./one_node.ts";
import { inside } from "./policy_lab.ts";
import { type Prober, startProber } from "./policy_probes.ts";

/** The workloads, and the peer outside. */
export type Place = "web" | "db" | "job" | "out";

/** A connection that is tried. */
export interface Try {
  readonly from: Place;
  readonly to: Place;
  readonly protocol?: "tcp" | "udp" | "icmp";
  readonly port?: number;
  readonly family?: 4 | 6;
}

/** The node with its surroundings. */
export interface PolicyNode {
  readonly host: string;
  readonly socket: string;
  readonly namespaces: Readonly<Record<Place, string>>;
  address(place: Place, family?: 4 | 6): string;
  /** The host's interface of a workload. */
  interfaceOf(place: Place): Promise<string>;
  prober(place: Place): Prober;
  start(): Promise<LabProcess>;
  /** Ends the node at once (SIGKILL) or by SIGTERM. */
  stop(how: "kill" | "term"): Promise<void>;
  /** Runs tortie against the node. */
  tortie(args: readonly string[], input?: string): Promise<Finished>;
  /** Runs `tortie down` in the host's namespace. */
  down(): Promise<Finished>;
  /** The same, and it has to succeed; returns what it printed. */
  run(args: readonly string[], input?: string): Promise<string>;
  /** Applies resources through the command line. */
  apply(...resources: object[]): Promise<string>;
  /** What came of the attempt. */
  try(wanted: Try, patience?: number): Promise<"allow" | "deny">;
  /** Tries each and asks `policy explain` about it; both have to say what is expected. */
  expect(...expected: readonly [Try, "allow" | "deny"][]): Promise<void>;
  log(): string;
}

const outside = { 4: "198.51.100.7", 6: "2001:db8:7::7" } as const;

const configuration = (dir: string) =>
  `node: { name: a, ip: 192.0.2.1/24, ip6: 2001:db8::1/64, stateDir: ${dir}/state, socket: ${dir}/tortie.sock }
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: { name: v4 }
spec: { cidr: 172.17.8.0/26, natOutgoing: true }
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: { name: elsewhere }
spec: { cidr: 203.0.113.0/24, nodeSelector: "name == 'b'" }
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: { name: v6 }
spec: { cidr: fd00:17:8::/122 }
`;

/** A resource of the API. */
export function resource(kind: string, name: string, spec: object, metadata: object = {}): object {
  return { apiVersion: "projectcalico.org/v3", kind, metadata: { name, ...metadata }, spec };
}

/** Brings everything up, hands it to the test, and takes it away however the test ends. */
export async function withPolicyNode(body: (node: PolicyNode) => Promise<void>): Promise<void> {
  const prefix = `ttP3-${crypto.randomUUID().slice(0, 5)}`;
  const host = `${prefix}-h`;
  const namespaces = { web: `${prefix}-w`, db: `${prefix}-d`, job: `${prefix}-j`, out: `${prefix}-o` };
  const dir = await Deno.makeTempDir({ prefix: "tortie-policy-" });
  const socket = `${dir}/tortie.sock`, log = `${dir}/node.log`;
  const processes: LabProcess[] = [];
  const probers = new Map<Place, Prober>();
  const addresses = new Map<Place, Readonly<Record<4 | 6, string>>>([["out", outside]]);
  const node: PolicyNode = {
    host,
    socket,
    namespaces,
    address: (place, family = 4) => addresses.get(place)?.[family] ?? "",
    interfaceOf: async (place) =>
      (await connectApi(socket).workloads.list()).find(({ name }) => name === place)?.interface ?? "",
    prober: (place) => {
      const prober = probers.get(place);
      assert.ok(prober);
      return prober;
    },
    start: async () => {
      const process = startProcess("a", host, [...tortie, "run", "--config", `${dir}/tortie.yaml`], log);
      processes.push(process);
      await eventually("the node answers", async () => {
        assert.ok(isRunning(process), `the node ended: ${node.log()}`);
        return (await connectApi(socket).status()).dataplane.inSync;
      });
      return process;
    },
    stop: async (how) => {
      const ended = processes.splice(0);
      if (how === "kill") { for (const process of ended) if (isRunning(process)) Deno.kill(process.pid, "SIGKILL"); }
      await stopProcesses(ended);
    },
    tortie: (args, input) => finish([...tortie, ...args], input, { TORTIE_SOCKET: socket }),
    down: () => finish(["ip", "netns", "exec", host, ...tortie, "down", "--socket", socket]),
    run: async (args, input) => {
      const { code, stdout, stderr } = await node.tortie(args, input);
      assert.equal(code, 0, `tortie ${args.join(" ")}: ${stderr}`);
      return stdout;
    },
    apply: (...resources) =>
      node.run(["apply", "-f", "-"], resources.map((each) => `---\n${JSON.stringify(each)}\n`).join("")),
    try: async ({ from, to, protocol = "tcp", port = 80, family = 4 }, patience = 400) =>
      await node.prober(from).try({ protocol, port, to: node.address(to, family), patience }) ? "allow" : "deny",
    expect: async (...expected) => {
      const tried = await Promise.all(expected.map(async ([wanted, verdict]) => {
        // A busy machine may answer late; what is denied never answers.
        const first = await node.try(wanted);
        const happened = first === "deny" && verdict === "allow" ? await node.try(wanted, 4000) : first;
        const { from, to, protocol = "tcp", port = 80, family = 4 } = wanted;
        const explained = await connectApi(socket).policy.explain({
          from: node.address(from, family),
          to: node.address(to, family),
          protocol,
          ...protocol === "icmp" ? {} : { port },
        });
        return { wanted, verdict, happened, explained };
      }));
      for (const { wanted, verdict, happened, explained } of tried) {
        const what = `${JSON.stringify(wanted)}: ${JSON.stringify(explained)}`;
        assert.deepEqual({ happened, explained: explained.verdict }, { happened: verdict, explained: verdict }, what);
      }
    },
    log: () => {
      try {
        return Deno.readTextFileSync(log);
      } catch {
        return "";
      }
    },
  };
  try {
    for (const name of [host, ...Object.values(namespaces)]) createNamespace(name);
    buildOutside(host, namespaces.out);
    Deno.writeTextFileSync(`${dir}/tortie.yaml`, configuration(dir));
    await node.start();
    for (const place of ["web", "db", "job"] as const) {
      inside(namespaces[place], "ip", "link", "set", "lo", "up");
      const labels = ["--label", `app=${place}`, "--label", `tier=${place === "db" ? "back" : "front"}`];
      const printed = await node.run(["workload", "attach", place, "--netns", namespaces[place], ...labels]);
      const given = printed.trim().split("\n");
      addresses.set(place, {
        4: given.find((text) => !text.includes(":")) ?? "",
        6: given.find((text) => text.includes(":")) ?? "",
      });
    }
    await Promise.all(
      (Object.keys(namespaces) as Place[]).map(async (place) =>
        void probers.set(place, await startProber(namespaces[place]))
      ),
    );
    await body(node);
  } finally {
    await Promise.all([...probers.values()].map((prober) => prober.stop()));
    await stopProcesses(processes);
    for (const name of [host, ...Object.values(namespaces)]) {
      try {
        deleteNamespace(name);
      } catch {
        // It was never made.
      }
    }
    await Deno.remove(dir, { recursive: true });
  }
}

function buildOutside(host: string, out: string): void {
  const ip = (namespace: string, text: string) => inside(namespace, "ip", ...text.split(" "));
  for (const name of [host, out]) ip(name, "link set lo up");
  ip(host, `link add eth0 type veth peer name eth0 netns ${out}`);
  for (const [name, own] of [[host, 1], [out, 9]] as const) {
    ip(name, "link set eth0 up");
    ip(name, `addr add 192.0.2.${own}/24 dev eth0`);
    ip(name, `addr add 2001:db8::${own}/64 dev eth0 nodad`);
  }
  ip(out, `addr add ${outside[4]}/32 dev eth0`);
  ip(out, `addr add ${outside[6]}/128 dev eth0 nodad`);
  // An address of another pool, which nothing is masqueraded to.
  ip(out, "addr add 203.0.113.5/32 dev eth0");
  ip(host, "route add 203.0.113.0/24 via 192.0.2.9");
  ip(host, `route add ${outside[4]}/32 via 192.0.2.9`);
  ip(host, `route add ${outside[6]}/128 via 2001:db8::9`);
  ip(out, `route add default via 192.0.2.1 src ${outside[4]}`);
  ip(out, `route add default via 2001:db8::1 src ${outside[6]}`);
}
