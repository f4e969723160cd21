/**
 * What a person gets wrong: each mistake is told in lines that start with "tortie: " and say what is wrong and how to
 * mend it, with the contract's exit status; the kernel and the store stay as they were, and a running node goes on.
 */

import assert from "node:assert/strict";
import type { Finished } from "./fleet.ts";
import { configuration, eventually, type OneNode, type RunOptions, withNode } from "./one_node.ts";

/** Asserts status and message, and that each line of standard error bears the program's name. */
function assertRefused(what: string, { code, stdout, stderr }: Finished, message: RegExp, status = 1): void {
  assert.equal(code, status, `${what}: ${stdout}${stderr}`);
  assert.match(stderr, message, `${what}: ${stderr}`);
  for (const line of stderr.trimEnd().split("\n")) assert.match(line, /^tortie: \S/, what);
  assert.doesNotMatch(stderr, /^ +at .*:\d+:\d+\)?$/m, what);
}

/** Links, addresses and routes of the host, without what ages by itself. */
async function kernelOf(node: OneNode): Promise<string> {
  const shown = await Promise.all(["link", "address", "route"].map((what) => node.ip("-j", what)));
  return shown.join("\n").replaceAll(/"(valid|preferred)_life_time":\d+/g, "");
}

/** Runs `tortie run` in the host's namespace; it has to end by itself. */
function startIn(node: OneNode, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const under = ["ip", "netns", "exec", node.host, "timeout", "20", ...options.under ?? []];
  return node.tortie(["run", ...args], { ...options, under });
}

/** A program in the host's namespace that listens on the ports. */
async function listen(node: OneNode, ports: readonly number[]): Promise<{ stop(): Promise<void> }> {
  const program =
    `for (const port of [${ports}]) Deno.listen({ port }); console.log("listens"); setTimeout(() => {}, 6e4)`;
  const child = new Deno.Command("ip", {
    args: ["netns", "exec", node.host, Deno.execPath(), "eval", program],
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const stdout = child.stdout.getReader();
  assert.match(new TextDecoder().decode((await stdout.read()).value), /listens/);
  return {
    stop: async () => {
      child.kill("SIGKILL");
      while (!(await stdout.read()).done);
      await child.status;
    },
  };
}

const resource = (kind: string, name: string, spec: string) =>
  `---\napiVersion: projectcalico.org/v3\nkind: ${kind}\nmetadata: { name: ${name} }\nspec: ${spec}\n`;

Deno.test("a node that is started with something wrong says so, changes nothing, and ends", async (t) => {
  await withNode(async (node) => {
    const { dir, config } = node;
    const right = configuration(dir);
    const isUntouched = async (before: string) => {
      assert.equal(await kernelOf(node), before);
      assert.throws(() => Deno.statSync(`${dir}/state`), Deno.errors.NotFound);
      assert.throws(() => Deno.statSync(node.socket), Deno.errors.NotFound);
    };
    const before = await kernelOf(node);

    const files: readonly [string, string | Uint8Array, RegExp][] = [
      ["a wrong key", right.replace("stateDir:", "statedir:"), /tortie\.yaml:1:\d+: .*statedir.*stateDir/],
      ["a wrong type", `metrics: { listen: [9091] }\n${right.slice(right.indexOf("---"))}`, /:1:\d+: metrics\.listen/],
      ["a wrong level", right.replace("---", "log: { level: loud }\n---"), /:2:\d+: log\.level: .*debug.*info/],
      [
        "a wrong address",
        right.replace("192.168.100.100/24 } }", "192.168.300.1/24 } }"),
        /:6:\d+: spec\.bgp\.ipv4Address/,
      ],
      ["a wrong selector", right.replace("name == 'a'", "name = 'a'"), /:16:\d+: spec\.nodeSelector/],
      ["an unknown kind", right.replace("kind: BGPPeer", "kind: BGPPear"), /BGPPear.*BGPPeer/],
      ["overlapping pools", right.replace("172.17.9.0/24", "172.17.8.0/24"), /overlaps/],
      [
        "a pool that two nodes could allocate from",
        right.replace(`, nodeSelector: "name == 'a'"`, ""),
        /pool-a|spec\.nodeSelector.*(shared store|etcd)/,
      ],
      ["text that is not YAML", "node: { name: [\n", /tortie\.yaml:\d+:\d+: /],
      ["bytes that are not UTF-8", new Uint8Array([0x6e, 0xff, 0xfe]), /not UTF-8/],
      [
        "a store that is not there yet",
        right.replace("---", "datastore: { type: etcd, endpoints: ['https://192.0.2.1:2379'] }\n---"),
        /etcd/,
      ],
    ];
    for (const [what, content, message] of files) {
      await t.step(what, async () => {
        Deno.writeFileSync(config, typeof content === "string" ? new TextEncoder().encode(content) : content);
        assertRefused(what, await startIn(node, ["--config", config]), message);
        await isUntouched(before);
      });
    }

    await t.step("several mistakes at once: a line for each", async () => {
      Deno.writeTextFileSync(
        config,
        right.replace("stateDir:", "statedir:").replace("asNumber: 65000", "asNumber: many"),
      );
      const finished = await startIn(node, ["--config", config]);
      assertRefused("two mistakes", finished, /statedir/);
      assert.match(finished.stderr, /\ntortie: .*tortie\.yaml:26:\d+: spec\.asNumber/);
      await isUntouched(before);
    });

    await t.step("no such file, a directory, an unknown flag", async () => {
      assertRefused(
        "no file",
        await startIn(node, ["--config", `${dir}/none.yaml`]),
        /none\.yaml: there is no such file/,
      );
      assertRefused("a directory", await startIn(node, ["--config", dir]), /it is a directory/);
      assertRefused("a flag", await startIn(node, ["--confg", config]), /--confg/, 2);
      await isUntouched(before);
    });

    Deno.writeTextFileSync(config, right);
    await t.step("without root", async () => {
      const started = await startIn(node, ["--config", config], { under: ["unshare", "--user"] });
      assertRefused("no root", started, /needs root.*sudo/);
      await isUntouched(before);
    });

    await t.step("as root without the right to change the network", async () => {
      const under = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"];
      assertRefused("no CAP_NET_ADMIN", await startIn(node, ["--config", config], { under }), /CAP_NET_ADMIN/);
      await isUntouched(before);
    });

    await t.step("ports that others have", async () => {
      const others = await listen(node, [179, 9999]);
      try {
        assertRefused("BGP", await startIn(node, ["--config", config]), /port 179 for BGP is taken.*listenPort/);
        const moved = `${right.replace("---", "metrics: { listen: 127.0.0.1:9999 }\n---")}${
          resource("BGPConfiguration", "default", "{ listenPort: 1790 }")
        }`;
        Deno.writeTextFileSync(config, moved);
        assertRefused(
          "metrics",
          await startIn(node, ["--config", config]),
          /port 9999 for metrics is taken.*metrics\.listen/,
        );
        Deno.writeTextFileSync(config, moved.replace("127.0.0.1:9999", "192.0.2.7:9999"));
        assertRefused("metrics elsewhere", await startIn(node, ["--config", config]), /192\.0\.2\.7.*metrics/);
        await isUntouched(before);
      } finally {
        await others.stop();
        Deno.writeTextFileSync(config, right);
      }
    });

    await t.step("something that is not a socket in the socket's place", async () => {
      Deno.writeTextFileSync(node.socket, "mine");
      assertRefused("no socket", await startIn(node, ["--config", config]), /not a socket; move it away/);
      assert.equal(Deno.readTextFileSync(node.socket), "mine");
      assert.equal(await kernelOf(node), before);
      Deno.removeSync(node.socket);
    });

    await t.step("a state directory that cannot be one", async () => {
      Deno.removeSync(`${dir}/state`, { recursive: true });
      Deno.writeTextFileSync(`${dir}/state`, "a file");
      assertRefused("a file as directory", await startIn(node, ["--config", config]), new RegExp(`${dir}/state`));
      assert.equal(await kernelOf(node), before);
      Deno.removeSync(`${dir}/state`);
    });

    await t.step("a second node with the state directory, or with the socket, of a first that goes on", async () => {
      const first = await node.start();
      const running = await node.standing();
      const other = `${dir}/other.yaml`;
      Deno.writeTextFileSync(
        other,
        `${right.replace("name: a,", "name: b,").replace("tortie.sock", "other.sock")}${
          resource("BGPConfiguration", "default", "{ listenPort: 1790 }")
        }`.replace("---", "metrics: { listen: off }\n---"),
      );
      const state = await startIn(node, ["--config", other]);
      assertRefused("the state directory", state, new RegExp(`node "a" \\(pid ${first.pid}\\) has it open; stop it`));
      Deno.writeTextFileSync(
        other,
        Deno.readTextFileSync(other).replace("/state", "/state2").replace("other.sock", "tortie.sock"),
      );
      assertRefused("the socket", await startIn(node, ["--config", other]), /another node listens there/);
      assert.equal(await node.standing(), running);
      assert.ok(node.isRunning());
    });
  });
});

Deno.test("a command with something wrong says so, changes nothing, and the node goes on", async (t) => {
  await withNode(async (node) => {
    await node.start();
    const [web, free] = node.workloads;
    assert.equal((await node.tortie(["workload", "attach", "web", "--netns", web])).code, 0);
    await node.ip("tuntap", "add", "tap0", "mode", "tap");
    const [{ addresses: [taken] }] = await node.json("workload", "list");
    const before = await node.standing();
    const attach = (...args: string[]) => ["workload", "attach", ...args];

    const commands: readonly [string, readonly string[], RegExp, number?, (string | Uint8Array<ArrayBuffer>)?][] = [
      ["an unknown command", ["frobnicate"], /no command "frobnicate"/, 2],
      ["a slip in a command", ["statsu"], /did you mean `status`/, 2],
      ["an unknown command below another", ["bgp", "pears"], /did you mean `peers`/, 2],
      ["an unknown flag", ["status", "--frob"], /--frob/, 2],
      ["a value that a flag does not take", ["get", "nodes", "-o", "xml"], /xml.*table\|wide\|yaml\|json\|name/, 2],
      ["a word too many", ["status", "now"], /"now"/, 2],
      ["a word too few", ["workload", "detach"], /NAME/, 2],
      ["an unknown kind", ["get", "nodez"], /unknown kind "nodez": did you mean node/, 2],
      ["nothing of that name", ["get", "node", "zz"], /no Node "zz"/],
      ["an empty name", ["get", "node", ""], /name/],
      ["no node at the socket", ["status", "--socket", `${node.dir}/none`], /is `tortie run` running\?/],
      ["a socket that is none", ["status", "--socket", node.config], /Cannot reach the node at/],
      ["no place", attach("x"), /one of --netns, --tap and --interface/, 2],
      ["two places", attach("x", "--netns", free, "--tap", "tap0"), /one of --netns, --tap and --interface/, 2],
      ["a missing namespace", attach("x", "--netns", "ttH-none"), /no network namespace ttH-none .*create it first/],
      ["a namespace that is a file", attach("x", "--netns", node.config), /tortie\.yaml/],
      ["a missing tap", attach("x", "--tap", "tap9"), /no interface tap9 on this host; create it first/],
      ["a missing interface", attach("x", "--interface", "eth9"), /no interface eth9 on this host; create it first/],
      ["an interface as tap", attach("x", "--tap", "eth0"), /eth0 is not a tap; give it as an interface/],
      ["a namespace that a workload has", attach("x", "--netns", web), /already has an interface eth0/],
      ["the host's own namespace", attach("x", "--netns", node.host), /own network namespace/],
      ["a wrong workload name", attach("no good!", "--netns", free), /"no good!": a name is/],
      ["a wrong label", attach("x", "--netns", free, "--label", "app"), /wrong label "app": write KEY=VALUE/, 2],
      [
        "another label for a workload that stands",
        attach("web", "--netns", web, "--label", "a=b"),
        /label.*detach it first/,
      ],
      ["another namespace for it", attach("web", "--netns", free), /detach it first/],
      ["no address", attach("x", "--netns", free, "--ip", "here"), /"here" is not an IP address/],
      ["an address of no pool", attach("x", "--netns", free, "--ip", "203.0.113.9"), /no pool holds it.*pool-a/],
      ["an address that is taken", attach("x", "--netns", free, "--ip", taken), /in use .*web/],
      [
        "an address of another node's pool",
        attach("x", "--netns", free, "--ip", "172.17.9.5"),
        /pool-b.*does not select node a: only a shared store \(etcd\)/,
      ],
      ["an IPv6 address without such a pool", attach("x", "--netns", free, "--ip", "fd00::9"), /fd00::9/],
      ["an address to release that is none", ["ipam", "release", "--ip", "x"], /"x" is not an IP address/],
      ["an address to release that is used", ["ipam", "release", "--ip", taken], /detach the workload instead$/m],
      ["a limit that is no number", ["ipam", "configure", "--max-blocks-per-host", "-1"], /-1/, 2],
      ["nothing to delete", ["delete"], /-f FILE, or a kind and names/, 2],
      ["a file that is not there", ["apply", "-f", `${node.dir}/none`], /there is no such file/],
      ["a directory", ["apply", "-f", node.dir], /it is a directory/],
      ["no resource", ["apply", "-f", "-"], /holds no resource/, 1, "# nothing\n"],
      ["settings of a node", ["apply", "-f", node.config], /a node's own settings/],
      ["not UTF-8", ["apply", "-f", "-"], /standard input: it is not UTF-8/, 1, new Uint8Array([0xff, 0xfe, 0x41])],
      [
        "a wrong key",
        ["apply", "-f", "-"],
        /standard input:5:\d+: .*peerIp.*peerIP/,
        1,
        resource("BGPPeer", "x", "{ peerIp: 192.0.2.1 }"),
      ],
      [
        "a wrong type",
        ["apply", "-f", "-"],
        /asNumber/,
        1,
        resource("BGPPeer", "x", "{ peerIP: 192.0.2.1, asNumber: [] }"),
      ],
      [
        "a wrong address",
        ["apply", "-f", "-"],
        /peerIP/,
        1,
        resource("BGPPeer", "x", "{ peerIP: 192.0.2.256, asNumber: 1 }"),
      ],
      [
        "an overlapping pool",
        ["apply", "-f", "-"],
        /overlaps 172\.17\.8\.0\/29 of the pool pool-a/,
        1,
        resource("IPPool", "x", `{ cidr: 172.17.8.0/24, nodeSelector: "name == 'a'" }`),
      ],
      [
        "a pool of two nodes",
        ["apply", "-f", "-"],
        /etcd|shared store/,
        1,
        resource("IPPool", "x", `{ cidr: 172.18.0.0/24 }`),
      ],
      [
        "a wrong selector",
        ["apply", "-f", "-"],
        /nodeSelector/,
        1,
        resource("IPPool", "x", `{ cidr: 172.18.0.0/24, nodeSelector: "name ==" }`),
      ],
      ["a shell that is none", ["completions", "tcsh"], /bash, zsh or fish/, 2],
      ["taking down what runs", ["down"], /stop it first/],
      ["taking down by configuration", ["down", "--config", node.config], /stop it first/],
      ["a lab that is not up", ["lab", "status", "--name", "none"], /bring it up with `tortie lab up`/],
      ["a lab's wrong name", ["lab", "up", "--name", "no/slash"], /wrong lab name/],
      ["a lab of nothing", ["lab", "up", "--name", "x", "--config", `${node.dir}/none`], /there is no such file/],
      ["a lab's wrong file", ["lab", "up", "--name", "x", "--config", node.config], /tortie\.yaml/],
    ];
    for (const [what, args, message, status, input] of commands) {
      await t.step(what, async () => {
        assertRefused(what, await node.tortie(args, input === undefined ? {} : { input }), message, status);
      });
    }
    await t.step("nothing of that has changed anything", async () => {
      assert.ok(node.isRunning());
      assert.equal(await node.standing(), before);
    });

    await t.step("without root the socket stays closed", async () => {
      const { code, stderr } = await node.tortie(["status"], { under: ["unshare", "--user"] });
      // Root's files stay root's own in an unmapped user namespace: there the socket opens.
      if (code !== 0) assertRefused("no root", { code, stdout: "", stderr }, /run this as root/);
      assertRefused(
        "down without root",
        await node.tortie(["down"], { under: ["unshare", "--user"] }),
        /needs root/,
      );
    });

    await t.step("a full pool", async () => {
      for (let i = 1; i < 8; i++) {
        await node.ip("tuntap", "add", `vm${i}`, "mode", "tap");
        const { code, stderr } = await node.tortie(attach(`vm${i}`, "--tap", `vm${i}`));
        assert.equal(code, 0, stderr);
      }
      const full = await node.standing();
      assertRefused("a full pool", await node.tortie(attach("x", "--netns", free)), /pool-a.*172\.17\.8\.0\/29/);
      assert.equal(await node.standing(), full);
    });

    await t.step(
      "an edit of the file that is wrong is refused whole, told by reload and status, and mended",
      async () => {
        const stands = await node.standing();
        const right = Deno.readTextFileSync(node.config);
        Deno.writeTextFileSync(node.config, right.replace("asNumber: 65000", "asNumber: many"));
        assertRefused("reload", await node.tortie(["reload"]), /tortie\.yaml:26:\d+: spec\.asNumber/);
        assert.match((await node.tortie(["status"])).stdout, /^configuration +REFUSED: .*spec\.asNumber/m);
        assert.equal(await node.standing(), stands);
        Deno.writeTextFileSync(node.config, right);
        const { code, stderr } = await node.tortie(["reload"]);
        assert.deepEqual([code, stderr], [0, ""]);
        await eventually(
          "the configuration is in force",
          async () => (await node.json("status")).config.error === null,
        );
        assert.equal(await node.standing(), stands);
      },
    );
  });
});
