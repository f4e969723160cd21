/**
 * Compiles the bundle into one executable with `deno compile`, where its runtime base (`denort`) can be had.
 *
 * The base is looked for as Deno itself does: DENORT_BIN, then the archive placed in $DENO_DIR/dl, then the network.
 * What comes out is run once and must call itself compiled: a base that is not one (the `deno` program, say) makes a
 * file that ignores the program inside it. In: the bundle. Out: the executable, or undefined and the reason.
 */
import { basename, join } from "node:path";
import type { Bundle } from "./bundle.ts";

/** Where the runtime base was found. */
export type Base = { from: "DENORT_BIN" | "DENO_DIR" | "network"; at: string };

/** The name of the base's archive for `target`, a Rust target triple. */
export function archiveName(target: string): string {
  return `denort-${target}.zip`;
}

/** The arguments of `deno` that compile `bundle` to `output`; a worker is reached by URL only, so each is included. */
export function compileArguments(bundle: Bundle, output: string, target: string): string[] {
  return [
    "compile",
    "--quiet",
    "--allow-all",
    "--no-prompt",
    "--no-check",
    "--no-config",
    "--no-lock",
    "--no-remote",
    "--no-npm",
    // Its place would be a predictable name in the temporary folder, which others can write to.
    "--no-code-cache",
    "--app-name",
    "tortie",
    "--target",
    target,
    ...bundle.workers.flatMap((worker) => ["--include", join(bundle.folder, worker)]),
    "--output",
    output,
    join(bundle.folder, "main.js"),
  ];
}

/** Looks for the runtime base of this Deno for `target`; `get` asks the network. */
export async function findBase(
  target: string,
  env: (name: string) => string | undefined = (name) => Deno.env.get(name),
  get: (url: string) => Promise<boolean> = canDownload,
): Promise<Base | undefined> {
  const given = env("DENORT_BIN");
  if (given) return { from: "DENORT_BIN", at: given };
  const folder = env("DENO_DIR") ?? join(env("XDG_CACHE_HOME") ?? join(env("HOME") ?? "/root", ".cache"), "deno");
  const release = `release/v${Deno.version.deno}/${archiveName(target)}`;
  const placed = join(folder, "dl", release);
  if (exists(placed)) return { from: "DENO_DIR", at: placed };
  const url = `https://dl.deno.land/${release}`;
  return await get(url) ? { from: "network", at: url } : undefined;
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

async function canDownload(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { method: "HEAD", signal: AbortSignal.timeout(5_000) });
    return response.ok;
  } catch {
    return false;
  }
}

/** Compiles `bundle` to `output`; returns why not when Deno refuses or when the result does not run the program. */
export function compile(bundle: Bundle, output: string, target: string): { refused: string } | undefined {
  const made = `${output}.new`;
  const { success, stderr } = new Deno.Command(Deno.execPath(), {
    args: compileArguments(bundle, made, target),
    env: { DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" },
    stdout: "null",
    stderr: "piped",
  }).outputSync();
  if (!success) return { refused: new TextDecoder().decode(stderr).trim().split("\n")[0] ?? "deno compile failed" };
  const said = new Deno.Command(made, { args: ["version"], stdin: "null", stdout: "piped", stderr: "null" })
    .outputSync();
  const words = new TextDecoder().decode(said.stdout);
  if (!said.success || !words.includes("compiled")) {
    Deno.removeSync(made);
    return { refused: `${basename(output)} made with this base does not run its program; it is no denort` };
  }
  Deno.renameSync(made, output);
  return undefined;
}
