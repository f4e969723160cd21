/**
 * A running node: store, kernel, agent, speaker and API put together, and taken apart again in the reverse order.
 *
 *     tortie.yaml -> store <-> agent <-> kernel <-> speaker      API -> all of them
 *
 * Stopping leaves the dataplane as it stands. Nothing is changed on the host before everything that can be refused
 * (configuration, rights, socket, ports, state directory) has been accepted.
 */

import { type Agent, startAgent } from "../../agent/agent.ts";
import { makeFirewallStage, type PolicyStage } from "../../agent/policy/firewall_stage.ts";
import { type Confirmations, makeConfirmations } from "../../api/confirm.ts";
import { ApiError } from "../../api/error.ts";
import type { NodeApi, NodeResources } from "../../api/node_api.ts";
import { makeResources } from "../../api/resources.ts";
import { serveApi } from "../../api/server.ts";
import type { NodeStatus, ReloadResult, RouteQuery } from "../../api/shapes.ts";
import { Cidr } from "../../lib/cidr.ts";
import type { Clock } from "../../lib/clock.ts";
import { Ip } from "../../lib/ip.ts";
import type { Log } from "../../lib/log.ts";
import { openConntrack } from "../../linux/conntrack.ts";
import { openKernel } from "../../linux/kernel.ts";
import { openFirewall } from "../../linux/nftables.ts";
import type { PolicyEngine } from "../../policy/engine.ts";
import { type SpeakerHandle, startSpeaker } from "../../speaker/spawn.ts";
import type { SpeakerStatus } from "../../speaker/messages.ts";
import { type FileStore, openFileStore } from "../../store/file/file_store.ts";
import { CliError } from "../terminal.ts";
import { version } from "../version.ts";
import { type Configuration, restartNeeded } from "./configuration.ts";
import { makeIpamCalls } from "./ipam_calls.ts";
import { makePolicyCalls } from "./policy_calls.ts";
import { refuseTakenPorts } from "./ports.ts";
import { feedSpeaker } from "./speaker_feed.ts";

/** What a node is started with. */
export interface NodeParts {
  readonly configuration: Configuration;
  /** Reads the configuration file again; throws `CliError`. */
  readonly reread: () => Promise<Configuration>;
  readonly clock: Clock;
  readonly log: Log;
}

/** A running node. */
export interface RunningNode {
  readonly api: NodeApi;
  /** Takes a new edition of the configuration file, or refuses it whole and notes why; throws `ApiError` `invalid`. */
  reload(): Promise<ReloadResult>;
  /** Resolves once what an earlier run left behind is mended. */
  readonly ready: Promise<void>;
  stop(): Promise<void>;
}

/** Starts a node; throws `CliError`, `StoreError` or `ApiError` when it cannot be, and leaves nothing running then. */
export async function startNode({ configuration, reread, clock, log }: NodeParts): Promise<RunningNode> {
  const { settings, name } = configuration;
  if (settings.datastore.type !== "file") {
    throw new CliError("datastore.type etcd is not served by this version; use file");
  }
  await refuseTakenPorts(configuration);
  const undo: (() => void | Promise<void>)[] = [];
  try {
    const store = openFileStore({ dir: settings.node.stateDir, owner: { name }, fixed: configuration.fixed, clock });
    undo.push(() => store.close());
    for (const warning of store.warnings) log.warn(warning);
    const kernel = openKernel();
    undo.push(() => kernel.close());
    const parts = { store, configuration, reread, clock, log };
    const shared: Shared = { ...parts, speakerStatus: undefined, configError: null, loadedAt: isoTime(clock) };

    const firewall = openFirewall();
    undo.push(() => firewall.close());
    const conntrack = openConntrack();
    undo.push(() => conntrack.close());
    // What nobody confirmed in time is taken back before the agent reads what should be.
    const resources = makeResources({ store, clock, log });
    const confirmations = makeConfirmations({ store, resources, node: name, clock, log });
    undo.push(() => confirmations.stop());
    await confirmations.resume();

    const makeStage = makeFirewallStage({ node: name, firewall, conntrack, kernel, clock, log });
    let policy: PolicyStage | undefined;
    const agent = startAgent({
      store,
      kernel,
      settings: { name, ip: settings.node.ip, ip6: settings.node.ip6 },
      clock,
      log,
      firewall: (snapshot, wake) => policy = makeStage(snapshot, wake),
    });
    undo.push(() => agent.stop());
    undo.push(agent.onChange((what, id) => policy?.changed(what, id)));
    const speaker = startSpeaker({ log: log.with({ part: "bgp" }), clock });
    undo.push(() => speaker.stop());
    undo.push(speaker.onStatus((status) => shared.speakerStatus = status));
    undo.push(feedSpeaker({ agent, speaker, node: name, clock, log }));

    const api = makeNodeApi(shared, { agent, speaker, resources, confirmations, engine: () => policy?.engine });
    const health = {
      liveness: () => null,
      readiness: () => agent.snapshot.isInSync ? agent.status().dataplane.lastError : "not in sync with the store yet",
    };
    const server = await serveApi({ socket: settings.node.socket, api, log, health });
    undo.push(() => server.close());
    const { listen } = settings.metrics;
    if (listen !== "off") undo.push((await import("./metrics.ts")).serveMetrics(listen, api, log));
    return { api, reload: api.reload, ready: agent.ready, stop: () => runBackwards(undo) };
  } catch (error) {
    await runBackwards(undo);
    throw error;
  }
}

/** What the calls share and change. */
interface Shared {
  readonly store: FileStore;
  configuration: Configuration;
  readonly reread: () => Promise<Configuration>;
  readonly clock: Clock;
  readonly log: Log;
  speakerStatus: SpeakerStatus | undefined;
  configError: string | null;
  loadedAt: string;
}

interface ApiParts {
  readonly agent: Agent;
  readonly speaker: SpeakerHandle;
  readonly resources: NodeResources;
  readonly confirmations: Confirmations;
  readonly engine: () => PolicyEngine | undefined;
}

function makeNodeApi(shared: Shared, { agent, speaker, resources, confirmations, engine }: ApiParts): NodeApi {
  const { store, clock } = shared;
  const since = isoTime(clock);
  return {
    resources,
    workloads: agent.workloads,
    ipam: makeIpamCalls(store, agent),
    bgp: {
      peers: () => speaker.query({ kind: "peers" }),
      routes: (query = {}) => speaker.query({ kind: "routes", ...meantRoutes(query, shared.speakerStatus) }),
      explain: async (query) => await explainRoute(speaker, query),
      monitor: (sink) => speaker.monitor((events) => events.forEach(sink)),
    },
    policy: makePolicyCalls(agent, engine),
    confirm: confirmations,
    status: () => Promise.resolve({ ...makeNodeStatus(shared, agent, since), unconfirmed: confirmations.pending() }),
    reload: () => reload(shared),
  };
}

function makeNodeStatus(shared: Shared, agent: Agent, since: string): NodeStatus {
  const { node, store, workloads, dataplane } = agent.status();
  const peers = shared.speakerStatus?.peers ?? [];
  const speakerError = shared.speakerStatus?.errors[0] ?? null;
  return {
    node: { ...node, version: version().version, pid: Deno.pid, since },
    config: { file: shared.configuration.file, loadedAt: shared.loadedAt, error: shared.configError },
    store: { ...store, warnings: [...store.warnings, ...shared.store.warnings] },
    bgp: {
      established: peers.filter(({ state }) => state === "Established").length,
      configured: peers.length,
    },
    workloads,
    dataplane: { ...dataplane, lastError: dataplane.lastError ?? speakerError },
  };
}

/** Takes the file's new edition whole, or leaves everything as it is and notes why. */
async function reload(shared: Shared): Promise<ReloadResult> {
  const { store, log, clock } = shared;
  try {
    const edited = await shared.reread();
    const { name } = shared.configuration;
    if (edited.name !== name) {
      throw new CliError(`node.name cannot change from ${name} to ${edited.name} while the node runs`);
    }
    const { changed, warnings } = store.replaceFixed(edited.fixed);
    const waiting = restartNeeded(shared.configuration.settings, edited.settings);
    const all = [...warnings, ...waiting.map((key) => `${key} takes effect when the node is restarted`)];
    shared.configuration = { ...edited, settings: shared.configuration.settings };
    shared.configError = null;
    shared.loadedAt = isoTime(clock);
    log.info("the configuration file was read", { changed, warnings: all });
    return { changed, warnings: all };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    shared.configError = message.replaceAll("\n", "; ");
    log.error("the configuration file is refused; what ran before goes on", { error: shared.configError });
    throw new ApiError("invalid", message, { hint: "the edition before it stays in force" });
  }
}

/** The query with each peer by its session's name; throws `ApiError` for a prefix or a peer that cannot be meant. */
function meantRoutes(query: RouteQuery, status: SpeakerStatus | undefined): RouteQuery {
  const { prefix, received, advertised } = query;
  checkPrefix(prefix);
  const peers = status?.peers ?? [];
  // "mesh.b" and "global.tor" may be said without what they are.
  const session = (named: string) => {
    const found = peers.find(({ name, peer }) => name === named || peer === named) ??
      peers.find(({ name }) => name.slice(name.indexOf(".") + 1) === named);
    if (found) return found.name;
    const known = peers.map(({ name }) => name).join(", ") || "none";
    throw new ApiError("missing", `there is no BGP peer ${JSON.stringify(named)}: there are ${known}`);
  };
  return {
    prefix,
    ...received === undefined ? {} : { received: session(received) },
    ...advertised === undefined ? {} : { advertised: session(advertised) },
  };
}

function checkPrefix(prefix: string | undefined): void {
  if (prefix === undefined || Cidr.tryParse(prefix) || Ip.tryParse(prefix)) return;
  throw new ApiError("invalid", `${JSON.stringify(prefix)} is neither a prefix nor an address`);
}

/** The paths of the longest prefix that covers the query, the best first. */
async function explainRoute(speaker: SpeakerHandle, query: string) {
  checkPrefix(query);
  const paths = await speaker.query({ kind: "routes", prefix: query });
  return { query, prefix: paths[0]?.prefix ?? null, paths: paths.toSorted((a, b) => Number(b.best) - Number(a.best)) };
}

function isoTime(clock: Clock): string {
  return new Date(clock.wall()).toISOString();
}

async function runBackwards(undo: (() => void | Promise<void>)[]): Promise<void> {
  for (const step of undo.splice(0).reverse()) await step();
}
