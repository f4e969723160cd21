/** The runner of all tests: its last line and its status are true whatever way a folder of tests ends. */
import assert from "node:assert/strict";
import { join } from "node:path";

const root = join(import.meta.dirname ?? ".", "../../..");

async function runTests(files: Record<string, string>, minutes: string): Promise<{ code: number; lines: string[] }> {
  const folder = await Deno.makeTempDir();
  try {
    for (const [name, text] of Object.entries(files)) {
      await Deno.mkdir(join(folder, name));
      await Deno.writeTextFile(join(folder, name, "a_test.ts"), text);
    }
    const { code, stdout } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        "build/test.ts",
        "--minutes",
        minutes,
        ...Object.keys(files).map((name) => join(folder, name)),
      ],
      cwd: root,
      stderr: "null",
    }).output();
    return { code, lines: new TextDecoder().decode(stdout).trim().split("\n") };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const pass = 'Deno.test("passes", () => {});';

Deno.test("a run whose every test passes ends with their sum and status 0", async () => {
  const { code, lines } = await runTests({ one: pass, two: `${pass} Deno.test.ignore("later", () => {});` }, "1");
  assert.deepEqual([code, lines.at(-1)], [0, "2 passed, 0 failed, 1 skipped"]);
});

Deno.test("a failed test, and a file that does not load, are each a failure", async () => {
  const files = {
    one: `${pass} Deno.test("fails", () => { throw new Error("x"); });`,
    two: "syntax error here",
    three: pass,
  };
  const { code, lines } = await runTests(files, "1");
  assert.deepEqual([code, lines.at(-1)], [1, "2 passed, 2 failed, 0 skipped"]);
});

Deno.test("a run in which nothing is tested fails", async () => {
  const { code, lines } = await runTests({ one: 'Deno.test.ignore("later", () => {});' }, "1");
  assert.deepEqual([code, lines.at(-1)], [1, "0 passed, 0 failed, 1 skipped"]);
});

Deno.test("a folder that hangs is stopped when the time is over, what follows is not run, and both are failures", async () => {
  const hang = 'Deno.test("hangs", () => new Promise(() => { setInterval(() => {}, 1e6); }));';
  const { code, lines } = await runTests({ one: hang, two: pass }, "0.04");
  assert.deepEqual([code, lines.at(-1)], [1, "0 passed, 2 failed, 0 skipped"]);
  assert.ok(lines.some((line) => /one: STOPPED after \d+ s/.test(line)), lines.join("\n"));
  assert.ok(lines.some((line) => /two: NOT RUN/.test(line)), lines.join("\n"));
});
