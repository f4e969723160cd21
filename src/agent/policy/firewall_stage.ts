/**
 * Policy as a stage of the agent's loop: what changed in the snapshot goes to the engine, the engine's ruleset to the
 * reconciler, and what a new ruleset forbids is ended.
 *
 *   first: nothing of ours stands -> a ruleset without endpoints, which drops whatever workload interfaces send or get
 *   desire: changed resources -> engine -> reconciler     apply: one transaction -> endpoints stand -> connections end
 *
 * A ruleset of an earlier run stands until the store is in sync. Somebody else's change of our tables wakes the loop, and
 * the next round repairs it.
 */

import type { Conntrack } from "../../dataplane/firewall_conntrack.ts";
import type { Firewall } from "../../dataplane/firewall_port.ts";
import { FirewallReconciler } from "../../dataplane/firewall_reconciler.ts";
import type { Kernel } from "../../dataplane/ports.ts";
import type { Failure } from "../../dataplane/table_reconciler.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Log } from "../../lib/log.ts";
import type { Kind } from "../../model/resources/mod.ts";
import type { Connection } from "../../netlink/conntrack.ts";
import type { Ruleset, Table } from "../../netlink/nft/ruleset.ts";
import { type LocalEndpoint, PolicyEngine, type PolicyKind, policyKinds } from "../../policy/engine.ts";
import { workloadChainName } from "../../policy/render/names.ts";
import { changesBetween } from "../../policy/render/reach.ts";
import type { FirewallStage } from "../loop.ts";
import type { Snapshot } from "../snapshot.ts";
import { endedMembers, findForbidden, stillForbidden } from "./connections.ts";

/** What the stage works with. */
export interface FirewallStageParts {
  readonly node: string;
  readonly firewall: Firewall;
  /** Without it connections that a new policy forbids go on. */
  readonly conntrack?: Conntrack | undefined;
  /** For the addresses of the host's interfaces. */
  readonly kernel: Kernel;
  readonly clock: Clock;
  readonly log: Log;
}

/** The stage, with what others may ask of it. */
export interface PolicyStage extends FirewallStage {
  /** Tells which resource changed; from the first call on only those are looked at, else all are compared. */
  changed(kind: Kind | "blocks" | "sync", id: string): void;
  readonly engine: PolicyEngine;
}

/** Makes the stage of a node; the ports are the caller's to close. */
export function makeFirewallStage(parts: FirewallStageParts): (snapshot: Snapshot, wake: () => void) => PolicyStage {
  return (snapshot, wake) => startStage(parts, snapshot, wake);
}

function startStage(parts: FirewallStageParts, snapshot: Snapshot, wake: () => void): PolicyStage {
  const { node, firewall, conntrack, kernel, clock, log } = parts;
  const engine = new PolicyEngine(node);
  const reconciler = new FirewallReconciler(firewall, clock);
  const seen = new Map<PolicyKind, Map<string, unknown>>(policyKinds.map((kind) => [kind, new Map()]));
  const dirty = new Map<PolicyKind, Set<string>>();
  /** Names of endpoints whose rules stand as the snapshot last wanted them. */
  const standing = new Set<string>();
  let isHinted = false, hasStarted = false;
  let desired: Ruleset | undefined, applied: Ruleset | undefined, mustEnd: LocalEndpoint[] = [];
  let failure: Failure | undefined;
  /** When connections are looked at next, on the clock's monotonic time. */
  let endDue = Infinity;
  /** What policies have ended; only the latest of very many are remembered. */
  let ended: readonly Connection[] = [];

  const unwatch = firewall.watch((event) => {
    reconciler.observe(event);
    wake();
  });

  const take = (kind: PolicyKind, key: string) => {
    const resource = snapshot.all(kind).get(key), known = seen.get(kind);
    if (known?.get(key) === resource) return;
    if (resource) known?.set(key, resource);
    else known?.delete(key);
    if (kind === "WorkloadEndpoint") standing.delete(key.slice(key.indexOf("/") + 1));
    engine.set(kind, key, resource);
  };
  const takeAll = () => {
    for (const kind of policyKinds) {
      const now = snapshot.all(kind), known = seen.get(kind);
      for (const key of now.keys()) take(kind, key);
      if (known && known.size > now.size) { for (const key of [...known.keys()]) take(kind, key); }
    }
  };
  const takeDirty = () => {
    for (const [kind, keys] of dirty) for (const key of keys) take(kind, key);
    dirty.clear();
  };
  const desire = () => {
    if (isHinted && hasStarted) takeDirty();
    else {
      takeAll();
      dirty.clear();
    }
    hasStarted = true;
    desired = engine.ruleset();
    reconciler.desire(desired);
  };

  /** Closes the way before the store is in sync, unless an earlier run's rules stand. */
  const closeFirst = async () => {
    const { tables } = await firewall.read();
    if (tables.has("inet") || hasStarted) return;
    reconciler.desire(engine.ruleset());
    await reconciler.apply({ mayRemove: false });
  };
  let closing: Promise<void> | undefined = closeFirst().catch((error) => {
    log.warn("could not close the firewall before the first policy", { error });
  });

  const readHost = async (): Promise<ReadonlyMap<string, readonly string[]>> => {
    const names = new Map((await kernel.links.list()).map(({ index, name }) => [index, name]));
    const found = new Map<string, string[]>();
    for (const { index, net } of await kernel.links.addresses()) {
      const name = names.get(index);
      if (name !== undefined) found.set(name, [...found.get(name) ?? [], net.ip.toString()]);
    }
    return found;
  };

  /** Notes which workloads' rules changed, once they stand. */
  const noteApplied = (now: Ruleset) => {
    const before = inetOf(applied), after = inetOf(now);
    if (!before) mustEnd = [...engine.workloads()];
    else if (after && before !== after) {
      const hasChanged = changesBetween(before, after);
      const isAffected = (local: LocalEndpoint) =>
        engine.interfacesOf("WorkloadEndpoint", local.key.slice("wep/".length)).some((name) =>
          hasChanged(workloadChainName(name, "from")) || hasChanged(workloadChainName(name, "to"))
        );
      mustEnd = [...new Set([...mustEnd, ...[...engine.workloads()].filter(isAffected)])];
    }
    applied = now;
    if (mustEnd.length > 0) endDue = Math.min(endDue, clock.monotonic() + connectionsDelay);
    for (const { resource } of engine.workloads()) standing.add(resource.metadata.name);
  };

  /** Makes the firewall as desired; whether it is. */
  const transact = async () => {
    desired = engine.ruleset();
    reconciler.desire(desired);
    await reconciler.apply({ mayRemove: true });
    return reconciler.failures().length === 0;
  };

  const endConnections = async () => {
    const workloads = mustEnd;
    mustEnd = [];
    endDue = Infinity;
    failure = undefined;
    if (!conntrack || workloads.length === 0) return;
    try {
      const hostAddresses = new Set([...(await readHost()).values()].flat());
      const found = await findForbidden({ conntrack, engine, workloads, hostAddresses });
      const kept = stillForbidden(ended, { engine, hostAddresses });
      if (found.length === 0 && kept.length === ended.length) return;
      ended = [...kept, ...found].slice(-mostEnded);
      engine.setEnded(endedMembers(ended));
      // The rule first: what is forgotten before it could be made anew by its next packet.
      if (!await transact()) throw reconciler.failures()[0]?.error;
      applied = desired;
      const errors = (await conntrack.delete(found)).filter((error) => error !== undefined);
      if (found.length > 0) log.info("ended connections that the policy forbids now", { count: found.length });
      failure = errors[0] && { table: "connections", key: "", error: errors[0] };
    } catch (error) {
      failure = { table: "connections", key: "", error: error instanceof Error ? error : new Error(String(error)) };
    }
    if (!failure) return;
    mustEnd = workloads;
    endDue = clock.monotonic() + retryConnections;
  };

  return {
    engine,
    desire,
    changed: (kind, id) => {
      if (!isPolicyKind(kind)) return;
      isHinted = true;
      const keys = dirty.get(kind);
      if (keys) keys.add(id);
      else dirty.set(kind, new Set([id]));
      if (hasStarted) wake();
    },
    apply: async () => {
      await closing;
      closing = undefined;
      if (hasStarted && dirty.size > 0) desire();
      if (!hasStarted) return [];
      if (engine.needsHostInterfaces) engine.setHostInterfaces(await readHost());
      if (!await transact()) return reconciler.failures();
      if (desired && desired !== applied) noteApplied(desired);
      if (endDue <= clock.monotonic()) await endConnections();
      return failure ? [failure] : [];
    },
    nextDue: () => Math.min(endDue, reconciler.nextDue()),
    stands: (endpoint) => standing.has(endpoint),
    stop: unwatch,
  };
}

/** How many ended connections are kept from coming back. */
const mostEnded = 50_000;

/**
 * Milliseconds: how long connections wait to be looked at, so that many changes cost one look (it walks the kernel's whole
 * table, and no attach waits for it), and until those that could not be ended are looked at again.
 */
const connectionsDelay = 50, retryConnections = 500;

function inetOf(ruleset: Ruleset | undefined): Table | undefined {
  return ruleset?.tables.find(({ family }) => family === "inet");
}

function isPolicyKind(kind: string): kind is PolicyKind {
  return (policyKinds as readonly string[]).includes(kind);
}
