/**
 * The firewall: a ruleset of workloads and policies loaded whole, beside `nft -f` of the same text in the same run; one workload
 * more; members of a set that move; reading back; a million members; tracked connections listed and deleted.
 * In network namespaces of their own. Run as root: `deno run -A bench/nft.ts [WORKLOADS] [POLICIES]`.
 */

import { FirewallReconciler } from "../src/dataplane/firewall_reconciler.ts";
import type { Clock } from "../src/lib/clock.ts";
import { Ip } from "../src/lib/ip.ts";
import { openFirewall } from "../src/linux/nftables.ts";
import { createNamespace, deleteNamespace } from "../src/linux/namespace.ts";
import { printRuleset } from "../src/netlink/nft/print.ts";
import { noteMoves } from "../src/netlink/nft/moves.ts";
import type { NamedSet, Ruleset } from "../src/netlink/nft/ruleset.ts";
import { benchRuleset, withWorkload } from "./nft_ruleset.ts";

const WORKLOADS = Number(Deno.args[0] ?? 1000), POLICIES = Number(Deno.args[1] ?? 1000);
const ROUNDS = 3, ADDITIONS = 21, MOVES = 5, MEMBERS = 50_000, MOVED = 10_000, MILLION = 1_000_000;
const clock: Clock = { monotonic: () => performance.now(), wall: () => Date.now(), after: () => () => {} };

async function inNamespace<T>(body: (namespace: string) => Promise<T>): Promise<T> {
  const name = `ttP-bench-${Deno.pid}-${crypto.randomUUID().slice(0, 8)}`;
  createNamespace(name);
  try {
    return await body(name);
  } finally {
    deleteNamespace(name);
  }
}

async function timed(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await run();
  return performance.now() - start;
}

const median = (times: readonly number[]) => [...times].sort((a, b) => a - b)[times.length >> 1] ?? NaN;

function row(what: string, ms: number, note = ""): void {
  console.log(`${what.padEnd(52)} ${ms.toFixed(1).padStart(9)} ms  ${note}`);
}

/** A reconciler on a namespace; `put` makes a ruleset stand or throws why it does not. */
function keeper(
  namespace: string,
): { put(ruleset: Ruleset): Promise<void>; read(): Promise<unknown>; repair(): Promise<void>; close(): void } {
  const firewall = openFirewall(namespace);
  const reconciler = new FirewallReconciler(firewall, clock);
  const stop = firewall.watch((event) => reconciler.observe(event));
  return {
    async put(ruleset) {
      reconciler.desire(ruleset);
      await reconciler.apply({ mayRemove: true });
      const [failure] = reconciler.failures();
      if (failure) throw failure.error;
    },
    read: () => firewall.read(),
    async repair() {
      reconciler.observe({ type: "resync" });
      let done = 0;
      // Reports of what was flushed still come in meanwhile.
      while (!reconciler.stands) {
        done += await reconciler.apply({ mayRemove: true });
        const [failure] = reconciler.failures();
        if (failure) throw failure.error;
      }
      if (done === 0) throw new Error("nothing was repaired");
    },
    close() {
      stop();
      firewall.close();
    },
  };
}

async function nft(namespace: string, args: readonly string[]): Promise<void> {
  const { code } = await new Deno.Command("ip", {
    args: ["netns", "exec", namespace, "nft", ...args],
    stderr: "inherit",
  })
    .output();
  if (code !== 0) throw new Error(`nft ${args.join(" ")}: exit ${code}`);
}

async function fullLoads(ruleset: Ruleset): Promise<void> {
  const file = await Deno.makeTempFile({ suffix: ".nft" });
  await Deno.writeTextFile(file, printRuleset(ruleset));
  const ours: number[] = [], theirs: number[] = [];
  try {
    for (let round = 0; round < ROUNDS; round++) {
      theirs.push(await inNamespace((namespace) => timed(() => nft(namespace, ["-f", file]))));
      ours.push(
        await inNamespace(async (namespace) => {
          const kept = keeper(namespace);
          try {
            return await timed(() => kept.put(ruleset));
          } finally {
            kept.close();
          }
        }),
      );
    }
  } finally {
    await Deno.remove(file);
  }
  row("nft -f of the whole text, median", median(theirs));
  row("the whole ruleset, median", median(ours), `${(median(theirs) / median(ours)).toFixed(2)} x as fast as nft`);
  row("the whole ruleset, first of the process", ours[0] ?? NaN);
}

/** What all editions of the bench's set are editions of, and the number of the last. */
const lineage = {};
let edition = 0;

/** The set, with a note of what moved since the one before where that was `from - by` on. */
function oneSet(from: number, count: number, by = count): Ruleset {
  const elements = new Set(
    Array.from({ length: count }, (_, i) => Ip.fromNumber(0x0a000000 + from + i).toString()),
  );
  const set: NamedSet = { name: "members", key: ["ipv4_addr"], isInterval: true, elements };
  const range = (start: number) =>
    new Set(Array.from({ length: by }, (_, i) => Ip.fromNumber(0x0a000000 + start + i).toString()));
  noteMoves(set, {
    of: lineage,
    from: edition,
    to: ++edition,
    coming: range(from + count - by),
    going: range(from - by),
  });
  return { tables: [{ family: "inet", name: "tortie", chains: new Map(), sets: new Map([[set.name, set]]) }] };
}

const ruleset = benchRuleset({ workloads: WORKLOADS, policies: POLICIES });
const rules = ruleset.tables.flatMap(({ chains }) => [...chains.values()]).reduce(
  (sum, chain) => sum + chain.rules.length,
  0,
);
console.log(`${WORKLOADS} workloads, ${POLICIES} policies, ${rules} rules\n`);
await fullLoads(ruleset);

await inNamespace(async (namespace) => {
  const kept = keeper(namespace);
  try {
    let standing = ruleset;
    await kept.put(standing);
    const additions: number[] = [];
    for (let i = 0; i < ADDITIONS; i++) {
      standing = withWorkload(standing, WORKLOADS + i, POLICIES);
      additions.push(await timed(() => kept.put(standing)));
    }
    row("one workload more, median", median(additions), `slowest ${Math.max(...additions).toFixed(1)} ms`);
    row("reading all of it back", await timed(() => kept.read()));
    await nft(namespace, ["flush", "table", "inet", "tortie"]);
    row("somebody flushed it: read, compared, all in place again", await timed(() => kept.repair()));
    await nft(namespace, ["flush", "chain", "inet", "tortie", "cali-FORWARD"]);
    row("somebody flushed one chain: the same", await timed(() => kept.repair()));
  } finally {
    kept.close();
  }
});

await inNamespace(async (namespace) => {
  const kept = keeper(namespace);
  try {
    await kept.put(oneSet(0, MEMBERS));
    const moves: number[] = [];
    for (let i = 1; i <= MOVES; i++) {
      const next = oneSet(i * MOVED / 2, MEMBERS, MOVED / 2);
      moves.push(await timed(() => kept.put(next)));
    }
    row(`${MOVED} of ${MEMBERS} members of an interval set move, median`, median(moves));
    const million = oneSet(0x100000, MILLION);
    row(`a set grows to ${MILLION} members in one transaction`, await timed(() => kept.put(million)));
  } finally {
    kept.close();
  }
});
