/**
 * `tortie run` as its surroundings see it: signals, the service manager's socket, the log's formats, metrics, an empty
 * configuration file; and `tortie down`, which takes off what bears our mark and nothing else.
 */

import assert from "node:assert/strict";
import { cstring, libc } from "../../src/linux/libc.ts";
import { tortie } from "./fleet.ts";
import { configuration, eventually, finish, type OneNode, withNode } from "./one_node.ts";

const AF_UNIX = 1, SOCK_DGRAM = 2, MSG_DONTWAIT = 0x40;

/** What a service manager listens on: a datagram socket bound to the path. */
function serviceManager(path: string): { readonly heard: string[]; hear(): string[]; close(): void } {
  const fd = libc().socket(AF_UNIX, SOCK_DGRAM, 0);
  const name = cstring(path);
  const address = new Uint8Array(2 + name.length);
  address[0] = AF_UNIX;
  address.set(name, 2);
  assert.equal(libc().bind(fd, address, address.length), 0);
  const buffer = new Uint8Array(1024);
  const heard: string[] = [];
  const hear = () => {
    for (let i = 0; i < 100; i++) {
      const size = libc().recv(fd, buffer, buffer.length, MSG_DONTWAIT);
      if (size < 0) break;
      heard.push(...new TextDecoder().decode(buffer.subarray(0, size)).split("\n"));
    }
    return heard;
  };
  // Its queue is short, and what does not fit is lost.
  const reading = setInterval(hear, 20);
  return {
    heard,
    hear,
    close: () => {
      clearInterval(reading);
      libc().close(fd);
    },
  };
}

/** Links, addresses, routes, neighbours and the sysctls of the interfaces, as the kernel has them. */
async function dataplane(node: OneNode): Promise<string> {
  const shown = await Promise.all([
    node.ip("-br", "link"),
    node.ip("-br", "address"),
    node.ip("route", "show", "table", "all"),
    node.ip("-6", "route", "show", "table", "all"),
    node.ip("neighbour", "show", "nud", "permanent"),
    finish([
      "ip",
      "netns",
      "exec",
      node.host,
      "sh",
      "-c",
      "cd /proc/sys/net/ipv4/conf && grep . */forwarding */proxy_arp */rp_filter */route_localnet",
    ]).then(({ stdout }) => stdout),
  ]);
  return shown.map((text) => text.replaceAll(/ (linkdown|expires \S+)/g, "")).join("\n");
}

/** Fetches a URL from inside the host's namespace: "status type\nbody", or "" where nobody listens. */
async function fetchInside(node: OneNode, url: string): Promise<string> {
  const program = `const r = await fetch("${url}"); console.log(r.status, r.headers.get("content-type")); ` +
    `console.log(await r.text());`;
  const { stdout } = await finish(["ip", "netns", "exec", node.host, Deno.execPath(), "eval", program]);
  return stdout;
}

/** The samples of a text in Prometheus' exposition format; every line must be one of that format. */
function parsePrometheus(text: string): Map<string, number> {
  const samples = new Map<string, number>();
  const typed = new Set<string>();
  for (const line of text.trimEnd().split("\n").filter((line) => line !== "")) {
    const comment = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line);
    if (comment) {
      if (comment[1] === "TYPE") {
        assert.match(comment[3] ?? "", /^(counter|gauge|histogram|summary|untyped)$/);
        typed.add(comment[2] ?? "");
      }
      continue;
    }
    const sample =
      /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\.)*",?)*\})? (-?[0-9.e+]+|NaN|[+-]Inf)$/
        .exec(line);
    assert.ok(sample, `not a line of Prometheus' format: ${line}`);
    assert.ok(typed.has(sample[1] ?? ""), `${line} comes before its TYPE`);
    samples.set(`${sample[1]}${sample[2] ?? ""}`, Number(sample[3]));
  }
  return samples;
}

Deno.test("a node is told by signals, tells the service manager, and leaves the dataplane standing", async (t) => {
  await withNode(async (node) => {
    const socket = `${node.dir}/notify`;
    const manager = serviceManager(socket);
    try {
      const process = await node.start({ NOTIFY_SOCKET: socket, WATCHDOG_USEC: "200000" });
      await t.step("it says READY once it runs, and that it is alive from then on", async () => {
        await eventually("READY=1", () => manager.hear().includes("READY=1"));
        assert.match(manager.heard.find((line) => line.startsWith("STATUS=")) ?? "", /node a/);
        await eventually("three beats", () => manager.hear().filter((line) => line === "WATCHDOG=1").length >= 3);
      });

      await t.step("the log is JSON where nobody watches: a line an event, with time, level and message", () => {
        const lines = node.log().trimEnd().split("\n").map((line) => JSON.parse(line));
        assert.ok(lines.some(({ message, node }) => message === "the node runs" && node === "a"));
        for (const line of lines) {
          assert.match(line.level, /^(DEBUG|INFO|WARN|ERROR)$/);
          assert.ok(!Number.isNaN(Date.parse(line["@timestamp"])));
        }
      });

      const { stdout: attached } = await node.tortie(["workload", "attach", "web", "--netns", node.workloads[0]]);
      assert.match(attached, /^172\.17\.8\.\d\n$/);

      await t.step("an edit of the file is taken by itself, and SIGHUP reads what no watch can see", async () => {
        const peers = async () => (await node.json("get", "bgppeers")).items.length;
        const more = (name: string) =>
          `---\napiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: { name: ${name} }\n` +
          `spec: { peerIP: 192.168.100.7${name.length}, asNumber: 65007 }\n`;
        const text = Deno.readTextFileSync(node.config);
        // As editors do it: a new file, renamed over the old one.
        Deno.writeTextFileSync(`${node.config}.new`, text + more("x"));
        Deno.renameSync(`${node.config}.new`, node.config);
        await eventually("the new peer is there", async () => await peers() === 2);
        // Through a symbolic link the edit happens in a folder that is not watched.
        Deno.mkdirSync(`${node.dir}/elsewhere`);
        Deno.renameSync(node.config, `${node.dir}/elsewhere/file.yaml`);
        Deno.symlinkSync(`${node.dir}/elsewhere/file.yaml`, node.config);
        await eventually("the link is read", async () => (await node.json("status")).config.error === null);
        const { loadedAt } = (await node.json("status")).config;
        Deno.writeTextFileSync(`${node.dir}/elsewhere/file.yaml`, text + more("x") + more("yy"));
        Deno.kill(process.pid, "SIGHUP");
        await eventually("the second new peer is there", async () => await peers() === 3);
        assert.ok((await node.json("status")).config.loadedAt > loadedAt);
        assert.ok(node.isRunning());
      });

      await t.step(
        "SIGTERM ends it within seconds with STOPPING and status 0, and nothing in the kernel changes",
        async () => {
          const before = await dataplane(node);
          assert.match(before, /^172\.17\.8\.\d dev cali/m);
          assert.match(before, /^blackhole 172\.17\.8\.0\/29 proto 80/m);
          Deno.kill(process.pid, "SIGTERM");
          await eventually("the node ends", () => !node.isRunning());
          assert.ok(manager.hear().includes("STOPPING=1"));
          assert.equal(await dataplane(node), before);
          assert.throws(() => Deno.statSync(node.socket), Deno.errors.NotFound);
          assert.match(node.log().trimEnd().split("\n").at(-1) ?? "", /the dataplane is left standing/);
          // What ends by itself with status 0: a second one, stopped by SIGINT.
          const [program = "", ...args] = tortie;
          const child = new Deno.Command("ip", {
            args: ["netns", "exec", node.host, program, ...args, "run", "--config", node.config],
            stdin: "null",
            stdout: "null",
            stderr: "piped",
          }).spawn();
          const stderr = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
          let printed = "";
          while (!printed.includes("the node runs")) {
            const { value, done } = await stderr.read();
            assert.ok(!done, printed);
            printed += value;
          }
          child.kill("SIGINT");
          while (!(await stderr.read()).done);
          assert.equal((await child.status).code, 0);
          assert.equal(await dataplane(node), before);
        },
      );
    } finally {
      manager.close();
    }
  });
});

Deno.test("taking a host down removes what bears our mark and leaves what others made", async () => {
  await withNode(async (node) => {
    for (
      const args of [
        ["link", "add", "other0", "type", "veth", "peer", "name", "other1"],
        ["route", "add", "203.0.113.0/24", "via", "192.168.100.9", "proto", "static"],
        ["route", "add", "blackhole", "198.51.100.0/24", "proto", "bird"],
        ["neighbour", "add", "192.168.100.9", "lladdr", "02:00:00:00:00:09", "dev", "eth0", "nud", "permanent"],
        ["tuntap", "add", "tap0", "mode", "tap"],
        ["link", "set", "tap0", "up", "addrgenmode", "none"],
      ]
    ) await node.ip(...args);
    const sysctls = (text: string) => text.split("\n").filter((line) => !/^(all|default)\/|forwarding/.test(line));
    const before = await dataplane(node);
    await node.start();
    assert.equal((await node.tortie(["workload", "attach", "web", "--netns", node.workloads[0]])).code, 0);
    assert.equal((await node.tortie(["workload", "attach", "vm", "--tap", "tap0"])).code, 0);
    assert.match(
      (await node.tortie(["down", "--config", node.config])).stderr,
      /^tortie: a node runs here .*stop it first/,
    );
    await node.stop();
    // What the speaker leaves standing of what it learned.
    await node.ip("route", "add", "172.17.9.0/26", "via", "192.168.100.101", "dev", "eth0", "proto", "bird", "onlink");
    assert.notDeepEqual(sysctls(await dataplane(node)), sysctls(before));
    const down = await node.tortie(["down", "--config", node.config], { under: ["ip", "netns", "exec", node.host] });
    assert.equal(down.code, 0, down.stderr);
    assert.match(down.stdout, /^removed 1 interfaces?, \d+ routes, \d+ neighbours?, 2 nftables tables\n$/);
    assert.deepEqual(sysctls(await dataplane(node)), sysctls(before));
    const again = await node.tortie(["down", "--config", node.config], { under: ["ip", "netns", "exec", node.host] });
    assert.equal(again.stdout, "removed 0 interfaces, 0 routes, 0 neighbours, 0 nftables tables\n");

    // And all of it comes back.
    await node.start();
    await eventually("the workloads are ready again", async () => {
      const { workloads } = await node.json("status");
      return workloads.ready === 2 && workloads.total === 2;
    });
  });
});

Deno.test("metrics are Prometheus text where they are asked for, and nothing where they are off", async () => {
  await withNode(async (node) => {
    await node.start();
    assert.equal((await node.tortie(["workload", "attach", "web", "--netns", node.workloads[0]])).code, 0);
    await eventually("the sessions are known", async () => (await node.json("status")).bgp.configured === 2);
    const [head = "", ...body] = (await fetchInside(node, "http://127.0.0.1:9199/metrics")).split("\n");
    assert.match(head, /^200 text\/plain; version=0\.0\.4/);
    const samples = parsePrometheus(body.join("\n"));
    assert.equal(samples.get("tortie_workloads"), 1);
    assert.equal(samples.get("tortie_workloads_ready"), 1);
    assert.equal(samples.get("tortie_bgp_sessions_configured"), 2);
    assert.equal(samples.get("tortie_store_in_sync"), 1);
    assert.equal(samples.get(`tortie_bgp_session_up{peer="192.168.100.1",name="global.tor"}`), 0);
    assert.match(await fetchInside(node, "http://127.0.0.1:9199/"), /^404 /);

    const listening = async () => (await finish(["ip", "netns", "exec", node.host, "ss", "-Hltn"])).stdout;
    assert.match(await listening(), /127\.0\.0\.1:9199 /);
    await node.stop();
    Deno.writeTextFileSync(
      node.config,
      configuration(node.dir, "metrics: { listen: off }\nlog: { format: text, level: warn }\n"),
    );
    Deno.writeTextFileSync(`${node.dir}/node.log`, "");
    await node.start();
    await eventually("the speaker listens", async () => /:179 /.test(await listening()));
    assert.doesNotMatch(await listening(), /:9\d\d\d /);
    // And the log is quiet below its level.
    assert.doesNotMatch(node.log(), / INFO |^\{/m);
  }, "metrics: { listen: 127.0.0.1:9199 }\n");
});

Deno.test("the log as text has time, level, message and fields on a line, and changes with the file", async () => {
  await withNode(async (node) => {
    await node.start();
    assert.match(
      node.log(),
      /^\d{4}-\d\d-\d\dT[0-9:.]+Z INFO {2}the node runs node=a socket=\S+\/tortie\.sock config=\S+\/tortie\.yaml$/m,
    );
    const lines = () => node.log().trimEnd().split("\n");
    Deno.writeTextFileSync(node.config, configuration(node.dir, "log: { format: json }\nmetrics: { listen: off }\n"));
    await eventually("the log is JSON", () => lines().at(-1)?.startsWith("{") === true);
    assert.equal(lines().filter((line) => line.startsWith("{")).map((line) => JSON.parse(line).level)[0], "INFO");
    const settings = "log: { format: text, level: error }\nmetrics: { listen: 127.0.0.1:9200 }\n";
    Deno.writeTextFileSync(node.config, configuration(node.dir, settings));
    const { code, stdout, stderr } = await node.tortie(["reload"]);
    assert.deepEqual([code, stdout], [0, "0 resources changed\n"]);
    assert.equal(stderr, "tortie: warning: metrics.listen takes effect when the node is restarted\n");
    const { length } = lines();
    assert.equal((await node.tortie(["reload"])).code, 0);
    assert.equal(lines().length, length, "what is below the level is not written");
  }, "log: { format: text }\nmetrics: { listen: off }\n");
});

Deno.test("an empty file is a working single host", async () => {
  await withNode(async (node) => {
    const [program = "", ...args] = tortie;
    const empty = `${node.dir}/empty.yaml`;
    Deno.writeTextFileSync(empty, "");
    // The default paths, in a mount namespace of its own.
    const places =
      'mount -t tmpfs none /var/lib && mkdir -p /run/tortie && mount -t tmpfs none /run/tortie && exec "$@"';
    const child = new Deno.Command("ip", {
      args: ["netns", "exec", node.host, "unshare", "--mount", "sh", "-c", places, "sh", program, ...args]
        .concat("run", "--config", empty),
      env: { TORTIE_RUNTIME_DIR: Deno.env.get("TORTIE_RUNTIME_DIR") ?? `${node.dir}/runtime` },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const stderr = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
    try {
      let printed = "";
      while (!printed.includes("the node runs")) {
        const { value, done } = await stderr.read();
        assert.ok(!done, printed);
        printed += value;
      }
      const inside = ["nsenter", `--mount=/proc/${child.pid}/ns/mnt`, `--net=/proc/${child.pid}/ns/net`];
      const here = async (...words: string[]) => {
        const finished = await finish([...inside, program, ...args, ...words], undefined, { TORTIE_SOCKET: "" });
        assert.equal(finished.code, 0, finished.stderr);
        return finished.stdout;
      };
      const socket = ["--socket", "/run/tortie/tortie.sock"];
      const status = JSON.parse(await here("status", "-o", "json", ...socket));
      assert.deepEqual([status.node.name, status.node.ip], [Deno.hostname().toLowerCase(), "192.168.100.100"]);
      assert.match(
        await here("get", "ippools", ...socket),
        /default-ipv4-ippool +192\.168\.0\.0\/16|172\.16\.0\.0\/16/,
      );
      // By path: the names below /run/netns are another mount's.
      const attached = await here("workload", "attach", "web", "--netns", `/run/netns/${node.workloads[0]}`, ...socket);
      assert.match(attached, /^172\.16\.\d+\.\d+\n$/);
      assert.match(await node.ip("route"), new RegExp(`^${attached.trim()} dev cali`, "m"));
    } finally {
      child.kill("SIGTERM");
      while (!(await stderr.read()).done);
      assert.equal((await child.status).code, 0);
    }
  });
});
