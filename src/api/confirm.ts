/**
 * Changes that take themselves back, for who may lock himself out: `apply --confirm 60s`, then `tortie confirm`.
 *
 *   apply: note what is there -> write -> note what was written      confirm: forget the note
 *   time is over (also at a start long after) -> put back what was there, the last one first -> forget the note
 *
 * The note is a key of our own in the store, one for each node; it is written before the first resource, so that a node
 * that dies at any point finds it. What somebody else has changed in the meantime is left as it is and logged. All
 * resources are applied, or none.
 */

import type { Cancel, Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { idOf, type ResourceId, resourceIdText } from "../model/resource.ts";
import type { AnyResource } from "../model/resources/mod.ts";
import { type Entry, type Store, StoreError } from "../store/store.ts";
import { ApiError } from "./error.ts";
import type { ConfirmCalls, ResourceCalls } from "./node_api.ts";
import type { ConfirmResult, Unconfirmed, WriteResult } from "./shapes.ts";

/** What confirming needs of the node. */
export interface ConfirmParts {
  readonly store: Store;
  readonly resources: ResourceCalls;
  readonly node: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** The calls, and what the node does with what waits. */
export interface Confirmations extends ConfirmCalls {
  /** Takes up what an earlier run left waiting: takes back what is over, and goes on waiting for the rest. */
  resume(): Promise<void>;
  pending(): Unconfirmed | null;
  stop(): void;
}

/** A resource of the note. */
interface Change {
  readonly id: ResourceId;
  /** As it was; null when it was not there. */
  readonly before: AnyResource | null;
  /** Its resourceVersion once it was written; null until then, and where nothing was to be written. */
  after: string | null;
}

interface Note {
  /** Milliseconds since 1970. */
  readonly until: number;
  readonly changes: Change[];
}

/** Milliseconds until putting back is tried again. */
const retry = 1_000;

/** The prefix of the notes. */
export const CONFIRM_PREFIX = "/tortie/v1/confirm/";

/** Makes the calls. */
export function makeConfirmations({ store, resources, node, clock, log }: ConfirmParts): Confirmations {
  const key = `${CONFIRM_PREFIX}${node}`;
  let note: Note | undefined;
  let cancel: Cancel = () => {};
  let isStopped = false;
  /** One call at a time. */
  let previous: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(run: () => Promise<T>): Promise<T> => {
    const turn = previous.then(run);
    previous = turn.catch(() => undefined);
    return turn;
  };

  const shown = ({ until, changes }: Note): Unconfirmed => ({
    resources: changes.map(({ id }) => resourceIdText(id)),
    until: new Date(until).toISOString(),
  });

  const forget = async () => {
    cancel();
    await store.delete(key).catch((error) => {
      if (!(error instanceof StoreError && error.kind === "missing")) throw error;
    });
    note = undefined;
  };

  /** Puts back what was there; throws when something could not be, which is then tried again. */
  const takeBack = async (wanted: Note) => {
    let failure: unknown;
    for (const change of wanted.changes.toReversed()) {
      try {
        await putBack(resources, change, log);
      } catch (error) {
        failure ??= error;
        log.error("could not take a change back", { resource: resourceIdText(change.id), error });
      }
    }
    if (failure) throw failure;
    await forget();
  };

  const overdue = async () => {
    if (isStopped || !note || note.until > clock.wall()) return schedule();
    const { resources: names } = shown(note);
    try {
      await takeBack(note);
      log.warn("changes that nobody confirmed were taken back", { resources: names });
    } catch {
      if (!isStopped) cancel = clock.after(retry, expire);
    }
  };
  const expire = () => void inTurn(overdue);
  const schedule = () => {
    cancel();
    if (note && !isStopped) cancel = clock.after(Math.max(0, note.until - clock.wall()), expire);
  };

  const applyAll = async (wanted: readonly AnyResource[], until: number): Promise<ConfirmResult> => {
    const changes: Change[] = [];
    for (const resource of wanted) {
      changes.push({ id: idOf(resource), before: await find(resources, resource), after: null });
    }
    const own: Note = note = { until, changes };
    const results: WriteResult[] = [];
    try {
      await store.put(key, JSON.stringify(own));
      for (const [i, resource] of wanted.entries()) {
        const result = await resources.apply(resource);
        results.push(result);
        const change = changes[i];
        if (change && result.outcome !== "unchanged") change.after = versionOf(result.resource);
      }
      await store.put(key, JSON.stringify(own));
    } catch (error) {
      await takeBack({ until, changes }).catch(() => {
        // It is tried again as what nobody confirmed.
        note = { until: clock.wall(), changes };
        schedule();
      });
      const failed = wanted[results.length];
      const named = failed ? `${resourceIdText(idOf(failed))}: ` : "";
      const message = error instanceof Error ? error.message : String(error);
      throw new ApiError("refused", `${named}${message}`, {
        hint: "nothing of the file stands",
        cause: error,
      });
    }
    schedule();
    return { ...shown(own), results };
  };

  return {
    apply: ({ resources: wanted, seconds }) =>
      inTurn(async () => {
        if (note) {
          throw new ApiError("conflict", `other changes wait to be confirmed until ${shown(note).until}`, {
            hint: "confirm them with `tortie confirm`, or wait until they are taken back",
          });
        }
        return await applyAll(wanted, clock.wall() + seconds * 1000);
      }),
    confirm: () =>
      inTurn(async () => {
        if (!note) {
          throw new ApiError("missing", "nothing waits to be confirmed", {
            hint: "what was applied for a time was taken back when the time was over; apply it again",
          });
        }
        const confirmed = shown(note);
        await forget();
        return confirmed;
      }),
    resume: () =>
      inTurn(async () => {
        const entry = await store.get(key);
        note = entry && readNote(entry, log);
        if (entry && !note) await forget();
        if (note && note.until <= clock.wall()) await overdue();
        else schedule();
      }),
    pending: () => note ? shown(note) : null,
    stop: () => {
      isStopped = true;
      cancel();
    },
  };
}

function readNote({ key, value }: Entry, log: Log): Note | undefined {
  try {
    const note = JSON.parse(value) as Note;
    if (!Array.isArray(note.changes) || !Number.isFinite(note.until)) throw new SyntaxError("it is no note");
    return note;
  } catch (error) {
    log.error("what waits to be confirmed cannot be read; it stands", { key, error });
    return undefined;
  }
}

async function find(resources: ResourceCalls, resource: AnyResource): Promise<AnyResource | null> {
  try {
    return await resources.get(idOf(resource));
  } catch (error) {
    if (error instanceof ApiError && error.code === "missing") return null;
    throw error;
  }
}

function versionOf({ metadata }: AnyResource): string | null {
  return (metadata as { readonly resourceVersion?: string }).resourceVersion ?? null;
}

async function putBack(resources: ResourceCalls, { id, before, after }: Change, log: Log): Promise<void> {
  const [present] = await resources.list(id.kind as AnyResource["kind"], { name: id.name, namespace: id.namespace });
  const version = present ? versionOf(present) : null;
  if (version === (before && versionOf(before))) return;
  if (after !== null && version !== after) {
    log.warn("somebody else has changed it since: it is left as it is", { resource: resourceIdText(id) });
    return;
  }
  if (!before) return void await resources.delete(id);
  const { resourceVersion: _, ...metadata } = before.metadata as AnyResource["metadata"] & { resourceVersion?: string };
  await resources.apply({ ...before, metadata } as AnyResource);
}
