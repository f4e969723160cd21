/** A node is stopped and started again: packets through its host, and to other hosts, do not notice (RFC 4724). */

import assert from "node:assert/strict";
import { until } from "../../src/lab/lab.ts";
import { ORIGINATED, type TwoHosts, withTwoHosts } from "./two_hosts.ts";

const isRoot = Deno.uid() === 0;

/** A 10 ms ping that runs until it is told to stop; returns what it printed at the end. */
function startPing(lab: TwoHosts, from: Parameters<TwoHosts["namespace"]>[0], to: string) {
  const child = new Deno.Command("ip", {
    args: ["netns", "exec", lab.namespace(from), "ping", "-n", "-q", "-i", "0.01", to],
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  return async () => {
    child.kill("SIGINT");
    const text = new TextDecoder().decode((await child.output()).stdout);
    const [, sent = "0", received = "0"] = /(\d+) packets transmitted, (\d+) received/.exec(text) ?? [];
    // The last one may be on its way when the signal comes.
    return { sent: Number(sent), lost: Math.max(0, Number(sent) - Number(received) - 1), text };
  };
}

/** Follows the changes of a host's routes with `ip monitor`; a route of its own shows that it hears. */
async function startMonitor(lab: TwoHosts, member: Parameters<TwoHosts["namespace"]>[0]) {
  const child = new Deno.Command("ip", {
    args: ["-n", lab.namespace(member), "monitor", "route"],
    stdout: "piped",
    stderr: "null",
  }).spawn();
  let text = "";
  const reading = (async () => {
    for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) text += chunk;
  })();
  await until("ip monitor hears of routes", 5_000, async () => {
    await lab.run(member, "ip route add blackhole 203.0.113.0/24");
    await lab.run(member, "ip route del blackhole 203.0.113.0/24");
    return text.includes("203.0.113.0/24");
  });
  return async () => {
    child.kill("SIGTERM");
    await Promise.all([reading, child.status]);
    return text.split("\n").filter((line) => /172\.17\.|fd00:17:|10\.99\.|2001:db8:99/.test(line));
  };
}

/** [what happens, to which nodes, how they end] */
const RESTARTS = [
  ["a node is restarted", ["a"], "SIGTERM"],
  ["a node is killed and started again", ["a"], "SIGKILL"],
  ["both nodes are restarted at once", ["a", "b"], "SIGTERM"],
] as const;

for (const [what, hosts, signal] of RESTARTS) {
  Deno.test({
    name: `${what} with a changed configuration and no ping of four 10 ms flows is lost${
      isRoot ? "" : " (skipped: needs root)"
    }`,
    ignore: !isRoot,
    fn: () =>
      withTwoHosts(async (lab) => {
        const addresses = new Map<string, readonly string[]>();
        for (const name of ["a-one", "a-two", "b-one"] as const) {
          const attached = await lab.api(name[0] as "a" | "b").workloads.attach({ name, netns: lab.namespace(name) });
          addresses.set(name, attached.addresses);
        }
        await lab.sessions();
        const of = (name: string, family: 4 | 6) =>
          (addresses.get(name) ?? []).find((address) => address.includes(":") === (family === 6)) ?? "";
        const flows = [
          ["a-one", of("a-two", 4)],
          ["a-one", of("b-one", 4)],
          ["b-one", of("a-one", 6)],
          ["tor1", of("a-two", 4)],
        ] as const;
        for (const [from, to] of flows) {
          await until(`${from} reaches ${to}`, 10_000, async () =>
            / 1 received/.test(await lab.run(from, `ping -n -c 1 -W 1 ${to}`, true)));
        }
        for (const pattern of [ORIGINATED.v4, "172.17.9.0/26"]) {
          await lab.shows("a", "ip -4 route show proto bird", new RegExp(pattern));
        }
        await lab.shows("tor1", "ip -4 route", /172\.17\.8\.0\/26/);
        const before = await lab.run("a", "ip -4 route") + await lab.run("a", "ip -6 route");
        const since = new Map((await lab.api("b").bgp.peers()).map(({ name, since }) => [name, since]));

        const pings = flows.map(([from, to]) =>
          startPing(lab, from, to)
        );
        const monitors = await Promise.all((["a", "b", "tor1"] as const).map((member) => startMonitor(lab, member)));
        await Promise.all(hosts.map((host) => lab.stopNode(host, signal)));
        const file = lab.config("a");
        const text = await Deno.readTextFile(file);
        await Deno.writeTextFile(
          file,
          `${text}---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: { name: more }
spec: { cidr: 172.18.0.0/24, nodeSelector: "name == 'a'" }
`,
        );
        await Promise.all(hosts.map((host) => lab.startNode(host)));
        await lab.sessions();
        for (const host of hosts) {
          await until("the peers have confirmed what stood", 60_000, () => /The restart is over/.test(lab.log(host)));
        }
        const [onA = [], onB = [], onRouter = []] = await Promise.all(monitors.map((stop) => stop()));
        // BIRD may prefer the same way as told by another peer meanwhile, and writes it again over itself.
        const seen = [onA, onB, onRouter.filter((line) => line.startsWith("Deleted"))];
        const counted = await Promise.all(pings.map((stop) => stop()));
        for (const { sent, lost, text } of counted) {
          assert.ok(sent > 50, text);
          assert.equal(lost, 0, text);
        }
        assert.deepEqual(seen.flat(), [], "no host's route to anybody was taken away or written again");
        assert.equal(await lab.run("a", "ip -4 route") + await lab.run("a", "ip -6 route"), before);
        assert.equal((await lab.api("a").resources.list("IPPool")).length, 5);
        for (const { name, since: now } of await lab.api("b").bgp.peers()) {
          if (hosts.length === 1 && name.startsWith("global.tor")) {
            assert.equal(now, since.get(name), `${name}: the others' sessions go on`);
          }
        }
      }),
  });
}
