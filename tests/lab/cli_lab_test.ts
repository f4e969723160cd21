/**
 * The ways in which `tortie lab` is interrupted or misused: whatever happens, `lab down` leaves nothing behind, and what
 * is not the lab's is not touched.
 */

import assert from "node:assert/strict";
import { resolve } from "node:path";
import { runTortie, tortie } from "./fleet.ts";
import { eventually, finish } from "./one_node.ts";

const small = (host: string) =>
  `as: 64512
hosts:
  - name: ${host}
    address: 192.168.100.100/24
    pool: 172.17.8.0/24
    workloads:
      - { name: ${host}-one, labels: { app: one } }
      - { name: ${host}-two }
router: { name: tor, address: 192.168.100.1/24, as: 65000, originates: 10.99.0.0/16 }
`;

/** A lab's name that nobody else has. */
const unique = () => `tt${crypto.randomUUID().slice(0, 5)}`;

/** The namespaces of a lab and the processes that know its folder. */
async function remains(name: string): Promise<string[]> {
  const { stdout } = await finish(["ip", "netns", "list"]);
  const namespaces = stdout.split("\n").filter((line) => line.startsWith(`${name}-`));
  const processes = [...Deno.readDirSync("/proc")].map((entry) => Number(entry.name)).filter((pid) => {
    try {
      return pid > 0 && Deno.readTextFileSync(`/proc/${pid}/cmdline`).includes(`/run/tortie-lab/${name}/`);
    } catch {
      return false;
    }
  });
  let folder: string[] = [];
  try {
    folder = [Deno.statSync(`/run/tortie-lab/${name}`).isDirectory ? "folder" : "file"];
  } catch {
    // Gone, as it should be.
  }
  return [...namespaces, ...processes.map(String), ...folder];
}

/** Starts `lab up` and hands over the process once it has said that its nodes answer. */
async function halfUp(name: string): Promise<{ child: Deno.ChildProcess; rest: Promise<string> }> {
  const [program = "", ...args] = tortie;
  const child = new Deno.Command(program, {
    args: [...args, "lab", "up", "--name", name],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const stderr = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  let printed = "";
  while (!printed.includes("lab: network")) {
    const { value, done } = await stderr.read();
    assert.ok(!done, printed);
    printed += value;
  }
  const rest = (async () => {
    for (;;) {
      const { value, done } = await stderr.read();
      if (done) return printed;
      printed += value;
    }
  })();
  await eventually("its namespaces are there", async () => (await remains(name)).length > 3);
  return { child, rest };
}

Deno.test("a lab that is interrupted on its way up takes itself down", async () => {
  const name = unique();
  try {
    const { child, rest } = await halfUp(name);
    child.kill("SIGINT");
    assert.match(await rest, /\ntortie: interrupted: the lab is taken down again, nothing is left behind\n$/);
    assert.equal((await child.status).code, 1);
    assert.deepEqual(await remains(name), []);
  } finally {
    await runTortie(["lab", "down", "--name", name]);
  }
});

Deno.test("a lab that is killed on its way up is taken down by lab down, with what was started inside", async () => {
  const name = unique();
  try {
    const { child, rest } = await halfUp(name);
    child.kill("SIGKILL");
    await rest;
    await child.status;
    const again = await runTortie(["lab", "up", "--name", name]);
    assert.equal(again.code, 1);
    assert.match(
      again.stderr,
      new RegExp(`^tortie: lab ${name} is up, or half of it: .*tortie lab down --name ${name}`),
    );
    const sleeper = new Deno.Command("ip", {
      args: ["netns", "exec", `${name}-a`, "sleep", "600"],
      stdin: "null",
      stdout: "null",
    }).spawn();
    const down = await runTortie(["lab", "down", "--name", name]);
    assert.deepEqual([down.code, down.stderr], [0, "lab: down, nothing is left behind\n"]);
    assert.equal((await sleeper.status).signal, "SIGKILL");
    assert.deepEqual(await remains(name), []);
  } finally {
    await runTortie(["lab", "down", "--name", name]);
  }
});

Deno.test("two labs of descriptions of their own stand side by side, and neither takes the other down", async () => {
  const names = [unique(), unique()] as const;
  const dir = await Deno.makeTempDir();
  try {
    const up = await Promise.all(names.map((name, i) => {
      const file = `${dir}/${name}.yaml`;
      Deno.writeTextFileSync(file, small(i === 0 ? "x" : "rack-1"));
      return runTortie(["lab", "up", "--name", name, "--config", file]);
    }));
    for (const { code, stdout, stderr } of up) {
      assert.equal(code, 0, stderr);
      assert.equal(stdout.slice(stdout.indexOf("who reaches whom")).match(/\bok\b/g)?.length, 4, stdout);
    }
    assert.match(up[0]?.stdout ?? "", /^host x$/m);
    assert.match(up[1]?.stdout ?? "", /^host rack-1$/m);
    const inside = await runTortie(["lab", "exec", "--name", names[0], "x", "--", "sh", "-c", "echo $TORTIE_SOCKET"]);
    assert.equal(inside.stdout, `/run/tortie-lab/${names[0]}/x/tortie.sock\n`);
    assert.equal((await runTortie(["lab", "down", "--name", names[0]])).code, 0);
    assert.deepEqual(await remains(names[0]), []);
    const status = await runTortie(["lab", "status", "--name", names[1], "-o", "json"]);
    assert.equal(status.code, 0, status.stderr);
    assert.deepEqual(JSON.parse(status.stdout).reach, {
      "rack-1-one": { "rack-1-one": true, "rack-1-two": true },
      "rack-1-two": { "rack-1-one": true, "rack-1-two": true },
    });
  } finally {
    for (const name of names) await runTortie(["lab", "down", "--name", name]);
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("the example in config/ is the lab that is built without a description", async () => {
  const { readTopology } = await import("../../src/lab/topology_file.ts");
  const { defaultTopology } = await import("../../src/lab/topology.ts");
  const file = resolve(import.meta.dirname ?? ".", "../../config/lab.yaml");
  assert.deepEqual(readTopology(Deno.readTextFileSync(file), file), defaultTopology);
});

Deno.test("without BIRD nothing is made, and the message says what to install", async () => {
  const name = unique();
  const dir = await Deno.makeTempDir();
  try {
    // Everything that is installed, but for BIRD.
    for (const from of ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]) {
      for (const { name: program } of [...Deno.readDirSync(from)]) {
        if (/^birdc?l?$/.test(program)) continue;
        await Deno.symlink(`${from}/${program}`, `${dir}/${program}`).catch(() => {});
      }
    }
    const { code, stderr } = await runTortie(["lab", "up", "--name", name], { PATH: dir });
    assert.equal(code, 1);
    assert.match(stderr, /^tortie: a lab needs bird and birdc, not installed here: run `sudo .*bird2`\n$/);
    assert.deepEqual(await remains(name), []);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a namespace that somebody else made is neither used nor deleted", async () => {
  const name = unique();
  await finish(["ip", "netns", "add", `${name}-b`]);
  try {
    const { code, stderr } = await runTortie(["lab", "up", "--name", name]);
    assert.equal(code, 1);
    assert.match(stderr, new RegExp(`^tortie: the network namespaces ${name}-b exist already: choose another name`));
    assert.deepEqual(await remains(name), [`${name}-b`]);
  } finally {
    await finish(["ip", "netns", "del", `${name}-b`]);
  }
});

Deno.test("a wrong description is refused with a line for each mistake, before anything is made", async () => {
  const name = unique();
  const dir = await Deno.makeTempDir();
  try {
    const file = `${dir}/lab.yaml`;
    for (
      const [text, ...messages] of [
        [
          small("x").replace("172.17.8.0/24", "172.17.8.1/24").replace("as: 65000", "as: 0"),
          /:5:\d+: hosts\.0\.pool: /,
          /:9:\d+: router\.as: /,
        ],
        [small("x").replace("pool:", "pools:"), /:3:\d+: .*pool/],
        [small("x").replace("name: x-two", "name: tor"), /the name "tor" is used twice/],
        ["hosts: [", /lab\.yaml:1:\d+: /],
        ["", /lab\.yaml:1:1: the file: /],
      ] as [string, ...RegExp[]][]
    ) {
      Deno.writeTextFileSync(file, text);
      const { code, stderr } = await runTortie(["lab", "up", "--name", name, "--config", file]);
      assert.equal(code, 1, text);
      for (const message of messages) assert.match(stderr, message);
      for (const line of stderr.trimEnd().split("\n")) assert.match(line, /^tortie: \S/);
      assert.deepEqual(await remains(name), []);
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
