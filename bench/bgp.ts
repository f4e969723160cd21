/**
 * Our speaker as a route reflector beside BIRD, FRR and GoBGP, as far as they are installed, and beside a copier that shows
 * the limit of the load. In namespaces of its own (`ttZ-…`); needs root. Medians of the runs; ratios are to BIRD.
 *
 *   deno run -A bench/bgp.ts [feed|fib|fan|rush|flap]… [--size N] [--runs N] [--daemons ours,bird,…] [--timeout SECONDS]
 *
 * What each work is, and what its size counts, says `bench/bgp/load.ts`.
 */

import { type Daemon, DAEMONS, program } from "./bgp/daemons.ts";
import type { LoadOrder, LoadResult } from "./bgp/load.ts";
import { withScene } from "./bgp/scene.ts";

const SIZES: Record<LoadOrder["work"], readonly number[]> = {
  feed: [100_000, 500_000],
  fib: [100_000],
  fan: [50, 200],
  rush: [50, 200],
  flap: [50],
};
const WORKS = Object.keys(SIZES) as LoadOrder["work"][];
const START_TIMEOUT = 20_000;
const REST_MS = 2000;

interface Options {
  works: LoadOrder["work"][];
  size?: number;
  runs: number;
  daemons: Daemon[];
  timeoutMs: number;
}

/** One run of one daemon: starts it, lets the load work on it, and ends it. */
function runOnce(daemon: Daemon, work: LoadOrder["work"], size: number, timeoutMs: number): Promise<LoadResult> {
  const isFeed = work === "feed" || work === "fib";
  const peers = isFeed ? 2 : size;
  return withScene(peers, async (scene) => {
    const directory = await Deno.makeTempDir({ prefix: "bench-bgp-" });
    const order = { namespace: scene.speaker, directory, peers, isInstalling: work === "fib" };
    await Deno.chmod(directory, 0o755);
    let processes: Deno.ChildProcess[] = [];
    try {
      processes = await daemon.start(order);
      const pids = processes.map(({ pid }) => pid);
      await listening(pids[0] ?? 0);
      const load: LoadOrder = { work, size, pids, timeoutMs };
      const { success, stdout, stderr } = await new Deno.Command("ip", {
        args: ["netns", "exec", scene.load, ...program("load.ts"), JSON.stringify(load)],
        env: { DENO_NO_UPDATE_CHECK: "1" },
      }).output();
      if (!success) throw new Error(new TextDecoder().decode(stderr).trim().split("\n").at(-1));
      return JSON.parse(new TextDecoder().decode(stdout)) as LoadResult;
    } finally {
      for (const process of processes) await end(process);
      await Deno.remove(directory, { recursive: true });
    }
  });
}

/** Resolves when something in the process's namespace listens on port 179, and a moment later. */
async function listening(pid: number): Promise<void> {
  const isListening = /:00B3 00000000:0000 0A/;
  for (let waited = 0; waited < START_TIMEOUT; waited += 50) {
    if (isListening.test(Deno.readTextFileSync(`/proc/${pid}/net/tcp`))) {
      return await new Promise((resolve) => setTimeout(resolve, REST_MS));
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("it does not listen");
}

async function end(process: Deno.ChildProcess): Promise<void> {
  const timer = setTimeout(() => process.kill("SIGKILL"), 5000);
  try {
    process.kill("SIGTERM");
  } catch { /* It has ended. */ }
  await process.status;
  clearTimeout(timer);
}

/** Medians of runs, key by key. */
function medians(results: readonly LoadResult[]): LoadResult {
  const of = (pick: (result: LoadResult) => number) =>
    results.map(pick).toSorted((a, b) => a - b)[results.length >> 1] ?? NaN;
  const keys = Object.keys(results[0]?.walls ?? {});
  return {
    walls: Object.fromEntries(keys.map((key) => [key, of(({ walls }) => walls[key] ?? NaN)])),
    cpu: of(({ cpu }) => cpu),
    peakMb: of(({ peakMb }) => peakMb),
    idleMb: of(({ idleMb }) => idleMb),
    loadCpu: of(({ loadCpu }) => loadCpu),
  };
}

function print(rows: ReadonlyMap<string, LoadResult | string>): void {
  const reference = rows.get("bird");
  const line = (...cells: string[]) =>
    console.log(cells.map((cell, i) => i < 2 ? cell.padEnd(13) : cell.padStart(10)).join(""));
  line("", "", "wall ms", "of BIRD", "CPU s", "load CPU", "idle MB", "peak MB");
  for (const [name, result] of rows) {
    if (typeof result === "string") {
      line(name, result);
      continue;
    }
    Object.entries(result.walls).forEach(([key, wall], i) => {
      const base = typeof reference === "object" ? reference.walls[key] : undefined;
      const rest = [result.cpu, result.loadCpu].map((seconds) => seconds.toFixed(2))
        .concat([result.idleMb, result.peakMb].map((mb) => mb.toFixed(0)));
      line(
        i === 0 ? name : "",
        key,
        (wall * 1000).toFixed(1),
        base ? (wall / base).toFixed(2) : "",
        ...i === 0 ? rest : [],
      );
    });
  }
}

function parseOptions(words: readonly string[]): Options {
  const options: Options = { works: [], runs: 3, daemons: [...DAEMONS], timeoutMs: 180_000 };
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? "";
    const work = WORKS.find((known) => known === word);
    if (work) options.works.push(work);
    else if (word === "--size") options.size = count(word, words[++i]);
    else if (word === "--runs") options.runs = count(word, words[++i]);
    else if (word === "--timeout") options.timeoutMs = count(word, words[++i]) * 1000;
    else if (word === "--daemons") {
      options.daemons = (words[++i] ?? "").split(",").map((name) => {
        const daemon = DAEMONS.find((known) => known.name === name);
        if (!daemon) throw new Error(`no daemon ${name}; there are: ${DAEMONS.map((known) => known.name).join(", ")}`);
        return daemon;
      });
    } else throw new Error(`what is ${word}? Works are: ${WORKS.join(", ")}`);
  }
  if (options.works.length === 0) options.works.push(...WORKS);
  return options;
}

function count(name: string, text = ""): number {
  if (!/^[1-9]\d*$/.test(text)) throw new Error(`${name} needs a number, not "${text}"`);
  return Number(text);
}

if (import.meta.main) {
  try {
    const { works, size, runs, daemons, timeoutMs } = parseOptions(Deno.args);
    for (const work of works) {
      for (const each of size === undefined ? SIZES[work] : [size]) {
        console.log(`\n${work} ${each}, ${runs} runs`);
        const rows = new Map<string, LoadResult | string>();
        for (const daemon of daemons) {
          if (work === "fib" && !daemon.installs) continue;
          const missing = daemon.missing();
          if (missing) {
            rows.set(daemon.name, missing);
            continue;
          }
          const results: LoadResult[] = [];
          try {
            for (let i = 0; i < runs; i++) results.push(await runOnce(daemon, work, each, timeoutMs));
            rows.set(daemon.name, medians(results));
          } catch (error) {
            rows.set(daemon.name, `failed: ${error instanceof Error ? error.message : error}`);
          }
        }
        print(rows);
      }
    }
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(1);
  }
}
