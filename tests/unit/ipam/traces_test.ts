/**
 * The recorded traces of Calico's address management: the same operations must give the same addresses, the same writes
 * in the same order and the same keys afterwards.
 *
 * Where a host starts to look in a pool is free, and the results follow from it. So each trace is played twice: with the
 * starts that the recording shows, and then compared exactly; and with our own, and then compared by what must hold
 * anywhere. One difference is meant: a recorded handle counts what was asked of a block even if the block gave fewer,
 * and so survives its addresses. Ours counts what was given. `trueHandles` takes the surplus out of the recording.
 */

import assert from "node:assert/strict";
import { Cidr } from "../../../src/lib/cidr.ts";
import { Ip } from "../../../src/lib/ip.ts";
import { configureIpam } from "../../../src/ipam/stored/config.ts";
import { IpamError } from "../../../src/ipam/error.ts";
import { type Ipam, makeIpam } from "../../../src/ipam/ipam.ts";
import { blockIndex } from "../../../src/ipam/order.ts";
import type { Pool } from "../../../src/ipam/pools.ts";
import type { Store } from "../../../src/store/store.ts";
import { blockFaults } from "./invariants.ts";
import { putPool, recordWrites, seededRandom, type Write } from "./recording_store.ts";

interface Step {
  readonly op: string;
  // deno-lint-ignore no-explicit-any
  readonly args: any;
  // deno-lint-ignore no-explicit-any
  readonly result?: any;
  readonly error?: string;
  readonly writes: readonly { readonly key: string; readonly type: string; readonly state?: string }[];
  readonly stateAfter: State;
}
// deno-lint-ignore no-explicit-any
type State = Record<string, any>;
interface Trace {
  readonly name: string;
  readonly nodes: Record<string, Record<string, string>>;
  readonly pools: readonly {
    readonly name: string;
    readonly spec: Record<string, unknown> & { readonly cidr: string };
  }[];
  readonly steps: readonly Step[];
}

const url = new URL("../../../../shared/conformance/ipam-traces.json", import.meta.url);
const traces = await readTraces();

async function readTraces(): Promise<readonly Trace[]> {
  try {
    return JSON.parse(await Deno.readTextFile(url)).traces;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

if (traces.length === 0) {
  Deno.test({ name: "the recorded traces are reproduced (skipped: no conformance data)", ignore: true, fn: () => {} });
}

for (const trace of traces) {
  Deno.test(`the recorded trace ${trace.name} is reproduced write for write`, async () => {
    const player = await makePlayer(trace, recordedStarts(trace));
    let before: State = {};
    for (const [index, step] of trace.steps.entries()) {
      const at = `step ${index} (${step.op} ${JSON.stringify(step.args)})`;
      const { outcome, writes } = await player.play(step);
      compareOutcome(outcome, step, at);
      const after = trueHandles(step.stateAfter);
      assert.deepEqual(writes.map(describeWrite), trueWrites(step, before, after), `writes of ${at}`);
      assert.deepEqual(await player.state(), after, `keys after ${at}`);
      before = after;
    }
  });

  Deno.test(`the recorded trace ${trace.name} holds with other places to start looking`, async () => {
    const player = await makePlayer(trace, undefined);
    for (const [index, step] of trace.steps.entries()) {
      const at = `step ${index} (${step.op})`;
      // Addresses that a step names depend on the recorded starts, so only those with free choice are played.
      if (!["autoAssign", "releaseByHandle", "releaseHostAffinities", "setIPAMConfig"].includes(step.op)) continue;
      const { outcome } = await player.play(step);
      if (step.op === "autoAssign") assert.equal(outcome.ips.length, step.result.ips.length, at);
      assert.deepEqual(await blockFaults(player.store), [], at);
    }
  });
}

/** Where each host began in each pool: at the first block that the recording shows it to claim or use. */
function recordedStarts(trace: Trace): Map<string, string> {
  const starts = new Map<string, string>();
  for (const step of trace.steps) {
    if (step.op !== "autoAssign") continue;
    for (const pool of trace.pools) {
      const first = step.result.ips.find((ip: string) => Cidr.parse(pool.spec.cidr).contains(Cidr.parse(ip)));
      const key = `${step.args.host} ${pool.name}`;
      if (first && !starts.has(key)) starts.set(key, first);
    }
  }
  return starts;
}

interface Outcome {
  readonly ips: readonly string[];
  readonly released: readonly string[];
  readonly unallocated: readonly string[];
  readonly error: IpamError | undefined;
  readonly shortfalls: readonly IpamError[];
}

async function makePlayer(trace: Trace, starts: Map<string, string> | undefined) {
  const { store, writes } = recordWrites();
  for (const pool of trace.pools) await putPool(store, pool.name, pool.spec);
  writes.length = 0;
  const clock = { now: () => Date.UTC(2026, 0, 1) };
  const ipams = new Map<string, Ipam>();
  for (const [name, labels] of Object.entries(trace.nodes)) {
    const startIn = (pool: Pool) => {
      const first = starts?.get(`${name} ${pool.name}`);
      return first ? blockIndex(pool, Cidr.parse(first).ip) : 0n;
    };
    ipams.set(
      name,
      makeIpam({ store, clock, random: seededRandom(1), node: { name, labels }, ...(starts ? { startIn } : {}) }),
    );
  }
  const firstSequences = new Map<string, bigint>();
  const any = ipams.values().next().value!;
  return {
    store,
    state: () => readState(store, firstSequences),
    play: async (step: Step) => {
      writes.length = 0;
      const outcome = await play(store, ipams.get(step.args.host) ?? any, step);
      for (const { type, key, value } of writes) {
        const sequence = /"sequenceNumber":(\d+)/.exec(value ?? "")?.[1];
        if (type === "create" && sequence) firstSequences.set(key, BigInt(sequence));
      }
      return { outcome, writes: [...writes] };
    },
  };
}

async function play(store: Store, ipam: Ipam, { op, args }: Step): Promise<Outcome> {
  const done: Outcome = { ips: [], released: [], unallocated: [], error: undefined, shortfalls: [] };
  const owner = { handle: args.handle || undefined, attributes: args.attrs ?? undefined };
  try {
    switch (op) {
      case "autoAssign": {
        const { v4, shortfalls } = await ipam.autoAssign({ v4: args.num4, v6: args.num6, ...owner });
        return { ...done, ips: v4.map(({ ip, length }) => `${ip}/${length}`), shortfalls };
      }
      case "assignIP":
        await ipam.assignIp(Ip.parse(args.ip), owner);
        return done;
      case "releaseIPs": {
        const { released, unallocated } = await ipam.releaseIps(
          args.options.map((option: { address: string; handle?: string }) => ({
            ip: Ip.parse(option.address),
            ...(option.handle ? { handle: option.handle } : {}),
          })),
        );
        return { ...done, released: released.map(String), unallocated: unallocated.map(String) };
      }
      case "releaseByHandle":
        await ipam.releaseByHandle(args.handle);
        return done;
      case "releaseHostAffinities":
        await ipam.releaseHostAffinities(args.host, { mustBeEmpty: args.mustBeEmpty });
        return done;
      case "setIPAMConfig":
        await configureIpam(store, args);
        return done;
    }
  } catch (error) {
    if (!(error instanceof IpamError)) throw error;
    return { ...done, error };
  }
  throw new Error(`the trace has an operation that is not played: ${op}`);
}

const ERROR_KINDS: readonly (readonly [RegExp, IpamError["kind"]])[] = [
  [/update conflict/, "mismatch"],
  [/does not exist: IPAMHandleKey/, "no-handle"],
  [/already assigned/, "taken"],
  [/not in a configured pool/, "not-in-pool"],
  [/is not empty/, "not-empty"],
  [/affinity does not match/, "strict"],
  [/per host block limit/, "limit"],
  [/requires StrictAffinity|at the same time/, "config"],
];
const MESSAGE_KINDS: readonly (readonly [RegExp, IpamError["kind"]])[] = [
  [/No IPs available/, "full"],
  [/limit of \d+ blocks/, "limit"],
  [/strict affinity enabled/, "strict"],
];

function kindIn(kinds: typeof ERROR_KINDS, text: string): IpamError["kind"] {
  const found = kinds.find(([pattern]) => pattern.test(text));
  assert.ok(found, `the trace has a message without a kind: ${text}`);
  return found[1];
}

function compareOutcome(outcome: Outcome, step: Step, at: string): void {
  if (step.op === "autoAssign") {
    assert.deepEqual(outcome.ips, step.result.ips, `addresses of ${at}`);
    const kinds = step.result.msgs.map((message: string) => kindIn(MESSAGE_KINDS, message));
    assert.deepEqual(outcome.shortfalls.map(({ kind }) => kind), kinds, `shortfalls of ${at}`);
    if (step.error) assert.ok(kinds.includes(kindIn(ERROR_KINDS, step.error)), `error of ${at}`);
    return;
  }
  assert.equal(outcome.error?.kind, step.error && kindIn(ERROR_KINDS, step.error), `error of ${at}`);
  if (step.op === "releaseIPs" && !step.error) {
    // The recording names as released whatever was asked for.
    assert.deepEqual([...outcome.released, ...outcome.unallocated].sort(), [...step.result.released].sort(), at);
    assert.deepEqual(outcome.unallocated, step.result.unallocated, at);
  }
}

function describeWrite({ type, key, value }: Write) {
  if (!key.includes("/host/")) return { key, type };
  return value === undefined ? { key, type } : { key, type, state: JSON.parse(value).state };
}

/** The recorded state with each handle counting what the blocks hold for it. */
function trueHandles(state: State): State {
  const held = new Map<string, Map<string, number>>();
  for (const value of Object.values(state)) {
    for (const index of value.allocations ?? []) {
      const handle = index === null ? undefined : value.attributes[index].handle_id;
      if (!handle) continue;
      const counts = held.get(handle) ?? new Map<string, number>();
      held.set(handle, counts.set(value.cidr, (counts.get(value.cidr) ?? 0) + 1));
    }
  }
  return Object.fromEntries(
    Object.entries(state).flatMap(([key, value]) => {
      if (!key.startsWith(HANDLES)) return [[key, value]];
      const counts = held.get(key.slice(HANDLES.length));
      return counts ? [[key, { ...value, block: Object.fromEntries(counts) }]] : [];
    }),
  );
}

const HANDLES = "/calico/ipam/v2/handle/";

/** The recorded writes, with the last update of a handle that only its surplus kept alive as the delete that it is. */
function trueWrites(step: Step, before: State, after: State) {
  const last = new Map(step.writes.map((write, index) => [write.key, index]));
  return step.writes.map((write, index) => {
    const isGone = write.key.startsWith(HANDLES) && write.key in before && !(write.key in after);
    return isGone && last.get(write.key) === index ? { ...write, type: "delete" } : write;
  });
}

/** All keys of address management, with sequence numbers counted from each block's first and times masked. */
async function readState(store: Store, firstSequences: ReadonlyMap<string, bigint>): Promise<State> {
  const state: State = {};
  for (const { key, value } of (await store.list("/calico/ipam/")).entries) {
    const parsed = JSON.parse(value.replace(/:(\d{16,})/g, ':"$1"'));
    if (parsed.affinity_claim_time) {
      assert.match(parsed.affinity_claim_time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      parsed.affinity_claim_time = "<RFC3339>";
    }
    if (parsed.sequenceNumber) {
      const first = firstSequences.get(key);
      assert.ok(first, `${key} was never created`);
      const offset = (text: string) => `S0+${BigInt(text) - first}`;
      parsed.sequenceNumber = offset(parsed.sequenceNumber);
      for (const [ordinal, text] of Object.entries(parsed.sequenceNumberForAllocation)) {
        parsed.sequenceNumberForAllocation[ordinal] = offset(text as string);
      }
    }
    state[key] = parsed;
  }
  return state;
}
