/**
 * `deno task test [PATH]…` and, with `--gates`, `deno task ok`: runs the tests and prints their sum as the last line.
 *
 * The tests run one after the other (the labs share one machine's kernel), a folder of tests/ at a time, so that the
 * progress is seen and no hang eats the whole time: a folder gets at most what is left of the run's limit. A gate
 * (format, lint, types) that fails, a folder that is stopped, and one that ends without a summary or with a failing
 * status and no failed test, each count as one failure.
 */
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { addSummaries, formatSummary, parseSummary, type Summary } from "./summary.ts";

const root = join(import.meta.dirname ?? ".", "..");
const gates: readonly (readonly string[])[] = [["fmt", "--check"], ["lint"], ["check"]];
const oneFailure: Summary = { passed: 0, failed: 1, skipped: 0 };

/** Orders the folders of tests/: the tests at the top, units, then the rest, with the slow ones last. */
export function groupsOf(entries: readonly { name: string; isDirectory: boolean }[]): string[] {
  const rank = ["unit", "contract", "replay", "golden", "install", "", "interop", "lab", "vm"];
  const place = (name: string) => rank.indexOf(rank.includes(name) ? name : "");
  const folders = entries.filter((entry) => entry.isDirectory).map((entry) => entry.name);
  folders.sort((a, b) => place(a) - place(b) || (a < b ? -1 : 1));
  const top = entries.filter((entry) => !entry.isDirectory && /(?:^|[._])test\.tsx?$/.test(entry.name));
  return [...top.map((entry) => entry.name).sort(), ...folders].map((name) => join("tests", name));
}

function hasTests(path: string): boolean {
  if (Deno.statSync(path).isFile) return true;
  return [...Deno.readDirSync(path)].some((entry) =>
    entry.isDirectory ? hasTests(join(path, entry.name)) : /(?:^|[._])test\.tsx?$/.test(entry.name)
  );
}

async function runDeno(args: readonly string[], seconds: number): Promise<{ output: string; code: number }> {
  // timeout(1) also ends what the tests started, which a signal to this child alone would leave behind.
  const child = new Deno.Command("timeout", {
    args: ["--kill-after=20", String(Math.max(1, Math.ceil(seconds))), Deno.execPath(), ...args],
    cwd: root,
    env: { DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let output = "";
  const decoder = new TextDecoder();
  for await (const bytes of child.stdout) {
    Deno.stdout.writeSync(bytes);
    output = (output + decoder.decode(bytes, { stream: true })).slice(-65_536);
  }
  return { output, code: (await child.status).code };
}

async function runGate(args: readonly string[]): Promise<Summary[]> {
  const { code } = await runDeno(args, 600);
  console.log(`gate: deno ${args.join(" ")}: ${code === 0 ? "ok" : "FAILED"}`);
  return code === 0 ? [] : [oneFailure];
}

async function runGroup(path: string, seconds: number): Promise<Summary[]> {
  const begun = performance.now();
  const { output, code } = await runDeno(["test", "-A", "--no-check", "--frozen", path], seconds);
  const took = `${((performance.now() - begun) / 1000).toFixed(0)} s`;
  const summary = parseSummary(output);
  if (code === 124 || code === 137) {
    console.log(`group ${path}: STOPPED after ${took}: its time was over`);
    return summary ? [summary, oneFailure] : [oneFailure];
  }
  const isUnexplained = summary === undefined || (code !== 0 && summary.failed === 0);
  console.log(`group ${path}: ${summary ? formatSummary(summary) : `no summary, status ${code}`} (${took})`);
  return [...(summary ? [summary] : []), ...(isUnexplained ? [oneFailure] : [])];
}

async function main(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { gates: { type: "boolean", default: false }, minutes: { type: "string", default: "43" } },
  });
  const deadline = performance.now() + Number(values.minutes) * 60_000;
  const summaries: Summary[] = [];
  if (values.gates) { for (const gate of gates) summaries.push(...await runGate(gate)); }

  const groups = positionals.length > 0 ? positionals : groupsOf([...Deno.readDirSync(join(root, "tests"))]);
  for (const group of groups) {
    if (!hasTests(resolve(root, group))) continue;
    const seconds = (deadline - performance.now()) / 1000;
    if (seconds > 1) summaries.push(...await runGroup(group, seconds));
    else {
      console.log(`group ${group}: NOT RUN: the ${values.minutes} minutes are over`);
      summaries.push(oneFailure);
    }
  }
  const total = addSummaries(summaries);
  console.log(formatSummary(total));
  return total.failed === 0 && total.passed > 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
