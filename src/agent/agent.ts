/**
 * The agent of one node: it follows the store, keeps the kernel as desired, attaches workloads, and writes its Node.
 *
 *   start: watch store and kernel -> (store in sync) -> loop applies -> Node, tiers, default pool -> heal -> ready for calls
 *
 * Starting does not wait for the store: the dataplane that stands keeps standing until the first listing is in, and calls
 * for workloads wait until what an earlier run left behind is mended. Stopping leaves the dataplane as it is.
 */

import { makeDataplane } from "../dataplane/dataplane.ts";
import { workloadAlias } from "../dataplane/ownership.ts";
import type { Kernel } from "../dataplane/ports.ts";
import { type Ipam, makeIpam } from "../ipam/ipam.ts";
import { watchSources } from "../ipam/sources.ts";
import { Cidr } from "../lib/cidr.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { resourcePrefix } from "../model/keys/mod.ts";
import type { WorkloadEndpoint } from "../model/resources/mod.ts";
import type { Store } from "../store/store.ts";
import { conntrackAccounting, DesiredTracker, endpointRoutes } from "./desired.ts";
import { watchGateway } from "./gateway_route.ts";
import { initialiseStore } from "./initialise.ts";
import { type FirewallStage, type Loop, startLoop } from "./loop.ts";
import { keepNode, type NodeSettings } from "./node_resource.ts";
import { endpointId, OwnEndpoints } from "./own_endpoints.ts";
import { type LiveSnapshot, type Snapshot, type SnapshotChange, watchSnapshot } from "./snapshot.ts";
import { type AgentStatus, makeStatus } from "./status.ts";
import { foreignPool, openFamilies } from "./workloads/addresses.ts";
import { annotation, WorkloadError, workloadName } from "./workloads/endpoint.ts";
import { defaultMtu } from "./workloads/mtu.ts";
import { healWorkloads } from "./workloads/heal.ts";
import { makeWorkloads, type Workloads } from "./workloads/workloads.ts";

/** What the agent is started with. */
export interface AgentParts {
  readonly store: Store;
  readonly kernel: Kernel;
  readonly settings: NodeSettings;
  readonly clock: Clock;
  readonly log: Log;
  /**
   * Makes the firewall stage over the snapshot; `wake` asks for a round, as when somebody changed the ruleset. Without a
   * stage workloads are reachable without any policy.
   */
  readonly firewall?: (snapshot: Snapshot, wake: () => void) => FirewallStage;
  readonly random?: (bytes: Uint8Array<ArrayBuffer>) => void;
}

/** Told what changed in the snapshot, and which object of it (see `SnapshotChange`). */
export type ChangeListener = (what: SnapshotChange["what"], id: string) => void;

/** A running agent. */
export interface Agent {
  readonly snapshot: Snapshot;
  readonly workloads: Workloads;
  readonly ipam: Ipam;
  status(): AgentStatus;
  /** Resolves once the store is in sync and what an earlier run left behind is mended. */
  readonly ready: Promise<void>;
  /** Calls back after each change of the snapshot; returns how to stop. The speaker's configuration is computed from it. */
  onChange(listener: ChangeListener): () => void;
  /** Ends the agent; the dataplane is left standing, the store and the kernel are the caller's to close. */
  stop(): Promise<void>;
}

/** Milliseconds: how long a call waits for the store at start and for policy and route, and between tries at start. */
const startTimeout = 15_000, applyTimeout = 5_000, startRetry = 1_000, ensureInterval = 30_000;

const endpointPrefix = resourcePrefix("WorkloadEndpoint");

/** Starts the agent. */
export function startAgent(parts: AgentParts): Agent {
  const { store, kernel, settings, clock, log } = parts;
  const node = settings.name;
  const own = new OwnEndpoints(node);
  const tracker = new DesiredTracker();
  const dirtyBlocks = new Map<string, Cidr>();
  const dataplane = makeDataplane(kernel, clock, {
    onLinkChange: ({ link, before }) => {
      own.linkChanged(link);
      if (before) own.linkChanged(before);
    },
  });
  // A store may report before the loop is made.
  const running: { loop?: Loop; firewall?: FirewallStage | undefined } = {};
  const listeners = new Set<ChangeListener>();
  const changed = ({ what, id }: SnapshotChange, snapshot: Snapshot) => {
    // Of a fleet's many endpoints only those of this node wake the loop.
    const isOurs = what !== "WorkloadEndpoint" || own.set(id, snapshot.all(what).get(id));
    const block = what === "blocks" ? Cidr.tryParse(id) : undefined;
    if (block) dirtyBlocks.set(id, block);
    if (what === "FelixConfiguration") own.allChanged();
    if (isOurs) running.loop?.poke("snapshot");
    running.firewall?.changed?.(what, id);
    for (const listener of listeners) listener(what, id);
  };
  const endpoints = () => own.all();
  let hasIpv6 = true, hasConntrack = false, isHostKnown = false, isStopped = false;
  /** Endpoints that were let through once the firewall stood for them. */
  const isApplied = new Set<string>();
  const lastEnsure = new Map<string, number>();

  const snapshot: LiveSnapshot = watchSnapshot({ store, node, changed });
  const firewall = running.firewall = parts.firewall?.(snapshot, () => running.loop?.poke("kernel"));
  const sources = watchSources(store);
  const nodeLabels = () => snapshot.all("Node").get(node)?.metadata.labels ?? {};
  const poolNode = {
    name: node,
    get labels() {
      return nodeLabels();
    },
  };
  const random = parts.random ?? ((bytes: Uint8Array<ArrayBuffer>) => void crypto.getRandomValues(bytes));
  const ipam = makeIpam({
    store,
    clock: { now: () => clock.wall() },
    random: () => {
      const bytes = new Uint8Array(4);
      random(bytes);
      return new DataView(bytes.buffer).getUint32(0) / 2 ** 32;
    },
    node: poolNode,
    sources,
    // Hosts begin at different places so as not to meet; with a store of its own a host meets nobody.
    ...store.type === "etcd" ? {} : { startIn: () => 0n },
  });
  const felix = (member: "ipForwarding" | "floatingIPs") => {
    const all = snapshot.all("FelixConfiguration");
    return all.get(`node.${node}`)?.spec[member] ?? all.get("default")?.spec[member];
  };

  const isReady = (endpoint: WorkloadEndpoint): boolean => {
    const link = dataplane.links.named(endpoint.spec.interfaceName ?? "");
    if (!link?.isUp || firewall && !firewall.stands(endpoint.metadata.name)) return false;
    const routes = endpointRoutes(endpoint, link);
    return routes.length > 0 && routes.every((route) => dataplane.stands(route));
  };
  const endpointAt = (key: string) => own.get(key.slice(endpointPrefix.length));

  const status = makeStatus({
    snapshot,
    store,
    node,
    addresses: () => kept?.addresses(),
    endpoints: own,
    isReady,
    dataplane: () => running.loop?.status() ?? { inSync: false, lastError: null },
  });

  const workloads = makeWorkloads({
    node,
    store,
    kernel,
    ipam,
    clock,
    log,
    random,
    endpoints,
    poolFamilies: () => openFamilies(snapshot.all("IPPool").values(), poolNode),
    foreignPool: (request) =>
      store.type === "etcd" ? undefined : foreignPool(request, snapshot.all("IPPool").values(), poolNode),
    defaultMtu: () => defaultMtu(dataplane.links.all(), snapshot.all("IPPool").values()),
    linkMade: (link) => {
      if (dataplane.observe({ type: "link", isGone: false, link })) running.loop?.poke("snapshot");
    },
    settled: (key, revision) => {
      let isTakenOff: (() => boolean) | undefined;
      const isSettled = () => {
        const seen = snapshot.revisionOf(key);
        if (revision === undefined) {
          return seen === undefined && (isTakenOff ??= running.loop?.nextRound())?.() === true;
        }
        const endpoint = seen !== undefined && seen >= revision ? endpointAt(key) : undefined;
        return endpoint !== undefined && isReady(endpoint);
      };
      return running.loop?.until(isSettled, applyTimeout) ?? Promise.resolve(false);
    },
    why: (key) => {
      const endpoint = endpointAt(key);
      if (!endpoint) return `the store did not report it back within ${applyTimeout / 1000} s; look at its connection`;
      const lost = tracker.lost().find(({ owner }) => owner === endpointId(endpoint));
      if (lost) return `${lost.destination} leads to ${lost.to} already: ${lost.why}`;
      const networks = endpoint.spec.ipNetworks ?? [];
      const failures = running.loop?.failures() ?? [];
      const failure = failures.find(({ key }) => networks.some((text) => key.startsWith(text))) ?? failures[0];
      return failure?.error.message ?? `its policy and route did not stand within ${applyTimeout / 1000} s`;
    },
    isReady,
  });

  const gateway = watchGateway(kernel, () => running.loop?.poke("snapshot"));
  const loop = running.loop = startLoop({
    kernel,
    dataplane,
    clock,
    log,
    firewall,
    observe: (event) => gateway.observe(event),
    isInSync: () => isHostKnown && snapshot.isInSync,
    compute: () => {
      const hasFloatingIps = felix("floatingIPs") === "Enabled";
      for (const id of own.takeDirty()) {
        const endpoint = own.get(id);
        if (endpoint && firewall && !firewall.stands(endpoint.metadata.name) && !isApplied.has(id)) {
          own.changed(id);
          continue;
        }
        if (endpoint) isApplied.add(id);
        else isApplied.delete(id);
        const link = endpoint && dataplane.links.find(
          endpoint.spec.interfaceName ?? "",
          workloadAlias(endpoint.metadata.name),
        );
        tracker.setEndpoint(id, endpoint, link, { hasIpv6, hasFloatingIps });
      }
      for (const [text, block] of dirtyBlocks) tracker.setBlock(block, snapshot.blocks.has(text));
      dirtyBlocks.clear();
      const loopback = gateway.hasRoute || own.size === 0 ? undefined : dataplane.links.named("lo");
      tracker.setHost({
        hasIpv6,
        hasConntrack,
        isForwarding: felix("ipForwarding") !== "Disabled",
        gatewayVia: loopback?.isUp ? loopback : undefined,
      });
      return tracker.takeChanges();
    },
    afterRound: () => {
      if (isHealed) ensureMissing();
    },
  });

  /** Makes the interfaces again that somebody deleted while their namespaces still stand. */
  const ensureMissing = () => {
    const now = clock.monotonic();
    for (const id of lastEnsure.keys()) if (!tracker.missing.has(id)) lastEnsure.delete(id);
    for (const id of tracker.missing) {
      const endpoint = own.get(id);
      if (endpoint?.metadata.annotations?.[annotation.netns] === undefined) continue;
      if (now - (lastEnsure.get(id) ?? -Infinity) < ensureInterval) continue;
      const level = lastEnsure.has(id) ? "debug" : "warn";
      lastEnsure.set(id, now);
      workloads.ensure(endpoint).catch((error) =>
        log[level]("a workload has no interface and cannot get one", { workload: workloadName(endpoint), error })
      );
    }
  };

  let kept: ReturnType<typeof keepNode> | undefined;
  let isHealed = false;
  const stopping = Promise.withResolvers<void>();
  /** Resolves to true when `what` does, to false after `ms` milliseconds or when the agent is stopped. */
  const within = async (ms: number, what: Promise<unknown>): Promise<boolean> => {
    const late = Promise.withResolvers<boolean>();
    const cancel = clock.after(ms, () => late.resolve(false));
    try {
      return await Promise.race([what.then(() => true), late.promise, stopping.promise.then(() => false)]);
    } finally {
      cancel();
    }
  };
  const never = new Promise<never>(() => {});

  const start = async () => {
    hasIpv6 = await kernel.sysctl.read("net/ipv6/conf/all/forwarding") !== undefined;
    hasConntrack = await kernel.sysctl.read(conntrackAccounting) !== undefined;
    own.allChanged();
    await gateway.read();
    isHostKnown = true;
    loop.poke("snapshot");
    if (!await loop.until(loop.nextRound(), Infinity)) return;
    await initialiseStore({ store, kernel, wall: clock.wall(), log });
    kept ??= keepNode({ store, kernel, settings, clock, log });
    await kept.first;
    await ipam.heal();
    await healWorkloads({ store, kernel, node, endpoints, log, workloads });
    isHealed = true;
  };
  const ready = (async () => {
    while (!isStopped) {
      try {
        return await start();
      } catch (error) {
        log.warn("the agent could not finish its start; it tries again", { error });
        kept?.stop();
        kept = undefined;
        await within(startRetry, never);
      }
    }
  })();

  const whenReady = async () => {
    if (isHealed) return;
    if (await within(startTimeout, ready) && isHealed) return;
    const why = snapshot.unavailable ?? "it has not answered yet";
    throw new WorkloadError(
      `Cannot change workloads: the node is not in sync with its store (${why}); try again later`,
    );
  };

  return {
    snapshot,
    ipam,
    ready,
    status,
    workloads: {
      attach: async (request) => {
        await whenReady();
        return await workloads.attach(request);
      },
      detach: async (name) => {
        await whenReady();
        await workloads.detach(name);
      },
      list: workloads.list,
    },
    onChange: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    stop: async () => {
      isStopped = true;
      stopping.resolve();
      kept?.stop();
      snapshot.close();
      sources.close();
      await loop.stop();
      firewall?.stop?.();
    },
  };
}
