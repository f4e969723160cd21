/** The test run's endings are read and added up rightly, and its folders are run in the right order. */
import assert from "node:assert/strict";
import { addSummaries, formatSummary, parseSummary } from "../../../build/summary.ts";
import { groupsOf } from "../../../build/test.ts";

const endings: [string, string, ReturnType<typeof parseSummary>][] = [
  ["a clean run", "ok | 12 passed | 0 failed (2s)", { passed: 12, failed: 0, skipped: 0 }],
  ["steps and skipped tests", "ok | 3 passed (7 steps) | 0 failed | 2 ignored (1s)", {
    passed: 3,
    failed: 0,
    skipped: 2,
  }],
  ["failed steps", "FAILED | 3 passed (7 steps) | 1 failed (2 steps) | 4 ignored (1 step) (9ms)", {
    passed: 3,
    failed: 1,
    skipped: 4,
  }],
  ["filtered tests", "ok | 1 passed | 0 failed | 9 filtered out (3ms)", { passed: 1, failed: 0, skipped: 0 }],
  ["the last of two", "ok | 1 passed | 0 failed (1s)\nx\nFAILED | 2 passed | 1 failed (1s)\n\n", {
    passed: 2,
    failed: 1,
    skipped: 0,
  }],
  ["a run that broke off", "running 3 tests\na ... ok\n", undefined],
  ["a test that prints such words", "we say ok | 3 passed | 0 failed", undefined],
];

for (const [what, output, summary] of endings) {
  Deno.test(`the ending of ${what} is read`, () => assert.deepEqual(parseSummary(output), summary));
}

Deno.test("summaries add up to one line", () => {
  const total = addSummaries([{ passed: 1, failed: 0, skipped: 2 }, { passed: 3, failed: 4, skipped: 5 }]);
  assert.equal(formatSummary(total), "4 passed, 4 failed, 7 skipped");
});

Deno.test("deno's own ending is one that is read", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const text = 'Deno.test("a", () => {});Deno.test.ignore("b", () => {});Deno.test("c", () => { throw 1; });';
    await Deno.writeTextFile(`${folder}/a_test.ts`, text);
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "--no-check", "--no-config", `${folder}/a_test.ts`],
      env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
      stderr: "null",
    }).output();
    assert.deepEqual(parseSummary(new TextDecoder().decode(stdout)), { passed: 1, failed: 1, skipped: 1 });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("units run first, unknown folders before the labs, and files that hold no tests not at all", () => {
  const folders = ["vm", "lab", "attic", "unit", "interop", "contract"];
  const entries = [
    ...folders.map((name) => ({ name, isDirectory: true })),
    { name: "floors_test.ts", isDirectory: false },
    { name: "floors.ts", isDirectory: false },
  ];
  const names = ["floors_test.ts", "unit", "contract", "attic", "interop", "lab", "vm"];
  assert.deepEqual(groupsOf(entries), names.map((name) => `tests/${name}`));
});
