/**
 * Reads, changes and watches resources: `get`, `apply`, `create`, `replace`, `delete` over the store.
 *
 * A change is judged by the schema, then by the rules that look at other resources, then written by compare-and-set on
 * the revision that was read; when somebody else was faster, all of it is done again. Identity (`uid`), birth and status
 * are kept; the rest becomes what the user wrote. `metadata.resourceVersion` is the key's revision as text, shown and
 * never stored; given in a change, it must still be the present one.
 */

import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { formatConfigError } from "../model/config_error.ts";
import { resourceKey, resourcePrefix } from "../model/keys/mod.ts";
import { kindEntry } from "../model/kinds.ts";
import { hasPolicyName, type PolicyNameStyle, policyNameStyle } from "../model/policy_name.ts";
import { readResource, serializeResource, storedName } from "../model/read.ts";
import { API_VERSION, idOf, type Metadata, type ResourceId, resourceIdText } from "../model/resource.ts";
import type { AnyResource, Kind } from "../model/resources/mod.ts";
import { DEFAULT_ALLOW_PROFILE } from "../model/resources/profile.ts";
import { systemClock } from "../store/expiry.ts";
import { type Entry, type Store, StoreError } from "../store/store.ts";
import { checkBuiltIn, checkDelete, checkWrite } from "./changes.ts";
import { ApiError } from "./error.ts";
import type { NodeResources } from "./node_api.ts";
import { removeNode, removePool } from "./removal.ts";
import type { ResourceFilter, WatchLine, WriteChoice, WriteResult } from "./shapes.ts";

/** How often a change is tried while others change the same key. */
const TRIES = 100;

type Verb = "apply" | "create" | "replace";

/** What resources need of the node. */
export interface ResourcesOptions {
  readonly store: Store;
  readonly log: Log;
  readonly clock?: Clock;
}

/** Makes the calls on resources. */
export function makeResources({ store, log, clock = systemClock }: ResourcesOptions): NodeResources {
  const readShown = (entry: Entry): AnyResource | undefined => {
    try {
      return shown(readResource(entry.value), entry.revision);
    } catch (error) {
      log.warn("a stored resource cannot be read", { key: entry.key, error });
      return undefined;
    }
  };

  const write = async (verb: Verb, given: AnyResource, { dryRun = false }: WriteChoice = {}): Promise<WriteResult> => {
    if (verb === "create" && isDefaultAllow(idOf(given))) throw exists(idOf(given));
    checkBuiltIn(given);
    const resource = await judged(given);
    const version = (given.metadata as { readonly resourceVersion?: string }).resourceVersion;
    for (let tries = 1;; tries++) {
      const found = await find(store, idOf(resource));
      checkExistence(verb, resource, found, version);
      const before = found && tryRead(found);
      await checkWrite(store, resource, before);
      const next = merge(resource, before, clock.wall());
      const policyNames = hasPolicyName(resource.kind) ? await styleFor(store, found) : "plain";
      const text = serializeResource(next, { policyNames });
      const present = before && serializeResource(before, { policyNames }); // with the defaults, which may be left out
      if (found && present && isSameJson(JSON.parse(present), JSON.parse(text))) {
        return { outcome: "unchanged", resource: shown(next, found.revision), warnings: [] };
      }
      const outcome = found ? "changed" : "created";
      if (dryRun) return { outcome, resource: next, warnings: [] };
      const key = found?.key ?? resourceKey(next.kind, storedName(next, { policyNames }), next.metadata.namespace);
      try {
        const entry = await (found ? store.update(key, text, found.revision) : store.create(key, text));
        return { outcome, resource: shown(readResource(text), entry.revision), warnings: [] };
      } catch (error) {
        if (!isRace(error) || tries >= TRIES) throw error;
      }
    }
  };

  const remove = async (entry: Entry, id: ResourceId, dryRun: boolean): Promise<WriteResult> => {
    const resource = tryRead(entry);
    if (!resource) return await removeUnreadable(store, id, entry, dryRun);
    await checkDelete(store, resource);
    const warnings = dryRun ? [] : await removeWhole(store, clock, resource, entry);
    return { outcome: "deleted", resource: shown(resource, entry.revision), warnings };
  };

  return {
    list: async (kind, filter = {}) => {
      const { namespaced } = kindEntry(kind);
      const isOne = filter.name !== undefined && (!namespaced || filter.namespace !== undefined);
      const entries = isOne
        ? [await find(store, { kind, name: filter.name, ...filter.namespace && { namespace: filter.namespace } })]
        : (await store.list(resourcePrefix(kind, namespaced ? filter.namespace : undefined))).entries;
      const found = entries.flatMap((entry) => entry && readShown(entry) || []);
      const all = kind === "Profile" ? [shown(DEFAULT_ALLOW_PROFILE, 1), ...found] : found;
      return all.filter((resource) => isWanted(resource, filter));
    },
    get: async (id) => {
      if (isDefaultAllow(id)) return shown(DEFAULT_ALLOW_PROFILE, 1);
      const entry = await find(store, id);
      const resource = entry && readShown(entry);
      if (!resource) throw missing(id);
      return resource;
    },
    apply: (resource, choice) => write("apply", resource, choice),
    create: (resource, choice) => write("create", resource, choice),
    replace: (resource, choice) => write("replace", resource, choice),
    delete: async (id, { dryRun = false } = {}) => {
      if (isDefaultAllow(id)) checkBuiltIn(DEFAULT_ALLOW_PROFILE);
      for (let tries = 1;; tries++) {
        const entry = await find(store, id);
        if (!entry) throw missing(id);
        try {
          return await remove(entry, id, dryRun);
        } catch (error) {
          if (!isRace(error) || tries >= TRIES) throw error;
        }
      }
    },
    watch: (kind, filter, sink) => watchResources(store, { kind, filter, readShown, sink }),
  };
}

/** Judges a resource by its schema; the schemas are loaded with the first change, not with the node. */
async function judged(given: AnyResource): Promise<AnyResource> {
  const { parseResource } = await import("../model/parse.ts");
  const origin = `${given.kind} ${given.metadata.name}`;
  const { resource, errors } = parseResource(given, origin);
  if (resource) return resource;
  throw new ApiError("invalid", errors.map(formatConfigError).join("; also "));
}

function checkExistence(
  verb: Verb,
  resource: AnyResource,
  found: Entry | undefined,
  version: string | undefined,
): void {
  const id = resourceIdText(idOf(resource));
  if (verb === "create" && found) throw exists(idOf(resource));
  if (verb === "replace" && !found) throw missing(idOf(resource));
  if (verb === "create" || version === undefined || version === "") return;
  const present = found ? String(found.revision) : "none";
  if (version !== present) {
    throw new ApiError("conflict", `${id} has changed: its resourceVersion is ${present}, not ${version}`, {
      hint: "get it again, or leave resourceVersion out",
    });
  }
}

/** The entry of a resource by the name that its user gave it; policies may be stored under either of two names. */
async function find(store: Store, { kind, name, namespace }: ResourceId): Promise<Entry | undefined> {
  const entry = kindEntry(kind);
  if (!entry) throw new ApiError("unknown", `There is no kind ${kind}`);
  const keyOf = (name: string) => resourceKey(entry.kind, name, entry.namespaced ? namespace ?? "default" : undefined);
  const found = await store.get(keyOf(name));
  if (found || !hasPolicyName(kind) || name.startsWith("default.")) return found;
  return await store.get(keyOf(`default.${name}`));
}

/** The style in which a policy is stored: that of the one which is there, else that of the store. */
async function styleFor(store: Store, found: Entry | undefined): Promise<PolicyNameStyle> {
  if (found) return /\/default\.[^/]*$/.test(found.key) ? "prefixed" : "plain";
  const prefix = resourcePrefix("Tier");
  return policyNameStyle((await store.list(prefix)).entries.map(({ key }) => key.slice(prefix.length))) ?? "plain";
}

function merge(resource: AnyResource, before: AnyResource | undefined, wall: number): AnyResource {
  const birth = before
    ? { uid: before.metadata.uid, creationTimestamp: before.metadata.creationTimestamp }
    : { uid: crypto.randomUUID(), creationTimestamp: new Date(wall).toISOString().replace(/\.\d+Z$/, "Z") };
  const { uid: _uid, creationTimestamp: _birth, ...metadata } = resource.metadata;
  const status = resource.status ?? before?.status;
  return { ...resource, metadata: { ...metadata, ...birth }, ...status !== undefined && { status } } as AnyResource;
}

/** Whether a write failed because somebody else was faster. */
function isRace(error: unknown): boolean {
  return error instanceof StoreError && ["conflict", "missing", "exists"].includes(error.kind);
}

async function removeWhole(store: Store, clock: Clock, resource: AnyResource, entry: Entry): Promise<string[]> {
  if (resource.kind === "IPPool") return await removePool(store, clock, resource, entry);
  if (resource.kind === "Node") return await removeNode(store, resource.metadata.name, entry);
  await store.delete(entry.key, entry.revision);
  return [];
}

/** What cannot be read cannot be checked; deleting it is how to mend it. */
async function removeUnreadable(store: Store, id: ResourceId, entry: Entry, dryRun: boolean): Promise<WriteResult> {
  if (!dryRun) await store.delete(entry.key, entry.revision);
  const { kind, ...metadata } = id;
  const resource = { kind, apiVersion: API_VERSION, metadata, spec: {} } as AnyResource;
  return { outcome: "deleted", resource, warnings: [`${resourceIdText(id)} could not be read`] };
}

function tryRead(entry: Entry): AnyResource | undefined {
  try {
    return readResource(entry.value);
  } catch {
    return undefined;
  }
}

function watchResources(store: Store, { kind, filter, readShown, sink }: {
  readonly kind: Kind;
  readonly filter: ResourceFilter;
  readonly readShown: (entry: Entry) => AnyResource | undefined;
  readonly sink: (line: WatchLine) => void;
}): () => void {
  const known = new Map<string, Entry>();
  const prefix = resourcePrefix(kind, kindEntry(kind).namespaced ? filter.namespace : undefined);
  const watch = store.watch(prefix, (event) => {
    if (event.type === "synced" || event.type === "unavailable") return sink(event);
    const key = event.type === "put" ? event.entry.key : event.key;
    const before = known.get(key);
    if (event.type === "delete") {
      known.delete(key);
      const resource = before && readShown(before);
      if (resource) sink({ type: "deleted", resource });
      return;
    }
    // The store may report a change twice, after a break in its connection.
    if (before && before.revision >= event.entry.revision) return;
    const resource = readShown(event.entry);
    if (!resource || !isWanted(resource, filter)) return;
    known.set(key, event.entry);
    sink({ type: before ? "modified" : "added", resource });
  });
  return () => watch.close();
}

function isWanted({ metadata }: AnyResource, { name, namespace }: ResourceFilter): boolean {
  return (name === undefined || metadata.name === name) &&
    (namespace === undefined || metadata.namespace === undefined || metadata.namespace === namespace);
}

function isDefaultAllow({ kind, name }: ResourceId): boolean {
  return kind === "Profile" && name === DEFAULT_ALLOW_PROFILE.metadata.name;
}

/** The resource as users see it. */
function shown(resource: AnyResource, revision: number): AnyResource {
  const metadata: Metadata & { resourceVersion: string } = { ...resource.metadata, resourceVersion: String(revision) };
  return { ...resource, metadata } as AnyResource;
}

function exists(id: ResourceId): ApiError {
  return new ApiError("exists", `${resourceIdText(id)} exists`, { hint: "use apply or replace" });
}

function missing(id: ResourceId): ApiError {
  return new ApiError("missing", `There is no ${resourceIdText(id)}`);
}

/** Whether two JSON values are the same, whatever the order of their members. */
function isSameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const [left, right] = [Object.entries(a), new Map(Object.entries(b))];
  return left.length === right.size &&
    left.every(([key, value]) => right.has(key) && isSameJson(value, right.get(key)));
}
