/** Completion in the real shells: each loads the script that tortie prints and is asked what could come next. */

import assert from "node:assert/strict";
import { selfCommand } from "../../../src/cli/self.ts";
import { runHere } from "./collecting_terminal.ts";

/** How each shell loads the script and prints what it proposes for a line whose last word is unfinished. */
const SHELLS = {
  bash: (words: readonly string[]) => [
    "bash",
    "--norc",
    "-c",
    `source <(tortie completions bash); COMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}); ` +
    `COMP_CWORD=${words.length - 1}; $(complete -p tortie | sed -E 's/.*-F ([^ ]+).*/echo \\1/' | sh); ` +
    `printf '%s\\n' "\${COMPREPLY[@]}"`,
  ],
  zsh: (words: readonly string[]) => [
    "zsh",
    "-f",
    "-c",
    `autoload -U compinit && compinit -D -u; source <(tortie completions zsh); ` +
    `compadd() { [[ "$1" = -- ]] && shift; print -l -- "$@" }; _files() { print files }; ` +
    `words=(${words.map((word) => `'${word}'`).join(" ")}); CURRENT=${words.length}; $_comps[tortie]`,
  ],
  fish: (words: readonly string[]) => [
    "fish",
    "--no-config",
    "-c",
    `tortie completions fish | source; complete -C '${words.join(" ")}'`,
  ],
} as const;

const cases: readonly [readonly string[], readonly string[]][] = [
  [["tortie", "work"], ["workload"]],
  [["tortie", "workload", "de"], ["detach"]],
  [["tortie", "get", "ipp"], ["ippools"]],
  [["tortie", "get", "nodes", "--out"], ["--output"]],
];

function isInstalled(program: string): boolean {
  return (Deno.env.get("PATH") ?? "").split(":").some((dir) => {
    try {
      return Deno.statSync(`${dir}/${program}`).isFile;
    } catch {
      return false;
    }
  });
}

for (const [shell, command] of Object.entries(SHELLS)) {
  const ignore = !isInstalled(shell);
  Deno.test({
    name: `${shell} completes commands, kinds and flags${ignore ? ` (skipped: no ${shell})` : ""}`,
    ignore,
    fn: async () => {
      const dir = await Deno.makeTempDir();
      try {
        const self = selfCommand();
        Deno.writeTextFileSync(`${dir}/tortie`, `#!/bin/sh\nexec ${self.command} ${self.args.join(" ")} "$@"\n`);
        Deno.chmodSync(`${dir}/tortie`, 0o755);
        for (const [words, expected] of cases) {
          const [program = "", ...args] = command(words);
          const { stdout, stderr } = await new Deno.Command(program, {
            args,
            env: { PATH: `${dir}:${Deno.env.get("PATH")}`, HOME: dir, DENO_DIR: await denoDir() },
            stdin: "null",
          }).output();
          const printed = new TextDecoder().decode(stdout).split("\n").map((line) => line.split("\t")[0]?.trim());
          assert.deepEqual(
            printed.filter((line) => line !== ""),
            expected,
            `${words.join(" ")}: ${new TextDecoder().decode(stderr)}`,
          );
        }
      } finally {
        await Deno.remove(dir, { recursive: true });
      }
    },
  });
}

/** Deno's cache, which a new HOME would hide. */
async function denoDir(): Promise<string> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  return (JSON.parse(new TextDecoder().decode(stdout)) as { denoDir: string }).denoDir;
}

Deno.test("the words that could come next are proposed: commands, flags, values, kinds, shells", async () => {
  const proposed = async (...words: string[]) =>
    (await runHere(["complete", "--", ...words])).stdout.trimEnd().split("\n");
  assert.deepEqual(await proposed("ap"), ["apply"]);
  assert.ok((await proposed("")).includes("workload"));
  assert.ok(!(await proposed("")).includes("complete"));
  assert.deepEqual(await proposed("get", "nodes", "-o", "y"), ["yaml"]);
  assert.ok((await proposed("get", "")).includes("workloadendpoints"));
  assert.ok((await proposed("completions", "")).includes("fish"));
  assert.deepEqual(await proposed("workload", "detach", "zzz"), [""]);
});
