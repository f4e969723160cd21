/** The command line in this process: help that teaches, usage errors, and failures as lines with their exit status. */

import assert from "node:assert/strict";
import { resolve } from "node:path";
import { runCommandLine } from "../../../src/cli/app.ts";
import { collectingTerminal, runHere } from "./collecting_terminal.ts";

const golden = resolve(import.meta.dirname ?? ".", "../../golden/cli/help.txt");

/** Every command, as words. */
const COMMANDS = [
  [],
  ["run"],
  ["status"],
  ["get"],
  ["apply"],
  ["confirm"],
  ["create"],
  ["replace"],
  ["delete"],
  ["validate"],
  ["workload"],
  ["workload", "attach"],
  ["workload", "detach"],
  ["workload", "list"],
  ["ipam"],
  ["ipam", "show"],
  ["ipam", "check"],
  ["ipam", "release"],
  ["ipam", "configure"],
  ["bgp"],
  ["bgp", "peers"],
  ["bgp", "routes"],
  ["bgp", "explain"],
  ["bgp", "monitor"],
  ["policy"],
  ["policy", "explain"],
  ["policy", "list"],
  ["policy", "lint"],
  ["lab"],
  ["lab", "up"],
  ["lab", "down"],
  ["lab", "status"],
  ["lab", "exec"],
  ["reload"],
  ["down"],
  ["completions"],
  ["version"],
];

Deno.test("the help of every command is what the golden file says", async () => {
  const texts: string[] = [];
  for (const words of COMMANDS) {
    const { code, stdout, stderr } = await runHere([...words, "--help"]);
    assert.deepEqual([code, stderr], [0, ""]);
    texts.push(`$ ${["tortie", ...words, "--help"].join(" ")}\n${stdout}`);
  }
  const text = texts.join("\n");
  if (Deno.env.get("UPDATE_GOLDEN") === "1") Deno.writeTextFileSync(golden, text);
  assert.equal(text, Deno.readTextFileSync(golden));
});

Deno.test("no command is missing from the help that is tested, and each has a text and fits a screen's width", async () => {
  const listed = async (words: string[]): Promise<string[][]> => {
    const { stdout } = await runHere([...words, "--help"]);
    const commands = stdout.slice(stdout.indexOf("\nCOMMANDS\n") + 1);
    if (!commands.startsWith("COMMANDS")) return [];
    const names = [...commands.matchAll(/^ {2}(\S+) {2,}(\S.*)$/gm)].map((match) => [...words, match[1] ?? ""]);
    return (await Promise.all(names.map(async (each) => [each, ...await listed(each)]))).flat();
  };
  const found = (await listed([])).map((words) => words.join(" ")).sort();
  assert.deepEqual(found, COMMANDS.map((words) => words.join(" ")).filter((name) => name !== "").sort());
  for (const words of COMMANDS) {
    const { stdout } = await runHere([...words, "--help"]);
    const description = stdout.slice(stdout.indexOf("\n\n") + 2).split("\n\nFLAGS")[0] ?? "";
    assert.ok(description.length > 10, words.join(" "));
    for (const line of description.split("\n")) assert.ok(line.length <= 110, `${words.join(" ")}: ${line}`);
  }
});

Deno.test("without words the help is shown", async () => {
  const { code, stdout } = await runHere([]);
  assert.equal(code, 0);
  assert.match(stdout, /^USAGE\n {2}tortie run /);
});

const wrong: readonly [readonly string[], RegExp][] = [
  [["frob"], /^tortie: no command "frob": see tortie --help\n$/],
  [["statsu"], /^tortie: no command "statsu": did you mean `status`\?\n$/],
  [["workload", "atach", "x"], /^tortie: no command "atach": did you mean `attach`\?\n$/],
  [["status", "--nope"], /^tortie: .*--nope.* \(see --help\)\n$/],
  [["status", "extra"], /^tortie: .*"extra".*\n$/],
  [["get"], /^tortie: .*KIND.*\n$/],
  [["get", "nodez"], /^tortie: unknown kind "nodez": did you mean node\?\n$/],
  [["get", "node", "-o", "xml"], /^tortie: .*"xml".*table\|wide\|yaml\|json\|name.*\n$/],
  [["apply"], /^tortie: .*--file.*\n$/],
  [["delete", "node"], /^tortie: say what to delete: -f FILE, or a kind and names\n$/],
  [["workload", "attach", "x"], /^tortie: say where the workload is: one of --netns, --tap and --interface\n$/],
  [["workload", "attach", "x", "--netns", "n", "--label", "=v"], /^tortie: wrong label "=v": write KEY=VALUE\n$/],
  [["ipam", "configure", "--strict-affinity", "maybe"], /^tortie: .*true or false.*\n$/],
  [["ipam", "configure", "--max-blocks-per-host", "many"], /^tortie: .*whole number.*\n$/],
  [
    ["ipam", "configure", "--strict-affinity", "false", "--max-blocks-per-host", "3"],
    /^tortie: a block limit needs strict affinity: .*\n$/,
  ],
  [["bgp", "routes", "--received", "a", "--advertised", "b"], /^tortie: .*name one\n$/],
  [["policy", "explain", "--from", "a", "--to", "b", "--port", "http"], /^tortie: .*is not a port.*\n$/],
  [["policy", "explain", "--from", "a"], /^tortie: .*--to.*\n$/],
  [["apply", "-f", "-", "--confirm", "soon"], /^tortie: .*no time from 1s to 24h: write 60s, 5m or 1h.*\n$/],
  [["apply", "-f", "-", "--confirm", "60s", "--dry-run"], /^tortie: --confirm and --dry-run: give one of them.*\n$/],
  [["completions", "tcsh"], /^tortie: .*bash, zsh or fish.*\n$/],
];
for (const [args, message] of wrong) {
  Deno.test(`tortie ${args.join(" ")} is wrong usage: one line and exit status 2`, async () => {
    const { code, stdout, stderr } = await runHere(args);
    assert.match(stderr, message);
    assert.deepEqual([code, stdout], [2, ""]);
  });
}

Deno.test("no node at the socket is a failure that says what to look for", async () => {
  const { code, stdout, stderr } = await runHere(["status"], { env: { TORTIE_SOCKET: "/nonexistent/tortie.sock" } });
  assert.deepEqual([code, stdout], [1, ""]);
  assert.equal(stderr, "tortie: Cannot reach the node at /nonexistent/tortie.sock: is `tortie run` running?\n");
});

Deno.test("a flag goes before the environment, and the environment before the default", async () => {
  const flag = await runHere(["status", "--socket", "/nonexistent/flag"], {
    env: { TORTIE_SOCKET: "/nonexistent/env" },
  });
  assert.match(flag.stderr, /at \/nonexistent\/flag:/);
  const neither = await runHere(["bgp", "peers"]);
  if (neither.code !== 0) assert.match(neither.stderr, /at \/run\/tortie\/tortie\.sock:/);
});

Deno.test("an error that nobody foresaw is told in lines, and shows where it came from only when that is asked for", async () => {
  const fail = () => Promise.reject(new TypeError("out of order\nfor two reasons"));
  const told = async () => {
    const terminal = collectingTerminal({ readInput: fail });
    assert.equal(await runCommandLine(["validate", "-f", "-"], terminal), 1);
    return terminal.err;
  };
  const before = Deno.env.get("TORTIE_DEBUG");
  try {
    Deno.env.delete("TORTIE_DEBUG");
    assert.equal(await told(), "tortie: out of order\ntortie: for two reasons\n");
    Deno.env.set("TORTIE_DEBUG", "1");
    assert.match(await told(), /^tortie: out of order\ntortie: for two reasons\n[^]*app_test\.ts:\d+/);
  } finally {
    if (before === undefined) Deno.env.delete("TORTIE_DEBUG");
    else Deno.env.set("TORTIE_DEBUG", before);
  }
});

Deno.test("validate names every mistake on a line of its own", async () => {
  const input = `apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: { name: x }
spec: { peerIp: 192.0.2.1, asNumber: many }
`;
  const { code, stdout, stderr } = await runHere(["validate", "-f", "-"], { input });
  assert.deepEqual([code, stdout], [1, ""]);
  const lines = stderr.trimEnd().split("\n");
  assert.ok(lines.length >= 2);
  for (const line of lines) assert.match(line, /^tortie: standard input:4:\d+: spec\b/);
});

Deno.test("what is not UTF-8 is refused, and a byte order mark is none of our business", async () => {
  const text = "\ufeffapiVersion: projectcalico.org/v3\nkind: IPReservation\nmetadata: { name: x }\n" +
    "spec: { reservedCIDRs: [192.0.2.0/24] }\n";
  const marked = await runHere(["validate", "-f", "-"], { input: text });
  assert.equal(marked.stdout, "standard input: valid, 1 resource\n");
  const latin = await runHere(["validate", "-f", "-"], { input: new Uint8Array([0x23, 0xe4, 0x0a]) });
  assert.equal(latin.code, 1);
  assert.equal(latin.stderr, "tortie: Cannot read standard input: it is not UTF-8 text; save it as UTF-8\n");
});

Deno.test("the default configuration and the lab's example are valid", async () => {
  const file = resolve(import.meta.dirname ?? ".", "../../../config/tortie.yaml");
  assert.deepEqual(await runHere(["validate", "-f", file]), {
    code: 0,
    stdout: `${file}: valid, 0 resources\n`,
    stderr: "",
  });
  // Each commented example, taken into use, is right as well.
  const text = Deno.readTextFileSync(file).split("\n").filter((line) => !line.startsWith("##"))
    .map((line) => line.replace(/^# ?/, "")).filter((line) => !/^ +(endpoints|\w+File|username):/.test(line)).join(
      "\n",
    );
  const uncommented = await runHere(["validate", "-f", "-"], { input: text });
  assert.deepEqual([uncommented.code, uncommented.stderr], [0, ""]);
  assert.equal(uncommented.stdout, "standard input: valid, 3 resources\n");
});

Deno.test("version is a line, and JSON for scripts", async () => {
  assert.match((await runHere(["version"])).stdout, /^tortie \d+\.\d+\.\d+ \(from source\) Deno /);
  const shown = JSON.parse((await runHere(["version", "-o", "json"])).stdout);
  assert.deepEqual(Object.keys(shown), ["version", "packaging", "build", "deno", "v8", "target"]);
});

Deno.test("the README's configuration is valid, and the commands that it shows exist", async () => {
  const text = Deno.readTextFileSync(resolve(import.meta.dirname ?? ".", "../../../README.md"));
  const example = /^```yaml\n([^]*?)^```$/m.exec(text)?.[1] ?? "";
  assert.deepEqual(await runHere(["validate", "-f", "-"], { input: example }), {
    code: 0,
    stdout: "standard input: valid, 5 resources\n",
    stderr: "",
  });
  const shown = [...text.matchAll(/(?:^ {4}|`)tortie ((?:[a-z]+ ?)+)/gm)].map((match) =>
    (match[1] ?? "").trim().split(" ")
  );
  assert.ok(shown.length > 15);
  const known = new Set(COMMANDS.map((words) => words.join(" ")));
  for (const [verb = "", noun = ""] of shown) {
    assert.ok(known.has(verb) || known.has(`${verb} ${noun}`), `${verb} ${noun}`);
  }
});
