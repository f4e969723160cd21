/**
 * Policy in the product: resources through the command line into a running node, real packets, and `policy explain` beside
 * them; what others do to the tables; ends, kills and restarts.
 */

import assert from "node:assert/strict";
import { connectApi } from "../../src/api/client.ts";
import { inside, isRoot } from "./policy_lab.ts";
import { eventually } from "./one_node.ts";
import { type PolicyNode, resource, type Try, withPolicyNode } from "./policy_node.ts";
import { within } from "./workload_lab.ts";

const global = (name: string, spec: object) => resource("GlobalNetworkPolicy", name, spec);
const all: readonly Try[] = (["web", "db", "job"] as const).flatMap((from) =>
  (["web", "db", "job"] as const).filter((to) => to !== from).map((to) => ({ from, to }))
);

/** Fails unless the verdict becomes the wanted one within a second after the command returned. */
async function soon(node: PolicyNode, wanted: Try, verdict: "allow" | "deny"): Promise<void> {
  await within(
    1000 + 300,
    `${JSON.stringify(wanted)} is ${verdict}`,
    async () => await node.try(wanted, verdict === "deny" ? 200 : 1000) === verdict,
  );
}

function nft(node: PolicyNode, ...args: string[]): string {
  return inside(node.host, "nft", ...args);
}

Deno.test({
  name: "policies through the command line decide what packets do, and explain, list and lint tell it",
  ignore: !isRoot,
  fn: (t) =>
    withPolicyNode(async (node) => {
      await t.step("workloads without a profile of their own may do everything", async () => {
        await node.expect(
          ...all.map((wanted): [Try, "allow"] => [wanted, "allow"]),
          [{ from: "web", to: "db", protocol: "icmp" }, "allow"],
          [{ from: "web", to: "db", family: 6 }, "allow"],
          [{ from: "web", to: "out" }, "allow"],
          [{ from: "out", to: "web" }, "allow"],
        );
      });

      await t.step("a deny policy cuts within a second, and deleting it restores", async () => {
        await node.apply(global("cut", { selector: "app == 'db'", ingress: [{ action: "Deny" }] }));
        await soon(node, { from: "web", to: "db" }, "deny");
        await node.expect([{ from: "job", to: "db", protocol: "udp" }, "deny"], [{ from: "db", to: "web" }, "allow"]);
        await node.run(["delete", "gnp", "cut"]);
        await soon(node, { from: "web", to: "db" }, "allow");
      });

      await t.step("tiers, passes, selectors, negations, ports, ICMP and IP versions together", async () => {
        await node.apply(
          resource("Tier", "guard", { order: 10 }),
          resource("NetworkSet", "friends", { nets: ["198.51.100.0/24", "2001:db8:7::/64"] }, {
            namespace: "default",
            labels: { role: "friend" },
          }),
          global("guard.first", {
            tier: "guard",
            order: 1,
            selector: "app == 'db'",
            types: ["Ingress"],
            ingress: [
              { action: "Deny", protocol: "TCP", destination: { ports: [8080] } },
              { action: "Deny", ipVersion: 6, protocol: "UDP" },
              { action: "Pass", source: { notSelector: "app == 'job'" } },
              { action: "Allow", protocol: "ICMP", icmp: { type: 8 } },
            ],
          }),
          resource("NetworkPolicy", "db", {
            order: 5,
            selector: "tier == 'back'",
            types: ["Ingress"],
            ingress: [
              { action: "Log", protocol: "TCP" },
              {
                action: "Allow",
                protocol: "TCP",
                source: { selector: "has(role) || tier == 'front'" },
                destination: { ports: [443, "1000:2000"] },
              },
              { action: "Allow", protocol: "UDP", destination: { notPorts: [85] } },
            ],
          }, { namespace: "default" }),
        );
        await soon(node, { from: "web", to: "db", port: 80 }, "deny");
        await node.expect(
          [{ from: "web", to: "db", port: 443 }, "allow"],
          [{ from: "web", to: "db", port: 1500, family: 6 }, "allow"],
          [{ from: "web", to: "db", port: 8080 }, "deny"],
          [{ from: "web", to: "db", protocol: "udp", port: 53 }, "allow"],
          [{ from: "web", to: "db", protocol: "udp", port: 53, family: 6 }, "deny"],
          [{ from: "web", to: "db", protocol: "udp", port: 85 }, "deny"],
          [{ from: "web", to: "db", protocol: "icmp" }, "deny"],
          [{ from: "job", to: "db", protocol: "icmp" }, "allow"],
          [{ from: "job", to: "db", port: 443 }, "deny"],
          [{ from: "out", to: "db", port: 443 }, "allow"],
          [{ from: "out", to: "db", port: 443, family: 6 }, "allow"],
          [{ from: "out", to: "db", port: 80 }, "deny"],
          [{ from: "db", to: "web" }, "allow"],
        );
      });

      await t.step("a named port follows the endpoint's port", async () => {
        const [endpoint] = (await connectApi(node.socket).resources.list("WorkloadEndpoint"))
          .filter((each) => each.kind === "WorkloadEndpoint" && each.spec.workload === "db");
        assert.ok(endpoint?.kind === "WorkloadEndpoint");
        const withPort = (port: number) => {
          const { resourceVersion: _, ...metadata } = endpoint.metadata as typeof endpoint.metadata & {
            resourceVersion?: string;
          };
          return { ...endpoint, metadata, spec: { ...endpoint.spec, ports: [{ name: "sql", protocol: "TCP", port }] } };
        };
        await node.apply(
          withPort(85),
          global("sql", {
            order: 1,
            selector: "app == 'db'",
            ingress: [{ action: "Allow", protocol: "TCP", destination: { ports: ["sql"] } }],
          }),
        );
        await soon(node, { from: "web", to: "db", port: 85 }, "allow");
        await node.expect([{ from: "web", to: "db", port: 22 }, "deny"]);
        await node.apply(withPort(22));
        await soon(node, { from: "web", to: "db", port: 22 }, "allow");
        await node.expect([{ from: "web", to: "db", port: 85 }, "deny"]);
        await node.run(["delete", "gnp", "sql"]);
        await soon(node, { from: "web", to: "db", port: 22 }, "deny");
      });

      await t.step("explain names tier, policy and rule, in the shape of the contract", async () => {
        const words = ["policy", "explain", "--from", "web", "--to", "a/db", "--protocol", "tcp", "--port", "443"];
        const { verdict, steps } = JSON.parse(await node.run([...words, "-o", "json"]));
        assert.equal(verdict, "allow");
        assert.deepEqual(steps, [
          { at: "egress a/web", tier: "profile", policy: "projectcalico-default-allow", rule: 0, action: "Allow" },
          { at: "ingress a/db", tier: "guard", policy: "guard.first", rule: 2, action: "Pass" },
          { at: "ingress a/db", tier: "default", policy: "default/db", rule: 0, action: "Log" },
          { at: "ingress a/db", tier: "default", policy: "default/db", rule: 1, action: "Allow" },
        ]);
        assert.match(await node.run(words), /^allow: web to a\/db, tcp port 443\nAT +TIER +POLICY +RULE +ACTION\n/);
        const refused = await node.tortie(["policy", "explain", "--from", "nobody", "--to", "db", "--port", "1"]);
        assert.deepEqual([refused.code, refused.stdout], [1, ""]);
        assert.match(refused.stderr, /^tortie: there is no workload, host endpoint or address "nobody".*\n$/);
      });

      await t.step("what rules match is counted, for list and for explain", async () => {
        const hits = async () => {
          const rows = JSON.parse(await node.run(["policy", "list", "--hits", "-o", "json"]));
          const row = rows.find(({ policy }: { policy: string }) => policy === "default/db");
          return row.rules.map(({ packets }: { packets: number }) => packets);
        };
        const before = await hits();
        await node.expect([{ from: "web", to: "db", port: 443 }, "allow"]);
        const after = await hits();
        assert.deepEqual(after.map((count: number, i: number) => count - before[i]), [1, 1, 0]);
        const live = async (port: string) =>
          JSON.parse(
            await node.run([
              "policy",
              "explain",
              "--from",
              "web",
              "--to",
              "db",
              "--port",
              port,
              "--live",
              "-o",
              "json",
            ]),
          ).steps.map(({ packets }: { packets: number | null }) => packets);
        assert.deepEqual((await live("443")).slice(-2), after.slice(0, 2));
        const [dropped] = (await live("80")).slice(-1);
        await node.expect([{ from: "web", to: "db", port: 80 }, "deny"]);
        const [droppedNow] = (await live("80")).slice(-1);
        assert.ok(droppedNow > dropped, `${dropped} and then ${droppedNow}`);
        assert.match(
          await node.run(["policy", "list"]),
          /^TIER +ORDER +POLICY .*\nguard +1 +guard\.first .*\ndefault +5 +default\/db /,
        );
      });

      await t.step("lint finds what is not meant and exits with 1", async () => {
        assert.equal(await node.run(["policy", "lint"]), "nothing found\n");
        await node.apply(
          global("nobody", { order: 9, selector: "app == 'nobody'", ingress: [{ action: "Allow" }] }),
          global("shadow", { order: 20, selector: "app == 'job'", ingress: [{ action: "Deny" }, { action: "Allow" }] }),
          global("shadowed", { order: 21, selector: "app == 'job'", ingress: [{ action: "Allow" }] }),
        );
        const { code, stdout, stderr } = await node.tortie(["policy", "lint", "-o", "json"]);
        assert.deepEqual([code, stderr], [1, "tortie: 3 findings; each is certain of the resources as they are now\n"]);
        const found = JSON.parse(stdout).map(({ name, field }: { name: string; field: string }) => `${name} ${field}`);
        assert.deepEqual(found.sort(), ["nobody spec.selector", "shadow spec.ingress[1]", "shadowed spec.order"]);
        await node.run(["delete", "gnp", "nobody", "shadow", "shadowed"]);
      });

      await t.step("a mistake in a policy is one line with its place, and changes nothing", async () => {
        const input = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: { name: x }\nspec:\n" +
          "  selector: all(\n  ingress: [{ action: Deny }]\n";
        const { code, stderr } = await node.tortie(["apply", "-f", "-"], input);
        assert.equal(code, 1);
        assert.match(stderr, /^tortie: standard input:5:\d+: spec\.selector: .*\n$/);
        await node.expect([{ from: "db", to: "web" }, "allow"]);
      });

      await t.step("nft reads back every chain, and down takes all of it away and says so", async () => {
        const chains = new Set(
          [...nft(node, "list", "table", "inet", "tortie").matchAll(/^\tchain (\S+) \{/gm)].map(([, name]) => name),
        );
        const web = await node.interfaceOf("web");
        for (const name of [`cali-fw-${web}`, `cali-tw-${web}`, "cali-FORWARD", "cali-pi-gnp/guard.first"]) {
          assert.ok(chains.has(name), name);
        }
        nft(node, "add table inet other; add chain inet other kept");
        await node.stop("term");
        assert.match(nft(node, "list", "ruleset"), /table inet tortie/);
        const { code, stdout, stderr } = await node.down();
        assert.deepEqual([code, stderr], [0, ""]);
        assert.match(stdout, /^removed 3 interfaces, \d+ routes, \d+ neighbours, 2 nftables tables\n$/);
        assert.deepEqual(nft(node, "list", "tables").trim(), "table inet other");
      });
    }),
});

Deno.test({
  name: "of 200 live connections those that a policy forbids end within a second, and the others lose nothing",
  ignore: !isRoot,
  fn: () =>
    withPolicyNode(async (node) => {
      const client = node.prober("web");
      for (const port of [443, 8080]) await client.hold({ to: node.address("db"), port, count: 100 });
      await node.apply(global("half", {
        selector: "app == 'db'",
        ingress: [{ action: "Deny", protocol: "TCP", destination: { ports: [8080] } }, { action: "Allow" }],
      }));
      const start = performance.now();
      await within(2000, "the forbidden ones fall silent", async () => {
        const silence = await client.report();
        assert.ok(Math.max(...silence[443] ?? [Infinity]) < 1000, "an allowed connection was held up");
        return silence[8080]?.length === 100 && silence[8080].every((ms) => ms >= 500);
      });
      const silence = await client.report(), since = performance.now() - start;
      const lastEcho = since - Math.min(...silence[8080] ?? [0]);
      assert.ok(lastEcho < 1000, `an echo came ${lastEcho} ms after the command`);
      assert.equal(silence[443]?.length, 100);
      assert.ok(Math.max(...silence[443] ?? [Infinity]) < 1000);
    }),
});

Deno.test({
  name: "forged sources and unknown interfaces are dropped, pools are translated to outside only, floating IPs lead in",
  ignore: !isRoot,
  fn: (t) =>
    withPolicyNode(async (node) => {
      const ping = (place: "web" | "out", ...args: string[]) =>
        new Deno.Command("ip", {
          args: ["netns", "exec", node.namespaces[place], "ping", "-n", "-c", "1", "-W", "1", ...args],
        }).outputSync().code === 0;
      /** Source addresses that the outside sees of a ping. */
      const seen = async (to: string) => {
        const capture = new Deno.Command("ip", {
          args: ["netns", "exec", node.namespaces.out, "timeout", "8", "tcpdump", "-n", "-l", "-c", "1", "-i", "eth0"]
            .concat([`icmp[icmptype] == icmp-echo and dst host ${to}`]),
          stdout: "piped",
          stderr: "piped",
        }).spawn();
        const errors = capture.stderr.getReader();
        await errors.read();
        const pinging = eventually(`${to} answers`, () => ping("web", to));
        const { value } = await capture.stdout.getReader().read();
        await pinging;
        await errors.cancel();
        await capture.status;
        return / IP (\S+) >/.exec(new TextDecoder().decode(value))?.[1];
      };

      await t.step("a forged source does not leave", () => {
        inside(node.namespaces.web, "ip", "addr", "add", "10.0.0.77/32", "dev", "eth0");
        assert.ok(ping("web", node.address("db")));
        assert.ok(!ping("web", "-I", "10.0.0.77", node.address("db")));
        const line = nft(node, "list", "chain", "inet", "tortie", "cali-raw-PREROUTING").split("\n")
          .find((text) => text.includes("spoofed source"));
        assert.match(line ?? "", /packets [1-9]/);
      });

      await t.step("an interface with the workloads' prefix that nobody knows is dropped", () => {
        const { host, namespaces: { out } } = node;
        inside(host, "ip", "link", "add", "caliunknown", "type", "veth", "peer", "name", "stray", "netns", out);
        inside(host, "ip", "link", "set", "caliunknown", "up");
        inside(host, "ip", "addr", "add", "10.9.9.1/30", "dev", "caliunknown");
        inside(out, "ip", "addr", "add", "10.9.9.2/30", "dev", "stray");
        inside(out, "ip", "link", "set", "stray", "up");
        assert.ok(!ping("out", "-I", "stray", "10.9.9.1"));
        inside(host, "ip", "link", "del", "caliunknown");
      });

      await t.step("what leaves the pools takes the host's address, what stays in a pool keeps its own", async () => {
        assert.equal(await seen("198.51.100.7"), "192.0.2.1");
        assert.equal(await seen("203.0.113.5"), node.address("web"));
      });

      await t.step("a floating IP leads to its workload, which sees itself by it", async () => {
        const endpoint = (await connectApi(node.socket).resources.list("WorkloadEndpoint"))
          .find((each) => each.kind === "WorkloadEndpoint" && each.spec.workload === "web");
        assert.ok(endpoint?.kind === "WorkloadEndpoint");
        const { resourceVersion: _, ...metadata } = endpoint.metadata as typeof endpoint.metadata & {
          resourceVersion?: string;
        };
        const ipNATs = [{ internalIP: node.address("web"), externalIP: "192.0.2.200" }];
        await node.apply(
          resource("FelixConfiguration", "default", { floatingIPs: "Enabled" }),
          { ...endpoint, metadata, spec: { ...endpoint.spec, ipNATs } },
        );
        inside(node.namespaces.out, "ip", "route", "replace", "192.0.2.200/32", "via", "192.0.2.1");
        const attempt = { protocol: "tcp", to: "192.0.2.200", port: 80, patience: 1000 } as const;
        await eventually("the floating IP answers", () => node.prober("out").try(attempt));
        assert.ok(await node.prober("db").try(attempt));
        assert.ok(await node.prober("web").try(attempt), "a workload reaches itself by its floating IP");
        await node.apply(resource("FelixConfiguration", "default", { floatingIPs: "Disabled" }));
        await eventually("it leads nowhere", async () => !await node.prober("db").try({ ...attempt, patience: 200 }));
      });
    }),
});

Deno.test({
  name: "a table that somebody flushes is mended within a second, and other tables are nobody's but their own",
  ignore: !isRoot,
  fn: () =>
    withPolicyNode(async (node) => {
      await node.apply(global("cut", { selector: "app == 'db'", ingress: [{ action: "Deny" }] }));
      await soon(node, { from: "web", to: "db" }, "deny");
      nft(node, "add table inet other; add chain inet other c; add rule inet other c counter");
      const others = nft(node, "list", "table", "inet", "other");
      const list = () => nft(node, "-s", "list", "table", "inet", "tortie");
      const whole = list();
      for (const command of [["flush", "table"], ["delete", "table"]]) {
        nft(node, ...command, "inet", "tortie");
        await within(1000, `${command.join(" ")} is mended`, () => {
          try {
            return list().length === whole.length;
          } catch (error) {
            // The table is not there yet.
            if (error instanceof assert.AssertionError) return false;
            throw error;
          }
        });
        await node.expect([{ from: "web", to: "db" }, "deny"], [{ from: "db", to: "web" }, "allow"]);
      }
      assert.equal(nft(node, "list", "table", "inet", "other"), others);
    }),
});

Deno.test({
  name: "a node that is killed and comes back judges by the old policy or the new one, never by none",
  ignore: !isRoot,
  fn: () =>
    withPolicyNode(async (node) => {
      const rounds = Number(Deno.env.get("POLICY_KILLS") ?? 6);
      // Always denied, by the old and the new; always allowed, by both; and one that changes.
      const policy = (open: number) =>
        global("turns", {
          selector: "app == 'db'",
          ingress: [{ action: "Allow", protocol: "TCP", destination: { ports: [443, open] } }],
        });
      await node.apply(policy(80));
      await soon(node, { from: "web", to: "db", port: 85 }, "deny");
      let isOver = false, tries = 0;
      const leaked: string[] = [], lost: string[] = [];
      const traffic = (async () => {
        for (const deadline = Date.now() + 30_000 + rounds * 10_000; !isOver && Date.now() < deadline; tries++) {
          const [denied, allowed] = await Promise.all([
            node.try({ from: "web", to: "db", port: 85 }, 100),
            node.try({ from: "job", to: "db", port: 443 }, 2000),
          ]);
          if (denied === "allow") leaked.push(new Date().toISOString());
          if (allowed === "deny") lost.push(new Date().toISOString());
        }
      })();
      try {
        for (let round = 0; round < rounds; round++) {
          const [before, after] = round % 2 === 0 ? [80, 8080] : [8080, 80];
          const applying = node.tortie(["apply", "-f", "-"], JSON.stringify(policy(after)));
          // Killed at another moment of the change each time.
          await new Promise((resolve) => setTimeout(resolve, (round * 7 % 20) * 25));
          await node.stop("kill");
          await applying;
          await node.start();
          await node.apply(policy(after));
          await soon(node, { from: "web", to: "db", port: after }, "allow");
          await node.expect([{ from: "web", to: "db", port: before }, "deny"]);
        }
      } finally {
        isOver = true;
        await traffic;
      }
      assert.ok(tries > rounds, `${tries} tries`);
      assert.deepEqual({ leaked, lost }, { leaked: [], lost: [] }, `of ${tries} tries`);
    }),
});

Deno.test({
  name:
    "failsafe ports stand whatever a host endpoint's policies say, and what nobody confirms is taken back, over a kill too",
  ignore: !isRoot,
  fn: (t) =>
    withPolicyNode(async (node) => {
      const { host } = node;
      const listener = new Deno.Command("ip", {
        args: ["netns", "exec", host, "python3", "-c", LISTEN],
        stdin: "piped",
        stdout: "piped",
      }).spawn();
      const reach = (port: number) => node.prober("out").try({ protocol: "tcp", to: "192.0.2.1", port, patience: 400 });
      try {
        await listener.stdout.getReader().read();
        assert.deepEqual([await reach(22), await reach(8022)], [true, true]);
        const lockOut = [
          resource("HostEndpoint", "a-eth0", { node: "a", interfaceName: "eth0", expectedIPs: ["192.0.2.1"] }, {
            labels: { host: "a" },
          }),
          global("closed", { selector: "host == 'a'", types: ["Ingress"], ingress: [{ action: "Deny" }] }),
        ].map((each) => `---\n${JSON.stringify(each)}\n`).join("");
        const closed = () => eventually("the port is closed", async () => !await reach(8022));
        const opened = () => eventually("the port is open again", () => reach(8022));

        await t.step("not confirmed in time: taken back by itself", async () => {
          const { code, stdout, stderr } = await node.tortie(["apply", "-f", "-", "--confirm", "3s"], lockOut);
          assert.equal(code, 0, stderr);
          assert.equal(stdout, "HostEndpoint a-eth0 created\nGlobalNetworkPolicy closed created\n");
          assert.match(stderr, /^tortie: all of this is taken back at \S+Z unless `tortie confirm` comes\n$/);
          await closed();
          assert.ok(await reach(22), "a failsafe port");
          for (const port of [22, 8022]) {
            const { verdict } = await connectApi(node.socket).policy.explain({
              from: node.address("out"),
              to: "a-eth0",
              protocol: "tcp",
              port,
            });
            assert.equal(verdict, port === 22 ? "allow" : "deny");
          }
          await opened();
          assert.equal((await node.tortie(["confirm"])).code, 1);
        });

        await t.step("killed in between: taken back by the next run", async () => {
          await node.run(["apply", "-f", "-", "--confirm", "4s"], lockOut);
          await closed();
          await node.stop("kill");
          await node.start();
          await opened();
          assert.equal((await connectApi(node.socket).resources.list("HostEndpoint")).length, 0);
        });

        await t.step("confirmed: it stands", async () => {
          await node.run(["apply", "-f", "-", "--confirm", "4s"], lockOut);
          assert.match(await node.run(["status"]), /^unconfirmed +HostEndpoint a-eth0, .* taken back at /m);
          assert.equal(
            await node.run(["confirm"]),
            "HostEndpoint a-eth0 confirmed\nGlobalNetworkPolicy closed confirmed\n",
          );
          await closed();
          assert.equal((await connectApi(node.socket).status()).unconfirmed, null);
        });
      } finally {
        await listener.stdin.close();
        await listener.status;
      }
    }),
});

/** Listens on both ports until its standard input ends. */
const LISTEN = `
import socket, sys
held = []
for port in (22, 8022):
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("192.0.2.1", port)); s.listen(128); held.append(s)
print("ready", flush=True)
sys.stdin.read()
`;
