/**
 * How a failure reaches the terminal; uncaught ones are proven on real processes, by their exit code and what they
 * print.
 */

import assert from "node:assert/strict";
import { resolve } from "node:path";
import { ApiError } from "../../../src/api/error.ts";
import { inLines } from "../../../src/cli/failure.ts";

const root = resolve(import.meta.dirname ?? ".", "../../..");

Deno.test("each line of a message bears the program's name, and a hint is said once", () => {
  assert.equal(inLines(new Error("one\ntwo\n")), "tortie: one\ntortie: two");
  assert.equal(inLines("a text"), "tortie: a text");
  assert.equal(inLines(undefined), "tortie: undefined");
  assert.equal(inLines(new ApiError("missing", "gone", { hint: "look again" })), "tortie: gone; look again");
  assert.equal(
    inLines(new ApiError("missing", "gone; look again", { hint: "look again" })),
    "tortie: gone; look again",
  );
  assert.match(inLines(new Error("")), /^tortie: .*TORTIE_DEBUG=1/);
});

Deno.test("what nobody catches ends the program as a line, and with its origin only where that is asked for", async () => {
  for (
    const fault of [
      `Promise.reject(new TypeError("out of order"))`,
      `setTimeout(() => { throw new TypeError("out of order"); })`,
    ]
  ) {
    const program =
      `import { endOnCrash } from "${root}/src/cli/failure.ts"; endOnCrash(); ${fault}; setTimeout(() => {}, 1e4);`;
    for (
      const [debug, expected] of [["", /^tortie: out of order\n$/], [
        "1",
        /^tortie: out of order\nTypeError: out of order\n +at /,
      ]] as const
    ) {
      const { code, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["eval", program],
        cwd: root,
        env: { TORTIE_DEBUG: debug, NO_COLOR: "1" },
      }).output();
      assert.equal(code, 1);
      assert.match(new TextDecoder().decode(stderr), expected);
    }
  }
});
