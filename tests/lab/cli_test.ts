/**
 * The command line against a real node: every command that the contract names, its formats, its exit statuses, and the
 * members of the JSON that scripts rely on.
 */

import assert from "node:assert/strict";
import { parse, parseAllDocuments } from "yaml";
import { KINDS } from "../../src/model/kinds.ts";
import { eventually, type OneNode, withNode } from "./one_node.ts";
import { tortie } from "./fleet.ts";
import { runHere } from "../unit/cli/collecting_terminal.ts";

/** Types of members, by name; `null` may stand for any. */
type Shape = Readonly<Record<string, string>>;

/** Asserts that a value has each member with its type (more members are allowed). */
function assertShape(value: unknown, shape: Shape): void {
  assert.ok(typeof value === "object" && value !== null);
  for (const [name, type] of Object.entries(shape)) {
    const member = (value as Record<string, unknown>)[name];
    assert.notEqual(member, undefined, `${name} is missing in ${JSON.stringify(value)}`);
    const actual = Array.isArray(member) ? "array" : member === null ? "null" : typeof member;
    assert.ok(type.split("|").includes(actual), `${name} is ${actual}, not ${type}`);
  }
}

async function ok(node: OneNode, args: string[], input?: string): Promise<string> {
  const { code, stdout, stderr } = await node.tortie(args, input === undefined ? {} : { input });
  assert.equal(code, 0, `tortie ${args.join(" ")}: ${stderr}`);
  return stdout;
}

async function refused(node: OneNode, args: string[], message: RegExp, code = 1, input?: string): Promise<void> {
  const finished = await node.tortie(args, input === undefined ? {} : { input });
  assert.equal(finished.code, code, `tortie ${args.join(" ")}: ${finished.stdout}${finished.stderr}`);
  assert.match(finished.stderr, message);
  for (const line of finished.stderr.trimEnd().split("\n")) assert.match(line, /^tortie: /);
}

const reservation = `apiVersion: projectcalico.org/v3
kind: IPReservation
metadata: { name: kept }
spec: { reservedCIDRs: [172.17.8.7/32] }
`;
const two = `${reservation}---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: { name: extra }
spec: { peerIP: 192.168.100.2, asNumber: 65002 }
`;

Deno.test("the commands of the contract do what it says, against a running node", async (t) => {
  await withNode(async (node) => {
    await node.start();
    const [one] = node.workloads;

    await t.step("status shows the node on one screen, and as JSON", async () => {
      const text = await ok(node, ["status"]);
      for (const word of ["node", "configuration", "store", "BGP", "workloads", "dataplane"]) {
        assert.match(text, new RegExp(`^${word} +\\S`, "m"));
      }
      const status = await node.json("status");
      assertShape(status, { node: "object", store: "object", bgp: "object", workloads: "object", dataplane: "object" });
      assertShape(status.store, { type: "string", inSync: "boolean", revision: "number" });
      assertShape(status.bgp, { established: "number", configured: "number" });
      assertShape(status.workloads, { ready: "number", total: "number" });
      assertShape(status.dataplane, { inSync: "boolean", lastError: "string|null" });
      assert.deepEqual([status.node.name, status.node.ip, status.store.type], ["a", "192.168.100.100", "file"]);
    });

    await t.step("a workload is attached, listed, attached again, and detached", async () => {
      const attach = ["workload", "attach", "web", "--netns", one, "--label", "app=web", "-l", "tier=front"];
      const address = (await ok(node, attach)).trim();
      assert.match(address, /^172\.17\.8\.\d$/);
      assert.equal((await ok(node, attach)).trim(), address);
      const [row] = await node.json("workload", "list");
      assertShape(row, {
        name: "string",
        node: "string",
        interface: "string",
        addresses: "array",
        mac: "string",
        labels: "object",
        ready: "boolean",
      });
      assert.deepEqual([row.name, row.node, row.addresses, row.labels, row.ready], [
        "web",
        "a",
        [address],
        { app: "web", tier: "front" },
        true,
      ]);
      assert.match(row.interface, /^cali[0-9a-f]{11}$/);
      assert.match(await ok(node, ["workload", "list"]), /^NAME +INTERFACE +ADDRESSES .*\nweb +cali/);
      assert.match(await node.ip("route"), new RegExp(`^${address} dev ${row.interface} scope link`, "m"));
    });

    await t.step("every kind is known by its singular, plural and short names, in any case", async () => {
      for (const { kind, plural, shortNames } of KINDS) {
        const words = [kind, plural, ...shortNames, kind.toUpperCase()];
        const shown = await Promise.all(words.map(async (word) => {
          const { code, stdout, stderr } = await runHere(["get", word, "-o", "json", "--socket", node.socket]);
          assert.equal(code, 0, stderr);
          return stdout;
        }));
        for (const text of shown) {
          const list = JSON.parse(text);
          assert.deepEqual([list.apiVersion, list.kind], ["projectcalico.org/v3", `${kind}List`]);
          assert.ok(Array.isArray(list.items));
          assert.equal(text, shown[0]);
        }
      }
    });

    await t.step("get speaks table, wide, yaml, json and name, and yaml goes back into apply", async () => {
      assert.match(
        await ok(node, ["get", "ippools"]),
        /^NAME +CIDR +SELECTOR\npool-a +172\.17\.8\.0\/29 +name == 'a'\n/,
      );
      assert.match(await ok(node, ["get", "ippools", "-o", "wide"]), /^NAME +CIDR +SELECTOR +NAT +IPIPMODE/);
      assert.equal(await ok(node, ["get", "ippools", "-o", "name"]), "ippools/pool-a\nippools/pool-b\n");
      const json = JSON.parse(await ok(node, ["get", "ippools", "-o", "json"]));
      const yaml = await ok(node, ["get", "ippools", "-o", "yaml"]);
      assert.deepEqual(parse(yaml), json);
      const single = await node.json("get", "node", "a");
      assert.deepEqual([single.kind, single.metadata.name, single.metadata.labels], ["Node", "a", { rack: "one" }]);
      await ok(node, ["apply", "-f", "-"], reservation);
      const edited = (await ok(node, ["get", "ipreservations", "-o", "yaml"])).replace("8.7/32", "8.6/32");
      assert.equal(await ok(node, ["apply", "-f", "-"], edited), "IPReservation kept changed\n");
      await ok(node, ["delete", "ipreservation", "kept"]);
    });

    await t.step(
      "create, apply, replace and delete: each says what it did, and --dry-run what it would do",
      async () => {
        const file = `${node.dir}/two.yaml`;
        Deno.writeTextFileSync(file, two);
        const before = await node.standing();
        const dry = ["--dry-run"];
        assert.equal(
          await ok(node, ["apply", "-f", file, ...dry]),
          "IPReservation kept would be created\nBGPPeer extra would be created\n",
        );
        assert.equal(await node.standing(), before);
        await refused(node, ["replace", "-f", file], /no IPReservation kept/);
        assert.equal(await ok(node, ["create", "-f", file]), "IPReservation kept created\nBGPPeer extra created\n");
        await refused(node, ["create", "-f", file], /IPReservation kept exists; use apply or replace/);
        assert.equal(await ok(node, ["apply", "-f", file]), "IPReservation kept unchanged\nBGPPeer extra unchanged\n");
        assert.equal(
          await ok(node, ["replace", "-f", "-", ...dry], two.replace("65002", "65003")),
          "IPReservation kept would be unchanged\nBGPPeer extra would be changed\n",
        );
        assert.equal(
          await ok(node, ["replace", "-f", "-"], two.replace("65002", "65003")),
          "IPReservation kept unchanged\nBGPPeer extra changed\n",
        );
        assert.equal((await node.json("get", "bgppeer", "extra")).spec.asNumber, 65003);
        assert.equal(await ok(node, ["delete", "bgppeer", "extra", ...dry]), "BGPPeer extra would be deleted\n");
        assert.equal(await ok(node, ["delete", "-f", file]), "IPReservation kept deleted\nBGPPeer extra deleted\n");
        await refused(node, ["delete", "-f", file], /no IPReservation kept/);
        assert.equal(await ok(node, ["delete", "-f", file, "--skip-not-exists"]), "");
        assert.equal(await node.standing(), before);
      },
    );

    await t.step("what the configuration file holds is changed there", async () => {
      await refused(node, ["delete", "bgppeer", "tor"], /comes from the configuration file; edit .*tortie\.yaml:\d+/);
    });

    await t.step("--watch prints each change as it comes, in each format", async () => {
      for (
        const [output, added] of [
          ["table", /^added +ipreservations\/kept\n/],
          ["name", /^ipreservations\/kept\n/],
          ["json", /^\{"type":"added","resource":\{.*"name":"kept"/],
          ["yaml", /^---\ntype: added\nresource:\n/],
        ] as const
      ) {
        const [program = "", ...args] = tortie;
        const child = new Deno.Command(program, {
          args: [...args, "get", "ipreservations", "--watch", "-o", output],
          env: { TORTIE_SOCKET: node.socket },
          stdin: "null",
          stdout: "piped",
          stderr: "null",
        }).spawn();
        let printed = "";
        const reading = (async () => {
          for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) printed += text;
        })();
        await ok(node, ["create", "-f", "-"], reservation);
        await eventually(`the watch as ${output} shows what was created`, () => added.test(printed));
        await ok(node, ["delete", "ipreservation", "kept"]);
        await eventually("the watch shows more", () => printed.match(/kept/g)?.length === 2);
        if (output === "yaml") {
          const types = parseAllDocuments(printed).filter((document) => document.contents !== null)
            .map((document) => document.get("type"));
          assert.deepEqual(types, ["added", "deleted"]);
        }
        child.kill("SIGTERM");
        await child.status;
        await reading;
      }
    });

    await t.step("ipam shows pools, blocks and addresses, checks them, and is configured", async () => {
      const [pool] = await node.json("ipam", "show");
      assertShape(pool, { name: "string", cidr: "string", size: "number", used: "number", free: "number" });
      assert.deepEqual(await node.json("ipam", "show", "--blocks"), [
        { cidr: "172.17.8.0/29", affinity: "host:a", used: 1, free: 7, borrowed: 0 },
      ]);
      assert.match(await ok(node, ["ipam", "show"]), /^POOL +CIDR +SIZE +USED +FREE\npool-a /);
      assert.match(
        await ok(node, ["ipam", "show", "--blocks"]),
        /^BLOCK +AFFINITY +USED +FREE +BORROWED\n172\.17\.8\.0\/29 /,
      );
      const [{ addresses: [address] }] = await node.json("workload", "list");
      assertShape(await node.json("ipam", "show", "--ip", address), { ip: "string", assigned: "boolean" });
      assert.match(await ok(node, ["ipam", "show", "--ip", address]), /workload/);
      assert.deepEqual(await node.json("ipam", "check"), []);
      assert.equal(await ok(node, ["ipam", "check"]), "addresses and workloads agree\n");
      await refused(node, ["ipam", "release", "--ip", address], /is used by .*; detach the workload instead$/m);
      await refused(node, ["ipam", "release", "--ip", "172.17.8.6"], /is not assigned/);
      assert.equal(
        await ok(node, ["ipam", "configure", "--strict-affinity", "true", "--max-blocks-per-host", "4"]),
        "strictAffinity: true\nautoAllocateBlocks: true\nmaxBlocksPerHost: 4\n",
      );
      assert.deepEqual(await node.json("ipam", "configure"), {
        strictAffinity: true,
        autoAllocateBlocks: true,
        maxBlocksPerHost: 4,
      });
      await refused(node, ["ipam", "configure", "--strict-affinity", "false"], /a limit of blocks per host needs/);
      await ok(node, ["ipam", "configure", "--strict-affinity", "false", "--max-blocks-per-host", "0"]);
    });

    await t.step("bgp shows peers and routes, of one peer too, and explains", async () => {
      const peers = await node.json("bgp", "peers");
      assert.deepEqual(peers.map(({ name }: { name: string }) => name).sort(), ["global.tor", "mesh.b"]);
      for (const peer of peers) {
        assertShape(peer, {
          peer: "string",
          name: "string",
          as: "number",
          localAs: "number",
          state: "string",
          since: "string",
          received: "number",
          accepted: "number",
          advertised: "number",
          lastError: "string|null",
          rrClient: "boolean",
        });
        assert.equal(new Date(peer.since).toISOString(), peer.since);
      }
      assert.match(await ok(node, ["bgp", "peers"]), /^PEER +NAME +AS +STATE +SINCE /);
      let routes: { prefix: string }[] = [];
      await eventually("the block is learned", async () => {
        routes = await node.json("bgp", "routes");
        return routes.some(({ prefix }) => prefix === "172.17.8.0/29");
      });
      for (const route of routes) {
        assertShape(route, {
          prefix: "string",
          best: "boolean",
          nextHop: "string|null",
          from: "string|null",
          asPath: "array",
          origin: "string",
          localPref: "number|null",
          med: "number|null",
          communities: "array",
          originatorId: "string|null",
          clusterList: "array",
          stale: "boolean",
          why: "string",
        });
      }
      assert.equal((await node.json("bgp", "routes", "172.17.8.0/29")).length, 1);
      assert.match(
        await ok(node, ["bgp", "routes"]),
        /PREFIX +NEXT HOP +FROM .*\n(.*\n)*\* +172\.17\.8\.0\/29 +- +local /,
      );
      for (const name of ["tor", "global.tor", "192.168.100.1"]) {
        assert.deepEqual(await node.json("bgp", "routes", "--received", name), []);
        assert.deepEqual(await node.json("bgp", "routes", "--advertised", name), []);
      }
      await refused(node, ["bgp", "routes", "--received", "nobody"], /no BGP peer "nobody": there are .*global\.tor/);
      await refused(node, ["bgp", "routes", "--received", "tor", "--advertised", "tor"], /name one/, 2);
      assert.match(
        await ok(node, ["bgp", "explain", "172.17.8.3"]),
        /^172\.17\.8\.0\/29 \(covers 172\.17\.8\.3\)\n +best /,
      );
      assertShape(await node.json("bgp", "explain", "172.17.8.0/29"), {
        query: "string",
        prefix: "string",
        paths: "array",
      });
      await refused(node, ["bgp", "explain", "203.0.113.1"], /no route covers 203\.0\.113\.1/);
      await refused(node, ["bgp", "explain", "nonsense"], /neither a prefix nor an address/);
    });

    await t.step("validate checks a file without a node", async () => {
      assert.equal(await ok(node, ["validate", "-f", node.config]), `${node.config}: valid, 5 resources\n`);
      assert.equal(await ok(node, ["validate", "-f", "-"], two), "standard input: valid, 2 resources\n");
      await refused(
        node,
        ["validate", "-f", "-"],
        /standard input:\d+:\d+: .*peerIp/,
        1,
        two.replace("peerIP", "peerIp"),
      );
    });

    await t.step("the socket is found by flag, else by environment", async () => {
      const elsewhere = { TORTIE_SOCKET: "/nonexistent/tortie.sock" };
      assert.equal((await node.tortie(["status"], { env: elsewhere })).code, 1);
      assert.equal((await node.tortie(["status", "--socket", node.socket], { env: elsewhere })).code, 0);
      assert.equal(Deno.statSync(node.socket).mode! & 0o777, 0o600);
    });

    await t.step("a reader that has seen enough gets no complaint", async () => {
      const [program = "", ...args] = tortie;
      const quoted = [program, ...args].map((word) => `'${word}'`).join(" ");
      const { stderr, stdout } = await new Deno.Command("bash", {
        args: ["-c", `exec 3>&1; { ${quoted} get tiers -o yaml; echo "$?" >&3; } | true`],
        env: { TORTIE_SOCKET: node.socket },
      }).output();
      assert.equal(new TextDecoder().decode(stderr), "");
      assert.match(new TextDecoder().decode(stdout), /^(0|141)\n$/);
    });

    await t.step("a detached workload is gone, and detaching it again is no error", async () => {
      await ok(node, ["workload", "detach", "web"]);
      assert.deepEqual(await node.json("workload", "list"), []);
      await ok(node, ["workload", "detach", "web"]);
      assert.doesNotMatch(await node.ip("-br", "link"), /cali/);
    });

    await t.step("a watch says that the node has stopped", async () => {
      const [program = "", ...args] = tortie;
      const child = new Deno.Command(program, {
        args: [...args, "get", "nodes", "--watch"],
        env: { TORTIE_SOCKET: node.socket },
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
      const stdout = child.stdout.getReader();
      assert.match(new TextDecoder().decode((await stdout.read()).value), /^added +nodes\//);
      await node.stop();
      while (!(await stdout.read()).done);
      assert.match(await new Response(child.stderr).text(), /^tortie: the node has ended the watch.*\n$/);
      assert.equal((await child.status).code, 1);
    });
  });
});
