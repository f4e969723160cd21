/** The node's log, as a real process prints it. */

import assert from "node:assert/strict";
import { resolve } from "node:path";
import { formatLogLine } from "../../../src/cli/node_log.ts";

const root = resolve(import.meta.dirname ?? ".", "../../..");

/** What a process prints that starts the node's log and logs a few things. */
async function logged(options: string): Promise<string[]> {
  const program = `
    import { startNodeLog } from "${root}/src/cli/node_log.ts";
    const log = (await startNodeLog(${options})).with({ node: "a" });
    log.debug("unseen");
    log.info("peer {x} is up", { peer: "192.0.2.1", as: 64512 });
    log.error("it failed", { error: new Error("in two words"), list: [1, "b"] });
  `;
  const { stderr, stdout } = await new Deno.Command(Deno.execPath(), { args: ["eval", program], cwd: root }).output();
  assert.equal(new TextDecoder().decode(stdout), "");
  return new TextDecoder().decode(stderr).trimEnd().split("\n");
}

Deno.test("as text: time, level, message and fields, quoted where they hold spaces", async () => {
  const lines = await logged(`{ level: "info", format: "text" }`);
  assert.deepEqual(lines.map((line) => line.replace(/^\S+Z /, "")), [
    "INFO  peer {x} is up node=a peer=192.0.2.1 as=64512",
    `ERROR it failed node=a error="in two words" list=[1,"b"]`,
  ]);
  for (const line of lines) assert.match(line, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z /);
});

Deno.test("as JSON, and so where nobody watches: an object a line", async () => {
  for (const format of ["json", "auto"]) {
    const [first, second] = (await logged(`{ level: "info", format: "${format}" }`)).map((line) => JSON.parse(line));
    assert.deepEqual([first.level, first.message, first.node, first.peer, first.as], [
      "INFO",
      "peer {x} is up",
      "a",
      "192.0.2.1",
      64512,
    ]);
    assert.deepEqual([second.level, second.error, second.list], ["ERROR", "in two words", [1, "b"]]);
  }
});

Deno.test("the level decides what is written", async () => {
  assert.equal((await logged(`{ level: "debug", format: "text" }`)).length, 3);
  assert.equal((await logged(`{ level: "error", format: "text" }`)).length, 1);
});

Deno.test("a line stays one line", () => {
  const line = formatLogLine({
    category: ["tortie"],
    level: "warning",
    message: ["one"],
    rawMessage: "one",
    timestamp: 0,
    properties: { why: "first\nsecond" },
  });
  assert.equal(line, `1970-01-01T00:00:00.000Z WARN  one why="first\\nsecond"\n`);
});
